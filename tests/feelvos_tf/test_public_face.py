"""`import feelvos_tf`: what it offers, what it costs, and Keras settings of other projects."""

import json
import os
import pathlib
import platform
import subprocess
import sys

import cv2
import numpy as np
import pytest

import feelvos_tf
from feelvos_tf.datasets import masks
from feelvos_tf.model import default_model

ROOT = pathlib.Path(feelvos_tf.__file__).resolve().parent.parent
HEAVY = ('tensorflow', 'keras', 'numpy', 'cv2', 'absl', 'h5py')


def run(code, cwd=ROOT, **variables):
  """Output of Python code in a process of its own."""
  environment = {**os.environ, 'PYTHONPATH': str(ROOT), **variables}
  environment.pop('TF_CPP_MIN_LOG_LEVEL', None)
  return subprocess.run(
    [sys.executable, '-c', code],
    cwd=cwd,
    env=environment,
    text=True,
    capture_output=True,
    timeout=120,
    check=False,
  )


def test_import_loads_nothing_heavy_and_lists_its_names():
  process = run(
    f'import sys, feelvos_tf; print([m for m in {HEAVY} if m in sys.modules], dir(feelvos_tf))'
  )
  assert process.stdout.startswith('[] ['), process.stdout + process.stderr
  assert all(f"'{name}'" in process.stdout for name in feelvos_tf.__all__)


def test_options_need_no_tensorflow():
  process = run(
    'import sys, feelvos_tf; feelvos_tf.FeelvosOptions(); print("tensorflow" in sys.modules)'
  )
  assert (process.stdout, process.stderr) == ('False\n', '')


def test_names_are_those_of_their_modules():
  from feelvos_tf.inference import segmenter
  from feelvos_tf.model import options
  from feelvos_tf.model import weights

  assert feelvos_tf.VideoSegmenter is segmenter.VideoSegmenter
  assert feelvos_tf.SegmentedFrame is segmenter.SegmentedFrame
  assert feelvos_tf.FeelvosOptions is options.FeelvosOptions
  assert feelvos_tf.load_model is weights.load_model
  assert feelvos_tf.save_model is weights.save_model
  assert all(getattr(feelvos_tf, name) for name in feelvos_tf.__all__)


def test_unknown_name_is_an_attribute_error():
  with pytest.raises(AttributeError, match="module 'feelvos_tf' has no attribute 'load_modle'"):
    feelvos_tf.load_modle  # noqa: B018


def test_default_model_wherever_one_stands_and_nothing_on_standard_error(tmp_path):
  process = run(
    'import feelvos_tf; print(feelvos_tf.load_model().options.model.model_variant)', cwd=tmp_path
  )
  assert (process.returncode, process.stdout, process.stderr) == (0, 'mobilenet_v2\n', '')


def test_precision_of_a_model(copying_weights):
  model = feelvos_tf.load_model(copying_weights, precision='bfloat16')
  assert model.dtype_policy.name == 'mixed_bfloat16'
  assert feelvos_tf.load_model(copying_weights).dtype_policy.name == 'float32'
  with pytest.raises(ValueError, match='bfloat61'):
    feelvos_tf.load_model(copying_weights, precision='bfloat61')


def test_another_backend_in_the_environment_does_not_matter():
  process = run(
    'import feelvos_tf; feelvos_tf.VideoSegmenter; import keras; print(keras.config.backend())',
    KERAS_BACKEND='jax',
  )
  assert (process.stdout, process.stderr) == ('tensorflow\n', '')


@pytest.mark.parametrize(
  'code, warned',
  [
    ('import os, tensorflow; del os.environ["TF_ENABLE_ONEDNN_OPTS"]; import feelvos_tf', True),
    ('import tensorflow, feelvos_tf', False),  # As it was asked for.
    ('import feelvos_tf, tensorflow', False),
  ],
)
def test_tensorflow_before_it_without_onednn_is_a_warning(code, warned):
  process = run(code, TF_ENABLE_ONEDNN_OPTS='0')
  assert process.returncode == 0, process.stderr
  warned &= platform.machine() in ('x86_64', 'AMD64')  # Other builds have no oneDNN to turn on.
  assert ('<string>:1: RuntimeWarning: tensorflow was imported before' in process.stderr) is warned


def test_keras_with_another_backend_is_one_clear_line():
  code = (
    'import sys, types; keras = types.ModuleType("keras"); '
    'keras.config = types.SimpleNamespace(backend=lambda: "jax"); sys.modules["keras"] = keras; '
    'import feelvos_tf'
  )
  assert run(code).stderr.splitlines()[-1] == (
    'ImportError: Keras was imported with the backend jax; feelvos_tf needs TensorFlow. Import '
    'feelvos_tf before keras, or set KERAS_BACKEND=tensorflow.'
  )


def test_channels_first_changes_nothing(tmp_path):
  """~/.keras/keras.json of another project: same features of every layer that knows the setting."""
  code = (
    'import feelvos_tf; feelvos_tf.load_model\n'
    'import keras, numpy as np\n'
    'from feelvos_tf.deeplab import DeepLabV3Plus, ModelOptions\n'
    'for name in ("mobilenet_v2", "resnet_v1_50_beta"):\n'
    '  keras.utils.set_random_seed(1)\n'
    '  model = DeepLabV3Plus(ModelOptions(name))\n'
    '  image = np.arange(33 * 49 * 3, dtype=np.float32).reshape(1, 33, 49, 3) % 251\n'
    '  print(keras.config.image_data_format(), [float(np.sum(np.abs(x))) for x in keras.tree.flatten(model(image))])\n'
  )
  outputs = {}
  for data_format in ('channels_last', 'channels_first'):
    home = tmp_path / data_format
    home.mkdir()
    settings = {'image_data_format': data_format, 'backend': 'jax', 'floatx': 'float32'}
    (home / 'keras.json').write_text(json.dumps({**settings, 'epsilon': 1e-7}))
    process = run(code, KERAS_HOME=str(home))
    assert process.returncode == 0, process.stderr
    assert process.stdout.count(data_format) == 2
    outputs[data_format] = process.stdout.replace(data_format, '')
  assert outputs['channels_first'] == outputs['channels_last']


@pytest.fixture
def clip(tmp_path, rng):
  """(folder of three frames, its first mask): 33x49 pixels, the objects 3 and 17."""
  (tmp_path / 'frames').mkdir()
  for i in range(3):
    image = cv2.resize(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8), (49, 33))
    cv2.imwrite(str(tmp_path / 'frames' / f'{i}.png'), image)
  ids = np.zeros((33, 49), np.uint8)
  ids[8:25, 4:20], ids[8:25, 28:44] = 3, 17
  cv2.imwrite(str(tmp_path / 'mask.png'), ids)
  return tmp_path / 'frames', tmp_path / 'mask.png'


def test_segment_video(clip, tmp_path, copying_weights):
  frames, mask = clip
  folder = feelvos_tf.segment_video(str(frames), mask, tmp_path / 'result', copying_weights)
  assert folder == tmp_path / 'result' / 'masks'
  assert sorted(p.name for p in folder.iterdir()) == ['0.png', '1.png', '2.png']
  given = masks.read_mask(mask).ids
  for name in ('0.png', '2.png'):
    np.testing.assert_array_equal(masks.read_mask(folder / name).ids[::4, ::4], given[::4, ::4])
  assert (tmp_path / 'result' / 'overlay.mp4').is_file()


def test_segment_video_takes_a_model_and_options(clip, tmp_path, copying_model):
  frames, mask = clip
  folder = feelvos_tf.segment_video(
    frames, mask, tmp_path / 'result', copying_model, pictures=False, max_internal_size=32
  )
  assert [p.name for p in (tmp_path / 'result').glob('*.mp4')] == []
  assert set(np.unique(masks.read_mask(folder / '2.png').ids)) == {0, 3, 17}


def test_segment_video_refuses_what_cannot_be(clip, tmp_path, copying_model):
  frames, mask = clip
  with pytest.raises(FileNotFoundError, match=r'nowhere.mp4: no such file or folder'):
    feelvos_tf.segment_video(tmp_path / 'nowhere.mp4', mask, tmp_path / 'result')
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'notes.txt').write_text('mine')
  with pytest.raises(ValueError, match='is not empty'):
    feelvos_tf.segment_video(frames, mask, tmp_path / 'full', copying_model)


def test_default_model_is_packaged():
  assert default_model.model_path().is_file()


def test_the_default_model_by_whatever_name(tmp_path, monkeypatch):
  path = default_model.DEFAULT_MODEL
  (tmp_path / 'link.h5').symlink_to(path)
  monkeypatch.chdir(path.parent)
  for name in (None, '', 'default', path, str(path), path.name, tmp_path / 'link.h5'):
    assert default_model.is_default(name)
  for name in ('other.h5', path.parent, path.parent / 'README.md'):
    assert not default_model.is_default(name)

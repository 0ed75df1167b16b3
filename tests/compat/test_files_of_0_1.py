"""Files of version 0.1 (see make_files.py) are read with the values they hold."""

import json
import pathlib
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources.synthetic import SyntheticVideo
from feelvos_tf.datasets.tfrecord import videos
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.model.weights import load_model
from feelvos_tf.saved_model import signatures
from feelvos_tf.saved_model.exported_model import ExportedModel
from feelvos_tf.training.trainer import Trainer
from feelvos_tf.training.trainer import TrainerOptions

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESUMED_AT = 2  # Frames that 0.1 had segmented when it wrote the state.


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('version_0_1')
  with zipfile.ZipFile(pathlib.Path(__file__).with_name('files_of_0_1.zip')) as archive:
    archive.extractall(path)
  return path


@pytest.fixture(scope='module')
def expected(folder):
  """What 0.1 computed: `frames`, `masks`, `probabilities` of the last frame, `sums` of weights."""
  with np.load(folder / 'expected.npz') as archive:
    return dict(archive)


@pytest.fixture(scope='module')
def model(folder):
  return load_model(folder / 'weights.h5')


@pytest.fixture(scope='module')
def exported(folder):
  return ExportedModel(folder / 'models' / 'small' / '1')


def assert_masks(found, expected):
  """Another processor may round another way at the border of an object."""
  assert np.mean(np.asarray(found) != expected) < 1e-3
  assert len(np.unique(expected)) == 3


def segment(model, expected):
  segmenter = VideoSegmenter(model)
  results = [segmenter.start(expected['frames'][0], expected['masks'][0])]
  return results + [segmenter.step(frame) for frame in expected['frames'][1:]]


def test_weights(model, expected):
  assert model.options.head_dimension == 4 and model.options.frame_grid == 16
  # What came later is off.
  assert not model.options.other_object_distances and model.options.internal_size is None
  sums = [np.abs(weight.numpy(), dtype=np.float64).sum() for weight in model.weights]
  np.testing.assert_array_equal(sums, expected['sums'])


def test_masks_of_the_weights(model, expected):
  results = segment(model, expected)
  assert_masks([result.mask for result in results], expected['masks'])
  np.testing.assert_allclose(results[-1].probabilities, expected['probabilities'], atol=1e-3)


def test_exported_model(exported, expected):
  assert exported.keeps_state
  assert_masks([result.mask for result in segment(exported, expected)], expected['masks'])


@pytest.mark.parametrize('by', ['the exported model of 0.1', 'an export of today'])
def test_state_of_a_video(by, folder, exported, model, expected):
  images = [cv2.imencode('.png', frame[..., ::-1])[1].tobytes() for frame in expected['frames']]
  given = dict(
    image_bytes=tf.constant(images[RESUMED_AT:]),
    mask_bytes=tf.constant(b''),
    state_bytes=tf.constant((folder / 'state').read_bytes()),
  )
  if by == 'an export of today':
    result = signatures.Signatures(model).track_resume(**given)
  else:
    result = exported.signatures['track_resume'](**given)
  found = [masks.decode_mask(data, by, void=False).ids for data in result['masks_bytes'].numpy()]
  assert_masks(found, expected['masks'][RESUMED_AT:])


def test_checkpoint_of_a_training(folder):
  """The trainer takes the checkpoint: weights and the optimizer's slots."""
  values = json.loads((folder / 'run' / 'run.json').read_text())['options']['model']
  del values['num_classes']
  model = Feelvos(FeelvosOptions.from_dict(values))
  trainer = Trainer(model, None, TrainerOptions(str(folder / 'run'), batch_size=1))
  assert trainer.resume() == 2
  stored = json.loads((folder / 'checkpoint.json').read_text())
  variables = {
    'weights': tf1_checkpoint.variables_by_name(model),
    'optimizer/slots': trainer._take_step.optimizer.slots,
  }
  for kind, named in variables.items():
    for name, variable in named.items():
      key = f'{kind}/{name.replace("/", ".S")}/.ATTRIBUTES/VARIABLE_VALUE'
      total = np.abs(variable.numpy(), dtype=np.float64).sum()
      assert total == pytest.approx(stored.pop(key), rel=1e-9), key
  assert not [name for name in stored if name.startswith(('weights', 'optimizer/slots'))]


def test_records(folder):
  (video,) = videos.record_videos(folder / 'records', 'train')
  drawn = SyntheticVideo(0, num_frames=2, frame_size=(40, 52), num_objects=2)
  assert (video.name, video.num_frames) == ('synthetic_00000', 2)
  for index in range(2):
    np.testing.assert_array_equal(video.mask(index).ids, drawn.mask(index).ids)
    assert np.abs(video.frame(index).astype(int) - drawn.frame(index)).mean() < 8  # Stored as JPEG.


@pytest.mark.slow
def test_a_run_goes_on(folder):
  process = subprocess.run(
    [sys.executable, '-m', 'feelvos_tf.train', f'--train_logdir={folder / "run"}']
    + [*(folder / 'run.txt').read_text().splitlines(), '--training_number_of_steps=3'],
    cwd=ROOT,
    text=True,
    capture_output=True,
    timeout=600,
    check=False,
  )
  assert process.returncode == 0, process.stderr
  assert 'resumed at step 2.' in process.stdout and 'step 3/3' in process.stdout

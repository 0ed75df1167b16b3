"""One entry of the registry, and conversion, training and evaluation know the data set."""

import dataclasses
import errno
import functools
import json
import os

from absl import flags
import cv2
import numpy as np
import pytest

from feelvos_tf import evaluate
from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import registry
from feelvos_tf.datasets.sources import synthetic
from feelvos_tf.datasets.tfrecord import planning
from feelvos_tf.datasets.video import VideoSource
from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.files import whole_file
from feelvos_tf.runtime import command_line
from feelvos_tf.tools import convert_to_tfrecord
from feelvos_tf.training.data_options import DataSet

SIZE = (24, 32)


def made_up_sources(folder, split, num_frames):
  """Two videos, as a module of a new data set would return them."""
  listed = (folder / f'{split}.txt').read_text().split()
  make = functools.partial(synthetic.SyntheticVideo, num_frames=num_frames, frame_size=SIZE)
  return [
    VideoSource(name, functools.partial(make, index, name=name))
    for index, name in enumerate(listed)
  ]


@pytest.fixture
def root(tmp_path, monkeypatch):
  """The folder of a data set 'made_up', which is registered."""
  entry = registry.DataSetEntry(
    lambda folder, split, num_frames: made_up_sources(tmp_path / 'data', split, num_frames),
    ('num_frames',),
    in_training={'num_frames': 5},
    aliases=('made_up_2026',),
  )
  monkeypatch.setitem(registry.DATA_SETS, 'made_up', entry)
  (tmp_path / 'data').mkdir()
  (tmp_path / 'data' / 'val.txt').write_text('cow dog')
  (tmp_path / 'data' / 'train.txt').write_text('cat')
  return tmp_path / 'data'


@pytest.fixture
def run():
  """Runs a main in this process, where the data set is registered."""

  def run(module, *arguments):
    before = set(flags.FLAGS)
    module.define_flags()
    try:
      flags.FLAGS(['program', *arguments])
      module.main()
    finally:
      for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)
      flags.FLAGS.unparse_flags()

  return run


def test_conversion(root, run, tmp_path, capsys):
  run(
    convert_to_tfrecord,
    '--dataset=made_up_2026',
    f'--data_dir={root}',
    '--split=val',
    '--sequences=dog',
    '--num_frames=3',
    '--num_workers=1',
    f'--output_dir={tmp_path / "records"}',
  )
  assert '1 videos, 3 frames' in capsys.readouterr().out
  manifest = json.loads((tmp_path / 'records' / 'manifest.json').read_text())
  assert manifest['splits']['val']['dataset'] == 'made_up'


def test_training(root):
  from feelvos_tf.training import data

  options = DataSet('made_up_2026', folder=str(root))
  (clip,) = data.clips(options)
  assert (options.name, clip.name, clip.num_frames) == ('made_up', 'cat', 5)


def test_evaluation(root, run, tmp_path, capsys):
  """It has no folders of files: videos are unpacked, and results scored against that."""
  for source in made_up_sources(root, 'val', 8):
    video = source.opener()
    (tmp_path / 'results' / source.name).mkdir(parents=True)
    for index in range(8):
      path = tmp_path / 'results' / source.name / f'{index:05d}.png'
      masks.write_mask(path, video.mask(index).ids)
  run(
    evaluate,
    '--dataset=made_up',
    f'--data_dir={root}',
    f'--results_dir={tmp_path / "results"}',
    f'--output_dir={tmp_path / "out"}',
    '--num_workers=1',
    '--noreport',
  )
  summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
  assert sorted(summary['sequences']) == ['cow', 'dog'] and summary['global']['J-Mean'] == 1
  assert summary['settings']['protocol'] == 'davis2017'


def write_stills(root, objects):
  """Stills of 24 x 32 with a mask of one object, or of none."""
  for folder in ('images', 'masks'):
    (root / folder).mkdir(parents=True)
  for name, has_object in objects.items():
    cv2.imwrite(str(root / 'images' / f'{name}.jpg'), np.full((*SIZE, 3), 90, np.uint8))
    ids = np.zeros(SIZE, np.uint8)
    ids[6:18, 8:20] = has_object
    masks.write_mask(root / 'masks' / f'{name}.png', ids)


def test_a_full_disk_leaves_no_video_out(run, tmp_path, monkeypatch):
  """A video cannot be unpacked, and not for what is in it."""
  write_stills(tmp_path / 'stills', {'cow': True, 'emu': True})
  write = whole_file.write_bytes

  def full(path, data, last=True):
    if path.parent.name == 'emu':  # Its frames; what comes before fits.
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    write(path, data, last)

  monkeypatch.setattr(whole_file, 'write_bytes', full)
  with pytest.raises(OSError, match='No space left on device'):
    run(
      evaluate,
      '--dataset=static_images',
      f'--data_dir={tmp_path / "stills"}',
      '--baseline=copy_first_mask',
      f'--output_dir={tmp_path / "out"}',
      '--on_error=skip',
    )


def test_a_bad_video_that_has_to_be_unpacked_is_left_out(run, tmp_path):
  write_stills(tmp_path / 'stills', {'cow': True, 'dog': False, 'emu': True})
  arguments = (
    '--dataset=static_images',
    f'--data_dir={tmp_path / "stills"}',
    '--baseline=copy_first_mask',
    f'--output_dir={tmp_path / "out"}',
    '--num_workers=1',
    '--noreport',
  )
  with pytest.raises(ValueError, match='dog.png'):
    run(evaluate, *arguments)
  run(evaluate, *arguments, '--on_error=skip')
  summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
  assert sorted(summary['sequences']) == ['cow', 'emu']
  assert list(summary['left_out']) == ['dog'] and 'dog.png' in summary['left_out']['dog']
  with pytest.raises(ValueError, match='no sequence could be read: .*dog.png'):
    run(evaluate, *arguments, '--on_error=skip', '--sequences=dog')
  with pytest.raises(ValueError, match='not written, as 1 of 2 sequences .*: dog'):
    archive = f'--submission_zip={tmp_path / "masks.zip"}'
    run(evaluate, *arguments, '--on_error=skip', '--sequences=dog,emu', archive)


@pytest.mark.parametrize('name', list(registry.DATA_SETS))
def test_every_entry_fits(name):
  """Its options are fields, its protocol is known, its notes can be written as JSON."""
  entry = registry.find(name)
  fields = {field.name for field in dataclasses.fields(registry.SourceOptions)}
  assert {*entry.options, *entry.in_training, *entry.unnoted} <= fields
  assert entry.protocol in sequence_scores.PROTOCOLS
  assert set(json.loads(json.dumps(entry.settings(registry.SourceOptions())))) <= fields
  assert [registry.full_name(alias) for alias in entry.aliases] == [name] * len(entry.aliases)


def test_a_conversion_of_before_goes_on():
  """Settings are part of what tells conversions apart: as version 0.1 wrote them."""
  options = registry.SourceOptions(num_frames=2, seed=7, frame_size=SIZE)
  settings = {name: entry.settings(options) for name, entry in registry.DATA_SETS.items()}
  assert settings == {
    'davis2016': {'resolution': '480p'},
    'davis2017': {'resolution': '480p'},
    'youtube_vos_2018': {'all_frames': False},
    'youtube_vos_2019': {'all_frames': False},
    'folder': {'sparse_masks': False},
    'static_images': {'num_frames': 2, 'seed': 7},
    'synthetic': {'num_frames': 2, 'frame_size': SIZE, 'num_objects': 2},
  }
  sources = registry.open_sources('synthetic', None, 'train', options, ['synthetic_00008'])
  plan = planning.plan(sources, planning.ConversionOptions('x', 'synthetic'))
  np.testing.assert_array_equal(plan[0].sources[0].opener().frame_size, SIZE)


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--dataset=made', '--data_dir=x'], "data set 'made' given; expected one of davis2016"),
    (['--dataset=folder'], '--dataset=folder needs --data_dir'),
    (['--data_dir=x', '--davis_root=y'], '--data_dir needs --dataset'),
    (['--dataset=synthetic', '--davis_root=y'], 'exactly one of --davis_root, .* and --dataset'),
    (['--dataset=davis2017', '--data_dir=y', '--year=2016'], 'davis2017 and --year=2016 given'),
    (['--youtube_vos_root=y', '--year=2016'], '--youtube_vos_root and --year=2016 given'),
  ],
)
def test_wrong_usage_of_evaluate(run, arguments, message):
  with pytest.raises(command_line.UsageError, match=message):
    run(evaluate, '--results_dir=x', *arguments)


def test_a_meta_file_that_is_not_there(run, tmp_path):
  """It was left aside, and with it the numbers of seen and unseen categories."""
  flags = (f'--results_dir={tmp_path}', f'--youtube_vos_root={tmp_path}', '--train_meta=no.json')
  with pytest.raises(FileNotFoundError, match='no.json: no such file; check --train_meta'):
    run(evaluate, *flags)


def test_a_video_that_is_not_there():
  with pytest.raises(ValueError, match="'dog' given, expected one of the 20 of split val: synth"):
    registry.open_sources('synthetic', None, 'val', sequences=['dog'])
  with pytest.raises(ValueError, match='frame_size is .3,.; expected height,width'):
    registry.SourceOptions(frame_size=(3,))

"""Checkpoints of a run that a power failure or a kill damaged."""

import errno
import os
import shutil
import time

import pytest
import tensorflow as tf

from feelvos_tf.files import plain_path
from feelvos_tf.training import checkpoints

_PARTS = ('index', 'data-00000-of-00001')


def open_run(folder, max_to_keep=5):
  """(Checkpoints, the variable they hold)."""
  value = tf.Variable(-1)
  return checkpoints.Checkpoints(folder, tf.train.Checkpoint(value=value), max_to_keep), value


def write_run(folder, steps):
  run, value = open_run(folder)
  for step in steps:
    value.assign(step)
    run.save(step)


def restored(folder):
  """(value that comes back, what is said)."""
  run, value = open_run(folder)
  lines = run.restore(lambda: int(value))
  return int(value), lines


def test_a_new_run(tmp_path):
  run, value = open_run(tmp_path / 'new')
  assert run.latest is None and run.restore(lambda: int(value)) == []


def test_the_newest_is_taken_and_old_ones_go(tmp_path):
  write_run(tmp_path, range(7))
  assert restored(tmp_path) == (6, [])
  assert len(list(tmp_path.glob('*.index'))) == 5


def test_a_folder_whose_name_looks_like_a_pattern(tmp_path):
  folder = tmp_path / 'mine [2]' / 'checkpoints'
  assert open_run(folder)[0].latest is None and not folder.exists()
  write_run(folder, range(7))
  assert 'feelvos_links' not in (folder / 'checkpoint').read_text()  # Other processes go on.
  assert restored(folder) == (6, [])
  assert len(list(folder.glob('*.index'))) == 5
  assert open_run(folder)[0].latest == str(folder / 'train-6')
  (folder / 'train-6.data-00000-of-00001').write_bytes(b'')
  value, (line,) = restored(folder)
  assert value == 5
  assert line.startswith(f'{folder}/train-6: ') and line.endswith(f'{folder}/train-5 is taken')


def test_neither_folder_nor_link_need_last_as_long_as_the_training(tmp_path):
  folder = tmp_path / 'mine [2]'
  run, value = open_run(folder)
  shutil.rmtree(os.path.dirname(plain_path.of_folder(folder)))
  for step in (1, 2):
    value.assign(step)
    run.save(step)
    assert (folder / f'train-{step}.index').is_file()
    shutil.rmtree(folder)


def test_a_damaged_one_gives_way_to_the_one_before_and_is_written_anew(tmp_path):
  write_run(tmp_path, [2, 4])
  (tmp_path / 'train-4.data-00000-of-00001').write_bytes(b'')
  run, value = open_run(tmp_path)
  (line,) = run.restore(lambda: int(value))
  assert int(value) == 2
  assert 'train-4: the checkpoint is damaged' in line and line.endswith('train-2 is taken')
  value.assign(4)
  run.save(4)
  assert restored(tmp_path) == (4, [])


@pytest.mark.parametrize(
  'text',
  [
    b'',
    b'model_checkpoint_path: "tra',
    b'\xff\x00',
    None,
    b'model_checkpoint_path: "train-9"\n',  # Cut off behind a line.
    b'model_checkpoint_path: "train-3"\nall_model_checkpoint_paths: "train-3"\n',
  ],
)
def test_a_list_that_is_lost_or_not_of_the_files_is_made_anew(tmp_path, text):
  write_run(tmp_path, [9, 10])
  if text is None:
    (tmp_path / 'checkpoint').unlink()
  else:
    (tmp_path / 'checkpoint').write_bytes(text)
  line = (
    f'{tmp_path}/checkpoint: the list was lost or not that of the files; the newest is train-10'
  )
  assert restored(tmp_path) == (10, [line])
  run, value = open_run(tmp_path, max_to_keep=2)
  value.assign(11)
  run.save(11)
  assert restored(tmp_path) == (11, [])
  assert not (tmp_path / 'train-9.index').exists()


def test_checkpoints_that_are_gone_are_no_new_run(tmp_path):
  """A list that was cut off names none but the newest: the run began anew, "resumed at step 0"."""
  write_run(tmp_path, [9, 10])
  for path in tmp_path.glob('train-*'):
    path.unlink()
  with pytest.raises(ValueError, match='train-10: the checkpoint does not fit this model or is'):
    restored(tmp_path)
  (tmp_path / 'checkpoint').write_text('model_checkpoint_path: "train-10"\n')
  with pytest.raises(ValueError, match='train-10: the checkpoint does not fit this model or is'):
    restored(tmp_path)


def test_what_is_left_of_a_checkpoint_goes(tmp_path):
  """A kill came while it was removed, or its index is lost: it counts until it is removed."""
  write_run(tmp_path, [8, 9, 10])
  for step in (8, 10):
    (tmp_path / f'train-{step}.index').unlink()
  run, value = open_run(tmp_path, max_to_keep=2)
  (line,) = run.restore(lambda: int(value))
  assert int(value) == 9
  assert 'train-10: the checkpoint is damaged' in line and line.endswith('train-9 is taken')
  for step in (10, 11):
    run.save(step)
  kept = {'checkpoint', *(f'train-{n}.{kind}' for n in (10, 11) for kind in _PARTS)}
  assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize('damaged, kept', [((), (3, 4)), ((4,), (3, 4)), ((3, 4), (1, 2, 3, 4))])
def test_old_ones_that_were_not_removed_go_once_a_newer_one_is_taken(tmp_path, damaged, kept):
  """The disk was full when the list was written, and the run ended with that checkpoint."""
  write_run(tmp_path, [1, 2, 3, 4])
  for step in damaged:
    (tmp_path / f'train-{step}.data-00000-of-00001').write_bytes(b'')
  run, value = open_run(tmp_path, max_to_keep=2)
  run.restore(lambda: int(value))
  assert int(value) == max({1, 2, 3, 4}.difference(damaged))
  files = {f'train-{step}.{part}' for step in kept for part in _PARTS}
  assert {path.name for path in tmp_path.iterdir()} == {'checkpoint', *files}


def test_a_clock_that_was_set_back(tmp_path, monkeypatch):
  """TensorFlow leaves checkpoints of the future out of its list."""
  write_run(tmp_path, [9, 10])
  monkeypatch.setattr(time, 'time', lambda: 1e9)
  assert restored(tmp_path) == (10, [])


def test_a_kill_during_the_first_one_leaves_none(tmp_path):
  write_run(tmp_path, [1])
  (tmp_path / 'checkpoint').write_bytes(b'')
  (tmp_path / 'train-1.index').unlink()
  assert restored(tmp_path) == (-1, [])


def test_all_damaged(tmp_path):
  write_run(tmp_path, [1, 2])
  for path in tmp_path.glob('*.index'):
    path.write_bytes(b'')
  with pytest.raises(ValueError, match='train-2: the checkpoint does not fit this model or is dam'):
    restored(tmp_path)


def test_a_full_disk_is_an_error_of_the_disk(tmp_path, monkeypatch):
  """TensorFlow raises an error of its own."""
  run, _ = open_run(tmp_path)

  def save(**unused):
    raise tf.errors.ResourceExhaustedError(
      None, None, f'{tmp_path}/train-1; No space left on device'
    )

  monkeypatch.setattr(run._manager, 'save', save)
  with pytest.raises(OSError) as error:
    run.save(1)
  assert (error.value.errno, error.value.filename) == (errno.ENOSPC, os.fspath(tmp_path))


def test_what_tensorflow_left_goes(tmp_path):
  """A full disk or a kill ends it between writing and renaming."""
  write_run(tmp_path, [1])
  whole = {path.name for path in tmp_path.iterdir()}
  (tmp_path / 'checkpoint.tmpef601dc9c1e3').touch()
  (tmp_path / 'train-2.data-00000-of-00001.tempstate17').touch()
  (tmp_path / 'train-2_temp').mkdir()
  (tmp_path / 'train-2_temp' / 'part-00000-of-00001.index').touch()
  assert restored(tmp_path) == (1, [])
  assert {path.name for path in tmp_path.iterdir()} == whole

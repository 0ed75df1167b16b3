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


def numbers(folder):
  """Those of the checkpoints that are there."""
  return sorted(path.stem.rpartition('-')[2] for path in folder.glob('*.index'))


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


@pytest.mark.parametrize('text', [b'', b'model_checkpoint_path: "tra', b'\xff\x00', None])
def test_without_a_list_the_newest_file_is_taken_and_none_is_removed(tmp_path, text):
  write_run(tmp_path, [9, 10])
  for name in ('train-mine-99.index', 'train-x.index'):  # Copies under other names.
    shutil.copy(tmp_path / 'train-9.index', tmp_path / name)
  if text is None:
    (tmp_path / 'checkpoint').unlink()
  else:
    (tmp_path / 'checkpoint').write_bytes(text)
  value, (line,) = restored(tmp_path)
  assert value == 10
  assert line.startswith(f'{tmp_path}/checkpoint: lost or damaged; train-10 is the newest')
  run, value = open_run(tmp_path, max_to_keep=2)
  for step in (11, 12, 13):
    value.assign(step)
    run.save(step)
  assert restored(tmp_path) == (13, [])
  assert numbers(tmp_path) == ['10', '12', '13', '9', '99', 'x']  # Not 11, of the new list.


@pytest.mark.parametrize('keeps_others', [True, False])
def test_a_list_that_names_an_older_one_is_obeyed(tmp_path, keeps_others):
  """So users of TensorFlow go back. A list that was cut off behind its first line is one, too."""
  write_run(tmp_path, [8, 9, 10])
  lines = (tmp_path / 'checkpoint').read_text().splitlines()
  lines = ['model_checkpoint_path: "train-9"', *(lines[1:] if keeps_others else [])]
  (tmp_path / 'checkpoint').write_text('\n'.join(lines))
  run, value = open_run(tmp_path, max_to_keep=1)
  assert run.latest == str(tmp_path / 'train-9')
  assert run.restore(lambda: int(value)) == [] and int(value) == 9
  assert numbers(tmp_path) == ['10', '8', '9']
  value.assign(10)
  run.save(10)
  assert restored(tmp_path) == (10, [])


def test_what_a_list_names_is_damaged_after_going_back(tmp_path):
  """The one before it is taken, not those that were given up, nor the copy of another run."""
  write_run(tmp_path, [8, 9, 10, 200])
  (tmp_path / 'checkpoint').write_text('model_checkpoint_path: "train-9"\n')
  (tmp_path / 'train-9.data-00000-of-00001').write_bytes(b'')
  value, (line,) = restored(tmp_path)
  assert value == 8 and line.endswith('train-8 is taken')
  (tmp_path / 'train-8.index').unlink()
  value, (*_, line) = restored(tmp_path)
  assert value == 200 and line.endswith('train-200 is taken')


@pytest.mark.parametrize('is_edited', [False, True])
def test_checkpoints_that_are_gone_are_no_new_run(tmp_path, is_edited):
  """A list that was cut off names none but the newest: the run began anew, "resumed at step 0"."""
  write_run(tmp_path, [9, 10])
  if is_edited:
    (tmp_path / 'checkpoint').write_text('model_checkpoint_path: "train-10"\n')
  for path in tmp_path.glob('train-10.*'):
    path.unlink()
  value, (line,) = restored(tmp_path)
  assert value == 9 and 'train-10: the checkpoint is damaged' in line
  for path in tmp_path.glob('train-*'):
    path.unlink()
  with pytest.raises(ValueError, match='train-10: the checkpoint does not fit this model or is'):
    restored(tmp_path)


def test_copies_that_somebody_keeps_stay(tmp_path):
  write_run(tmp_path, [1, 4])
  for part in _PARTS:
    shutil.copy(tmp_path / f'train-1.{part}', tmp_path / f'train-0.{part}')
    shutil.copy(tmp_path / f'train-4.{part}', tmp_path / f'train-3.{part}')
  run, value = open_run(tmp_path, max_to_keep=1)
  run.restore(lambda: int(value))
  value.assign(5)
  run.save(5)
  assert numbers(tmp_path) == ['0', '3', '5']


def test_what_is_left_of_a_checkpoint_goes(tmp_path):
  """A kill came while it was removed: the list names it still."""
  write_run(tmp_path, [8, 9, 10])
  (tmp_path / 'train-8.index').unlink()
  run, value = open_run(tmp_path, max_to_keep=2)
  assert run.restore(lambda: int(value)) == [] and int(value) == 10
  run.save(11)
  kept = {'checkpoint', *(f'train-{n}.{kind}' for n in (10, 11) for kind in _PARTS)}
  assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_clock_that_was_set_back(tmp_path, monkeypatch):
  """TensorFlow forgets checkpoints of the future: it neither goes back to them nor removes them."""
  write_run(tmp_path, [8, 9, 10])
  monkeypatch.setattr(time, 'time', lambda: 1e9)
  run, value = open_run(tmp_path, max_to_keep=2)
  assert run.restore(lambda: int(value)) == [] and int(value) == 10
  value.assign(11)
  run.save(11)
  assert numbers(tmp_path) == ['10', '11']
  (tmp_path / 'train-11.index').write_bytes(b'')
  assert restored(tmp_path)[0] == 10


def test_a_kill_between_the_first_one_and_its_list(tmp_path, monkeypatch):
  """It is the run's own, and removed as all are."""

  def interrupt():
    raise KeyboardInterrupt

  run, value = open_run(tmp_path)
  value.assign(1)
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(run._manager, '_record_state', interrupt)
    run.save(1)
  assert numbers(tmp_path) == ['1']
  assert restored(tmp_path) == (1, [])
  run, value = open_run(tmp_path, max_to_keep=1)
  run.save(2)
  assert numbers(tmp_path) == ['2']
  (tmp_path / 'checkpoint').write_text('# train-2 is being written.\n')
  (tmp_path / 'train-2.index').unlink()
  assert restored(tmp_path) == (-1, [])


def test_a_kill_while_old_ones_are_removed_at_the_end_of_a_run(tmp_path):
  """TensorFlow removes what its list has too many of with the next one."""
  write_run(tmp_path, [1, 2, 3])
  (tmp_path / 'train-1.index').unlink()
  run, value = open_run(tmp_path, max_to_keep=1)
  run.restore(lambda: int(value))
  kept = {'checkpoint', *(f'train-3.{part}' for part in _PARTS)}
  assert {path.name for path in tmp_path.iterdir()} == kept
  assert restored(tmp_path) == (3, [])


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

"""One run at a time in a folder, whatever the commands are."""

import errno
import fcntl
import os

import pytest

from feelvos_tf.files import folder_lock
from feelvos_tf.runtime.result_folder import ResultFolder
from feelvos_tf.training.run_directory import RunDirectory

REFUSED = r'another run is writing there.*; wait for its end or choose another output folder'
HOLDERS = {
  'convert-masks, convert-data': folder_lock.locked,
  'segment, evaluate': lambda path: ResultFolder(path, 'a', overwrite=True),
  'train': lambda path: RunDirectory(path).locked(),
}


@pytest.mark.parametrize('first', HOLDERS)
@pytest.mark.parametrize('second', HOLDERS)
def test_commands_see_each_other(tmp_path, first, second):
  with (
    HOLDERS[first](tmp_path / 'new'),
    pytest.raises(ValueError, match=f'new: {REFUSED}'),
    HOLDERS[second](tmp_path / 'new'),
  ):
    pass
  with HOLDERS[second](tmp_path / 'new'):
    pass
  assert not list((tmp_path / 'new').iterdir())


def test_the_holder_is_named(tmp_path):
  with (
    folder_lock.locked(tmp_path),
    pytest.raises(ValueError, match=rf'there( \(process {os.getpid()}\))?; wait'),
    folder_lock.locked(tmp_path),
  ):
    pass


def test_a_disk_that_locks_files_only(tmp_path, monkeypatch):
  """As NFS does: it refuses a lock on what is open to read."""
  lock = fcntl.flock

  def refuse(descriptor, operation):
    if os.path.isdir(f'/proc/self/fd/{descriptor}'):
      raise OSError(errno.EBADF, 'Bad file descriptor')
    lock(descriptor, operation)

  monkeypatch.setattr(fcntl, 'flock', refuse)
  with (
    folder_lock.locked(tmp_path),
    pytest.raises(ValueError, match=REFUSED),
    folder_lock.locked(tmp_path),
  ):
    pass
  with ResultFolder(tmp_path, 'a'):  # The file of the lock is nobody's result.
    pass


def test_a_disk_without_locks(tmp_path, monkeypatch):
  def refuse(descriptor, operation):
    raise OSError(errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(fcntl, 'flock', refuse)
  with folder_lock.locked(tmp_path):
    pass


def test_a_file_and_a_folder_that_cannot_be_made(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(ValueError, match='is a file; the'), folder_lock.locked(tmp_path / 'file'):
    pass
  with (
    pytest.raises(ValueError, match=r'cannot be written to \(Not a directory\)'),
    folder_lock.locked(tmp_path / 'file' / 'a'),
  ):
    pass

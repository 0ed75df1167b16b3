"""One run at a time in a folder, whatever the commands are."""

from collections.abc import Iterator
import contextlib
import errno
import fcntl
import os
import pathlib
import re

# Where a network disk locks files only. It stays: to remove it would let two runs lock two files.
LOCK_FILE = '.feelvos_lock'


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
  """Holds a folder for the `with` block; the kernel lets go of it when the process ends.

  The lock is on the folder itself and leaves nothing in it. All commands that write into folders
  take this one.

  Args:
    folder: is made if it does not exist.

  Raises:
    ValueError: another process holds it, it is a file, or it cannot be made.
  """
  folder = pathlib.Path(folder)
  with contextlib.ExitStack() as stack:
    try:
      folder.mkdir(parents=True, exist_ok=True)
      descriptor = _open(folder, stack)
      try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EINTR):
          raise
        descriptor = _open(folder / LOCK_FILE, stack)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise ValueError(
        f'{folder}: another run is writing there{_holder(descriptor)}; wait for its end or choose '
        'another output folder'
      ) from None
    except FileExistsError:
      raise ValueError(f'{folder} is a file; the output has to be a folder.') from None
    except OSError as error:
      if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
        raise ValueError(
          f'{folder}: cannot be written to ({error.strerror}); choose another output folder.'
        ) from error
      # A disk without any locks: nothing is locked.
    yield


def _open(path: pathlib.Path, stack: contextlib.ExitStack) -> int:
  flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
  descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
  stack.callback(os.close, descriptor)
  return descriptor


def _holder(descriptor: int) -> str:
  """' (process 7)', where the kernel says who holds a lock."""
  about = os.fstat(descriptor)
  try:
    text = pathlib.Path('/proc/locks').read_text(encoding='ascii')
  except (OSError, ValueError):
    return ''
  device = f'{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}'
  match = re.search(rf'FLOCK +\S+ +WRITE (\d+) {device}:{about.st_ino} ', text)
  return f' (process {match[1]})' if match else ''

"""Files that appear whole or not at all: written under a temporary name, then renamed."""

from collections.abc import Iterator
import contextlib
import errno
import fcntl
import os
import pathlib


@contextlib.contextmanager
def appearing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a temporary path for the `with` block to write; renames it to `path` at its end.

  Whoever opens `path` sees the old file or the new one, never a part; so does the next run after a
  kill. If the block fails, the temporary file is removed and `path` stays as it was. Two processes
  may write the same path: their temporary names differ, the last one stays.

  Args:
    path: file to write; its folder exists. The temporary name is `path`, the process number and
      `.tmp`, in the same folder.

  Raises:
    OSError: the file cannot be renamed, or what the block raises.
  """
  path = pathlib.Path(path)
  temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
  try:
    with named_errors(path):
      yield temporary
      os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
  """Holds a folder for the `with` block; the kernel lets go of it when the process ends.

  Args:
    folder: is made if it does not exist.

  Raises:
    ValueError: another process holds it.
    OSError: it cannot be made.
  """
  os.makedirs(folder, exist_ok=True)
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      if error.errno == errno.EWOULDBLOCK:
        raise ValueError(
          f'{folder}: another run is writing there; wait for its end or choose another output folder'
        ) from None
      # Some network disks lock files only. Then nothing is locked.
    yield
  finally:
    os.close(descriptor)


@contextlib.contextmanager
def named_errors(path: str | os.PathLike) -> Iterator[None]:
  """Gives errors of the `with` block that lack a file's name (a full disk's do) that of `path`.

  Raises:
    OSError: what the block raises, with a name.
  """
  try:
    yield
  except OSError as error:
    if error.filename is None and error.errno is not None:
      error.filename = str(path)
    raise


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a UTF-8 file, see `appearing`; names of other bytes stay as they are on disk."""
  with appearing(path) as temporary:
    temporary.write_text(text, encoding='utf-8', errors='surrogateescape')


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
  """Writes a binary file, see `appearing`."""
  with appearing(path) as temporary:
    temporary.write_bytes(data)

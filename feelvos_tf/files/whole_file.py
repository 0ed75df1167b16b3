"""Files and folders that appear whole or not at all, and stay after a power failure.

One rule for everything that is kept: it is written under a temporary name in the folder where it
goes, flushed to the disk, renamed, and then the folder is flushed. Nothing else in this project
renames or flushes. Whoever opens a name sees the old content or the new one; so does the next run
after a kill.

Temporary names begin with `.feelvos_` and hold the machine and the process. What a killed process
left is removed by the first one that writes into the folder on that machine.
"""

from collections.abc import Iterator
import contextlib
import errno
import hashlib
import os
import pathlib
import re
import shutil

_LEFTOVER = re.compile(
  r'\.feelvos_(?P<machine>[0-9a-f]{8})(?P<name>[0-9a-f]{16})\.(?P<process>\d+)\.tmp(\..*)?'
)
# What a disk answers; libraries hand it on as text.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
# What no input that is read can give: of the disk, and the limits of open files and memory.
_NO_ROOM = (
  *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),
  *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
)
_swept: set[tuple[int, str]] = set()  # (process, folder) whose leftovers were removed.


@contextlib.contextmanager
def appearing(path: str | os.PathLike, last: bool = True) -> Iterator[pathlib.Path]:
  """Yields a temporary path for the `with` block to write; gives it the name `path` at its end.

  If the block fails, the temporary file is removed and `path` stays as it was. Two processes may
  write the same path: the last one stays.

  Args:
    path: file to write; its folder exists.
    last: False for a file of a series: the caller flushes the folder at the end of it.

  Raises:
    OSError: the file cannot be written or renamed; it has a name and a number even if a library
      lost them.
    Exception: what else the block raises.
  """
  temporary = temporary_name(path)
  try:
    with named_errors(path):
      yield temporary
      move(temporary, path, last)
  finally:
    remove(temporary)


@contextlib.contextmanager
def appearing_folder(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a new temporary folder for the `with` block to fill, which is named `path` at its end.

  Args:
    path: folder to appear; it does not exist, the one above it does. Nobody else may write it at
      the same time: callers hold a lock.

  Raises:
    OSError: it cannot be made, written or renamed.
    Exception: what else the block raises.
  """
  temporary = temporary_name(path)
  try:
    with named_errors(path):
      _make_anew(temporary)
      yield temporary
      for inner in sorted(temporary.rglob('*')):
        flush(inner)
      move(temporary, path)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def temporary_name(path: str | os.PathLike) -> pathlib.Path:
  """The absolute path under which this process writes `path`, in the same folder, suffix kept.

  Short and ASCII, whatever the name is; absolute, as programs may take `-x/a.mp4` for an option.
  Leftovers of killed processes in the folder are removed on the first call.
  """
  path = pathlib.Path(os.path.abspath(path))
  remove_leftovers(path.parent)
  name = _hash(os.fsencode(path.name), 8)
  suffix = path.suffix if re.fullmatch(r'\.\w+', path.suffix, re.ASCII) else ''
  return path.parent / f'.feelvos_{_machine()}{name}.{os.getpid()}.tmp{suffix}'


def has_leftovers(folder: str | os.PathLike, name: str) -> bool:
  """Whether the temporary file of a name is in a folder: of a run that goes on, or was killed."""
  found = map(_LEFTOVER.fullmatch, os.listdir(folder))
  return any(match['name'] == _hash(os.fsencode(name), 8) for match in found if match)


def remove_leftovers(folder: str | os.PathLike) -> None:
  """Removes temporary files of processes that are gone, once per process and folder."""
  if (key := (os.getpid(), os.path.realpath(folder))) in _swept:
    return
  _swept.add(key)
  try:
    names = os.listdir(folder)
  except OSError:
    return  # Not there, or not ours to read: writing says so.
  for name in names:
    match = _LEFTOVER.fullmatch(name)
    if match and match['machine'] == _machine() and not _is_alive(int(match['process'])):
      path = pathlib.Path(folder, name)
      if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
      else:
        with contextlib.suppress(OSError):
          path.unlink(missing_ok=True)


def remove(temporary: str | os.PathLike) -> None:
  """Removes a temporary file that may be there. A disk that refuses that has said so before."""
  with contextlib.suppress(OSError):
    os.unlink(temporary)


def move(temporary: str | os.PathLike, path: str | os.PathLike, last: bool = True) -> None:
  """Flushes a finished file or folder and gives it its name.

  Args:
    temporary: the finished file or folder.
    path: its name, in the same file system; a file there is replaced.
    last: as for `appearing`.

  Raises:
    OSError: it cannot be flushed or renamed.
  """
  flush(temporary)
  os.replace(temporary, path)
  if last:
    flush(os.path.dirname(os.path.abspath(path)))


def flush(path: str | os.PathLike) -> None:
  """Waits until a file's content, or the names in a folder, are on the disk.

  Raises:
    OSError: the disk failed.
  """
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  except OSError as error:
    if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # Some disks cannot flush folders.
      raise
  finally:
    os.close(descriptor)


def append_line(path: str | os.PathLike, line: str) -> None:
  """Adds a line to a journal and flushes it to the disk.

  The line is one write, so that lines of several processes do not mix. It begins anew after a line
  that a kill or a full disk cut off.

  Raises:
    OSError: it cannot be written.
  """
  with named_errors(path), open(path, 'a+b', buffering=0) as stream:
    size = stream.seek(0, os.SEEK_END)
    whole = not size or os.pread(stream.fileno(), 1, size - 1) == b'\n'
    data = f'{line}\n'.encode() if whole else f'\n{line}\n'.encode()
    while data:  # A disk that gets full takes a part; the next call says that it is.
      data = data[stream.write(data) :]
    os.fsync(stream.fileno())


@contextlib.contextmanager
def named_errors(path: str | os.PathLike) -> Iterator[None]:
  """Gives errors of the disk in the `with` block a number, and a name that users know.

  Those of a full disk have no name, or a temporary one; TensorFlow and HDF5 raise others, with the
  number as text.

  Args:
    path: the name; that of a folder if files in a temporary one are written.

  Raises:
    OSError: with a name.
    Exception: what else the block raises.
  """
  try:
    yield
  except OSError as error:
    if error.errno is None and (code := _disk_error(error)):
      raise OSError(code, os.strerror(code), str(path)) from error
    if error.errno is None or (name := _known_name(error.filename, path)) == error.filename:
      raise
    raise OSError(error.errno, error.strerror, name) from error
  except ValueError:
    raise  # About data, with a name of its own.
  except Exception as error:
    if code := _disk_error(error):
      raise OSError(code, os.strerror(code), str(path)) from error
    raise


def _make_anew(temporary: pathlib.Path) -> None:
  """Makes a temporary folder; one that is there is of a killed process with the same number.

  Programs in containers have the same number, and machine, whenever they are started again.
  """
  shutil.rmtree(temporary, ignore_errors=True)
  temporary.mkdir()


def _known_name(filename: str | bytes | int | None, path: str | os.PathLike) -> str | bytes | int:
  """`path` for no name or a temporary one; what lies in a temporary folder lies in `path` then."""
  if filename is None:
    return str(path)
  if isinstance(filename, int):
    return filename
  parts = pathlib.PurePath(os.fsdecode(filename)).parts
  for place, part in enumerate(parts):
    if _LEFTOVER.fullmatch(part):
      return str(pathlib.PurePath(path, *parts[place + 1 :]))
  return filename


@contextlib.contextmanager
def temporary_folder(parent: str | os.PathLike, name: str = 'temporary') -> Iterator[pathlib.Path]:
  """Yields a new folder in `parent`, which goes at the end of the `with` block.

  Of one process there may be one at a time in `parent`: callers hold a lock of it.

  Args:
    parent: where it is made.
    name: what `has_leftovers` asks for.

  Raises:
    OSError: it cannot be made.
    Exception: what else the block raises.
  """
  temporary = temporary_name(pathlib.Path(parent, name))
  try:
    with named_errors(parent):
      _make_anew(temporary)
      yield temporary
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | os.PathLike, text: str, last: bool = True) -> None:
  """Writes a UTF-8 file, see `appearing`; names of other bytes stay as they are on disk."""
  write_bytes(path, text.encode('utf-8', errors='surrogateescape'), last)


def write_bytes(path: str | os.PathLike, data: bytes, last: bool = True) -> None:
  """Writes a binary file, see `appearing`."""
  with appearing(path, last) as temporary:
    temporary.write_bytes(data)


def is_of_disk(error: Exception) -> bool:
  """Whether an error is of the disk, not of what is written: another way to write fails as well."""
  return getattr(error, 'errno', None) in _DISK


def is_no_room(error: BaseException | None) -> bool:
  """Whether an error, or its cause, is of a full or read-only disk or a limit of the machine.

  Limits are those of the open files and of memory. It says nothing of the video that was worked on,
  and the next one fails as well.
  """
  while error is not None:
    # FFmpeg's MemoryError has a number too, but a damaged film gives it by the size that it claims.
    if getattr(error, 'errno', None) in _NO_ROOM and not isinstance(error, MemoryError):
      return True
    error = error.__cause__
  return False


def _disk_error(error: Exception) -> int | None:
  """Number of the error of a disk whose text `error` holds, or None."""
  return next((code for code in _DISK if os.strerror(code) in str(error)), None)


def _machine() -> str:
  return _hash(os.fsencode(os.uname().nodename), 4)


def _hash(data: bytes, size: int) -> str:
  return hashlib.blake2b(data, digest_size=size).hexdigest()


def _is_alive(process: int) -> bool:
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except (PermissionError, OverflowError):
    pass
  return True

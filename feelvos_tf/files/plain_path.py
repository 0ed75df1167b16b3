"""Paths for TensorFlow, which takes those of checkpoints for patterns and finds none in `a[1]`.

A link of a plain name stands for such a folder. Links lie in the system's folder for temporary
files and go at the end of the process.
"""

import atexit
import contextlib
import functools
import os
import re
import shutil
import tempfile

_PATTERN = re.compile(r'[*?\[\\]')


def of_folder(path: str | os.PathLike) -> str:
  """The path of a folder, or that of a link to it if TensorFlow would take the path for a pattern.

  Args:
    path: of a folder; it need not exist.
  """
  path = os.fspath(path)
  if not _PATTERN.search(path):
    return path
  folder = os.path.abspath(path)
  link = _link_of(folder)
  if not os.path.islink(link):  # New, or something tidied up temporary files since.
    os.makedirs(os.path.dirname(link), mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # Another thread made it.
      os.symlink(folder, link, target_is_directory=True)
  return link


def of_prefix(path: str | os.PathLike) -> str:
  """The same for the prefix of a checkpoint's files: links to those that there are.

  Args:
    path: such as `model.ckpt-200000`.
  """
  path = os.fspath(path)
  if not _PATTERN.search(path):
    return path
  folder, name = os.path.split(os.path.abspath(path))
  place = _place()
  for file in os.listdir(folder):
    if file == name or file.startswith(f'{name}.'):
      os.symlink(os.path.join(folder, file), os.path.join(place, f'checkpoint{file[len(name) :]}'))
  return os.path.join(place, 'checkpoint')


@functools.cache
def _link_of(folder: str) -> str:
  """Where the link to a folder goes; one for all who ask."""
  return os.path.join(_place(), 'folder')


def _place() -> str:
  """A new temporary folder."""
  # That of a job in a batch system may be called after it: job.7[2].
  where = '/tmp' if _PATTERN.search(tempfile.gettempdir()) else None
  place = tempfile.mkdtemp(prefix='feelvos_links_', dir=where)
  atexit.register(shutil.rmtree, place, ignore_errors=True)  # It removes links, not what they name.
  return place

"""Paths for TensorFlow, which takes those of checkpoints for patterns and finds none in `a[1]`.

A link of a plain name stands for such a folder. Links lie in the system's folder for temporary
files and go at the end of the process.
"""

import atexit
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
  return _link(os.path.abspath(path)) if _PATTERN.search(path) else path


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
def _link(folder: str) -> str:
  link = os.path.join(_place(), 'folder')
  os.symlink(folder, link, target_is_directory=True)
  return link


def _place() -> str:
  """A new temporary folder."""
  place = tempfile.mkdtemp(prefix='feelvos_links_')
  atexit.register(shutil.rmtree, place, ignore_errors=True)  # It removes links, not what they name.
  return place

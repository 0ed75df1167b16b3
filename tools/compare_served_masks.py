r"""Compares the masks of a server with those of the command line, over every way to get them.

  python -m tools.compare_served_masks --davis_root=DAVIS --sequences=bear,camel --frames=6 \
      --precision=auto

`feelvos segment` segments the first frames of the sequences; a server with an export of the
default model in the same precision gets the same JPEG files: as sessions over HTTP and WebSockets,
as `track` over gRPC and REST (`inputs` and `instances`), as `track_batch`, and over KServe v2. A
line a way says how many pixels differ. Exit code 1: more than one in 10,000 does.
"""

import dataclasses
import pathlib
import shutil
import subprocess
import sys
import tempfile

from absl import flags
from absl import logging
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names
from feelvos_tf.runtime import command_line
from feelvos_tf.tools.benchmarks import served_ways
from feelvos_tf.tools.benchmarks import serving_clients

LEAST_EQUAL = 0.9999
FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Clip:
  """The first frames of a sequence.

  Attributes:
    name: of the sequence.
    frames: JPEG files of them.
    mask: uint8 ids of the first.
    expected: uint8 ids of the others, by the command line.
  """

  name: str
  frames: list[bytes]
  mask: np.ndarray
  expected: list[np.ndarray]


def segmented(
  root: pathlib.Path, sequences: list[str], count: int, precision: str, work: pathlib.Path
) -> list[Clip]:
  """Runs `feelvos segment` on the first frames of sequences.

  Args:
    root: DAVIS-style folder. sequences: names. count: frames of each. precision: the flag.
    work: folder for copies of frames and masks, and for results.

  Raises:
    FileNotFoundError: there is no such sequence.
    ValueError: the command failed; it has said why.
  """
  for name in sequences:
    folder = root / 'JPEGImages' / '480p' / name
    if not folder.is_dir():
      raise FileNotFoundError(names.missing(folder, 'folder', 'check --davis_root, --sequences'))
    (work / 'masks').mkdir(parents=True, exist_ok=True)
    (work / 'clips' / name).mkdir(parents=True)
    for file in sorted(folder.glob('*.jpg'))[:count]:
      shutil.copy(file, work / 'clips' / name)
    mask = root / 'Annotations' / '480p' / name / f'{_files(work, name)[0].stem}.png'
    shutil.copy(mask, work / 'masks' / f'{name}.png')
  run_command(
    'segment',
    f'--input={work / "clips"}',
    f'--mask={work / "masks"}',
    f'--precision={precision}',
    '--clips_at_once=1',
    f'--output={work / "output"}',
  )
  return [_read_clip(work, name) for name in sequences]


def run_command(name: str, *arguments: str) -> None:
  """Runs a command of `feelvos`.

  Raises:
    ValueError: it failed; it has said why.
  """
  command = [sys.executable, '-m', f'feelvos_tf.{name}', *arguments]
  if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
    raise ValueError(f'feelvos {name} failed, see above.')


def _files(work: pathlib.Path, name: str) -> list[pathlib.Path]:
  return sorted((work / 'clips' / name).iterdir())


def _read_clip(work: pathlib.Path, name: str) -> Clip:
  files = _files(work, name)
  read = lambda path: masks.read_mask(path, void=False).ids
  return Clip(
    name,
    [file.read_bytes() for file in files],
    read(work / 'masks' / f'{name}.png'),
    [read(work / 'output' / name / 'masks' / f'{file.stem}.png') for file in files[1:]],
  )


def differing(clip: Clip, found: list[bytes]) -> int:
  """Number of pixels that differ from the command line's.

  Raises:
    ValueError: another number of masks, or another size.
  """
  ids = [masks.decode_mask(data, 'answer', void=False).ids for data in found]
  if [mask.shape for mask in ids] != [mask.shape for mask in clip.expected]:
    raise ValueError(f'{clip.name}: masks of another number or size came back.')
  return sum(int(np.sum(one != other)) for one, other in zip(ids, clip.expected))


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_string('davis_root', None, 'Folder in DAVIS layout.')
  flags.DEFINE_list(
    'sequences', ['bear', 'blackswan', 'camel', 'dog'], 'Sequences, separated by commas.'
  )
  flags.DEFINE_integer('frames', 6, 'Frames of each, with the first, whose mask is given.', 2)
  flags.DEFINE_string('precision', 'auto', 'As of feelvos segment and feelvos export.')
  flags.DEFINE_list('ways', list(served_ways.WAYS), 'Only these ways, separated by commas.')


def main() -> int:
  """Compares; prints a line a way."""
  logging.set_verbosity(logging.WARNING)  # httpx reports every request otherwise.
  if not FLAGS.davis_root:
    raise command_line.UsageError('--davis_root is missing.')
  unknown = sorted(set(FLAGS.ways) - set(served_ways.WAYS))
  if unknown:
    known = ', '.join(served_ways.WAYS)
    raise command_line.UsageError(f'--ways: {", ".join(unknown)} given, expected some of {known}.')
  root, worst = pathlib.Path(FLAGS.davis_root), 1.0
  with tempfile.TemporaryDirectory() as folder:
    work, models = pathlib.Path(folder), f'{folder}/models'
    clips = segmented(root, FLAGS.sequences, FLAGS.frames, FLAGS.precision, work)
    run_command('export', f'--output_dir={models}', f'--precision={FLAGS.precision}')
    pixels = sum(mask.size for clip in clips for mask in clip.expected)
    with serving_clients.served(models) as (_, http, grpc):
      for name in FLAGS.ways:
        wrong = sum(
          differing(
            clip, served_ways.WAYS[name](http, grpc, clip.frames, clip.mask, serving_clients.MODEL)
          )
          for clip in clips
        )
        worst = min(worst, 1 - wrong / pixels)
        print(
          f'{name}: {wrong} of {pixels} pixels differ ({100 * wrong / pixels:.4f} %)', flush=True
        )
  return 0 if worst >= LEAST_EQUAL else 1


if __name__ == '__main__':
  command_line.run(main, define_flags)

r"""Times whole frames next to other methods, in the same run: all take turns, round after round.

  git clone https://github.com/hkchengrex/Cutie CLONE
  python -m venv PEERS && PEERS/bin/pip install torch omegaconf einops pillow numpy
  python -m tools.benchmark_peers --cutie=CLONE --peers_python=PEERS/bin/python --json=peers.json

Cutie (Cheng et al., CVPR 2024) runs in a process and an environment of its own with random
weights: time only, its masks mean nothing. Ours is the default model. All see the demo clip at
--height and --width, and a round is CYCLE frames of each, so that Cutie's memory frames count. What
is given are medians over the rounds: of seconds a frame, of seconds of all threads ("processor",
the more reliable one where other processes take cores away), and of the ratio to the first peer.
"""

from collections.abc import Callable, Mapping, Sequence
import json
import os
import pathlib
import subprocess
import tempfile
from typing import Any

from absl import flags
import cv2
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import folder
from feelvos_tf.files import whole_file
from feelvos_tf.inference import speed
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import packaged_files
from feelvos_tf.runtime.tensorflow_start import start_tensorflow
from feelvos_tf.tools.benchmarks.cutie_worker import CYCLE

PEERS = ('small', 'base')
_FRAMES = 16
FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_string('cutie', None, 'Clone of github.com/hkchengrex/Cutie.')
  flags.DEFINE_string('peers_python', None, 'Python of an environment with torch for it.')
  flags.DEFINE_list('peers', list(PEERS), f'Their variants: {", ".join(PEERS)}.')
  flags.DEFINE_list('precision', ['float32', 'bfloat16'], 'Types that ours computes in.')
  flags.DEFINE_list('speed', ['balanced', 'fast'], f'Presets of ours: {", ".join(speed.SPEEDS)}.')
  flags.DEFINE_integer('height', 480, 'Height of the frames.', lower_bound=32)
  flags.DEFINE_integer('width', 854, 'Width of the frames.', lower_bound=32)
  flags.DEFINE_integer('objects', 1, 'Objects: 1, or 2 as the clip has.', 1, 2)
  flags.DEFINE_integer('repeats', 5, 'Rounds.', lower_bound=1)
  flags.DEFINE_string('json', None, 'File to write machine and rows to.')


def main() -> None:
  """Measures and prints a row for each method."""
  _check_flags()
  start_tensorflow()
  from feelvos_tf.tools.benchmarks import measure

  frames, mask = _clip()
  with tempfile.TemporaryDirectory() as temporary:
    path = pathlib.Path(temporary) / 'clip.npz'
    np.savez(path, frames=frames, mask=mask)
    peers = [Peer(variant, path) for variant in FLAGS.peers]
    try:
      timers = {f'Cutie-{peer.variant}': peer.time for peer in peers}
      for name in FLAGS.speed:
        for precision in FLAGS.precision:
          timers[f'{name}, {precision}'] = _ours(name, precision, frames, mask)
      rows = in_turns(timers, FLAGS.repeats)
    finally:
      for peer in peers:
        peer.close()
  about = measure.machine()
  print(', '.join(f'{key} {value}' for key, value in about.items()))
  for row in rows:
    print(
      f'{row["method"]:20s} {1e3 * row["seconds"]:6.0f} ms, processor '
      f'{1e3 * row["processor_seconds"]:6.0f} ms, ratio {row["ratio"]:.2f}, of processor time '
      f'{row["processor_ratio"]:.2f}'
    )
  if FLAGS.json:
    whole_file.write_text(FLAGS.json, json.dumps({'machine': about, 'rows': rows}, indent=1))


def _check_flags() -> None:
  for flag in ('cutie', 'peers_python'):
    path = getattr(FLAGS, flag)
    if not path or not pathlib.Path(path).exists():
      raise command_line.UsageError(f'--{flag} is {path!r}; expected a path that exists.')
  for flag, known in (
    ('peers', PEERS),
    ('precision', ('float32', 'bfloat16')),
    ('speed', speed.SPEEDS),
  ):
    for item in getattr(FLAGS, flag):
      if item not in known:
        raise command_line.UsageError(
          f'--{flag}: {item!r} is not known; choose from {", ".join(known)}.'
        )
  if not FLAGS.peers:
    raise command_line.UsageError('--peers is empty; expected one to compare with.')


def _clip() -> tuple[np.ndarray, np.ndarray]:
  """Frames uint8 [_FRAMES, height, width, 3] of the demo clip, and the mask of the first."""
  size = FLAGS.width, FLAGS.height
  video = folder.open_video(packaged_files.DEMO_CLIP)
  frames = [
    cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
    for _, frame in zip(range(_FRAMES), video.frames())
  ]
  mask = masks.read_mask(packaged_files.DEMO_MASK, void=False).ids
  mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
  return np.stack(frames), np.where(mask > FLAGS.objects, 0, mask)


def _ours(
  preset: str, precision: str, frames: np.ndarray, mask: np.ndarray
) -> Callable[[], tuple[float, float]]:
  """Function that segments CYCLE frames and returns (wall seconds, processor seconds) of one."""
  from feelvos_tf.tools.benchmarks import measure
  from feelvos_tf.tools.benchmarks import preset as preset_lib

  segmenter = preset_lib.segmenter(preset, precision)
  segmenter.start(frames[0], mask)
  place = 0

  def advance() -> None:
    nonlocal place
    for _ in range(CYCLE):
      place = (place + 1) % len(frames)
      segmenter.step(frames[place])

  def time() -> tuple[float, float]:
    wall, processor = measure.timed(advance)
    return wall / CYCLE, processor / CYCLE

  return time


class Peer:
  """Cutie in a process of its own."""

  def __init__(self, variant: str, clip: str | os.PathLike) -> None:
    """Starts it; `clip` is the path of a file with frames and mask."""
    self.variant = variant
    worker = pathlib.Path(__file__).parent / 'benchmarks' / 'cutie_worker.py'
    self._process = subprocess.Popen(
      [FLAGS.peers_python, '-W', 'ignore', str(worker), FLAGS.cutie, variant, str(clip)],
      # Threads that wait without sleeping would count as work.
      env={**os.environ, 'OMP_WAIT_POLICY': 'PASSIVE'},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    while (line := self._read()) != 'ready':
      print(line)

  def time(self) -> tuple[float, float]:
    """(wall seconds, processor seconds) of a frame."""
    self._ask()
    wall, processor = json.loads(self._read())
    return wall, processor

  def close(self) -> None:
    """Ends the process."""
    if self._process.stdin:
      self._process.stdin.close()
    self._process.wait(60)

  def _ask(self) -> None:
    if self._process.stdin:
      self._process.stdin.write('\n')
      self._process.stdin.flush()

  def _read(self) -> str:
    line = self._process.stdout.readline() if self._process.stdout else ''
    if not line:
      raise ValueError(f'Cutie-{self.variant} failed in its process, see above.')
    return line.strip()


def in_turns(
  timers: Mapping[str, Callable[[], Sequence[float]]], repeats: int
) -> list[dict[str, Any]]:
  """Times methods one after the other, round after round.

  Args:
    timers: dict of name to a function that returns (wall seconds, processor seconds) of a frame.
    repeats: number of rounds, after one that does not count.

  Returns:
    List of dicts with medians of the times and of their ratios to those of the first method.
  """
  for timer in timers.values():
    timer()  # Graphs and kernels are made on first use.
  times = np.array([[timer() for timer in timers.values()] for _ in range(repeats)])
  ratios = times / times[:, :1]
  return [
    {
      'method': name,
      'seconds': float(np.median(times[:, i, 0])),
      'processor_seconds': float(np.median(times[:, i, 1])),
      'ratio': float(np.median(ratios[:, i, 0])),
      'processor_ratio': float(np.median(ratios[:, i, 1])),
    }
    for i, name in enumerate(timers)
  ]


if __name__ == '__main__':
  command_line.run(main, define_flags)

r"""Does `segment` keep up with a live source? Lag and memory over time, in front of a local stream.

  python -m tools.measure_live --seconds=600 --output=build/live.json

ffmpeg sends the demo clip again and again over TCP, in real time; the run that `segment` makes
takes it: masks, table and overlay go to a temporary folder. The lag of a frame is the time from
when it was due, counted from the first frame, to when the run takes it; the summary counts from the
frame that was taken most promptly. Prints a line every ten seconds, then how lag and memory
changed; --output gets all samples as JSON. Needs ffmpeg.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import json
import shutil
import socket
import subprocess
import tempfile
import time

from absl import flags
import cv2
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import live
from feelvos_tf.files import whole_file
from feelvos_tf.inference import given_masks
from feelvos_tf.inference import speed as speed_lib
from feelvos_tf.model import default_model
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import model_flags
from feelvos_tf.runtime import packaged_files
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime.tensorflow_start import start_tensorflow
from feelvos_tf.tools.benchmarks import soaking

FLAGS = flags.FLAGS
_WAIT = 20.0  # seconds until the source listens
_SETTLED = 10.0  # seconds after which the first trace of the graph is over
_EVERY = 10.0  # seconds between two lines


def define_flags() -> None:
  """Defines the flags."""
  flags.DEFINE_integer('seconds', 120, 'How long the source sends.', lower_bound=15)
  flags.DEFINE_integer('rate', 15, 'Frames it sends a second.', lower_bound=1)
  flags.DEFINE_string('size', '320x180', 'WIDTHxHEIGHT of its frames.')
  flags.DEFINE_enum('take', 'every', ['every', 'latest'], 'As --take of feelvos segment.')
  flags.DEFINE_enum('speed', 'fast', list(speed_lib.SPEEDS), 'Preset.')
  flags.DEFINE_integer('max_internal_size', 256, 'Longer side at which frames are segmented.')
  flags.DEFINE_string('output', None, 'JSON file for the samples.')
  flags.DEFINE_string('model', None, 'Weights file; default: the model of the project.')
  model_flags.define_precision()


@dataclasses.dataclass(frozen=True)
class Sample:
  """One frame that was taken: seconds since the first one, lag in seconds, bytes of memory."""

  seconds: float
  lag: float
  memory: int
  left_out: int


class Watched(live.LiveVideo):
  """A live source that notes when each of its frames is taken, as a list of `Sample`."""

  def __init__(self, source: str, take: str) -> None:
    """Args as of `LiveVideo`."""
    super().__init__(source, take)
    self.samples: list[Sample] = []
    self._start = self._printed = time.monotonic()

  def frames(self, start: int = 0) -> Iterator[np.ndarray]:
    for index, image in enumerate(super().frames(start), start):
      now = time.monotonic()
      seconds = now - self._start
      lag = seconds - float(self.frame_time(index) or 0)
      self.samples.append(Sample(seconds, lag, soaking.resident_bytes(), self.left_out_frames))
      if now - self._printed >= _EVERY:
        self._printed = now
        print(self.line(), flush=True)
      yield image

  def line(self) -> str:
    """What the last sample says."""
    last = self.samples[-1]
    return (
      f'{last.seconds:.0f} s: {len(self.samples)} frames taken, {last.left_out} left out, '
      f'{last.lag:.2f} s behind, {last.memory / 1e6:.0f} MB'
    )


def main() -> None:
  """Starts the source, runs, prints what the samples say."""
  width, height = _size(FLAGS.size)
  if shutil.which('ffmpeg') is None:
    raise command_line.UsageError('ffmpeg is missing; install it to make a live source.')
  start_tensorflow()
  from feelvos_tf.tools.benchmarks import preset  # Imports TensorFlow.

  choice = model_flags.choose_precision(FLAGS.precision, default_model.is_default(FLAGS.model))
  segmenter = preset.segmenter(
    FLAGS.speed, choice.name, FLAGS.model, max_internal_size=FLAGS.max_internal_size
  )
  mask = masks.read_mask(packaged_files.DEMO_MASK)
  ids = cv2.resize(mask.ids, (width, height), interpolation=cv2.INTER_NEAREST)
  given = given_masks.GivenMasks({0: masks.Mask(ids, mask.palette)})
  from feelvos_tf.runtime import segment_run  # Imports TensorFlow.

  with _source(width, height) as address, tempfile.TemporaryDirectory() as folder:
    video = _open(address)
    with result_folder.ResultFolder(folder, 'live') as output:
      segment_run.segment(segmenter, video, given, output)
  print(summary(video.samples))
  if FLAGS.output:
    samples = [dataclasses.asdict(sample) for sample in video.samples]
    whole_file.write_text(FLAGS.output, json.dumps(samples))


def summary(samples: list[Sample]) -> str:
  """Lines about a run: how many frames were left out, how lag and memory changed.

  Args:
    samples: of all frames, in order; those of the first ten seconds count for the number only.
  """
  settled = [s for s in samples if s.seconds >= _SETTLED] or samples
  least = min(s.lag for s in samples)  # The source may be ahead of the first frame's clock.
  lags, quarter = [s.lag - least for s in settled], max(1, len(settled) // 4)
  seconds = [s.seconds for s in settled]
  memory = [s.memory / 1e6 for s in settled]
  return '\n'.join(
    [
      f'{len(samples)} frames taken, {samples[-1].left_out} left out, '
      f'{samples[-1].left_out - settled[0].left_out} of them after the first {_SETTLED:.0f} s',
      f'lag: median {np.median(lags):.3f} s, 99 % {np.percentile(lags, 99):.3f} s, most '
      f'{max(lags):.3f} s; median of the first quarter {np.median(lags[:quarter]):.3f} s, of the '
      f'last {np.median(lags[-quarter:]):.3f} s; slope {60e3 * soaking.slope(seconds, lags):+.1f} ms a '
      'minute',
      f'memory: {memory[0]:.0f} MB, then {memory[-1]:.0f} MB; slope '
      f'{60 * soaking.slope(seconds, memory):+.2f} MB a minute',
    ]
  )


def _size(text: str) -> tuple[int, int]:
  width, _, height = text.partition('x')
  if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 32):
    raise command_line.UsageError(f'--size={text} given, expected WIDTHxHEIGHT, 32 or more each.')
  return int(width), int(height)


@contextlib.contextmanager
def _source(width: int, height: int) -> Iterator[str]:
  """Address of a process of ffmpeg that waits for one listener and then sends."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    address = f'tcp://127.0.0.1:{probe.getsockname()[1]}'
  command = ['ffmpeg', '-v', 'error', '-re', '-stream_loop', '-1', '-i']
  command += [str(packaged_files.DEMO_CLIP), '-an', '-vf', f'scale={width}:{height}']
  command += ['-r', str(FLAGS.rate), '-t', str(FLAGS.seconds), '-c:v', 'mpeg2video', '-q:v', '2']
  process = subprocess.Popen(
    [*command, '-f', 'mpegts', f'{address}?listen=1'], stdin=subprocess.DEVNULL
  )
  try:
    yield address
  finally:
    process.kill()
    process.wait()


def _open(address: str) -> Watched:
  """The source, as soon as it listens."""
  end = time.monotonic() + _WAIT
  while True:
    try:
      return Watched(address, FLAGS.take)
    except ValueError:
      if time.monotonic() > end:
        raise
      time.sleep(0.1)


if __name__ == '__main__':
  command_line.run(main, define_flags)

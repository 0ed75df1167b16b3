r"""Segments a long film in large frames: memory, frames a second, and what decoding takes.

  python -m tools.soak_film --minutes=10 --size=1080x1920 --speed=fast --notes=build/soak.jsonl
  python -m tools.soak_film --film=film.mp4 --mask=first.png --speed=fast

Without --film one is made of the demo clip: played forwards and backwards, enlarged, with the
clip's first mask. Decoding alone is timed first, in turns with OpenCV's reader; then `feelvos
segment` runs in a process of its own, whose memory is read every few seconds. Prints a
line a part and adds it to --notes, which `tools/reliability_report.py` reads. Exit code 1: the run
failed or a mask is missing. Linux only: memory is read from /proc.
"""

import pathlib
import subprocess
import sys
import tempfile
import time

from absl import flags
import cv2

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import writers
from feelvos_tf.datasets.film.reader import Film
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import packaged_files
from feelvos_tf.tools.benchmarks import soaking

FLAGS = flags.FLAGS
_FRAMES_PER_SECOND = 24
_SAMPLE_SECONDS = 5


def define_flags() -> None:
  """Defines the flags."""
  flags.DEFINE_string('film', None, 'Film to segment; none: one is made of the demo clip.')
  flags.DEFINE_string('mask', None, 'Mask of the first frame of --film.')
  flags.DEFINE_float('minutes', 10, 'Length of the film that is made.', lower_bound=0.02)
  flags.DEFINE_string('size', '1080x1920', 'HEIGHTxWIDTH of the film that is made.')
  flags.DEFINE_string('speed', 'fast', 'Preset of `feelvos segment`.')
  flags.DEFINE_string('notes', None, 'File to which a JSON line a part is added.')


def make_film(
  path: pathlib.Path, mask_path: pathlib.Path, count: int, size: tuple[int, int]
) -> None:
  """Writes the demo clip, forwards and backwards in turns, as a film of `count` frames.

  Args:
    path: film to write.
    mask_path: where the mask of its first frame goes.
    count: number of frames.
    size: (height, width) of the frames.
  """
  clip = [frame.image for frame in Film(packaged_files.DEMO_CLIP).frames()]
  clip = [cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR) for frame in clip]
  turn = [*range(len(clip)), *range(len(clip) - 2, 0, -1)]
  with writers.OverlayVideoWriter(path, _FRAMES_PER_SECOND) as writer:
    for index in range(count):
      writer.write_picture(clip[turn[index % len(turn)]])
  given = masks.read_mask(packaged_files.DEMO_MASK)
  ids = cv2.resize(given.ids, size[::-1], interpolation=cv2.INTER_NEAREST)
  mask_path.write_bytes(masks.encode_mask(ids, given.palette))


def decoding(film: pathlib.Path, frames: int = 1000, rounds: int = 3) -> tuple[float, float]:
  """Frames a second of this project's reader and of OpenCV's, in turns; the better round counts."""
  best = [0.0, 0.0]
  for _ in range(rounds):
    for which, count in enumerate((read_here, read_with_opencv)):
      begun = time.monotonic()
      read = count(film, frames)
      best[which] = max(best[which], read / (time.monotonic() - begun))
  return best[0], best[1]


def read_here(film: pathlib.Path, frames: int) -> int:
  """Reads at most this many frames with this project's reader; returns how many there were."""
  return sum(1 for _, frame in zip(range(frames), Film(film).frames()))


def read_with_opencv(film: pathlib.Path, frames: int) -> int:
  """The same with OpenCV's reader."""
  reader, read = cv2.VideoCapture(str(film)), 0
  while read < frames:
    good, frame = reader.read()
    if not good:
      break
    cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)  # Both give RGB.
    read += 1
  reader.release()
  return read


def segment(
  film: pathlib.Path, mask: pathlib.Path, output: pathlib.Path
) -> tuple[int, list[int], int]:
  """Runs `feelvos segment`; (exit code, bytes of memory every few seconds, number of masks)."""
  command = [sys.executable, '-m', 'feelvos_tf', 'segment', f'--input={film}', f'--mask={mask}']
  process = subprocess.Popen(
    [*command, f'--output={output}', f'--speed={FLAGS.speed}', '--overwrite']
  )
  samples = []
  while process.poll() is None:
    try:
      samples.append(soaking.resident_bytes(process.pid))
    except OSError:  # It ended between the two calls.
      break
    time.sleep(_SAMPLE_SECONDS)
  return process.wait(), samples, sum(1 for _ in (output / 'masks').glob('*.png'))


def main() -> int:
  """Makes the film if none is given, reads and segments it; 1 if something is missing."""
  with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    if FLAGS.film:
      film, mask = pathlib.Path(FLAGS.film), pathlib.Path(FLAGS.mask)
    else:
      height, width = map(int, FLAGS.size.split('x'))
      film, mask = folder / 'film.mp4', folder / 'mask.png'
      make_film(film, mask, round(FLAGS.minutes * 60 * _FRAMES_PER_SECOND), (height, width))
    size, count = 'x'.join(map(str, Film(film).frame_size)), Film(film).num_frames
    here, opencv = decoding(film)
    soaking.note(
      FLAGS.notes,
      part='film',
      what=f'decoding {size}, the first 1,000 frames',
      frames_per_second=round(here),
      opencv_frames_per_second=round(opencv),
    )
    begun = time.monotonic()
    code, samples, written = segment(film, mask, folder / 'result')
    soaking.note(
      FLAGS.notes,
      part='film',
      what=f'segment --speed={FLAGS.speed}, {size}',
      frames=written,
      frames_per_second=round(written / (time.monotonic() - begun), 2),
      memory_percent=round(soaking.growth(samples), 2),
      highest_mb=round(max(samples) / 1e6),
      bad=int(code != 0) + abs(written - (count or written)),
    )
  return int(code != 0 or written != (count or written))


if __name__ == '__main__':
  command_line.run(main, define_flags)

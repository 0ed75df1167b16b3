r"""Segments a long made-up video: memory, and masks in one piece and in many.

  python -m tools.soak_frames --frames=20000 --seed=1 --notes=build/soak.jsonl

Frames are small and the model is a seeded, tiny one: what is looked for is what grows or gets lost
with the number of frames. Part of `make soak`. Prints a line a part and adds it to --notes, which
`tools/reliability_report.py` reads. Exit code 1: masks differ.
"""

from collections.abc import Iterator
import pathlib
import tempfile
import time
from typing import Any, TYPE_CHECKING

from absl import flags
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.video import NumberedNames
from feelvos_tf.datasets.video import Video
from feelvos_tf.deeplab.options import ModelOptions
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import segment_run
from feelvos_tf.runtime.tensorflow_start import start_tensorflow
from feelvos_tf.tools.benchmarks import soaking

if TYPE_CHECKING:
  from feelvos_tf.inference.segmenter import VideoSegmenter

FLAGS = flags.FLAGS
SIZE = (48, 64)


def define_flags() -> None:
  """Defines the flags."""
  flags.DEFINE_integer('frames', 20000, 'Frames of the video.', lower_bound=50)
  flags.DEFINE_integer(
    'folder_frames', 0, 'Frames that are segmented into a folder; 0: as many as --frames.'
  )
  flags.DEFINE_integer('seed', 1, 'Seed of the model and the frames.')
  flags.DEFINE_string('notes', None, 'File to which a JSON line a part is added.')


class Stopped(KeyboardInterrupt):
  """The interruption that `LongVideo` makes, and not one from outside."""


class LongVideo(Video):
  """A texture that moves behind a disc; frame `stops_at` ends the run, as a kill would."""

  def __init__(self, count: int, seed: int, stops_at: int | None = None) -> None:
    """Args: number of frames; seed; index of the frame in whose place `Stopped` comes."""
    self.memory: list[int] = []  # Of this process, at a hundred moments while frames are read.
    self.name, self.num_frames, self.frame_size = 'long', count, SIZE
    self.frame_names = NumberedNames(count)
    rng = np.random.default_rng(seed)
    self._texture = rng.integers(0, 256, (SIZE[0], 4 * SIZE[1], 3), np.uint8)
    self._stops_at = stops_at
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    self._disc = (y - 24) ** 2 + (x - 30) ** 2 < 120

  def frame(self, index: int) -> np.ndarray:
    """uint8 [48, 64, 3] RGB."""
    frame = np.roll(self._texture, index, axis=1)[:, : SIZE[1]].copy()
    frame[np.roll(self._disc, index // 7 % 20 - 10, axis=1)] = (220, 40, 30)
    return frame

  def frames(self, start: int = 0) -> Iterator[np.ndarray]:
    for index in range(start, self.num_frames or 0):
      if index == self._stops_at:
        raise Stopped
      if index % max(1, (self.num_frames or 1) // 100) == 0:
        self.memory.append(soaking.resident_bytes())
      yield self.frame(index)

  def mask(self, index: int) -> None:
    return None

  def first_mask(self) -> np.ndarray:
    """uint8 [48, 64], the disc of the first frame."""
    return np.roll(self._disc, -10, axis=1).astype(np.uint8)


def run_whole(segmenter: 'VideoSegmenter', video: LongVideo) -> tuple[list[str], float]:
  """(digest of every mask, percent that memory grew)."""
  digests = []
  for index, frame in enumerate(video.frames()):
    result = segmenter.start(frame, video.first_mask()) if index == 0 else segmenter.step(frame)
    digests.append(result_folder.digest(np.ascontiguousarray(result.mask).data))
  return digests, soaking.growth(video.memory)


def run_pieces(segmenter: 'VideoSegmenter', video: LongVideo, pieces: int) -> list[str]:
  """Digest of every mask; between pieces only what `previous_tensors` gives is kept."""
  digests: list[str] = []
  arrays: list[np.ndarray] | None = None
  length = -(-(video.num_frames or 0) // pieces)
  for index, frame in enumerate(video.frames()):
    if index % length == 0:
      if arrays is None:
        result = segmenter.start(frame, video.first_mask())
        digests.append(result_folder.digest(np.ascontiguousarray(result.mask).data))
      else:
        segmenter.start(video.frame(0), video.first_mask())
        segmenter.restore_previous(arrays)
    if index:
      mask = segmenter.step(frame).mask
      digests.append(result_folder.digest(np.ascontiguousarray(mask).data))
    if index % length == length - 1:
      arrays = [np.asarray(tensor) for tensor in segmenter.previous_tensors]
  return digests


def run_folder(segmenter: 'VideoSegmenter', count: int, seed: int) -> tuple[list[str], float]:
  """Digests of the masks in a folder: a run that is interrupted half way and resumed.

  The memory is that of the second run, which has the journal of the first and reads it once more.
  """
  with tempfile.TemporaryDirectory() as folder:
    for stops_at in (count // 2, None):
      video = LongVideo(count, seed, stops_at)
      with result_folder.ResultFolder(folder, 'soak') as output:
        given = masks.Mask(video.first_mask())
        try:
          segment_run.segment(segmenter, video, given, output, pictures=False)
          output.finish()
        except Stopped:
          pass
    paths = [pathlib.Path(folder, 'masks', f'{name}.png') for name in video.frame_names[:count]]
    ids = [masks.read_mask(path, void=False).ids for path in paths]
  digests = [result_folder.digest(np.ascontiguousarray(one).data) for one in ids]
  return digests, soaking.growth(video.memory)


def run_many_objects(segmenter: 'VideoSegmenter', seed: int, frames: int = 10) -> int:
  """Segments a video of 200 objects; returns how many there are on the last frame."""
  ids = np.zeros(SIZE, np.uint8)
  for number in range(200):
    y, x = divmod(number, 20)
    ids[4 * y : 4 * y + 4, 3 * x : 3 * x + 3] = number + 1
  video = LongVideo(frames, seed)
  for index, frame in enumerate(video.frames()):
    result = segmenter.start(frame, ids) if index == 0 else segmenter.step(frame)
  if len(result.object_ids) != 201 or not set(np.unique(result.mask)) <= set(range(201)):
    raise ValueError(f'objects {result.object_ids} given back, expected 0 to 200')
  return len(np.unique(result.mask))


def tiny_segmenter(seed: int) -> 'VideoSegmenter':
  """A segmenter whose weights are random numbers of a seed."""
  start_tensorflow()  # First, else it tells of devices that are not there.
  import keras

  from feelvos_tf.inference.segmenter import VideoSegmenter
  from feelvos_tf.model.feelvos import Feelvos

  keras.utils.set_random_seed(seed)
  options = FeelvosOptions(
    ModelOptions('mobilenet_v2', depth_multiplier=0.35),
    embedding_dimension=8,
    head_dimension=8,
    head_layers=1,
    window_radius=3,
  )
  return VideoSegmenter(Feelvos(options))


def main() -> int:
  """Runs all parts; 1 if masks differ."""
  segmenter = tiny_segmenter(FLAGS.seed)
  video = LongVideo(FLAGS.frames, FLAGS.seed)
  begun = time.monotonic()
  whole, grown = run_whole(segmenter, video)
  _note('VideoSegmenter, in one piece', begun, frames=len(whole), memory_percent=round(grown, 2))
  begun = time.monotonic()
  pieces = run_pieces(segmenter, video, 20)
  _note('VideoSegmenter, in 20 pieces', begun, frames=len(pieces), bad=_different(whole, pieces))
  begun, count = time.monotonic(), FLAGS.folder_frames or FLAGS.frames
  folder, grown = run_folder(segmenter, count, FLAGS.seed)
  _note(
    'segment, interrupted half way and resumed',
    begun,
    frames=count,
    memory_percent=round(grown, 2),
    bad=_different(whole[:count], folder),
  )
  begun = time.monotonic()
  _note('200 objects', begun, frames=10, seen_at_the_end=run_many_objects(segmenter, FLAGS.seed))
  return int(whole != pieces or whole[:count] != folder)


def _different(one: list[str], two: list[str]) -> int:
  return sum(a != b for a, b in zip(one, two)) + abs(len(one) - len(two))


def _note(what: str, begun: float, **values: Any) -> None:
  seconds = round(time.monotonic() - begun)
  soaking.note(FLAGS.notes, part='frames', what=what, seed=FLAGS.seed, **values, seconds=seconds)


if __name__ == '__main__':
  command_line.run(main, define_flags)

"""How long a video will take, said after its first two segmented frames."""

from collections.abc import Callable
import time

from feelvos_tf.datasets.video import Video
from feelvos_tf.inference import speed as speed_lib
from feelvos_tf.inference.options import pixels_shown
from feelvos_tf.inference.options import SegmenterOptions
from feelvos_tf.runtime import progress

# A preset is named if it takes at most this share of the time.
_WORTH_NAMING = 0.8


class Estimate:
  """Times the first two frames that are segmented and makes one line of it.

  The first one is slow, because TensorFlow prepares its graphs for the size of the frames: the
  time of the second counts, reading and writing included.
  """

  def __init__(
    self, video: Video, options: SegmenterOptions, clock: Callable[[], float] = time.monotonic
  ) -> None:
    """Args: `Video`; `SegmenterOptions` of the run; a function that returns seconds."""
    self._video, self._options, self._clock = video, options, clock
    self._times: list[float] = []

  def frame_done(self, left: int | None) -> str | None:
    """Counts a segmented frame; the line after the second one, else None.

    Args:
      left: how often a frame is still to be segmented; None if that is unknown.
    """
    if len(self._times) < 2:
      self._times.append(self._clock())
      if len(self._times) == 2 and left:
        return self._line(left, self._times[1] - self._times[0])
    return None

  def _line(self, left: int, seconds: float) -> str:
    total = self._video.num_frames
    height, width = self._video.frame_size
    text = (
      f'{self._video.name}: {total} frames of {width}x{height}, {seconds:.2g} s a frame, '
      f'about {progress.duration(left * seconds)} to go'
    )
    share = _share_of_fast((height, width), self._options)
    if share > _WORTH_NAMING:
      return f'{text}.'
    return f'{text}; --speed=fast would take about {progress.duration(left * seconds * share)}.'


def _share_of_fast(size: tuple[int, int], options: SegmenterOptions) -> float:
  """Time of the preset fast relative to that of some options, at most: by the pixels shown."""
  fast = speed_lib.segmenter_options('fast')
  return pixels_shown(size, fast) / pixels_shown(size, options)

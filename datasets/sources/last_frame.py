"""The frame of a computed video that was asked for last, made once for its image and its mask."""

from collections.abc import Callable

import numpy as np


class LastFrame:
  """Keeps image and ids of the frame that was made last.

  Samples are made in several threads, which may want other frames of one video meanwhile: each gets
  its own.
  """

  def __init__(self) -> None:
    self._kept: tuple[int, tuple[np.ndarray, np.ndarray]] | None = None

  def get(
    self, index: int, make: Callable[[int], tuple[np.ndarray, np.ndarray]]
  ) -> tuple[np.ndarray, np.ndarray]:
    """(image uint8 [height, width, 3], ids uint8 [height, width]) of a frame; not to be changed.

    Args:
      index: of the frame.
      make: makes it. A method of the video, it is not kept: the video would refer to itself, and
        its frames would stay in memory until the garbage collector runs.
    """
    kept = self._kept  # Read once: another thread may keep another frame after it.
    if kept is None or kept[0] != index:
      self._kept = kept = index, make(index)
    return kept[1]

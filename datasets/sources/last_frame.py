"""The frame of a computed video that was asked for last, made once for its image and its mask."""

from collections.abc import Callable

import numpy as np


class LastFrame:
  """Keeps what `make` returned for the last index: image and ids of a frame.

  Samples are made in several threads, which may want other frames of one video meanwhile: each gets
  its own.
  """

  def __init__(self, make: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> None:
    self._make = make
    self._kept: tuple[int, tuple[np.ndarray, np.ndarray]] | None = None

  def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
    """(image uint8 [height, width, 3], ids uint8 [height, width]) of a frame; not to be changed."""
    kept = self._kept  # Read once: another thread may keep another frame after it.
    if kept is None or kept[0] != index:
      self._kept = kept = index, self._make(index)
    return kept[1]

"""Features of the next frame, computed in a thread while the frame before is matched.

What the network makes of a frame does not depend on the frames before, and matching and the head
have parts that keep one core busy only. The numbers are the same.
"""

from collections.abc import Callable
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np


class _Begun(NamedTuple):
  frame: np.ndarray
  result: futures.Future


class LookAhead:
  """Calls a function for frames that come later; holds two results at most."""

  def __init__(self, extract: Callable[[np.ndarray], Any]) -> None:
    """extract: function of a frame, uint8 [height, width, 3]."""
    self._extract = extract
    self._thread = futures.ThreadPoolExecutor(1, 'look ahead')
    self._begun: list[_Begun] = []

  def begin(self, frame: np.ndarray) -> None:
    """Begins with a frame, uint8 [height, width, 3], RGB; `take` gets the same array, unchanged."""
    # An array that comes again holds another frame now: what was begun for it is of the old one.
    others = [begun for begun in self._begun if begun.frame is not frame]
    self._begun = [*others[-1:], _Begun(frame, self._thread.submit(self._extract, frame))]

  def take(self, frame: np.ndarray) -> Any:
    """Waits for what the function returns for a frame; None if it was not begun.

    Args:
      frame: uint8 [height, width, 3], RGB; the same array that `begin` got, not an equal one.
    """
    for begun in self._begun:
      if begun.frame is frame:
        self._begun = [other for other in self._begun if other is not begun]
        return begun.result.result()
    return None

  def forget(self) -> None:
    """Drops what was begun: the video changed."""
    for begun in self._begun:
      begun.result.cancel()
    self._begun = []

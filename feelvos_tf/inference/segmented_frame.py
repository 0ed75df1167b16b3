"""SegmentedFrame: the mask of a frame, and what is known with it."""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
import tensorflow as tf

from feelvos_tf.model import geometry


class SegmentedFrame:
  """One segmented frame; it can be pickled, with its probabilities instead of the model.

  Attributes:
    mask: uint8 [height, width], the user's object ids.
    object_ids: ids of the channels of all arrays [objects, ...]; the first is the background, 0.
    confidence: float32 [objects] in 0..1, how likely the mask of an object covers it by half or
      more, see `confidence`; 1 on frames whose mask was given.
    global_distance: float32 [objects, h4, w4] or None.
    local_distance: float32 [objects, h4, w4] or None.
  """

  def __init__(
    self,
    mask: np.ndarray,
    object_ids: tuple[int, ...],
    logits: Any = None,
    global_distance: np.ndarray | None = None,
    local_distance: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
    enlarge: Callable[[Any], Any] | None = None,
  ) -> None:
    self.mask = mask
    self.object_ids = object_ids
    self._logits = logits
    self._enlarge = enlarge
    self.confidence = np.ones(len(object_ids), np.float32) if confidence is None else confidence
    self.global_distance = global_distance
    self.local_distance = local_distance

  def __getstate__(self) -> dict[str, Any]:
    """Arrays alone; what enlarges them has the model."""
    state = {**self.__dict__, '_logits': self.stride4_logits, '_enlarge': None}
    return state if self._enlarge is None else {**state, 'probabilities': self.probabilities}

  @functools.cached_property
  def probabilities(self) -> np.ndarray:
    """float32 [objects, height, width], softmax over objects; computed on first use.

    A model with `guided_filter_epsilon` then looks at the frame again: its content may not have
    changed.
    """
    if self._logits is None:
      ids = np.asarray(self.object_ids, np.uint8)[:, np.newaxis, np.newaxis]
      return (self.mask[np.newaxis] == ids).astype(np.float32)
    if self._enlarge is None:
      return to_full_probabilities(self._logits, self.mask.shape)
    return np.asarray(tf.nn.softmax(self._enlarge(self._logits), axis=0))

  @property
  def stride4_logits(self) -> np.ndarray | None:
    """float32 [objects, h4, w4] before the softmax; None on frames whose mask was given."""
    return None if self._logits is None else np.asarray(self._logits)

  @property
  def predicted_logits(self) -> np.ndarray:
    """`stride4_logits`, float32 [objects, h4, w4], of a frame that the model segmented.

    Raises:
      ValueError: the mask of the frame was given.
    """
    if self._logits is None:
      raise ValueError('a frame whose mask was given, expected one that the model segmented')
    return np.asarray(self._logits)


def to_full_probabilities(logits: tf.Tensor, size: Sequence[int]) -> NDArray[np.float32]:
  """Softmax over objects of logits at full size.

  Args:
    logits: float32 [objects, h4, w4].
    size: (height, width).

  Returns:
    np.float32 [objects, height, width].
  """
  return np.asarray(tf.nn.softmax(geometry.enlarge_logits(logits, size), axis=0))

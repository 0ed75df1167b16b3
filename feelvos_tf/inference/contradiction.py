"""What a correction says against older reference frames, so that they stop saying it.

Global matching compares a frame with all reference frames. If a correction gives an id to another
thing, the older ones still know the first one by that id, and both carry it two frames later. So
their pixels that led to the wrong prediction lose their label: those of the id that was predicted
at a place where the correction says otherwise, and which look more like that place than like
anything that the correction calls by that id.

The original has no corrections; this is ours.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
import tensorflow as tf

NO_LABEL = -1  # of a reference pixel that belongs to no object; every uint8 may be an index
# Squared distance of embeddings up to which two pixels show the same thing: matching's distance
# there is 0.46 of 1.
MOST_DISTANCE = 1.0
_ROWS = 2048  # compared at once


def without_contradicted(
  embeddings: np.ndarray,
  labels: np.ndarray,
  newest_embedding: np.ndarray,
  newest_labels: np.ndarray,
  predicted: np.ndarray,
  known: Sequence[int] | np.ndarray = (),
) -> np.ndarray:
  """Labels of an older reference frame after a correction.

  Args:
    embeddings: float [h4, w4, channels] of the older reference frame.
    labels: int32 [h4, w4], object index or NO_LABEL.
    newest_embedding: float [h4, w4, channels] of the corrected frame.
    newest_labels: int32 [h4, w4], the right labels.
    predicted: int32 [h4, w4], what was predicted there.
    known: int indices [n] of objects that were there before the correction.

  Returns:
    int32 [h4, w4]: `labels` with NO_LABEL where the correction contradicts them.
  """
  result = labels.copy()
  wrong = predicted != newest_labels
  for index in np.unique(predicted[wrong]):
    places = wrong & (predicted == index)
    right = newest_labels == index
    if index and not right.any():
      # The object may be hidden, and what hides it was taken for it. If the correction introduces
      # another object there, the same thing got another id.
      places &= ~np.isin(newest_labels, [0, *known])
    candidates = np.flatnonzero(labels.ravel() == index)
    if not places.any() or not candidates.size:
      continue
    rows = _rows(embeddings)[candidates]
    to_wrong = _nearest(rows, _rows(newest_embedding)[places.ravel()])
    close = to_wrong < MOST_DISTANCE
    candidates, rows, to_wrong = candidates[close], rows[close], to_wrong[close]
    if candidates.size and right.any():
      candidates = candidates[to_wrong < _nearest(rows, _rows(newest_embedding)[right.ravel()])]
    result.ravel()[candidates] = NO_LABEL
  return result


def is_same_frame(one: ArrayLike, other: ArrayLike) -> bool:
  """Whether two embeddings, float [h4, w4, channels], are of one frame.

  They are if the mean of |one - other| is at most 1 % of the mean of |one|: states keep embeddings
  in bfloat16.
  """
  one, other = np.asarray(one, np.float32), np.asarray(other, np.float32)
  if one.shape != other.shape:
    return False
  return bool(np.abs(one - other).mean() <= 0.01 * np.abs(one).mean())


def _rows(embedding: np.ndarray) -> np.ndarray:
  return np.asarray(embedding, np.float32).reshape(-1, embedding.shape[-1])


def _nearest(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
  """float32 [n]: smallest squared distance of each of the rows [n, channels] to others."""
  others = tf.constant(others)
  squares = tf.reduce_sum(others * others, axis=1)
  found = []
  for start in range(0, len(rows), _ROWS):
    part = tf.constant(rows[start : start + _ROWS])
    products = tf.matmul(part, others, transpose_b=True)
    nearest = tf.reduce_min(squares - 2.0 * products, axis=1)
    found.append(np.maximum(nearest + tf.reduce_sum(part * part, axis=1), 0.0))
  return np.concatenate(found) if found else np.zeros(0, np.float32)

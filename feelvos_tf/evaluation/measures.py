"""Region similarity J and contour accuracy F, with the definitions of the DAVIS benchmark.

Everything here works on arrays: no files, no processes, no TensorFlow. `evaluation.scoring`
feeds it from folders, `evaluation.summary` makes global numbers of many sequences.

Sources: F. Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation" (CVPR 2016), sections 4.1 and 4.2, for the measures; J. Pont-Tuset et al., "The
2017 DAVIS Challenge" (arXiv 1704.00675) for several objects; N. Xu et al., "YouTube-VOS" (arXiv
1809.03327) for objects that appear later and for seen and unseen categories. Where the papers
are silent the published evaluation code of DAVIS 2017 decides.
"""

from collections.abc import Sequence
import functools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets.object_ids import VOID_ID

BOUNDARY_TOLERANCE = 0.008  # of the image diagonal (DAVIS)
_LARGEST_DILATION = 20  # pixels; above it a distance transform is faster than a dilation


def region_similarity(
  prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None
) -> float:
  """J, the intersection of two regions over their union.

  Args:
    prediction: bool or uint8 [height, width], nonzero inside the object.
    truth: bool or uint8 [height, width], the ground truth.
    void: optional bool [height, width]; pixels to leave out.

  Returns:
    float in [0, 1]; 1 when both regions are empty.
  """
  prediction, truth = _without_void(prediction, truth, void)
  union = np.count_nonzero(prediction | truth)
  return np.count_nonzero(prediction & truth) / union if union else 1.0


def contour_accuracy(
  prediction: np.ndarray,
  truth: np.ndarray,
  void: np.ndarray | None = None,
  tolerance: float = BOUNDARY_TOLERANCE,
) -> float:
  """F, the harmonic mean of the precision and recall of contour pixels.

  A contour pixel is matched when the other contour has a pixel within the tolerance.

  Args:
    prediction: bool or uint8 [height, width], nonzero inside the object.
    truth: bool or uint8 [height, width], the ground truth.
    void: optional bool [height, width]; belongs to neither region.
    tolerance: fraction of the image diagonal, or pixels when it is 1 or more.

  Returns:
    float in [0, 1]; 1 when neither region has a contour, 0 when only one has.
  """
  prediction, truth = _without_void(prediction, truth, void)
  return _contour_score(prediction, truth, boundary_radius(prediction.shape, tolerance))


def boundary_radius(shape: Sequence[int], tolerance: float = BOUNDARY_TOLERANCE) -> int:
  """Matching radius in pixels of contours in an image of `shape` (height, width)."""
  if tolerance >= 1:
    return int(tolerance)
  return int(np.ceil(tolerance * np.hypot(shape[0], shape[1])))


def boundary_map(mask: np.ndarray) -> np.ndarray:
  """Pixels that differ from their right, lower or lower right neighbour.

  That puts the contour half a pixel towards the origin (Martin's seg2bmap). The last row looks
  only to the right, the last column only down, and the corner is never a contour pixel.

  Args:
    mask: bool [height, width].

  Returns:
    bool [height, width].
  """
  result = np.zeros_like(mask)
  here = mask[:-1, :-1]
  result[:-1, :-1] = (here ^ mask[:-1, 1:]) | (here ^ mask[1:, :-1]) | (here ^ mask[1:, 1:])
  result[-1, :-1] = mask[-1, :-1] ^ mask[-1, 1:]
  result[:-1, -1] = mask[:-1, -1] ^ mask[1:, -1]
  return result


def score_frame(
  prediction: np.ndarray,
  truth: np.ndarray,
  object_ids: Sequence[int],
  tolerance: float = BOUNDARY_TOLERANCE,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
  """J and F of every object in one frame.

  Pixels with the void id in the ground truth count for nothing. An id that only the prediction
  has is background to every object. Work is done in the objects' bounding boxes.

  Args:
    prediction: uint8 [height, width] of object ids.
    truth: uint8 [height, width] of object ids and the void id.
    object_ids: the ids to score.
    tolerance: as in `contour_accuracy`.

  Returns:
    (j, f): float64 [objects] each.

  Raises:
    ValueError: the two have different sizes.
  """
  if prediction.shape != truth.shape:
    raise ValueError(
      f'prediction of {_size(prediction)} given, ground truth is {_size(truth)}; '
      'write the masks at the size of the ground truth'
    )
  void = _equal(truth, VOID_ID)
  if void.any():
    keep = cv2.bitwise_not(void)
    prediction, truth = cv2.bitwise_and(prediction, keep), cv2.bitwise_and(truth, keep)
  radius = boundary_radius(truth.shape, tolerance)
  scores = [_score_object(prediction, truth, int(i), radius) for i in object_ids]
  j, f = np.array(scores, np.float64).reshape(-1, 2).T
  return j, f


def _size(array: np.ndarray) -> str:
  return f'{array.shape[1]}x{array.shape[0]} pixels'


def _without_void(
  prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
  """Both masks as bool [height, width], emptied where `void` is set."""
  prediction, truth = np.asarray(prediction).astype(bool), np.asarray(truth).astype(bool)
  if prediction.shape != truth.shape or prediction.ndim != 2:
    raise ValueError(
      f'masks of shape {prediction.shape} and {truth.shape} given, two [height, width] masks '
      'of one size expected'
    )
  if void is None:
    return prediction, truth
  keep = ~np.asarray(void).astype(bool)
  return prediction & keep, truth & keep


@functools.lru_cache(maxsize=8)
def _disk(radius: int) -> NDArray[np.uint8]:
  y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
  return (x * x + y * y <= radius * radius).astype(np.uint8)


def _near(contour: np.ndarray, radius: int) -> NDArray[np.bool_]:
  """Pixels within `radius` of a contour pixel: a dilation with a disk. uint8 in, bool out."""
  if radius <= _LARGEST_DILATION:
    return cv2.dilate(contour, _disk(radius)).view(bool)
  distance = cv2.distanceTransform(1 - contour, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
  # Squares of distances are whole numbers; half of one is safe against rounding.
  return distance * distance < radius * radius + 0.5


def _contour_score(prediction: np.ndarray, truth: np.ndarray, radius: int) -> float:
  """F of two bool masks, the radius in pixels."""
  predicted, true = boundary_map(prediction), boundary_map(truth)
  num_predicted, num_true = np.count_nonzero(predicted), np.count_nonzero(true)
  if not num_predicted or not num_true:
    return 1.0 if num_predicted == num_true else 0.0
  precision = np.count_nonzero(predicted & _near(true.view(np.uint8), radius)) / num_predicted
  recall = np.count_nonzero(true & _near(predicted.view(np.uint8), radius)) / num_true
  return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _equal(ids: np.ndarray, value: int) -> NDArray[np.uint8]:
  """255 where ids have a value, else 0."""
  compare: Any = cv2.compare  # It takes numbers; the stubs do not say so.
  return compare(ids, value, cv2.CMP_EQ)


def _score_object(
  prediction: np.ndarray, truth: np.ndarray, object_id: int, radius: int
) -> tuple[float, float]:
  """(J, F) of one object, computed in the box that holds both regions and one pixel more."""
  prediction, truth = _equal(prediction, object_id), _equal(truth, object_id)
  x, y, width, height = cv2.boundingRect(cv2.bitwise_or(prediction, truth))
  if not width:
    return 1.0, 1.0
  # The contour lies up to a pixel above and left of the region; below and right, the extra
  # pixel keeps the rule for the last row and column to the real ones.
  box = np.s_[max(y - 1, 0) : y + height + 1, max(x - 1, 0) : x + width + 1]
  prediction, truth = prediction[box] > 0, truth[box] > 0
  return region_similarity(prediction, truth), _contour_score(prediction, truth, radius)

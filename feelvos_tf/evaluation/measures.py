"""Region similarity J and contour accuracy F, with the definitions of the DAVIS benchmark.

Everything here works on arrays: no files, no processes, no TensorFlow. `evaluation.scoring`
feeds it from folders, `evaluation.summary` makes global numbers of many sequences.

Sources: F. Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation" (CVPR 2016), sections 4.1 and 4.2, for the measures; J. Pont-Tuset et al., "The
2017 DAVIS Challenge" (arXiv 1704.00675) for several objects; N. Xu et al., "YouTube-VOS" (arXiv
1809.03327) for objects that appear later and for seen and unseen categories. Where the papers
are silent the published evaluation code of DAVIS 2017 decides.
"""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import functools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets.object_ids import VOID_ID

BOUNDARY_TOLERANCE = 0.008  # of the image diagonal (DAVIS)
RECALL_THRESHOLD = 0.5  # a frame is recalled when its score is above this (DAVIS)
DECAY_BINS = 4  # decay is the first quarter's mean minus the last quarter's (DAVIS)
FOREGROUND_ID = 1  # the one object of the foreground-against-background protocol
_LARGEST_DILATION = 20  # pixels; above it a distance transform is faster than a dilation


@dataclasses.dataclass(frozen=True)
class Protocol:
  """Rules by which a benchmark counts.

  Attributes:
    name: how the protocol is called in flags and summaries.
    foreground_only: all objects are one (foreground against background).
    skip_last: the last frame of a sequence is not scored. The first, which the method was
      given, never is.
    late_objects: objects that appear after the first frame are scored, from the frame after
      their first annotation on. Without it only the objects of the first frame count.
  """

  name: str
  foreground_only: bool = False
  skip_last: bool = True
  late_objects: bool = False


# DAVIS 2016 and 2017 drop the first and the last frame alike; they differ in what an object is.
PROTOCOLS = {
  'davis2016': Protocol('davis2016', foreground_only=True),
  'davis2017': Protocol('davis2017'),
  'youtube_vos': Protocol('youtube_vos', skip_last=False, late_objects=True),
}


@dataclasses.dataclass(frozen=True)
class Statistics:
  """Mean, recall and decay of one measure of one object over its frames, each a fraction."""

  mean: float
  recall: float
  decay: float


@dataclasses.dataclass(frozen=True)
class SequenceScores:
  """The scores of one sequence.

  Attributes:
    name: name of the sequence.
    object_ids: ids of the scored objects, as in the ground truth.
    frame_names: names of the scored frames.
    j: float64 [objects, frames] in [0, 1], region similarity; NaN where an object that appears
      later is not scored yet.
    f: float64 [objects, frames] in [0, 1], contour accuracy; NaN in the same places.
    notes: short sentences on what was unusual and how it was counted.
  """

  name: str
  object_ids: tuple[int, ...]
  frame_names: tuple[str, ...]
  j: np.ndarray
  f: np.ndarray
  notes: tuple[str, ...] = ()

  @property
  def object_names(self) -> tuple[str, ...]:
    """`<sequence>_<id>` for each object, as the official tables write it."""
    return tuple(f'{self.name}_{object_id}' for object_id in self.object_ids)

  def statistics(self, measure: str) -> tuple[Statistics, ...]:
    """Statistics of each object for `measure` 'J' or 'F'."""
    values = {'J': self.j, 'F': self.f}[measure]
    return tuple(statistics(row) for row in values)


def region_similarity(
  prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None
) -> float:
  """J, the intersection of two regions over their union.

  Args:
    prediction: bool or uint8 [height, width], nonzero inside the object.
    truth: the same for the ground truth.
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
    truth: the same for the ground truth.
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


def statistics(per_frame: np.ndarray) -> Statistics:
  """Mean, recall and decay of one object's scores.

  The bins of the decay overlap by one frame and their borders round halves up, as in the
  official code. That code keeps the borders in 8 bits, which goes wrong beyond 256 frames;
  this does not.

  Args:
    per_frame: float [frames]; NaN frames are left out.

  Returns:
    The statistics; all NaN when no frame is left.
  """
  values = np.asarray(per_frame, np.float64)
  values = values[~np.isnan(values)]
  if not values.size:
    return Statistics(np.nan, np.nan, np.nan)
  borders = np.linspace(1, len(values), DECAY_BINS + 1)
  borders = np.round(borders + 1e-10).astype(int) - 1
  first = values[borders[0] : borders[1] + 1]
  last = values[borders[-2] : borders[-1] + 1]
  return Statistics(
    float(values.mean()),
    float((values > RECALL_THRESHOLD).mean()),
    float(first.mean() - last.mean()),
  )


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


def score_sequence(
  name: str,
  frame_names: Sequence[str],
  read_truth: Callable[[int], np.ndarray],
  read_prediction: Callable[[int], np.ndarray],
  protocol: Protocol = PROTOCOLS['davis2017'],
  where: str = '',
) -> SequenceScores:
  """Scores a sequence, holding one frame at a time.

  Args:
    name: name of the sequence.
    frame_names: names of the annotated frames, in order.
    read_truth: frame index -> uint8 [height, width] ids, 0 background, 255 void.
    read_prediction: frame index -> uint8 [height, width] ids. Called for scored frames only.
    protocol: what counts.
    where: where the ground truth is, for messages; by default `name`.

  Returns:
    SequenceScores.

  Raises:
    ValueError: too few frames, no object to score, or sizes that differ.
  """
  stop = len(frame_names) - (1 if protocol.skip_last else 0)
  if stop < 2:
    raise ValueError(
      f'{where or name}: {len(frame_names)} annotated frame(s) given, at least '
      f'{3 if protocol.skip_last else 2} expected: {protocol.name} does not score the first '
      + ('or the last frame' if protocol.skip_last else 'frame')
    )
  known = list(_object_ids(as_protocol(read_truth(0), protocol)))
  if not known and not protocol.late_objects:
    raise ValueError(
      f'{where or name}: the ground truth of the first frame ({frame_names[0]}) is empty, at '
      'least one object id expected; leave the sequence out or annotate its first frame'
    )
  rows: list[dict[int, tuple[float, float]]] = []
  late: set[int] = set()
  extra: set[int] = set()
  for index in range(1, stop):
    truth = as_protocol(read_truth(index), protocol)
    prediction = as_protocol(read_prediction(index), protocol, predicted=True)
    try:
      rows.append(dict(zip(known, zip(*score_frame(prediction, truth, known)))))
    except ValueError as error:
      raise ValueError(f'{where or name}, frame {frame_names[index]}: {error}') from None
    new = [i for i in _object_ids(truth) if i not in known]
    late.update(new)
    if protocol.late_objects:
      known += new
    extra.update(i for i in _object_ids(prediction) if i not in known)
  return _collect(name, frame_names[1:stop], known, rows, late, extra, protocol)


def as_protocol(ids: np.ndarray, protocol: Protocol, predicted: bool = False) -> np.ndarray:
  """The ids that a protocol compares.

  Args:
    ids: uint8 [height, width].
    protocol: with `foreground_only` every object becomes object 1.
    predicted: the ids are a method's; void exists in a ground truth only.

  Returns:
    uint8 [height, width].
  """
  if not protocol.foreground_only:
    return ids
  merged = (ids != 0).astype(np.uint8)
  if not predicted:
    merged[ids == VOID_ID] = VOID_ID
  return merged


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


def _object_ids(ids: np.ndarray) -> list[int]:
  present = np.flatnonzero(cv2.calcHist([ids], [0], None, [256], [0, 256]))
  return [int(i) for i in present if i not in (0, VOID_ID)]


def _collect(
  name: str,
  frame_names: Sequence[str],
  known: Iterable[int],
  rows: list[dict[int, tuple[float, float]]],
  late: set[int],
  extra: set[int],
  protocol: Protocol,
) -> SequenceScores:
  """SequenceScores from per-frame dicts {object id: (J, F)}."""
  known = sorted(known)
  if not known:
    raise ValueError(f'{name}: the ground truth holds no object; leave the sequence out')
  empty = (np.nan, np.nan)
  table = np.array([[row.get(i, empty) for row in rows] for i in known], np.float64)
  notes = []
  if extra - late:
    notes.append(
      f'ids {sorted(extra - late)} of the results are not in the ground truth and '
      'count as background'
    )
  if late and not protocol.late_objects:
    notes.append(
      f'objects {sorted(late)} appear after the first frame and are not scored by {protocol.name}'
    )
  return SequenceScores(
    name, tuple(known), tuple(frame_names), table[..., 0], table[..., 1], tuple(notes)
  )

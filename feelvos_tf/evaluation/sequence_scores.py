"""Scores of a sequence: which frames and objects of it a benchmark counts, and their statistics.

`evaluation.measures` has J and F of one frame. Sources as there.
"""

from collections.abc import Callable, Iterable, Sequence
import dataclasses

import cv2
import numpy as np

from feelvos_tf.datasets.object_ids import VOID_ID
from feelvos_tf.evaluation import measures

RECALL_THRESHOLD = 0.5  # a frame is recalled when its score is above this (DAVIS)
DECAY_BINS = 4  # decay is the first quarter's mean minus the last quarter's (DAVIS)
FOREGROUND_ID = 1  # the one object of the foreground-against-background protocol


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
      rows.append(dict(zip(known, zip(*measures.score_frame(prediction, truth, known)))))
    except ValueError as error:
      raise ValueError(f'{where or name}, frame {frame_names[index]}: {error}') from None
    new = [i for i in _object_ids(truth) if i not in known]
    late.update(new)
    if protocol.late_objects:
      known += new
    counted = np.where(truth == VOID_ID, np.uint8(0), prediction)
    extra.update(i for i in _ids(counted) if i not in known)
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


def _ids(ids: np.ndarray) -> list[int]:
  """All but background; also 255, which is void in a ground truth alone."""
  present = np.flatnonzero(cv2.calcHist([ids], [0], None, [256], [0, 256]))
  return [int(i) for i in present if i]


def _object_ids(ids: np.ndarray) -> list[int]:
  return [i for i in _ids(ids) if i != VOID_ID]


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

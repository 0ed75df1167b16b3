"""Does the repair list find what is wrong, and what does one correction gain?

A video is segmented from its first mask. The frame at the top of its repair list gets the ground
truth, and the frames after it are segmented again from there.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, TYPE_CHECKING

import numpy as np

from feelvos_tf.datasets.video import Video
from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.evaluation import truth
from feelvos_tf.evaluation.confidence_score import WRONG_J
from feelvos_tf.runtime import repair_list

if TYPE_CHECKING:
  from feelvos_tf.inference.contract import Snapshot
  from feelvos_tf.inference.segmenter import VideoSegmenter


FIRST = 3  # Entries within which a wrong mask should be found.


@dataclasses.dataclass(frozen=True)
class Repair:
  """One video. All frames but the first count, also the last one.

  Attributes:
    name: of the video.
    confidences: confidence of every object on every frame but the first, [frames][objects].
    j: J of the same, None where it is not scored.
    entries: the repair list: (index of the frame, object id, confidence, J) each.
    before: mean J&F.
    after: mean J&F after one correction; `before` if the list is empty.
    before_of_others: `before` without the corrected frame.
    after_of_others: `after` without the corrected frame.
  """

  name: str
  confidences: list
  j: list
  entries: list
  before: float
  after: float
  before_of_others: float
  after_of_others: float

  @property
  def has_wrong(self) -> bool:
    """Whether an object has a wrong mask on some frame."""
    return any(j is not None and j < WRONG_J for row in self.j for j in row)

  @property
  def is_found(self) -> bool:
    """Whether one of the FIRST entries names an object that has a wrong mask there."""
    return any(j is not None and j < WRONG_J for *_, j in self.entries[:FIRST])


def measure(
  video: Video, segmenter: 'VideoSegmenter', protocol: sequence_scores.Protocol
) -> Repair:
  """Segments a video, corrects it once and scores both.

  Args:
    video: `Video` with a mask on every frame.
    segmenter: `VideoSegmenter`.
    protocol: what counts.

  Raises:
    ValueError: a frame or mask cannot be read, or nothing can be scored.
  """
  protocol = dataclasses.replace(protocol, skip_last=False)
  masks, confidences, snapshot = _segment(video, segmenter)
  ids = (segmenter.object_ids or ())[1:]
  before = _score(video, masks, protocol)
  entries = repair_list.frames_to_check(confidences, ids)
  after, others = before, slice(None)
  if entries:
    index = entries[0].frame
    segmenter.restore(snapshot)
    after = _score(video, masks[:index] + _corrected(video, segmenter, index), protocol)
    others = np.arange(before.j.shape[1]) != index - 1
  scored = [before.object_ids.index(i) if i in before.object_ids else None for i in ids]
  j = [
    [None if row is None else _number(before.j[row, t]) for row in scored] for t in _times(before)
  ]
  listed = [(*entry, j[entry.frame - 1][ids.index(entry.object_id)]) for entry in entries]
  return Repair(
    video.name,
    confidences[1:].tolist(),
    j,
    listed,
    _j_and_f(before),
    _j_and_f(after),
    _j_and_f(before, others),
    _j_and_f(after, others),
  )


def _segment(
  video: Video, segmenter: 'VideoSegmenter'
) -> 'tuple[list[np.ndarray], np.ndarray, Snapshot]':
  """(masks, confidences [frames, objects], snapshot after the frame with the lowest one)."""
  masks, rows, lowest = [], [], np.inf
  snapshot: Any = None
  for index, frame in enumerate(video.frames()):
    result = segmenter.step(frame) if index else segmenter.start(frame, truth.to_give(video, 0))
    masks.append(result.mask)
    rows.append(np.asarray(result.confidence[1:], np.float64))
    if rows[-1].min() < lowest:
      lowest, snapshot = rows[-1].min(), segmenter.snapshot()
  return masks, np.stack(rows), snapshot


def _corrected(video: Video, segmenter: 'VideoSegmenter', index: int) -> list[np.ndarray]:
  """Masks from a frame on that gets the ground truth."""
  found = []
  for time, frame in enumerate(video.frames()):
    if time == index:
      found.append(segmenter.correct(frame, truth.to_give(video, index)).mask)
    elif time > index:
      found.append(segmenter.step(frame).mask)
  return found


def _score(
  video: Video, masks: Sequence[np.ndarray], protocol: sequence_scores.Protocol
) -> sequence_scores.SequenceScores:
  truth: Callable = lambda index: video.needed_mask(index).ids
  names = list(video.frame_names)
  return sequence_scores.score_sequence(video.name, names, truth, masks.__getitem__, protocol)


def _times(scores: sequence_scores.SequenceScores) -> range:
  return range(scores.j.shape[1])


def _j_and_f(scores: sequence_scores.SequenceScores, frames: slice = slice(None)) -> float:
  return float((np.nanmean(scores.j[:, frames]) + np.nanmean(scores.f[:, frames])) / 2)


def _number(value: float) -> float | None:
  return None if np.isnan(value) else float(value)

"""Two opinions on a frame between two given masks, one from before and one from behind, merged.

The opinions are those of the run that comes from the mask before and of the run that comes
backwards from the mask behind. Their probabilities are averaged, object by object; each counts
by how close its mask is in time, by how sure it is of the object, and by how far it is to be
trusted: a run is still on the object if it meets the other run, or the mask at the other end, later
on its way. The paper has one direction; this is ours, chosen on DAVIS 2016 val (docs/masks.md,
"Both directions").
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feelvos_tf.inference import confidence
from feelvos_tf.inference.segmented_frame import SegmentedFrame
from feelvos_tf.inference.segmented_frame import to_full_probabilities
from feelvos_tf.model.feelvos import Maps

_LEAST = 1e-6  # of a probability
_LEAST_TRUST = 0.02
# How much counts: nearness in time, as a share of the gap; trust; odds of the mean probability.
_NEARNESS_POWER, _TRUST_POWER, _ODDS_POWER = 1.0, 6.0, 5.0
_MOST_SURE = 0.999  # of a mean probability


class Opinion(NamedTuple):
  """What a run from one side says of a frame.

  Attributes:
    object_ids: ids of its channels, 0 first, ascending.
    logs: float16 [objects, h4, w4], log-probabilities of at least 1e-6.
  """

  object_ids: tuple[int, ...]
  logs: NDArray[np.float16]


def opinion_of(result: SegmentedFrame) -> Opinion:
  """`Opinion` of a predicted frame; its size is 2 bytes for each object and position."""
  return from_logits(result.object_ids, result.predicted_logits)


def from_logits(object_ids: Sequence[int], logits: np.ndarray) -> Opinion:
  """`Opinion` of logits float [objects, h4, w4]."""
  shifted = logits.astype(np.float32) - logits.max(axis=0)
  logs = np.maximum(shifted - np.log(np.exp(shifted).sum(axis=0)), np.log(_LEAST))
  return Opinion(tuple(object_ids), logs.astype(np.float16))


def arrival(
  predicted: np.ndarray, given: np.ndarray, object_ids: Iterable[int]
) -> dict[int, float]:
  """How well a run meets the mask at the other end: J of every object, 1 if it is on neither.

  Args:
    predicted: uint8 [height, width], what the run predicts for that frame.
    given: uint8 [height, width], its mask.
    object_ids: ids of the run.

  Returns:
    {id: float in 0..1} without the background.
  """
  found = {}
  for object_id in object_ids:
    if object_id:
      one, two = predicted == object_id, given == object_id
      union = int(np.count_nonzero(one | two))
      found[int(object_id)] = np.count_nonzero(one & two) / union if union else 1.0
  return found


def agreement(one: Opinion, two: Opinion) -> dict[int, float]:
  """J of every object that both runs know between what they say of a frame."""
  labels = [np.asarray(o.object_ids)[o.logs.argmax(axis=0)] for o in (one, two)]
  return arrival(labels[0], labels[1], sorted({*one.object_ids} & {*two.object_ids}))


def trusts(
  meetings: Sequence[Mapping[int, float]],
) -> list[tuple[dict[int, float], dict[int, float]]]:
  """How far both runs are to be trusted on every frame of a gap.

  The run from before is trusted on a frame as far as it meets the other one there or later: by the
  greatest J of an object, less the farther the other run is from its own mask then. The same the
  other way round.

  Args:
    meetings: for every frame from the mask before to the mask behind: `agreement` of both runs; for
      the first and the last one `arrival` of the run that comes from the other end.

  Returns:
    (trust in the run from before, trust in the one from behind) for every frame between the masks:
    {id: float in 0..1} of the objects that are in all meetings.
  """
  last = len(meetings) - 1
  ids = sorted(set(meetings[0]).intersection(*meetings[1:]))
  before: list[dict[int, float]] = [{} for _ in meetings]
  behind: list[dict[int, float]] = [{} for _ in meetings]
  for i in ids:
    most = 0.0
    for place in range(last, 0, -1):
      most = before[place][i] = max(most, meetings[place][i] * (place / last))
    most = 0.0
    for place in range(last):
      most = behind[place][i] = max(most, meetings[place][i] * (1.0 - place / last))
  return list(zip(before, behind))[1:-1]


def merge(
  size: tuple[int, int],
  before: Opinion,
  behind: Opinion,
  share: float,
  trust: tuple[Mapping[int, float], Mapping[int, float]] = ({}, {}),
) -> SegmentedFrame:
  """Merges the results of both directions.

  Args:
    size: (height, width) of the frame.
    before: of the run from the mask before.
    behind: of the run from the mask behind.
    share: place of the frame between the masks; 0 at the one before, 1 at the one behind.
    trust: in both runs, see `trusts`; 1 for objects that are not in it.

  Returns:
    `SegmentedFrame` with the ids of both. Its confidence comes from the merged probabilities, which
    are low where the runs disagree; that of an object that won nowhere from how many positions each
    run gave it: two runs that put it in different places can leave it none.
  """
  ids = tuple(sorted({*before.object_ids, *behind.object_ids}))
  one, two = _on_channels(before, ids), _on_channels(behind, ids)
  part = _part_of_first(ids, (one, two), share, trust)[:, np.newaxis, np.newaxis]
  mean = part * np.exp(one) + (1.0 - part) * np.exp(two)
  logits = np.log(np.maximum(mean, _LEAST)).astype(np.float32)
  labels = to_full_probabilities(logits, size).argmax(axis=0)
  first = part[:, 0, 0]
  found = (first * _positions(one) + (1.0 - first) * _positions(two)).astype(np.float32)
  sure = confidence.of_frame(logits, Maps(None, None, None), found).numpy()
  return SegmentedFrame(np.asarray(ids, np.uint8)[labels], ids, logits, confidence=sure)


def _part_of_first(
  ids: Sequence[int],
  logs: tuple[np.ndarray, np.ndarray],
  share: float,
  trust: tuple[Mapping[int, float], Mapping[int, float]],
) -> NDArray[np.float64]:
  """float64 [ids], 0 to 1: how much the run from before counts for every channel.

  For the background it is the mean over objects.
  """
  weights = [
    near**_NEARNESS_POWER
    * np.array([max(known.get(i, 1.0), _LEAST_TRUST) for i in ids[1:]]) ** _TRUST_POWER
    * _odds(one) ** _ODDS_POWER
    for near, one, known in zip((1.0 - share, share), logs, trust)
  ]
  parts = weights[0] / (weights[0] + weights[1])
  return np.concatenate([[parts.mean() if parts.size else 1.0 - share], parts])


def _on_channels(opinion: Opinion, ids: Sequence[int]) -> NDArray[np.float32]:
  """float32 [ids, h4, w4]; what a run does not know is as likely as its background.

  So where only one run knows an object, that run decides between the two.
  """
  logs, known = opinion.logs.astype(np.float32), opinion.object_ids
  return np.stack([logs[known.index(i) if i in known else 0] for i in ids])


def _positions(logs: np.ndarray) -> NDArray[np.int64]:
  """int64 [ids]: in how many positions every channel won."""
  return np.bincount(logs.argmax(axis=0).ravel(), minlength=len(logs))


def _odds(logs: np.ndarray) -> NDArray[np.float64]:
  """float64 [ids without the background]: odds of the mean probability where an object won.

  1 for an object that won nowhere. The background is the first of equals.
  """
  winner, chances = logs.argmax(axis=0), np.exp(logs.max(axis=0)).astype(np.float64)
  found = []
  for channel in range(1, len(logs)):
    won = chances[winner == channel]
    sure = min(max(float(won.mean()), 1.0 - _MOST_SURE), _MOST_SURE) if won.size else 0.5
    found.append(sure / (1.0 - sure))
  return np.array(found)

"""Two opinions on a frame between two given masks, one from before and one from behind, merged.

The opinions are those of the run that comes from the mask before and of the run that comes
backwards from the mask behind. Their log-probabilities are averaged; each counts by how close its
mask is in time and by how sure it is of its objects. The paper has one direction; this is ours,
chosen on ten DAVIS 2016 val sequences (docs/masks.md, "Both directions").
"""

from collections.abc import Sequence

import numpy as np

from feelvos_tf.inference import confidence
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference.segmented_frame import SegmentedFrame
from feelvos_tf.model.feelvos import Maps

_LEAST = 1e-6  # of a probability
_LOST = 0.01  # confidence of a run that sees no object any more


def merge(
  size: tuple[int, int],
  before: tuple[tuple[int, ...], np.ndarray],
  behind: tuple[tuple[int, ...], np.ndarray],
  share: float,
) -> SegmentedFrame:
  """Merges the results of both directions.

  Args:
    size: (height, width) of the frame.
    before: (object ids, logits float [objects, h4, w4]) of the run from the mask before.
    behind: the same of the run from the mask behind.
    share: place of the frame between the masks; 0 at the one before, 1 at the one behind.

  Returns:
    `SegmentedFrame` with the ids of both; its confidence comes from the merged probabilities alone,
    which are low where the runs disagree.
  """
  ids = tuple(sorted({*before[0], *behind[0]}))
  one, two = _log_probabilities(*before, ids), _log_probabilities(*behind, ids)
  weight, other = (1.0 - share) * _confidence(one), share * _confidence(two)
  logits = ((weight * one + other * two) / (weight + other)).astype(np.float32)
  labels = graph_lib.to_full_probabilities(logits, size).argmax(axis=0)
  sure = confidence.of_frame(logits, Maps(None, None, None)).numpy()
  return SegmentedFrame(np.asarray(ids, np.uint8)[labels], ids, logits, confidence=sure)


def _log_probabilities(
  known: tuple[int, ...], logits: np.ndarray, ids: Sequence[int]
) -> np.ndarray:
  """float32 [ids, h4, w4]; what a run does not know is as likely as its background.

  So where only one run knows an object, that run decides between the two.
  """
  logits = np.asarray(logits, np.float32)
  shifted = logits - logits.max(axis=0)
  logs = np.maximum(shifted - np.log(np.exp(shifted).sum(axis=0)), np.log(_LEAST))
  return np.stack([logs[known.index(i) if i in known else 0] for i in ids])


def _confidence(logs: np.ndarray) -> float:
  """Mean probability of the positions that objects, not the background, won."""
  winner = logs.argmax(axis=0)  # The background is the first of equals.
  won = np.exp(logs.max(axis=0)[winner > 0])
  return max(float(won.mean()), _LOST) if won.size else _LOST

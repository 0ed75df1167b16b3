"""Two opinions on a frame between two given masks, one from before and one from behind, merged.

The opinions are the probabilities of the run that comes from the mask before and of the run that
comes backwards from the mask behind. Each counts by how close its mask is in time and by how sure
it is of its objects. The paper has one direction; this is ours, chosen on ten DAVIS 2016 val
sequences (docs/masks.md, "Both directions").
"""

import numpy as np

from feelvos_tf.inference import confidence
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference.segmenter import SegmentedFrame
from feelvos_tf.model.feelvos import Maps

# Power of the confidence: a run that lost an object is far from sure of it.
_CONFIDENCE_POWER = 4
_LEAST = 1e-6  # probability of an object that a run does not know


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
  one, two = _probabilities(*before, ids), _probabilities(*behind, ids)
  weight, other = (1.0 - share) * _confidence(one), share * _confidence(two)
  merged = (weight * one + other * two) / (weight + other)
  logits = np.log(np.maximum(merged, _LEAST)).astype(np.float32)
  labels = graph_lib.to_full_probabilities(logits, size).argmax(axis=0)
  sure = confidence.of_frame(logits, Maps(None, None, None)).numpy()
  return SegmentedFrame(np.asarray(ids, np.uint8)[labels], ids, logits, confidence=sure)


def _probabilities(known, logits, ids):
  """float32 [ids, h4, w4]."""
  logits = np.asarray(logits, np.float32)
  exponential = np.exp(logits - logits.max(axis=0))
  result = np.full((len(ids), *logits.shape[1:]), _LEAST, np.float32)
  result[[ids.index(i) for i in known]] = exponential / exponential.sum(axis=0)
  return result


def _confidence(probabilities):
  """Mean probability of the positions that objects, not the background, won, to a power."""
  winner = probabilities.argmax(axis=0)
  won = probabilities.max(axis=0)[winner > 0]
  return max(float(won.mean()), _LEAST) ** _CONFIDENCE_POWER if won.size else _LEAST

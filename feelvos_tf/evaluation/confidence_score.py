"""How well the confidence of masks predicts that they are wrong."""

from collections.abc import Iterable, Sequence

import numpy as np

from feelvos_tf.datasets.names import paired
from feelvos_tf.evaluation import sequence_scores

WRONG_J = 0.5  # A mask with a lower J is wrong.


def auroc(confidences: Sequence[float], wrong: Sequence[bool]) -> float:
  """Probability that a wrong mask has a lower confidence than a right one, ties counting half.

  Args:
    confidences: one for each mask.
    wrong: bool for each.

  Returns:
    float in 0..1; NaN without a wrong or without a right one.
  """
  is_wrong = np.asarray(wrong, bool)
  _, rank = np.unique(np.asarray(confidences, float), return_inverse=True)
  count = rank.max() + 1 if rank.size else 0
  lower = np.bincount(rank[is_wrong], minlength=count)
  right = np.bincount(rank[~is_wrong], minlength=count)
  pairs = lower.sum() * right.sum()
  if not pairs:
    return float('nan')
  return float((right * (np.cumsum(lower) - lower / 2)).sum() / pairs)


def summarise(sequences: Iterable[tuple[sequence_scores.SequenceScores, dict]]) -> dict | None:
  """AUROC over the masks of several sequences.

  Args:
    sequences: (scores, {name of a frame: {object id as text: confidence}}) each.

  Returns:
    dict 'auroc', 'masks', 'wrong'; None without a mask that has both J and confidence.
  """
  values, wrong = [], []
  for scores, of_frames in sequences:
    confidences = paired(scores.frame_names, of_frames)
    for column, frame in enumerate(scores.frame_names):
      known = confidences.get(frame, {})
      for row, object_id in enumerate(scores.object_ids):
        j = scores.j[row, column]
        if str(object_id) in known and not np.isnan(j):
          values.append(known[str(object_id)])
          wrong.append(bool(j < WRONG_J))
  if not values:
    return None
  return {'auroc': auroc(values, wrong), 'masks': len(wrong), 'wrong': sum(wrong)}

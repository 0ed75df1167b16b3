"""Global numbers of an evaluation: means over the objects of many sequences."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from feelvos_tf.evaluation import sequence_scores


def summarise(sequences: Sequence[sequence_scores.SequenceScores]) -> dict[str, float]:
  """Global numbers: every object of every sequence counts once.

  Args:
    sequences: scored sequences.

  Returns:
    dict with the official table's columns: 'J&F-Mean', 'J-Mean', 'J-Recall', 'J-Decay',
    'F-Mean', 'F-Recall', 'F-Decay'; NaN when there is no object.
  """
  result = {}
  for measure in ('J', 'F'):
    found = [s for scores in sequences for s in scores.statistics(measure)]
    for field in ('mean', 'recall', 'decay'):
      values = [getattr(s, field) for s in found]
      values = [value for value in values if not np.isnan(value)]
      result[f'{measure}-{field.title()}'] = float(np.mean(values)) if values else float('nan')
  return {'J&F-Mean': (result['J-Mean'] + result['F-Mean']) / 2, **result}


def summarise_seen_unseen(
  sequences: Iterable[sequence_scores.SequenceScores], seen: Callable[[str, int], bool]
) -> dict[str, float]:
  """YouTube-VOS: J and F over objects of seen and of unseen categories, and their mean G.

  Args:
    sequences: SequenceScores.
    seen: (sequence name, object id) -> whether the object's category is in the training set.

  Returns:
    dict 'G', 'J-Seen', 'J-Unseen', 'F-Seen', 'F-Unseen'; a group without objects is NaN and G
    is the mean of the others.
  """
  groups: dict[str, list[float]] = {}
  for scores in sequences:
    for row, object_id in enumerate(scores.object_ids):
      group = 'Seen' if seen(scores.name, object_id) else 'Unseen'
      for measure in ('J', 'F'):
        mean = scores.statistics(measure)[row].mean
        groups.setdefault(f'{measure}-{group}', []).append(mean)
  names = ('J-Seen', 'J-Unseen', 'F-Seen', 'F-Unseen')
  result = {name: _nanmean(groups.get(name, ())) for name in names}
  return {'G': _nanmean(result.values()), **result}


def _nanmean(values: Iterable[float]) -> float:
  values = [value for value in values if not np.isnan(value)]
  return float(np.mean(values)) if values else float('nan')

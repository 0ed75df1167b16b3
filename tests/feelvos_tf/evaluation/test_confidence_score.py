"""AUROC of the confidence, over masks that have both a J and a confidence."""

import numpy as np
import pytest

from feelvos_tf.evaluation import confidence_score
from feelvos_tf.evaluation.sequence_scores import SequenceScores


def test_auroc_counts_pairs(rng):
  values, wrong = rng.integers(0, 6, 60) / 5, rng.random(60) < 0.3
  pairs = [(b, g) for b in values[wrong] for g in values[~wrong]]
  expected = np.mean([1.0 if b < g else 0.5 if b == g else 0.0 for b, g in pairs])
  assert confidence_score.auroc(values, wrong) == pytest.approx(expected)
  assert confidence_score.auroc([0.1, 0.2, 0.9], [True, True, False]) == 1.0
  assert confidence_score.auroc([0.1, 0.2, 0.9], [False, False, True]) == 0.0
  for wrong in ([], [True], [False]):
    assert np.isnan(confidence_score.auroc([0.5] * len(wrong), wrong))


def test_frames_and_objects_without_both_are_left_out():
  j = np.array([[0.9, 0.4, 0.2], [np.nan, 0.8, 0.7]])
  scores = SequenceScores('a', (3, 9), ('01', '02', '03'), j, j)
  known = {'01': {'3': 0.8, '9': 0.1}, '02': {'3': 0.3, '9': 0.9}, '05': {'3': 0.0}}
  found = confidence_score.summarise([(scores, known), (scores, {})])
  assert found == {'auroc': 1.0, 'masks': 3, 'wrong': 1}
  assert confidence_score.summarise([(scores, {})]) is None

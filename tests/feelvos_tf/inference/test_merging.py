"""Two runs merged: who counts where they disagree."""

import numpy as np
import pytest

from feelvos_tf.inference import merging

SIZE = (9, 13)  # 3x4 positions at stride 4.


def opinion(object_id, *columns):
  """An object that a run is sure to see in some of four columns."""
  logits = np.zeros((2, 3, 4), np.float32)
  logits[0], logits[1] = 4.0, 0.0
  logits[0][:, list(columns)], logits[1][:, list(columns)] = 0.0, 4.0
  return merging.from_logits((0, object_id), logits)


def test_a_run_is_trusted_as_far_as_it_meets_the_other_one_later():
  """The run from before loses the object between the second and the third frame for good."""
  meetings = [{1: 0.9}, {1: 0.8}, {1: 0.8}, {1: 0.1}, {1: 0.0}]
  trusts = merging.trusts(meetings)
  assert [t[1] for t in trusts] == [{1: 0.9}] * 3
  np.testing.assert_allclose([t[0][1] for t in trusts], [0.4, 0.4, 0.075])
  mirrored = merging.trusts(meetings[::-1])
  assert [(b, a) for a, b in mirrored[::-1]] == trusts
  # An object that one run does not know is not weighed.
  assert merging.trusts([{1: 1.0, 2: 1.0}, {1: 0.5}, {1: 1.0}]) == [({1: 1.0}, {1: 1.0})]


@pytest.mark.parametrize('trust, column', [((0.9, 0.1), 0), ((0.1, 0.9), 3)])
def test_the_trusted_run_decides(trust, column):
  """In the middle between the masks, both equally sure."""
  trusted = tuple({1: value} for value in trust)
  result = merging.merge(SIZE, opinion(1, 0), opinion(1, 3), 0.5, trusted)
  assert result.object_ids == (0, 1)
  np.testing.assert_array_equal(np.unique(np.nonzero(result.mask[:, ::4])[1]), [column])


def test_without_trust_the_nearer_run_decides_and_a_single_one_that_knows():
  near = merging.merge(SIZE, opinion(1, 0), opinion(1, 3), 0.2)
  np.testing.assert_array_equal(np.unique(np.nonzero(near.mask[:, ::4])[1]), [0])
  both = merging.merge(SIZE, opinion(1, 0), opinion(7, 3), 0.5)
  assert both.object_ids == (0, 1, 7)
  assert (both.mask[:, 0] == 1).all() and (both.mask[:, 12] == 7).all()


def test_an_object_that_only_the_mean_of_both_runs_loses_is_unsure():
  """Each run has it at 100 positions, where it is half as likely in the mean: 0 positions."""
  runs = []
  for half in (slice(0, 10), slice(10, 20)):
    logits = np.zeros((2, 10, 20), np.float32)
    logits[0], logits[1][:, half] = 4.0, 5.0
    runs.append(merging.from_logits((0, 1), logits))
  nowhere = merging.from_logits((0, 1), np.stack([np.full((10, 20), 4.0), np.zeros((10, 20))]))
  lost, gone = merging.merge((37, 77), *runs, 0.5), merging.merge((37, 77), nowhere, nowhere, 0.5)
  assert not lost.mask.any() and not gone.mask.any()
  # 1 / (1 + exp(-2.4 + 3.8 * 100 / 150)) and 1 / (1 + exp(-2.4)).
  np.testing.assert_allclose([lost.confidence[1], gone.confidence[1]], [0.4667, 0.9168], atol=1e-4)


def test_agreement_and_arrival():
  assert merging.agreement(opinion(1, 0, 1), opinion(1, 1, 2)) == {1: pytest.approx(1 / 3)}
  assert merging.agreement(opinion(1, 0), opinion(7, 0)) == {}
  ids = np.array([[1, 1, 0, 7]])
  assert merging.arrival(ids, np.array([[1, 0, 0, 0]]), (0, 1, 7, 9)) == {1: 0.5, 7: 0.0, 9: 1.0}

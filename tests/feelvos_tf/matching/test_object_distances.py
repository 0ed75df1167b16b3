"""Tests of `matching.distances_of_bank`."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf import matching

distances = tf.function(matching.distances_of_bank, reduce_retracing=True)


@pytest.mark.parametrize('compute_dtype', [tf.float32, tf.bfloat16])
@pytest.mark.parametrize('k', [1, 3])
def test_means_of_the_nearest_pixels(rng, compute_dtype, k):
  """Object 3 has no pixels; objects 1 and 2 fill a part of a block, and more than one."""
  labels = np.repeat([0, 1, 2, 4], [150, 32, 200, 5])
  shown = rng.normal(scale=0.3, size=(len(labels), 6)).astype(np.float32) + 7.0
  shown[labels == 4] += 1.0
  bank = matching.prepare_reference(shown, labels, 5, compute_dtype=compute_dtype)
  found = distances(bank, 5, k).numpy()
  expected = np.ones((5, 5))
  for a in set(labels):
    own = shown[labels == a]
    some = own[np.arange(32) * len(own) // 32]
    for b in set(labels):
      squared = np.sum((some[:, np.newaxis] - shown[labels == b]) ** 2, axis=-1)
      nearest = np.sort(squared, axis=1)[:, :k].mean(axis=1)
      expected[a, b] = np.mean(1 - 2 / (1 + np.exp(nearest)))
  np.testing.assert_allclose(found, expected, atol=1e-5 if compute_dtype == tf.float32 else 0.02)
  assert np.all(expected[4, :3] > 0.5) and np.all(expected[:3, :3] < 0.5)


def test_a_bank_without_pixels():
  bank = matching.prepare_reference(np.zeros([0, 4], np.float32), np.zeros([0], np.int32), 2)
  np.testing.assert_array_equal(distances(bank, 2), np.ones([2, 2]))

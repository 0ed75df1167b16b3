"""Tests of `matching.reference_bank`: several frames in one bank."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf import matching

# Of the background and two objects on three frames of 10 x 40: whole blocks of 128, and parts.
SIZES = np.array([[272, 128, 0], [100, 256, 44], [399, 0, 1]])


def frames(rng):
  """(embeddings [3, 10, 40, 6], labels [3, 10, 40]) with the sizes."""
  labels = np.stack([np.repeat(np.arange(3, dtype=np.int32), sizes) for sizes in SIZES])
  embeddings = rng.normal(size=(*labels.shape, 6)).astype(np.float32)
  return embeddings.reshape(3, 10, 40, 6), labels.reshape(3, 10, 40)


@pytest.mark.parametrize('dtype', [tf.float32, tf.bfloat16])
def test_sizes_on_every_frame(rng, dtype):
  embeddings, labels = frames(rng)
  labels[1, 0, :9] = -1  # Of the background.
  bank = matching.prepare_reference(embeddings, labels, 4, compute_dtype=dtype)
  fewest, mean = tf.function(matching.fewest_and_mean_pixels)(bank, 4)
  np.testing.assert_array_equal(fewest, [91, 128, 1, 0])
  np.testing.assert_allclose(mean, [(272 + 91 + 399) / 3, (128 + 256) / 2, (44 + 1) / 2, 0])
  np.testing.assert_array_equal(matching.kept_pixels(bank, 4), [762, 384, 45, 0])


def test_sizes_where_not_all_pixels_are_kept(rng):
  bank = matching.prepare_reference(*frames(rng), 3, max_pixels_per_object=96)
  fewest, mean = matching.fewest_and_mean_pixels(bank, 3)
  np.testing.assert_array_equal(fewest, [13, 32, 1])  # 100 of 771, 128 of 384, 1 of 45.
  np.testing.assert_array_equal(mean, [32, 48, 22.5])


def test_one_frame_is_laid_out_without_gaps(rng):
  embeddings, labels = (values[:1] for values in frames(rng))
  one, of_list = (
    matching.prepare_reference(*given, 3)
    for given in ((embeddings[0], labels[0]), (embeddings, labels))
  )
  for value, expected in zip(of_list, one):
    np.testing.assert_array_equal(value, expected)
  assert one.block_object.numpy().tolist() == [0, 0, 0, 1]
  np.testing.assert_array_equal(matching.fewest_and_mean_pixels(one, 3), [[272, 128, 0]] * 2)


@pytest.mark.parametrize('k', [1, 3])
def test_distances_are_those_of_all_pixels_together(rng, k):
  embeddings, labels = frames(rng)
  query = rng.normal(size=(4, 5, 6)).astype(np.float32)
  banks = (
    matching.prepare_reference(embeddings, labels, 3),
    matching.prepare_reference(embeddings.reshape(-1, 6), labels.ravel(), 3),
  )
  found, expected = (matching.global_matching(query, bank, 3, k=k) for bank in banks)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  found, expected = (matching.means_of_bank(bank, 3) for bank in banks)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  found, expected = (matching.distances_of_bank(bank, 3, k) for bank in banks)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_bank_without_pixels():
  bank = matching.prepare_reference(np.zeros([2, 0, 0, 4], np.float32), np.zeros([2, 0, 0]), 2)
  np.testing.assert_array_equal(matching.fewest_and_mean_pixels(bank, 2), [[0, 0]] * 2)

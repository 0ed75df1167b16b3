"""Tests of `inference.connected`: against OpenCV's connected components."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.inference import connected


@pytest.mark.parametrize('share', [0.4, 0.55, 0.7])
def test_parts_are_connected_components(share):
  """As OpenCV finds them, with eight neighbours; winding ones among them."""
  rng = np.random.default_rng(int(100 * share))
  maps = (rng.random([3, 40, 57]) < share).astype(np.float32)
  seeds = maps * (rng.random(maps.shape) < 0.004)
  expected = np.zeros_like(maps)
  for found, seed, one in zip(expected, seeds, maps):
    _, parts = cv2.connectedComponents(one.astype(np.uint8), connectivity=8)
    found[np.isin(parts, np.unique(parts[seed > 0])) & (one > 0)] = 1
  np.testing.assert_array_equal(connected.spread(tf.constant(seeds), tf.constant(maps)), expected)


@pytest.mark.parametrize('share', [0.0, 0.3, 0.5, 0.7, 1.0])
def test_parts_have_numbers_of_their_own(share):
  maps = (np.random.default_rng(int(100 * share)).random([3, 40, 57]) < share).astype(np.float32)
  for numbers, one in zip(connected.numbered(tf.constant(maps)).numpy(), maps):
    count, parts = cv2.connectedComponents(one.astype(np.uint8), connectivity=8)
    pairs = np.unique(np.stack([parts.ravel(), numbers.ravel()]), axis=1)
    np.testing.assert_array_equal(pairs[0], np.unique(parts))  # One number for each part,
    assert len(np.unique(pairs[1])) == len(np.unique(parts)) <= count  # each another,
    np.testing.assert_array_equal(numbers == 0, one == 0)  # and none elsewhere.

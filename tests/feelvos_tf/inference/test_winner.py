"""Tests of `inference.winner`."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.inference import winner


@pytest.mark.parametrize('objects', [1, 2, 3, 11])
def test_as_argmax_with_ties(objects):
  logits = np.random.default_rng(objects).integers(-2, 3, [objects, 9, 13]).astype(np.float32)
  labels = winner.of_logits(tf.constant(logits))
  assert labels.dtype == tf.int32
  np.testing.assert_array_equal(labels, logits.argmax(axis=0))


def test_infinite_logits():
  logits = tf.constant([[[-np.inf, np.inf]], [[-np.inf, 3.0]]])
  np.testing.assert_array_equal(winner.of_logits(logits), [[0, 0]])


def test_a_logit_that_is_no_number_gives_an_object_that_exists():
  logits = tf.constant([[[np.nan]], [[0.0]], [[1.0]]])
  assert int(winner.of_logits(logits)[0, 0]) == 2


def test_mean_distances_of_what_is_won():
  """From the row's object to the column's; the last one wins nothing."""
  won = np.zeros([3, 2, 2], np.float32)
  won[0, 0], won[1, 1, 0] = 1, 1
  distance = np.array([[[0, 2], [4, 9]], [[1, 3], [5, 9]], [[6, 8], [7, 9]]], np.float32)
  np.testing.assert_array_equal(
    winner.mean_distances(tf.constant(won), tf.constant(distance)),
    [[1, 2, 7], [4, 5, 7], [0, 0, 0]],
  )

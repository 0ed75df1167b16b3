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

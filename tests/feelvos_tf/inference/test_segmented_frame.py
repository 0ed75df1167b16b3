"""What is known of a frame with its mask."""

import numpy as np
import tensorflow as tf

from feelvos_tf.inference import segmented_frame
from feelvos_tf.model import geometry


def test_full_probabilities_sum_to_one_and_agree_with_the_labels(rng):
  logits = tf.constant(rng.normal(size=(3, 5, 7)), tf.float32)
  probabilities = segmented_frame.to_full_probabilities(logits, (17, 25))
  assert probabilities.shape == (3, 17, 25)
  np.testing.assert_allclose(probabilities.sum(0), 1.0, atol=1e-6)
  np.testing.assert_array_equal(
    probabilities.argmax(0), np.argmax(geometry.enlarge_logits(logits, (17, 25)), 0)
  )

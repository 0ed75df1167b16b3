"""Frames scaled down by area inside a graph have the bits of OpenCV."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.saved_model import area_in_graph


@pytest.fixture(scope='module')
def shrink():
  specs = [tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([2], tf.int32)]
  return tf.function(area_in_graph.shrink_frame, autograph=False).get_concrete_function(*specs)


@pytest.mark.parametrize(
  'size, target',
  [
    ((108, 192), (48, 85)),  # As 1080p at 854.
    ((96, 170), (48, 85)),  # Blocks of 2x2, which OpenCV rounds half up.
    ((96, 255), (32, 85)),  # Blocks of 3x3.
    ((64, 60), (32, 15)),
    ((100, 7), (50, 3)),
    ((1000, 1), (854, 1)),
    ((55, 77), (55, 70)),
    ((37, 41), (37, 41)),
    ((301, 97), (1, 1)),
  ],
)
def test_equal_to_opencv(shrink, rng, size, target):
  frame = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
  expected = cv2.resize(frame, target[::-1], interpolation=cv2.INTER_AREA)
  np.testing.assert_array_equal(shrink(frame, tf.constant(target)), expected)

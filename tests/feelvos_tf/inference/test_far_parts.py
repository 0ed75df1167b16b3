"""Tests of `inference.far_parts`."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.inference import far_parts


def logits_of(labels, objects):
  """Logits whose winner is `labels`, the next object second."""
  logits = np.zeros([objects, *labels.shape], np.float32)
  for i in range(objects):
    logits[i][labels == i] = 2
    logits[i][labels == (i - 1) % objects] = 1
  return tf.constant(logits)


def won(logits):
  return np.asarray(logits).argmax(axis=0)


def leave_out(now, previous, radius, distance=None):
  """Winners after it; without distances if there are none."""
  if distance is not None:
    distance = tf.constant(distance)
  logits = logits_of(now, max(previous.max(), now.max()) + 1)
  return won(far_parts.leave_out(logits, tf.constant(previous), distance, radius))


def test_a_part_far_away_is_left_out_and_one_near_stays():
  previous, now = np.zeros([20, 30], np.int32), np.zeros([20, 30], np.int32)
  previous[5:9, 5:9] = 1
  now[5:9, 6:10] = 1  # It moved,
  now[5:9, 14:16] = 1  # a part 6 to the right of where it was,
  now[15:18, 25:27] = 1  # and a look-alike.
  expected = now.copy()
  expected[15:18, 25:27] = 0
  np.testing.assert_array_equal(leave_out(now, previous, 6), expected)
  expected[5:9, 14:16] = 0
  np.testing.assert_array_equal(leave_out(now, previous, 5), expected)


@pytest.mark.parametrize('far, goes', [(0.6, True), (0.2, False), (0.1, False)])
def test_a_part_that_is_more_like_the_object_stays(far, goes):
  """It came out behind what hid it; what is near may be what hides it."""
  previous, now = np.zeros([20, 30], np.int32), np.zeros([20, 30], np.int32)
  previous[5:9, 5:9] = 1
  now[5:9, 5:9], now[15:18, 25:27] = 1, 1
  distance = np.full([2, 20, 30], 0.2, np.float32)
  distance[1, 15:18, 25:27] = far
  expected = now.copy()
  expected[15:18, 25:27] = 0 if goes else 1
  np.testing.assert_array_equal(leave_out(now, previous, 5, distance), expected)


@pytest.mark.parametrize(
  'columns, gap, stays', [(8, 0, True), (8, 2, True), (8, 3, False), (7, 0, False)]
)
def test_a_part_that_comes_out_behind_another_object_stays(columns, gap, stays):
  """40 positions within 3 of it, not 4 away and not 35 beside it."""
  previous = np.zeros([30, 50], np.int32)
  previous[2:14, 2:14] = 1
  previous[20:25, 36:40] = 2
  now = previous.copy()
  now[20:25, 36 - gap - columns : 36 - gap] = 1
  distance = np.full([3, 30, 50], 0.2, np.float32)
  distance[1, 20:] = 0.6  # Less like it than what is near.
  expected = now.copy()
  if not stays:
    expected[20:25, 36 - gap - columns : 36 - gap] = 2  # The next one there.
  np.testing.assert_array_equal(leave_out(now, previous, 5, distance)[:, :36], expected[:, :36])


@pytest.mark.parametrize('was', ['elsewhere', 'nowhere', 'at a smaller part'])
def test_an_object_that_would_vanish_or_shrink_to_less_than_half_stays(was):
  previous, now = np.zeros([20, 30], np.int32), np.zeros([20, 30], np.int32)
  previous[0:2, 0:2] = was == 'elsewhere'
  previous[15:18, 15:17] = was == 'at a smaller part'
  now[15:18, 25:28], now[15:18, 15:17] = 1, 1
  np.testing.assert_array_equal(leave_out(now, previous, 3), now)


def test_what_one_object_loses_goes_to_the_next_one_that_is_near():
  """1 wins where 2 was; 2 is second there."""
  previous, now = np.zeros([20, 30], np.int32), np.zeros([20, 30], np.int32)
  previous[2:6, 2:7], previous[12:16, 20:24] = 1, 2
  now[2:6, 2:7], now[12:16, 20:24] = 1, 1
  np.testing.assert_array_equal(leave_out(now, previous, 2), previous)


def test_what_is_far_from_two_objects_goes_to_neither():
  previous, now = np.zeros([20, 30], np.int32), np.zeros([20, 30], np.int32)
  previous[2:6, 2:6], previous[2:6, 10:14] = 1, 2
  now[:] = previous
  now[16:18, 26:28] = 1
  np.testing.assert_array_equal(leave_out(now, previous, 2), previous)

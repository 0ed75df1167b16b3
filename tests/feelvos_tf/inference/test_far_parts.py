"""Tests of `inference.far_parts`."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.inference import far_parts
from feelvos_tf.inference import winner
from feelvos_tf.model.feelvos import HiddenParts
from feelvos_tf.model.feelvos import one_hot
from feelvos_tf.model.feelvos import PreviousFrame


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


def stay(now, previous, hidden=None):
  """Winners after it."""
  count = max(previous.max(), now.max()) + 1
  labels = tf.constant(previous)
  hidden_parts = ()
  if hidden is not None:
    hidden_parts = HiddenParts(
      tf.zeros([*now.shape, 2]), tf.constant(hidden), tf.zeros([count, 2], tf.int32)
    )
  frame = PreviousFrame(
    tf.zeros([*now.shape, 2]), labels, one_hot(labels, tf.constant(count)), hidden_parts
  )
  return won(far_parts.stay(logits_of(now, count), frame))


def two_look_alikes(gap=40, taken=15, was=15):
  """Labels before and now: the first one takes the second, `gap` positions to the right of it.

  Of 15 rows of the second one that move right, `taken` get the first one's label, and the mask
  before has `was` of them.
  """
  previous, now = np.zeros([40, 90], np.int32), np.zeros([40, 90], np.int32)
  previous[5:25, 5:25] = now[5:25, 5:25] = 1
  previous[5 : 5 + was, 25 + gap : 35 + gap] = 2
  now[5:20, 26 + gap : 36 + gap] = 2
  now[5 : 5 + taken, 26 + gap : 36 + gap] = 1
  return previous, now


@pytest.mark.parametrize('taken', [15, 6])
def test_what_was_another_object_far_away_stays_that_one(taken):
  previous, now = two_look_alikes(taken=taken)
  expected = now.copy()
  expected[5:20, 66:76] = 2
  np.testing.assert_array_equal(stay(now, previous), expected)


def test_what_takes_from_afar_is_left_out_there():
  """As a close second it would win pixels at full size."""
  previous, now = two_look_alikes()
  logits = logits_of(now, 3)
  frame = PreviousFrame(tf.zeros([40, 90, 2]), tf.constant(previous), one_hot(previous, 3))
  after = far_parts.stay(logits, frame).numpy()
  assert np.all(after[1, 5:20, 66:76] == winner.LEFT_OUT)
  np.testing.assert_array_equal(after[2, 5:20, 66:76], logits[1, 5:20, 66:76])
  np.testing.assert_array_equal(after[0], logits[0])
  np.testing.assert_array_equal(after[:, :, :60], logits[:, :, :60])


@pytest.mark.parametrize('gap, goes', [(28, False), (30, True)])
def test_an_object_may_move_by_30_positions(gap, goes):
  """The part begins one position to the right of where the second object was."""
  previous, now = two_look_alikes(gap)
  expected = now.copy()
  if goes:
    expected[5:20, 26 + gap : 36 + gap] = 2
  np.testing.assert_array_equal(stay(now, previous), expected)


@pytest.mark.parametrize('was, goes', [(3, False), (4, True)])
def test_a_fifth_of_a_part_has_to_have_been_the_other_object(was, goes):
  """9 of 10 columns of the rows that were it are in the part: 27 of 150 positions, or 36."""
  previous, now = two_look_alikes(was=was)
  expected = now.copy()
  if goes:
    expected[5:20, 66:76] = 2
  np.testing.assert_array_equal(stay(now, previous), expected)


@pytest.mark.parametrize('first_column, goes', [(27, False), (28, True)])
def test_objects_beside_each_other_may_come_out_anywhere(first_column, goes):
  """Behind the other one; 3 positions from it they are beside it, 4 they are not."""
  previous, now = two_look_alikes()
  previous[22:25, first_column:65] = 2  # Towards the first object, of which the last column is 24.
  expected = now.copy()
  if goes:
    expected[5:20, 66:76] = 2
  np.testing.assert_array_equal(stay(now, previous), expected)


def test_remains_do_not_keep_an_object_from_coming_back():
  previous, now = two_look_alikes()
  previous[5:25, 5:25] = now[5:25, 5:25] = 0
  previous[5:8, 5:8] = now[5:8, 5:8] = 1
  np.testing.assert_array_equal(stay(now, previous), now)


def test_an_object_that_was_nowhere_or_is_hidden_there_comes_out():
  previous, now = two_look_alikes()
  hidden = np.zeros_like(now)
  hidden[10, 70] = 1
  np.testing.assert_array_equal(stay(now, previous, hidden), now)
  previous[previous == 1] = 0
  np.testing.assert_array_equal(stay(now, previous), now)

"""Tests of `inference.unlike_parts`."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.inference import unlike_parts
from feelvos_tf.model.feelvos import Maps

SHAPE = (40, 50)
BODY = np.s_[2:14, 2:14]  # 144 positions
PART = np.s_[20:28, 30:36]  # 48


def leave_out(labels, global_distance, local_distance=None, margin=0.2):
  """Winners after it; where an object wins, the next one is second."""
  objects = len(global_distance)
  logits = np.zeros([objects, *SHAPE], np.float32)
  for i in range(objects):
    logits[i][labels == i], logits[i][labels == (i - 1) % objects] = 2, 1
  local_distance = None if local_distance is None else tf.constant(local_distance)
  maps = Maps(tf.constant(global_distance), None, local_distance)
  result = unlike_parts.leave_out(tf.constant(logits), maps, margin)
  return np.asarray(result).argmax(axis=0)


def scene(part, body=0.2, background=0.7):
  """An object of two parts, and distances: the part's to the object as given."""
  labels = np.zeros(SHAPE, np.int32)
  labels[BODY], labels[PART] = 1, 1
  distance = np.full([2, *SHAPE], background, np.float32)
  distance[1][BODY], distance[1][PART] = body, part
  return labels, distance


@pytest.mark.parametrize(
  'part, margin, goes', [(0.45, 0.2, True), (0.35, 0.2, False), (0.4, 0.1, True), (0.1, 0.0, False)]
)
def test_a_part_less_like_the_object_than_its_largest_part(part, margin, goes):
  labels, distance = scene(part)
  expected = labels.copy()
  expected[PART] = 0 if goes else 1
  np.testing.assert_array_equal(leave_out(labels, distance, margin=margin), expected)


@pytest.mark.parametrize('gap, goes', [(2, False), (3, True)])
@pytest.mark.parametrize('side', ['above', 'beside'])
def test_a_part_beside_another_object_stays(gap, goes, side):
  """As much as the other object leaves of it may look otherwise than the whole."""
  labels, distance = scene(0.45)
  distance = np.concatenate([distance, np.full_like(distance[:1], 0.5)])
  if side == 'above':
    labels[19 - gap, 30:36] = 2
  else:
    labels[20:28, 36 + gap] = 2
  expected = labels.copy()
  expected[PART] = 2 if goes else 1  # The next one there.
  np.testing.assert_array_equal(leave_out(labels, distance), expected)


def test_a_part_beside_another_object_goes_if_it_is_nearer_to_the_background():
  labels, distance = scene(0.45, background=0.4)
  distance = np.concatenate([distance, np.full_like(distance[:1], 0.5)])
  labels[19, 30:36] = 2
  expected = labels.copy()
  expected[PART] = 2
  np.testing.assert_array_equal(leave_out(labels, distance), expected)


@pytest.mark.parametrize('background, goes', [(0.25, True), (0.35, False)])
def test_a_part_nearer_to_the_background(background, goes):
  """The margin says nothing of it: .1 more than the body."""
  labels, distance = scene(0.3)
  distance[0][PART] = background
  expected = labels.copy()
  expected[PART] = 0 if goes else 1
  np.testing.assert_array_equal(leave_out(labels, distance), expected)


@pytest.mark.parametrize('own, background, goes', [(0.9, 0.1, True), (0.1, 0.9, False)])
def test_the_previous_frame_counts_a_little(own, background, goes):
  """.15 of .8 next to global distances that differ by .05, for and against."""
  labels, distance = scene(0.35, body=0.2)
  distance[0][PART] = 0.4 if goes else 0.3
  local = np.full_like(distance, 0.5)
  local[0][PART], local[1][PART] = background, own
  expected = labels.copy()
  expected[PART] = 0 if goes else 1
  np.testing.assert_array_equal(leave_out(labels, distance, local), expected)


@pytest.mark.parametrize('size, goes', [((8, 5), True), ((13, 3), False)])
def test_small_parts_stay(size, goes):
  """40 positions are the least; 39 are not."""
  labels, distance = scene(0.2)
  part = np.s_[20 : 20 + size[0], 30 : 30 + size[1]]
  labels[20:] = 0
  labels[part] = 1
  distance[1][part] = 0.95
  expected = labels.copy()
  expected[part] = 0 if goes else 1
  np.testing.assert_array_equal(leave_out(labels, distance), expected)


def test_a_part_below_a_fifth_of_the_largest_is_compared_with_the_background_alone():
  labels, distance = scene(0.6)
  labels[:18, :20] = 1  # 360 positions: the part has 48.
  distance[1, :18, :20] = 0.2
  np.testing.assert_array_equal(leave_out(labels, distance), labels)
  distance[0][PART] = 0.5
  expected = labels.copy()
  expected[PART] = 0
  np.testing.assert_array_equal(leave_out(labels, distance), expected)


def test_the_largest_part_stays_whatever_it_looks_like():
  labels, distance = scene(0.3, body=0.95, background=0.1)
  expected = labels.copy()
  expected[PART] = 0
  np.testing.assert_array_equal(leave_out(labels, distance), expected)


def test_every_object_has_a_largest_part_of_its_own():
  """Parts of two objects; what an object loses goes to the next one there."""
  labels = np.zeros(SHAPE, np.int32)
  distance = np.full([3, *SHAPE], 0.5, np.float32)
  for i, rows in ((1, 0), (2, 20)):
    labels[rows : rows + 10, 0:10], labels[rows : rows + 8, 20:28] = i, i
    distance[i, rows : rows + 10, 0:10] = 0.1 * i
    distance[i, rows : rows + 8, 20:28] = 0.35
  expected = labels.copy()
  expected[0:8, 20:28] = 2  # .25 above its body; the other is .15 above its own.
  np.testing.assert_array_equal(leave_out(labels, distance), expected)


def test_no_object_and_no_distances():
  _, distance = scene(0.9)
  np.testing.assert_array_equal(leave_out(np.zeros(SHAPE, np.int32), distance), np.zeros(SHAPE))
  logits = tf.random.normal([2, *SHAPE])
  kept = unlike_parts.leave_out(logits, Maps(None, None, None), 0.2)
  np.testing.assert_array_equal(kept, logits)

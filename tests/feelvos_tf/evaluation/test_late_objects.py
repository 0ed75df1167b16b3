"""A video from its own annotations: late objects, groups of objects. The model is made up."""

import functools

import moving_squares
from moving_squares import FakeSegmenter
from moving_squares import squares
import numpy as np
import pytest

from feelvos_tf.evaluation import late_objects


@pytest.fixture(autouse=True)
def forget_segmenters():
  FakeSegmenter.made.clear()


@pytest.fixture
def make_video(tmp_path):
  return functools.partial(moving_squares.make_video, tmp_path)


def test_late_objects_get_their_own_segmenter(make_video):
  video = make_video('a', {0: {1: (4, 4)}, 2: {1: (0, 20), 3: (10, 4)}})
  results = list(late_objects.segment_video(video, FakeSegmenter, late_objects=True))
  found = [ids for _, ids, _, _ in results]
  assert [s.object_ids for s in FakeSegmenter.made] == [(0, 1), (0, 3)]
  np.testing.assert_array_equal(found[1], squares({1: (4, 5)}))
  # Frame 2: what is given of the new object, what is predicted of the old one.
  np.testing.assert_array_equal(found[2], squares({1: (4, 6), 3: (10, 4)}))
  np.testing.assert_array_equal(found[3], squares({1: (4, 7), 3: (10, 5)}))
  assert [result is None for _, _, result, _ in results] == [False, False, True, True]


def test_the_surer_group_wins_a_pixel(make_video):
  video = make_video('a', {0: {1: (4, 4)}, 1: {2: (4, 5)}})
  certainties = iter([0.6, 0.9])
  results = late_objects.segment_video(
    video, lambda: FakeSegmenter(next(certainties)), late_objects=True
  )
  found = [ids for _, ids, _, _ in results]
  np.testing.assert_array_equal(found[2], squares({2: (4, 6)}))


def test_frames_before_the_first_mask_are_empty(make_video):
  results = late_objects.segment_video(make_video('a', {1: {1: (4, 4)}}), FakeSegmenter)
  found = [ids for _, ids, _, _ in results]
  assert not found[0].any()
  np.testing.assert_array_equal(found[2], squares({1: (4, 5)}))

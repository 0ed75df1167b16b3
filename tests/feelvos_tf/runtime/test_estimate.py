"""The line that says how long a video will take."""

import types

import pytest

from feelvos_tf.inference import speed
from feelvos_tf.inference.options import pixels_shown
from feelvos_tf.inference.options import SegmenterOptions
from feelvos_tf.model import frame_size
from feelvos_tf.runtime.estimate import Estimate


def lines(num_frames, options, size=(720, 1280)):
  """Lines after each frame, the first of which takes 5 s and the others 2."""
  video = types.SimpleNamespace(name='clip', num_frames=num_frames, frame_size=size)
  times = iter([5.0, 7.0, 9.0, 11.0])
  estimate = Estimate(video, options, clock=lambda: next(times))
  left = [None] * 3 if num_frames is None else [max(0, num_frames - n) for n in (2, 3, 4)]
  return [estimate.frame_done(frames) for frames in left]


def test_the_second_frame_counts_and_the_preset_that_takes_less_is_named():
  # 286 frames are left; the preset shows 496x279 instead of 1280x720 pixels, 0.15 of them.
  expected = (
    'clip: 289 frames of 1280x720, 2 s a frame, about 10 min to go; --speed=fast would take about '
    '86 s.'
  )
  assert lines(289, SegmenterOptions()) == [None, expected, None]


def test_no_preset_is_named_that_takes_no_less():
  for options, size in (
    (speed.segmenter_options('fast'), (720, 1280)),
    (SegmenterOptions(), (240, 427)),
  ):
    assert '--speed' not in lines(289, options, size)[1]


@pytest.mark.parametrize('num_frames', [2, 3, None])
def test_nothing_is_said_where_nothing_is_left_or_known(num_frames):
  assert lines(num_frames, SegmenterOptions()) == [None] * 3


def test_pixels_shown():
  assert pixels_shown((480, 854), SegmenterOptions()) == 480 * 854
  options = SegmenterOptions(max_internal_size=427, image_pyramid=(1.0, 2.0), flip=True)
  assert pixels_shown((480, 854), options) == 240 * 427 * 5 * 2
  assert frame_size.at_most((1, 1000), 100) == (1, 100)

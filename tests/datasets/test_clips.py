"""Clips of sources: what stays in memory."""

import functools
import pathlib
import weakref

import numpy as np
import pytest

from feelvos_tf.datasets import clips
from feelvos_tf.datasets.sources.synthetic import synthetic_sources
from feelvos_tf.datasets.sources.synthetic import SyntheticVideo
from feelvos_tf.datasets.video import VideoSource


def test_few_videos_that_are_decoded_as_a_whole_stay_open():
  opened = weakref.WeakSet()

  def open_video(seed):
    video = SyntheticVideo(seed, 3, (24, 32))
    opened.add(video)
    return video

  files = (pathlib.Path('still.jpg'),)
  sources = [
    VideoSource(f'{seed}', functools.partial(open_video, seed), files=files) for seed in range(30)
  ]
  found = clips.source_clips(sources)
  assert [clip.num_frames for clip in found] == [3] * 30 and not opened
  for seed, clip in enumerate(found):
    video = SyntheticVideo(seed, 3, (24, 32))
    assert clip.name == video.name
    np.testing.assert_array_equal(clip.image(2), video.frame(2))
    np.testing.assert_array_equal(clip.labels(1), video.mask(1).ids)
  assert 0 < len(opened) <= 8


def test_made_up_videos_stay_open():
  """To draw their scenes again takes longer than to draw a frame."""
  openings = []
  source = VideoSource('0', lambda: openings.append(0) or SyntheticVideo(0, 3, (24, 32)))
  (clip,) = clips.source_clips([source])
  clip.image(1)
  clip.labels(1)
  assert len(openings) == 1


def test_a_bad_source_is_refused_at_once():
  with pytest.raises(ValueError, match='no video given'):
    clips.source_clips([])
  with pytest.raises(ValueError, match='num_frames 0'):
    clips.source_clips(synthetic_sources(2, num_frames=0))

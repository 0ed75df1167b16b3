"""Made-up videos."""

from interleaved_frame import InterleavedFrame
import numpy as np
import pytest

from feelvos_tf.datasets.sources import synthetic


def test_same_seed_same_video_and_other_seed_another():
  first, again, other = (synthetic.SyntheticVideo(s, 3, (40, 60)) for s in (5, 5, 6))
  for i in range(3):
    np.testing.assert_array_equal(first.frame(i), again.frame(i))
    np.testing.assert_array_equal(first.mask(i).ids, again.mask(i).ids)
  assert (first.frame(0) != other.frame(0)).any()


def test_frames_do_not_depend_on_the_order_of_access():
  video = synthetic.SyntheticVideo(1, 6, (40, 60))
  last = video.frame(5).copy()
  np.testing.assert_array_equal(list(video.frames())[5], last)


def test_ids_have_gaps_and_things_move():
  video = synthetic.SyntheticVideo(2, 20, (60, 80), num_objects=3)
  assert set(video.mask(0).object_ids) <= {1, 4, 7}
  assert len(video.mask(0).object_ids) >= 2  # One may be hidden.
  assert (video.mask(0).ids != video.mask(19).ids).mean() > 0.02
  assert video.frame(0).shape == (60, 80, 3) and video.frame(0).dtype == np.uint8


def test_an_object_looks_the_same_while_it_moves():
  """Otherwise nothing could be learnt from these videos."""
  video = synthetic.SyntheticVideo(3, 8, (120, 160), num_objects=1)
  means = [video.frame(i)[video.mask(i).ids == 1].mean(0) for i in range(8)]
  assert np.abs(np.array(means) - means[0]).max() < 12


def test_sources():
  sources = synthetic.synthetic_sources(3, seed=7, num_frames=2, frame_size=(20, 30))
  assert [s.name for s in sources] == [s.opener().name for s in sources]
  assert len({s.name for s in sources}) == 3 and sources[0].opener().frame_size == (20, 30)


@pytest.mark.parametrize(
  'arguments',
  [
    dict(seed=-1),
    dict(num_frames=0),
    dict(frame_size=(8, 80)),
    dict(num_objects=0),
    dict(num_objects=85),
  ],
)
def test_bad_arguments(arguments):
  with pytest.raises(ValueError, match='given, expected'):
    synthetic.SyntheticVideo(**{'seed': 0, **arguments})


def test_no_videos_and_no_such_frame():
  with pytest.raises(ValueError, match='num_videos: 0 given'):
    synthetic.synthetic_sources(0)
  with pytest.raises(IndexError, match='no frame 2'):
    synthetic.SyntheticVideo(0, 2).frame(2)


def test_two_threads_do_not_mix_their_frames():
  expected, video = synthetic.SyntheticVideo(1), synthetic.SyntheticVideo(1)
  video._last_frame = InterleavedFrame(video._draw)
  np.testing.assert_array_equal(video.frame(1), expected.frame(1))
  np.testing.assert_array_equal(video.mask(1).ids, expected.mask(1).ids)

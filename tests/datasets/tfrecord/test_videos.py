"""Videos read back from records."""

import numpy as np
import pytest

from feelvos_tf.datasets.sources import davis
from feelvos_tf.datasets.tfrecord import conversion
from feelvos_tf.datasets.tfrecord import planning
from feelvos_tf.datasets.tfrecord import videos


@pytest.fixture
def dataset(tmp_path, golden):
  sources = davis.davis_sources(golden.path('tf1/tfrecord/DAVIS'), '2017', 'val')
  options = planning.ConversionOptions(str(tmp_path), 'davis2017', 'val', 2, num_workers=1)
  conversion.convert(planning.plan(sources, options))
  return tmp_path


def test_records_equal_the_files(dataset, golden):
  originals = davis.davis_videos(golden.path('tf1/tfrecord/DAVIS'), '2017', 'val')
  found = list(videos.record_videos(dataset, 'val'))
  for video, original in zip(found, originals, strict=True):
    assert video.name == original.name
    assert video.frame_names == original.frame_names
    assert video.frame_size == original.frame_size
    assert video.masked_frames == original.masked_frames
    assert set(video.object_first_frames) == set(original.mask(0).object_ids)
    for i, frame in enumerate(video.frames()):
      np.testing.assert_array_equal(frame, original.frame(i))
      np.testing.assert_array_equal(video.mask(i).ids, original.mask(i).ids)
      np.testing.assert_array_equal(video.mask(i).palette, original.mask(i).palette)
    assert video.mask(99) is None
    with pytest.raises(IndexError, match='no frame 4'):
      video.frame(4)


def test_records_of_the_original(golden):
  video = next(videos.record_videos(golden.path('tf1/tfrecord/val_1shard'), 'val'))
  assert (video.name, video.num_frames, list(video.frame_names)[3]) == ('bear', 4, '00003')
  assert video.mask(0).object_ids == (1, 2) and video.mask(0).palette is None
  assert video.object_first_frames is None


def test_bad_record():
  with pytest.raises(ValueError, match='not a video given'):
    videos.RecordVideo(b'nonsense')

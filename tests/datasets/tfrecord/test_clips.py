"""Random access to frames in TFRecords and videos."""

import os

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.datasets.clips import video_clips
from feelvos_tf.datasets.clips import VideoClip
from feelvos_tf.datasets.masks import encode_mask
from feelvos_tf.datasets.tfrecord import keys
from feelvos_tf.datasets.tfrecord.clips import record_clips
from feelvos_tf.datasets.tfrecord.clips import RecordClip
from feelvos_tf.datasets.video import Video

# JPEG decoders differ by rounding: OpenCV reads the frames here, TensorFlow did in the original.
DECODER_DIFFERENCE = 6


@pytest.mark.parametrize('folder', ('train_1shard', 'val_1shard', 'val_2shards'))
def test_records_of_the_original(golden, folder):
  decoded = golden.npz('tf1/tfrecord/decoded')
  clips = record_clips(sorted(golden.path(f'tf1/tfrecord/{folder}').glob('*.tfrecord')))
  # With two shards the original lost its last video.
  names = ['bear', 'dogs-jump'] + ['judo'] * (folder != 'val_2shards')
  assert [clip.name for clip in clips] == names
  for clip in clips:
    assert clip.num_frames == 4
    for index in range(4):
      labels = decoded[f'{clip.name}|label'][index, ..., 0]
      np.testing.assert_array_equal(clip.labels(index), labels)
      difference = clip.image(index).astype(int) - decoded[f'{clip.name}|image'][index]
      assert np.abs(difference).max() <= DECODER_DIFFERENCE


def record(images, labels, name='video', drop=()):
  """A serialised SequenceExample in the original's schema."""
  example = tf.train.SequenceExample()
  if name is not None:
    example.context.feature[keys.VIDEO_ID].bytes_list.value.append(name.encode())
  example.context.feature['clip/frames'].int64_list.value.append(len(images))
  for key, values in ((keys.IMAGES, images), (keys.MASKS, labels), ('other', [b'x'])):
    for value in () if key in drop else values:
      example.feature_lists.feature_list[key].feature.add().bytes_list.value.append(value)
  return example.SerializeToString()


def write(path, *records):
  with tf.io.TFRecordWriter(str(path)) as writer:
    for data in records:
      writer.write(data)
  return path


def png(value):
  return tf.io.encode_png(np.full((5, 7, 3), value, np.uint8)).numpy()


def mask(value):
  ids = np.zeros((5, 7), np.uint8)
  ids[1:4, 1:5] = value
  return encode_mask(ids)


def grey(value):
  return tf.io.encode_png(np.full((5, 7, 1), value, np.uint8)).numpy()


def test_frames_without_mask_are_left_out(tmp_path):
  path = write(
    tmp_path / 'a.tfrecord',
    record([png(i) for i in range(5)], [mask(9), b'', mask(3), b'', b''], 'late'),
  )
  (clip,) = record_clips([path])
  assert clip.name == 'late' and clip.num_frames == 2
  assert clip.image(1).max() == 2 and clip.labels(1).max() == 3


def test_palette_masks_keep_their_ids(tmp_path):
  (clip,) = record_clips([write(tmp_path / 'a', record([png(1)], [mask(254)]))])
  assert set(np.unique(clip.labels(0))) == {0, 254}


def test_white_is_an_object_or_void_for_the_whole_clip(tmp_path):
  white, _ = record_clips(
    [write(tmp_path / 'a', record([png(1)] * 2, [grey(0), grey(255)]), record([png(1)], [grey(4)]))]
  )
  assert (white.labels(1) == 1).all() and not white.labels(0).any()
  (void,) = record_clips([write(tmp_path / 'b', record([png(1)] * 2, [grey(7), grey(255)]))])
  assert (void.labels(1) == 255).all() and (void.labels(0) == 7).all()


def test_records_of_ours_hold_ids_and_void(tmp_path):
  example = tf.train.SequenceExample.FromString(record([png(1)] * 2, [grey(255), grey(2)]))
  example.context.feature[keys.OBJECT_IDS].int64_list.value.append(2)
  (clip,) = record_clips([write(tmp_path / 'a', example.SerializeToString())])
  assert (clip.labels(0) == 255).all() and (clip.labels(1) == 2).all()


def test_empty_shards_are_fine_and_an_empty_split_is_not(tmp_path):
  empty = write(tmp_path / 'empty')
  full = write(tmp_path / 'full', record([png(1)], [mask(1)]))
  assert len(record_clips([empty, full])) == 1
  for paths in ([empty], []):
    with pytest.raises(ValueError, match='the split is empty'):
      record_clips(paths)


@pytest.mark.parametrize('keep', (5, 40, -1))
def test_truncated_files_are_named(tmp_path, keep):
  path = write(tmp_path / 'cut.tfrecord', record([png(1)], [mask(1)]))
  path.write_bytes(path.read_bytes()[:keep])
  with pytest.raises(ValueError, match=r'cut.tfrecord: .*record 0'):
    record_clips([path])


def test_a_file_that_gets_shorter_while_it_is_read(tmp_path, monkeypatch):
  """No signal ends the process, as it would if the file were mapped into memory."""
  records = [record([bytes(9000)] * 3, [mask(1)] * 3, f'video{i}') for i in range(3)]
  path, pread, reads = write(tmp_path / 'cut.tfrecord', *records), os.pread, []

  def read(*where):
    reads.append(where)
    if len(reads) == 12:
      os.truncate(path, 9000)
    return pread(*where)

  monkeypatch.setattr(os, 'pread', read)
  with pytest.raises(ValueError, match=r'cut.tfrecord: .*record [01]'):
    record_clips([path])
  monkeypatch.undo()
  write(path, *records)
  clip = record_clips([path])[0]
  os.truncate(path, 5000)
  with pytest.raises(ValueError, match='cut.tfrecord: frame 2 of video video0'):
    clip.image(2)
  path.unlink()
  with pytest.raises(FileNotFoundError, match='cut.tfrecord'):
    clip.image(0)


@pytest.mark.parametrize(
  'data',
  (
    b'\xff' * 40,
    b'not a protocol buffer',
    record([png(1)], [mask(1)], name=None),
    record([png(1)], [mask(1)], drop=(keys.IMAGES,)),
  ),
  ids=('ones', 'text', 'no name', 'no images'),  # Not the bytes: their order differs by process.
)
def test_other_records_are_refused(tmp_path, data):
  path = write(tmp_path / 'other.tfrecord', data)
  with pytest.raises(ValueError, match='other.tfrecord: record 0 is no SequenceExample'):
    record_clips([path])


def test_bytes_that_are_no_record_are_refused(tmp_path):
  path = tmp_path / 'image.jpg'
  path.write_bytes(bytes(range(256)) * 4)
  with pytest.raises(ValueError, match='the file is cut off or no TFRecord'):
    record_clips([path])


def test_videos_without_usable_masks_are_refused(tmp_path):
  for labels, message in (([], '2 frames and 0 masks'), ([b'', b''], 'has no mask')):
    path = write(tmp_path / 'bad', record([png(1)] * 2, labels, 'sheep'))
    with pytest.raises(ValueError, match=f'video sheep .*{message}'):
      record_clips([path])


def test_broken_frames_are_named(tmp_path):
  path = write(tmp_path / 'a', record([b'broken', png(1)], [mask(1), b'broken'], 'sheep'))
  (clip,) = record_clips([path])
  with pytest.raises(ValueError, match='frame 0 of video sheep'):
    clip.image(0)
  with pytest.raises(ValueError, match='frame 1 of video sheep'):
    clip.labels(1)


def test_missing_files_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='nowhere.tfrecord: no such TFRecord'):
    record_clips([tmp_path / 'nowhere.tfrecord'])


class FiveFrames(Video):
  """A video with masks on frames 1 and 3."""

  name, masked_frames = 'five', (1, 3)

  def frames(self, start=0):
    return map(self.frame, range(start, 5))

  def frame(self, index):
    return np.full((4, 6, 3), index, np.uint8)

  def mask(self, index):
    from feelvos_tf.datasets.masks import Mask

    return Mask(np.full((4, 6), index, np.uint8))


def test_videos_give_their_masked_frames():
  (clip,) = video_clips([FiveFrames()])
  assert clip.num_frames == 2 and isinstance(clip, VideoClip)
  assert clip.image(1).max() == 3 and clip.labels(0).max() == 1
  unmasked = FiveFrames()
  unmasked.masked_frames = ()
  with pytest.raises(ValueError, match='five: a video without masks'):
    video_clips([unmasked])
  with pytest.raises(ValueError, match='no video given'):
    video_clips([])


def test_spans_are_checked():
  with pytest.raises(ValueError, match='2 frames and 1 masks'):
    RecordClip('path', 'name', [(0, 1), (1, 1)], [(2, 1)])

"""TFRecords: the original's schema, both ways, and what is added to it."""

import json
import os

import cv2
import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import davis
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.sources import synthetic
from feelvos_tf.datasets.tfrecord import schema

RECORDS = 'tf1/tfrecord'
ADDED = {
  'segmentation/object/ids',
  'segmentation/object/first_frames',
  'segmentation/object/palette',
  'clip/frame_names',
}


def read_records(path):
  return [record.numpy() for record in tf.data.TFRecordDataset(str(path))]


@pytest.fixture(scope='module')
def ours(golden):
  """Our records of the tiny DAVIS tree from which the original wrote its own."""
  videos = davis.davis_videos(golden.path(f'{RECORDS}/DAVIS'), '2017', 'val')
  return [schema.encode_video(video)[0] for video in videos]


def test_decodes_what_the_original_wrote(golden):
  expected = golden.npz(f'{RECORDS}/decoded')
  records = read_records(golden.path(f'{RECORDS}/val_1shard/val-00000-of-00001.tfrecord'))
  names = []
  for record in records:
    video = schema.parse_video(record)
    name = video['video_id'].numpy().decode()
    names.append(name)
    images, labels = schema.decode_frames(video, range(4))
    np.testing.assert_array_equal(images, expected[f'{name}|image'])
    np.testing.assert_array_equal(labels, expected[f'{name}|label'][..., 0])
    assert video['object_ids'].shape == (0,) and video['palette'].shape == (0, 3)
  assert names == ['bear', 'dogs-jump', 'judo']


def test_ours_decode_to_the_same_bytes(golden, ours):
  theirs = read_records(golden.path(f'{RECORDS}/val_1shard/val-00000-of-00001.tfrecord'))
  for a, b in zip(ours, theirs, strict=True):
    a, b = schema.parse_video(a), schema.parse_video(b)
    for key in ('video_id', 'num_frames', 'height', 'width', 'images'):
      np.testing.assert_array_equal(a[key], b[key])
    for x, y in zip(a['masks'], b['masks'], strict=True):
      np.testing.assert_array_equal(tf.io.decode_png(x), tf.io.decode_png(y))


def test_ours_have_the_originals_schema(golden, ours):
  """Every key of the original with its type and value, and nothing but the documented ones more."""
  contents = json.loads(golden.path(f'{RECORDS}/contents.json').read_text())
  theirs = contents['val_1shard/val-00000-of-00001.tfrecord']
  for record, expected in zip(ours, theirs, strict=True):
    example = tf.train.SequenceExample.FromString(record)
    context = {}
    for key, feature in example.context.feature.items():
      kind = feature.WhichOneof('kind')
      values = list(getattr(feature, kind).value)
      context[key] = [kind, [v.decode('latin1') if kind == 'bytes_list' else v for v in values]]
    assert set(context) - ADDED == set(expected['context'])
    assert set(context) >= ADDED
    for key, value in expected['context'].items():
      assert context[key] == value
    lists = example.feature_lists.feature_list
    assert set(lists) == set(expected['feature_lists'])
    for key, (count, _) in expected['feature_lists'].items():
      assert len(lists[key].feature) == count


def test_added_keys(ours):
  video = schema.parse_video(ours[1])
  assert video['object_ids'].numpy().tolist() == [1, 3]
  assert video['first_frames'].numpy().tolist() == [0, 0]
  assert video['frame_names'].numpy().tolist() == [b'00000', b'00001', b'00002', b'00003']
  np.testing.assert_array_equal(video['palette'], masks.DAVIS_PALETTE)


def sparse_video(tmp_path, values, size=(32, 48), suffix='.png'):
  """A folder video whose frame i has a mask with the id values[i], or none for None."""
  rng = np.random.default_rng(3)
  frames, mask_files = [], {}
  for i, value in enumerate(values):
    path = tmp_path / f'{5 * i:05d}{suffix}'
    image = cv2.resize(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8), size[::-1])
    cv2.imwrite(str(path), image)
    frames.append(path)
    if value is not None:
      ids = np.zeros(size, np.uint8)
      ids[4:20, 4:20] = value
      ids[22:, 30:] = 9 if i >= 2 and value else 0
      mask_files[i] = tmp_path / f'm{i}.png'
      masks.write_mask(mask_files[i], ids)
  return folder.FolderVideo('sparse', frames, mask_files)


def test_sparse_masks_and_late_objects(tmp_path):
  source = sparse_video(tmp_path, [7, None, 7, None])
  record, summary = schema.encode_video(source, 'some')
  assert summary == {
    'name': 'sparse',
    'frames': 4,
    'masks': 2,
    'objects': [7, 9],
    'height': 32,
    'width': 48,
  }
  video = schema.parse_video(record)
  assert dict(zip(video['object_ids'].numpy(), video['first_frames'].numpy())) == {7: 0, 9: 2}
  images, labels = schema.decode_frames(video, [2, 1])
  np.testing.assert_array_equal(images[0], source.frame(2))  # PNG: kept without loss.
  np.testing.assert_array_equal(labels[0], source.mask(2).ids)
  assert (labels[1].numpy() == 255).all()  # No mask: nothing is known about the frame.


def test_only_the_chosen_frames_are_decoded(ours):
  example = tf.train.SequenceExample.FromString(ours[0])
  features = example.feature_lists.feature_list['image/encoded'].feature
  for index in (0, 3):
    features[index].bytes_list.value[0] = b'broken'
  video = schema.parse_video(example.SerializeToString())
  images, _ = schema.decode_frames(video, [1, 2])
  assert images.shape == (2, 48, 64, 3)
  with pytest.raises(tf.errors.InvalidArgumentError):
    schema.decode_frames(video, [0])


def test_in_a_tf_data_pipeline(golden):
  path = str(golden.path(f'{RECORDS}/val_1shard/val-00000-of-00001.tfrecord'))
  dataset = (
    tf.data.TFRecordDataset(path)
    .map(schema.parse_video)
    .map(lambda video: schema.decode_frames(video, [0, 2]))
  )
  shapes = [images.shape.as_list() for images, _ in dataset]
  assert shapes == [[2, 48, 64, 3], [2, 48, 64, 3], [2, 40, 56, 3]]


def test_encoding_is_deterministic():
  videos = [synthetic.SyntheticVideo(4, 3, (32, 40)) for _ in range(2)]
  first, second = (schema.encode_video(video)[0] for video in videos)
  assert first == second


def test_frames_that_cannot_be_copied_become_jpeg(tmp_path):
  source = sparse_video(tmp_path, [1, 1], suffix='.bmp')
  video = schema.parse_video(schema.encode_video(source)[0])
  images, _ = schema.decode_frames(video, [0, 1])
  assert all(data.numpy()[:2] == b'\xff\xd8' for data in video['images'])
  assert np.abs(images.numpy().astype(int) - np.stack(list(source.frames()))).mean() < 4


def test_rotated_photos_are_stored_upright(tmp_path):
  """TensorFlow's decoder ignores the orientation in EXIF data, OpenCV's obeys it."""
  from PIL import Image

  exif = Image.Exif()
  exif[0x0112] = 6
  Image.fromarray(np.zeros((48, 32, 3), np.uint8)).save(tmp_path / '0.jpg', exif=exif)
  ids = np.ones((32, 48), np.uint8)
  masks.write_mask(tmp_path / 'm.png', ids)
  source = folder.FolderVideo('turned', [tmp_path / '0.jpg'], {0: tmp_path / 'm.png'})
  video = schema.parse_video(schema.encode_video(source)[0])
  images, labels = schema.decode_frames(video, [0])
  assert images.shape[:3] == labels.shape == (1, 32, 48)


@pytest.mark.parametrize(
  'values, required, message',
  [
    ([1, None, 1], 'every', 'no mask for frame 00005 .1 missing.*: set sparse_masks'),
    ([None, 1, 1], 'first', 'no mask for frame 00000'),
    ([None, None], 'some', 'a video without masks given'),
    ([0, 0], 'every', '2 masks without any object'),
    ([1, 255], 'every', 'the mask of frame 00005 holds id 255'),
    ([1], 'all', "required_masks: 'all' given"),
  ],
)
def test_bad_masks(tmp_path, values, required, message):
  with pytest.raises(ValueError, match=message):
    schema.encode_video(sparse_video(tmp_path, values), required)


def test_void_is_kept_if_allowed(tmp_path):
  record, summary = schema.encode_video(sparse_video(tmp_path, [1, 255]), allow_void=True)
  assert summary['objects'] == [1]
  _, labels = schema.decode_frames(schema.parse_video(record), [1])
  assert labels[0, 5, 5] == 255


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
def test_turned_frames_are_upright_in_a_record(tmp_path, suffix):
  """TensorFlow's decoders do not turn: the frame would lie across its label."""
  image = np.zeros((24, 40, 3), np.uint8)
  image[:8, :12] = 250
  exif = Image.Exif()
  exif[0x0112] = 6  # Stored with its top to the left.
  for name in ('frames', 'masks'):
    (tmp_path / 'v' / name).mkdir(parents=True)
  ids = (image[..., 0] > 0).astype(np.uint8)
  Image.fromarray(np.rot90(image)).save(tmp_path / 'v' / 'frames' / f'0.{suffix}', exif=exif)
  Image.fromarray(np.rot90(ids)).save(tmp_path / 'v' / 'masks' / '0.png', exif=exif)
  record, _ = schema.encode_video(folder.folder_sources(tmp_path)[0].opener())
  images, labels = schema.decode_frames(schema.parse_video(tf.constant(record)), [0])
  assert np.abs(images[0].numpy().astype(int) - image).mean() < 3
  np.testing.assert_array_equal(labels[0], ids)


def test_names_of_any_bytes(tmp_path):
  video = sparse_video(tmp_path, [1, 1])
  video.name = os.fsdecode(b'v\xe4d')
  video.frame_names = tuple(os.fsdecode(b'fr\xe4me%d' % i) for i in range(len(video.frame_names)))
  record, _ = schema.encode_video(video, 'some')
  assert schema.parse_video(tf.constant(record))['video_id'].numpy() == b'v\xe4d'

"""YouTube-VOS folders: meta.json, late objects, masks on every fifth frame."""

import json
import unicodedata
import warnings

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import youtube_vos
from feelvos_tf.datasets.tfrecord import schema

SIZE = (24, 32)


def write_split(root, split='train', all_frames=False, meta_change=lambda meta: meta):
  """Video `ab`: frames 0, 5, 10; object 2 from the start, object 5 from frame 5 on."""
  jpegs = root / (f'{split}_all_frames' if all_frames else split) / 'JPEGImages' / 'ab'
  jpegs.mkdir(parents=True)
  for i in range(0, 11, 1 if all_frames else 5):
    cv2.imwrite(str(jpegs / f'{i:05d}.jpg'), np.full(SIZE + (3,), 20 * i, np.uint8))
  annotations = root / split / 'Annotations' / 'ab'
  annotations.mkdir(parents=True, exist_ok=True)
  for i in (0, 5, 10):
    ids = np.zeros(SIZE, np.uint8)
    ids[2:10, 2:10] = 2
    ids[12:20, 12:20] = 5 if i else 0
    masks.write_mask(annotations / f'{i:05d}.png', ids)
  meta = {
    'videos': {
      'ab': {
        'objects': {
          '5': {'category': 'ape', 'frames': ['00005', '00010']},
          '2': {'category': 'fox', 'frames': ['00000', '00005', '00010']},
        }
      }
    }
  }
  (root / split / 'meta.json').write_text(json.dumps(meta_change(meta)))
  return root


def test_objects_that_appear_later(tmp_path):
  (video,) = youtube_vos.youtube_vos_videos(write_split(tmp_path))
  assert video.num_frames == 3 and video.masked_frames == (0, 1, 2)
  assert video.frame_names == ('00000', '00005', '00010')
  assert video.object_first_frames == {2: 0, 5: 1}
  assert [(o.object_id, o.category) for o in video.objects] == [(2, 'fox'), (5, 'ape')]
  assert video.mask(0).object_ids == (2,) and video.mask(1).object_ids == (2, 5)


def test_frames_of_numbers_without_zeros_are_in_the_order_of_time(tmp_path):
  """Of 5 and 10, as strings the second is the first."""

  def without_zeros(meta):
    for entry in meta['videos']['ab']['objects'].values():
      entry['frames'] = [str(int(name)) for name in entry['frames']]
    return meta

  write_split(tmp_path, meta_change=without_zeros)
  for path in tmp_path.glob('train/*/ab/*'):
    path.rename(path.with_stem(str(int(path.stem))))
  (video,) = youtube_vos.youtube_vos_videos(tmp_path)
  assert video.frame_names == ('0', '5', '10')
  assert video.object_first_frames == {2: 0, 5: 1}


def test_all_frames_have_masks_on_every_fifth(tmp_path):
  write_split(tmp_path)
  write_split(tmp_path, all_frames=True)
  (source,) = youtube_vos.youtube_vos_sources(tmp_path, all_frames=True)
  video = source.opener()
  assert video.num_frames == 11 and video.masked_frames == (0, 5, 10)
  assert video.object_first_frames == {2: 0, 5: 5}
  record, summary = schema.encode_video(video, source.required_masks)
  assert (summary['frames'], summary['masks'], summary['objects']) == (11, 3, [2, 5])
  parsed = schema.parse_video(record)
  assert parsed['first_frames'].numpy().tolist() == [0, 5]


def test_valid_split_gives_only_first_masks(tmp_path):
  write_split(tmp_path, 'valid')
  (tmp_path / 'valid' / 'Annotations' / 'ab' / '00010.png').unlink()
  (video,) = youtube_vos.youtube_vos_videos(tmp_path, 'valid')
  assert video.masked_frames == (0, 1)


def test_an_object_that_meta_lacks_is_told_once(tmp_path):
  def without_5(meta):
    del meta['videos']['ab']['objects']['5']
    return meta

  (source,) = youtube_vos.youtube_vos_sources(write_split(tmp_path, meta_change=without_5))
  with pytest.warns(data_warning.DataWarning) as told:
    _, summary = schema.encode_video(source.opener(), source.required_masks)
  assert summary['objects'] == [2, 5] and len(told) == 1
  text = str(told[0].message)
  assert '00005.png: object 5, which meta.json does not list among those of ab (2)' in text
  write_split(tmp_path / 'whole')
  (source,) = youtube_vos.youtube_vos_sources(tmp_path / 'whole')
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    schema.encode_video(source.opener(), source.required_masks)


@pytest.mark.parametrize('form, other', [('NFD', 'NFC'), ('NFC', 'NFD')])
def test_a_video_whose_letters_are_composed_in_another_way(tmp_path, form, other):
  one, two = (unicodedata.normalize(way, 'Bär') for way in (form, other))
  write_split(tmp_path, meta_change=lambda meta: {'videos': {one: meta['videos']['ab']}})
  for part, name in (('JPEGImages', one), ('Annotations', two)):
    (tmp_path / 'train' / part / 'ab').rename(tmp_path / 'train' / part / name)
  (video,) = youtube_vos.youtube_vos_videos(tmp_path, sequences=[two])
  assert video.name == one and video.masked_frames == (0, 1, 2)


def test_missing_first_mask_is_named(tmp_path):
  write_split(tmp_path)
  (tmp_path / 'train' / 'Annotations' / 'ab' / '00005.png').unlink()
  with pytest.raises(ValueError, match='ab: no mask for frame 00005, .* introduces object 5'):
    youtube_vos.youtube_vos_videos(tmp_path)


def test_frame_of_meta_that_does_not_exist(tmp_path):
  write_split(tmp_path)
  (tmp_path / 'train' / 'JPEGImages' / 'ab' / '00005.jpg').unlink()
  with pytest.raises(ValueError, match=r'ab/00005\.png: a mask without a frame given'):
    youtube_vos.youtube_vos_videos(tmp_path)
  (tmp_path / 'train' / 'Annotations' / 'ab' / '00005.png').unlink()
  with pytest.raises(ValueError, match='introduces object 5 on 00005, which is not among'):
    youtube_vos.youtube_vos_videos(tmp_path)


def _with_id(new_id):
  def change(meta):
    objects = meta['videos']['ab']['objects']
    objects[new_id] = objects.pop('5')
    return meta

  return change


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda meta: {'videos': {}}, 'an empty split'),
    (lambda meta: {}, 'not a meta.json of YouTube-VOS'),
    (lambda meta: [], 'not a meta.json of YouTube-VOS'),
    (lambda meta: {'videos': {'ab': {'objects': {'x': {'frames': []}}}}}, 'not a meta.json'),
    (_with_id('255'), 'an object id 255, expected object ids 1..254, 255 is void'),
    (_with_id('0'), 'an object id 0, expected object ids 1..254, 255 is void'),
  ],
)
def test_bad_meta(tmp_path, change, message):
  with pytest.raises(ValueError, match=message):
    youtube_vos.youtube_vos_videos(write_split(tmp_path, meta_change=change))


def test_missing_files(tmp_path):
  with pytest.raises(FileNotFoundError, match='meta.json: no such file'):
    youtube_vos.youtube_vos_videos(tmp_path)
  write_split(tmp_path)
  with pytest.raises(ValueError, match="sequence 'zz' given"):
    youtube_vos.youtube_vos_videos(tmp_path, sequences=['zz'])


@pytest.mark.parametrize('bom', [b'\xef\xbb\xbf', b''])
def test_byte_order_mark_upper_case_and_hidden_files(tmp_path, bom):
  root = write_split(tmp_path)
  meta = root / 'train' / 'meta.json'
  meta.write_bytes(bom + meta.read_bytes())
  annotations = root / 'train' / 'Annotations' / 'ab'
  (annotations / '00005.png').rename(annotations / '00005.PNG')
  (annotations / '._00000.png').write_bytes(b'x')
  (video,) = youtube_vos.youtube_vos_videos(root)
  assert video.masked_frames == (0, 1, 2)


def test_names_that_lead_elsewhere_are_refused(tmp_path):
  change = lambda meta: {'videos': {'../ab': meta['videos']['ab']}}
  with pytest.raises(ValueError, match=r"'\.\./ab' given, expected the name of a folder"):
    youtube_vos.youtube_vos_videos(write_split(tmp_path, meta_change=change))

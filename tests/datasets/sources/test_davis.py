"""DAVIS folders as published."""

import shutil
import unicodedata

import numpy as np
import pytest

from feelvos_tf.datasets.sources import davis


@pytest.fixture
def tiny(golden):
  return golden.path('tf1/tfrecord/DAVIS')


def test_frames_and_masks_of_2017(tiny, golden):
  videos = davis.davis_videos(tiny, '2017', 'val')
  assert [v.name for v in videos] == ['bear', 'dogs-jump', 'judo']
  expected = golden.npz('tf1/tfrecord/decoded')
  for video in videos:
    assert video.num_frames == 4 and video.masked_frames == (0, 1, 2, 3)
    assert video.frame_names == ('00000', '00001', '00002', '00003')
    for i, frame in enumerate(video.frames()):
      # TensorFlow's JPEG decoder uses a faster transform than OpenCV's by default.
      np.testing.assert_allclose(frame, expected[f'{video.name}|image'][i], atol=8)
      np.testing.assert_array_equal(video.mask(i).ids, expected[f'{video.name}|label'][i, ..., 0])


def _as_2016(tiny, tmp_path, lines):
  (tmp_path / 'JPEGImages').symlink_to(tiny / 'JPEGImages')
  (tmp_path / 'Annotations').symlink_to(tiny / 'Annotations')
  (tmp_path / 'ImageSets' / '480p').mkdir(parents=True)
  (tmp_path / 'ImageSets' / '480p' / 'val.txt').write_text('\n'.join(lines))
  return tmp_path


def test_2016_is_one_object_and_its_list_holds_pairs_of_files(tiny, tmp_path):
  root = _as_2016(
    tiny,
    tmp_path,
    [
      f'/JPEGImages/480p/{name}/{i:05d}.jpg /Annotations/480p/{name}/{i:05d}.png '
      for name in ('judo', 'dogs-jump')
      for i in range(4)
    ],
  )
  judo, dogs = davis.davis_videos(root, '2016', 'val')
  assert (judo.name, dogs.name) == ('judo', 'dogs-jump')
  assert dogs.mask(0).object_ids == (1,)
  judo, dogs = davis.davis_videos(root, '2016', 'val', single_object=False)
  assert dogs.mask(0).object_ids == (1, 3)


def test_test_dev_has_one_mask(tiny, tmp_path):
  (tmp_path / 'JPEGImages').symlink_to(tiny / 'JPEGImages')
  (tmp_path / 'ImageSets' / '2017').mkdir(parents=True)
  (tmp_path / 'ImageSets' / '2017' / 'test-dev.txt').write_text('bear\n\n')
  annotations = tmp_path / 'Annotations' / '480p' / 'bear'
  annotations.mkdir(parents=True)
  (annotations / '00000.png').symlink_to(tiny / 'Annotations' / '480p' / 'bear' / '00000.png')
  (video,) = davis.davis_videos(tmp_path, '2017', 'test-dev')
  assert video.num_frames == 4 and video.masked_frames == (0,)
  assert video.mask(0).object_ids == (1, 2) and video.mask(1) is None


def test_sequences_are_selected_in_the_order_given(tiny):
  videos = davis.davis_videos(tiny, '2017', 'val', sequences=['judo', 'bear'])
  assert [v.name for v in videos] == ['judo', 'bear']


@pytest.mark.parametrize(
  'change, error, message',
  [
    (dict(year='2018'), ValueError, "year: '2018' given"),
    (dict(split='nope'), FileNotFoundError, 'no such split; expected one of train, val'),
    (dict(sequences=['cat']), ValueError, "sequence 'cat' given, expected one of split val: bear"),
    (dict(resolution='1080p'), FileNotFoundError, 'no folder JPEGImages/1080p'),
  ],
)
def test_bad_arguments(tiny, change, error, message):
  with pytest.raises(error, match=message):
    davis.davis_videos(tiny, **{'year': '2017', 'split': 'val', **change})


def test_empty_split(tiny, tmp_path):
  with pytest.raises(ValueError, match='an empty split given'):
    davis.davis_videos(_as_2016(tiny, tmp_path, []), '2016', 'val')


def test_missing_sequence_and_missing_masks(tiny, tmp_path):
  root = _as_2016(tiny, tmp_path, ['bear', 'gone'])
  with pytest.raises(FileNotFoundError, match='gone: no such folder of frames'):
    davis.davis_videos(root, '2016', 'val')
  (root / 'Annotations').unlink()
  with pytest.raises(FileNotFoundError, match='expected the masks of bear'):
    davis.davis_videos(root, '2016', 'val', sequences=['bear'])


def test_a_frame_that_is_missing_is_no_shorter_video(tiny, tmp_path):
  (tmp_path / 'Annotations').symlink_to(tiny / 'Annotations')
  (tmp_path / 'ImageSets').symlink_to(tiny / 'ImageSets')
  frames = tmp_path / 'JPEGImages' / '480p' / 'bear'
  frames.mkdir(parents=True)
  for index in (0, 1, 3):
    name = f'{index:05d}.jpg'
    (frames / name).symlink_to(tiny / 'JPEGImages' / '480p' / 'bear' / name)
  with pytest.raises(ValueError, match=r'bear/00002\.png: a mask without a frame given'):
    davis.davis_videos(tmp_path, '2017', 'val', sequences=['bear'])


def test_real_davis(davis_root):
  videos = davis.davis_videos(davis_root, '2016', 'val')
  assert all(v.num_frames == len(v.masked_frames) > 10 for v in videos)
  assert videos[0].mask(0).object_ids == (1,) and videos[0].frame_size == (480, 854)


@pytest.mark.parametrize('text', ['\ufeffmy bear ü\r\njudo\r\n', '# x\nmy bear ü\njudo # y\n'])
def test_names_in_lists(tiny, tmp_path, text):
  for part in ('JPEGImages', 'Annotations'):
    (tmp_path / part / '480p').mkdir(parents=True)
    for old, new in (('bear', 'my bear ü'), ('judo', 'judo')):
      (tmp_path / part / '480p' / new).symlink_to(tiny / part / '480p' / old)
  (tmp_path / 'ImageSets' / '2017').mkdir(parents=True)
  path = tmp_path / 'ImageSets' / '2017' / 'val.txt'
  path.write_text(text, encoding='utf-8')
  assert davis.read_split(tmp_path, '2017', 'val') == ['my bear ü', 'judo']
  assert [v.num_frames for v in davis.davis_videos(tmp_path, '2017', 'val')] == [4, 4]
  path.write_text('../../x\n')
  with pytest.raises(ValueError, match='expected the name of a folder without slashes'):
    davis.read_split(tmp_path, '2017', 'val')


def test_pairs_of_files_with_spaces(tiny, tmp_path):
  _as_2016(
    tiny, tmp_path, ['/JPEGImages/480p/my bear/00000.jpg /Annotations/480p/my bear/00000.png']
  )
  assert davis.read_split(tmp_path, '2016', 'val') == ['my bear']


@pytest.mark.parametrize('form, other', [('NFD', 'NFC'), ('NFC', 'NFD')])
def test_masks_whose_letters_are_composed_in_another_way(tiny, tmp_path, form, other):
  """As data of one's own have them, with masks that came over macOS."""
  (tmp_path / 'ImageSets' / '2017').mkdir(parents=True)
  sequence = {way: unicodedata.normalize(way, 'Bär') for way in (form, other)}
  (tmp_path / 'ImageSets' / '2017' / 'val.txt').write_text(sequence[form], encoding='utf-8')
  for part, suffix, way in (('JPEGImages', 'jpg', form), ('Annotations', 'png', other)):
    (tmp_path / part / '480p' / sequence[way]).mkdir(parents=True)
    for i in range(2):
      name = unicodedata.normalize(way, f'Bär {i}.{suffix}')
      old = tiny / part / '480p' / 'bear' / f'{i:05d}.{suffix}'
      shutil.copy(old, tmp_path / part / '480p' / sequence[way] / name)
  (video,) = davis.davis_videos(tmp_path, '2017', 'val', sequences=[sequence[other]])
  assert video.name == sequence[form]
  assert video.masked_frames == (0, 1) and video.mask(1).object_ids == (1, 2)

"""A folder of clips: what is one, and where its masks are."""

import pathlib
import re
import unicodedata
import warnings

import pytest

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets.sources import clip_folder


def touch(*paths):
  for path in paths:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_films_and_folders_in_natural_order(tmp_path):
  clips, masks = tmp_path / 'clips', tmp_path / 'masks'
  touch(clips / 'c10.mp4', clips / 'c2' / '0.jpg', clips / 'c3' / 'frames' / '0.jpg')
  touch(clips / '.hidden.mp4', clips / 'notes.txt', clips / 'empty' / 'notes.txt')
  touch(masks / 'c10.png', masks / 'c2' / '0.png', masks / 'c3.json')
  assert clip_folder.is_clip_folder(clips)
  assert clip_folder.find(clips, masks) == [
    ('c2', clips / 'c2', masks / 'c2'),
    ('c3', clips / 'c3' / 'frames', masks / 'c3.json'),
    ('c10', clips / 'c10.mp4', masks / 'c10.png'),
  ]


def test_masks_next_to_the_clips(tmp_path):
  touch(tmp_path / 'cow.mp4', tmp_path / 'cow.png', tmp_path / 'dog' / 'frames' / '0.jpg')
  touch(tmp_path / 'dog' / 'masks' / '0.png', tmp_path / 'bear.mkv')
  assert clip_folder.is_clip_folder(tmp_path)
  assert clip_folder.find(tmp_path) == [
    ('bear', tmp_path / 'bear.mkv', None),
    ('cow', tmp_path / 'cow.mp4', tmp_path / 'cow.png'),
    ('dog', tmp_path / 'dog' / 'frames', tmp_path / 'dog' / 'masks'),
  ]


@pytest.mark.parametrize('form, other', [('NFD', 'NFC'), ('NFC', 'NFD')])
def test_names_that_systems_write_in_two_ways(tmp_path, form, other):
  """Letters and accents in one piece or two; suffixes in capitals."""
  kaese, uhu = unicodedata.normalize(form, 'Käse'), unicodedata.normalize(form, 'Ühü')
  clips, masks = tmp_path / 'clips', tmp_path / 'masks'
  names = [unicodedata.normalize(other, name) for name in ('Käse.PNG', 'Ühü')]
  touch(clips / f'{kaese}.MP4', clips / uhu / '0.jpg', masks / names[0], masks / names[1] / '0.png')
  assert sorted(clip_folder.find(clips, masks)) == [
    (kaese, clips / f'{kaese}.MP4', masks / names[0]),
    (uhu, clips / uhu, masks / names[1]),
  ]
  (masks / names[0]).rename(clips / names[0])
  assert clip_folder.is_clip_folder(clips)
  assert clip_folder.find(clips)[0].masks == clips / names[0]


def test_every_container_that_the_documentation_names_is_a_clip(tmp_path):
  text = (pathlib.Path(__file__).parents[3] / 'docs' / 'formats.md').read_text(encoding='utf-8')
  table = text.split('| container | codec |')[1].split('\n\n')[0]
  suffixes = set(re.findall(r'^\| (\w+) \|', table, re.MULTILINE))
  assert {'mp4', 'mxf', 'vob', 'ivf', 'h264', 'apng'} <= suffixes
  touch(*(tmp_path / f'{suffix}.{suffix}' for suffix in suffixes))
  assert {clip.name for clip in clip_folder.find(tmp_path)} == suffixes


def test_a_file_with_a_mask_that_is_no_clip_is_told(tmp_path):
  clips, masks = tmp_path / 'clips', tmp_path / 'masks'
  touch(clips / 'cow.mp4', clips / 'cow.wav', clips / 'dog.film', clips / 'read.me')
  touch(masks / 'cow.png', masks / 'dog.png')
  with pytest.warns(data_warning.DataWarning, match='dog.film: has a mask, .* left out'):
    assert [clip.name for clip in clip_folder.find(clips, masks)] == ['cow']
  (masks / 'dog.png').unlink()
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    assert len(clip_folder.find(clips, masks)) == 1


def test_masks_alone_are_no_clips(tmp_path):
  touch(tmp_path / 'cow.doc', tmp_path / 'masks' / 'cow.png')
  with pytest.raises(ValueError, match=r'a folder without clips given, expected .*\.mp4, '):
    clip_folder.find(tmp_path, tmp_path / 'masks')


def test_the_folder_of_masks_is_no_clip(tmp_path):
  touch(tmp_path / 'cow.mp4', tmp_path / 'masks' / 'cow.png')
  expected = [('cow', tmp_path / 'cow.mp4', tmp_path / 'masks' / 'cow.png')]
  assert clip_folder.find(tmp_path, tmp_path / 'masks') == expected


def test_frames_of_one_clip(tmp_path):
  touch(tmp_path / 'cow' / 'frames' / '0.jpg', tmp_path / 'cow' / 'masks' / '0.png')
  assert clip_folder.frames_of_clip(tmp_path / 'cow') == tmp_path / 'cow' / 'frames'
  assert clip_folder.frames_of_clip(tmp_path) == tmp_path
  assert clip_folder.frames_of_clip(tmp_path / 'cow' / 'frames') == tmp_path / 'cow' / 'frames'
  touch(tmp_path / 'cow' / '0.jpg')  # Now `frames` may hold anything.
  assert clip_folder.frames_of_clip(tmp_path / 'cow') == tmp_path / 'cow'


@pytest.mark.parametrize(
  'names',
  [
    ['0.jpg', '1.jpg', 'overlay.mp4'],  # Frames and something made of them.
    ['0.jpg', 'masks/0.png'],
    ['frames/0.jpg', 'masks/0.png'],  # One clip.
    ['notes.txt'],
    [],
  ],
)
def test_no_folder_of_clips(tmp_path, names):
  touch(*(tmp_path / name for name in names))
  assert not clip_folder.is_clip_folder(tmp_path)
  assert not clip_folder.is_clip_folder(tmp_path / 'nowhere')


@pytest.mark.parametrize(
  'names, message',
  [
    (['cow.mp4', 'cow.mov'], 'both cow.mov and cow.mp4 given, expected one clip of a name'),
    (['cow.mp4', 'cow.png', 'cow.json'], 'both cow.png and cow.json given, expected one mask'),
  ],
)
def test_two_of_one_name(tmp_path, names, message):
  touch(*(tmp_path / name for name in names))
  with pytest.raises(ValueError, match=message):
    clip_folder.find(tmp_path)

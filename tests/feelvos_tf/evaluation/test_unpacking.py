"""Videos unpacked to files: what is written, and what is refused the next time."""

import os

import numpy as np
from PIL import Image
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import synthetic
from feelvos_tf.datasets.video import list_images
from feelvos_tf.evaluation import scoring
from feelvos_tf.evaluation import sequences
from feelvos_tf.evaluation import unpacking


def make_video(seed=0):
  return synthetic.SyntheticVideo(seed, num_frames=3, frame_size=(24, 32), name='cow')


def test_frames_and_masks_are_those_of_the_video(tmp_path):
  video = make_video()
  unpacking.unpack(video, tmp_path)
  places = (tmp_path / part / 'cow' for part in ('Annotations', 'results', 'JPEGImages'))
  found = sequences.open_video(sequences.SequenceFiles('cow', *places))
  assert found.num_frames == 3
  for index in range(3):
    np.testing.assert_array_equal(found.frame(index), video.frame(index))
    np.testing.assert_array_equal(found.mask(index).ids, video.mask(index).ids)
  mask = tmp_path / 'Annotations' / 'cow' / f'{video.frame_names[1]}.png'
  before = mask.stat()
  unpacking.unpack(video, tmp_path)
  assert mask.stat().st_mtime_ns == before.st_mtime_ns


def test_other_data_than_those_unpacked_are_refused(tmp_path):
  video = make_video()
  unpacking.unpack(video, tmp_path)
  with pytest.raises(ValueError, match='holds another cow than the data now'):
    unpacking.unpack(make_video(seed=1), tmp_path)
  mask = tmp_path / 'Annotations' / 'cow' / f'{video.frame_names[2]}.png'
  masks.write_mask(mask, 1 - np.minimum(masks.read_mask(mask).ids, 1))
  with pytest.raises(ValueError, match='remove this folder'):
    unpacking.unpack(video, tmp_path)
  mask.unlink()
  with pytest.raises(ValueError, match='remove this folder'):
    unpacking.unpack(video, tmp_path)


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
def test_frames_of_other_data_that_a_kill_left_go(tmp_path, suffix):
  """Of more frames, or pictures of another kind; the next runs refused the video."""
  left = tmp_path / 'JPEGImages' / 'cow'
  left.mkdir(parents=True)
  video = make_video()
  for name in (*video.frame_names, '00003', '.hidden'):
    Image.new('RGB', (32, 24)).save(left / f'{name}.{suffix}')
  for _ in range(2):
    unpacking.unpack(video, tmp_path)
  assert [path.stem for path in list_images(left)] == list(video.frame_names)
  assert len(list(left.iterdir())) == 4


def test_a_folder_of_unknown_origin_is_left_alone(tmp_path):
  (tmp_path / 'JPEGImages').mkdir()
  with pytest.raises(ValueError, match='holds JPEGImages and Annotations of unknown origin'):
    unpacking.claim(tmp_path, 'records val')
  assert not (tmp_path / 'source.txt').exists()


def test_thin_objects_are_unpacked_and_read_back(tmp_path):
  """The program wrote them; they were refused as antialiased."""
  thin = np.zeros((24, 32), np.uint8)
  thin[4:20, 8:24] = np.repeat(np.arange(1, 9), 2)
  video = make_video()
  video.mask = lambda index: masks.Mask(thin)
  for _ in range(2):
    unpacking.unpack(video, tmp_path)
  places = (tmp_path / part / 'cow' for part in ('Annotations', 'Annotations', 'JPEGImages'))
  files = sequences.SequenceFiles('cow', *places, unpacked=True)
  np.testing.assert_array_equal(sequences.open_video(files).mask(2).ids, thin)
  assert sequences.with_ground_truth([files], sparse_masks_given=True) == [files]
  assert scoring.score_files(files).object_ids == tuple(range(1, 9))


def test_a_folder_holds_the_videos_of_one_origin(tmp_path):
  for _ in range(2):
    unpacking.claim(tmp_path / 'new', 'records val')
    unpacking.claim(tmp_path / 'not UTF-8', os.fsdecode(b'/d\xe4ta val'))
  with pytest.raises(ValueError, match='holds the videos of records val; choose another'):
    unpacking.claim(tmp_path / 'new', 'records train')


def test_a_video_of_unknown_length_is_not_unpacked_as_an_empty_one(tmp_path):
  video = make_video()
  video.num_frames = None
  with pytest.raises(ValueError, match='cow: a video of an unknown number of frames'):
    unpacking.unpack(video, tmp_path)
  assert not (tmp_path / 'Annotations').exists()


@pytest.mark.parametrize('name, frame', [('../../cow', '00001'), ('cow', '../../../00001')])
def test_names_of_records_do_not_lead_out_of_the_folder(tmp_path, name, frame):
  video = make_video()
  video.name, video.frame_names = name, ('00000', frame, '00002')
  with pytest.raises(ValueError, match=r"'\.\./.*expected the name of a folder without slashes"):
    unpacking.unpack(video, tmp_path / 'unpacked')
  assert not list(tmp_path.iterdir())

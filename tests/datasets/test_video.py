"""Helpers that all video sources share."""

import errno
import itertools
import os
import pathlib
import pickle

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import video
from feelvos_tf.files import whole_file


def test_natural_order():
  names = ['frame10.png', 'frame9.png', 'frame1.png', 'a2b10.png', 'a2b9.png', '007.png', '7.png']
  assert sorted(names, key=video.natural_key) == [
    '007.png',
    '7.png',
    'a2b9.png',
    'a2b10.png',
    'frame1.png',
    'frame9.png',
    'frame10.png',
  ]


def test_numbered_names_go_on_behind_the_claimed_length():
  names = video.NumberedNames(3)
  assert list(names) == ['00000', '00001', '00002']
  assert len(names) == 3 and names[-1] == '00002' and names[1:] == ['00001', '00002']
  assert names[123456] == '123456'
  assert len(video.NumberedNames(None)) == 0
  with pytest.raises(IndexError):
    video.NumberedNames(None)[-1]


@pytest.mark.parametrize('suffix', ['.png', '.bmp'])
def test_read_image_is_rgb(tmp_path, rng, suffix):
  image = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
  cv2.imwrite(str(tmp_path / f'f{suffix}'), image[..., ::-1])
  np.testing.assert_array_equal(video.read_image(tmp_path / f'f{suffix}'), image)


def test_read_image_turns_grey_and_16_bits_into_8_bit_rgb(tmp_path):
  cv2.imwrite(str(tmp_path / 'g.png'), np.full((4, 5), 128 * 257, np.uint16))
  image = video.read_image(tmp_path / 'g.png')
  assert image.shape == (4, 5, 3) and image.dtype == np.uint8 and (image == 128).all()


def test_read_image_refuses_what_is_cut_off_or_no_image(tmp_path, rng):
  good = cv2.imencode('.jpg', rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))[1].tobytes()
  for data in (good[: len(good) // 2], b'', b'not an image'):
    (tmp_path / 'f.jpg').write_bytes(data)
    with pytest.raises(ValueError, match=r'f\.jpg: unreadable picture'):
      video.read_image(tmp_path / 'f.jpg')
  with pytest.raises(FileNotFoundError, match='no such image'):
    video.read_image(tmp_path / 'g.jpg')


def test_list_images_leaves_out_other_files(tmp_path):
  for name in ('2.JPG', '10.jpg', '1.png', 'notes.txt', '.hidden.jpg'):
    (tmp_path / name).touch()
  (tmp_path / '3.jpg').mkdir()
  assert [p.name for p in video.list_images(tmp_path)] == ['1.png', '2.JPG', '10.jpg']
  with pytest.raises(FileNotFoundError, match='no such folder'):
    video.list_images(tmp_path / 'none')


class _Forward(video.Video):
  name, num_frames, frame_size, frame_names = 'forward', None, (2, 3), ()

  def frames(self, start=0):
    for value in itertools.islice(range(4), start, None):
      yield np.full((2, 3, 3), value, np.uint8)

  def mask(self, index):
    return None


def test_frame_of_a_source_that_only_reads_forward():
  assert (_Forward().frame(2) == 2).all()
  with pytest.raises(IndexError, match='forward: no frame 4'):
    _Forward().frame(4)


def test_a_broken_link_is_named(tmp_path):
  (tmp_path / '1.png').symlink_to('gone.png')
  (tmp_path / 'mask.png').touch()
  (path,) = video.list_images(tmp_path, [tmp_path / 'mask.png'])
  with pytest.raises(FileNotFoundError, match=r'1\.png: a link to a file that is not there'):
    video.read_image(path)


def test_too_many_open_files_are_no_fault_of_the_picture(tmp_path, monkeypatch):
  """Also seen by a process that gets the error from another one, without its cause."""

  def full(path):
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

  monkeypatch.setattr(pathlib.Path, 'read_bytes', full)
  with pytest.raises(OSError, match=r'Too many open files.*1\.png') as error:
    video.read_image(tmp_path / '1.png')
  assert whole_file.is_no_room(pickle.loads(pickle.dumps(error.value)))


def test_two_frames_of_one_name_are_refused(tmp_path):
  for name in ('a.jpg', 'a.png', 'b.jpg'):
    (tmp_path / name).touch()
  with pytest.raises(ValueError, match='both a.jpg and a.png given, expected one frame of a name'):
    video.list_images(tmp_path)


@pytest.mark.parametrize('suffix', ['heic', 'AVIF', 'jp2', 'tga', 'gif', 'dng'])
def test_pictures_that_are_not_read_are_not_left_out_silently(suffix, tmp_path):
  for name in ('0.jpg', f'1.{suffix}', '2.jpg', 'Thumbs.db', '.3.heic'):
    (tmp_path / name).touch()
  with pytest.raises(ValueError, match=rf'1\.{suffix}: a picture of another kind than \.jpg, '):
    video.list_images(tmp_path)


def test_jpeg_and_netpbm_by_their_other_suffixes(tmp_path):
  for name in ('0.jpe', '1.JFIF', '2.pgm', '3.pnm', '4.jpeg'):
    (tmp_path / name).touch()
  assert len(video.list_images(tmp_path)) == 5

"""Archives for the benchmark servers: layout, content, refusals."""

import io
import os
import zipfile

import numpy as np
from PIL import Image
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.palette import DAVIS_PALETTE
from feelvos_tf.evaluation import submission


@pytest.fixture
def split(tmp_path):
  """One sequence 'dog' of 3 frames with a given first mask (ids 1 and 4), and results for it."""
  frames, given, results = tmp_path / 'frames', tmp_path / 'given', tmp_path / 'results' / 'dog'
  for folder in (frames, given, results):
    folder.mkdir(parents=True)
  ids = np.zeros((6, 8), np.uint8)
  ids[1:3, 1:3], ids[4, 4:] = 1, 4
  masks.write_mask(given / '00000.png', ids)
  for index in range(3):
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(frames / f'{index:05d}.jpg')
    masks.write_mask(results / f'{index:05d}.png', np.roll(ids, index, 1))
  return frames, given, results


def pack(tmp_path, split, layout='davis'):
  frames, given, results = split
  path = tmp_path / 'submission.zip'
  count = submission.write_submission(path, results.parent, [('dog', frames, given)], layout)
  return path, count


@pytest.mark.parametrize('layout, prefix', [('davis', ''), ('youtube_vos', 'Annotations/')])
def test_layout_and_content(tmp_path, split, layout, prefix):
  path, count = pack(tmp_path, split, layout)
  with zipfile.ZipFile(path) as archive:
    assert archive.testzip() is None
    assert archive.namelist() == [f'{prefix}dog/{i:05d}.png' for i in range(3)]
    image = Image.open(io.BytesIO(archive.read(f'{prefix}dog/00001.png')))
  assert count == 3 and image.mode == 'P'
  np.testing.assert_array_equal(np.array(image), masks.read_mask(split[2] / '00001.png').ids)


@pytest.mark.parametrize('colours', [False, True])
def test_grey_and_rgb_results_become_palette_files(tmp_path, split, colours):
  ids = masks.read_mask(split[2] / '00001.png').ids
  Image.fromarray(DAVIS_PALETTE[ids] if colours else ids).save(split[2] / '00001.png')
  path, _ = pack(tmp_path, split)
  with zipfile.ZipFile(path) as archive:
    image = Image.open(io.BytesIO(archive.read('dog/00001.png')))
  assert image.mode == 'P'
  np.testing.assert_array_equal(np.array(image), ids)


def test_equal_results_make_equal_archives(tmp_path, split):
  first = pack(tmp_path, split)[0].read_bytes()
  assert pack(tmp_path, split)[0].read_bytes() == first


def test_refusals_leave_no_archive(tmp_path, split):
  def expect(error, message):
    with pytest.raises(error) as raised:
      pack(tmp_path, split)
    assert message in str(raised.value)
    assert not list(tmp_path.glob('submission*'))

  result = split[2] / '00002.png'
  masks.write_mask(result, np.full((6, 8), 9, np.uint8))
  expect(ValueError, f'{result}: ids [9] given, only [0, 1, 4] of the given masks expected')
  masks.write_mask(result, np.zeros((3, 4), np.uint8))
  expect(ValueError, f'{result}: a mask of 4x3 pixels given, 8x6')
  result.unlink()
  expect(FileNotFoundError, f'{result}: no such mask')
  (split[1] / '00000.png').unlink()
  expect(FileNotFoundError, 'no given masks found')
  with pytest.raises(ValueError, match="'ytvos' given"):
    pack(tmp_path, split, 'ytvos')


def test_late_objects_are_allowed_where_they_are_given(tmp_path, split):
  late = np.zeros((6, 8), np.uint8)
  late[0, 0] = 7
  masks.write_mask(split[1] / '00001.png', late)
  masks.write_mask(split[2] / '00002.png', late)
  assert pack(tmp_path, split, 'youtube_vos')[1] == 3
  with pytest.raises(ValueError, match=r'ids \[7\] given'):
    pack(tmp_path, split, 'davis')


def test_white_results_of_a_black_and_white_mask_are_object_1(tmp_path, split):
  """DAVIS 2016's masks are 0 and 255, and so are the masks that segment makes of them."""
  _, given, results = split
  ids = np.where(masks.read_mask(given / '00000.png').ids > 0, 255, 0).astype(np.uint8)
  Image.fromarray(ids).save(given / '00000.png')
  for index in range(3):
    masks.write_mask(results / f'{index:05d}.png', np.roll(ids, index, 1))
  (results / '00001.png').rename(results / '00001.PNG')
  (given / '._00000.png').write_bytes(b'x')
  path, count = pack(tmp_path, split)
  with zipfile.ZipFile(path) as archive:
    found = [np.array(Image.open(io.BytesIO(archive.read(n)))) for n in archive.namelist()]
  assert count == 3
  for index, one in enumerate(found):
    np.testing.assert_array_equal(one, np.roll(ids // 255, index, 1))


def test_255_next_to_ids_is_refused(tmp_path, split):
  ids = masks.read_mask(split[2] / '00001.png').ids
  ids[0, 0] = 255
  masks.write_mask(split[2] / '00001.png', ids)
  with pytest.raises(ValueError, match=r'ids \[255\] given'):
    pack(tmp_path, split)


def test_thin_objects_are_packed_and_smoothed_results_refused(tmp_path, split):
  given = np.zeros((40, 60), np.uint8)
  given[:30, :40] = np.repeat(np.arange(1, 9), 5)
  masks.write_mask(split[1] / '00000.png', given)
  thin = np.zeros((40, 60), np.uint8)
  thin[8:30, 10:26] = np.repeat(np.arange(1, 9), 2)
  for path in split[2].iterdir():
    masks.write_mask(path, thin)
  with zipfile.ZipFile(pack(tmp_path, split)[0]) as archive:
    image = Image.open(io.BytesIO(archive.read('dog/00001.png')))
  np.testing.assert_array_equal(np.array(image), thin)
  masks.write_mask(split[2] / '00001.png', np.where(thin == 8, 9, thin))
  with pytest.raises(ValueError, match='00001.png: an antialiased image given'):
    pack(tmp_path, split)


def test_a_name_that_no_server_takes(tmp_path, split):
  name = os.fsdecode(b'd\xe4g')
  with pytest.raises(ValueError, match='a name that is not UTF-8 given'):
    submission.write_submission(tmp_path / 's.zip', split[2].parent, [(name, *split[:2])])


def test_only_a_submission_is_replaced(tmp_path, split):
  submission.check_place(pack(tmp_path, split)[0])
  submission.check_place(tmp_path / 'new.zip')
  with zipfile.ZipFile(tmp_path / 'DAVIS.zip', 'w') as archive:
    archive.writestr('DAVIS/Annotations/480p/bear/00000.png', b'')
  data = bytearray((tmp_path / 'DAVIS.zip').read_bytes())
  data[data.index(b'PK\1\2') + 6] = 99  # The version that one needs to read it.
  (tmp_path / 'later.zip').write_bytes(data)
  masks.write_mask(tmp_path / 'first.png', np.ones((3, 4), np.uint8))
  for name in ('DAVIS.zip', 'later.zip', 'first.png'):
    with pytest.raises(ValueError, match=f'{name}: a file that is no submission lies where'):
      submission.check_place(tmp_path / name)
  with pytest.raises(ValueError, match='a folder lies where the archive has to go'):
    submission.check_place(tmp_path)

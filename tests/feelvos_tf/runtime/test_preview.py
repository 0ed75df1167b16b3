"""The preview of a drawn mask: what it writes, and what it does not replace."""

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import folder
from feelvos_tf.inference import given_masks
from feelvos_tf.runtime import preview
from feelvos_tf.runtime import segment_job


@pytest.fixture
def job(tmp_path):
  (tmp_path / 'frames').mkdir()
  cv2.imwrite(str(tmp_path / 'frames' / '0.png'), np.full((12, 16, 3), 90, np.uint8))
  ids = np.zeros((12, 16), np.uint8)
  ids[2:9, 3:9] = 255
  given = given_masks.of(masks.Mask(ids, None, False, None))
  return segment_job.Job(folder.open_video(tmp_path / 'frames'), given)


def test_it_replaces_its_own(job, tmp_path):
  for _ in range(2):
    line = preview.write(tmp_path / 'first.png', job)
  assert 'correct ' in line and 'first.mask.png' in line
  ids = masks.read_mask(tmp_path / 'first.mask.png', void=False).ids
  np.testing.assert_array_equal(ids, job.given.ids(0))
  assert (cv2.imread(str(tmp_path / 'first.png'))[5, 5] != 90).any()


@pytest.mark.parametrize('name', ['first.png', 'first.mask.png'])
def test_a_file_of_the_user_stays(name, job, tmp_path):
  cv2.imwrite(str(tmp_path / name), np.ones((12, 16), np.uint8))
  before = (tmp_path / name).read_bytes()
  with pytest.raises(ValueError, match=f'{name}: a .* that no preview wrote'):
    preview.write(tmp_path / 'first.png', job)
  assert (tmp_path / name).read_bytes() == before


def test_a_mask_that_was_corrected_stays(job, tmp_path):
  preview.write(tmp_path / 'first.png', job)
  masks.write_mask(tmp_path / 'first.mask.png', np.ones((12, 16), np.uint8))
  with pytest.raises(ValueError, match='give it as --mask, or give another name to --preview'):
    preview.write(tmp_path / 'first.png', job)
  assert masks.read_mask(tmp_path / 'first.mask.png').ids.all()

"""What is asked for: drawings that cover each other."""

import warnings

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets.data_warning import DataWarning
from feelvos_tf.datasets.sources import folder
from feelvos_tf.inference import first_mask
from feelvos_tf.runtime import segment_job

BALL, PLAYER = '6,6;10,6;10,10;6,10', '4,2;14,2;14,20;4,20'


@pytest.fixture
def video(tmp_path):
  for i in range(2):
    cv2.imwrite(str(tmp_path / f'{i}.png'), np.full((24, 32, 3), 90, np.uint8))
  return folder.open_video(tmp_path)


def prepare(video, *polygons):
  drawings = [('polygon', text) for text in polygons]
  return segment_job.prepare(
    video, segment_job.Request(drawings=drawings), draw=first_mask.masks_of
  ).given


def test_an_object_that_another_drawing_covers_is_told(video):
  """It was in no mask, without a word; drawn after the other one, it is there."""
  with pytest.warns(DataWarning, match='frame 0: nothing of object 1 is left'):
    given = prepare(video, BALL, PLAYER)
  assert given.object_ids(0) == {2}
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    given = prepare(video, PLAYER, BALL)
  assert given.object_ids(0) == {1, 2} and np.count_nonzero(given.mask(0) == 2) == 16

"""What is asked for: drawings that cover each other, removals that masks take back."""

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


@pytest.mark.parametrize('start, at', [('', '1@0'), ('', '1@1'), ('1', '1@1')])
def test_a_removal_that_the_mask_of_its_frame_takes_back_is_told(video, start, at):
  """The object stayed on all frames, without a word; a later frame hides it."""
  drawings = [('polygon', f'{index}:{BALL},id=1') for index in (0, 1)]
  request = segment_job.Request(drawings=drawings, remove=[at], start=start)
  message = f'object 1 is to be removed at frame {at[2:]} and stays, as the mask of frame {at[2:]}'
  with pytest.warns(DataWarning, match=message):
    segment_job.prepare(video, request, draw=first_mask.masks_of)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    request = segment_job.Request(drawings=drawings[:1], remove=['1@1'])
    assert segment_job.prepare(video, request, draw=first_mask.masks_of).given.gone(1) == (1,)


def test_a_removal_behind_the_end_is_told_before_the_run(video):
  """It was told when all frames were segmented."""
  request = segment_job.Request(
    drawings=[('polygon', f'{BALL},id=1')], remove=['1@1'], start='0', end='0'
  )
  with pytest.warns(
    DataWarning, match='object 1 is to be removed at frame 1 and stays, as --end=0'
  ):
    given = segment_job.prepare(video, request, draw=first_mask.masks_of).given
  assert given.removals == ()


def test_thin_objects_side_by_side_are_no_smoothed_outline(video):
  """A run with eight of them ended by: a given mask: an antialiased image given."""
  strips = [f'{x},2;{x + 2},2;{x + 2},20;{x},20' for x in range(4, 20, 2)]
  given = prepare(video, *strips)
  assert given.object_ids(0) == set(range(1, 9))
  np.testing.assert_array_equal(given.mask(0)[10, 4:20], np.repeat(np.arange(1, 9), 2))

"""Masks out of boxes and marks."""

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets.mask_files import drawn
from feelvos_tf.evaluation.measures import region_similarity
from feelvos_tf.inference import first_mask

SIZE = (120, 160)


@pytest.fixture
def scene():
  """(frame, mask, embedding): two blobs of one colour whose embeddings differ."""
  rng = np.random.default_rng(1)
  frame = rng.integers(90, 120, (*SIZE, 3), dtype=np.uint8)
  mask = np.zeros(SIZE, np.uint8)
  cv2.ellipse(mask, (50, 60), (30, 18), 0, 0, 360, 1, -1)
  cv2.circle(mask, (120, 60), 16, 2, -1)
  frame[mask > 0] = rng.integers(180, 220, (np.count_nonzero(mask), 3), dtype=np.uint8)
  small = cv2.resize(mask, (40, 30), interpolation=cv2.INTER_NEAREST)
  embedding = np.eye(3, 6, dtype=np.float32)[small] * 3 + 0.1 * rng.standard_normal((30, 40, 6))
  return frame, mask, embedding.astype(np.float32)


@pytest.mark.parametrize(
  'texts',
  [
    ['box=18,40,66,42'],
    ['points=50,60;40,58'],
    ['points=50,60;-120,60'],
    ['scribble=35,60;65,60'],
    ['box=10,30,140,60,id=1', 'points=50,60;-120,60;id=1'],
  ],
)
def test_the_object_is_found(scene, texts):
  frame, mask, embedding = scene
  hints = drawn.hints_of([drawn.parse(*text.split('=', 1)) for text in texts], SIZE)
  found = first_mask.masks_of(frame, hints, embedding)
  assert region_similarity(found == 1, mask == 1) > 0.9
  np.testing.assert_array_equal(found, first_mask.masks_of(frame, hints, embedding))


def test_a_polygon_is_taken_as_it_is_and_lies_over_earlier_objects(scene):
  frame, _, embedding = scene
  drawings = [drawn.parse('box', '18,40,66,42'), drawn.parse('polygon', '40,50;60,50;60,70;40,70')]
  found = first_mask.masks_of(frame, drawn.hints_of(drawings, SIZE), embedding)
  assert (found[50:70, 40:60] == 2).all() and np.count_nonzero(found == 2) == 400
  assert (found[60, 25:38] == 1).all()


@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_a_box_smaller_than_a_position(scene):
  frame, _, embedding = scene
  hints = drawn.hints_of([drawn.parse('box', '50,60,2,2')], SIZE)
  found = first_mask.masks_of(frame, hints, embedding)
  assert 0 < np.count_nonzero(found) <= 4 and found[60:62, 50:52].any()

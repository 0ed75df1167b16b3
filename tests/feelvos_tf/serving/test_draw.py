"""A mask out of a box or a polygon, over HTTP."""

import cv2
import httpx
import numpy as np
import pytest

from .conftest import ids_of
from .conftest import png


@pytest.fixture(scope='module')
def frame():
  image = np.random.default_rng(1).integers(60, 90, (48, 80, 3), dtype=np.uint8)
  cv2.circle(image, (28, 24), 14, (220, 200, 40), -1)
  return image


def test_shapes_become_masks(server, frame):
  send = lambda **fields: httpx.post(
    f'{server.url}/v1/draw', files={'frame': png(frame)}, data=fields, timeout=60
  )
  reply = send(box='10,6,36,36', polygon='55,10;75,10;75,30;55,30,id=9')
  assert reply.status_code == 200, reply.text
  found = ids_of(reply.content)
  disc = cv2.circle(np.zeros(frame.shape[:2], np.uint8), (28, 24), 14, 1, -1)
  assert np.count_nonzero((found == 1) != (disc == 1)) < 40
  assert (found[10:30, 55:75] == 9).all() and np.count_nonzero(found == 9) == 400
  for fields, text in (
    ({}, 'expected one of the fields box, points, polygon, scribble'),
    ({'box': '1,2,3'}, '--box=1,2,3 given, expected'),
    ({'box': '200,2,3,3'}, 'expected one on the frame, which has 80x48 pixels'),
  ):
    reply = send(**fields)
    assert reply.status_code == 400 and text in reply.json()['error']

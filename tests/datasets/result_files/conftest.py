"""Masks with holes, parts and late objects, written in all forms."""

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets.result_files import writing
from feelvos_tf.datasets.result_files.target import ResultFrame
from feelvos_tf.datasets.result_files.target import Target

SIZE = (34, 50)
NAMES = ('0007', '0008', '0009', '0010')
LABELS = {3: 'dog & <co>', 17: 'dog & <co>', 20: 'ball'}


@pytest.fixture(scope='session')
def ids():
  """Object 3 has a hole and two parts, 17 is absent on the third mask, 20 enters on the second."""
  found = np.zeros((len(NAMES), *SIZE), np.uint8)
  for i, mask in enumerate(found):
    cv2.circle(mask, (12 + i, 14), 9, 3, -1)
    cv2.circle(mask, (12 + i, 14), 3, 0, -1)
    mask[28:31, 4:9] = 3
    if i != 2:
      mask[5:20, 30:44] = 17
    if i:
      mask[33, 49] = mask[25:30, 30:33] = 20
  return found


@pytest.fixture(scope='session')
def written(ids, tmp_path_factory):
  """The folder with all forms, and the frames."""
  path = tmp_path_factory.mktemp('written')
  smooth = np.random.default_rng(1).integers(0, 256, (len(NAMES), 3, 4, 3), dtype=np.uint8)
  frames = [cv2.resize(image, SIZE[::-1]) for image in smooth]
  target = Target(path, 'clip', SIZE, 12.5, LABELS)
  given = map(ResultFrame, NAMES, range(len(NAMES)), ids, frames)
  assert writing.write(given, list(writing.FORMATS), target) == len(NAMES)
  return path, frames

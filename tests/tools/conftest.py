"""A DAVIS root with one sequence of four frames."""

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks


@pytest.fixture
def davis(tmp_path):
  root = tmp_path / 'davis'
  (root / 'ImageSets' / '2016').mkdir(parents=True)
  (root / 'ImageSets' / '2016' / 'val.txt').write_text('one\n')
  for kind in ('JPEGImages', 'Annotations'):
    (root / kind / '480p' / 'one').mkdir(parents=True)
  for t in range(4):
    ids = np.zeros((48, 64), np.uint8)
    ids[10:30, 5 + 8 * t : 25 + 8 * t] = 1
    image = np.random.default_rng(t).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(root / 'JPEGImages' / '480p' / 'one' / f'{t:05d}.jpg'), image)
    masks.write_mask(root / 'Annotations' / '480p' / 'one' / f'{t:05d}.png', ids)
  return root

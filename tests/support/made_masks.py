"""Masks drawn by tests."""

import numpy as np


def blocks(ids, size):
  """A mask with one block per id from left to right, large enough to survive stride 4."""
  mask = np.zeros(size, np.uint8)
  width = size[1] // len(ids)
  for i, object_id in enumerate(ids):
    mask[8:25, i * width + 2 : (i + 1) * width - 2] = object_id
  return mask

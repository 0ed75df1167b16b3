"""Animated WebP as videos."""

from fractions import Fraction

import numpy as np
from PIL import Image
import pytest

from feelvos_tf.datasets.sources import folder


@pytest.mark.parametrize(
  'milliseconds, times', [([40, 200, 40], (0, 40, 240)), ([0, 0, 0], (0, 100, 200))]
)
def test_times(tmp_path, milliseconds, times):
  """Pillow writes 0 unless it is told otherwise; browsers show such frames for 100 ms."""
  pictures = [Image.fromarray(np.full((20, 30, 3), 50 * i, np.uint8)) for i in range(3)]
  path = tmp_path / 'v.webp'
  pictures[0].save(
    path, save_all=True, append_images=pictures[1:], duration=milliseconds, lossless=True
  )
  video = folder.open_video(path)
  assert [image[0, 0, 0] for image in video.frames()] == [0, 50, 100]
  assert [video.frame_time(i) for i in range(3)] == [Fraction(t, 1000) for t in times]
  assert video.fps == 1000 / (milliseconds[0] or 100)

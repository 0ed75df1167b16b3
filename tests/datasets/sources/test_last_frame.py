"""Videos that keep their last frame: nothing keeps the videos."""

import gc
import weakref

import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import static_images
from feelvos_tf.datasets.sources import synthetic


def made_up():
  return synthetic.SyntheticVideo(0, 3, (24, 32))


def still():
  ids = np.zeros((24, 32), np.uint8)
  ids[5:12, 6:20] = 1
  mask = masks.Mask(ids, masks.DAVIS_PALETTE)
  return static_images.StillVideo('still', np.zeros((24, 32, 3), np.uint8), mask, 3)


@pytest.mark.parametrize('make', [made_up, still])
def test_frames_go_with_the_video_and_not_with_the_garbage_collector(make):
  was_enabled = gc.isenabled()
  gc.disable()
  try:
    video = make()
    video.frame(1)
    seen = weakref.ref(video)
    del video
    assert seen() is None
  finally:
    if was_enabled:
      gc.enable()

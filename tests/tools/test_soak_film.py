"""The long film and what is measured on it."""

import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.film.reader import Film
from feelvos_tf.runtime import packaged_files
from feelvos_tf.tools import soak_film


def test_the_film_goes_forwards_and_backwards_and_its_mask_fits(tmp_path):
  clip = Film(packaged_files.DEMO_CLIP).num_frames
  film, mask = tmp_path / 'film.mp4', tmp_path / 'mask.png'
  soak_film.make_film(film, mask, 2 * clip, (120, 208))
  frames = [frame.image.astype(int) for frame in Film(film).frames()]
  assert len(frames) == 2 * clip and frames[0].shape == (120, 208, 3)
  there, back = frames[clip - 3], frames[clip + 1]
  assert np.abs(there - back).mean() < np.abs(there - frames[0]).mean() / 2
  given, small = masks.read_mask(packaged_files.DEMO_MASK).ids, masks.read_mask(mask).ids
  assert small.shape == (120, 208) and abs((small > 0).mean() - (given > 0).mean()) < 0.01


def test_both_readers_read_what_there_is():
  frames = Film(packaged_files.DEMO_CLIP).num_frames
  for read in (soak_film.read_here, soak_film.read_with_opencv):
    assert read(packaged_files.DEMO_CLIP, 5) == 5
    assert read(packaged_files.DEMO_CLIP, 10_000) == frames

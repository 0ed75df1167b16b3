"""Pseudo videos out of still images."""

import unicodedata

import cv2
from interleaved_frame import InterleavedFrame
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.data_warning import DataWarning
from feelvos_tf.datasets.sources import static_images

SIZE = (64, 96)


def still(rng):
  """A red and a blue square on grey noise, with ids 3 and 8."""
  image = rng.integers(90, 150, SIZE + (3,)).astype(np.uint8)
  ids = np.zeros(SIZE, np.uint8)
  ids[10:30, 15:35], ids[30:54, 55:79] = 3, 8
  image[ids == 3], image[ids == 8] = (250, 0, 0), (0, 0, 250)
  return image, masks.Mask(ids, masks.DAVIS_PALETTE)


def test_first_frame_is_the_still(rng):
  image, mask = still(rng)
  video = static_images.StillVideo('v', image, mask, 4)
  np.testing.assert_array_equal(video.frame(0), image)
  np.testing.assert_array_equal(video.mask(0).ids, mask.ids)
  assert video.masked_frames == (0, 1, 2, 3) and video.num_frames == 4


def test_mask_moves_with_the_object(rng):
  """In every frame the ids lie on the colours of their object, and nowhere else are they seen."""
  image, mask = still(rng)
  for seed in range(4):
    video = static_images.StillVideo('v', image, mask, 6, seed)
    for i in range(6):
      frame, ids = video.frame(i).astype(int), video.mask(i).ids
      red, blue = frame[..., 0] - frame[..., 2] > 125, frame[..., 2] - frame[..., 0] > 125
      for object_id, colour in ((3, red), (8, blue)):
        union = (ids == object_id) | colour
        assert ((ids == object_id) & colour).sum() > 0.85 * union.sum(), (seed, i, object_id)


def test_objects_move_on_their_own(rng):
  image, mask = still(rng)
  video = static_images.StillVideo('v', image, mask, 6, seed=1)

  def centre(index, object_id):
    return np.argwhere(video.mask(index).ids == object_id).mean(0)

  first, second = (centre(5, i) - centre(0, i) for i in (3, 8))
  assert np.linalg.norm(first) > 1 and np.linalg.norm(first - second) > 1
  steps = [np.linalg.norm(centre(i + 1, 3) - centre(i, 3)) for i in range(5)]
  assert max(steps) < 4  # A smooth path.


def test_the_background_does_not_keep_the_object(rng):
  image, mask = still(rng)
  motion = static_images.MotionOptions(shift=0.4, scene=0.0)
  video = static_images.StillVideo('v', image, mask, 2, seed=3, motion=motion)
  uncovered = (mask.ids == 3) & (video.mask(1).ids == 0)
  assert uncovered.sum() > 50
  colours = video.frame(1)[uncovered].astype(int)
  assert (np.abs(colours[:, 0] - colours[:, 2]) < 125).mean() > 0.95


def test_motion_depends_on_seed_and_name_only(rng):
  image, mask = still(rng)

  def last(name, seed):
    return static_images.StillVideo(name, image, mask, 3, seed).frame(2)

  np.testing.assert_array_equal(last('v', 1), last('v', 1))
  assert (last('v', 1) != last('v', 2)).any() and (last('v', 1) != last('w', 1)).any()


def test_thin_plate_goes_through_its_control_points(rng):
  controls, _ = static_images._thin_plate_solver()
  shifts = rng.normal(size=(16, 2))
  np.testing.assert_allclose(static_images._thin_plate(controls, shifts), shifts, atol=1e-8)
  affine = controls @ [[0.5, 0.1], [-0.2, 0.3]] + 0.7
  points = rng.uniform(size=(20, 2))
  np.testing.assert_allclose(
    static_images._thin_plate(points, affine), points @ [[0.5, 0.1], [-0.2, 0.3]] + 0.7, atol=1e-8
  )


def test_sources(tmp_path, rng):
  image, mask = still(rng)
  for folder in ('images', 'masks'):
    (tmp_path / 'train' / folder).mkdir(parents=True)
  for name in ('i10', 'i9'):
    cv2.imwrite(str(tmp_path / 'train' / 'images' / f'{name}.png'), image[..., ::-1])
    masks.write_mask(tmp_path / 'train' / 'masks' / f'{name}.png', mask.ids)
  sources = static_images.static_image_sources(tmp_path, 'train', num_frames=3)
  assert [s.name for s in sources] == ['i9', 'i10']
  assert sources[0].opener().num_frames == 3
  masks.write_mask(tmp_path / 'train' / 'masks' / 'i9.png', np.zeros(SIZE, np.uint8))
  with pytest.raises(ValueError, match='without any object'):
    sources[0].opener()
  (tmp_path / 'train' / 'masks' / 'i10.png').unlink()
  with pytest.raises(FileNotFoundError, match='i10.png'):
    sources[1].opener()
  (tmp_path / 'train' / 'images' / 'i9.png').unlink()
  with pytest.warns(DataWarning, match='masks/i9.png: left out, as images has no picture of this'):
    (source,) = static_images.static_image_sources(tmp_path, 'train')
  assert source.name == 'i10'


def test_bad_arguments(tmp_path, rng):
  image, mask = still(rng)
  with pytest.raises(ValueError, match='num_frames 0'):
    static_images.StillVideo('v', image, mask, 0)
  with pytest.raises(ValueError, match='v: a mask of 64x96'):
    static_images.StillVideo('v', image[:50], mask)
  with pytest.raises(ValueError, match='shift: -1 given'):
    static_images.MotionOptions(shift=-1)
  with pytest.raises(FileNotFoundError, match='no folders images and masks'):
    static_images.static_image_sources(tmp_path)
  (tmp_path / 'images').mkdir()
  (tmp_path / 'masks').mkdir()
  with pytest.raises(ValueError, match='an empty split'):
    static_images.static_image_sources(tmp_path)


@pytest.mark.parametrize('form, other', [('NFD', 'NFC'), ('NFC', 'NFD')])
def test_masks_whose_letters_are_composed_in_another_way(tmp_path, rng, form, other):
  image, mask = still(rng)
  (tmp_path / 'images').mkdir()
  (tmp_path / 'masks').mkdir()
  cv2.imwrite(str(tmp_path / 'images' / f'{unicodedata.normalize(form, "Bär")}.png'), image)
  masks.write_mask(tmp_path / 'masks' / f'{unicodedata.normalize(other, "Bär")}.png', mask.ids)
  (source,) = static_images.static_image_sources(tmp_path, num_frames=2)
  np.testing.assert_array_equal(source.opener().mask(0).ids, mask.ids)


def test_a_name_of_other_bytes(rng):
  video = static_images.StillVideo('caf\udce9', *still(rng), 2)
  assert video.mask(1).ids.shape == video.frame_size


def test_two_threads_do_not_mix_their_frames(rng):
  image, mask = still(rng)
  expected = static_images.StillVideo('v', image, mask, 4)
  video = static_images.StillVideo('v', image, mask, 4)
  video._last_frame = InterleavedFrame(video._render)
  np.testing.assert_array_equal(video.frame(1), expected.frame(1))
  np.testing.assert_array_equal(video.mask(1).ids, expected.mask(1).ids)

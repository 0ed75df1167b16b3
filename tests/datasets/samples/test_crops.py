"""Crops against the resizing, scaling and padding of the original."""

import numpy as np
import pytest

from feelvos_tf.datasets.samples import crops


def whole_view(size, scale, crop_size):
  """The view of a whole scaled frame, padded to the crop size: what the original computes."""
  scaled = crops.scaled_size(size, scale)
  padded = tuple(max(length, crop) for length, crop in zip(scaled, crop_size))
  return crops.View(size, scaled, (0, 0), padded)


def test_nearest_indices_of_the_original(golden):
  data = golden.npz('tf1/matching')
  tables = {key.split('|')[2]: table for key, table in data.items() if 'r|nearest' in key}
  assert len(tables) == 14
  for name, table in tables.items():
    length, scaled = map(int, name.split('_'))
    np.testing.assert_array_equal(crops.nearest_indices(length, scaled), table, err_msg=name)


def test_bilinear_resizing_of_the_original(golden):
  data = golden.npz('tf1/matching')
  image = data['r|bilinear|in'][0]
  for name in ('17x25', '16x22', '5x7', '1x1', '3x4'):
    size = tuple(map(int, name.split('x')))
    view = crops.View(image.shape[:2], size, (0, 0), size)
    np.testing.assert_allclose(
      crops.crop_image(image, view),
      data[f'r|bilinear|{name}'][0],
      rtol=1e-5,
      atol=1e-6,
      err_msg=name,
    )


def test_scale_dimension_of_the_original(golden):
  data = golden.npz('tf1/matching')
  for key in [key for key in data if key.startswith('d|')]:
    scale = float(key[2:])
    sizes = [crops.scale_dimension(size, scale) for size in range(1, 1001)]
    np.testing.assert_array_equal(sizes, data[key], err_msg=key)


@pytest.mark.parametrize('crop', ((33, 41), (65, 73)))
@pytest.mark.parametrize('scale', (1.0, 1.17))
def test_scaled_and_padded_frames_of_the_original(golden, crop, scale):
  data = golden.npz('tf1/misc')
  key = f'pre|crop{crop[0]}x{crop[1]}|scale{scale:.2f}|scaled_padded'
  view = whole_view((48, 64), scale, crop)
  image = crops.crop_image(data['pre|image'], view)
  assert image.dtype == np.float32
  np.testing.assert_allclose(image, data[f'{key}_image'], rtol=1e-5, atol=1e-4)
  labels = crops.crop_labels(data['pre|label'][..., 0], view)
  np.testing.assert_array_equal(labels, data[f'{key}_label'][..., 0])


def test_uint8_crops_are_the_rounded_float_ones():
  rows, columns = np.indices((37, 53))
  image = np.stack([6 * rows, 4 * columns, 3 * rows + 2 * columns], -1).astype(np.uint8)
  random = np.random.RandomState(2)
  for scale in (1.0, 0.6, 1.3, 1.9):
    for _ in range(5):
      view = crops.random_view(random, (37, 53), (37, 53), scale, (40, 40))
      exact, fast = crops.crop_image(image, view), crops.crop_image_uint8(image, view)
      assert fast.dtype == np.uint8 and not np.shares_memory(fast, image)
      # Half a level of rounding, and up to 1/64 pixel of position in older versions of OpenCV.
      np.testing.assert_allclose(fast, exact, atol=0.7)


def test_a_crop_is_a_part_of_the_whole_scaled_frame(rng):
  image = rng.integers(0, 256, (37, 53, 3)).astype(np.uint8)
  labels = rng.integers(0, 5, (37, 53)).astype(np.uint8)
  random = np.random.RandomState(1)
  for _ in range(20):
    scale = random.uniform(0.5, 2.0)
    whole = whole_view((37, 53), scale, (40, 40))
    view = crops.random_view(random, (37, 53), (37, 53), scale, (40, 40))
    top, left = view.offset
    for crop in (crops.crop_image, crops.crop_labels):
      source = image if crop is crops.crop_image else labels
      expected = crop(source, whole)[top : top + 40, left : left + 40]
      expected = expected[:, ::-1] if view.flip else expected
      np.testing.assert_array_equal(crop(source, view), expected)


def test_image_and_labels_stay_together():
  labels = np.zeros((60, 80), np.uint8)
  labels[20:45, 30:70] = 1
  image = np.repeat(labels[..., np.newaxis], 3, axis=-1) * 200
  random = np.random.RandomState(0)
  for _ in range(10):
    view = crops.random_view(random, (60, 80), (60, 80), random.uniform(0.7, 1.6), (50, 50))
    crop, ids = crops.crop_image(image, view)[..., 0], crops.crop_labels(labels, view)
    inside = ids != 255
    assert np.mean((crop[inside] > 100) == (ids[inside] == 1)) > 0.99
    assert (crop[~inside] == crops.MEAN_PIXEL).all()


def test_offsets_cover_everything_and_nothing_else():
  random = np.random.RandomState(0)
  offsets = {crops.random_view(random, (10, 12), (10, 12), 1.0, (8, 8)).offset for _ in range(300)}
  assert offsets == {(row, column) for row in range(3) for column in range(5)}


def test_the_focus_is_always_inside():
  random = np.random.RandomState(0)
  for _ in range(200):
    focus = random.randint(90), random.randint(160)
    labels = np.zeros((90, 160), np.uint8)
    labels[focus] = 1
    # Scaled up, so that nearest neighbour cannot skip the one pixel.
    view = crops.random_view(random, (90, 160), (90, 160), 2.5, (40, 50), focus=focus)
    assert crops.crop_labels(labels, view).any()


def test_flip_probability():
  random = np.random.RandomState(0)

  def views(probability):
    return [
      crops.random_view(random, (9, 9), (9, 9), 1.0, (9, 9), flip_probability=probability).flip
      for _ in range(400)
    ]

  assert not any(views(0.0)) and all(views(1.0)) and 150 < sum(views(0.5)) < 250


def test_sizes_in_range():
  assert crops.size_in_range((480, 854)) == (480, 854)
  assert crops.size_in_range((480, 854), 240) == (240, 427)
  assert crops.size_in_range((480, 854), 480, 640) == (360, 640)
  assert crops.size_in_range((480, 854), 240, factor=8) == (241, 433)


def test_random_scales():
  random = np.random.RandomState(0)
  assert crops.random_scale(random, 1.25, 1.25) == 1.25
  drawn = [crops.random_scale(random, 1.0, 1.3) for _ in range(200)]
  assert 1.0 <= min(drawn) < 1.02 < 1.28 < max(drawn) < 1.3
  steps = {crops.random_scale(random, 0.5, 1.5, 0.25) for _ in range(100)}
  assert steps == {0.5, 0.75, 1.0, 1.25, 1.5}
  for bounds in ((0.0, 1.0), (1.3, 1.0)):
    with pytest.raises(ValueError, match='the first must be more than 0'):
      crops.random_scale(random, *bounds)

"""Changes of colours and frames of small videos: what they change, and what they leave."""

import numpy as np
import pytest

from feelvos_tf.datasets.samples import appearance


def test_color_change_keeps_order_and_range(rng):
  random = np.random.RandomState(0)
  ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=-1)
  for _ in range(20):
    change = appearance.random_color_change(random, 0.3)
    changed = change.apply(ramp).astype(int)
    assert changed.dtype == int and (np.diff(changed[:, 0], axis=0) >= 0).all()
    assert (changed != ramp).any()
  none = appearance.ColorChange((1.0,) * 3, (0.0,) * 3, 1.0)
  image = rng.integers(0, 256, (7, 9, 3)).astype(np.uint8)
  np.testing.assert_array_equal(none.apply(image), image)


def test_a_look_keeps_greys_grey_and_turns_hues():
  random = np.random.RandomState(0)
  greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=-1)
  red = np.full((1, 1, 3), (200, 40, 40), np.uint8)
  strongest = set()
  for _ in range(60):
    look = appearance.random_look(random, 1.0)
    changed = look.apply(greys).astype(int)
    assert np.abs(changed - changed[..., :1]).max() <= 1
    assert (np.diff(changed[:, 0, 0]) >= 0).all() and np.ptp(changed) >= 0.19 * 255
    strongest.add(int(np.argmax(look.apply(red))))
  assert strongest == {0, 1, 2}


def test_a_look_of_little_strength_changes_little(rng):
  image = rng.integers(0, 256, (7, 9, 3)).astype(np.uint8)
  none = appearance.random_look(np.random.RandomState(0), 0.0)
  np.testing.assert_array_equal(none.apply(image), image)
  little = appearance.random_look(np.random.RandomState(0), 0.02).apply(image)
  assert 0 < np.abs(little.astype(int) - image).max() < 20


def test_the_reference_has_colours_of_its_own_and_all_frames_one_look():
  draw = lambda seed, *strengths: appearance.random_color_changes(
    np.random.RandomState(seed), 4, *strengths
  )
  assert draw(0, 0.0, 0.0) == [[]] * 4
  (reference,), *others = draw(0, 0.3, 0.0)
  assert others == others[:1] * 3 and others[0] != [reference]
  lengths = []
  for seed in range(40):
    first, *rest = draw(seed, 0.3, 1.0)
    assert rest == rest[:1] * 3 and first[:-1] == rest[0][:-1] and first[-1] != rest[0][-1]
    lengths.append(len(first))
  assert set(lengths) == {1, 2} and 10 < lengths.count(2) < 30


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_small_frames_lose_detail_and_keep_the_rest(rng, dtype):
  size = (65, 97)
  halves = np.zeros((*size, 3), dtype)
  halves[:, 48:] = (200, 100, 40)
  noise = rng.integers(0, 256, (*size, 3)).astype(dtype)
  small_frames = appearance.SmallFrames(factor=2.0, quality=90)
  for image in (halves, noise):
    changed = small_frames.apply(image)
    assert changed.shape == image.shape and changed.dtype == dtype
    assert np.array_equal(changed, np.rint(changed))
  far = np.r_[:36, 60:97]
  np.testing.assert_allclose(small_frames.apply(halves)[:, far], halves[:, far], atol=4)
  assert small_frames.apply(noise).std() < 0.6 * noise.std()


def test_small_frames_of_less_quality_are_farther_from_the_frame():
  rows, columns = np.indices((64, 64))
  image = np.stack([rows * 3, columns * 3, (rows + columns) % 64 * 3], -1).astype(np.uint8)
  error = [
    np.abs(appearance.SmallFrames(1.5, quality).apply(image).astype(int) - image).mean()
    for quality in (95, 75, 50)
  ]
  assert error[0] < error[1] < error[2]

"""Mask damaging against the original with two versions of scikit-image."""

import numpy as np
import pytest

from feelvos_tf.datasets.samples import mask_damaging

VERSIONS = {'017': mask_damaging.NEAREST, '015': mask_damaging.BILINEAR}
PARTS = {
  '_shift_mask': lambda mask, rng, _: mask_damaging.shift_mask(mask, rng),
  '_scale_mask': mask_damaging.scale_mask,
  '_rotate_mask': mask_damaging.rotate_mask,
  '_dilate_mask': lambda mask, rng, _: mask_damaging.dilate_mask(mask),
}


def cases(data):
  return [key for key in data if '|seed' in key]


@pytest.mark.parametrize('version', VERSIONS)
def test_whole_masks_of_the_original(golden, version):
  data = golden.npz(f'tf1/mask_damaging_skimage{version}')
  compared = 0
  for key in cases(data):
    size, seed, what = key.split('|')
    if not what.startswith('dilate_'):
      continue
    damaged = mask_damaging.damage_masks(
      data[f'labels|{size}'],
      np.random.RandomState(int(seed[4:])),
      dilate=what == 'dilate_True',
      interpolation=VERSIONS[version],
    )
    np.testing.assert_array_equal(damaged, data[key], err_msg=key)
    compared += 1
  assert compared == 16


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('part', PARTS)
def test_parts_of_the_original(golden, version, part):
  data = golden.npz(f'tf1/mask_damaging_skimage{version}')
  for size in ('97x129', '17x17'):
    for seed in range(4):
      # The golden parts are those of object 2.
      mask = PARTS[part](
        data[f'labels|{size}'][..., 0] == 2, np.random.RandomState(seed), VERSIONS[version]
      )
      np.testing.assert_array_equal(
        mask, data[f'{size}|seed{seed}|{part}'][..., 0], err_msg=f'{size} {seed}'
      )


def test_as_many_random_numbers_as_the_original(golden):
  data = golden.npz('tf1/mask_damaging_skimage017')
  rng = np.random.RandomState(0)
  mask_damaging.damage_masks(data['labels|97x129'], rng)
  assert rng.uniform() == data['after_seed0_next_uniform']


def test_ignored_pixels_stay_and_are_no_object(golden):
  labels = golden.npz('tf1/mask_damaging_skimage017')['labels|97x129'].copy()
  labels[:9] = 255
  damaged = mask_damaging.damage_masks(labels, np.random.RandomState(3))
  np.testing.assert_array_equal(damaged == 255, labels == 255)
  assert damaged.dtype == labels.dtype and (damaged != labels).any()


@pytest.mark.parametrize('labels', [np.zeros((9, 11), np.uint8), np.eye(1, 50, dtype=np.int32)])
def test_nothing_and_single_pixels_survive(labels):
  for seed in range(20):
    damaged = mask_damaging.damage_masks(labels, np.random.RandomState(seed))
    assert damaged.shape == labels.shape
    assert set(np.unique(damaged)) <= set(np.unique(labels))


def test_a_thin_object_at_the_border_may_vanish():
  labels = np.zeros((40, 200), np.int32)
  labels[:, 0] = labels[:, 199] = 7
  for seed in range(30):
    damaged = mask_damaging.damage_masks(labels, np.random.RandomState(seed), dilate=False)
    assert set(np.unique(damaged)) <= {0, 7}


def test_bad_input_is_refused():
  with pytest.raises(ValueError, match=r'labels of shape \(3, 4, 5\) given'):
    mask_damaging.damage_masks(np.zeros((3, 4, 5), int), np.random.RandomState(0))
  with pytest.raises(ValueError, match="interpolation is 'cubic'"):
    mask_damaging.damage_masks(
      np.zeros((3, 4), int), np.random.RandomState(0), interpolation='cubic'
    )


def squares(*ids):
  labels = np.zeros((30, 60), np.uint8)
  for number, object_id in enumerate(ids):
    labels[10:20, 5 + 18 * number : 15 + 18 * number] = object_id
  labels[0] = 255
  return labels


def kind_of_confusion(before, after):
  """What happened, told from the masks alone."""
  assert np.all(after[0] == 255)
  changed = before != after
  if not changed.any():
    return 'none'
  if np.all(before[changed] == 0):
    return 'ghost'
  if np.all(after[changed] == 0):
    return 'lost'
  lost = set(before[changed]) - {0}
  if len(lost) == 2:
    return 'swapped'
  return 'merged' if not np.any(after == lost.pop()) else 'half'


def test_confused_ids_are_swapped_merged_doubled_or_lost():
  before = squares(3, 7, 200)
  kinds = [
    kind_of_confusion(before, mask_damaging.confuse_ids(before, np.random.RandomState(seed)))
    for seed in range(400)
  ]
  shares = {kind: kinds.count(kind) / 400 for kind in set(kinds)}
  expected = {'swapped': 0.25, 'merged': 0.25, 'half': 0.25, 'ghost': 0.15, 'lost': 0.1}
  # A ghost may fall outside of the picture or on an object.
  shares['ghost'] = shares.get('ghost', 0) + shares.pop('none', 0)
  assert shares.keys() == expected.keys()
  for kind, share in expected.items():
    assert abs(shares[kind] - share) < 0.07, shares


def test_half_an_object_gets_another_id():
  before = squares(3, 7)
  for seed in range(60):
    after = mask_damaging.confuse_ids(before, np.random.RandomState(seed))
    if kind_of_confusion(before, after) == 'half':
      lost = before[before != after][0]
      assert 0.25 < np.sum(after == lost) / np.sum(before == lost) < 0.75
      return
  raise AssertionError('no half')


def test_a_single_object_is_doubled_or_lost():
  before = squares(9)
  kinds = {
    kind_of_confusion(before, mask_damaging.confuse_ids(before, np.random.RandomState(seed)))
    for seed in range(60)
  }
  assert {'ghost', 'lost'} <= kinds <= {'ghost', 'lost', 'none'}


def test_without_exchange_objects_keep_their_ids():
  before = squares(3, 7, 200)
  kinds = {
    kind_of_confusion(
      before, mask_damaging.confuse_ids(before, np.random.RandomState(seed), exchange=False)
    )
    for seed in range(60)
  }
  assert {'ghost', 'lost'} <= kinds <= {'ghost', 'lost', 'none'}


def test_confusion_leaves_its_argument_and_masks_without_objects():
  before = squares(3, 7)
  copy = before.copy()
  mask_damaging.confuse_ids(before, np.random.RandomState(0))
  np.testing.assert_array_equal(before, copy)
  empty = np.zeros((5, 6, 1), np.uint8)
  np.testing.assert_array_equal(mask_damaging.confuse_ids(empty, np.random.RandomState(0)), empty)

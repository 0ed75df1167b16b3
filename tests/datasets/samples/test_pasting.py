"""Pasted objects: who covers whom, unlabelled things, soft outlines, paths that cross."""

import numpy as np
import pytest

from feelvos_tf.datasets.samples import pasting

SHAPE = (40, 50)


def scene(frames=4):
  """(images of 100, labels with object 3 in a square and a void column)."""
  images = [np.full((*SHAPE, 3), 100, np.uint8) for _ in range(frames)]
  ids = np.zeros(SHAPE, np.uint8)
  ids[10:20, 10:20], ids[:, 49] = 3, 255
  return images, [ids.copy() for _ in range(frames)]


def pieces(rows=slice(15, 25), columns=slice(15, 25), frames=4, value=200):
  where = np.zeros(SHAPE, bool)
  where[rows, columns] = True
  return [(np.full((*SHAPE, 3), value, np.uint8), where.copy()) for _ in range(frames)]


@pytest.mark.parametrize(
  'options, ids_where_both, id_elsewhere',
  [
    ({}, (7, 7), 7),
    ({'behind': True}, (3, 3), 7),
    ({'occluder': True}, (3, 0), 0),
    ({'occluder': True, 'behind': True}, (3, 0), 0),
  ],
)
def test_who_covers_whom(options, ids_where_both, id_elsewhere):
  images, labels = scene()
  shown = pasting.paste(images, labels, pieces(columns=slice(15, 50)), 7, **options)
  np.testing.assert_array_equal(shown, np.stack(images)[..., 0] == 200)
  for t, (image, ids) in enumerate(zip(images, labels, strict=True)):
    expected = ids_where_both[min(t, 1)]
    assert set(ids[15:20, 15:20].ravel()) == {expected}
    assert set(image[15:20, 15:20].ravel()) == {100 if expected == 3 else 200}
    assert set(ids[15:25, 20:49].ravel()) == {id_elsewhere}
    assert set(image[15:25, 20:49].ravel()) == {200}
    assert set(ids[10:15, 10:20].ravel()) == {3}
    assert set(ids[:, 49]) == {255} and (options.get('behind') is None or image[20, 49, 0] == 100)


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_soft_outlines_blend_and_leave_the_labels_hard(dtype):
  images, labels = scene(1)
  images = [image.astype(dtype) for image in images]
  pasted = [(colours.astype(dtype), where) for colours, where in pieces(frames=1)]
  pasting.paste(images, labels, pasted, 7, soft=True)
  assert images[0].dtype == dtype
  # The kernel of 3 pixels has the weights 1/4, 1/2, 1/4.
  np.testing.assert_array_equal(images[0][20, 23:28, 0], [200, 175, 125, 100, 100])
  assert set(labels[0][15:25, 15:25].ravel()) == {7} and labels[0][20, 25] == 0


def test_aimed_objects_cross_an_object():
  """At some frame between the previous and the last, or between two of them, centres meet."""
  seen_returning = False
  for seed in range(40):
    _, labels = scene(6)
    original = pieces(slice(30, 36), slice(30, 36), 6)
    moved = pasting.aim(np.random.RandomState(seed), original, labels)
    np.testing.assert_array_equal(moved[0][1], original[0][1])
    centers = [
      np.argwhere(where).mean(axis=0) if where.any() else np.full(2, np.nan)
      for _, where in moved[1:]
    ]
    distances = np.linalg.norm(np.array(centers) - 14.5, axis=1)
    steps = np.diff(np.array(centers), axis=0)
    longest = np.nanmax(np.linalg.norm(steps, axis=1)) if np.isfinite(steps).any() else 40
    assert np.nanmin(distances) <= 0.5 * longest + 4, seed
    along = steps @ np.nan_to_num(steps[0], nan=1.0)
    seen_returning |= bool(np.nanmin(along) < -1)
  assert seen_returning


def test_aimed_objects_keep_their_pixels():
  _, labels = scene()
  original = pieces(slice(12, 18), slice(12, 18))
  rows, columns = np.indices(SHAPE)
  original = [
    (np.stack([rows, columns, columns], axis=-1).astype(np.uint8), where) for _, where in original
  ]
  for colours, where in pasting.aim(np.random.RandomState(3), original, labels)[1:]:
    if where.sum() == 36:
      np.testing.assert_array_equal(colours[where], original[0][0][original[0][1]])
      break
  else:
    raise AssertionError('the whole object is on no frame')


def test_nothing_to_aim_at():
  original = pieces()
  empty = [np.zeros(SHAPE, np.uint8)] * 4
  assert pasting.aim(np.random.RandomState(0), original, empty) is original

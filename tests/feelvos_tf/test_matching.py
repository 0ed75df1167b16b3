"""Matching against the original's tensors, a naive numpy reference, and naive autodiff."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.matching import (
    ReferenceBank, distance_from_squared, global_matching, local_matching, prepare_reference)

TOLERANCE = 1e-5


def squared_distances(a, b):
  return np.square(a[:, None].astype(np.float64) - b[None]).sum(-1)


def to_distance(squared):
  return np.tanh(np.minimum(squared, 100.0) / 2)


def naive_global(query, reference, labels, objects, k=1):
  """float64, one object at a time; k > 1 pads with the farthest real neighbour."""
  shape = query.shape[:2]
  squared = squared_distances(query.reshape(-1, query.shape[-1]),
                              reference.reshape(-1, query.shape[-1]))
  maps = []
  for index in range(objects):
    own = np.sort(squared[:, labels.reshape(-1) == index], axis=1)[:, :k]
    if own.shape[1] == 0:
      maps.append(np.ones(shape))
      continue
    own = np.concatenate([own, np.repeat(own[:, -1:], k - own.shape[1], axis=1)], axis=1)
    maps.append(to_distance(own.mean(1)).reshape(shape))
  return np.stack(maps)


def naive_local(query, previous, labels, objects, radius):
  height, width, _ = query.shape
  maps = np.ones([objects, height, width])
  for y in range(height):
    for x in range(width):
      window = np.s_[max(0, y - radius):y + radius + 1, max(0, x - radius):x + radius + 1]
      squared = np.square(previous[window].astype(np.float64) - query[y, x]).sum(-1)
      for index in range(objects):
        own = squared[labels[window] == index]
        if own.size:
          maps[index, y, x] = to_distance(own.min())
  return maps


def run_global(query, reference, labels, objects, k=1, **options):
  bank_options = {key: options.pop(key) for key in ('max_pixels_per_object', 'seed', 'compute_dtype')
                  if key in options}
  bank = prepare_reference(reference, labels, objects, **bank_options)
  return global_matching(query, bank, objects, k=k, **options).numpy()


def random_case(rng, height, width, channels, objects, scale=0.25):
  draw = lambda: (scale * np.abs(rng.normal(size=[height, width, channels]))).astype(np.float32)
  labels = rng.integers(0, objects, [height, width]).astype(np.int32)
  return draw(), draw(), labels


# Golden -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('k', [1, 3])
@pytest.mark.parametrize('ids, objects', [('ids_none', 3), ('ids_0123', 4)])
def test_global_equals_original(golden, k, ids, objects):
  data = golden.npz('tf1/matching')
  expected = data[f'g|k{k}|{ids}|normalized'][..., 0]
  for frame in range(3):
    # Object 3 of ids_0123 has no pixel; the original gives 0 for it when k > 1.
    maps = run_global(data['g|query'][frame], data['g|ref'], data['g|labels'][..., 0], objects, k=k,
                      absent_distance_of_original=True)
    np.testing.assert_allclose(maps, expected[frame].transpose(2, 0, 1), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize('k', [1, 3])
@pytest.mark.parametrize('limit', [1, 4, 1024])
def test_global_with_few_pixels_equals_original(golden, k, limit):
  """The golden case keeps the first pixels of each object; the labels are cut to match."""
  data = golden.npz('tf1/matching')
  labels = data['g|labels'].reshape(-1).copy()
  for index in range(3):
    labels[np.flatnonzero(labels == index)[limit:]] = 255
  expected = to_distance(data[f'g|k{k}|first{limit}'][..., 0])
  for frame in range(3):
    maps = run_global(data['g|query'][frame], data['g|ref'], labels.reshape(6, 9), 3, k=k)
    np.testing.assert_allclose(maps, expected[frame].transpose(2, 0, 1), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize('size', ['7x11', '20x13'])
@pytest.mark.parametrize('radius', [2, 4, 15])
def test_local_equals_original(golden, size, radius):
  data = golden.npz('tf1/matching')
  maps = local_matching(data[f'l|{size}|query'], data[f'l|{size}|prev'],
                        data[f'l|{size}|prev_labels'][..., 0], 4, window_radius=radius)
  expected = data[f'l|{size}|md{radius}|features'][0, ..., 0].transpose(2, 0, 1)
  np.testing.assert_allclose(maps, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize('video', ['', '_62x86', '_62x86_corr'])
def test_video_distances_equal_original(golden, video):
  data = golden.npz(f'tf1/video_xception_65_os16{video}')
  embeddings, small = data['embeddings'], data['prev_labels_small']
  bank = prepare_reference(embeddings[0], small[0], 3)
  for step in range(len(embeddings) - 1):
    far = global_matching(embeddings[step + 1], bank, 3)
    near = local_matching(embeddings[step + 1], embeddings[step], small[step], 3)
    expected = data['head_in_last3'][step]
    np.testing.assert_allclose(far, expected[..., 0], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(near, expected[..., 2], atol=TOLERANCE, rtol=0)
    raw = data['global_dist_raw'][step].transpose(2, 0, 1)
    np.testing.assert_allclose(far, to_distance(raw), atol=TOLERANCE, rtol=0)

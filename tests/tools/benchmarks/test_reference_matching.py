"""The benchmark's baseline must compute what the original and ours compute."""

import numpy as np
import tensorflow as tf

from feelvos_tf.matching import global_matching
from feelvos_tf.matching import local_matching
from feelvos_tf.matching import prepare_reference
from feelvos_tf.tools.benchmarks.reference_matching import original_global_matching
from feelvos_tf.tools.benchmarks.reference_matching import original_local_matching


def test_baseline_equals_original(golden):
  data = golden.npz('tf1/matching')
  maps = original_global_matching(
    data['g|query'][0], data['g|ref'], data['g|labels'][..., 0], tf.constant(4), chunks=7
  )
  expected = data['g|k1|ids_0123|normalized'][0, ..., 0].transpose(2, 0, 1)
  np.testing.assert_allclose(maps, expected, atol=1e-5)
  maps = original_local_matching(
    data['l|20x13|query'],
    data['l|20x13|prev'],
    data['l|20x13|prev_labels'][..., 0],
    tf.constant(4),
    window_radius=2,
  )
  expected = data['l|20x13|md2|features'][0, ..., 0].transpose(2, 0, 1)
  np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_baseline_equals_ours(rng):
  query, other = (0.2 * rng.random([2, 15, 18, 20])).astype(np.float32)
  labels = rng.integers(0, 3, [15, 18]).astype(np.int32)
  count = tf.constant(3)
  np.testing.assert_allclose(
    original_global_matching(query, other, labels, count),
    global_matching(query, prepare_reference(other, labels, count), count),
    atol=1e-5,
  )
  np.testing.assert_allclose(
    original_local_matching(query, other, labels, count, window_radius=3),
    local_matching(query, other, labels, count, window_radius=3),
    atol=1e-5,
  )

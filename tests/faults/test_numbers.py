"""Distances and masks stay numbers: large and small embeddings, tiny frames, extreme objects."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.matching.global_matching import global_matching
from feelvos_tf.matching.reference_bank import prepare_reference
from feelvos_tf.matching.scores import distance_from_squared
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
def test_distances_keep_their_order(dtype):
  """Squared distances from 0 over 1e-8 to 1e8: in [0, 1], rising, never NaN."""
  squared = np.concatenate([[0.0], np.logspace(-8, 8, 4001)])
  given = tf.cast(squared, dtype)
  distance = distance_from_squared(given).numpy()
  assert distance[0] == 0 and distance[-1] == 1 and np.isfinite(distance).all()
  assert (np.diff(distance) >= 0).all()
  exact = np.tanh(tf.cast(given, tf.float64).numpy() / 2)  # 1 - 2 / (1 + exp(x)).
  np.testing.assert_allclose(distance, exact, atol=5e-7)


@pytest.mark.parametrize('compute_dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('magnitude', [1e-4, 1e-2, 1.0, 1e2, 1e4])
def test_matching_over_magnitudes(rng, compute_dtype, magnitude):
  """The nearest pixel's distance, for embeddings of any size; the reference is in float64."""
  reference = magnitude * rng.random((6, 7, 8))
  query = magnitude * rng.random((5, 6, 8))
  labels = rng.integers(0, 3, (6, 7))
  bank = prepare_reference(
    tf.constant(reference, tf.float32),
    tf.constant(labels, tf.int32),
    3,
    compute_dtype=compute_dtype,
  )
  found = global_matching(tf.constant(query, tf.float32), bank, 3).numpy()
  squared = ((query[:, :, None, None] - reference[None, None]) ** 2).sum(-1)
  nearest = np.stack([np.where(labels == i, squared, np.inf).min((2, 3)) for i in range(3)])
  assert np.isfinite(found).all() and (found >= 0).all() and (found <= 1).all()
  # An error of a squared distance relative to the squared embeddings that were subtracted.
  slack = (2**-20 if compute_dtype == 'float32' else 2**-8) * magnitude**2 * 8
  assert (found >= np.tanh((nearest - slack) / 2) - 2e-3).all()
  assert (found <= np.tanh((nearest + slack) / 2) + 2e-3).all()


@pytest.fixture(scope='module')
def segmenter():
  return VideoSegmenter(
    Feelvos(
      FeelvosOptions(
        ModelOptions('mobilenet_v2', depth_multiplier=0.35),
        embedding_dimension=8,
        head_dimension=8,
        head_layers=1,
      )
    )
  )


@pytest.mark.parametrize('size', [(8, 8), (7, 9), (1, 1)])
def test_small_frames_and_extreme_objects(segmenter, rng, size):
  """An object of one pixel, one that fills the frame, and all but one pixel of it."""
  frames = rng.integers(0, 256, (3, *size, 3), np.uint8)
  pixel, everything = np.zeros(size, np.uint8), np.full(size, 5, np.uint8)
  pixel[-1, -1] = 5
  for mask in (pixel, everything, everything - pixel):
    if not mask.any():
      continue  # Of the frame with one pixel, nothing is left.
    segmenter.start(frames[0], mask)
    for frame in frames[1:]:
      result = segmenter.step(frame)
      assert result.mask.shape == size and set(np.unique(result.mask)) <= {0, 5}
      assert np.isfinite(result.stride4_logits).all()


def test_frames_of_one_value(segmenter):
  mask = np.zeros((24, 32), np.uint8)
  mask[4:12, 4:12] = 1
  for value in (0, 255):
    frame = np.full((24, 32, 3), value, np.uint8)
    segmenter.start(frame, mask)
    for _ in range(3):
      assert np.isfinite(segmenter.step(frame).stride4_logits).all()


def test_two_runs_give_the_same_bits(segmenter, rng):
  frames = rng.integers(0, 256, (4, 24, 32, 3), np.uint8)
  mask = np.zeros((24, 32), np.uint8)
  mask[4:12, 4:12] = 1
  runs = []
  for _ in range(2):
    segmenter.start(frames[0], mask)
    runs.append([segmenter.step(frame).stride4_logits for frame in frames[1:]])
  np.testing.assert_array_equal(runs[0], runs[1])

"""Frames that are resized bicubically: what the network sees, in a graph and in an export."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.model import feelvos
from feelvos_tf.model import geometry
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.saved_model.video_in_graph import VideoInGraph

SIZE = (33, 49)  # Of the grid, for frames of 30x50.


def with_options(model, **changes):
  other = feelvos.Feelvos(dataclasses.replace(model.options, **changes))
  other.set_weights(model.get_weights())
  return other


@pytest.fixture
def frame(rng):
  return rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)


@pytest.fixture
def bicubic(copying_model):
  return with_options(copying_model, frame_grid=16, frame_interpolation='bicubic')


def kernel(size, into):
  """float [into, size]: Keys' kernel with a = -0.75, corners aligned, edges repeated."""
  weights = np.zeros((into, size))
  for row in range(into):
    place = row * (size - 1) / (into - 1)
    for column in range(int(place) - 1, int(place) + 3):
      t, a = abs(place - column), -0.75
      near, far = ((a + 2) * t - (a + 3)) * t * t + 1, a * (t**3 - 5 * t * t + 8 * t - 4)
      weights[row, np.clip(column, 0, size - 1)] += near if t <= 1 else far if t < 2 else 0
  return weights


def resized(frame):
  columns = np.einsum('ox,yxc->yoc', kernel(50, 49), frame.astype(float))
  return np.clip(np.einsum('oy,yxc->oxc', kernel(30, 33), columns), 0, 255)


def test_frames_are_resized_bicubically(frame):
  images = tf.cast(frame, tf.float32)[tf.newaxis]
  options = FeelvosOptions(frame_interpolation='bicubic')
  found = geometry.resize_frames(images, SIZE, options)[0].numpy()
  # TensorFlow takes the kernel from a table of 1,024 places.
  np.testing.assert_allclose(found, resized(frame), atol=0.5)
  assert found.min() == 0 and found.max() == 255  # Noise overshoots; it is cut off.
  linear = geometry.resize_frames(images, SIZE, FeelvosOptions())[0].numpy()
  assert np.abs(found - linear).mean() > 2


def test_the_network_sees_them_so(copying_model, bicubic, frame):
  seen = resized(frame).astype(np.float32)[np.newaxis]
  found = graph_lib.InferenceGraph(bicubic).extract(frame)
  for values, expected in zip(found, copying_model.extract(seen)):
    np.testing.assert_allclose(values, expected[0], atol=0.02)


@pytest.mark.parametrize('jit_compile', [False, True])
def test_exports_see_them_so(bicubic, frame, jit_compile):
  """XLA, which has no such operation, compiles the network behind it."""
  video = VideoInGraph(bicubic, jit_compile, max_pixels=10000)
  found = tf.function(video.extract)(tf.constant(frame))
  expected = graph_lib.InferenceGraph(bicubic).extract(frame)
  for values, others in zip(found, expected):
    np.testing.assert_allclose(values, others, atol=1e-4)


def test_another_interpolation_is_refused():
  with pytest.raises(ValueError, match="frame_interpolation is 'nearest'; expected one of bilin"):
    FeelvosOptions(frame_interpolation='nearest')

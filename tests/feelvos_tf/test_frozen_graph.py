"""Frozen graphs: equal to what they were made of, atrous convolutions right on every kernel."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab import layers
from feelvos_tf import frozen_graph

_IMAGES = [tf.TensorSpec([None, None, None, 4], tf.float32)]


@pytest.fixture(scope='module')
def function():
  """Atrous depthwise convolution with batch norm that is not the identity, then a loop."""
  keras.utils.set_random_seed(3)
  layer = layers.DepthwiseConv2D(3, rate=3)
  layer.build((None, None, None, 4))
  layer.moving_variance.assign([0.5, 2.0, 3.0, 1.0])
  layer.beta.assign([1.0, 0.0, -1.0, 2.0])

  def run(images):
    count = tf.shape(images)[1] // 8
    return tf.while_loop(lambda i, _: i < count, lambda i, value: (i + 1, layer(value)),
                         [0, layer(images)])[1]

  return run


@pytest.fixture
def images(rng):
  return rng.uniform(-1, 1, (2, 17, 13, 4)).astype(np.float32)


@pytest.mark.parametrize('jit_compile', [False, True])
def test_equal_to_the_function(function, images, jit_compile):
  frozen = tf.function(
      frozen_graph.freeze(function, _IMAGES, jit_compile), input_signature=_IMAGES)
  expected = function(images)
  np.testing.assert_allclose(
      frozen(images), expected, atol=1e-5 * float(tf.reduce_max(tf.abs(expected))))


def test_nothing_depends_on_variables_any_more(function, images):
  frozen = tf.function(frozen_graph.freeze(function, _IMAGES), input_signature=_IMAGES)
  concrete = frozen.get_concrete_function()
  assert not concrete.variables
  definition = concrete.graph.as_graph_def()
  kinds = {node.op for f in definition.library.function for node in f.node_def}
  assert 'Rsqrt' not in kinds  # Batch norm's.


@pytest.mark.parametrize('dtype', [tf.float32, tf.bfloat16, tf.float16])
@pytest.mark.parametrize('rate', [2, 5])
def test_portable_convolution_is_right(rng, dtype, rate):
  images = tf.cast(rng.integers(0, 4, (1, 14, 11, 3)), dtype)
  kernel = tf.cast(rng.integers(0, 3, (3, 3, 3, 1)), dtype)
  expected = tf.nn.depthwise_conv2d(images, kernel, [1] * 4, 'SAME', dilations=[rate, rate])
  found = tf.function(frozen_graph.portable_depthwise_conv2d)(images, kernel, rate, 'SAME')
  np.testing.assert_array_equal(tf.cast(found, tf.float32), tf.cast(expected, tf.float32))


def test_a_kernel_that_ignores_dilations_is_noticed(monkeypatch, rng):
  def ignores(input, filter, strides, padding, dilations):
    del dilations
    return tf.nn.depthwise_conv2d(input, filter, strides, padding)

  monkeypatch.setattr(tf.raw_ops, 'DepthwiseConv2dNative', ignores)
  images = tf.constant(rng.uniform(0, 1, (1, 9, 9, 2)), tf.float32)
  kernel = tf.constant(rng.uniform(0, 1, (3, 3, 2, 1)), tf.float32)
  found = tf.function(frozen_graph.portable_depthwise_conv2d)(images, kernel, 2, 'SAME')
  monkeypatch.undo()
  expected = tf.nn.depthwise_conv2d(images, kernel, [1] * 4, 'SAME', dilations=[2, 2])
  np.testing.assert_allclose(found, expected, atol=1e-5)

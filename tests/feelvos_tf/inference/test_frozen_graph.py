"""Frozen graphs: equal to what they were made of, atrous convolutions right on every kernel."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.deeplab import depthwise
from feelvos_tf.deeplab import layers
from feelvos_tf.inference import frozen_graph

_IMAGES = [tf.TensorSpec([None, None, None, 4], tf.float32)]


@pytest.fixture(scope='module')
def layer():
  """Atrous depthwise convolution with batch norm that is not the identity."""
  keras.utils.set_random_seed(3)
  layer = layers.DepthwiseConv2D(3, rate=3)
  layer.build((None, None, None, 4))
  layer.moving_variance.assign([0.5, 2.0, 3.0, 1.0])
  layer.beta.assign([1.0, 0.0, -1.0, 2.0])
  return layer


@pytest.fixture(scope='module')
def function(layer):
  """The layer, then a loop over it."""

  def run(images):
    count = tf.shape(images)[1] // 8
    return tf.while_loop(
      lambda i, _: i < count, lambda i, value: (i + 1, layer(value)), [0, layer(images)]
    )[1]

  return run


@pytest.fixture
def images(rng):
  return rng.uniform(-1, 1, (2, 17, 13, 4)).astype(np.float32)


@pytest.mark.parametrize('jit_compile', [False, True])
def test_equal_to_the_function(function, images, jit_compile):
  frozen = tf.function(frozen_graph.freeze(function, _IMAGES, jit_compile), input_signature=_IMAGES)
  expected = function(images)
  np.testing.assert_allclose(
    frozen(images), expected, atol=1e-5 * float(tf.reduce_max(tf.abs(expected)))
  )


def test_a_graph_that_nobody_uses_is_forgotten(function):
  """With its weights; gradients that TensorFlow has registered held it."""
  graph = weakref.ref(frozen_graph.trace(function, _IMAGES).graph)
  gc.collect()
  assert graph() is None


def test_gradients_of_other_graphs_stay():
  """A function with a gradient of its own that was traced before is trained on."""

  @tf.function
  @tf.custom_gradient
  def twice(x):
    return 2.0 * x, lambda upstream: 5.0 * upstream

  number = tf.TensorSpec([], tf.float32)
  twice.get_concrete_function(number)
  frozen_graph.trace(lambda x: twice(x) + 1.0, [number])
  gradient = tf.function(lambda x: tf.gradients(twice(x), x)[0])
  assert gradient(tf.constant(1.0)) == 5.0


def test_batch_norm_is_folded_and_no_variable_is_left(layer):
  frozen = tf.function(
    frozen_graph.freeze(lambda images: layer(images), _IMAGES), input_signature=_IMAGES
  )
  concrete = frozen.get_concrete_function()
  assert not concrete.variables
  definition = concrete.graph.as_graph_def()
  kinds = {node.op for f in definition.library.function for node in f.node_def}
  assert not {'Rsqrt', 'Mul', 'ReadVariableOp'} & kinds


@pytest.mark.parametrize('dtype', [tf.float32, tf.bfloat16, tf.float16])
@pytest.mark.parametrize('rate, size', [(2, (14, 11)), (5, (9, 20)), (12, (7, 5))])
def test_portable_convolution_is_exact(rng, dtype, rate, size):
  images = tf.cast(rng.normal(size=(2, *size, 3)), dtype)
  kernel = tf.cast(rng.normal(size=(3, 3, 3, 1)), dtype)
  expected = tf.nn.depthwise_conv2d(images, kernel, [1] * 4, 'SAME', dilations=[rate, rate])
  found = tf.function(depthwise.in_phases)(images, kernel, rate)
  np.testing.assert_array_equal(tf.cast(found, tf.float32), tf.cast(expected, tf.float32))


@pytest.mark.parametrize('precision', ['float32', 'mixed_bfloat16'])
def test_joined_operations_are_those_of_the_graph_that_runs_at_once(precision, images):
  """A residual unit with an atrous convolution; apart, each operation would round in bfloat16."""
  keras.utils.set_random_seed(4)
  before = keras.config.dtype_policy()
  keras.config.set_dtype_policy(precision)
  try:
    expand = layers.Conv2D(24, 1, activation='relu6')
    depthwise_layer = layers.DepthwiseConv2D(3, rate=2, activation='relu6')
    project = layers.Conv2D(4, 1)
  finally:
    keras.config.set_dtype_policy(before)

  def unit(images):
    images = tf.cast(images, expand.compute_dtype)
    for _ in range(3):
      images = images + project(depthwise_layer(expand(images)))
    return tf.cast(images, tf.float32)

  unit(images)
  for layer in (expand, depthwise_layer, project):
    layer.beta.assign(np.linspace(-0.4, 0.7, layer.beta.shape[0]))
  at_once = frozen_graph.trace(unit, _IMAGES)(tf.constant(images))
  frozen = tf.function(frozen_graph.freeze(unit, _IMAGES), input_signature=_IMAGES)
  tolerance = 1e-5 if precision == 'float32' else 0
  np.testing.assert_allclose(frozen(images), at_once, rtol=tolerance, atol=tolerance)


def test_no_convolution_keeps_its_dilations(function):
  frozen = tf.function(frozen_graph.freeze(function, _IMAGES), input_signature=_IMAGES)
  library = frozen.get_concrete_function().graph.as_graph_def().library
  nodes = [
    node for f in library.function for node in f.node_def if node.op == 'DepthwiseConv2dNative'
  ]
  assert nodes
  assert all(set(node.attr['dilations'].list.i) <= {1} for node in nodes)

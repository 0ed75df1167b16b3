"""Depthwise convolution: every way that may be chosen equals TensorFlow's own, gradients too."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.deeplab.depthwise import depthwise_conv2d


def _value_and_gradients(function, inputs, kernel):
  with tf.GradientTape() as tape:
    tape.watch([inputs, kernel])
    value = function(inputs, kernel)
    loss = tf.reduce_sum(tf.sin(tf.cast(value, tf.float32)))
  return [value, *tape.gradient(loss, [inputs, kernel])]


@pytest.mark.parametrize(
  'kernel_size, rate',
  [((3, 3), 1), ((3, 3), 2), ((3, 3), 3), ((3, 3), 7), ((7, 7), 1), ((8, 9), 1), ((7, 7), 2)],
)
@pytest.mark.parametrize('size', [(9, 11), (4, 3)])
def test_equals_tensorflows(rng, kernel_size, rate, size):
  """In value, in both gradients, eagerly and in a graph of unknown size."""
  inputs = tf.constant(rng.normal(size=(2, *size, 5)), tf.float32)
  kernel = tf.constant(rng.normal(size=(*kernel_size, 5, 1)), tf.float32)
  expected = _value_and_gradients(
    lambda x, k: tf.nn.depthwise_conv2d(x, k, [1] * 4, 'SAME', dilations=[rate, rate]),
    inputs,
    kernel,
  )
  graph = tf.function(
    lambda x, k: depthwise_conv2d(x, k, rate=rate),
    input_signature=[tf.TensorSpec([None, None, None, 5]), tf.TensorSpec([*kernel_size, 5, 1])],
  )
  for function in (lambda x, k: depthwise_conv2d(x, k, rate=rate), graph):
    for actual, wanted in zip(_value_and_gradients(function, inputs, kernel), expected):
      assert actual.shape == wanted.shape
      np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4)


def test_large_kernel_in_bfloat16(rng):
  """The gradient by the kernel is as good as that of float32 products rounded once."""
  inputs = tf.cast(rng.normal(size=(3, 17, 15, 4)), tf.bfloat16)
  kernel = tf.cast(rng.normal(size=(7, 7, 4, 1)), tf.bfloat16)
  found = _value_and_gradients(depthwise_conv2d, inputs, kernel)
  expected = _value_and_gradients(
    depthwise_conv2d, tf.cast(inputs, tf.float32), tf.cast(kernel, tf.float32)
  )
  assert found[2].dtype == tf.bfloat16
  scale = float(tf.reduce_max(tf.abs(expected[2])))
  np.testing.assert_allclose(tf.cast(found[2], tf.float32), expected[2], atol=0.05 * scale)


def test_sums_over_an_image_in_bfloat16():
  """4,225 products of 1: kernels that add up in bfloat16 end at 256."""
  ones = tf.ones([1, 65, 65, 4], tf.bfloat16)
  found = _value_and_gradients(depthwise_conv2d, ones, tf.ones([7, 7, 4, 1], tf.bfloat16))
  plain = _value_and_gradients(depthwise_conv2d, tf.ones([1, 65, 65, 4]), tf.ones([7, 7, 4, 1]))
  np.testing.assert_allclose(tf.cast(found[2], tf.float32), plain[2], rtol=0.01)


def test_atrous_depthwise_in_float16():
  """There is no native float16 kernel with dilations on CPUs; the portable form serves."""
  result = depthwise_conv2d(
    tf.ones([1, 9, 9, 2], tf.float16), tf.ones([3, 3, 2, 1], tf.float16), rate=2
  )
  assert result.dtype == tf.float16
  assert float(result[0, 4, 4, 0]) == 9.0

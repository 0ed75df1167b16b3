"""The embedding layer: range, original names, initial values, round trip."""

import keras
import numpy as np
import tensorflow as tf

from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.model.embedding import EmbeddingLayer
from feelvos_tf.model.embedding import IdentityWithNoise


def test_embeddings_are_not_negative_and_of_the_asked_dimension(rng):
  layer = EmbeddingLayer(12)
  for size in ((5, 7), (1, 1)):
    embedding = layer(tf.constant(rng.normal(size=(2, *size, 256)), tf.float32))
    assert embedding.shape == (2, *size, 12)
    assert np.min(embedding) >= 0


def test_variables_are_the_originals(golden):
  ours = {
    name: list(variable.shape)
    for name, variable in tf1_checkpoint.variables_by_name(EmbeddingLayer()).items()
  }
  assert ours == {
    entry['name']: entry['shape']
    for entry in golden.json('tf1/vars/xception_65_infer')
    if entry['name'].startswith('embedding/')
  }


def test_arithmetic_is_depthwise_relu_pointwise_relu(rng):
  layer = EmbeddingLayer(6)
  features = tf.constant(rng.normal(size=(1, 4, 5, 256)), tf.float32)
  depthwise, depthwise_bias, pointwise, pointwise_bias = (
    tf.constant(rng.normal(size=variable.shape), tf.float32) for variable in layer.weights
  )
  layer.set_weights([depthwise, depthwise_bias, pointwise, pointwise_bias])
  net = tf.nn.relu(tf.nn.depthwise_conv2d(features, depthwise, [1] * 4, 'SAME') + depthwise_bias)
  net = tf.nn.relu(tf.nn.conv2d(net, pointwise, 1, 'SAME') + pointwise_bias)
  np.testing.assert_allclose(layer(features), net, rtol=1e-4, atol=1e-3)


def test_initial_depthwise_kernel_is_the_identity_on_channel_0_only():
  """As the original: a depthwise kernel has one output channel, so the identity meets one."""
  noise_limit = 2 * 0.03 + 1e-6  # Truncated at two standard deviations.
  kernel = np.array(IdentityWithNoise(seed=3)([3, 3, 256, 1]))
  assert abs(kernel[1, 1, 0, 0] - 1.0) <= noise_limit
  kernel[1, 1, 0, 0] -= 1.0
  assert np.max(np.abs(kernel)) <= noise_limit
  assert 0.02 < np.std(kernel) < 0.03  # 0.88 * 0.03 is what is left after the cut.


def test_initial_pointwise_kernel_is_the_identity_on_all_embedding_channels():
  kernel = np.asarray(IdentityWithNoise(seed=3)([1, 1, 256, 100]))[0, 0]
  assert np.max(np.abs(kernel - np.eye(256, 100))) <= 2 * 0.03 + 1e-6


def test_seeded_initial_values_repeat():
  first, second = (IdentityWithNoise(seed=7)([1, 1, 4, 4]) for _ in range(2))
  np.testing.assert_array_equal(first, second)


def test_config_round_trip():
  layer = EmbeddingLayer(5)
  copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
  assert copy.embedding_dimension == 5
  assert copy.output.shape == layer.output.shape

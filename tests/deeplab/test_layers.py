"""Layers: size arithmetic and resizing of the original, convolutions against naive forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.deeplab import layers


def random(rng, *shape):
  return tf.constant(rng.normal(size=shape), tf.float32)


@pytest.mark.parametrize('scale', ['0.25', '0.125', '0.0625', '0.5', '1.5', '1.25'])
def test_scale_dimension_is_the_originals(golden, scale):
  table = golden.npz('tf1/matching')[f'd|{scale}']
  sides = range(1, len(table) + 1)
  assert [layers.scale_dimension(side, float(scale)) for side in sides] == list(table)
  np.testing.assert_array_equal(
    layers.scale_dimension(tf.range(1, len(table) + 1), float(scale)), table
  )


def test_nearest_resize_takes_the_pixels_the_original_takes(golden):
  tables = {
    key: value for key, value in golden.npz('tf1/matching').items() if key.startswith('r|nearest|')
  }
  assert len(tables) == 14
  for key, expected in tables.items():
    source, target = map(int, key.split('|')[-1].split('_'))
    column = tf.range(source)[tf.newaxis, :, tf.newaxis, tf.newaxis]
    np.testing.assert_array_equal(
      layers.resize_nearest(column, [target, 1])[0, :, 0, 0], expected, err_msg=key
    )


@pytest.mark.parametrize('size', [(17, 25), (16, 22), (5, 7), (1, 1), (3, 4)])
def test_bilinear_resize_is_the_originals(golden, size):
  tensors = golden.npz('tf1/matching')
  resized = layers.resize_bilinear(tf.constant(tensors['r|bilinear|in']), size)
  np.testing.assert_allclose(resized, tensors[f'r|bilinear|{size[0]}x{size[1]}'], atol=1e-6)


def test_bilinear_resize_keeps_the_dtype():
  image = tf.cast(tf.reshape(tf.range(6.0), [1, 2, 3, 1]), tf.bfloat16)
  assert layers.resize_bilinear(image, [3, 5]).dtype == tf.bfloat16


@pytest.mark.parametrize('kernel, rate, padding', [(3, 1, (1, 1)), (3, 2, (2, 2)), (2, 1, (0, 1))])
def test_fixed_padding_depends_on_the_kernel_alone(kernel, rate, padding):
  for side in (4, 5):
    padded = layers.pad_for_kernel(tf.ones([1, side, side, 1]), kernel, rate)[0, :, :, 0]
    np.testing.assert_array_equal(padded, np.pad(np.ones([side, side]), padding))


@pytest.mark.parametrize('side, equal', [(7, True), (8, False)])
def test_fixed_padding_differs_from_same_on_even_sizes(rng, side, equal):
  images = random(rng, 1, side, side, 3)
  fixed = layers.Conv2D(4, 3, strides=2, padding='fixed', kernel_initializer='ones')(images)
  same = layers.Conv2D(4, 3, strides=2, padding='same', kernel_initializer='ones')(images)
  assert fixed.shape == same.shape
  assert np.allclose(fixed, same, atol=1e-4) == equal
  # The centres of the windows sit on pixels 0, 2, 4, ... whatever the size.
  dense = layers.Conv2D(4, 3, kernel_initializer='ones')(images)[:, ::2, ::2]
  np.testing.assert_allclose(fixed, dense, atol=1e-5)


def _randomize(layer, rng):
  for variable in layer.weights:
    values = rng.normal(size=variable.shape)
    variable.assign(np.abs(values) + 0.5 if variable.name == 'moving_variance' else values)


@pytest.mark.parametrize('kind', ['conv', 'depthwise'])
def test_folded_batch_norm_equals_batch_norm_after_the_convolution(rng, kind):
  layer = (
    layers.Conv2D(6, 3, activation='relu')
    if kind == 'conv'
    else layers.DepthwiseConv2D(3, activation='relu')
  )
  inputs = random(rng, 2, 7, 6, 6)
  layer(inputs)
  _randomize(layer, rng)
  if kind == 'conv':
    net = tf.nn.conv2d(inputs, tf.convert_to_tensor(layer.kernel), 1, 'SAME')
  else:
    net = tf.nn.depthwise_conv2d(inputs, tf.convert_to_tensor(layer.kernel), [1] * 4, 'SAME')
  net = tf.nn.batch_normalization(
    net,
    tf.convert_to_tensor(layer.moving_mean),
    tf.convert_to_tensor(layer.moving_variance),
    tf.convert_to_tensor(layer.beta),
    tf.convert_to_tensor(layer.gamma),
    layers.EPSILON,
  )
  np.testing.assert_allclose(layer(inputs), tf.nn.relu(net), rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(layer(inputs, training=True), layer(inputs))


def test_frozen_statistics_still_train_gamma_and_beta(rng):
  layer = layers.Conv2D(4, 3)
  inputs = random(rng, 1, 5, 5, 3)
  layer(inputs)
  before = layer.moving_mean.numpy()
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(tf.square(layer(inputs, training=True)))
  gradients = tape.gradient(loss, [v.value for v in layer.trainable_variables])
  assert {v.name for v in layer.trainable_variables} == {'kernel', 'gamma', 'beta'}
  assert all(np.any(gradient) for gradient in gradients)
  np.testing.assert_array_equal(layer.moving_mean, before)


def test_fine_tuning_uses_and_updates_batch_statistics(rng):
  keras.utils.set_random_seed(1)  # Kernels of little variance are normalised to less than 1.
  layer = layers.Conv2D(4, 1, decay=0.9, fine_tune_batch_norm=True)
  inputs = random(rng, 2, 8, 8, 3) + 3.0
  net = layer(inputs, training=True)
  np.testing.assert_allclose(np.mean(net, (0, 1, 2)), 0.0, atol=1e-4)
  np.testing.assert_allclose(np.std(net, (0, 1, 2)), 1.0, atol=1e-3)
  raw = tf.nn.conv2d(inputs, tf.convert_to_tensor(layer.kernel), 1, 'SAME')
  np.testing.assert_allclose(layer.moving_mean, 0.1 * np.mean(raw, (0, 1, 2)), rtol=1e-3)
  np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * np.var(raw, (0, 1, 2)), rtol=1e-3)
  before = layer.moving_mean.numpy()
  layer(inputs)
  np.testing.assert_array_equal(layer.moving_mean, before)


def test_a_layer_without_batch_norm_has_a_bias():
  layer = layers.DepthwiseConv2D(3, use_batch_norm=False)
  layer(tf.ones([1, 4, 4, 2]))
  assert [v.name for v in layer.weights] == ['depthwise_kernel', 'bias']


def test_mixed_bfloat16_computes_in_bfloat16_and_keeps_weights_in_float32(rng):
  layer = layers.Conv2D(4, 3, dtype='mixed_bfloat16')
  exact = layers.Conv2D(4, 3)
  inputs = random(rng, 1, 6, 6, 3)
  layer(inputs), exact(inputs)
  exact.set_weights(layer.get_weights())
  assert layer(inputs).dtype == tf.bfloat16
  assert {v.dtype for v in layer.weights} == {'float32'}
  np.testing.assert_allclose(tf.cast(layer(inputs), tf.float32), exact(inputs), atol=0.1)


@pytest.mark.parametrize(
  'make',
  [
    lambda: layers.Conv2D(8, 3, strides=2, padding='fixed', activation='relu', name='a.b'),
    lambda: layers.DepthwiseConv2D(3, rate=2, use_batch_norm=False, activation='relu6'),
    lambda: layers.ResizeLike(0.25),
  ],
)
def test_config_round_trip(make):
  layer = make()
  copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
  assert copy.get_config() == layer.get_config()


def test_symbolic_shapes_are_the_real_ones(rng):
  for height, width in ((7, 9), (8, 10)):
    images = random(rng, 1, height, width, 3)
    for layer in (
      layers.Conv2D(4, 3, strides=2, padding='fixed'),
      layers.Conv2D(4, 3, strides=2),
      layers.DepthwiseConv2D(3, strides=2, padding='fixed'),
    ):
      assert tuple(layer.compute_output_shape(images.shape)) == tuple(layer(images).shape)


def test_unknown_padding_is_refused():
  with pytest.raises(ValueError, match="padding is 'valid'; expected 'same' or 'fixed'"):
    layers.Conv2D(4, 3, padding='valid')


def test_residual_is_a_sum(rng):
  first, second = (random(rng, 2, 5, 4, 3) for _ in range(2))
  np.testing.assert_array_equal(layers.Residual()(first, second), first + second)
  inputs = keras.Input([None, None, 3])
  assert layers.Residual()(inputs, inputs).shape == (None, None, None, 3)

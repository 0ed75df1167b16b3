"""Keras's MobileNetV2 as initial weights: our backbone computes the same features."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.deeplab import DeepLabV3Plus
from feelvos_tf.deeplab import keras_weights
from feelvos_tf.deeplab import ModelOptions


@pytest.fixture(scope='module')
def theirs():
  """A randomly initialised Keras MobileNetV2 whose batch norm is not the identity."""
  model = keras.applications.MobileNetV2(
    include_top=False, weights=None, input_shape=(None, None, 3)
  )
  rng = np.random.default_rng(5)
  for layer in model.layers:
    for variable in layer.weights:
      if variable.name in ('gamma', 'moving_variance'):
        variable.assign(rng.uniform(0.7, 1.3, variable.shape))
      elif variable.name in ('beta', 'moving_mean'):
        variable.assign(rng.normal(0, 0.1, variable.shape))
  return model


@pytest.fixture(scope='module')
def path(theirs, tmp_path_factory):
  path = tmp_path_factory.mktemp('keras') / 'mobilenet_v2.weights.h5'
  theirs.save_weights(path)
  return path


def ours(multiplier=1.0, output_stride=32):
  return DeepLabV3Plus(
    ModelOptions('mobilenet_v2', output_stride=output_stride, depth_multiplier=multiplier)
  )


@pytest.mark.parametrize('size', [(65, 97), (64, 96), (63, 94)])
def test_features_are_those_of_keras(theirs, path, rng, size):
  model = ours()
  loaded = keras_weights.restore_mobilenet_v2(path, model)
  assert len(loaded) == 52 * 5 - 5  # 52 convolutions with batch norm; not Conv_1.
  images = tf.constant(rng.uniform(0, 255, (1, *size, 3)), tf.float32)
  # A Keras model of unknown size pads every size as if it were even; one of this size does right.
  sized = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(*size, 3))
  sized.set_weights(theirs.get_weights())
  expected = keras.Model(sized.input, sized.get_layer('block_16_project_BN').output)(
    images / 127.5 - 1.0
  )
  actual = keras.Model(model.input, model.end_points['layer_18'])(images)
  assert actual.shape == expected.shape
  np.testing.assert_allclose(actual, expected, atol=1e-4 * np.max(np.abs(expected)))


def test_every_variable_has_a_name_of_ours(theirs):
  from feelvos_tf.deeplab import tf1_checkpoint

  names = {
    keras_weights.original_name(layer.name, variable.name)
    for layer in theirs.layers
    for variable in layer.weights
  }
  backbone = {
    name for name in tf1_checkpoint.variables_by_name(ours()) if name.startswith('MobilenetV2/')
  }
  assert names - {None} == backbone


def test_missing_file(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such weights file'):
    keras_weights.read_mobilenet_v2(tmp_path / 'none.h5')


def test_another_network(tmp_path):
  other = keras.Sequential([keras.Input([4]), keras.layers.Dense(2)])
  other.save_weights(tmp_path / 'other.weights.h5')
  with pytest.raises(ValueError, match='not weights of keras.applications.MobileNetV2'):
    keras_weights.read_mobilenet_v2(tmp_path / 'other.weights.h5')


@pytest.mark.parametrize(
  'model', [lambda: ours(0.5), lambda: DeepLabV3Plus(ModelOptions('resnet_v1_50_beta'))]
)
def test_a_model_of_another_width_or_backbone_is_not_touched(path, model):
  model = model()
  before = [variable.numpy() for variable in model.weights]
  with pytest.raises(ValueError, match='do not fit the backbone of the model'):
    keras_weights.restore_mobilenet_v2(path, model)
  for value, variable in zip(before, model.weights):
    np.testing.assert_array_equal(value, variable)

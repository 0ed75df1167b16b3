"""DeepLabV3Plus as a whole: sizes, strides, optional parts, logits, configuration."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.deeplab import DeepLabV3Plus
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint

LAST = {
  'xception': 'xception_41/exit_flow/block2',
  'mobilenet': 'layer_18',
  'resnet': 'resnet_v1_50/block4',
}


def small(**kwargs):
  return DeepLabV3Plus(ModelOptions('mobilenet_v2', depth_multiplier=0.35, **kwargs))


def randomize(model, seed=0):
  """Weights that neither vanish nor explode, moving statistics included."""
  rng = np.random.default_rng(seed)
  for name, variable in tf1_checkpoint.variables_by_name(model).items():
    shape = variable.shape
    if name.endswith('weights'):
      fan_in = np.prod(shape[:2]) * (1 if 'depthwise' in name else shape[2])
      variable.assign(rng.normal(0, np.sqrt(2.0 / fan_in), shape))
    elif name.endswith(('variance', 'gamma')):
      variable.assign(rng.uniform(0.5, 1.5, shape))
    else:
      variable.assign(rng.normal(0, 0.1, shape))


@pytest.fixture(scope='module')
def model():
  model = small(num_classes=21)
  randomize(model)
  return model


@pytest.mark.parametrize('height, width', [(65, 97), (64, 96), (33, 49), (31, 1), (1, 1)])
def test_one_model_takes_any_size(model, height, width):
  outputs = model(tf.zeros([2, height, width, 3]))
  h4, w4 = (height - 1) // 4 + 1, (width - 1) // 4 + 1
  assert outputs['features'].shape == (2, h4, w4, 256)
  assert outputs['logits'].shape == (2, h4, w4, 21)
  assert outputs['features'].dtype == tf.float32


def test_graph_of_unknown_size_equals_eager(model, rng):
  graph = tf.function(model, input_signature=[tf.TensorSpec([None, None, None, 3])])
  for size in ((33, 49), (40, 30)):
    images = tf.constant(rng.uniform(0, 255, (1, *size, 3)), tf.float32)
    np.testing.assert_allclose(graph(images)['features'], model(images)['features'], atol=1e-4)


@pytest.mark.parametrize(
  'variant, output_stride',
  [('mobilenet_v2', 8), ('mobilenet_v2', 32), ('resnet_v1_50_beta', 8), ('resnet_v1_50_beta', 32)],
)
def test_encoder_has_the_output_stride(variant, output_stride):
  model = DeepLabV3Plus(ModelOptions(variant, output_stride=output_stride))
  last = model.end_points[LAST[variant.split('_')[0]]]
  features = keras.Model(model.input, last)(tf.zeros([1, 65, 97, 3]))
  assert features.shape[1:3] == (64 // output_stride + 1, 96 // output_stride + 1)


def test_smaller_stride_holds_the_features_of_the_larger_one(rng):
  """Atrous convolution: at stride 8 every other pixel is the one computed at stride 16."""
  images = tf.constant(rng.uniform(0, 255, (1, 65, 97, 3)), tf.float32)
  outputs = {}
  for output_stride in (8, 16, 32):
    model = DeepLabV3Plus(ModelOptions('xception_41', output_stride=output_stride))
    randomize(model)
    outputs[output_stride] = keras.Model(model.input, model.end_points[LAST['xception']])(images)
  scale = np.max(np.abs(outputs[16]))
  np.testing.assert_allclose(outputs[8][:, ::2, ::2], outputs[16], atol=1e-4 * scale)
  np.testing.assert_allclose(outputs[16][:, ::2, ::2], outputs[32], atol=1e-4 * scale)


@pytest.mark.parametrize('variant', ['xception_41', 'resnet_v1_50_beta'])
def test_multi_grid_changes_the_rates_of_the_last_block_only(variant):
  def rates(multi_grid):
    model = DeepLabV3Plus(ModelOptions(variant, multi_grid=multi_grid))
    return {layer.name: layer.rate for layer in model.layers if hasattr(layer, 'rate')}

  plain, graded = rates(None), rates((1, 2, 4))
  changed = {name: (plain[name], graded[name]) for name in plain if plain[name] != graded[name]}
  if variant == 'xception_41':
    scope = 'xception_41.exit_flow.block2.unit_1.xception_module.separable_conv'
    expected = {f'{scope}2_depthwise': (2, 4), f'{scope}3_depthwise': (2, 8)}
  else:
    expected = {
      f'resnet_v1_50.block4.unit_{unit}.bottleneck_v1.conv2': (2, 2 * rate)
      for unit, rate in ((2, 2), (3, 4))
    }
  assert changed == expected


def scopes(model):
  return {name.rsplit('/', 1)[0] for name in tf1_checkpoint.variables_by_name(model)}


def test_without_image_level_feature():
  without = small(add_image_level_feature=False)
  assert not any(scope.startswith('image_pooling') for scope in scopes(without))
  assert without.get_layer('concat_projection').kernel.shape[2] == 4 * 256
  assert without(tf.zeros([1, 33, 33, 3]))['features'].shape == (1, 9, 9, 256)


def test_without_separable_convolutions():
  plain = scopes(small(aspp_with_separable_conv=False, decoder_use_separable_conv=False))
  assert {
    'aspp1',
    'aspp2',
    'aspp3',
    'decoder/decoder_conv0/decoder_conv0_1',
    'decoder/decoder_conv0/decoder_conv0_2',
  } <= plain
  assert not any(scope.startswith(('aspp1_', 'decoder/decoder_conv0_')) for scope in plain)


def test_without_branches_and_decoder():
  """What the published MobileNetV2 models are: one 1x1 branch and the image-level feature."""
  model = small(atrous_rates=(), decoder_output_stride=None, num_classes=21)
  outputs = model(tf.zeros([1, 65, 65, 3]))
  assert outputs['features'].shape == (1, 5, 5, 256)
  assert outputs['logits'].shape == (1, 5, 5, 21)
  assert {scope.split('/')[0] for scope in scopes(model)} == {
    'MobilenetV2',
    'image_pooling',
    'aspp0',
    'concat_projection',
    'logits',
  }


def test_logits_only_when_asked_for():
  assert set(small()(tf.zeros([1, 9, 9, 3]))) == {'features'}


@pytest.mark.parametrize(
  'multiplier, first, last', [(1.0, 32, 320), (0.5, 16, 160), (0.35, 16, 112), (1.4, 48, 448)]
)
def test_depth_multiplier(multiplier, first, last):
  """Widths of slim's MobileNetV2, which DeepLab's published dm05 models have."""
  model = DeepLabV3Plus(ModelOptions('mobilenet_v2', depth_multiplier=multiplier))
  assert model.end_points['layer_1'].shape[-1] == first
  assert model.end_points['layer_18'].shape[-1] == last


def test_config_round_trip(model, tmp_path, rng):
  copy = DeepLabV3Plus.from_config(model.get_config())
  assert copy.options == model.options
  copy.set_weights(model.get_weights())
  images = tf.constant(rng.uniform(0, 255, (1, 33, 33, 3)), tf.float32)
  np.testing.assert_array_equal(copy(images)['logits'], model(images)['logits'])
  model.save(tmp_path / 'model.keras')
  loaded = keras.saving.load_model(tmp_path / 'model.keras')
  np.testing.assert_array_equal(loaded(images)['logits'], model(images)['logits'])


def test_dropout_is_active_in_training_though_batch_norm_is_frozen(model, rng):
  images = tf.constant(rng.uniform(0, 255, (1, 33, 33, 3)), tf.float32)
  frozen = [v.numpy() for v in model.non_trainable_variables if 'moving' in v.name]
  assert np.any(model(images, training=True)['features'] != model(images)['features'])
  for before, variable in zip(
    frozen, (v for v in model.non_trainable_variables if 'moving' in v.name)
  ):
    np.testing.assert_array_equal(before, variable)


def test_mixed_bfloat16_runs_and_features_are_float32():
  policy = keras.mixed_precision.dtype_policy()
  keras.mixed_precision.set_dtype_policy('mixed_bfloat16')
  try:
    half = small()
  finally:
    keras.mixed_precision.set_dtype_policy(policy)
  features = half(tf.zeros([1, 33, 33, 3]))['features']
  assert features.dtype == tf.float32
  assert np.all(np.isfinite(features))

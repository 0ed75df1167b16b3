"""Every tapped tensor, variable and end point of the original, with the recipe's weights."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import weight_recipe

from feelvos_tf.deeplab import DeepLabV3Plus
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions

TOLERANCE = 1e-4
CASES = [
  ('xception_65', 16, '65x97'),
  ('xception_65', 16, '62x86'),
  ('xception_65', 8, '65x97'),
  ('xception_41', 16, '65x97'),
  ('mobilenet_v2', 16, '65x97'),
  ('resnet_v1_50_beta', 16, '65x97'),
]
VARIANTS = ['xception_41', 'xception_65', 'xception_71', 'mobilenet_v2', 'resnet_v1_50_beta']
# Kept by the golden files beside tensors of the network.
NO_TENSOR = {'image', 'embedding', 'embedding_change_for_1e6_input_change'}


def relative_error(actual, expected):
  actual = np.asarray(actual)
  assert actual.shape == expected.shape
  return np.max(np.abs(actual - expected)) / np.max(np.abs(expected))


@pytest.mark.parametrize('variant, output_stride, size', CASES)
def test_every_tapped_tensor_is_the_originals(golden, golden_model, variant, output_stride, size):
  expected = golden.npz(f'tf1/backbone_{variant}_os{output_stride}_{size}')
  model = golden_model(variant, output_stride)
  end_points = model.deeplab.end_points
  keys = sorted(set(expected) - NO_TENSOR)
  names = [key.removeprefix('ep|').replace('|', '/') for key in keys]
  assert not set(names) - set(end_points), 'golden tensors that cannot be tapped'
  tapped = keras.Model(model.deeplab.input, [end_points[name] for name in names])
  errors = {
    name: relative_error(value, expected[key])
    for name, key, value in zip(names, keys, tapped(expected['image'][np.newaxis]))
  }
  _, embedding = model.extract(expected['image'][np.newaxis])
  errors['embedding'] = relative_error(embedding, expected['embedding'])
  assert max(errors.values()) < TOLERANCE, {k: v for k, v in errors.items() if v >= TOLERANCE}


def test_every_golden_backbone_file_has_a_case(golden):
  files = {path.name for path in golden.path('tf1').glob('backbone_*.npz')}
  assert files == {f'backbone_{v}_os{s}_{size}.npz' for v, s, size in CASES}


@pytest.fixture(scope='module')
def model_of(golden_model):
  """Function: variant -> Feelvos; most are there for their tensors, and none is built twice."""
  tapped = {variant for variant, output_stride, _ in CASES if output_stride == 16}

  @functools.cache
  def build(variant):
    if variant in tapped:
      return golden_model(variant, 16)
    return Feelvos(FeelvosOptions(ModelOptions(variant)))

  return build


@pytest.mark.parametrize('variant', VARIANTS)
def test_variables_are_exactly_those_of_the_originals_checkpoint(golden, model_of, variant):
  variables = tf1_checkpoint.variables_by_name(model_of(variant))
  ours = {name: list(variable.shape) for name, variable in variables.items()}
  theirs = {entry['name']: entry['shape'] for entry in golden.json(f'tf1/vars/{variant}_infer')}
  assert theirs.pop('global_step') == []
  assert ours == theirs


@pytest.mark.parametrize('variant', VARIANTS)
def test_end_points_have_the_originals_names_and_channels(golden, model_of, variant):
  model = model_of(variant).deeplab
  assert model.output['features'].shape == (None, None, None, 256)
  end_points = model.end_points
  expected = golden.json(f'tf1/vars/{variant}_endpoints')
  ours = {name: end_points[name].shape[-1] for name in expected if name in end_points}
  wanted = {name: shape[-1] for name, shape in expected.items()}
  assert ours == {name: wanted[name] for name in ours}
  missing = set(wanted) - set(ours)
  # Inside of a separable convolution or bottleneck; nobody taps it.
  assert all(
    name.endswith(('_depthwise', '/shortcut', '/conv1', '/conv2', '/conv2_same'))
    for name in missing
  ), sorted(missing)


def test_resnet_101_differs_from_50_in_the_length_of_block3_only(golden):
  model = DeepLabV3Plus(ModelOptions('resnet_v1_101_beta'))
  assert model.output['features'].shape == (None, None, None, 256)
  names = set(tf1_checkpoint.variables_by_name(model))
  short = {
    entry['name'].replace('resnet_v1_50', 'resnet_v1_101')
    for entry in golden.json('tf1/vars/resnet_v1_50_beta_infer')
  }
  added = names - short
  assert {name.split('/')[1] for name in added} == {'block3'}
  assert {int(name.split('/')[2].removeprefix('unit_')) for name in added} == set(range(7, 24))
  assert {name.split('/')[0] for name in short - names} == {
    'embedding',
    'embedding_seg',
    'logits',
    'global_step',
  }  # Not part of DeepLab.


def test_recipe_gives_the_recorded_values(golden):
  for name, check in golden.json('tf1/recipe_check').items():
    value = weight_recipe.value(name, check['shape'])
    np.testing.assert_allclose(value.ravel()[:3], check['first'], rtol=1e-6)
    np.testing.assert_allclose(value.sum(dtype=np.float64), check['sum'], rtol=1e-6, atol=1e-6)


def test_float_noise_is_no_larger_than_the_originals(golden, golden_model):
  """Scaling the input by 1 + 1e-6 moves our embeddings about as little as the original's."""
  expected = golden.npz('tf1/backbone_xception_65_os16_65x97')
  image = expected['image'][np.newaxis]
  model = golden_model('xception_65', 16)
  change = np.max(np.abs(model.extract(image * np.float32(1 + 1e-6))[1] - model.extract(image)[1]))
  assert change < 10 * expected['embedding_change_for_1e6_input_change']
  assert tf.reduce_min(model.extract(image)[1]) >= 0

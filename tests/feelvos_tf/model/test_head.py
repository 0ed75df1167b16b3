"""The head: its shortcut against the original's form, groups, golden logits, gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.model.head import SegmentationHead


def random(rng, *shape):
  return tf.constant(rng.normal(size=shape), tf.float32)


def random_head(rng, **kwargs):
  head = SegmentationHead(
    **{
      **dict(feature_channels=6, object_channels=3, dimension=5, num_layers=3, kernel_size=3),
      **kwargs,
    }
  )
  for variable in head.weights:
    variable.assign(rng.normal(size=variable.shape) * 0.5)
  return head


def naive(head, features, maps):
  """The original's form: features beside the maps of each object, layer by layer."""
  net = tf.concat([tf.repeat(features, tf.shape(maps)[0], axis=0), maps], axis=-1)
  for depthwise, pointwise in zip(head.depthwise, head.pointwise):
    net = tf.nn.depthwise_conv2d(
      net, tf.convert_to_tensor(depthwise.kernel), [1] * 4, 'SAME', dilations=[depthwise.rate] * 2
    )
    net = tf.nn.relu(net + tf.convert_to_tensor(depthwise.bias))
    net = tf.nn.conv2d(net, tf.convert_to_tensor(pointwise.kernel), 1, 'SAME')
    net = tf.nn.relu(net + tf.convert_to_tensor(pointwise.bias))
  net = tf.nn.conv2d(net, tf.convert_to_tensor(head.logit.kernel), 1, 'SAME')
  return (net + tf.convert_to_tensor(head.logit.bias))[..., 0]


@pytest.mark.parametrize(
  'kwargs',
  [
    {},
    {'num_layers': 1},
    {'kernel_size': 7},
    {'object_channels': 1},
    {'atrous_rates': (1, 2, 3)},
    {'group_bytes': 0},
    {'group_bytes': 1},
  ],
)
@pytest.mark.parametrize('objects, size', [(1, (4, 5)), (5, (6, 3))])
def test_shared_first_layer_equals_the_naive_form(rng, kwargs, objects, size):
  head = random_head(rng, **kwargs)
  features = random(rng, 1, *size, 6)
  maps = random(rng, objects, *size, head.object_channels)
  expected = naive(head, features, maps)
  np.testing.assert_allclose(head(features, maps), expected, rtol=1e-4, atol=1e-4)


def test_gradients_equal_those_of_the_naive_form(rng):
  head = random_head(rng)
  features, maps = random(rng, 1, 5, 4, 6), random(rng, 3, 5, 4, 3)
  variables = [variable.value for variable in head.trainable_variables]

  def gradients(function):
    with tf.GradientTape() as tape:
      tape.watch([features, maps])
      loss = tf.reduce_sum(tf.sin(function()))
    return tape.gradient(loss, [features, maps, *variables])

  expected = gradients(lambda: naive(head, features, maps))
  for training in (True, False):  # Whole, and in groups.
    actual = gradients(lambda training=training: head(features, maps, training=training))
    for mine, theirs in zip(actual, expected):
      np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('objects', [1, 2, 7])
@pytest.mark.parametrize('per_group', [1, 2, 3, 100])
def test_groups_of_objects_equal_all_at_once(rng, objects, per_group):
  head = random_head(rng)
  features, maps = random(rng, 1, 4, 3, 6), random(rng, objects, 4, 3, 3)
  head.group_bytes = 0
  expected = head(features, maps)
  head.group_bytes = per_group * 4 * 3 * head.dimension * 4
  graph = tf.function(
    head, input_signature=[tf.TensorSpec([1, None, None, 6]), tf.TensorSpec([None, None, None, 3])]
  )
  for function in (head, graph):
    np.testing.assert_allclose(function(features, maps), expected, rtol=1e-5, atol=1e-5)


def test_permuting_objects_permutes_logits(rng):
  head = random_head(rng)
  features, maps = random(rng, 1, 4, 3, 6), random(rng, 4, 4, 3, 3)
  order = [2, 0, 3, 1]
  np.testing.assert_allclose(
    head(features, tf.gather(maps, order)), tf.gather(head(features, maps), order), atol=1e-5
  )


@pytest.mark.parametrize('name', ['', '_62x86'])
def test_golden_logits_of_the_first_step(golden, golden_model, name):
  """Features and maps of the original in, its last layer and logits out."""
  tensors = golden.npz(f'tf1/video_xception_65_os16{name}')
  head = golden_model('xception_65', 16).head
  features = tf.constant(tensors['frame1_decoder'])
  maps = tf.constant(tensors['head_in_last3'][0])
  logits = head(features, maps)
  scale = np.max(np.abs(tensors['logits'][0]))
  np.testing.assert_allclose(logits, tensors['logits'][0], atol=1e-4 * scale)
  # The logit layer is 1x1, so the golden output of the layer before it gives the same.
  last = head.logit(tensors['frame1_head_out'])[..., 0]
  np.testing.assert_allclose(last, tensors['logits'][0], atol=1e-5 * scale)


def test_variables_are_the_originals(golden):
  ours = {
    name: list(variable.shape)
    for name, variable in tf1_checkpoint.variables_by_name(SegmentationHead()).items()
  }
  assert ours == {
    entry['name']: entry['shape']
    for entry in golden.json('tf1/vars/xception_65_infer')
    if entry['name'].startswith(('embedding_seg/', 'logits/'))
  }


def test_bfloat16_gives_float32_logits(rng):
  head = random_head(rng, dtype='mixed_bfloat16')
  features, maps = random(rng, 1, 4, 3, 6), random(rng, 2, 4, 3, 3)
  logits = head(features, maps)
  assert logits.dtype == tf.float32
  expected = naive(head, features, maps)
  np.testing.assert_allclose(logits, expected, atol=0.1 * np.max(np.abs(expected)))


def test_config_round_trip(rng):
  head = random_head(rng, atrous_rates=(1, 2, 3))
  copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
  copy.set_weights(head.get_weights())
  features, maps = random(rng, 1, 4, 3, 6), random(rng, 2, 4, 3, 3)
  np.testing.assert_array_equal(copy(features, maps), head(features, maps))

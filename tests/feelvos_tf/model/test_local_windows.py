"""The option `local_window_radii`: its maps, training, files, and weights without or with them."""

import head_models
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.inference import ablation
from feelvos_tf.model import weights
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.tools import convert_checkpoint
from feelvos_tf.training import initial_weights


def make(local_window_radii=(1, 3), **options):
  return head_models.make_model(local_window_radii=local_window_radii, **options)


@pytest.fixture(scope='module')
def model():
  return make()


def expected(query, previous, labels, objects, radius):
  """The definition, pixel by pixel, in numpy."""
  height, width, _ = query.shape
  found = np.ones((objects, height, width))
  for y, x in np.ndindex(height, width):
    rows, columns = (slice(max(0, i - radius), i + radius + 1) for i in (y, x))
    squared = ((previous[rows, columns] - query[y, x]) ** 2).sum(-1)
    for i in range(objects):
      own = squared[labels[rows, columns] == i]
      if own.size:
        found[i, y, x] = 1 - 2 / (1 + np.exp(own.min()))
  return found


def matched(model, rng, objects=3):
  """(embeddings [2, 9, 13, 16], labels, Maps) of a made-up frame."""
  embedding = rng.random((2, 9, 13, 16)).astype(np.float32)
  labels = rng.integers(0, objects, (9, 13)).astype(np.int32)
  reference = model.prepare_reference(embedding[0], labels, objects)
  previous = model.previous_frame(tf.constant(embedding[0]), tf.constant(labels), objects)
  return embedding, labels, model.match(tf.constant(embedding[1]), reference, previous, objects)


def test_one_map_for_each_radius(model, rng):
  embedding, labels, maps = matched(model, rng)
  for radius, found in zip((1, 3, 5), (*maps.window_distances, maps.local_distance), strict=True):
    np.testing.assert_allclose(found, expected(*embedding[::-1], labels, 3, radius), atol=1e-5)


@pytest.mark.parametrize('others', [False, True])
def test_they_are_the_heads_last_channels(rng, others):
  model = make(other_object_distances=others)
  maps = matched(model, rng)[2]
  features = tf.constant(rng.random((9, 13, 256)), tf.float32)
  stacked = list(maps[:3])
  for distance in (maps.global_distance.numpy(), maps.local_distance.numpy()) if others else ():
    stacked.append(head_models.expected_others(distance))
  inputs = tf.stack([*stacked, *maps.window_distances], axis=-1)
  assert inputs.shape[-1] == model.options.object_channels == model.head.object_channels
  np.testing.assert_array_equal(
    model.segment(features, maps), model.head(features[tf.newaxis], inputs)
  )


def test_they_are_trained(model):
  kernel = np.asarray(head_models.gradients_of(model)[head_models.FIRST_LAYER])
  assert kernel.shape[2] == 256 + 5
  assert np.abs(kernel[:, :, 256:, 0]).max(axis=(0, 1)).min() > 0


@pytest.mark.parametrize(
  'before, after',
  [
    ({}, {}),
    ({}, {'other_object_distances': True}),
    ({'other_object_distances': True}, {'other_object_distances': True}),
  ],
)
def test_initial_weights_without_them_give_the_same_logits(tmp_path, before, after):
  plain = make((), **before)
  head_models.check_initial_weights(plain, make(**after), tmp_path / 'm.h5')


def test_initial_weights_with_them_get_inputs_in_front_of_them(model, tmp_path):
  head_models.check_initial_weights(model, make(other_object_distances=True), tmp_path / 'm.h5')


def test_tf1_checkpoints_without_them_give_the_same_logits(tmp_path):
  plain, model = make((), other_object_distances=True), make(other_object_distances=True)
  tf1_checkpoint.save(tmp_path / 'model.ckpt-1', plain)
  initial_weights.initialize(model, tmp_path / 'model.ckpt-1', initialize_last_layer=True)
  np.testing.assert_allclose(
    head_models.eager_logits(model), head_models.eager_logits(plain), rtol=1e-5, atol=1e-5
  )


def test_inputs_that_the_model_does_not_have_are_left_out_and_named(tmp_path):
  whole = make(other_object_distances=True)
  weights.save_model(tmp_path / 'm.h5', whole)
  model = make((3,))
  text = initial_weights.initialize(model, tmp_path / 'm.h5', initialize_last_layer=True)
  names = 'other_global_distance, other_local_distance, local_distance_in_radius_1'
  assert f'inputs of the head that the model does not have left out: {names}.' in text
  # Global, previous, local and radius 3, of these eight: features, 3, 2 others, radius 1 and 3.
  for name, axis in (('depthwise_weights', 2), ('biases', 0)):
    name = f'embedding_seg/split_separable_conv2d_0_depthwise/{name}'
    before, after = (tf1_checkpoint.variables_by_name(m)[name].numpy() for m in (whole, model))
    kept = [*range(256 + 3), 256 + 6]
    np.testing.assert_array_equal(after, np.take(before, kept, axis=axis))


def test_files_keep_them(model, tmp_path):
  head_models.check_files(model, tmp_path)


def test_without_local_distance_they_are_neutral(rng):
  model = make(neutral_inputs=('local_distance',))
  maps = ablation.neutralise(matched(model, rng)[2], model.options)
  assert len(maps.window_distances) == 2
  np.testing.assert_array_equal(maps.window_distances, np.ones((2, 3, 9, 13)))


@pytest.mark.parametrize(
  'radii, options, message',
  [
    ((4, 4), {}, r'local_window_radii is \(4, 4\); expected ascending whole numbers from 1 to 14'),
    ((8, 4), {}, 'expected ascending'),
    ((0,), {}, 'expected ascending'),
    ((4, 15), {}, 'expected ascending'),
    ((2.5,), {}, 'expected a tuple of whole numbers'),
    ((4,), {'previous_frame_matching': 'none'}, 'previous-frame matching is off'),
  ],
)
def test_impossible_radii_are_refused(radii, options, message):
  with pytest.raises(ValueError, match=message):
    FeelvosOptions(local_window_radii=radii, **options)


def test_converted_checkpoints_need_the_radii():
  shapes = {
    'decoder/decoder_conv1_pointwise/weights': [1, 1, 256, 256],
    'embedding_seg/split_separable_conv2d_0_pointwise/weights': [1, 1, 263, 256],
  }
  found = convert_checkpoint.guess_head_options(shapes, (4, 8))
  assert found['other_object_distances'] and found['local_window_radii'] == (4, 8)

"""The Feelvos model: options and ablations, files, labels and logits between scales."""

import functools
import json

import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf

from feelvos_tf.deeplab import DeepLabV3Plus
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.deeplab import weights_file
from feelvos_tf.model import feelvos
from feelvos_tf.model import geometry
from feelvos_tf.model import weights
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions

TINY = ModelOptions('mobilenet_v2', depth_multiplier=0.35)


@functools.cache
def backbone():
  """The DeepLab of all tiny models."""
  return DeepLabV3Plus(TINY, logits_scope='semantic_logits')


def tiny(**kwargs):
  options = dict(embedding_dimension=8, head_dimension=8, head_layers=1, window_radius=2)
  with small_models.backbone_of(backbone()):
    return Feelvos(FeelvosOptions(TINY, **{**options, **kwargs}))


def one_step(model, rng, objects=3):
  """Maps and logits of a made-up second frame."""
  features, embedding = model.extract(
    tf.constant(rng.integers(0, 256, (2, 33, 49, 3), dtype=np.uint8))
  )
  labels = tf.constant(rng.integers(0, objects, embedding.shape[1:3]), tf.int32)
  reference = model.prepare_reference(embedding[0], labels, objects)
  previous = model.previous_frame(embedding[0], labels, objects)
  maps = model.match(embedding[1], reference, previous, objects)
  return maps, model.segment(features[1], maps), embedding, labels


def test_extract_gives_stride_4(rng):
  model = tiny()
  for height, width in ((33, 49), (40, 30), (1, 1)):
    features, embedding = model.extract(np.zeros([2, height, width, 3], np.uint8))
    h4, w4 = (height - 1) // 4 + 1, (width - 1) // 4 + 1
    assert features.shape == (2, h4, w4, 256)
    assert embedding.shape == (2, h4, w4, 8)
    assert features.dtype == embedding.dtype == tf.float32


def test_uint8_and_float_images_are_the_same(rng):
  model = tiny()
  image = rng.integers(0, 256, (1, 17, 17, 3), dtype=np.uint8)
  np.testing.assert_array_equal(model.extract(image)[1], model.extract(image.astype(np.float32))[1])


@pytest.mark.parametrize(
  'option, absent',
  [
    ({}, []),
    ({'use_first_frame_matching': False}, ['global_distance']),
    ({'previous_frame_matching': 'none'}, ['local_distance']),
    ({'previous_frame_matching': 'global'}, []),
    ({'previous_prediction': 'none'}, ['previous_prediction']),
    ({'k_nearest_neighbors': 3}, []),
  ],
)
def test_ablations(rng, option, absent):
  """The rows of the paper's table 3, and the original's other options, all run."""
  model = tiny(**option)
  maps, logits, _, _ = one_step(model, rng)
  assert [name for name, value in maps._asdict().items() if value is None] == absent
  assert model.head.object_channels == 3 - len(absent)
  assert logits.shape == (3, 9, 13)
  assert maps.window_distances == ()
  for value in maps[:3]:
    if value is not None:
      assert value.shape == (3, 9, 13)
      assert np.min(value) >= 0 and np.max(value) <= 1


def test_global_matching_to_the_previous_frame_is_global_matching(rng):
  model = tiny(previous_frame_matching='global')
  maps, _, _, _ = one_step(model, rng)  # Here the reference frame is the previous one.
  np.testing.assert_allclose(maps.local_distance, maps.global_distance, atol=1e-6)


def test_head_sees_the_maps_in_the_originals_order(rng):
  """Global distance, previous prediction, local distance."""
  model = tiny()
  maps, _logits, _, _ = one_step(model, rng)
  features = tf.zeros([9, 13, 256])
  expected = model.head(
    features[tf.newaxis],
    tf.stack([maps.global_distance, maps.previous_prediction, maps.local_distance], -1),
  )
  np.testing.assert_array_equal(model.segment(features, maps), expected)


@pytest.mark.parametrize('option, soft', [('labels', False), ('probabilities', True)])
def test_previous_prediction_is_what_the_option_says(rng, option, soft):
  model = tiny(previous_prediction=option)
  labels = tf.constant([[0, 1], [2, 1]])
  probabilities = tf.fill([3, 2, 2], 1 / 3)
  previous = model.previous_frame(tf.zeros([2, 2, 8]), labels, 3, probabilities)
  expected = probabilities if soft else feelvos.one_hot(labels, 3)
  np.testing.assert_array_equal(previous.probabilities, expected)
  # The reference frame has no probabilities; its labels are certain.
  first = model.previous_frame(tf.zeros([2, 2, 8]), labels, 3)
  np.testing.assert_array_equal(first.probabilities, feelvos.one_hot(labels, 3))


def test_one_hot_gives_nothing_to_void():
  expected = [[[1, 0], [0, 0]], [[0, 1], [0, 0]]]
  np.testing.assert_array_equal(feelvos.one_hot(tf.constant([[0, 1], [255, 2]]), 2), expected)


def test_initial_maps_are_the_originals(golden):
  """Labels shrunk by nearest neighbour and one-hot: the original's initial softmax."""
  tensors = golden.npz('tf1/matching')
  labels = tf.constant(tensors['s|labels'][1, ..., 0])  # Frame 0 only says which ids there are.
  small = geometry.shrink_labels(labels)
  expected = tensors['s|stride4|reduce_False'][0]
  np.testing.assert_array_equal(
    tf.transpose(feelvos.one_hot(small, expected.shape[-1]), [1, 2, 0]), expected
  )


def test_enlarged_logits_keep_corners_and_linear_ramps():
  ramp = tf.constant([[[0.0, 1.0, 2.0]]])
  np.testing.assert_allclose(geometry.enlarge_logits(ramp, [1, 9])[0, 0], np.arange(9) / 4)


def test_saved_model_file_round_trip(tmp_path, rng, capfd):
  model = tiny(k_nearest_neighbors=3)
  weights.save_model(tmp_path / 'm.h5', model, {'data': 'none'})
  copy = weights.load_model(tmp_path / 'm.h5')
  assert copy.options == model.options
  assert weights_file.read_metadata(tmp_path / 'm.h5')['notes'] == {'data': 'none'}
  for mine, theirs in zip(
    tf1_checkpoint.variables_by_name(model).values(),
    tf1_checkpoint.variables_by_name(copy).values(),
  ):
    np.testing.assert_array_equal(mine, theirs)
  changed = weights.load_model(tmp_path / 'm.h5', previous_prediction='probabilities')
  assert changed.options.previous_prediction == 'probabilities'


@pytest.mark.parametrize('notes', [{'j': np.float32(1)}, {'a': 1, 2: 3}, {'a': {1}}])
def test_notes_that_json_does_not_take(tmp_path, notes):
  path = tmp_path / 'm.h5'
  with pytest.raises(ValueError, match=f'{path}: options and notes that JSON does not take'):
    weights.save_model(path, tiny(), notes)
  assert not path.exists()


def test_save_model_takes_no_address(tmp_path, monkeypatch):
  """The file went to a folder called `gs:`."""
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match=r'path=gs://bucket/m\.h5: an address \(gs:\) given'):
    weights.save_model('gs://bucket/m.h5', tiny())
  assert not list(tmp_path.iterdir())


def test_load_model_refuses(tmp_path):
  path = tmp_path / 'm.h5'
  weights.save_model(path, tiny())
  inputs = 'global_distance, previous_prediction, local_distance'
  message = f'{path}: its head sees {inputs} of every object; asked for are '
  with pytest.raises(ValueError, match=f'{message}global_distance, local_distance'):
    weights.load_model(path, previous_prediction='none')
  # As many channels, for other inputs.
  with pytest.raises(ValueError, match=f'{message}global_distance, local_distance, local_dist'):
    weights.load_model(path, previous_prediction='none', local_window_radii=(1,))
  with pytest.raises(ValueError, match=r'^unknown option\(s\) max_internal_size given, expected'):
    weights.load_model(path, max_internal_size=480)
  with pytest.raises(ValueError, match=f"{path}: window_radius is '3'; expected a whole number"):
    weights.load_model(path, window_radius='3')
  arrays, options = weights_file.read_arrays(path), tiny().options.to_dict()
  weights_file.save_arrays(path, arrays, {'options': {**options, 'colour': 1}})
  with pytest.raises(ValueError, match=f'{path}: unknown option.*colour.*newer version'):
    weights.load_model(path)
  weights_file.save_arrays(path, arrays, {'options': options['model']})
  with pytest.raises(ValueError, match=f'{path}: weights without the options of a video model'):
    weights.load_model(path)
  weights_file.save_arrays(path, arrays, {})
  with pytest.raises(ValueError, match=f'{path}: weights without the options of a video model'):
    weights.load_model(path)


def test_options_json_round_trip_and_defaults():
  options = FeelvosOptions(TINY, head_layers=2, head_atrous_rates=(1, 2))
  assert FeelvosOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options
  published = FeelvosOptions()
  assert (
    published.embedding_dimension,
    published.head_layers,
    published.head_kernel_size,
    published.head_dimension,
    published.window_radius,
  ) == (100, 4, 7, 256, 15)
  assert published.model.model_variant == 'xception_65'


@pytest.mark.parametrize(
  'wrong, message',
  [
    ({'head_atrous_rates': (1, 2)}, 'head_atrous_rates has 2 rates; expected one for each of'),
    ({'previous_frame_matching': 'both'}, "previous_frame_matching is 'both'; expected one of"),
    ({'previous_prediction': True}, 'previous_prediction is True; expected one of labels'),
    ({'window_radius': 0}, 'window_radius is 0; expected at least 1'),
    ({'k_nearest_neighbors': 0}, 'k_nearest_neighbors is 0'),
    ({'model': ModelOptions(decoder_output_stride=None)}, 'FEELVOS needs the decoder'),
    (
      {
        'use_first_frame_matching': False,
        'previous_frame_matching': 'none',
        'previous_prediction': 'none',
      },
      'nothing tells one object from another',
    ),
  ],
)
def test_impossible_options_are_refused(wrong, message):
  with pytest.raises(ValueError, match=message):
    FeelvosOptions(**wrong)


def test_config_round_trip():
  model = tiny(window_radius=4)
  copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
  assert copy.options == model.options
  assert [v.shape for v in copy.weights] == [v.shape for v in model.weights]


def test_semantic_logits_beside_the_heads(tmp_path):
  """The original calls both 'logits/semantic'; a network with both keeps them apart."""
  model = Feelvos(
    FeelvosOptions(ModelOptions('mobilenet_v2', depth_multiplier=0.25, num_classes=5))
  )
  weights.save_model(tmp_path / 'both.h5', model)
  again = weights.load_model(tmp_path / 'both.h5')
  variables = tf1_checkpoint.variables_by_name(again)
  assert tuple(variables['semantic_logits/semantic/weights'].shape) == (1, 1, 256, 5)
  assert tuple(variables['logits/semantic/weights'].shape) == (1, 1, 256, 1)
  image = tf.zeros([1, 33, 49, 3])
  np.testing.assert_array_equal(model.deeplab(image)['logits'], again.deeplab(image)['logits'])

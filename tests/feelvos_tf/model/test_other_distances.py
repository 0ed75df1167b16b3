"""The option `other_object_distances`: its maps, and that all ways to run a model have them."""

import head_models
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.inference import ablation
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model import feelvos
from feelvos_tf.model import geometry
from feelvos_tf.model import weights
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.saved_model import signatures
from feelvos_tf.training import initial_weights

SIZE = (33, 49)
FIRST_LAYER = head_models.FIRST_LAYER


def make(other_object_distances=True, **options):
  """A small model with the option."""
  return head_models.make_model(
    window_radius=2, other_object_distances=other_object_distances, **options
  )


@pytest.fixture(scope='module')
def model():
  return make()


@pytest.fixture(scope='module')
def graph(model):
  return graph_lib.InferenceGraph(model)


@pytest.fixture
def clip(rng):
  """(uint8 frames [4, 33, 49, 3], uint8 mask with the ids 5, 7 and 200)."""
  frames = rng.integers(0, 256, (4, *SIZE, 3), dtype=np.uint8)
  mask = np.zeros(SIZE, np.uint8)
  mask[4:16, 4:24], mask[20:, 20:36], mask[2:30, 40:] = 5, 7, 200
  return frames, mask


@pytest.mark.parametrize('objects', [1, 2, 5])
def test_distance_to_others_is_the_least_of_the_others(rng, objects):
  # Few values, so that many are equal.
  distances = rng.integers(0, 4, (objects, 6, 7)).astype(np.float32) / 4
  found = matching.distance_to_others(tf.constant(distances))
  np.testing.assert_array_equal(found, head_models.expected_others(distances))


def test_distance_to_others_by_hand():
  distances = tf.constant([[[0.25]], [[0.5]], [[0.75]]])
  np.testing.assert_array_equal(matching.distance_to_others(distances)[:, 0, 0], [0.5, 0.25, 0.25])
  np.testing.assert_array_equal(matching.distance_to_others(distances[:1]), [[[1.0]]])


def test_gradients_reach_the_nearest_other_only():
  distances = tf.Variable([[0.25, 0.5], [0.5, 0.125], [0.75, 0.75]])
  with tf.GradientTape() as tape:
    first = matching.distance_to_others(distances)[0]
  np.testing.assert_array_equal(tape.gradient(first, distances), [[0, 0], [1, 1], [0, 0]])


def test_the_head_gets_features_then_own_maps_then_those_of_the_others(model, rng):
  maps = feelvos.Maps(*[tf.constant(rng.random((3, 9, 13)), tf.float32) for _ in range(3)])
  features = tf.constant(rng.random((9, 13, 256)), tf.float32)
  stacked = [
    *maps[:3],
    head_models.expected_others(maps[0].numpy()),
    head_models.expected_others(maps[2].numpy()),
  ]
  expected = model.head(features[tf.newaxis], tf.stack(stacked, axis=-1))
  assert model.head.object_channels == 5
  np.testing.assert_array_equal(model.segment(features, maps), expected)


@pytest.mark.parametrize(
  'options, channels',
  [
    ({}, 5),
    ({'previous_prediction': 'none'}, 4),
    ({'use_first_frame_matching': False}, 3),
    ({'previous_frame_matching': 'none'}, 3),
    ({'other_object_distances': False}, 3),
  ],
)
def test_channels_of_one_object(options, channels):
  options = FeelvosOptions(**{'other_object_distances': True, **options})
  assert options.object_channels == channels
  assert FeelvosOptions.from_dict(options.to_dict()) == options


def test_without_matching_there_are_no_others():
  with pytest.raises(ValueError, match='other_object_distances is true, and first-frame'):
    FeelvosOptions(
      use_first_frame_matching=False, previous_frame_matching='none', other_object_distances=True
    )


def test_a_neutral_input_is_neutral_for_the_others_too(rng):
  model = make(neutral_inputs=('global_distance',))
  embedding = tf.constant(rng.random((2, 9, 13, 16)), tf.float32)
  labels = tf.constant(rng.integers(0, 3, (9, 13)), tf.int32)
  maps = model.match(
    embedding[1],
    model.prepare_reference(embedding[0], labels, 3),
    model.previous_frame(embedding[0], labels, 3),
    3,
  )
  maps = ablation.neutralise(maps, model.options)
  np.testing.assert_array_equal(matching.distance_to_others(maps.global_distance), 1.0)


def logits_of(graph, frames, labels, objects):
  sizes = graph.frame_geometry(SIZE)
  state = graph.begin(frames[0], labels, objects, sizes)
  return np.stack([graph.advance(f, state, objects, sizes).logits for f in frames[1:]])


def test_the_order_of_objects_does_not_matter(graph, clip):
  frames, mask = clip
  labels = np.searchsorted([0, 5, 7, 200], mask).astype(np.int32)
  order = np.array([0, 3, 1, 2])
  first = logits_of(graph, frames, labels, 4)
  second = logits_of(graph, frames, order[labels], 4)
  assert np.ptp(first, axis=1).max() > 1e-3
  # Kernels split sums by the threads that are free: logits of up to 10 move by 2e-5.
  np.testing.assert_allclose(second[:, order], first, rtol=1e-5, atol=1e-4)


def eager_logits(model, frames, labels):
  """Logits of the second frame, of four objects, computed without a graph."""
  features, embedding = model.extract(frames[:2])
  small = geometry.shrink_object_labels(labels, 4)
  maps = model.match(
    embedding[1],
    model.prepare_reference(embedding[0], small, 4),
    model.previous_frame(embedding[0], small, 4),
    4,
  )
  return model.segment(features[1], maps)


def test_frozen_graph_equals_the_eager_model(model, graph, clip):
  frames, mask = clip
  labels = np.searchsorted([0, 5, 7, 200], mask).astype(np.int32)
  found = logits_of(graph, frames[:2], labels, 4)[0]
  np.testing.assert_allclose(found, eager_logits(model, frames, labels), rtol=1e-4, atol=1e-4)


def test_signatures_equal_the_segmenter(model, graph, clip):
  frames, mask = clip
  exported = signatures.Signatures(model)
  labels = np.searchsorted([0, 5, 7, 200], mask).astype(np.int32)
  state = exported.initialize(tf.constant(frames[0]), tf.constant(labels), tf.constant(4))
  segmenter = VideoSegmenter(graph)
  segmenter.start(frames[0], mask)
  for frame in frames[1:]:
    result = exported.step(tf.constant(frame), tf.constant(4), **state)
    state = {name: result.get(name, value) for name, value in state.items()}
    expected = segmenter.step(frame)
    probabilities = tf.nn.softmax(expected.stride4_logits, axis=0)
    np.testing.assert_allclose(result['probabilities'], probabilities, atol=1e-4)
    np.testing.assert_array_equal(np.array([0, 5, 7, 200])[result['labels']], expected.mask)


def test_mirrored_frames_have_them(graph, clip):
  frames, mask = clip
  segmenter = VideoSegmenter(graph, image_pyramid=(1.0, 1.5), flip=True)
  segmenter.start(frames[0], mask)
  assert segmenter.step(frames[1]).stride4_logits.shape[0] == 4


def test_all_weights_are_trained(model):
  kernel = head_models.gradients_of(model)[FIRST_LAYER]
  assert np.abs(np.asarray(kernel)[:, :, 256:, 0]).max(axis=(0, 1)).min() > 0


def test_files_and_checkpoints_keep_them(model, tmp_path):
  weights.save_model(tmp_path / 'm.h5', model)
  copy = weights.load_model(tmp_path / 'm.h5')
  assert copy.options == model.options
  assert tf1_checkpoint.variables_by_name(copy)[FIRST_LAYER].shape == (7, 7, 261, 1)
  tf1_checkpoint.save(tmp_path / 'model.ckpt-1', model)
  assert tf1_checkpoint.restore(tmp_path / 'model.ckpt-1', copy).complete
  with pytest.raises(
    ValueError, match='its head sees .*other_local_distance of every object; asked'
  ):
    weights.load_model(tmp_path / 'm.h5', other_object_distances=False)


def test_initial_weights_without_them_give_the_same_logits(clip, tmp_path):
  published = make(other_object_distances=False)
  weights.save_model(tmp_path / 'm.h5', published)
  model = make()
  text = initial_weights.initialize(model, tmp_path / 'm.h5', initialize_last_layer=True)
  assert 'from scratch' not in text
  frames, mask = clip
  labels = np.searchsorted([0, 5, 7, 200], mask).astype(np.int32)
  before, after = (eager_logits(m, frames, labels) for m in (published, model))
  np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)


def test_initial_weights_of_another_head_are_refused(model, tmp_path):
  weights.save_model(tmp_path / 'm.h5', make(False, previous_prediction='none'))
  with pytest.raises(ValueError, match='sees global_distance, local_distance of every'):
    initial_weights.initialize(model, tmp_path / 'm.h5')


def test_converted_checkpoints_are_recognised(golden):
  from feelvos_tf.tools import convert_checkpoint

  shapes = {entry['name']: entry['shape'] for entry in golden.json('tf1/vars/mobilenet_v2_infer')}
  guess = convert_checkpoint.guess_head_options
  assert not guess(shapes)['other_object_distances']
  wider = {
    name: [1, 1, 261, 256] if name.endswith('conv2d_0_pointwise/weights') else shape
    for name, shape in shapes.items()
  }
  assert guess(wider)['other_object_distances']
  assert not guess(wider, (4, 8))['other_object_distances']
  assert not guess({})['other_object_distances']

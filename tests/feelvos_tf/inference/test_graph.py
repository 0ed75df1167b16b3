"""Inference graphs: the original's loop tensor by tensor, frozen or not, state of fixed size."""

import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf

from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.model import feelvos
from feelvos_tf.model import geometry
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.model.precision import with_precision

VIDEOS = [
  'video_xception_65_os16',
  'video_xception_65_os16_62x86',
  'video_xception_65_os16_62x86_corr',
]


@pytest.mark.parametrize('name', VIDEOS)
def test_every_tensor_of_the_originals_loop(golden, golden_graph, name):
  tensors = golden.npz(f'tf1/{name}')
  images, size = tensors['images'], tensors['images'].shape[1:3]
  features, embedding = golden_graph.extract(images[0])
  scale = np.max(tensors['embeddings'])
  np.testing.assert_allclose(embedding, tensors['embeddings'][0], atol=1e-4 * scale)
  state = golden_graph.initialize(embedding, tensors['gt_labels'][0, ..., 0], 3)
  for i, image in enumerate(images[1:]):
    features, embedding = golden_graph.extract(image)
    np.testing.assert_allclose(embedding, tensors['embeddings'][i + 1], atol=1e-4 * scale)
    if i == 0:
      expected = tensors['frame1_decoder'][0]
      np.testing.assert_allclose(features, expected, atol=1e-4 * np.max(np.abs(expected)))
    np.testing.assert_array_equal(state.previous.labels, tensors['prev_labels_small'][i])
    np.testing.assert_array_equal(state.previous.probabilities, tensors['head_in_last3'][i, ..., 1])
    labels, logits, maps, state, _ = golden_graph.step(features, embedding, state, 3, size)
    np.testing.assert_allclose(maps.global_distance, tensors['head_in_last3'][i, ..., 0], atol=1e-3)
    np.testing.assert_allclose(maps.local_distance, tensors['head_in_last3'][i, ..., 2], atol=1e-3)
    expected = tensors['logits'][i]
    np.testing.assert_allclose(logits, expected, atol=1e-3 * np.max(np.abs(expected)))
    assert np.mean(labels == tensors['labels'][i + 1]) >= 0.999


@pytest.fixture(scope='module')
def tiny_model():
  return small_models.tiny_model(
    4, head_kernel_size=7, window_radius=2, previous_prediction='probabilities'
  )


@pytest.fixture(scope='module')
def frozen(tiny_model):
  return graph_lib.InferenceGraph(tiny_model)


def run(graph, images, labels, objects):
  """Everything that comes out of a video, flattened."""
  outputs = []
  _, embedding = graph.extract(images[0])
  state = graph.initialize(embedding, labels, objects)
  for image in images[1:]:
    features, embedding = graph.extract(image)
    step = graph.step(features, embedding, state, objects, images[0].shape[:2])
    state = step.state
    outputs += [features, embedding, *tf.nest.flatten(step)]
  return outputs


def test_frozen_equals_unfrozen(tiny_model, frozen, rng):
  images = rng.integers(0, 256, (3, 33, 49, 3), dtype=np.uint8)
  labels = rng.integers(0, 3, (33, 49)).astype(np.int32)
  loose = graph_lib.InferenceGraph(tiny_model, freeze=False)
  for first, second in zip(run(frozen, images, labels, 3), run(loose, images, labels, 3)):
    assert first.shape == second.shape
    if first.dtype.is_floating:
      np.testing.assert_allclose(first, second, atol=1e-4 * max(1, np.max(np.abs(second))))
    else:
      np.testing.assert_array_equal(first, second)


def test_one_graph_takes_any_size_and_number_of_objects(frozen, rng):
  for size, objects in (((33, 49), 2), ((20, 31), 6), ((1, 1), 1), ((2, 3), 2)):
    images = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
    labels = rng.integers(0, objects, size).astype(np.int32)
    _, _, result, logits, *_ = run(frozen, images, labels, objects)
    assert result.shape == size
    assert logits.shape == (objects, (size[0] - 1) // 4 + 1, (size[1] - 1) // 4 + 1)
    assert np.all(np.isfinite(logits))


def test_state_neither_grows_nor_changes_shape(frozen, rng):
  images = rng.integers(0, 256, (6, 17, 25, 3), dtype=np.uint8)
  _, embedding = frozen.extract(images[0])
  state = frozen.initialize(embedding, np.ones([17, 25], np.int32), 2)
  shapes = [(t.shape, t.dtype) for t in tf.nest.flatten(state)]
  for image in images[1:]:
    features, embedding = frozen.extract(image)
    state = frozen.step(features, embedding, state, 2, (17, 25)).state
    assert [(t.shape, t.dtype) for t in tf.nest.flatten(state)] == shapes


def test_probabilities_are_fed_back_when_asked_for(frozen, rng):
  images = rng.integers(0, 256, (2, 17, 25, 3), dtype=np.uint8)
  labels = np.zeros([17, 25], np.int32)
  labels[4:12, 6:16] = 1
  _, embedding = frozen.extract(images[0])
  state = frozen.initialize(embedding, labels, 2)
  features, embedding = frozen.extract(images[1])
  _, logits, _, state, _ = frozen.step(features, embedding, state, 2, (17, 25))
  np.testing.assert_allclose(state.previous.probabilities, tf.nn.softmax(logits, axis=0), atol=1e-6)


@pytest.mark.parametrize('cap', [0, -3, 2.5, True, 'many'])
def test_a_cap_that_is_no_number_of_pixels_is_refused(cap):
  with pytest.raises(
    ValueError, match='pixels_per_object is .*expected a (number of|whole number)'
  ):
    FeelvosOptions(max_reference_pixels_per_object=cap)


def test_a_bfloat16_model_matches_in_bfloat16_at_inference_only(tiny_model, rng):
  half = with_precision('bfloat16', lambda: feelvos.Feelvos(tiny_model.options))
  embedding, previous = ((0.3 * rng.random([12, 9, 8])).astype(np.float32) for _ in range(2))
  labels = rng.integers(0, 3, [12, 9]).astype(np.int32)
  maps = []
  training, inference = feelvos.Mode.TRAINING, feelvos.Mode.INFERENCE
  for model, mode in ((tiny_model, training), (half, training), (half, inference)):
    bank = model.prepare_reference(embedding, labels, 3, mode=mode)
    assert bank.rows.dtype == (tf.bfloat16 if mode is inference else tf.float32)
    before = model.previous_frame(embedding, labels, 3)
    maps.append(model.match(previous, bank, before, 3, mode=mode))
  for name in ('global_distance', 'local_distance'):
    exact, trained, rounded = (np.asarray(getattr(found, name)) for found in maps)
    np.testing.assert_allclose(trained, exact, atol=1e-5)
    # Embeddings are rounded to 8 bits: that shows, and it is small.
    assert 1e-5 < np.abs(rounded - exact).max() < 0.02


def test_unused_distances_are_none(rng):
  keras.utils.set_random_seed(4)
  graph = graph_lib.InferenceGraph(
    feelvos.Feelvos(
      FeelvosOptions(
        ModelOptions('mobilenet_v2', depth_multiplier=0.35),
        embedding_dimension=4,
        head_dimension=4,
        head_layers=1,
        use_first_frame_matching=False,
        previous_frame_matching='none',
      )
    )
  )
  images = rng.integers(0, 256, (2, 9, 9, 3), dtype=np.uint8)
  sizes = graph.frame_geometry((9, 9))
  state = graph.begin(images[0], np.ones([9, 9], np.int32), 2, sizes)
  maps = graph.advance(images[1], state, 2, sizes).maps
  assert maps.global_distance is None and maps.local_distance is None
  assert maps.previous_prediction.shape == (2, 3, 3)


def vanishing(*pixels, size=(33, 49)):
  labels = np.zeros(size, np.int32)
  for index, (y, x) in enumerate(pixels, start=1):
    labels[y, x] = index
  return labels


def test_objects_that_sampling_misses_get_one_position():
  labels = vanishing((5, 6), (17, 30), (31, 47))
  assert not np.any(geometry.shrink_labels(labels))  # What nearest neighbour leaves of them.
  small = geometry.shrink_object_labels(tf.constant(labels), 4).numpy()
  assert [tuple(np.argwhere(small == i)[0]) for i in (1, 2, 3)] == [(1, 2), (4, 8), (8, 12)]
  assert np.count_nonzero(small) == 3


def test_objects_that_sampling_meets_are_left_alone(rng):
  labels = tf.constant(rng.integers(0, 3, (33, 49)), tf.int32)
  np.testing.assert_array_equal(
    geometry.shrink_object_labels(labels, 3), geometry.shrink_labels(labels)
  )


def test_an_object_that_is_not_in_the_mask_stays_absent():
  labels = np.zeros([9, 9], np.int32)
  labels[:, 4:] = 1
  small = geometry.shrink_object_labels(tf.constant(labels), 3).numpy()
  assert set(np.unique(small)) == {0, 1}


@pytest.mark.parametrize(
  'option, message',
  [
    ({'reference_choice': 'random'}, "reference_choice is 'random'; expected one of even, border"),
    ({'largest_side': 0}, 'largest_side is 0; expected a number of pixels of at least 1'),
    ({'largest_side': True}, 'largest_side is True'),
  ],
)
def test_wrong_choices_are_refused(option, message):
  with pytest.raises(ValueError, match=message):
    FeelvosOptions(**option)


@pytest.mark.parametrize('imbalance', [0, -1, 0.5, float('nan')])
def test_an_imbalance_below_one_is_refused(imbalance):
  with pytest.raises(ValueError, match='max_reference_imbalance is .*at least 1'):
    FeelvosOptions(max_reference_imbalance=imbalance)


def test_small_neighbours_do_not_take_each_others_position():
  """Two pixels whose centres lie at one position of stride 4; a third whose place is taken."""
  labels = np.zeros((41, 61), np.int32)
  labels[9, 9], labels[9, 10] = 1, 2
  labels[20, 20] = 3  # On a position of stride 4: the only one of object 3.
  labels[21, 21] = 4
  small = geometry.shrink_object_labels(tf.constant(labels), 5).numpy()
  assert np.bincount(small.ravel(), minlength=5)[1:].tolist() == [1, 1, 1, 1]
  assert small[5, 5] == 3
  for object_id, (row, column) in ((1, (9, 9)), (2, (9, 10)), (4, (21, 21))):
    found = np.argwhere(small == object_id)[0]
    assert np.abs(4 * found - (row, column)).max() <= 6

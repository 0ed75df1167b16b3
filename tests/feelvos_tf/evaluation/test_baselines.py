"""Baselines and ablations: what they compute, and that weights load."""

import numpy as np
import pytest
import small_models
import tensorflow as tf

from feelvos_tf.evaluation import baselines
from feelvos_tf.inference import ablation
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model import weights
from feelvos_tf.model.options import FeelvosOptions

SIZE = (33, 49)


@pytest.fixture
def clip(rng):
  images = rng.integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
  mask = np.zeros(SIZE, np.uint8)
  mask[4:20, 4:30], mask[24:, 20:] = 5, 200
  return images, mask


def test_copying(clip):
  images, mask = clip
  method = baselines.CopyFirstMask()
  for result in [method.start(images[0], mask)] + [method.step(image) for image in images[1:]]:
    np.testing.assert_array_equal(result.mask, mask)
    assert result.object_ids == (0, 5, 200)
    result.mask[:] = 9  # The caller's to change.
  with pytest.raises(ValueError, match='the frame is 48x33, the first mask 49x33'):
    method.step(images[1][:, :48])


def test_copying_keeps_the_callers_mask(clip):
  method = baselines.CopyFirstMask()
  method.start(clip[0][0], clip[1]).mask[:] = 1
  assert set(np.unique(clip[1])) == {0, 5, 200}


class ColourGraph:
  """A network whose embedding is the colour at stride 4: distances that can be told apart."""

  def __init__(self, graph):
    self.options = graph.options
    self._graph = graph

  def extract(self, frame, geometry=None):
    embedding = tf.cast(frame[::4, ::4], tf.float32) / 100
    return None, tf.pad(embedding, [[0, 0], [0, 0], [0, self.options.embedding_dimension - 3]])

  def frame_geometry(self, size, max_internal_size=None):
    return self._graph.frame_geometry(size, max_internal_size)

  def begin(self, frame, labels, num_objects, geometry, references=None):
    assert references is None
    return self._graph.initialize(self.extract(frame)[1], labels, num_objects)


@pytest.fixture
def colour_graph(copying_graph):
  return ColourGraph(copying_graph)


def test_global_matching_is_the_nearest_reference_pixel(colour_graph, clip):
  images, mask = clip
  segmenter = VideoSegmenter(baselines.GlobalMatching(colour_graph))
  segmenter.start(images[0], mask)
  reference, current = [
    colour_graph.extract(image)[1].numpy().astype(np.float64) for image in images[:2]
  ]
  shape = reference.shape[:2]
  labels = mask[::4, ::4].reshape(-1)
  squared = np.square(current.reshape(-1, 1, 8) - reference.reshape(1, -1, 8)).sum(-1)
  nearest = np.stack([squared[:, labels == i].min(1) for i in (0, 5, 200)])
  result = segmenter.step(images[1])
  distance = 2 / (1 + np.exp(-nearest)) - 1
  np.testing.assert_allclose(result.global_distance.reshape(3, -1), distance, atol=1e-5)
  assert result.local_distance is None
  sure = np.diff(np.sort(distance, axis=0)[:2], axis=0)[0].reshape(shape) > 1e-4
  expected = np.array([0, 5, 200])[distance.argmin(0)].reshape(shape)
  np.testing.assert_array_equal(result.mask[::4, ::4][sure], expected[sure])
  assert sure.mean() > 0.5 and len(np.unique(expected)) == 3


def test_global_matching_finds_the_reference_again_whatever_came_between(colour_graph, clip):
  images, mask = clip
  segmenter = VideoSegmenter(baselines.GlobalMatching(colour_graph))
  segmenter.start(images[0], mask)
  segmenter.step(images[1])
  np.testing.assert_array_equal(segmenter.step(images[0]).mask[::4, ::4], mask[::4, ::4])


def test_global_matching_with_a_network(copying_graph, clip):
  images, mask = clip
  segmenter = VideoSegmenter(baselines.GlobalMatching(copying_graph), max_internal_size=40)
  segmenter.start(images[0], mask)
  result = segmenter.step(images[0])
  assert result.mask.shape == SIZE and set(np.unique(result.mask)) <= {0, 5, 200}
  assert result.probabilities.shape == (3, *SIZE)


@pytest.fixture
def seen(copying_model, rng):
  """Function: (neutral inputs) -> `Maps` of two random frames."""
  embeddings = tf.constant(rng.random([2, 9, 13, 8]), tf.float32)
  labels = tf.constant(rng.integers(0, 3, [9, 13]), tf.int32)

  def maps(**options):
    model = small_models.with_options(copying_model, **options)
    reference = model.prepare_reference(embeddings[0], labels, 3)
    previous = model.previous_frame(embeddings[1], labels[::-1], 3)
    return ablation.neutralise(model.match(embeddings[1], reference, previous, 3), model.options)

  return maps


@pytest.mark.parametrize(
  'name, value', [('global_distance', 1.0), ('previous_prediction', 0.0), ('local_distance', 1.0)]
)
def test_a_neutral_input_is_that_of_an_object_that_is_nowhere(seen, name, value):
  plain, neutral = seen()._asdict(), seen(neutral_inputs=[name])._asdict()
  for field in plain:
    expected = np.full([3, 9, 13], value) if field == name else plain[field]
    np.testing.assert_array_equal(neutral[field], expected)
  assert np.ptp(plain[name]) > 0


def test_an_absent_object_looks_like_a_neutral_input(copying_model, rng):
  embedding = tf.constant(rng.random([9, 13, 8]), tf.float32)
  labels = tf.zeros([9, 13], tf.int32)
  maps = copying_model.match(
    embedding,
    copying_model.prepare_reference(embedding, labels, 2),
    copying_model.previous_frame(embedding, labels, 2),
    2,
  )
  assert [float(np.unique(m[1]).item()) for m in maps[:3]] == [
    ablation.NO_DISTANCE,
    ablation.NO_PREDICTION,
    ablation.NO_DISTANCE,
  ]


def test_the_previous_prediction_can_be_taken_away(copying_model, clip):
  """Of a model that does nothing but copy it: all logits are then the same."""
  model = small_models.with_options(copying_model, neutral_inputs=('previous_prediction',))
  segmenter = VideoSegmenter(graph_lib.InferenceGraph(model))
  segmenter.start(*[part[0] if part is clip[0] else part for part in clip])
  result = segmenter.step(clip[0][1])
  assert np.ptp(result.stride4_logits, axis=0).max() == 0 and not result.mask.any()


def test_ablated_weights_load(copying_weights):
  model = weights.load_model(copying_weights, neutral_inputs=['global_distance'])
  assert model.options.neutral_inputs == ('global_distance',)
  assert FeelvosOptions.from_dict(model.options.to_dict()) == model.options


@pytest.mark.parametrize(
  'options, message',
  [
    (dict(neutral_inputs=('features',)), "neutral_inputs has 'features'; expected names of inputs"),
    (
      dict(neutral_inputs=('local_distance',), previous_frame_matching='none'),
      "has 'local_distance'; expected .* global_distance, previous_prediction",
    ),
    (
      dict(neutral_inputs=('global_distance', 'local_distance', 'previous_prediction')),
      'neutral_inputs has every input',
    ),
  ],
)
def test_neutral_inputs_that_cannot_be(options, message):
  with pytest.raises(ValueError, match=message):
    FeelvosOptions(**options)

"""Small models with an option of the head, a clip for them, and all ways to run them compared."""

import functools

import numpy as np
import small_models
import tensorflow as tf
import weight_recipe

from feelvos_tf.deeplab import DeepLabV3Plus
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model import feelvos
from feelvos_tf.model import geometry
from feelvos_tf.model import weights
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.saved_model import signatures
from feelvos_tf.saved_model import state_bytes
from feelvos_tf.training import initial_weights
from feelvos_tf.training import step

SIZE, IDS = (33, 49), np.array([0, 5, 7, 200])
FIRST_LAYER = 'embedding_seg/split_separable_conv2d_0_depthwise/depthwise_weights'


BACKBONE = ModelOptions('mobilenet_v2', depth_multiplier=0.1)


def make_model(**options):
  """A small model with weights that keep embeddings and distances in sensible ranges.

  All have one backbone: its weights are the same, and building it takes most of the time.
  """
  defaults = dict(embedding_dimension=16, head_dimension=16, head_layers=2, window_radius=5)
  with small_models.backbone_of(_backbone()):
    model = feelvos.Feelvos(FeelvosOptions(BACKBONE, **{**defaults, **options}))
  _assign_recipe(model.embedding_layer)
  _assign_recipe(model.head)
  return model


@functools.cache
def _backbone():
  backbone = DeepLabV3Plus(BACKBONE, logits_scope='semantic_logits')
  _assign_recipe(backbone)
  return backbone


def _assign_recipe(part):
  for name, variable in tf1_checkpoint.variables_by_name(part).items():
    value = weight_recipe.value(name, variable.shape)
    # No map may hide behind the first layer's ReLU.
    variable.assign(np.abs(value) if name == FIRST_LAYER else value)


def make_clip():
  """(uint8 frames [4, 33, 49, 3], uint8 mask with the ids 5, 7 and 200)."""
  frames = np.random.default_rng(3).integers(0, 256, (4, *SIZE, 3), dtype=np.uint8)
  mask = np.zeros(SIZE, np.uint8)
  mask[4:16, 4:24], mask[20:, 20:36], mask[2:30, 40:] = 5, 7, 200
  return frames, mask


def eager_logits(model, training=False):
  """Logits of the clip's second frame, of four objects, computed without a graph."""
  frames, mask = make_clip()
  features, embedding = model.extract(frames[:2])
  small = geometry.shrink_object_labels(np.searchsorted(IDS, mask).astype(np.int32), 4)
  reference = model.prepare_reference(embedding[0], small, 4)
  previous = model.previous_frame(embedding[0], small, 4)
  maps = model.match(embedding[1], reference, previous, 4)
  guidance = model.guidance(reference, previous, 4)
  return model.segment(features[1], maps, training, guidance)


def expected_others(distances):
  """Distance to the nearest other object of each; one object at a time, in numpy."""
  result = np.ones_like(distances)
  for i in range(len(distances)):
    others = np.delete(distances, i, axis=0)
    if len(others):
      result[i] = others.min(axis=0)
  return result


def logits_of(graph, order=None):
  """Logits [3, 4, h4, w4] of the clip; `order` gives every object another index."""
  frames, mask = make_clip()
  labels = np.searchsorted(IDS, mask).astype(np.int32)
  labels = labels if order is None else np.asarray(order, np.int32)[labels]
  sizes = graph.frame_geometry(SIZE)
  state, found = graph.begin(frames[0], labels, 4, sizes), []
  for frame in frames[1:]:
    result = graph.advance(frame, state, 4, sizes)
    state = result.state
    found.append(result.logits)
  return np.stack(found)


def check_all_ways_agree(model):
  """Frozen graph, eager model and exported signatures; the order of objects does not matter."""
  graph = graph_lib.InferenceGraph(model)
  logits = logits_of(graph)
  assert np.ptp(logits, axis=1).max() > 1e-3
  np.testing.assert_allclose(logits[0], eager_logits(model), rtol=1e-4, atol=1e-4)
  order = [0, 3, 1, 2]
  np.testing.assert_allclose(logits_of(graph, order)[:, order], logits, rtol=1e-4, atol=1e-4)
  _check_signatures(model, graph)


def _check_signatures(model, graph):
  frames, mask = make_clip()
  exported = signatures.Signatures(model)
  labels = np.searchsorted(IDS, mask).astype(np.int32)
  state = exported.initialize(tf.constant(frames[0]), tf.constant(labels), tf.constant(4))
  segmenter = VideoSegmenter(graph)
  segmenter.start(frames[0], mask)
  for frame in frames[1:]:
    result = exported.step(tf.constant(frame), tf.constant(4), **state)
    state = {name: result.get(name, value) for name, value in state.items()}
    np.testing.assert_array_equal(IDS[result['labels']], segmenter.step(frame).mask)


def gradients_of(model):
  """{name: gradient} of a training step on made-up data with three objects."""
  random = np.random.default_rng(5)
  batch = {
    'images': tf.constant(random.integers(0, 256, (1, 3, *SIZE, 3), dtype=np.uint8)),
    'labels': tf.constant(random.integers(0, 3, (1, 3, *SIZE)), tf.int32),
    'num_objects': tf.constant([3]),
  }
  variables = step.trained_variables(model)
  _, _, found = step.gradients(model, variables, batch, 0, step.LossOptions(weight_decay=0.0))
  return dict(zip(variables, found))


def check_initial_weights(plain, model, path):
  """Weights of a model without the option give the same logits, and none is lost."""
  weights.save_model(path, plain)
  text = initial_weights.initialize(model, path, initialize_last_layer=True)
  assert 'from scratch' not in text and 'not used' not in text
  np.testing.assert_allclose(eager_logits(model), eager_logits(plain), rtol=1e-5, atol=1e-5)


def check_files(model, path):
  """Weights files and TF1 checkpoints keep the option and its variables."""
  weights.save_model(path / 'm.h5', model)
  copy = weights.load_model(path / 'm.h5')
  assert copy.options == model.options
  # Not to the last bit: the copy's head may take its objects in other groups.
  np.testing.assert_allclose(eager_logits(copy), eager_logits(model), rtol=1e-5, atol=1e-5)
  tf1_checkpoint.save(path / 'model.ckpt-1', model)
  assert tf1_checkpoint.restore(path / 'model.ckpt-1', copy).complete
  assert state_bytes.model_key(copy) == state_bytes.model_key(model)

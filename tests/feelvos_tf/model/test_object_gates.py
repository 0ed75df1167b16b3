"""The option `object_gates`: means, gates, and that initial weights without them load."""

import head_models
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.model.head import SegmentationHead
from feelvos_tf.tools import convert_checkpoint


def expected_means(embedding, labels, objects):
  """The definition: own pixels, then all pixels of other objects; 0 for none."""
  found = np.zeros((objects, 2, embedding.shape[-1]))
  for i in range(objects):
    others = (labels != i) & (labels >= 0) & (labels < objects)
    for j, chosen in enumerate((labels == i, others)):
      if chosen.any():
        found[i, j] = embedding[chosen].mean(0)
  return found.reshape(objects, -1)


@pytest.fixture
def frame(rng):
  """Embeddings [23, 31, 6] and labels with 255 and -1; object 2 is not there."""
  embedding = (rng.random((23, 31, 6)) * [1, 2, 0, 4, 5, 6]).astype(np.float32)
  return embedding, rng.choice([0, 1, 3, 255, -1], (23, 31)).astype(np.int32)


@pytest.mark.parametrize('dtype, tolerance', [(tf.float32, 1e-5), (tf.bfloat16, 1e-2)])
def test_means_are_those_of_the_pixels(frame, dtype, tolerance):
  expected = expected_means(*frame, 4)
  assert not expected[2, :6].any() and expected[2, 6:].any()
  bank = matching.prepare_reference(*frame, 4, compute_dtype=dtype)
  np.testing.assert_allclose(matching.means_of_bank(bank, 4), expected, atol=tolerance)
  np.testing.assert_allclose(
    matching.means_of_frame(*map(tf.constant, frame), 4), expected, atol=1e-5
  )


def test_means_of_one_object_and_of_none(frame):
  embedding, labels = frame
  alone = np.zeros_like(labels)
  bank = matching.prepare_reference(embedding, alone, 1)
  np.testing.assert_allclose(
    matching.means_of_bank(bank, 1), expected_means(embedding, alone, 1), atol=1e-5
  )
  nobody = np.full_like(labels, 255)
  bank = matching.prepare_reference(embedding, nobody, 2)
  np.testing.assert_array_equal(matching.means_of_bank(bank, 2), np.zeros((2, 12)))


def test_means_follow_the_pixels_that_the_bank_kept(frame):
  embedding, labels = frame
  bank = matching.prepare_reference(embedding, labels, 4, max_pixels_per_object=1)
  last = [np.flatnonzero(labels.ravel() == i)[0] for i in (0, 1, 3)]
  rows = embedding.reshape(-1, 6)[last]
  found = matching.means_of_bank(bank, 4).numpy()
  np.testing.assert_allclose(found[[0, 1, 3], :6], rows, atol=1e-5)
  np.testing.assert_allclose(found[0, 6:], rows[1:].mean(0), atol=1e-5)


def test_gradients_of_means(frame):
  embedding, labels = tf.Variable(frame[0]), frame[1]
  with tf.GradientTape() as tape:
    bank = matching.prepare_reference(embedding, labels, 4)
    first = tf.reduce_sum(matching.means_of_bank(bank, 4)[1, :6])
  own = labels == 1
  np.testing.assert_allclose(
    tape.gradient(first, embedding)[..., 0], np.where(own, 1 / own.sum(), 0), atol=1e-6
  )


def gated_head(rng, **options):
  head = SegmentationHead(
    feature_channels=6,
    object_channels=3,
    dimension=5,
    num_layers=3,
    kernel_size=3,
    guidance_channels=8,
    **options,
  )
  for variable in head.weights:
    variable.assign(rng.normal(size=variable.shape) * 0.5)
  return head


def expected_logits(head, features, maps, guidance):
  """The definition, one object at a time: each input but the first is multiplied by its gate."""
  found = []
  for own, guide in zip(maps, guidance):
    net = tf.concat([features, own[tf.newaxis]], axis=-1)
    for index in range(4):
      if index:
        dense = head.gates[index - 1]
        values = guide @ dense.kernel.numpy()[0, 0] + dense.bias.numpy()
        net *= (2 / (1 + np.exp(-values))).astype(np.float32)
      net = head.pointwise[index](head.depthwise[index](net)) if index < 3 else head.logit(net)
    found.append(net[0, ..., 0])
  return np.stack(found)


@pytest.mark.parametrize('group_bytes', [0, 1, 2**20])
def test_gates_multiply_the_inputs_of_the_layers(rng, group_bytes):
  head = gated_head(rng, group_bytes=group_bytes)
  features = rng.normal(size=(1, 6, 7, 6)).astype(np.float32)
  maps = rng.random((3, 6, 7, 3)).astype(np.float32)
  guidance = rng.random((3, 8)).astype(np.float32)
  expected = expected_logits(head, features, maps, guidance)
  np.testing.assert_allclose(head(features, maps, guidance=guidance), expected, atol=1e-4)
  with pytest.raises(ValueError, match='a head with gates needs guidance'):
    head(features, maps)


def test_initial_weights_without_gates_give_the_same_logits(tmp_path):
  plain = head_models.make_model()
  model = head_models.make_model(object_gates=True)
  before = head_models.eager_logits(model)
  assert np.abs(before - head_models.eager_logits(plain)).max() > 1e-3
  head_models.check_initial_weights(plain, model, tmp_path / 'm.h5')
  # Also from here the gates learn.
  found = head_models.gradients_of(model)
  for index in (1, 2):
    assert np.abs(found[f'embedding_seg/gate_{index}/weights']).max() > 0


def test_files_keep_them(tmp_path):
  model = head_models.make_model(object_gates=True)
  head_models.check_files(model, tmp_path)
  shapes = tf.train.load_checkpoint(str(tmp_path / 'model.ckpt-1')).get_variable_to_shape_map()
  assert shapes['embedding_seg/gate_2/weights'] == [1, 1, 64, 16]
  assert convert_checkpoint.guess_head_options(shapes)['object_gates']

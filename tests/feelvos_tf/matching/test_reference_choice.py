"""Which reference pixels are taken when there are more than global matching may have."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.matching import prepare_reference
from feelvos_tf.matching import reference_choice

LABELS = np.zeros([40, 60], np.int32)
LABELS[10:30, 20:50] = 1
LABELS[0, 0] = 2


def test_weights_by_distance_to_another_label():
  weights = reference_choice.border_weights(tf.constant(LABELS)).numpy()
  # Along row 20, from the object's left border at column 20 inwards, and outwards.
  np.testing.assert_array_equal(weights[20, 20:30], [7, 7, 3, 3, 3, 3, 1, 1, 1, 1])
  np.testing.assert_array_equal(weights[20, 10:20], [1, 1, 1, 1, 3, 3, 3, 3, 7, 7])
  assert weights[35, 57] == 1  # The frame's own border is none.


def test_weights_of_several_frames_are_those_of_each():
  both = reference_choice.border_weights(tf.constant(np.stack([LABELS, LABELS.T.reshape(40, 60)])))
  np.testing.assert_array_equal(both[0], reference_choice.border_weights(tf.constant(LABELS)))
  assert both.shape == (2, 40, 60)


@pytest.mark.parametrize('limit', [1, 7, 100, 599, 600, 5000])
def test_an_object_keeps_as_many_pixels_as_it_may(limit):
  objects = np.sort(LABELS.ravel())
  weights = reference_choice.border_weights(tf.constant(LABELS)).numpy().ravel()
  weights = weights[np.argsort(LABELS.ravel(), kind='stable')]
  keep = reference_choice.spread(weights, objects, 3, limit).numpy()
  counts = np.bincount(objects)
  np.testing.assert_array_equal(np.bincount(objects[keep], minlength=3), np.minimum(counts, limit))


def test_equal_weights_are_evenly_spaced():
  keep = reference_choice.spread(np.ones(12, np.float32), np.zeros(12, np.int32), 1, 4)
  np.testing.assert_array_equal(np.flatnonzero(keep), [2, 5, 8, 11])


def test_pixels_are_taken_as_often_as_their_weights_say():
  weights = np.where(np.arange(1000) < 500, 3.0, 1.0).astype(np.float32)
  keep = reference_choice.spread(weights, np.zeros(1000, np.int32), 1, 200).numpy()
  assert (keep[:500].sum(), keep[500:].sum()) == (150, 50)


def test_a_weight_beyond_certainty_goes_to_the_others():
  """Ten pixels are taken for certain; the other 20 places are left to 100 equal pixels."""
  weights = np.concatenate([np.full(10, 50.0), np.ones(100)]).astype(np.float32)
  keep = reference_choice.spread(weights, np.zeros(110, np.int32), 1, 30).numpy()
  assert keep[:10].all() and keep[10:].sum() == 20


def test_the_bank_holds_the_chosen_pixels_of_each_object():
  embedding = tf.reshape(tf.range(2400.0), [40, 60, 1])
  bank = prepare_reference(
    embedding,
    LABELS,
    3,
    max_pixels_per_object=100,
    weights=reference_choice.border_weights(tf.constant(LABELS)),
  )
  values = np.round(bank.rows[:, 0] + bank.center).astype(int)
  used = bank.rows[:, 1] > -1e29
  objects = np.repeat(bank.block_object, 128)[used]
  chosen = values[used]
  np.testing.assert_array_equal(LABELS.ravel()[chosen], objects)
  np.testing.assert_array_equal(np.bincount(objects), [100, 100, 1])
  near = reference_choice.border_weights(tf.constant(LABELS)).numpy().ravel()[chosen] > 1
  assert near[objects == 1].mean() > 0.8  # 336 of the object's 600 pixels are near its border.


def test_no_pixels_at_all():
  bank = prepare_reference(
    tf.zeros([4, 6, 1]), np.full([4, 6], -1), 2, max_pixels_per_object=5, weights=tf.ones([4, 6])
  )
  np.testing.assert_array_equal(bank.block_object, [-1])


def test_the_same_pixels_in_a_graph_of_any_size():
  """Inference runs in graphs, whose constants take no type of their own from others."""

  @tf.function(
    autograph=False,
    input_signature=[tf.TensorSpec([None, None, 1]), tf.TensorSpec([None, None], tf.int32)],
  )
  def prepare(embedding, labels):
    weights = reference_choice.border_weights(labels)
    return prepare_reference(embedding, labels, 3, max_pixels_per_object=100, weights=weights)

  embedding, labels = tf.reshape(tf.range(2400.0), [40, 60, 1]), tf.constant(LABELS)
  expected = prepare_reference(
    embedding, labels, 3, max_pixels_per_object=100, weights=reference_choice.border_weights(labels)
  )
  np.testing.assert_array_equal(prepare(embedding, labels).rows, expected.rows)

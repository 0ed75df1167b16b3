"""Plain functions of inference: which pixels of the references are matched with."""

import numpy as np
import pytest
import small_models
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.inference import contract
from feelvos_tf.inference import functions as functions_lib
from feelvos_tf.model import geometry
from feelvos_tf.model.options import FeelvosOptions


def test_a_cap_on_reference_pixels_is_that_of_matching(copying_model, rng):
  model = small_models.with_options(copying_model, max_reference_pixels_per_object=5)
  embeddings = tf.constant(rng.random([2, 9, 13, 8]), tf.float32)
  labels = np.zeros([33, 49], np.int32)
  labels[8:25, 8:33] = 1
  functions = functions_lib.InferenceFunctions(model)
  state = functions.trace_initialize(embeddings[0], labels, 2)
  small = geometry.shrink_labels(labels)
  expected = [model.prepare_reference(embeddings[0], small, 2, cap) for cap in (5, None)]
  distances = [
    matching.global_matching(embeddings[1], bank, 2).numpy()
    for bank in (state.reference, *expected)
  ]
  np.testing.assert_array_equal(distances[0], distances[1])
  assert np.max(distances[0] - distances[2]) > 1e-2
  references = contract.References(embeddings[:1], small[tf.newaxis])
  restored = functions.trace_restore(references, state.previous, 2)
  np.testing.assert_array_equal(restored.reference.rows, state.reference.rows)


@pytest.mark.parametrize(
  'counts, options, expected',
  [
    ((9000, 300), {}, None),
    ((9000, 300), {'max_reference_pixels_per_object': 50}, 50),
    ((9000, 300), {'max_reference_imbalance': 8}, 2400),
    ((9000, 300), {'max_reference_imbalance': 1.5}, 1024),  # Never fewer for that.
    ((9000, 0, 300), {'max_reference_imbalance': 8}, 2400),  # What is not there does not count.
    ((9000, 300), {'max_reference_imbalance': 8, 'max_reference_pixels_per_object': 50}, 50),
    ((9000, 300), {'max_reference_imbalance': 8, 'max_reference_pixels_per_object': 3000}, 2400),
  ],
)
def test_the_smallest_object_limits_the_reference_pixels(counts, options, expected):
  labels = tf.constant(np.repeat([*range(len(counts)), -1, 255], [*counts, 7, 7]), tf.int32)
  found = functions_lib.most_reference_pixels(labels, len(counts), FeelvosOptions(**options))
  assert found == expected


def test_a_reference_without_any_object_has_no_limit():
  found = functions_lib.most_reference_pixels(
    tf.constant([-1, 255]), 2, FeelvosOptions(max_reference_imbalance=8)
  )
  assert found >= 2**30


def test_the_limit_reaches_matching(copying_model, rng):
  """A background of 4,000 pixels beside an object of 16: matching sees 1,024 of them."""
  model = small_models.with_options(copying_model, max_reference_imbalance=8)
  functions = functions_lib.InferenceFunctions(model)
  labels = np.zeros([253, 253], np.int32)
  labels[100:116, 100:116] = 1
  embedding = tf.constant(rng.random([64, 64, 8]), tf.float32)
  bank = functions.trace_initialize(embedding, labels, 2).reference
  expected = matching.prepare_reference(
    embedding, geometry.shrink_labels(labels), 2, max_pixels_per_object=1024
  )
  np.testing.assert_array_equal(bank.rows, expected.rows)
  assert bank.rows.shape[0] < 64 * 64 / 3


@pytest.mark.parametrize('choice', ['even', 'border'])
def test_the_choice_of_reference_pixels_reaches_matching(copying_model, rng, choice):
  options = dict(max_reference_pixels_per_object=200, reference_choice=choice)
  model = small_models.with_options(copying_model, **options)
  functions = functions_lib.InferenceFunctions(model)
  labels = np.zeros([253, 253], np.int32)
  labels[100:196, 100:196] = 1
  embedding = tf.constant(rng.random([64, 64, 8]), tf.float32)
  bank = functions.trace_initialize(embedding, labels, 2).reference
  small = geometry.shrink_labels(labels)
  weights = {'even': None, 'border': matching.border_weights(small)}
  banks = {
    name: matching.prepare_reference(
      embedding, small, 2, max_pixels_per_object=200, weights=weights[name]
    ).rows
    for name in weights
  }
  np.testing.assert_array_equal(bank.rows, banks[choice])
  assert not np.array_equal(banks['even'], banks['border'])

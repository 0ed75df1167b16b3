"""Tests of `inference.specks`."""

import head_models
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.inference import specks
from feelvos_tf.inference.functions import InferenceFunctions
from feelvos_tf.model.feelvos import one_hot


def bank(sizes, rng):
  labels = np.concatenate([np.full(n, i, np.int32) for i, n in enumerate(sizes)])
  embeddings = rng.normal(size=[labels.size, 4]).astype(np.float32)
  return matching.prepare_reference(tf.constant(embeddings), tf.constant(labels), len(sizes))


def test_few_positions_of_a_large_object_go_and_those_of_a_small_one_stay(rng):
  labels = np.zeros((12, 20), np.int32)
  labels[0, :9], labels[2, :10], labels[4, :9], labels[6, :9] = 1, 2, 3, 4
  logits = 2.0 * one_hot(tf.constant(labels), 5) + 1.0
  # 9 is less than 10 and a tenth of 100, 91 or 90: no more than a tenth of the last one.
  reference = bank([200, 100, 100, 91, 90], rng)
  result = tf.function(lambda *given: specks.leave_out(*given, 10))(logits, None, reference)
  labels[labels == 1] = 0
  labels[labels == 3] = 0
  np.testing.assert_array_equal(np.argmax(result, axis=0), labels)
  for kept in (0, 2, 4):
    np.testing.assert_array_equal(result[kept], logits[kept])


@pytest.mark.parametrize(
  'positions, of_other, of_background, goes',
  [(19, 0.44, 0.9, True), (20, 0.44, 0.9, False), (19, 0.46, 0.9, False), (19, 0.7, 0.1, False)],
  ids=['nearer', 'larger', 'not much nearer', 'nearer to the background'],
)
def test_remains_go_that_are_nearer_to_another_object(
  rng, positions, of_other, of_background, goes
):
  """Of 200 reference positions fewer than 20 are remains; the own object's distance is .6."""
  labels = np.zeros((12, 20), np.int32)
  labels[0, :positions], labels[4:8] = 1, 2
  logits = 2.0 * one_hot(tf.constant(labels), 3) + 1.0
  distance = np.empty([3, *labels.shape], np.float32)
  distance[0], distance[1], distance[2] = of_background, 0.6, of_other
  reference = bank([200, 200, 100], rng)
  result = tf.function(lambda *given: specks.leave_out(*given, 10))(logits, distance, reference)
  if goes:
    labels[labels == 1] = 0
  np.testing.assert_array_equal(np.argmax(result, axis=0), labels)


@pytest.mark.parametrize(
  'positions, sizes, goes',
  [
    (9, (200, 100, 200), True),
    (9, (200, 90, 200), False),
    (9, (200, 0, 100), True),
    (29, (200, 200, 200), False),
  ],
  ids=['less than a tenth of all', 'as much as a mask says', 'hidden on one', 'sum of all'],
)
def test_what_an_object_had_is_the_least_of_several_masks(rng, positions, sizes, goes):
  """Everything that an object of less than a tenth wins goes: it is nearer to the other one."""
  masks = np.zeros((3, 12, 40), np.int32)
  for mask, size in zip(masks, sizes):
    mask.ravel()[:size], mask[-1] = 1, 2
  embeddings = rng.normal(size=[*masks.shape, 4]).astype(np.float32)
  reference = matching.prepare_reference(tf.constant(embeddings), tf.constant(masks), 3)
  labels = np.zeros((12, 20), np.int32)
  labels.ravel()[:positions], labels[4:8] = 1, 2
  logits = 2.0 * one_hot(tf.constant(labels), 3) + 1.0
  distance = np.stack([np.full(labels.shape, d, np.float32) for d in (0.9, 0.6, 0.3)])
  result = specks.leave_out(logits, tf.constant(distance), reference, 10)
  assert (1 not in np.argmax(result, axis=0)) == goes


def test_the_only_object_is_nearer_to_no_other(rng):
  labels = np.zeros((12, 20), np.int32)
  labels[0, :19] = 1
  logits = 2.0 * one_hot(tf.constant(labels), 2)
  distance = tf.constant(np.stack([np.zeros((12, 20)), np.ones((12, 20))]), tf.float32)
  result = specks.leave_out(logits, distance, bank([200, 100], rng), 10)
  np.testing.assert_array_equal(result, logits)


def test_the_option_is_used(monkeypatch):
  """With a limit above the sizes of all objects, and any share of them, nothing is left."""
  frames, mask = head_models.make_clip()
  labels = tf.constant(np.searchsorted([0, 5, 7, 200], mask).astype(np.int32))
  monkeypatch.setattr(specks, '_SHARE', 10.0)
  found = []
  for least in (None, 1000):
    functions = InferenceFunctions(head_models.make_model(least_positions=least))
    state = functions.trace_initialize(functions.trace_extract(frames[0])[1], labels, 4)
    step = functions.trace_step(*functions.trace_extract(frames[1]), state, 4, mask.shape)
    found.append(set(np.unique(step.labels)))
  assert found == [{0, 1, 2, 3}, {0}]

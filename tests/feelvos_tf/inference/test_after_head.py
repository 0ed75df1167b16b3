"""Rules at inference with embeddings of another scale: `rule_distance_factor` makes up for it."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.inference import after_head
from feelvos_tf.inference import crossing
from feelvos_tf.inference.contract import State
from feelvos_tf.matching.scores import distance_from_squared
from feelvos_tf.model.feelvos import Maps
from feelvos_tf.model.feelvos import one_hot
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.model.options import FeelvosOptions

SIDE = 12
SHAPE = (30, 80)
RULES = dict(crossing_radius=6, unlike_parts_margin=0.2, least_positions=10)


def scene(rng):
  """(labels of two frames, embeddings of them): two squares that look the same and move apart."""
  texture = rng.normal(0, 0.7, [SIDE, SIDE, 8])
  labels, embeddings = np.zeros([2, *SHAPE], np.int32), np.full([2, *SHAPE, 8], 3.0)
  for frame in range(2):
    for index, column in ((1, 20), (2, 35 + 3 * frame)):
      there = np.s_[frame, 9 : 9 + SIDE, column : column + SIDE]
      labels[there], embeddings[there] = index, texture
  return labels, embeddings


@pytest.mark.parametrize(
  'scale, factor, is_right', [(1, None, True), (2, 0.5, True), (2, None, False)]
)
def test_embeddings_of_another_scale(rng, scale, factor, is_right):
  """Squared distances are twice as large: .5 became .8, too far for look-alikes.

  The head gives both squares to the first object; the rules know which one the second is.
  """
  labels, embeddings = scene(rng)
  embeddings = tf.constant(np.sqrt(scale) * embeddings, tf.float32)
  before, now = tf.constant(labels[0]), np.minimum(labels[1], 1)
  previous = PreviousFrame(
    embeddings[0], before, one_hot(before, 3), crossing.nothing_hidden(embeddings[0], 3)
  )
  # The references look like neither.
  shown = embeddings[0] + 9.0 * tf.cast(before == 2, tf.float32)[..., tf.newaxis]
  state = State(matching.prepare_reference(shown, before, 3), previous)
  half = tf.fill([3, *SHAPE], distance_from_squared(scale * np.log(3.0)))  # d = .5 of scale 1.
  logits = 3.0 * one_hot(tf.constant(now), 3)
  options = FeelvosOptions(rule_distance_factor=factor, **RULES)
  decide = tf.function(lambda *given: after_head.decide(*given, state, options))
  decided, motion = decide(logits, Maps(half, None, half), embeddings[1])
  np.testing.assert_array_equal(np.argmax(decided, axis=0), labels[1] if is_right else now)
  np.testing.assert_array_equal(motion, [[0, 0], [0, 0], [0, 3]])

"""Specks and remains: positions of an object that is not there.

An object that leaves the picture or goes behind another one can leave some positions, which feed on
themselves: local matching finds them again on the next frame, and they wander over other objects.
An object wins nothing at all if it wins less than a tenth of what it had on the reference frame
that has the least of it, and that is

- fewer positions than a limit, or
- much nearer to another object than to this one, by global matching.

Not in the paper; docs/notes/options.md has what it brings.
"""

import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.inference import winner
from feelvos_tf.matching.scores import NO_DISTANCE
from feelvos_tf.model.feelvos import one_hot

# Of an object's positions on a reference frame: what is as small as on a given mask is no speck.
_SHARE = 0.1
# How much nearer to another object remains are, as a mean of global distances.
_NEARER = 0.15


def leave_out(
  logits: tf.Tensor,
  global_distance: tf.Tensor | None,
  reference: matching.ReferenceBank,
  least: int,
) -> tf.Tensor:
  """Logits with which no object wins only specks or remains.

  Args:
    logits: float32 [objects, h4, w4]; the first is the background's.
    global_distance: float32 [objects, h4, w4] in [0, 1]; without it only specks are left out.
    reference: `matching.ReferenceBank` of the reference frames.
    least: positions of stride 4 that are no speck, whatever the object had.

  Returns:
    float32 [objects, h4, w4].
  """
  count = tf.shape(logits)[0]
  won = one_hot(winner.of_logits(logits), count)
  positions = tf.reduce_sum(won, axis=[1, 2])
  fewest, _ = matching.fewest_and_mean_pixels(reference, count)
  is_small = positions < _SHARE * fewest
  is_small &= (positions > 0) & (tf.range(count) > 0)

  def without() -> tf.Tensor:
    is_left_out = positions < least
    if global_distance is not None:
      is_left_out |= _is_nearer_to_another(won, global_distance)
    is_left_out &= is_small
    return tf.where(is_left_out[:, tf.newaxis, tf.newaxis], winner.LEFT_OUT, logits)

  return tf.cond(tf.reduce_any(is_small), without, lambda: logits)


def _is_nearer_to_another(won: tf.Tensor, global_distance: tf.Tensor) -> tf.Tensor:
  """Whether what an object wins is much nearer to another one, not the background: bool [objects].

  Args:
    won: float32 [objects, h4, w4] of 0 and 1.
    global_distance: float32 [objects, h4, w4].
  """
  means = winner.mean_distances(won, global_distance)
  is_own = tf.eye(tf.shape(means)[0], dtype=tf.bool)
  others = tf.where(is_own, NO_DISTANCE, means)[:, 1:]
  return tf.linalg.diag_part(means) - tf.reduce_min(others, axis=1) > _NEARER

"""Specks: a few positions of an object that is not there.

An object that leaves the picture or goes behind another one can leave some positions, which feed on
themselves: local matching finds them again on the next frame, and they wander over other objects.
An object that wins fewer positions than a limit, and than a tenth of what it had on the reference
frames, wins none. Not in the paper; docs/notes/options.md has what it brings.
"""

import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.inference import winner
from feelvos_tf.model.feelvos import one_hot

# Of an object's positions on the reference frames: what is small from the beginning is no speck.
_SHARE = 0.1


def leave_out(logits: tf.Tensor, reference: matching.ReferenceBank, least: int) -> tf.Tensor:
  """Logits with which no object wins as little as a speck.

  Args:
    logits: float32 [objects, h4, w4]; the first is the background's.
    reference: `matching.ReferenceBank` of the reference frames.
    least: positions of stride 4 that are no speck, whatever the object had.

  Returns:
    float32 [objects, h4, w4].
  """
  count = tf.shape(logits)[0]
  won = tf.reduce_sum(one_hot(winner.of_logits(logits), count), axis=[1, 2])
  is_small = (won > 0) & (won < least) & (tf.range(count) > 0)

  def without() -> tf.Tensor:
    is_speck = is_small & (won < _SHARE * matching.kept_pixels(reference, count))
    return tf.where(is_speck[:, tf.newaxis, tf.newaxis], winner.LEFT_OUT, logits)

  return tf.cond(tf.reduce_any(is_small), without, lambda: logits)

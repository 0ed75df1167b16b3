"""Which object wins a pixel, and how far what it wins is from all objects."""

import tensorflow as tf

LEFT_OUT = -1e4  # A logit that does not win.


def of_logits(logits: tf.Tensor) -> tf.Tensor:
  """Index of the highest logit of each pixel, the first of equal ones.

  As `tf.argmax` over the objects, which takes three times as long along the first axis on a
  processor (docs/notes/speed.md).

  Args:
    logits: float [objects, height, width].

  Returns:
    int32 [height, width]; the last object's where a logit is NaN.
  """
  last = tf.shape(logits)[0] - 1
  is_best = logits >= tf.reduce_max(logits, axis=0, keepdims=True)
  index = tf.range(last + 1)[:, tf.newaxis, tf.newaxis]
  return tf.reduce_min(tf.where(is_best, index, last), axis=0)


def exchanged(logits: tf.Tensor, won_by: tf.Tensor, goes_to: tf.Tensor) -> tf.Tensor:
  """Logits with which a position goes from the object that wins it to another one.

  Args:
    logits: float32 [objects, height, width].
    won_by: int32 [height, width], `of_logits`.
    goes_to: int32 [height, width], the object whose logit is exchanged with that one's.

  Returns:
    float32 [objects, height, width].
  """
  index = tf.range(tf.shape(logits)[0])[:, tf.newaxis, tf.newaxis]
  at = lambda which: tf.reduce_sum(tf.where(index == which, logits, 0.0), axis=0)
  given = tf.where(index == won_by, at(goes_to), logits)
  return tf.where(index == goes_to, at(won_by), given)


def mean_distances(won: tf.Tensor, global_distance: tf.Tensor) -> tf.Tensor:
  """Mean distance of what every object wins to every object.

  Args:
    won: float32 [objects, h4, w4] of 0 and 1, what every object wins.
    global_distance: float32 [objects, h4, w4].

  Returns:
    float32 [objects, objects], from what the row's object wins to the column's object; 0 in the row
    of an object that wins nothing.
  """
  total = tf.einsum('ahw,bhw->ab', won, global_distance)
  return tf.math.divide_no_nan(total, tf.reduce_sum(won, axis=[1, 2])[:, tf.newaxis])

"""How likely the mask of an object is good, from what the model computes for the frame anyway."""

import tensorflow as tf


def of_frame(logits, maps):
  """Mean probability of the positions that each object won; 0 if it won none.

  Args:
    logits: float32 [objects, h4, w4].
    maps: `Maps` of the frame.

  Returns:
    float32 [objects].
  """
  del maps
  probabilities = tf.nn.softmax(logits, axis=0)
  winner = tf.argmax(logits, axis=0, output_type=tf.int32)
  return tf.math.unsorted_segment_mean(
    tf.reshape(tf.reduce_max(probabilities, axis=0), [-1]),
    tf.reshape(winner, [-1]),
    tf.shape(logits)[0],
  )

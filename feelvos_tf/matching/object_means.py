"""Mean embeddings of every object and of everything else, of a reference bank or of one frame.

Source: instance-level attention of CFBI (Yang et al., ECCV 2020, section 3.3).
"""

import tensorflow as tf

from feelvos_tf.matching.reference_bank import kept_pixels
from feelvos_tf.matching.reference_bank import ReferenceBank


def means_of_bank(bank: ReferenceBank, num_objects: int | tf.Tensor) -> tf.Tensor:
  """Means over the pixels that a bank kept.

  Args:
    bank: `ReferenceBank`.
    num_objects: int or int32 scalar tensor, >= 1.

  Returns:
    float32 [num_objects, 2 * channels]: of the object's pixels, then of all other objects' pixels;
    0 where there are none. Differentiable with respect to the embeddings.
  """
  channels = tf.shape(bank.center)[0]
  rows = tf.cast(bank.rows, tf.float32)
  blocks = tf.shape(bank.block_object)[0]
  sums = tf.reduce_sum(tf.reshape(rows[:, :channels], tf.stack([blocks, -1, channels])), axis=1)
  # Blocks of no object have the number -1, which adds to no sum; padding has zeros for embeddings.
  sums = tf.math.unsorted_segment_sum(sums, bank.block_object, num_objects)
  counts = kept_pixels(bank, num_objects)
  return _own_and_others(sums + counts[:, tf.newaxis] * bank.center, counts)


def means_of_frame(
  embedding: tf.Tensor, labels: tf.Tensor, num_objects: int | tf.Tensor
) -> tf.Tensor:
  """Means over the pixels of a frame.

  Args:
    embedding: float32 [h4, w4, channels].
    labels: int32 [h4, w4], object index; others than 0..num_objects-1 belong to no object.
    num_objects: int or int32 scalar tensor, >= 1.

  Returns:
    See `means_of_bank`.
  """
  labels = tf.where((labels >= 0) & (labels < num_objects), labels, -1)
  sums = tf.math.unsorted_segment_sum(embedding, labels, num_objects)
  counts = tf.math.unsorted_segment_sum(tf.ones_like(labels, tf.float32), labels, num_objects)
  return _own_and_others(sums, counts)


def _own_and_others(sums: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
  counts = counts[:, tf.newaxis]
  others = [tf.reduce_sum(value, axis=0, keepdims=True) - value for value in (sums, counts)]
  return tf.concat([tf.math.divide_no_nan(sums, counts), tf.math.divide_no_nan(*others)], axis=-1)

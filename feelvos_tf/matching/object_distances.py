"""How far objects of a reference bank are from each other."""

import tensorflow as tf

from feelvos_tf.matching.global_matching import global_matching
from feelvos_tf.matching.reference_bank import are_pixels
from feelvos_tf.matching.reference_bank import kept_pixels
from feelvos_tf.matching.reference_bank import ReferenceBank

_SAMPLES = 32  # Pixels of an object that are compared, evenly spaced among those kept.


def distances_of_bank(bank: ReferenceBank, num_objects: int | tf.Tensor, k: int = 1) -> tf.Tensor:
  """Mean global distance of some pixels of every object to every object.

  Args:
    bank: `ReferenceBank`.
    num_objects: int or int32 scalar tensor, >= 1.
    k: int, as of `global_matching`, whose distances these are compared with.

  Returns:
    float32 [num_objects, num_objects] in [0, 1], from the row's object to the column's, with k = 1
    about 0 to itself; 1 where one of the two has no pixels.
  """
  count = tf.cast(kept_pixels(bank, num_objects), tf.int32)
  # Rows of pixels, sorted by object; one more, so that there is one of an object without any.
  rows = tf.pad(tf.cast(tf.where(are_pixels(bank))[:, 0], tf.int32), [[0, 1]])
  first = tf.math.cumsum(count, exclusive=True)
  rank = tf.range(_SAMPLES) * count[:, tf.newaxis] // _SAMPLES
  row = tf.gather(rows, first[:, tf.newaxis] + rank)
  channels = tf.shape(bank.center)[0]
  pixels = tf.cast(tf.gather(bank.rows[:, :channels], row), tf.float32) + bank.center
  pixels = tf.ensure_shape(pixels, [None, _SAMPLES, bank.center.shape[0]])
  distance = global_matching(pixels, bank, num_objects, k=k, chunk_bytes=2**20)
  means = tf.transpose(tf.reduce_mean(distance, axis=-1))
  return tf.where(count[:, tf.newaxis] > 0, means, 1.0)

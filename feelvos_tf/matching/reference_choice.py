"""Which reference pixels global matching takes when it may not take all.

Evenly spaced pixels leave most of an object's border out, and the border is where the next frames
are decided. So pixels near the border are taken more often (docs/notes/speed.md has what that is
worth), the others still evenly.
"""

import tensorflow as tf

# (distance, weight): a pixel with another label within this many pixels of stride 4 gets the weight
# on top of 1, the weight of pixels inside. So 7 within 2 pixels, 3 within 6. Chosen on DAVIS val
# among the three tried.
BORDER_WEIGHTS = ((2, 4.0), (6, 2.0))
# Each round fixes the pixels that are taken for certain; there are as many values as rounds.
_ROUNDS = len(BORDER_WEIGHTS) + 1


def border_weights(labels: tf.Tensor) -> tf.Tensor:
  """How often a pixel is taken, relative to one inside an object.

  Args:
    labels: int32 [..., h4, w4], object index.

  Returns:
    float32 of the same shape, 1 or more.
  """
  shape = tf.shape(labels)
  image = tf.cast(tf.reshape(labels, tf.concat([[-1], shape[-2:], [1]], 0)), tf.float32)
  weights = tf.ones_like(image)
  for radius, more in BORDER_WEIGHTS:
    window = 2 * radius + 1
    highest = tf.nn.max_pool2d(image, window, 1, 'SAME')
    lowest = -tf.nn.max_pool2d(-image, window, 1, 'SAME')
    weights += more * tf.cast(highest != lowest, tf.float32)
  return tf.reshape(weights, shape)


def spread(
  weights: tf.Tensor, objects: tf.Tensor, num_objects: int | tf.Tensor, limit: int | tf.Tensor
) -> tf.Tensor:
  """Chooses at most `limit` pixels of each object, as often as their weights say.

  Pixels are taken where the sum of their shares passes a whole number: deterministic, and evenly
  spaced where weights are equal.

  Args:
    weights: float32 [n], positive.
    objects: int32 [n], ascending object indices below `num_objects`.
    num_objects: int32 scalar.
    limit: int or int32 scalar.

  Returns:
    bool [n]. All pixels of an object that has no more than `limit`.
  """
  zero, one = tf.constant(0.0, tf.float64), tf.constant(1.0, tf.float64)
  weights = tf.cast(weights, tf.float64)
  limit = tf.cast(limit, tf.float64)
  total = lambda values: tf.math.unsorted_segment_sum(values, objects, num_objects)
  certain = tf.zeros_like(weights, tf.bool)
  for _ in range(_ROUNDS):
    left = limit - total(tf.cast(certain, tf.float64))
    share = tf.math.divide_no_nan(left, total(tf.where(certain, zero, weights)))
    certain |= weights * tf.gather(share, objects) >= 1.0
  left = limit - total(tf.cast(certain, tf.float64))
  share = tf.math.divide_no_nan(left, total(tf.where(certain, zero, weights)))
  chance = tf.where(certain, one, weights * tf.gather(share, objects))
  before = tf.math.cumsum(total(chance), exclusive=True)
  # Rounded, so that sums that are whole numbers but for float errors are whole numbers.
  passed = tf.floor(tf.math.cumsum(chance) - tf.gather(before, objects) + 1e-6)
  same = tf.concat([[False], objects[1:] == objects[:-1]], axis=0)[: tf.size(objects)]
  previous = tf.concat([[zero], passed[:-1]], axis=0)[: tf.size(objects)]
  return passed > tf.where(same, previous, zero)

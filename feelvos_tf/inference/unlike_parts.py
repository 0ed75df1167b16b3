"""Parts of an object that do not look like it: another thing that it once touched.

A look-alike that comes out from behind an object is at first one with it, so local matching takes
both for the object from then on, also when they part. Global matching knows better: the mean
distance of a whole part to the reference frame says much more than that of a pixel. An object's
largest part stays; another one of `_LEAST_POSITIONS` and more is left out if

- it is nearer to the reference frame's background than to the object, or
- it has `_LEAST_SHARE` of the largest part's size, its distance to the object is larger than that
  of the largest part by a margin, and closer to its distance to the background than to that.

Smaller parts are often limbs that something thin hides in part. Not in the paper;
docs/notes/options.md says how these numbers were found.
"""

import tensorflow as tf

from feelvos_tf.inference import connected
from feelvos_tf.inference import winner
from feelvos_tf.model.feelvos import Maps
from feelvos_tf.model.feelvos import one_hot

_LEAST_POSITIONS = 40  # of stride 4
_LEAST_SHARE = 0.2
# How much the distance to the previous frame counts next to that to the reference frame, when a
# part is compared with the background.
_LOCAL_WEIGHT = 0.15


def leave_out(logits: tf.Tensor, maps: Maps, margin: float) -> tf.Tensor:
  """Logits with which no object wins a part that does not look like it.

  Args:
    logits: float32 [objects, h4, w4]; the first is the background's.
    maps: `Maps` of the frame. Without global distances nothing is left out.
    margin: difference of mean global distances, in [0, 1].

  Returns:
    float32 [objects, h4, w4].
  """
  if maps.global_distance is None:
    return logits
  won = one_hot(winner.of_logits(logits), tf.shape(logits)[0])[1:]
  number = connected.numbered(won)
  where = tf.cast(tf.where(number > 0), tf.int32)  # [positions, (object, row, column)]
  of_object = where[:, 0]
  most = tf.size(number[:1]) + 1
  keys, part = tf.unique(of_object * most + tf.gather_nd(number, where))
  parts = _Parts(maps, where, part, tf.size(keys))
  unlike = _unlike(parts, keys // most, tf.shape(won)[0], margin)
  left_out = tf.scatter_nd(where, tf.gather(unlike, part), tf.shape(number))
  left_out = tf.pad(left_out, [[1, 0], [0, 0], [0, 0]])
  return tf.where(left_out, tf.constant(winner.LEFT_OUT, logits.dtype), logits)


class _Parts:
  """Means over parts: float32 [parts].

  Attributes:
    area: positions of each.
    distance, background: mean global distance to the own object, to the background.
    from_object, from_background: the same with a share of the local distance; to the own object,
      to the background.
  """

  def __init__(self, maps: Maps, where: tf.Tensor, part: tf.Tensor, count: tf.Tensor) -> None:
    total = lambda values: tf.math.unsorted_segment_sum(values, part, count)
    self.area = total(tf.ones_like(part, tf.float32))
    own = lambda distance: total(tf.gather_nd(distance[1:], where)) / self.area
    background = lambda distance: total(tf.gather_nd(distance[0], where[:, 1:])) / self.area
    self.distance, self.background = own(maps.global_distance), background(maps.global_distance)
    self.from_object, self.from_background = self.distance, self.background
    if maps.local_distance is not None:
      self.from_object += _LOCAL_WEIGHT * own(maps.local_distance)
      self.from_background += _LOCAL_WEIGHT * background(maps.local_distance)


def _unlike(parts: _Parts, of_object: tf.Tensor, objects: tf.Tensor, margin: float) -> tf.Tensor:
  """bool [parts]: which are left out; of_object int32 [parts], the object of each."""
  of_largest = lambda values: tf.gather(
    tf.math.unsorted_segment_max(values, of_object, objects), of_object
  )
  largest = of_largest(parts.area)
  is_largest = parts.area == largest
  distance = of_largest(tf.where(is_largest, parts.distance, 0.0))
  like_background = parts.from_background < parts.from_object
  farther = parts.distance - distance
  less_alike = (farther > margin) & (farther > parts.background - parts.distance)
  less_alike &= parts.area >= _LEAST_SHARE * largest
  return ~is_largest & (parts.area >= _LEAST_POSITIONS) & (like_background | less_alike)

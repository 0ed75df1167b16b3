"""Parts of an object that do not look like it: another thing that it once touched.

A look-alike that comes out from behind an object is at first one with it, so local matching takes
both for the object from then on, also when they part. Global matching knows better: the mean
distance of a whole part to the reference frame says much more than that of a pixel. An object's
largest part stays; another one of `_LEAST_POSITIONS` and more is left out if

- it is nearer to the reference frame's background than to the object, or
- it has `_LEAST_SHARE` of the largest part's size, is beside no other object, and its distance to
  the object is larger than that of the largest part by a margin.

Smaller parts are often limbs that something thin hides in part, and parts at the border of another
object are mostly what that object leaves of one that it hides. Not in the paper;
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
  beside_others = tf.gather_nd(connected.beside_others(won), where)
  parts = _Parts(maps, beside_others, where, part, tf.size(keys))
  unlike = _unlike(parts, keys // most, tf.shape(won)[0], margin)
  left_out = tf.scatter_nd(where, tf.gather(unlike, part), tf.shape(number))
  left_out = tf.pad(left_out, [[1, 0], [0, 0], [0, 0]])
  return tf.where(left_out, tf.constant(winner.LEFT_OUT, logits.dtype), logits)


class _Parts:
  """What is known of parts: float32 [parts], means over their positions but for the first two.

  Attributes:
    area: positions of each.
    is_beside: whether any of them is beside another object, bool.
    distance: global distance to the own object.
    from_object, from_background: global distance with a share of the local one, to the own object
      and to the background.
  """

  def __init__(
    self, maps: Maps, beside_others: tf.Tensor, where: tf.Tensor, part: tf.Tensor, count: tf.Tensor
  ) -> None:
    total = lambda values: tf.math.unsorted_segment_sum(values, part, count)
    self.area = total(tf.ones_like(part, tf.float32))
    self.is_beside = total(beside_others) > 0
    own = lambda distance: total(tf.gather_nd(distance[1:], where)) / self.area
    background = lambda distance: total(tf.gather_nd(distance[0], where[:, 1:])) / self.area
    self.distance = own(maps.global_distance)
    self.from_object, self.from_background = self.distance, background(maps.global_distance)
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
  less_alike = (parts.distance - distance > margin) & ~parts.is_beside
  less_alike &= parts.area >= _LEAST_SHARE * largest
  return ~is_largest & (parts.area >= _LEAST_POSITIONS) & (like_background | less_alike)

"""Look-alikes that part: one of them has both masks, or each has some of both.

While two objects that look alike cross, one can get all of their pixels, or either some of what is
the other's. When they part, nothing puts that right: to global matching both look the same, and to
local matching both are what they were taken for. But their sizes tell who is who, if they differ.

Where an object is nowhere, and another one is in two parts whose sizes are to each other as the two
objects' mean sizes on the reference frames that show them, the missing object gets the part that
has its size (`give_back`). Where both are in both of two parts that have these sizes, each gets the
one of its size, if that is also how most of their positions were taken (`unmix`).

Not in the paper; docs/notes/options.md has what it brings.
"""

from typing import NamedTuple

import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.inference import connected
from feelvos_tf.inference import winner
from feelvos_tf.model.feelvos import one_hot

# An object is nowhere if it has less than this share of the part that it would get.
_NOWHERE = 0.15
_LEAST_POSITIONS = 40  # of stride 4, in each part
# How much farther than from the object that has it a part may be from the object that gets it.
_FARTHER = 0.15
# Positions that are lost on every side before parts are found: what is thinner joins none.
_THREAD = 1
# How many times more the ratio of sizes has to be off if the parts are exchanged: it does not tell
# objects of one size apart.
_TELLING = 1.25
_NEVER = 1e3
# Objects that look alike are at most as far from each other, in the mean of what either wins.
_ALIKE = 0.55
# How many times larger than it says an object may be of which not all pixels were kept.
_LARGER = 2.0
# Objects are mixed if each part has at least this share of the one that has less of it.
_MIXED = 0.05
# Two parts are two objects if together they have this share of what both win.
_BOTH = 0.8


def give_back(
  logits: tf.Tensor,
  global_distance: tf.Tensor | None,
  reference: matching.ReferenceBank,
  factor: float,
) -> tf.Tensor:
  """Logits with which a missing object wins its part of another one; one object a frame at most.

  Parts that another object joins are one: what hides the middle of an object makes no two of it.
  Objects of about one size are not told apart, and neither gives the other one anything.
  In the part, the two objects' logits are exchanged; elsewhere the missing one wins nothing.

  Args:
    logits: float32 [objects, h4, w4]; the first is the background's.
    global_distance: float32 [objects, h4, w4] in [0, 1]; without it nothing changes.
    reference: `matching.ReferenceBank` of the reference frames. An object of which as many pixels
      were kept as of the background may be larger than they say, and takes no part.
    factor: how many times larger or smaller the parts' ratio of sizes may be than the objects'.

  Returns:
    float32 [objects, h4, w4].
  """
  if global_distance is None:
    return logits
  count = tf.shape(logits)[0]
  won = one_hot(winner.of_logits(logits), count)[1:]
  positions = tf.reduce_sum(won, axis=[1, 2])

  def exchange() -> tf.Tensor:
    parts, kept = _two_largest_parts(won), matching.kept_pixels(reference, count)
    _, mean = matching.fewest_and_mean_pixels(reference, count)
    pairs = _Pairs.of(parts, positions, kept, mean, global_distance[1:], factor)
    giver, getter, which = pairs.best()
    part = parts[giver, which] > 0
    of_giver, of_getter = logits[giver + 1], logits[getter + 1]
    left = tf.where(part, of_getter, of_giver)
    got = tf.where(part, of_giver, tf.minimum(of_getter, winner.LEFT_OUT))
    index = tf.range(count)[:, tf.newaxis, tf.newaxis]
    changed = tf.where(index == giver + 1, left, tf.where(index == getter + 1, got, logits))
    return tf.where(pairs.error[giver, getter] < _NEVER, changed, logits)

  # Mostly all objects are there; no part is larger than the largest object.
  is_any_nowhere = tf.reduce_any(positions < _NOWHERE * tf.reduce_max(positions))
  return tf.cond(is_any_nowhere, exchange, lambda: logits)


def unmix(
  logits: tf.Tensor,
  global_distance: tf.Tensor | None,
  reference: matching.ReferenceBank,
  factor: float,
) -> tf.Tensor:
  """Logits with which look-alikes that are both in both of two parts win one part each.

  Two objects look alike if what either wins has a mean distance to the other one of at most .55 and
  of .15 more than to itself. What parts them may be another object. In a part, the logits of the
  two objects are exchanged where the wrong one wins. An object of which as many pixels were kept as
  of the background may be up to twice as large as they say, and so may its part.

  Args:
    logits: see `give_back`.
    global_distance: see `give_back`.
    reference: see `give_back`.
    factor: see `give_back`.

  Returns:
    float32 [objects, h4, w4].
  """
  if global_distance is None:
    return logits
  unmixed = lambda: _unmixed(logits, global_distance, reference, factor)
  # A single object is mixed with none.
  return tf.cond(tf.shape(logits)[0] > 2, unmixed, lambda: logits)


def _unmixed(
  logits: tf.Tensor, global_distance: tf.Tensor, reference: matching.ReferenceBank, factor: float
) -> tf.Tensor:
  """See `unmix`."""
  count = tf.shape(logits)[0]
  won = one_hot(winner.of_logits(logits), count)[1:]
  kept = matching.kept_pixels(reference, count)
  sizes = _log(matching.fewest_and_mean_pixels(reference, count)[1][1:])
  is_least = kept[1:] >= kept[0]
  means = winner.mean_distances(won, global_distance[1:])
  is_alike = means <= tf.minimum(tf.linalg.diag_part(means)[:, tf.newaxis] + _FARTHER, _ALIKE)
  are_touching = tf.einsum('ahw,bhw->ab', connected.grown(won, 1), won) > 0
  may_be = is_alike & tf.transpose(is_alike) & are_touching
  may_be &= (kept[1:] > 0) & ~(is_least[:, tf.newaxis] & is_least)
  may_be &= tf.reduce_sum(won, axis=[1, 2]) >= _LEAST_POSITIONS
  index = tf.range(count - 1)
  pairs = tf.where(may_be & tf.transpose(may_be) & (index[:, tf.newaxis] < index))

  def unmix_pair(logits: tf.Tensor, pair: tf.Tensor) -> tf.Tensor:
    are_wrong = _are_wrong(
      tf.gather(won, pair), tf.gather(sizes, pair), tf.gather(is_least, pair), factor
    )
    both = tf.cast(pair, tf.int32) + 1
    order = tf.tensor_scatter_nd_update(tf.range(count), both[:, tf.newaxis], both[::-1])
    return tf.where(are_wrong, tf.gather(logits, order), logits)

  return tf.foldl(unmix_pair, pairs, logits, parallel_iterations=1)


def _are_wrong(own: tf.Tensor, sizes: tf.Tensor, is_least: tf.Tensor, factor: float) -> tf.Tensor:
  """Which positions the wrong one of two objects wins, if they are mixed: bool [h4, w4].

  Args:
    own: float32 [2, h4, w4] of 0 and 1, what they win.
    sizes: float32 [2], logarithms of their sizes.
    is_least: bool [2], whether an object may be larger.
    factor: see `give_back`.
  """
  parts = _parts_of_both(own)
  wins = tf.einsum('phw,ohw->po', parts, own)
  of_parts = tf.reduce_sum(wins, axis=1)
  between = _log(of_parts[1]) - _log(of_parts[0])

  def error(between: tf.Tensor) -> tf.Tensor:
    off, room = between - (sizes[1] - sizes[0]), tf.where(is_least, tf.math.log(_LARGER), 0.0)
    # Less than 0 if the first object is larger than it says.
    return tf.maximum(tf.maximum(off - room[1], -off - room[0]), 0.0)

  # Straight: the first object has the first part.
  if_straight, if_crossed = error(between), error(-between)
  is_straight = if_straight < if_crossed
  straight = wins[0, 0] + wins[1, 1]
  is_mixed = tf.reduce_all(tf.reduce_min(wins, axis=1) >= _MIXED * of_parts)
  is_mixed &= tf.minimum(if_straight, if_crossed) <= tf.math.log(factor)
  is_mixed &= tf.abs(if_straight - if_crossed) >= tf.math.log(_TELLING)
  is_mixed &= tf.reduce_min(of_parts) >= _LEAST_POSITIONS
  is_mixed &= tf.reduce_sum(of_parts) >= _BOTH * tf.reduce_sum(own)
  is_mixed &= is_straight == (2.0 * straight > tf.reduce_sum(of_parts))
  parts = tf.where(is_straight, parts, parts[::-1])
  return is_mixed & tf.reduce_any(parts * own[::-1] > 0, axis=0)


def _parts_of_both(own: tf.Tensor) -> tf.Tensor:
  """The two largest parts of what two objects win together: float32 [2, h4, w4] of 0 and 1."""
  return _two_largest(connected.numbered(tf.reduce_max(own, axis=0, keepdims=True)))[0]


def _two_largest(number: tf.Tensor) -> tf.Tensor:
  """Of numbered parts int32 [maps, h4, w4] the largest two, as float32 [maps, 2, h4, w4]."""
  count, height, width = tf.unstack(tf.shape(number))
  numbers = height * width + 2  # One of them not used, so that there are two to choose from.
  sizes = tf.math.bincount(
    tf.reshape(number, tf.stack([count, height * width])),
    minlength=numbers,
    maxlength=numbers,
    axis=-1,
  )
  largest, which = tf.math.top_k(sizes[:, 1:], k=2)
  which = tf.where(largest > 0, which + 1, -1)[..., tf.newaxis, tf.newaxis]
  return tf.cast(number[:, tf.newaxis] == which, tf.float32)


class _Pairs(NamedTuple):
  """What speaks for every pair of objects: the row's gives a part to the column's.

  Attributes:
    error: float32 [objects, objects], how far the ratio of sizes is off, as a logarithm; `_NEVER`
      for a pair that is not to be.
    which: int32 [objects, objects], 0 or 1, the part that has the column's size.
  """

  error: tf.Tensor
  which: tf.Tensor

  @classmethod
  def of(
    cls,
    parts: tf.Tensor,
    positions: tf.Tensor,
    kept: tf.Tensor,
    mean: tf.Tensor,
    global_distance: tf.Tensor,
    factor: float,
  ) -> '_Pairs':
    """All pairs of objects; no object but `kept`'s first one is the background.

    Args:
      parts: float32 [objects, 2, h4, w4] of 0 and 1, the largest first.
      positions: float32 [objects] that an object wins.
      kept: float32 [objects + 1], `matching.kept_pixels`.
      mean: float32 [objects + 1], `matching.fewest_and_mean_pixels`.
      global_distance: float32 [objects, h4, w4].
      factor: see `give_back`.
    """
    sizes = tf.reduce_sum(parts, axis=[2, 3])
    known, of_object = (kept[1:] > 0) & (kept[1:] < kept[0]), _log(mean[1:])
    of_objects = of_object[tf.newaxis] - of_object[:, tf.newaxis]
    of_parts = _log(sizes[:, 1:]) - _log(sizes[:, :1])
    if_first, if_second = tf.abs(-of_parts - of_objects), tf.abs(of_parts - of_objects)
    error, which = tf.minimum(if_first, if_second), tf.cast(if_second <= if_first, tf.int32)
    may_be = known[:, tf.newaxis] & known[tf.newaxis] & (error <= tf.math.log(factor))
    may_be &= tf.abs(if_first - if_second) >= tf.math.log(_TELLING)
    may_be &= sizes[:, 1:] >= _LEAST_POSITIONS
    may_be &= positions[tf.newaxis] < _NOWHERE * _chosen(sizes[..., tf.newaxis], which)
    may_be &= _farther(parts, sizes, which, global_distance) <= _FARTHER
    return cls(tf.where(may_be, error, _NEVER), which)

  def best(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(object that gives, object that gets, part), each an int32 scalar."""
    count = tf.shape(self.error)[0]
    pair = tf.argmin(tf.reshape(self.error, [-1]), output_type=tf.int32)
    return pair // count, pair % count, tf.reshape(self.which, [-1])[pair]


def _two_largest_parts(won: tf.Tensor) -> tf.Tensor:
  """Two parts of every object, the largest first: float32 [objects, 2, h4, w4] of 0 and 1."""
  count, height, width = tf.unstack(tf.shape(won))
  of_any = tf.reduce_max(won, axis=0, keepdims=True)
  core = 1.0 - connected.grown(1.0 - of_any, _THREAD)
  number = connected.numbered(core) * tf.cast(won, tf.int32)
  cores = _two_largest(number)
  whole = connected.grown(tf.reshape(cores, tf.stack([2 * count, height, width])), 2 * _THREAD)
  first, second = tf.unstack(tf.reshape(whole, tf.shape(cores)) * won[:, tf.newaxis], 2, axis=1)
  return tf.stack([first, second * (1.0 - first)], axis=1)


def _farther(
  parts: tf.Tensor, sizes: tf.Tensor, which: tf.Tensor, global_distance: tf.Tensor
) -> tf.Tensor:
  """Mean distance of a part to the column's object, less the row's: float32 [objects, objects]."""
  means = tf.einsum('gphw,ohw->gpo', parts, global_distance)
  means = tf.math.divide_no_nan(means, sizes[..., tf.newaxis])
  of_giver = tf.linalg.diag_part(tf.transpose(means, [1, 0, 2]))
  farther = means - tf.transpose(of_giver)[..., tf.newaxis]
  return _chosen(farther, which)


def _chosen(values: tf.Tensor, which: tf.Tensor) -> tf.Tensor:
  """Of values [objects, 2, objects or 1] those of the part that is chosen: [objects, objects]."""
  return tf.where(which == 1, values[:, 1], values[:, 0])


def _log(sizes: tf.Tensor) -> tf.Tensor:
  """Logarithm of sizes, of 0 as of next to nothing."""
  return tf.math.log(tf.maximum(sizes, 1e-6))

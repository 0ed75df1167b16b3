"""Look-alikes that cross: their pixels go to the one that they move with.

While two objects that look alike touch, matching cannot tell their pixels apart: both have been
near, and both look the same. But what belongs together moves together. For every object that is
near another one, the shift is found that lays it as it was onto the frame best. A position that one
object wins goes to another that it fits better, laid on like this.

What another object covers is remembered with the look that it had last, and moves on with its
object: what comes out again is known, and what is in front is not taken for what is behind.

Motion counts only between objects that look alike as a whole and that move apart: a hand that rests
on a stone moves like the stone, not like its body. Not in the paper; docs/notes/options.md has what
it brings.
"""

import numpy as np
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.inference import winner
from feelvos_tf.inference.head_area import Box
from feelvos_tf.matching.scores import distance_from_squared
from feelvos_tf.matching.scores import NO_DISTANCE
from feelvos_tf.matching.scores import rescaled
from feelvos_tf.model.feelvos import HiddenParts
from feelvos_tf.model.feelvos import one_hot
from feelvos_tf.model.feelvos import PreviousFrame

# Positions of an object with which its shift is found, at most; evenly spaced in raster order.
_SAMPLES = 256
# An object of fewer positions gets none. Nor do so few that can be seen, or a smaller share of an
# object, tell how it moves: it goes on as before.
_LEAST_POSITIONS = 40
_LEAST_SHARE = 0.3
# What a shift by one position more than in the frame before costs, as a mean distance.
_PER_POSITION = 0.003
# Side of the square over which the distance of a position to what was laid on is averaged.
_SQUARE = 5
# Objects move apart if their shifts differ by as many positions, up and down or sideways.
_APART = 2
# A position fits no object from which it is as far as this.
_NO_FIT = 0.9
# Objects look alike if their mean global distance is at most this: on the reference frames that of
# both directions together, of what they win on a frame that of either direction.
_ALIKE = 0.55
# How much farther from an object, by global matching, a position may be that goes to it.
_FARTHER = 0.3


def nothing_hidden(embedding: tf.Tensor, num_objects: int | tf.Tensor) -> HiddenParts:
  """`HiddenParts` after a frame whose mask was given: nothing is hidden, and nothing moves.

  Args:
    embedding: float32 [h4, w4, embedding_dimension] of the frame.
    num_objects: int32 scalar, background included.
  """
  return HiddenParts(
    tf.zeros_like(embedding),
    tf.zeros(tf.shape(embedding)[:2], tf.int32),
    tf.zeros([num_objects, 2], tf.int32),
  )


def among_more(hidden: HiddenParts, places: np.ndarray, num_objects: int) -> HiddenParts:
  """`HiddenParts` of objects next to which others are followed from now on.

  Args:
    hidden: of before.
    places: int [objects of before], the new index of each, 0 of one that is followed no longer.
    num_objects: of now, background included.
  """
  motion = np.zeros((num_objects, 2), np.int32)
  motion[places] = hidden.motion
  motion[0] = 0
  labels = np.asarray(places, np.int32)[np.asarray(hidden.labels)]
  return hidden._replace(labels=tf.constant(labels), motion=tf.constant(motion))


def settle(
  logits: tf.Tensor,
  embedding: tf.Tensor,
  previous: PreviousFrame,
  global_distance: tf.Tensor | None,
  reference: matching.ReferenceBank | None,
  radius: int,
  k: int = 1,
  factor: float = 1.0,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Logits with which positions of crossing objects go to the one that they move with.

  Only positions that an object wins change, and only from one object to another, whose logits are
  exchanged there.

  Args:
    logits: float32 [objects, h4, w4]; the first is the background's.
    embedding: float32 [h4, w4, embedding_dimension] of the frame.
    previous: `PreviousFrame` with `hidden`.
    global_distance: float32 [objects, h4, w4] in [0, 1]; without it all objects look alike.
    reference: `matching.ReferenceBank` of the reference frames: objects that look alike there do so
      on this frame. None: only what they win on this frame says it.
    radius: positions up, down and sideways that an object may move from frame to frame. Objects at
      most twice that far from each other are looked at.
    k: neighbours over which global distances are averaged.
    factor: of squared distances, as `rule_distance_factor`; `global_distance` has it already.

  Returns:
    (logits; motion int32 [objects, 2], positions down and to the right, 0 of what was not looked
    at).
  """
  count = tf.shape(logits)[0]
  there = tf.maximum(one_hot(previous.labels, count), one_hot(previous.hidden_parts.labels, count))
  is_near = _near_others(there, radius)

  def follow() -> tuple[tf.Tensor, tf.Tensor]:
    motion, misfit = tf.map_fn(
      lambda index: tf.cond(
        is_near[index],
        lambda: _follow(embedding, previous, index, radius, factor),
        lambda: (tf.zeros([2], tf.int32), tf.fill(tf.shape(previous.labels), NO_DISTANCE)),
      ),
      tf.range(count),
      fn_output_signature=(tf.int32, tf.float32),
      parallel_iterations=1,
    )
    is_new = tf.reduce_sum(there, axis=[1, 2]) < _LEAST_POSITIONS
    shifts = tf.abs(motion[:, tf.newaxis] - motion)
    is_apart = tf.reduce_max(shifts, axis=-1) >= _APART
    distance = None
    if reference is not None:
      distance = rescaled(matching.distances_of_bank(reference, count, k), factor)
    return _given_to_best(logits, misfit, is_new, is_apart, global_distance, distance), motion

  standing = tf.zeros([count, 2], tf.int32)
  return tf.cond(tf.reduce_any(is_near), follow, lambda: (logits, standing))


def cover(
  previous: PreviousFrame, motion: tf.Tensor, labels: tf.Tensor, embedding: tf.Tensor
) -> HiddenParts:
  """What other objects cover of those that moved.

  Of several objects at a position that of the highest index is remembered.

  Args:
    previous: `PreviousFrame` of the frame before, with `hidden`.
    motion: int32 [objects, 2] of `settle`.
    labels: int32 [h4, w4], objects of this frame.
    embedding: float32 [h4, w4, embedding_dimension] of this frame.

  Returns:
    `HiddenParts` after this frame.
  """
  count = tf.shape(motion)[0]

  def moved(index: tf.Tensor) -> tf.Tensor:
    positions = _positions(previous, index) + motion[index]
    positions = tf.boolean_mask(positions, _are_inside(positions, tf.shape(labels)))
    found = tf.scatter_nd(positions, tf.ones(tf.shape(positions)[:1], tf.int32), tf.shape(labels))
    return tf.where((found > 0) & (labels > 0) & (labels != index), index, 0)

  def covered() -> HiddenParts:
    by_object = tf.map_fn(moved, tf.range(count), parallel_iterations=1)
    index = tf.reduce_max(by_object, axis=0)
    positions = tf.cast(tf.where(index > 0), tf.int32)
    index_there = tf.gather_nd(index, positions)
    _, looks = _looks(previous, positions - tf.gather(motion, index_there), index_there)
    return HiddenParts(tf.scatter_nd(positions, looks, tf.shape(embedding)), index, motion)

  # Nothing hides behind a single object.
  nothing = lambda: tf.nest.map_structure(tf.zeros_like, previous.hidden_parts)
  return tf.cond(count > 2, covered, nothing)


def _near_others(there: tf.Tensor, radius: int) -> tf.Tensor:
  """Whether the box around an object, grown, meets another object's.

  Args:
    there: float32 [objects, h4, w4] of 0 and 1.
    radius: by which both boxes grow.

  Returns:
    bool [objects].
  """
  count = tf.shape(there)[0]

  def edges(lines: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    index = tf.range(tf.shape(lines)[1])
    first = tf.reduce_min(tf.where(lines > 0, index, tf.int32.max // 2), axis=1)
    return first - radius, tf.reduce_max(tf.where(lines > 0, index, -1), axis=1) + radius

  is_meeting = tf.ones([count, count], tf.bool)
  for axis in (1, 2):
    first, last = edges(tf.reduce_max(there, axis=axis))
    is_meeting &= (first[:, tf.newaxis] <= last) & (first <= last[:, tf.newaxis])
  index = tf.range(count)
  is_object = (index > 0) & tf.reduce_any(there > 0, axis=[1, 2])
  is_other = index[:, tf.newaxis] != index
  return is_object & tf.reduce_any(is_meeting & is_other & is_object, axis=1)


def _follow(
  embedding: tf.Tensor, previous: PreviousFrame, index: tf.Tensor, radius: int, factor: float
) -> tuple[tf.Tensor, tf.Tensor]:
  """How an object moves, and how far every position is from it when it is laid on the frame.

  Args:
    embedding: of the frame.
    previous: `PreviousFrame`.
    index: of the object.
    radius: of the shifts that are tried.
    factor: see `settle`.

  Returns:
    (motion int32 [2], misfit float32 [h4, w4], NO_DISTANCE where the object is not laid).
  """
  positions = _positions(previous, index)
  is_seen, looks = _looks(previous, positions, index)
  seen, total = tf.reduce_sum(tf.cast(is_seen, tf.int32)), tf.size(is_seen)
  is_known = (seen >= _LEAST_POSITIONS) & (
    tf.cast(seen, tf.float32) >= _LEAST_SHARE * tf.cast(total, tf.float32)
  )
  last = previous.hidden_parts.motion[index]
  find = lambda: _motion(
    embedding,
    tf.boolean_mask(positions, is_seen),
    tf.boolean_mask(looks, is_seen),
    last,
    radius,
    factor,
  )
  motion = tf.cond(is_known, find, lambda: last)
  size, moved = tf.shape(previous.labels), positions + motion
  is_inside = _are_inside(moved, size)
  moved, looks = tf.boolean_mask(moved, is_inside), tf.boolean_mask(looks, is_inside)
  distance = distance_from_squared(
    factor * tf.reduce_sum((tf.gather_nd(embedding, moved) - looks) ** 2, axis=-1)
  )
  everywhere = tf.fill(size, NO_DISTANCE)
  return motion, tf.tensor_scatter_nd_update(everywhere, moved, distance)


def _positions(previous: PreviousFrame, index: tf.Tensor) -> tf.Tensor:
  """Where an object is known to have been, seen or covered: int32 [positions, 2]."""
  own = (previous.labels == index) | (previous.hidden_parts.labels == index)
  return tf.cast(tf.where(own), tf.int32)


def _looks(
  previous: PreviousFrame, positions: tf.Tensor, index: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """What is known of positions [n, 2] of one object, or each of the object of its index.

  Returns:
    (bool [n], whether it could be seen; float32 [n, channels], its embedding).
  """
  is_seen = tf.gather_nd(previous.labels, positions) == index
  looks = tf.where(
    is_seen[:, tf.newaxis],
    tf.gather_nd(previous.embedding, positions),
    tf.gather_nd(previous.hidden_parts.embedding, positions),
  )
  return is_seen, looks


def _are_inside(positions: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
  """Whether positions int32 [..., 2] are in maps of a size: bool [...]."""
  return tf.reduce_all((positions >= 0) & (positions < size), axis=-1)


def _motion(
  embedding: tf.Tensor,
  positions: tf.Tensor,
  looks: tf.Tensor,
  last: tf.Tensor,
  radius: int,
  factor: float,
) -> tf.Tensor:
  """The shift int32 [2] with which looks [n, channels] at positions [n, 2] fit a frame best."""
  count = tf.shape(positions)[0]
  samples = tf.minimum(count, _SAMPLES)
  which = tf.range(samples) * count // samples
  positions, looks = tf.gather(positions, which), tf.gather(looks, which)
  size = tf.shape(embedding)[:2]
  first, end = tf.reduce_min(positions, axis=0), tf.reduce_max(positions, axis=0) + 1
  box = Box(first[0], first[1], end[0], end[1]).grown(radius, size)
  frame = tf.reshape(box.cut(embedding), [-1, tf.shape(embedding)[-1]])
  squared = factor * (
    tf.reduce_sum(looks**2, axis=-1, keepdims=True)
    + tf.reduce_sum(frame**2, axis=-1)
    - 2.0 * tf.matmul(looks, frame, transpose_b=True)
  )
  line = tf.range(-radius, radius + 1)
  shifts = tf.stack(tf.meshgrid(line, line, indexing='ij'), axis=-1)
  shifts = tf.reshape(shifts, [-1, 2])
  moved = positions[:, tf.newaxis] + shifts
  is_inside = _are_inside(moved, size)
  moved = tf.where(is_inside[..., tf.newaxis], moved, positions[:, tf.newaxis])
  place = (moved[..., 0] - box.top) * (box.right - box.left) + moved[..., 1] - box.left
  distance = distance_from_squared(tf.maximum(tf.gather(squared, place, batch_dims=1), 0.0))
  cost = tf.reduce_mean(tf.where(is_inside, distance, NO_DISTANCE), axis=0)
  away = tf.cast(shifts - last, tf.float32)
  cost += _PER_POSITION * tf.sqrt(tf.reduce_sum(away**2, axis=-1))
  return shifts[tf.argmin(cost, output_type=tf.int32)]


def _given_to_best(
  logits: tf.Tensor,
  misfit: tf.Tensor,
  is_new: tf.Tensor,
  is_apart: tf.Tensor,
  global_distance: tf.Tensor | None,
  of_references: tf.Tensor | None,
) -> tf.Tensor:
  """Logits with which a position goes to the object that it fits best, of those it looks like.

  Args:
    logits: see `settle`.
    misfit: float32 [objects, h4, w4], distance to every object as it is laid on the frame.
    is_new: bool [objects], that keep what they win: nothing is known of their motion, and whatever
      had their pixels by mistake would never lose them.
    is_apart: bool [objects, objects], between which motion counts.
    global_distance: see `settle`.
    of_references: float32 [objects, objects], `matching.distances_of_bank`, or None.

  Returns:
    float32 [objects, h4, w4].
  """
  count = tf.shape(logits)[0]
  index = tf.range(count)[:, tf.newaxis, tf.newaxis]
  won_by = winner.of_logits(logits)
  is_object = won_by > 0
  smoothed = _smoothed(misfit, tf.cast(is_object, tf.float32))
  misfit = tf.where(index > 0, smoothed, NO_DISTANCE)
  at = lambda which, maps: tf.reduce_sum(tf.where(index == which, maps, 0.0), axis=0)
  between = lambda pairs: tf.transpose(tf.gather(pairs, won_by), [2, 0, 1])
  may_get = (misfit < _NO_FIT) & between(is_apart)
  if global_distance is not None:
    may_get &= global_distance <= at(won_by, global_distance) + _FARTHER
    may_get &= between(_alike(one_hot(won_by, count), global_distance, of_references))
  misfit_of_those = tf.where(may_get, misfit, 2.0 * NO_DISTANCE)
  best = tf.argmin(misfit_of_those, axis=0, output_type=tf.int32)
  is_better = tf.reduce_min(misfit_of_those, axis=0) < at(won_by, misfit)
  is_better &= is_object & ~tf.gather(is_new, won_by)
  best = tf.where(is_better, best, won_by)
  size = tf.reduce_sum(one_hot(best, count), axis=[1, 2])
  best = tf.where(tf.gather(size, best) >= _LEAST_POSITIONS, best, won_by)
  return winner.exchanged(logits, won_by, best)


def _alike(
  won: tf.Tensor, global_distance: tf.Tensor, of_references: tf.Tensor | None
) -> tf.Tensor:
  """Which objects look alike: bool [objects, objects], symmetric.

  Args:
    won: float32 [objects, h4, w4] of 0 and 1, what every object wins; of one that wins nothing the
      other one's say counts alone.
    global_distance: float32 [objects, h4, w4].
    of_references: see `_given_to_best`.
  """
  means = winner.mean_distances(won, global_distance)
  are_alike = tf.maximum(means, tf.transpose(means)) <= _ALIKE
  if of_references is not None:
    # Objects that touch look less alike for a while: in part hidden, or taken for each other.
    are_alike |= 0.5 * (of_references + tf.transpose(of_references)) <= _ALIKE
  return are_alike


def _smoothed(maps: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
  """Means of maps [objects, h4, w4] over squares, of the positions of a mask [h4, w4] alone."""
  mean = lambda maps: tf.nn.avg_pool2d(maps[..., tf.newaxis], _SQUARE, 1, 'SAME')[..., 0]
  return tf.math.divide_no_nan(mean(maps * mask), mean(mask[tf.newaxis]))

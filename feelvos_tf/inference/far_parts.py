"""Parts of an object that are far from where it was: another thing that looks like it.

The embedding tells what a pixel shows, not which of two alike it is: a second car that drives into
the picture gets the id of the first. Such a part touches nothing of the object's previous mask. If
another object was there, it stays that one's (`stay`). Else it is left out where the other parts of
the object, which do, are larger and more like the object in the reference frame (`leave_out`). What
comes out behind an occluder is soon one or the other, and stays. So does at once what comes out
behind another object: a part beside one, if it is no speck. Not in the paper; docs/notes/options.md
has what that brings.
"""

from collections.abc import Callable

import tensorflow as tf

from feelvos_tf.inference import connected
from feelvos_tf.inference import winner
from feelvos_tf.model.feelvos import one_hot
from feelvos_tf.model.feelvos import PreviousFrame

_LEAST_POSITIONS = 40  # Of stride 4; fewer beside another object are mostly pixels of that one.
# A part stays with another object if it is farther than as many positions from the rows or the
# columns of the one that wins it, and that share of it was the other object.
_AFAR = 30
_LEAST_SHARE = 0.2


def stay(logits: tf.Tensor, previous: PreviousFrame) -> tf.Tensor:
  """Logits with which no object takes from afar what another one was on the previous frame.

  A look-alike may be nearer to the reference of another object than to its own, of which it shows
  more or less than there. A part goes to the object that was there, if the one that wins it wins
  more near itself and was not beside the other. That one is left out there: as a close second it
  would win some pixels when logits are enlarged along edges, and be near on the next frame.

  Args:
    logits: float32 [objects, h4, w4]; the first is the background's.
    previous: `PreviousFrame`; what is hidden is where its object is, too.

  Returns:
    float32 [objects, h4, w4].
  """
  count = tf.shape(logits)[0]
  index = tf.range(count)[:, tf.newaxis, tf.newaxis]
  seen = one_hot(previous.labels, count)
  there = seen
  if previous.hidden:
    there = tf.maximum(seen, one_hot(previous.hidden_parts.labels, count))
  is_known = (index > 0) & tf.reduce_any(there > 0, axis=[1, 2], keepdims=True)
  near = tf.where(is_known, _near_rows_and_columns(there), 1.0)
  won_by = winner.of_logits(logits)
  won = one_hot(won_by, count)

  def give_back() -> tf.Tensor:
    far = won - connected.spread(near * won, won)
    far *= tf.cast(_sum(won - far) > _sum(far), tf.float32)
    total = _per_part(far)
    sizes = total(far)
    is_apart = tf.einsum('ahw,bhw->ab', connected.beside(there), there) == 0

    def share(other: tf.Tensor) -> tf.Tensor:
      """Of the part at a position, the share that was an object apart: float32 [h4, w4]."""
      shares = tf.math.divide_no_nan(total(far * seen[other]), sizes)
      may_be = is_apart[:, other, tf.newaxis, tf.newaxis] & (other > 0)
      return tf.reduce_max(tf.where(may_be, shares * far, 0.0), axis=0)

    shares = tf.map_fn(
      share, tf.range(count), fn_output_signature=tf.float32, parallel_iterations=1
    )
    is_others = tf.reduce_max(shares, axis=0) >= _LEAST_SHARE
    goes_to = tf.where(is_others, tf.argmax(shares, axis=0, output_type=tf.int32), won_by)
    given = winner.exchanged(logits, won_by, goes_to)
    return tf.where((index == won_by) & is_others, winner.LEFT_OUT, given)

  is_taken = (won > near) & (previous.labels > 0)
  return tf.cond(tf.reduce_any(is_taken), give_back, lambda: logits)


def _near_rows_and_columns(maps: tf.Tensor) -> tf.Tensor:
  """1 in the rows and columns within `_AFAR` of those of a map, else 0: [maps, height, width]."""
  grown = lambda lines: tf.nn.max_pool1d(lines[..., tf.newaxis], 2 * _AFAR + 1, 1, 'SAME')[..., 0]
  rows, columns = tf.reduce_max(maps, axis=2), tf.reduce_max(maps, axis=1)
  return grown(rows)[:, :, tf.newaxis] * grown(columns)[:, tf.newaxis]


def leave_out(
  logits: tf.Tensor, previous_labels: tf.Tensor, global_distance: tf.Tensor | None, radius: int
) -> tf.Tensor:
  """Logits with which no object wins far from itself, if it wins more, and more surely, near.

  A part is a set of positions that an object wins and that touch, also at corners. A position that
  is taken from one object may go to another that is far as well; that one loses it, too.

  Args:
    logits: float32 [objects, h4, w4]; the first is the background's.
    previous_labels: int32 [h4, w4], objects of the previous frame.
    global_distance: float32 [objects, h4, w4] in [0, 1]; None compares sizes alone.
    radius: positions of stride 4, up and down and sideways, that a part may be away from the object
      on the previous frame.

  Returns:
    float32 [objects, h4, w4].
  """
  count = tf.shape(logits)[0]
  index = tf.range(count)[:, tf.newaxis, tf.newaxis]
  near = connected.grown(one_hot(previous_labels, count), radius)
  won_by = lambda logits: one_hot(winner.of_logits(logits), count)

  def step(logits: tf.Tensor, won: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    kept = connected.spread(near * won, won)
    far = won - kept
    far -= tf.pad(_coming_out(far[1:], won[1:]), [[1, 0], [0, 0], [0, 0]])
    is_other = (_sum(kept) > _sum(far)) & (index > 0)
    if global_distance is not None:
      is_other &= _mean(global_distance, far) > _mean(global_distance, kept)
    logits = tf.where((far > 0) & is_other, tf.constant(winner.LEFT_OUT, logits.dtype), logits)
    return logits, won_by(logits)

  logits, _ = tf.while_loop(
    lambda _, won: tf.reduce_any((won > near) & (index > 0)),
    step,
    (logits, won_by(logits)),
    parallel_iterations=1,
    maximum_iterations=2,
  )
  return logits


def _coming_out(far: tf.Tensor, won: tf.Tensor) -> tf.Tensor:
  """Those parts of `far` that are beside another object and no specks; all [objects, h4, w4]."""
  total = _per_part(far)
  is_beside = total(connected.beside_others(won) * far) > 0
  return far * tf.cast(is_beside & (total(far) >= _LEAST_POSITIONS), far.dtype)


def _per_part(maps: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
  """A function of values [maps, height, width]: their sums over the part of a map at a position."""
  count = tf.shape(maps)[0]
  most = tf.size(maps[:1]) + 1
  part = connected.numbered(maps) + most * tf.range(count)[:, tf.newaxis, tf.newaxis]

  def total(values: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.math.unsorted_segment_sum(values, part, most * count), part)

  return total


def _sum(maps: tf.Tensor) -> tf.Tensor:
  return tf.reduce_sum(maps, axis=[1, 2], keepdims=True)


def _mean(values: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
  """Mean of values where maps are 1, float32 [objects, 1, 1]; 0 where they are nowhere."""
  return tf.math.divide_no_nan(_sum(values * maps), _sum(maps))

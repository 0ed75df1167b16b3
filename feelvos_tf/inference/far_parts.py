"""Parts of an object that are far from where it was: another thing that looks like it.

The embedding tells what a pixel shows, not which of two alike it is: a second car that drives into
the picture gets the id of the first. Such a part touches nothing of the object's previous mask. It
is left out where the other parts of the object, which do, are larger and more like the object in
the reference frame. What comes out behind an occluder is soon one or the other, and stays. So does
at once what comes out behind another object: a part beside one, if it is no speck. Not in the
paper; docs/notes/options.md has what that brings.
"""

import tensorflow as tf

from feelvos_tf.inference import connected
from feelvos_tf.inference import winner
from feelvos_tf.model.feelvos import one_hot

_LEAST_POSITIONS = 40  # Of stride 4; fewer beside another object are mostly pixels of that one.


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
  count = tf.shape(far)[0]
  most = tf.size(far[:1]) + 1
  part = connected.numbered(far) + most * tf.range(count)[:, tf.newaxis, tf.newaxis]

  def of_part(values: tf.Tensor) -> tf.Tensor:
    total = tf.math.unsorted_segment_sum(values, part, most * count)
    return tf.gather(total, part)

  is_beside = of_part(connected.beside_others(won) * far) > 0
  return far * tf.cast(is_beside & (of_part(far) >= _LEAST_POSITIONS), far.dtype)


def _sum(maps: tf.Tensor) -> tf.Tensor:
  return tf.reduce_sum(maps, axis=[1, 2], keepdims=True)


def _mean(values: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
  """Mean of values where maps are 1, float32 [objects, 1, 1]; 0 where they are nowhere."""
  return tf.math.divide_no_nan(_sum(values * maps), _sum(maps))

"""Connected parts of maps, with eight neighbours, as graph functions."""

import tensorflow as tf

_BESIDE = 3  # Positions, up and down and sideways.


def spread(values: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
  """The largest value in every connected part of maps.

  A step spreads values to the eight neighbours, then along the whole runs of rows and of columns,
  so that few steps are needed.

  Args:
    values: float32 [maps, height, width], at least 0, and 0 where maps are.
    maps: float32 [maps, height, width] of 0 and 1.

  Returns:
    float32 [maps, height, width], 0 where maps are.
  """
  across = tf.transpose(maps, [0, 2, 1])
  in_rows, in_columns = _runs(maps), _runs(across)

  def step(found: tf.Tensor, before: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    del before
    spread = _along(grown(found, 1) * maps, in_rows) * maps
    spread = tf.transpose(_along(tf.transpose(spread, [0, 2, 1]), in_columns) * across, [0, 2, 1])
    return spread, found

  found, _ = tf.while_loop(
    lambda found, before: tf.reduce_any(found > before),
    step,
    [values, tf.zeros_like(values) - 1.0],
    parallel_iterations=1,
  )
  return found


def numbered(maps: tf.Tensor) -> tf.Tensor:
  """A number for every connected part of maps, the same for all of its positions.

  Args:
    maps: float32 [maps, height, width] of 0 and 1, of at most 2^24 positions each.

  Returns:
    int32 [maps, height, width]: 0 where maps are, else 1 to height * width; parts of one map have
    different numbers.
  """
  shape = tf.shape(maps)[1:]
  position = tf.reshape(tf.range(1, shape[0] * shape[1] + 1), shape)
  return tf.cast(spread(maps * tf.cast(position, tf.float32), maps), tf.int32)


def grown(maps: tf.Tensor, radius: int) -> tf.Tensor:
  """Maps [maps, height, width] with every value as a square of 2 radius + 1, the largest on top."""
  side = 2 * radius + 1
  rows = tf.nn.max_pool2d(maps[..., tf.newaxis], [side, 1], 1, 'SAME')
  return tf.nn.max_pool2d(rows, [1, side], 1, 'SAME')[..., 0]


def beside(maps: tf.Tensor) -> tf.Tensor:
  """Maps [maps, height, width] with every value up to `_BESIDE` positions around it as well."""
  return grown(maps, _BESIDE)


def beside_others(maps: tf.Tensor) -> tf.Tensor:
  """1 at and around what other maps have, up to `_BESIDE` positions away from it, else 0.

  Args:
    maps: float32 [maps, height, width] of 0 and 1, of which no two have the same position.

  Returns:
    float32 [maps, height, width].
  """
  return beside(tf.reduce_sum(maps, axis=0, keepdims=True) - maps)


def _runs(maps: tf.Tensor) -> tf.Tensor:
  """int32 [maps * rows * columns]: number of the run of equal values in its row."""
  starts = tf.concat(
    [tf.ones_like(maps[..., :1], tf.bool), maps[..., 1:] != maps[..., :-1]], axis=-1
  )
  return tf.cumsum(tf.cast(tf.reshape(starts, [-1]), tf.int32)) - 1


def _along(maps: tf.Tensor, runs: tf.Tensor) -> tf.Tensor:
  """Maps in which the largest value of a run is that of all its positions."""
  largest = tf.math.segment_max(tf.reshape(maps, [-1]), runs)
  return tf.reshape(tf.gather(largest, runs), tf.shape(maps))

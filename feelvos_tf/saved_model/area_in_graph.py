"""Frames scaled down by pixel area inside a graph, with the bits of `cv2.INTER_AREA`.

`FrameGeometry.shrink_frame` scales frames for `VideoSegmenter`. An exported model has to see the
same pixels, or its masks would differ. The arithmetic is that of OpenCV 4 for 8 bits
(`modules/imgproc/src/resize.cpp`, `computeResizeAreaTab` and `ResizeArea_Invoker`): sums in
float32, along rows first; whole factors are summed as integers.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

_LEAST_SHARE = 1e-3  # OpenCV leaves smaller shares of a pixel out.


def shrink_frame(frame: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
  """A frame at a size that is no larger on either side.

  Args:
    frame: uint8 [height, width, channels].
    size: int32 [2], height and width of the result.

  Returns:
    uint8 [size[0], size[1], channels].
  """
  given = tf.shape(frame)[:2]
  whole = tf.reduce_all(tf.equal(given % size, 0))
  smaller = lambda: tf.cond(
    whole, lambda: _by_whole_factors(frame, given // size, size), lambda: _by_shares(frame, size)
  )
  result = tf.cond(tf.reduce_all(tf.equal(given, size)), lambda: frame, smaller)
  return tf.ensure_shape(result, [None, None, frame.shape[2]])


def _by_whole_factors(frame: tf.Tensor, factors: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
  """Means of blocks of `factors` pixels."""
  shape = tf.stack([size[0], factors[0], size[1], factors[1], tf.shape(frame)[2]])
  total = tf.reduce_sum(tf.cast(tf.reshape(frame, shape), tf.int32), axis=[1, 3])
  # Blocks of 2x2 are rounded half up, others half to even.
  share = 1.0 / tf.cast(tf.reduce_prod(factors), tf.float32)
  mean = tf.where(
    tf.reduce_all(tf.equal(factors, 2)),
    (total + 2) // 4,
    tf.cast(tf.round(tf.cast(total, tf.float32) * share), tf.int32),
  )
  return tf.cast(mean, tf.uint8)


def _by_shares(frame: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
  """Means over areas that cut pixels."""
  rows = _weighted(lambda at: tf.gather(frame, at, axis=1), tf.shape(frame)[1], size[1], [1, -1, 1])
  sums = _weighted(lambda at: tf.gather(rows, at), tf.shape(frame)[0], size[0], [-1, 1, 1])
  return tf.cast(tf.round(sums), tf.uint8)


def _weighted(
  pixels_at: Callable[[tf.Tensor], tf.Tensor],
  source: tf.Tensor,
  target: tf.Tensor,
  shape: Sequence[int],
) -> tf.Tensor:
  """Sums of the pixels of one axis, weighted by the share of them that every target pixel covers.

  Args:
    pixels_at: function of int32 [target], positions, that gives values at them.
    source, target: int32 scalars, lengths of the axis.
    shape: of the weights, to multiply them with values.
  """
  positions, weights = _shares(source, target)

  def body(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    values = tf.cast(pixels_at(positions[i]), tf.float32)
    return i + 1, total + values * tf.reshape(weights[i], shape)

  first = tf.cast(pixels_at(positions[0]), tf.float32) * tf.reshape(weights[0], shape)
  return tf.while_loop(
    lambda i, _: i < tf.shape(positions)[0], body, (1, first), parallel_iterations=1
  )[1]


def _shares(source: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Positions int32 and weights float32, both [taps, target], of an axis; unused weights are 0."""
  one = tf.constant(1.0, tf.float64)
  longest = tf.cast(source, tf.float64)
  scale = one / (tf.cast(target, tf.float64) / longest)  # In OpenCV's order of rounding.
  start = tf.cast(tf.range(target), tf.float64) * scale
  end = start + scale
  width = tf.minimum(scale, longest - start)
  last = tf.minimum(tf.floor(end), longest - one)
  first = tf.minimum(tf.math.ceil(start), last)
  taps = tf.range(tf.cast(tf.math.ceil(scale), tf.int32) + 2)
  at = first - one + tf.cast(taps[:, tf.newaxis], tf.float64)
  before = tf.where(first - start > _LEAST_SHARE, first - start, 0.0)
  after = tf.where(end - last > _LEAST_SHARE, tf.minimum(tf.minimum(end - last, one), width), 0.0)
  covered = tf.where(at < first, before, tf.where(at < last, one, 0.0))
  covered = tf.where(tf.equal(at, last), after, covered)
  at = tf.clip_by_value(at, tf.zeros_like(at), longest - one)
  return tf.cast(at, tf.int32), tf.cast(covered / width, tf.float32)

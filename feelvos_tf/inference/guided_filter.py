"""Logits at full size whose borders follow the edges of the frame: joint upsampling.

The head decides at stride 4; enlarged bilinearly, its borders are smooth whatever the frame shows.
Here a guided filter enlarges them (He, Sun, Tang: Guided Image Filtering, ECCV 2010, for colour):
around every position the logits are fitted as a linear function of the frame's colours, and that
function, not its values, is enlarged and given the colours at full size. The functions are fitted
at stride 4 (He and Sun: Fast Guided Filter, arXiv 1505.00996).

Not in the paper of FEELVOS; docs/notes/options.md has what it brings.
"""

import tensorflow as tf

from feelvos_tf.deeplab import resizing
from feelvos_tf.inference import winner
from feelvos_tf.model import geometry

# Near borders logits count as at most this much less than the winner's, or one sure position
# decides about all around it.
_LIMIT = 4.0
_NEAR = 2  # positions
_STRIDE = 4


def enlarge_logits(
  logits: tf.Tensor, frame: tf.Tensor | None, size: geometry.Size, epsilon: float | None
) -> tf.Tensor:
  """Logits at full size.

  Args:
    logits: float32 [objects, h4, w4]; the first is the background's.
    frame: uint8 [frame height, frame width, 3], RGB; its corners are those of the logits. None
      where `epsilon` is.
    size: (height, width) of the result; from the frame's size on it is reached bilinearly.
    epsilon: `InferenceOptions.guided_filter_epsilon`; None: bilinear, `geometry.enlarge_logits`.

  Returns:
    float32 [objects, height, width]. With `epsilon` less than those of the background, which are
    0; `winner.LEFT_OUT` for an object that wins no position.
  """
  if epsilon is None:
    return geometry.enlarge_logits(logits, size)
  colours = tf.cast(frame, tf.float32)[tf.newaxis] / 255.0
  shape, size = tf.shape(colours)[1:3], tf.convert_to_tensor(size, tf.int32)
  limited, rest = _relative(logits)
  linear = _mean(_fit(_shrink(colours, tf.shape(logits)[1:]), limited, epsilon))
  linear += tf.pad(rest, [[0, 0], [0, 0], [0, 0], [3 * tf.shape(rest)[-1], 0]])
  linear = resizing.resize_bilinear(linear, shape)
  linear = tf.reshape(linear, [shape[0], shape[1], 4, -1])
  full = tf.reduce_sum(linear[:, :, :3] * colours[0, ..., tf.newaxis], axis=2) + linear[:, :, 3]
  full = tf.transpose(full, [2, 0, 1])
  is_full = tf.reduce_all(tf.equal(size, shape))
  full = tf.cond(is_full, lambda: full, lambda: geometry.enlarge_logits(full, size))
  count = tf.shape(logits)[0]
  index = tf.range(_first(count), count)[:, tf.newaxis, tf.newaxis]
  wins = tf.reduce_any(winner.of_logits(logits) == index, axis=[1, 2], keepdims=True)
  return tf.pad(tf.where(wins, full, winner.LEFT_OUT), [[_first(count), 0], [0, 0], [0, 0]])


def _first(count: tf.Tensor) -> tf.Tensor:
  """The first channel that is filtered: the background's is 0, unless there is no other."""
  return tf.minimum(1, count - 1)


def _relative(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Logits less the background's, near borders limited.

  Args:
    logits: float32 [objects, h4, w4].

  Returns:
    (limited everywhere; what that takes from those that are not near a border), each float32
    [1, h4, w4, channels].
  """
  first = _first(tf.shape(logits)[0])
  last = lambda maps: tf.transpose(maps[first:] - maps[:1], [1, 2, 0])[tf.newaxis]
  full = last(logits)
  limited = last(tf.maximum(logits - tf.reduce_max(logits, axis=0), -_LIMIT))
  least = lambda maps: -tf.nn.max_pool2d(-maps, 2 * _NEAR + 1, 1, 'SAME')
  return limited, least(tf.nn.relu(full - limited)) - least(tf.nn.relu(limited - full))


def _shrink(colours: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
  """Colours [1, height, width, 3] at stride 4: means of 5x5 pixels around every position."""
  colours = resizing.resize_bilinear(colours, (size - 1) * _STRIDE + 1)
  return tf.nn.avg_pool2d(colours, _STRIDE + 1, _STRIDE, 'SAME')


def _mean(maps: tf.Tensor) -> tf.Tensor:
  """Means of 3x3 positions of maps [1, height, width, channels], of those that are there."""
  return tf.nn.avg_pool2d(maps, 3, 1, 'SAME')


def _fit(colours: tf.Tensor, values: tf.Tensor, epsilon: float) -> tf.Tensor:
  """The linear functions of colours that are nearest to values, around every position.

  Args:
    colours: float32 [1, h4, w4, 3].
    values: float32 [1, h4, w4, maps].
    epsilon: added to the variances.

  Returns:
    float32 [1, h4, w4, 4 * maps]: factors of red, green and blue, and what is added, each of all
    maps.
  """
  mean, mean_value = _mean(colours), _mean(values)
  pairs = [_mean(colours * colours[..., i : i + 1]) - mean * mean[..., i : i + 1] for i in range(3)]
  rows = [pair + tf.one_hot(i, 3, on_value=epsilon, off_value=0.0) for i, pair in enumerate(pairs)]
  # Columns of the adjugate of the covariance, which is symmetric.
  columns = [tf.linalg.cross(rows[(i + 1) % 3], rows[(i + 2) % 3]) for i in range(3)]
  determinant = tf.reduce_sum(rows[0] * columns[0], axis=-1, keepdims=True)
  together = [
    (_mean(colours[..., i : i + 1] * values) - mean[..., i : i + 1] * mean_value) / determinant
    for i in range(3)
  ]
  factors = [sum(columns[j][..., i : i + 1] * together[j] for j in range(3)) for i in range(3)]
  added = mean_value - sum(mean[..., i : i + 1] * factors[i] for i in range(3))
  return tf.concat([*factors, added], axis=-1)

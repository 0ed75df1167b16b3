"""Sizes of a frame: as given, as the network sees it, and at stride 4."""

import tensorflow as tf

from feelvos_tf.deeplab import layers


def working_size(size, options):
  """Size at which a model works on a frame; see `FeelvosOptions.internal_size`.

  Args:
    size: int32 [2], (height, width) of the frame.
    options: `FeelvosOptions`.

  Returns:
    int32 [2].
  """
  size = tf.convert_to_tensor(size)
  if options.internal_size is None:
    return size
  sides = tf.cast(size, tf.float32)
  scale = options.internal_size / tf.maximum(tf.reduce_min(sides), 1.0)
  scale = tf.clip_by_value(scale, *options.internal_scale_limits)
  return tf.cast(tf.maximum(tf.round(sides * scale), 1.0), tf.int32)


def network_size(size, options):
  """Size at which the network sees a frame at inference: `working_size`, put on the grid.

  Args:
    size: int32 [2], (height, width) of the frame.
    options: `FeelvosOptions`.

  Returns:
    int32 [2]; at least one step of the grid and one pixel.
  """
  return on_grid(working_size(size, options), options.frame_grid)


def on_grid(size, frame_grid=None):
  """The nearest size on a grid; see `FeelvosOptions.frame_grid`.

  Args:
    size: int32 [2], (height, width).
    frame_grid: int or None.

  Returns:
    int32 [2]; at least one step of the grid and one pixel.
  """
  size = tf.convert_to_tensor(size)
  if frame_grid is None:
    return size
  steps = tf.maximum((size - 1 + frame_grid // 2) // frame_grid, 1)
  return steps * frame_grid + 1


def stride_4_size(size, options):
  """Size of a frame's embeddings, (h4, w4) int32 [2]; arguments as of `network_size`."""
  return (network_size(size, options) - 1) // 4 + 1


def shrink_labels(labels, size=None):
  """Smaller labels: nearest neighbour, corners aligned.

  Args:
    labels: int32 [height, width].
    size: (height, width) of the result; None takes stride 4, that of the embeddings.

  Returns:
    int32 labels of that size.
  """
  if size is None:
    size = (tf.shape(labels) - 1) // 4 + 1
  return layers.resize_nearest(labels[tf.newaxis, ..., tf.newaxis], size)[0, ..., 0]


def enlarge_logits(logits, size):
  """Logits at full size: bilinear, corners aligned.

  Args:
    logits: float32 [objects, h4, w4].
    size: (height, width), int32.

  Returns:
    float32 [objects, height, width].
  """
  return layers.resize_bilinear(logits[..., tf.newaxis], size)[..., 0]

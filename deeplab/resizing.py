"""Sizes of feature maps: scaled, resized with aligned corners, padded as the original pads.

`layers` has the convolutions between them.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def scale_dimension(dimension: int | tf.Tensor, scale: float) -> int | tf.Tensor:
  """Size of a side after scaling with align_corners: int((dimension - 1) * scale + 1).

  Args:
    dimension: int or integer scalar tensor, side in pixels.
    scale: float, for example 1 / 4.

  Returns:
    int, or int32 scalar tensor if `dimension` is a tensor.

  Source: original `deeplab/model.py`, `scale_dimension`.
  """
  if isinstance(dimension, (int, np.integer)):
    return int((float(dimension) - 1.0) * scale + 1.0)
  return tf.cast((tf.cast(dimension, tf.float32) - 1.0) * scale + 1.0, tf.int32)


def resize_bilinear(images: tf.Tensor, size: Sequence[int | tf.Tensor] | tf.Tensor) -> tf.Tensor:
  """Bilinear resize with aligned corners.

  Args:
    images: [batch, height, width, channels], any float dtype.
    size: (height, width), ints or int32 scalars.

  Returns:
    [batch, size[0], size[1], channels] of the dtype of `images`.

  Source: `tf.image.resize_bilinear(align_corners=True)` of TF1, used all over the original.
  """
  resized = tf.raw_ops.ResizeBilinear(images=images, size=size, align_corners=True)
  return tf.cast(resized, images.dtype)


def resize_nearest(labels: tf.Tensor, size: Sequence[int | tf.Tensor] | tf.Tensor) -> tf.Tensor:
  """Nearest neighbour resize with aligned corners; halves are rounded away from zero.

  Args:
    labels: [batch, height, width, channels], any dtype.
    size: (height, width), ints or int32 scalars.

  Returns:
    [batch, size[0], size[1], channels] of the dtype of `labels`.
  """
  return tf.raw_ops.ResizeNearestNeighbor(images=labels, size=size, align_corners=True)


def pad_for_kernel(inputs: tf.Tensor, kernel_size: int, rate: int = 1) -> tf.Tensor:
  """Zero padding that depends on the kernel alone, not on the input's size.

  Args:
    inputs: [batch, height, width, channels], any dtype.
    kernel_size: int, side of the kernel.
    rate: int, atrous rate.

  Returns:
    [batch, height + (kernel_size - 1) * rate, width + (kernel_size - 1) * rate, channels] of the
    dtype of `inputs`.

  Source: original `deeplab/core/xception.py`, `fixed_padding`.
  """
  total = (kernel_size - 1) * rate
  before = total // 2
  after = total - before
  return tf.pad(inputs, [[0, 0], [before, after], [before, after], [0, 0]])


@keras.saving.register_keras_serializable(package='deeplab')
class ResizeLike(keras.layers.Layer):
  """Resizes bilinearly, corners aligned, to the size of another tensor times a scale.

  Call with (float [batch, height, width, channels], [batch, other height, other width, any]); the
  result is [batch, scale_dimension(other height), scale_dimension(other width), channels] of the
  first one's dtype.
  """

  def __init__(self, scale: float = 1.0, **kwargs: Any) -> None:
    """Args: scale, a factor on the sides of the other tensor; **kwargs of keras.layers.Layer."""
    super().__init__(**kwargs)
    self.scale = scale

  def call(self, inputs: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    return resize_bilinear(inputs, self._size(tf.shape(other)))

  def _size(self, shape: tf.Tensor) -> list[int | tf.Tensor]:
    return [scale_dimension(side, self.scale) for side in (shape[1], shape[2])]

  def compute_output_spec(
    self, inputs: keras.KerasTensor, other: keras.KerasTensor
  ) -> keras.KerasTensor:
    size = [
      None if side is None else scale_dimension(side, self.scale) for side in other.shape[1:3]
    ]
    return keras.KerasTensor((inputs.shape[0], *size, inputs.shape[3]), self.compute_dtype)

  def get_config(self) -> dict[str, Any]:
    return {**super().get_config(), 'scale': self.scale}

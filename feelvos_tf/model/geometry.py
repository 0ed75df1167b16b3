"""Sizes of a frame on its way through the network, and resizing between them: the one place.

A size is (height, width): two ints, or an int32 tensor [2] inside a graph.
"""

from collections.abc import Callable
import dataclasses
from typing import cast, TypeAlias

import cv2
import numpy as np
import tensorflow as tf

from feelvos_tf.deeplab import resizing
from feelvos_tf.model import frame_size
from feelvos_tf.model.options import InferenceOptions

Size: TypeAlias = tuple[int, int] | tf.Tensor


@dataclasses.dataclass(frozen=True)
class FrameGeometry:
  """Sizes of the frames of one video; made once a video by `FrameGeometry.of`.

  >>> sizes = FrameGeometry.of((480, 854), InferenceOptions(frame_grid=16))
  >>> sizes.network, sizes.stride_4
  ((481, 849), (121, 213))

  Attributes:
    frame: as frames are given; masks come out at this size.
    internal: as frames are handed to a graph: `frame`, or less with `max_internal_size`.
    working: at which the model works, see `InferenceOptions.internal_size`; None for an exported
      model, whose graph alone knows it.
    network: as the network sees them: `working`, put on `InferenceOptions.frame_grid`; None
      likewise.
    stride_4: of features, embeddings, labels of the state, distances and logits; None likewise.
  """

  frame: Size
  internal: Size
  working: Size | None = None
  network: Size | None = None
  stride_4: Size | None = None

  @classmethod
  def of(
    cls, frame: Size, options: InferenceOptions, max_internal_size: int | None = None
  ) -> 'FrameGeometry':
    """The sizes for a model.

    Args:
      frame: size of the frames.
      options: the model's.
      max_internal_size: longer side in pixels at which frames are segmented; None: the option
        `largest_side`.
    """
    longest = options.largest_side if max_internal_size is None else max_internal_size
    internal = _at_most(frame, longest)
    working = _at_most(_working_size(internal, options), longest)
    return cls(frame, internal, working, *_network_sizes(working, options))

  def shrink_frame(self, frame: np.ndarray) -> np.ndarray:
    """A frame uint8 [height, width, 3] of size `frame` at size `internal`, by pixel area."""
    if tuple(self.internal) == frame.shape[:2]:
      return frame
    height, width = self.internal
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)

  def scaled(self, scale: float) -> tuple[int, int]:
    """`working`, which has to be two ints, times a scale; corners aligned as in DeepLab."""
    height, width = cast(tuple[int, int], self.working)
    return resizing.scale_dimension(height, scale), resizing.scale_dimension(width, scale)

  def at_scale(self, scale: float, options: InferenceOptions) -> 'FrameGeometry':
    """The sizes of frames that are handed to a graph at size `scaled(scale)`."""
    size = self.scaled(scale)
    return FrameGeometry(size, size, size, *_network_sizes(size, options))


def _at_most(size: Size, longest: int | None) -> Size:
  """`frame_size.at_most` of ints or a tensor."""
  if longest is None or not tf.is_tensor(size):
    return frame_size.at_most(size, longest)
  # Floats of Python have 64 bits: both have to round to one size.
  scale = tf.minimum(longest / tf.cast(tf.reduce_max(size), tf.float64), 1.0)
  return tf.cast(tf.maximum(tf.round(tf.cast(size, tf.float64) * scale), 1.0), tf.int32)


def _working_size(size: Size, options: InferenceOptions) -> Size:
  """`size` with the shorter side of `internal_size`, as far as its limits allow."""
  if options.internal_size is None:
    return size
  least, greatest = options.internal_scale_limits
  if tf.is_tensor(size):
    sides = tf.cast(size, tf.float64)  # As in `_at_most`.
    scale = options.internal_size / tf.maximum(tf.reduce_min(sides), 1.0)
    scale = tf.minimum(tf.maximum(scale, least), greatest)
    return tf.cast(tf.maximum(tf.round(sides * scale), 1.0), tf.int32)
  scale = min(max(options.internal_size / min(size), least), greatest)
  height, width = size
  return max(round(height * scale), 1), max(round(width * scale), 1)


def _network_sizes(working: Size, options: InferenceOptions) -> tuple[Size, Size]:
  """`network` and `stride_4` of a size at which a model works."""
  network = _on_grid(working, options.frame_grid)
  return network, _each_side(lambda side, _: (side - 1) // 4 + 1, network)


def _on_grid(size: Size, grid: int | None) -> Size:
  """The nearest size of multiples of `grid` plus one; at least one step and one pixel."""
  if grid is None:
    return size
  return _each_side(lambda side, most: most((side - 1 + grid // 2) // grid, 1) * grid + 1, size)


def _each_side(function: Callable, size: Size) -> Size:
  """`function` of a side and the maximum to use: of both ints, or of the tensor."""
  if tf.is_tensor(size):
    return function(size, tf.maximum)
  height, width = size
  return function(height, max), function(width, max)


def shrink_labels(labels: tf.Tensor, size: Size | None = None) -> tf.Tensor:
  """Smaller labels: nearest neighbour, corners aligned.

  Args:
    labels: integers [height, width] or [images, height, width].
    size: (h4, w4) of the result; None takes stride 4 of frames as they are.

  Returns:
    int32 [h4, w4] or [images, h4, w4].
  """
  labels = tf.cast(labels, tf.int32)
  is_one = labels.shape.rank == 2
  images = labels[tf.newaxis] if is_one else labels
  if size is None:
    size = (tf.shape(images)[1:3] - 1) // 4 + 1
  small = resizing.resize_nearest(images[..., tf.newaxis], size)[..., 0]
  return small[0] if is_one else small


def shrink_object_labels(
  labels: tf.Tensor, num_objects: int | tf.Tensor, size: Size | None = None
) -> tf.Tensor:
  """Smaller labels in which no object has vanished.

  Nearest neighbour sampling misses objects of a few pixels. Such an object gets the one
  position nearest to the centre of its pixels that is not the only one of another object; it would
  be lost on the first frame otherwise.

  Args:
    labels: int32 [height, width], object index.
    num_objects: int32 scalar, background included.
    size: (h4, w4) of the result; None takes stride 4 of frames as they are.

  Returns:
    int32 [h4, w4].
  """
  small = shrink_labels(labels, size)
  full_counts = tf.math.bincount(
    tf.reshape(labels, [-1]), minlength=num_objects, maxlength=num_objects
  )
  small_counts = tf.math.bincount(
    tf.reshape(small, [-1]), minlength=num_objects, maxlength=num_objects
  )
  lost = tf.where((full_counts > 0) & (small_counts == 0))[:, 0]
  if_lost = lambda: _restore_lost(labels, small, tf.cast(lost, tf.int32))
  return tf.cond(tf.size(lost) > 0, if_lost, lambda: small)


def _restore_lost(labels: tf.Tensor, small: tf.Tensor, lost: tf.Tensor) -> tf.Tensor:
  scale = (tf.cast(tf.shape(small), tf.float32) - 1.0) / tf.maximum(
    tf.cast(tf.shape(labels), tf.float32) - 1.0, 1.0
  )

  rows, columns = (tf.range(tf.shape(small)[axis]) for axis in (0, 1))
  width = tf.shape(small)[1]

  def restore(number: tf.Tensor, small: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    pixels = tf.cast(tf.where(labels == lost[number]), tf.float32)
    center = tf.cast(tf.round(tf.reduce_mean(pixels, axis=0) * scale), tf.int32)
    away = (rows[:, tf.newaxis] - center[0]) ** 2 + (columns - center[1]) ** 2
    counts = tf.math.bincount(tf.reshape(small, [-1]))
    is_only = (small > 0) & (tf.gather(counts, small) == 1)
    away = tf.where(is_only, tf.int32.max, away)
    place = tf.argmin(tf.reshape(away, [-1]), output_type=tf.int32)
    at = tf.stack([place // width, place % width])[tf.newaxis]
    return number + 1, tf.tensor_scatter_nd_update(small, at, lost[number : number + 1])

  _, small = tf.while_loop(
    lambda number, _: number < tf.size(lost), restore, (0, small), parallel_iterations=1
  )
  return small


def enlarge_labels(labels: tf.Tensor, size: Size) -> tf.Tensor:
  """Labels int32 [h4, w4] as int32 [height, width] of `size`.

  Nearest neighbour, corners aligned.
  """
  return resizing.resize_nearest(labels[tf.newaxis, ..., tf.newaxis], size)[0, ..., 0]


def enlarge_logits(logits: tf.Tensor, size: Size) -> tf.Tensor:
  """Logits at full size: bilinear, corners aligned.

  Args:
    logits: float32 [objects, h4, w4].
    size: size of the result.

  Returns:
    float32 [objects, height, width].
  """
  return resizing.resize_bilinear(logits[..., tf.newaxis], size)[..., 0]

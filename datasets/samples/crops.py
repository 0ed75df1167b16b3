"""From a frame of any size to a training crop: scale, pad, crop and flip in one sampling step.

The original resizes a whole frame, pads it and cuts a crop out. Here a `View` describes the crop
and only its pixels are computed, with the same numbers: bilinear for images and nearest neighbour
for labels, both with align_corners, halves rounded away from zero. Facts:
`research/feelvos/input_preprocess.py` and `research/deeplab/core/preprocess_utils.py`.
"""

import dataclasses
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets.object_ids import VOID_ID

# Where a crop reaches beyond the frame: the value that the networks turn into 0.
MEAN_PIXEL = 127.5


@dataclasses.dataclass(frozen=True)
class View:
  """Which part of a frame a crop shows. Sizes and offsets are (height, width) in pixels."""

  frame_size: tuple[int, int]
  # Size of the whole frame after scaling.
  scaled_size: tuple[int, int]
  # Upper left corner of the crop in the scaled frame.
  offset: tuple[int, int]
  # Size of the crop. Beyond the scaled frame, below and to the right, there is padding.
  crop_size: tuple[int, int]
  # Mirrored left to right, after the crop.
  flip: bool = False


def scale_dimension(dimension: int, scale: float) -> int:
  """int((dimension - 1) * scale + 1) in float32: the original's size of a scaled feature map."""
  return int(np.float32(dimension - 1) * np.float32(scale) + np.float32(1))


def scaled_size(frame_size: tuple[int, int], scale: float) -> tuple[int, int]:
  """Size of a frame scaled by a factor: rounded down, at least one pixel.

  Args:
    frame_size: (height, width).
    scale: float, more than 0. The product is taken in float32, as in the original.

  Returns:
    (height, width).
  """
  height, width = (max(1, int(np.float32(length) * np.float32(scale))) for length in frame_size)
  return height, width


def size_in_range(
  frame_size: tuple[int, int],
  min_size: int | None = None,
  max_size: int | None = None,
  factor: int | None = None,
) -> tuple[int, int]:
  """Size after `resize_to_range` of the original.

  Args:
    frame_size: (height, width).
    min_size: desired length of the shorter side, or None or 0 to keep the size.
    max_size: the longer side may not become longer than this; None or 0 for no limit.
    factor: both sides become a multiple of it plus one; None or 0 to leave them.

  Returns:
    (height, width).
  """
  if not min_size:
    return frame_size[0], frame_size[1]
  shorter, longer = min(frame_size), max(frame_size)
  size = [math.ceil(length * min_size / shorter) for length in frame_size]
  if max_size and max(size) > max_size:
    size = [math.ceil(length * max_size / longer) for length in frame_size]
  if factor:
    size = [length + (factor - (length - 1) % factor) % factor for length in size]
  return size[0], size[1]


def random_scale(
  rng: np.random.RandomState, minimum: float, maximum: float, step: float = 0.0
) -> float:
  """A scale factor between two bounds.

  Args:
    rng: numpy RandomState.
    minimum: float, more than 0.
    maximum: float, at least `minimum`.
    step: 0 for any value between them, else the distance of the values to choose from.

  Returns:
    float.

  Raises:
    ValueError: if the bounds are not in order.
  """
  if not 0 < minimum <= maximum:
    raise ValueError(
      f'scale factors {minimum} to {maximum} given; the first must be more than 0 '
      'and not more than the second'
    )
  if minimum == maximum:
    return float(minimum)
  if not step:
    return rng.uniform(minimum, maximum)
  count = int((maximum - minimum) / step + 1)
  return float(rng.choice(np.linspace(minimum, maximum, count)))


def random_view(
  rng: np.random.RandomState,
  frame_size: tuple[int, int],
  resized: tuple[int, int],
  scale: float,
  crop_size: tuple[int, int] | None,
  *,
  flip_probability: float = 0.5,
  focus: tuple[int, int] | None = None,
) -> View:
  """A random crop of a scaled frame.

  Args:
    rng: numpy RandomState.
    frame_size: (height, width) of the frame.
    resized: (height, width) before the random scale, see `size_in_range`.
    scale: float, the random scale.
    crop_size: (height, width), or None for the whole scaled frame.
    flip_probability: float in [0, 1].
    focus: optional (row, column) of a pixel of the frame that the crop has to show.

  Returns:
    View.
  """
  scaled = scaled_size(resized, scale)
  crop = scaled if crop_size is None else (crop_size[0], crop_size[1])
  offset = []
  for axis in (0, 1):
    slack = max(scaled[axis] - crop[axis], 0)
    low, high = 0, slack
    if focus is not None:
      position = focus[axis] * (scaled[axis] - 1) // max(frame_size[axis] - 1, 1)
      low = min(max(position - crop[axis] + 1, 0), slack)
      high = min(position, slack)
    offset.append(int(rng.randint(low, high + 1)))
  size, flip = (frame_size[0], frame_size[1]), bool(rng.uniform() < flip_probability)
  return View(size, scaled, (offset[0], offset[1]), crop, flip)


def _source_positions(length: int, scaled: int, offset: int, count: int) -> np.ndarray:
  """float32 positions in the frame of `count` pixels of the scaled frame (align_corners)."""
  # float32 all along, like the resize ops of TensorFlow: halves have to fall the same way.
  step = np.float32(length - 1) / np.float32(scaled - 1) if scaled > 1 else np.float32(0)
  return np.arange(offset, min(offset + count, scaled), dtype=np.float32) * step


def nearest_indices(
  length: int, scaled: int, offset: int = 0, count: int | None = None
) -> NDArray[np.int64]:
  """Which pixel each pixel of a scaled line takes: nearest, halves away from zero.

  Args:
    length: int, pixels of the line.
    scaled: int, pixels of the scaled line.
    offset: int, first pixel wanted.
    count: int, number of pixels wanted; None for all. Fewer come where the line ends.

  Returns:
    int64 [n], indices from 0 to length - 1; n is `count` or less.
  """
  positions = _source_positions(length, scaled, offset, scaled if count is None else count)
  return np.minimum(np.floor(positions.astype(np.float64) + 0.5).astype(np.int64), length - 1)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Labels resized by nearest neighbour, corners aligned.

  Args:
    labels: [..., H, W], any dtype.
    size: (height, width) of the result.

  Returns:
    [..., height, width] of the dtype of `labels`.
  """
  rows = nearest_indices(labels.shape[-2], size[0])
  columns = nearest_indices(labels.shape[-1], size[1])
  return labels[..., rows[:, np.newaxis], columns]


def labels_at_stride(labels: np.ndarray, stride: int) -> np.ndarray:
  """Labels at a stride of the network.

  Args:
    labels: [..., H, W], any dtype.
    stride: int, for example 4.

  Returns:
    [..., h, w] of the dtype of `labels`; h and w are `scale_dimension` of H and W.
  """
  height, width = (scale_dimension(length, 1.0 / stride) for length in labels.shape[-2:])
  return resize_labels(labels, (height, width))


def crop_labels(labels: np.ndarray, view: View, ignore_label: int = VOID_ID) -> np.ndarray:
  """The labels of a view.

  Args:
    labels: integer [height, width] of the frame.
    view: View of frames of this size.
    ignore_label: int, value of the padding.

  Returns:
    [crop height, crop width] of the dtype of `labels`.
  """
  rows, columns = (
    nearest_indices(*axis)
    for axis in zip(view.frame_size, view.scaled_size, view.offset, view.crop_size)
  )
  crop = labels[rows].take(columns, axis=1)
  return _finish(crop, view, ignore_label)


def crop_image(image: np.ndarray, view: View) -> NDArray[np.float32]:
  """The image of a view.

  Args:
    image: uint8 or float32 [height, width, 3], 0..255.
    view: View of frames of this size.

  Returns:
    float32 [crop height, crop width, 3], 0..255, padded with the mean pixel.
  """
  if view.scaled_size == view.frame_size:
    (top, left), (height, width) = view.offset, view.crop_size
    crop = image[top : top + height, left : left + width].astype(np.float32)
  else:
    crop = _bilinear(image, view)
  return _finish(crop, view, MEAN_PIXEL)


def crop_image_uint8(image: np.ndarray, view: View) -> NDArray[np.uint8]:
  """`crop_image` rounded to whole grey levels, several times faster.

  OpenCV samples at the same positions; before version 5 it rounds them to 1/32 of a pixel.

  Args:
    image: uint8 [height, width, 3].
    view: View of frames of this size.

  Returns:
    uint8 [crop height, crop width, 3].
  """
  (top, left), (height, width) = view.offset, view.crop_size
  if view.scaled_size == view.frame_size:
    crop = image[top : top + height, left : left + width]
  else:
    step_y, step_x = (
      (length - 1) / max(scaled - 1, 1) for length, scaled in zip(view.frame_size, view.scaled_size)
    )
    to_frame = np.array([[step_x, 0, left * step_x], [0, step_y, top * step_y]])
    inside = min(width, view.scaled_size[1] - left), min(height, view.scaled_size[0] - top)
    crop = cv2.warpAffine(
      image,
      to_frame,
      inside,
      borderMode=cv2.BORDER_REPLICATE,
      flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
  # A crop without padding or flip is a view of the frame, which a caller may want to change.
  return _finish(crop, view, int(np.rint(MEAN_PIXEL))).copy()


def _bilinear(image: np.ndarray, view: View) -> NDArray[np.float32]:
  """Part of the view that lies inside the frame: float32 [<= height, <= width, 3]."""
  axes = []
  for length, scaled, offset, count in zip(
    view.frame_size, view.scaled_size, view.offset, view.crop_size
  ):
    positions = _source_positions(length, scaled, offset, count)
    lower = positions.astype(np.int64)
    axes.append((lower, np.minimum(lower + 1, length - 1), positions - lower))
  (top, bottom, down), (left, right, across) = axes
  # Only the part of the frame that is needed is turned into floats.
  first_row, first_column = top[0], left[0]
  part = image[first_row : bottom[-1] + 1, first_column : right[-1] + 1].astype(np.float32)
  rows = _mix(part, top - first_row, bottom - first_row, down[:, np.newaxis, np.newaxis], 0)
  return _mix(rows, left - first_column, right - first_column, across[:, np.newaxis], 1)


def _mix(
  values: np.ndarray, lower: np.ndarray, upper: np.ndarray, fraction: np.ndarray, axis: int
) -> np.ndarray:
  """values[lower] + (values[upper] - values[lower]) * fraction along an axis, few temporaries."""
  start = values.take(lower, axis=axis)
  change = values.take(upper, axis=axis)
  change -= start
  change *= fraction
  start += change
  return start


def _finish(crop: np.ndarray, view: View, padding: float) -> np.ndarray:
  """Pads a crop below and to the right, then mirrors it if the view asks for it."""
  height, width = view.crop_size
  if crop.shape[:2] != (height, width):
    missing = [(0, height - crop.shape[0]), (0, width - crop.shape[1])]
    crop = np.pad(crop, missing + [(0, 0)] * (crop.ndim - 2), constant_values=padding)
  if not view.flip:
    return crop
  # OpenCV is faster, but only some types of labels are known to it.
  return cv2.flip(crop, 1) if crop.ndim == 3 else np.ascontiguousarray(crop[:, ::-1])

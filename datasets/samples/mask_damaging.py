"""Artificial damage to masks: what a prediction of the previous frame could look like.

Training with the true mask of the previous frame makes the head trust it too much. The original
can damage it instead: every object is shifted, scaled, rotated and dilated at random, and the
objects are put back in random order. Facts: `research/feelvos/utils/mask_damaging.py`, which
uses scipy and scikit-image; here numpy and OpenCV give the same masks without them.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets.object_ids import VOID_ID

# Largest shift, as a fraction of sqrt(height * width) of the object's bounding box.
MAX_SHIFT_FACTOR = 0.05
# The scale is drawn from [1 - amount, 1 + amount].
SCALE_AMOUNT = 0.025
MAX_ROTATION_DEGREES = 3.0
# Radius in pixels of the disk that dilates the mask.
DILATION_RADIUS = 5

# How a warped mask is sampled: scikit-image before 0.16 interpolated masks bilinearly and cut at
# one half, later versions take the nearest pixel.
NEAREST, BILINEAR = 'nearest', 'bilinear'


def damage_masks(
  labels: np.ndarray,
  rng: np.random.RandomState,
  *,
  shift: bool = True,
  scale: bool = True,
  rotate: bool = True,
  dilate: bool = True,
  interpolation: str = NEAREST,
) -> np.ndarray:
  """Damages the mask of every object on its own and puts them together again.

  Args:
    labels: integer [height, width] or [height, width, 1]; 0 is background.
    rng: numpy RandomState. The original's draws in the original's order: a shuffle of the
      objects, then four numbers for each of them.
    shift: bool, whether objects are moved; likewise `scale`, `rotate` and `dilate`. The original
      leaves the dilation out when it damages the previous mask at stride 4.
    interpolation: NEAREST, as with scikit-image 0.16 and later, or BILINEAR, as before.

  Returns:
    Array of the shape and dtype of `labels`. Where damaged objects overlap, the last of the random
    order wins; pixels with label 255 (ignored) stay as they are, and are no object.

  Raises:
    ValueError: if the labels are not a single mask or the interpolation is unknown.
  """
  mask = _single_mask(labels)
  if interpolation not in (NEAREST, BILINEAR):
    raise ValueError(f"interpolation is {interpolation!r}; choose '{NEAREST}' or '{BILINEAR}'")
  ids = np.setdiff1d(np.unique(mask), [0, VOID_ID])
  rng.shuffle(ids)
  damaged = np.zeros_like(mask)
  for object_id in ids:
    piece = mask == object_id
    if shift:
      piece = shift_mask(piece, rng)
    if scale:
      piece = scale_mask(piece, rng, interpolation)
    if rotate:
      piece = rotate_mask(piece, rng, interpolation)
    if dilate:
      piece = dilate_mask(piece)
    damaged[piece] = object_id
  damaged[mask == VOID_ID] = VOID_ID
  return damaged.reshape(np.shape(labels))


def confuse_ids(
  labels: np.ndarray, rng: np.random.RandomState, *, exchange: bool = True
) -> np.ndarray:
  """A mask with wrong ids, as predictions have after one object passed another.

  One of: two objects exchange their ids (a quarter of the draws), one takes the id of another (a
  quarter), half of one does (a quarter), the shape of an object appears once more on the background
  (15 %), an object is lost (10 %). With a single object, or without `exchange`, the last two in
  this ratio.

  Not in the original.

  Args:
    labels: integer [height, width] or [height, width, 1]; 0 is background, 255 is ignored.
    rng: numpy RandomState.
    exchange: bool, whether an object may take the id of another. False is for objects that look
      alike: nothing in the frames tells that their ids are wrong.

  Returns:
    New array of the shape and dtype of `labels`; pixels of 255 stay. Without any object, a copy.

  Raises:
    ValueError: if the labels are not a single mask.
  """
  mask = _single_mask(labels)
  result = mask.copy()
  ids = np.setdiff1d(np.unique(mask), [0, VOID_ID])
  if not ids.size:
    return result.reshape(np.shape(labels))
  kind = rng.uniform() if ids.size > 1 and exchange else rng.uniform(0.75, 1.0)
  first, second = rng.permutation(ids)[[0, -1]]
  where = mask == first
  if kind < 0.75:
    if kind < 0.25:
      result[mask == second] = first
    elif kind > 0.5:
      where = _half(where, rng)
    result[where] = second
  elif kind < 0.9:
    shift = [int(rng.uniform(-0.5, 0.5) * length) for length in mask.shape]
    result[_moved(where, shift) & (mask == 0)] = first
  else:
    result[where] = 0
  return result.reshape(np.shape(labels))


def _half(mask: NDArray[np.bool_], rng: np.random.RandomState) -> NDArray[np.bool_]:
  """The pixels of a mask on one side of a line through its middle."""
  angle = rng.uniform(0, 2 * np.pi)
  rows, columns = np.nonzero(mask)
  side = np.cos(angle) * (columns - np.median(columns)) + np.sin(angle) * (rows - np.median(rows))
  half = np.zeros_like(mask)
  half[rows[side > 0], columns[side > 0]] = True
  return half


def _moved(mask: NDArray[np.bool_], shift: Sequence[int]) -> NDArray[np.bool_]:
  """A mask moved by whole pixels (rows, columns); False comes in."""
  moved = np.zeros_like(mask)
  rows, columns = np.nonzero(mask)
  rows, columns = rows + shift[0], columns + shift[1]
  inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
  moved[rows[inside], columns[inside]] = True
  return moved


def _single_mask(labels: np.ndarray) -> np.ndarray:
  """[height, width] of labels that may have one channel; ValueError for other shapes."""
  labels = np.asarray(labels)
  mask = labels[..., 0] if labels.ndim == 3 and labels.shape[-1] == 1 else labels
  if mask.ndim != 2:
    raise ValueError(
      f'labels of shape {labels.shape} given; expected [height, width] or [height, width, 1]'
    )
  return mask


def _extent(mask: NDArray[np.bool_]) -> tuple[int, int] | None:
  """(height, width) of the bounding box minus one, or None for an empty mask."""
  rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
  return (rows[-1] - rows[0], columns[-1] - columns[0]) if len(rows) else None


def shift_mask(mask: NDArray[np.bool_], rng: np.random.RandomState) -> NDArray[np.bool_]:
  """Moves a mask by up to 5 % of its size.

  Args:
    mask: bool [height, width].
    rng: numpy RandomState; two numbers are drawn.

  Returns:
    bool [height, width]; False comes in from outside. An empty mask stays empty.
  """
  size = np.sqrt(np.prod(_extent(mask) or (0, 0)))
  offset = rng.uniform(-size * MAX_SHIFT_FACTOR, size * MAX_SHIFT_FACTOR, 2)
  shifted = mask
  for axis, (length, distance) in enumerate(zip(mask.shape, offset)):
    source = np.arange(length) - distance
    # scipy's rule: outside begins beyond the centre of the outermost pixel.
    inside = (source >= 0) & (source <= length - 1)
    taken = np.take(shifted, np.floor(source + 0.5).astype(int), axis=axis, mode='clip')
    shifted = taken & (inside[:, np.newaxis] if axis == 0 else inside)
  return shifted


def scale_mask(
  mask: NDArray[np.bool_], rng: np.random.RandomState, interpolation: str = NEAREST
) -> NDArray[np.bool_]:
  """Scales a mask by up to 2.5 %, about half the extent of its bounding box.

  That centre is the original's: it leaves out where the box begins, so the mask also moves by up
  to 2.5 % of that distance.

  Args:
    mask: bool [height, width].
    rng: numpy RandomState; one number is drawn.
    interpolation: NEAREST or BILINEAR.

  Returns:
    bool [height, width].
  """
  height, width = _extent(mask) or (0, 0)
  factor = rng.uniform(1.0 - SCALE_AMOUNT, 1.0 + SCALE_AMOUNT)
  return _warp(mask, np.diag([factor, factor, 1.0]), (0.5 * width, 0.5 * height), interpolation)


def rotate_mask(
  mask: NDArray[np.bool_], rng: np.random.RandomState, interpolation: str = NEAREST
) -> NDArray[np.bool_]:
  """Rotates a mask by up to 3 degrees about half the size of the image.

  Args:
    mask: bool [height, width].
    rng: numpy RandomState; one number is drawn.
    interpolation: NEAREST or BILINEAR.

  Returns:
    bool [height, width].
  """
  angle = np.deg2rad(rng.uniform(-MAX_ROTATION_DEGREES, MAX_ROTATION_DEGREES))
  rotation = np.array(
    [[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]]
  )
  center = 0.5 * mask.shape[1], 0.5 * mask.shape[0]
  return _warp(mask, rotation, center, interpolation)


def dilate_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
  """Dilates a mask by a disk of radius 5.

  Args:
    mask: bool [height, width].

  Returns:
    bool [height, width].
  """
  steps = np.arange(-DILATION_RADIUS, DILATION_RADIUS + 1)
  disk = steps[:, np.newaxis] ** 2 + steps**2 <= DILATION_RADIUS**2
  return cv2.dilate(mask.astype(np.uint8), disk.astype(np.uint8)).astype(bool)


def _translation(x: float, y: float) -> np.ndarray:
  return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def _warp(
  mask: NDArray[np.bool_], matrix: np.ndarray, center: tuple[float, float], interpolation: str
) -> NDArray[np.bool_]:
  """Moves the points (x, y) of a mask by `matrix`, applied about `center`."""
  if not mask.any():
    return mask
  x, y = center
  inverse = np.linalg.inv(_translation(x, y) @ matrix @ _translation(-x, -y))
  columns, rows = np.meshgrid(*(np.arange(length, dtype=np.float64) for length in mask.shape[::-1]))
  source_x = inverse[0, 0] * columns + inverse[0, 1] * rows + inverse[0, 2]
  source_y = inverse[1, 0] * columns + inverse[1, 1] * rows + inverse[1, 2]
  if interpolation == NEAREST:
    return _pixels(mask, _round(source_y), _round(source_x))
  top, left = np.floor(source_y).astype(int), np.floor(source_x).astype(int)
  down, right = source_y - top, source_x - left
  upper, lower = (
    (1 - right) * _pixels(mask, row, left) + right * _pixels(mask, row, left + 1)
    for row in (top, top + 1)
  )
  return (1 - down) * upper + down * lower > 0.5


def _round(values: np.ndarray) -> np.ndarray:
  """To the nearest integer, halves away from zero, like C's round()."""
  return np.trunc(values + np.copysign(0.5, values)).astype(int)


def _pixels(mask: NDArray[np.bool_], rows: np.ndarray, columns: np.ndarray) -> NDArray[np.bool_]:
  """The pixels at integer coordinates; False outside the mask."""
  height, width = mask.shape
  inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
  return mask[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)] & inside

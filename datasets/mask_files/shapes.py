"""Shapes that annotation tools store, drawn: polygons, rectangles, circles, run lengths."""

from collections.abc import Sequence
import dataclasses
import re

import cv2
import numpy as np
from numpy.typing import ArrayLike

from feelvos_tf.datasets import masks


class ShapeError(ValueError):
  """A shape that cannot be drawn; the message does not name the file."""


_FINER = 5  # Odd, so that the middle of a pixel is the middle of one of its parts.


@dataclasses.dataclass(frozen=True)
class Instance:
  """One object of an annotation file.

  Attributes:
    name: its label, for messages.
    where: bool [height, width].
    object_id: the id that the file asks for, or None.
    key: what tells the object on other frames, '' for its label.
  """

  name: str
  where: np.ndarray
  object_id: int | None = None
  key: str = ''


def image_size(height: object, width: object) -> tuple[int, int]:
  """(height, width) of an image, as its file gives them.

  Raises:
    ShapeError: no whole numbers, or more pixels than a mask may have.
  """
  sides = [
    float(str(side)) for side in (height, width) if re.fullmatch(r'\d{1,9}(\.0)?', str(side))
  ]
  if len(sides) != 2 or not 1 <= sides[0] * sides[1] <= masks.MAX_PIXELS:
    raise ShapeError(
      f'an image of {height}x{width} (height x width) given, expected 1 to {masks.MAX_PIXELS} pixels'
    )
  return int(sides[0]), int(sides[1])


def polygon(points: ArrayLike, size: tuple[int, int]) -> np.ndarray:
  """The pixels whose middle lies inside a polygon.

  Args:
    points: float [n, 2], x and y in pixels; (0, 0) is the corner of the picture, not the middle of
      a pixel.
    size: (height, width).

  Returns:
    bool [height, width].

  Raises:
    ShapeError: fewer than three points, or coordinates that are no finite numbers.
  """
  points = np.asarray(points, np.float64)
  if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
    raise ShapeError('a polygon of fewer than 3 points, or without numbers, given')
  result = np.zeros(size, bool)
  # Only the part that the polygon covers is drawn finely.
  low = np.clip(np.floor(points.min(0)).astype(int), 0, [size[1], size[0]])
  high = np.clip(np.ceil(points.max(0)).astype(int), 0, [size[1], size[0]])
  width, height = high - low
  if width <= 0 or height <= 0:
    return result
  canvas = np.zeros((height * _FINER, width * _FINER), np.uint8)
  fine = np.clip((points - low) * _FINER, -(2**20), 2**20)
  cv2.fillPoly(canvas, [np.round(fine).astype(np.int32)], 1)
  middle = _FINER // 2
  result[low[1] : high[1], low[0] : high[0]] = canvas[middle::_FINER, middle::_FINER]
  return result


def rectangle(
  corner: Sequence[float], opposite: Sequence[float], size: tuple[int, int], degrees: float = 0
) -> np.ndarray:
  """The pixels whose middle lies inside a rectangle.

  Args:
    corner: (x, y) in pixels, see `polygon`.
    opposite: (x, y) of the opposite corner.
    size: (height, width).
    degrees: angle by which the rectangle is turned clockwise around its middle.

  Returns:
    bool [height, width].

  Raises:
    ShapeError: coordinates that are no finite numbers.
  """
  (x0, y0), (x1, y1) = corner, opposite
  corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)
  if degrees:
    middle, turn = corners.mean(axis=0), np.deg2rad(degrees)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    corners = middle + (corners - middle) @ axes
  return polygon(corners, size)


def circle(centre: Sequence[float], edge: Sequence[float], size: tuple[int, int]) -> np.ndarray:
  """The pixels whose middle lies inside a circle.

  Args:
    centre: (x, y) in pixels, see `polygon`.
    edge: (x, y) of a point on the circle.
    size: (height, width).

  Returns:
    bool [height, width].
  """
  (x, y), radius = centre, float(np.hypot(*np.subtract(edge, centre)))
  columns, rows = np.arange(size[1]) + 0.5 - x, np.arange(size[0]) + 0.5 - y
  return columns[None] ** 2 + rows[:, None] ** 2 <= radius**2


def ellipse(
  centre: Sequence[float], radii: Sequence[float], degrees: float, size: tuple[int, int]
) -> np.ndarray:
  """The pixels whose middle lies inside an ellipse.

  Args:
    centre: (x, y) in pixels, see `polygon`.
    radii: (along x, along y) in pixels, before it is turned.
    degrees: angle by which the ellipse is turned clockwise around its centre.
    size: (height, width).

  Returns:
    bool [height, width].
  """
  turn = np.deg2rad(degrees)
  columns, rows = np.arange(size[1]) + 0.5 - centre[0], np.arange(size[0]) + 0.5 - centre[1]
  along = columns[None] * np.cos(turn) + rows[:, None] * np.sin(turn)
  across = rows[:, None] * np.cos(turn) - columns[None] * np.sin(turn)
  return (along / max(radii[0], 1e-9)) ** 2 + (across / max(radii[1], 1e-9)) ** 2 <= 1


def runs(counts: Sequence[int], size: tuple[int, int], column_first: bool) -> np.ndarray:
  """Run lengths that begin with background.

  Args:
    counts: numbers of pixels, background and object in turn.
    size: (height, width).
    column_first: runs go down the columns (COCO), not along the rows (CVAT).

  Returns:
    bool [height, width].

  Raises:
    ShapeError: the runs do not add up to the size.
  """
  lengths = np.asarray(counts, np.int64)
  if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != size[0] * size[1]:
    raise ShapeError(
      f'run lengths of {int(lengths.sum())} pixels given, expected {size[0]}x{size[1]} '
      f'(height x width), {size[0] * size[1]}'
    )
  flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
  return flat.reshape(size[1], size[0]).T if column_first else flat.reshape(size)

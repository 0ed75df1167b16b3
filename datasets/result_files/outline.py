"""Outlines of masks as polygons, and polygons of several parts and holes as one path."""

import cv2
import numpy as np


def polygons(where: np.ndarray) -> list[tuple[np.ndarray, bool]]:
  """The outlines of an object; pixels whose middle lies inside of them are the object.

  Args:
    where: bool [height, width].

  Returns:
    (points float64 [n, 2] of x, y in pixels, (0, 0) is the corner of the picture; whether it is the
    outline of a hole). Largest parts first, each followed by its holes.
  """
  # At twice the size the outline runs a quarter of a pixel inside of the object's edge.
  twice = np.repeat(np.repeat(where.astype(np.uint8), 2, axis=0), 2, axis=1)
  contours, tree = cv2.findContours(twice, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
  paths = [(contour[:, 0] + 0.5) / 2 for contour in contours]
  outer = [i for i in range(len(paths)) if tree[0, i, 3] < 0]
  outer.sort(key=lambda i: -cv2.contourArea(contours[i]))
  found = []
  for index in outer:
    found.append((paths[index], False))
    found.extend((paths[i], True) for i in range(len(paths)) if tree[0, i, 3] == index)
  return found


def one_path(paths: list[np.ndarray]) -> np.ndarray:
  """Several outlines as one polygon: there and back over the shortest line between points.

  Filled by the even-odd rule, parts are filled and holes are not.

  Args:
    paths: float64 [n, 2] each, outlines of `polygons`; at least one.

  Returns:
    float64 [n, 2].
  """
  result = paths[0]
  for path in paths[1:]:
    squares = ((result[:, np.newaxis] - path[np.newaxis]) ** 2).sum(axis=-1)
    here, there = np.unravel_index(squares.argmin(), squares.shape)
    around = np.roll(path, -there, axis=0)
    result = np.concatenate([result[: here + 1], around, around[:1], result[here:]])
  return result


def box(where: np.ndarray) -> tuple[int, int, int, int]:
  """(left, top, width, height) in pixels of the pixels that are set in a bool [height, width].

  (0, 0, 0, 0) if none is.
  """
  left, top, width, height = cv2.boundingRect(where.astype(np.uint8))
  return int(left), int(top), int(width), int(height)

"""What is probably not meant in a mask that a person gives: hints, and the void contour."""

import cv2
import numpy as np

from feelvos_tf.datasets.masks import VOID_ID

FEWEST_PIXELS = 9  # of an object: fewer have no inside and are soon lost
_MOST_OF_IT = 0.5
_CONTOUR_WIDTH = 1 / 30  # of the shorter side; at least 7 pixels
_LISTED = 5


def is_void_contour(ids: np.ndarray) -> bool:
  """Whether 255 is a thin line along other objects, as data sets draw what belongs to nobody.

  Args:
    ids: uint8 [height, width].
  """
  void = (ids == VOID_ID).astype(np.uint8)
  objects = ((ids != 0) & (ids != VOID_ID)).astype(np.uint8)
  if not void.any() or not objects.any():
    return False
  width = max(7, 1 + 2 * (round(min(ids.shape) * _CONTOUR_WIDTH) // 2))
  core = cv2.erode(void, np.ones((width, width), np.uint8), borderValue=1)
  if core.any():
    return False
  near = cv2.dilate(objects, np.ones((2 * width + 1, 2 * width + 1), np.uint8))
  most = np.count_nonzero(void & near) >= 0.9 * np.count_nonzero(void)
  return bool(most) and _lines(void, objects)


def hints(ids: np.ndarray, void_id: int | None = None) -> list[str]:
  """What to tell the person who gave a mask; empty if nothing is odd.

  Args:
    ids: uint8 [height, width].
    void_id: id that is void, or None.

  Returns:
    Sentences without a full stop.
  """
  found = []
  counts = np.bincount(ids.ravel(), minlength=256)
  edge = np.bincount(edge_values(ids), minlength=256)
  for object_id in np.flatnonzero(counts[1:]) + 1:
    if counts[object_id] > _MOST_OF_IT * ids.size and edge[object_id] > _MOST_OF_IT * edge.sum():
      found.append(
        f'object {object_id} covers {100 * counts[object_id] / ids.size:.0f} % of the picture and '
        'most of its edge: is the mask inverted? Background has to be 0'
      )
  others = np.flatnonzero(counts[1:VOID_ID]) + 1
  if counts[VOID_ID] and len(others) and void_id is None:
    found.append(
      f'value 255 is taken as an object of {counts[VOID_ID]} pixels next to others; if it is void, '
      'as in many data sets, add --value_255=void'
    )
  small = [
    int(i) for i in np.flatnonzero(counts[1:]) + 1 if _largest_part(ids, int(i)) < FEWEST_PIXELS
  ]
  small = [i for i in small if i != void_id]
  if small:
    listed = ', '.join(map(str, small[:_LISTED])) + (', ...' if len(small) > _LISTED else '')
    row, column = np.argwhere(ids == small[0])[0]
    found.append(
      f'{"object" if len(small) == 1 else "objects"} {listed} of under {FEWEST_PIXELS} connected '
      f'pixels (the first at x={column}, y={row}): are they stray pixels?'
    )
  return found


def refuse_dithered(values: np.ndarray, name: str) -> None:
  """Refuses two values mixed pixel by pixel, which is how a program shows a colour it lacks.

  Args:
    values: uint8 [height, width] of a palette file.
    name: what messages call it.

  Raises:
    ValueError: most pixels of objects have a direct neighbour with another object's value.
  """
  mixed = np.zeros(values.shape, bool)
  for axis in (0, 1):
    one, two = (values[:-1], values[1:]) if axis == 0 else (values[:, :-1], values[:, 1:])
    differ = (one != two) & (one != 0) & (two != 0)
    first, second = (mixed[:-1], mixed[1:]) if axis == 0 else (mixed[:, :-1], mixed[:, 1:])
    first |= differ
    second |= differ
  painted = np.count_nonzero(values)
  if painted >= 64 and np.count_nonzero(mixed) > 0.5 * painted:
    ids = np.unique(values[mixed])
    raise ValueError(
      f'{name}: values {", ".join(map(str, ids[:4]))} mixed pixel by pixel given, expected hard '
      'edges: a program dithered colours into a palette; give the mask in its own colours (RGB)'
    )


def _lines(void: np.ndarray, objects: np.ndarray) -> bool:
  """Whether most of the outline of the objects has the line next to it."""
  outline = cv2.dilate(1 - objects, np.ones((3, 3), np.uint8)) & objects
  beside = cv2.dilate(void, np.ones((3, 3), np.uint8)) & outline
  return bool(np.count_nonzero(beside) >= _MOST_OF_IT * np.count_nonzero(outline))


def edge_values(ids: np.ndarray) -> np.ndarray:
  """Values on the four edges of a picture, uint8 [n]."""
  return np.concatenate([ids[0], ids[-1], ids[1:-1, 0], ids[1:-1, -1]])


def _areas(ids: np.ndarray, object_id: int) -> np.ndarray:
  """Pixels of each connected part of an object."""
  return cv2.connectedComponentsWithStats((ids == object_id).astype(np.uint8))[2][1:, 4]


def _largest_part(ids: np.ndarray, object_id: int) -> int:
  return _areas(ids, object_id).max()

"""Masks out of labelme's JSON (https://github.com/wkentaro/labelme): one file an image."""

import base64
import binascii
from collections.abc import Sequence
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets.mask_files import shapes

# Boxes by their four corners: of labelme and X-AnyLabeling.
_BOXES = ('rectangle', 'oriented_rectangle', 'rotation')
_NOT_OBJECTS = ('_background_', '__ignore__', 'background')


def is_labelme(content: Any) -> bool:
  """Whether parsed JSON looks like labelme's."""
  return isinstance(content, dict) and isinstance(content.get('shapes'), list)


def read(content: Any, name: str) -> tuple[tuple[int, int], list[shapes.Instance]]:
  """The objects of the image; shapes with one label and one group are one object.

  Args:
    content: parsed JSON.
    name: what messages call the file.

  Returns:
    ((height, width), instances in the order of the file). A label that is a number is the id.

  Raises:
    ValueError: a shape without an area.
  """
  size = shapes.image_size(content['imageHeight'], content['imageWidth'])
  groups: dict[tuple[str, int | str], NDArray[np.bool_]] = {}
  for number, shape in enumerate(content['shapes']):
    label = str(shape.get('label', ''))
    if label in _NOT_OBJECTS:
      continue
    group = shape.get('group_id')
    key = (label, number if group is None else f'group {group}')
    where = _drawn(shape, label, size, name)
    groups[key] = groups[key] | where if key in groups else where
  labels = [label for label, _ in groups]
  numbers = all(text.isdecimal() and object_ids.is_object_id(int(text)) for text in labels)
  if numbers:  # Every shape of a number is a part of that object.
    merged: dict[str, NDArray[np.bool_]] = {}
    for (label, _), where in groups.items():
      merged[label] = merged[label] | where if label in merged else where
    # The key is for other frames, whose labels may not all be numbers that can be ids.
    return size, [
      shapes.Instance(label, where, int(label), f'label {label}') for label, where in merged.items()
    ]
  # A label that is a number is one on all frames, whether all are numbers here or not.
  return size, [
    shapes.Instance(label, where, key=f'label {label}' if label.isdecimal() else '')
    for (label, _), where in groups.items()
  ]


def _drawn(
  shape: dict[str, Any], label: str, size: tuple[int, int], name: str
) -> NDArray[np.bool_]:
  kind, points = shape.get('shape_type') or 'polygon', shape.get('points') or []
  if kind == 'polygon' or (kind in _BOXES and len(points) == 4):
    return shapes.polygon(points, size)
  if kind == 'rectangle' and len(points) == 2:
    return shapes.rectangle(points[0], points[1], size)
  if kind == 'circle' and len(points) == 2:
    return shapes.circle(points[0], points[1], size)
  if kind == 'mask' and shape.get('mask'):
    return _bitmap(shape['mask'], points, size, name)
  raise ValueError(
    f'{name}: {label or "a shape"} is a {kind} of {len(points)} points, expected a polygon, '
    'rectangle, circle or mask: an area'
  )


def _bitmap(
  text: str, points: Sequence[Sequence[float]], size: tuple[int, int], name: str
) -> NDArray[np.bool_]:
  """A PNG in base64 that covers the box whose corners are `points`."""
  try:
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=['PNG']) as image:
      part = np.array(image.convert('L')) > 0
  except (OSError, SyntaxError, binascii.Error, Image.DecompressionBombError):
    raise ValueError(f'{name}: a damaged mask inside the file given; save it again') from None
  where = np.zeros(size, bool)
  x, y = (round(v) for v in points[0])  # A box may begin outside of the image.
  part = part[max(0, -y) : max(0, size[0] - y), max(0, -x) : max(0, size[1] - x)]
  x, y = max(0, x), max(0, y)
  where[y : y + part.shape[0], x : x + part.shape[1]] = part
  return where

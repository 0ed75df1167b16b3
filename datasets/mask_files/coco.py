"""Masks out of COCO JSON (https://cocodataset.org/#format-data): polygons and run lengths."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets.mask_files import shapes
from feelvos_tf.datasets.mask_files.picking import pick


def is_coco(content: Any) -> bool:
  """Whether parsed JSON looks like COCO."""
  return isinstance(content, dict) and isinstance(content.get('annotations'), list)


def read(content: Any, name: str, frame_name: str) -> tuple[tuple[int, int], list[shapes.Instance]]:
  """The objects of one image.

  Args:
    content: parsed JSON.
    name: what messages call the file.
    frame_name: name of the frame whose image is wanted, without suffix.

  Returns:
    ((height, width), instances in the order of the file).

  Raises:
    ValueError: not COCO, no image of that name, boxes only, or damaged shapes.
  """
  images = content.get('images') or []
  image = pick(images, [i.get('file_name', '') for i in images], frame_name, name, 'images')
  size = int(image['height']), int(image['width'])
  labels = {c.get('id'): str(c.get('name', '')) for c in content.get('categories') or []}
  found = []
  for number, annotation in enumerate(content['annotations'], 1):
    if annotation.get('image_id') != image.get('id'):
      continue
    label = labels.get(annotation.get('category_id')) or f'annotation {number}'
    if not annotation.get('segmentation'):
      raise ValueError(
        f'{name}: {label} has a box and no segmentation, expected polygons or run lengths; '
        'export segmentation masks'
      )
    found.append(shapes.Instance(label, _drawn(annotation['segmentation'], size, name)))
  return size, found


def _drawn(
  segmentation: dict[str, Any] | list[list[float]], size: tuple[int, int], name: str
) -> NDArray[np.bool_]:
  if isinstance(segmentation, dict):
    return _run_lengths(segmentation, size, name)
  where = np.zeros(size, bool)
  for flat in segmentation:
    where |= shapes.polygon(np.reshape(flat, (-1, 2)), size)
  return where


def _run_lengths(
  segmentation: dict[str, Any], size: tuple[int, int], name: str
) -> NDArray[np.bool_]:
  own_size = tuple(int(side) for side in segmentation['size'])
  if own_size != size:
    raise ValueError(
      f'{name}: run lengths of {own_size[0]}x{own_size[1]} given, expected '
      f'{size[0]}x{size[1]} (height x width) like the image'
    )
  counts = segmentation['counts']
  if isinstance(counts, list):
    return shapes.runs(counts, size, column_first=True)
  try:
    from pycocotools import mask as coco_mask
  except ImportError:
    raise ValueError(
      f'{name}: compressed run lengths given, which the package pycocotools reads; install it: '
      "pip install 'feelvos-tf[masks]'"
    ) from None
  return coco_mask.decode({'size': list(size), 'counts': counts.encode()}).astype(bool)

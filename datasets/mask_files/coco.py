"""Masks out of COCO JSON (https://cocodataset.org/#format-data): polygons and run lengths."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets.mask_files import shapes
from feelvos_tf.datasets.mask_files.picking import pick
from feelvos_tf.datasets.object_ids import is_object_id


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
    ((height, width), instances in the order of the file; their ids are their tracks' where each has
    one that can be an id).

  Raises:
    ValueError: not COCO, no image of that name, boxes only, or damaged shapes.
  """
  images = content.get('images') or []
  image = pick(images, [i.get('file_name', '') for i in images], frame_name, name, 'images')
  size = shapes.image_size(image['height'], image['width'])
  labels = {_same(c.get('id')): str(c.get('name', '')) for c in content.get('categories') or []}
  found = []
  for number, annotation in enumerate(content['annotations'], 1):
    if _same(annotation.get('image_id')) != _same(image.get('id')):
      continue
    label = labels.get(_same(annotation.get('category_id'))) or f'annotation {number}'
    if not annotation.get('segmentation'):
      raise ValueError(
        f'{name}: {label} has a box and no segmentation, expected polygons or run lengths; '
        'export segmentation masks'
      )
    where, track = _drawn(annotation['segmentation'], size, name), _track(annotation)
    found.append(
      shapes.Instance(label, where, track, '' if track is None else f'COCO track {track}')
    )
  ids = {one.object_id for one in found}
  if len(ids) < len(found) or not all(i is not None and is_object_id(i) for i in ids):
    found = [dataclasses.replace(one, object_id=None) for one in found]
  return size, found


def _same(number: Any) -> str:
  """An id to compare: some tools write 1.0 or '1' for 1."""
  return str(int(number) if isinstance(number, float) and number.is_integer() else number)


def _track(annotation: dict[str, Any]) -> int | None:
  """Number of the object in a video, as TAO, CVAT and `result_files` write it, or None."""
  attributes = annotation.get('attributes')
  places = (annotation, attributes if isinstance(attributes, dict) else {})
  numbers = [place[k] for place in places for k in ('track_id', 'instance_id') if k in place]
  return next((n for n in numbers if isinstance(n, int) and not isinstance(n, bool)), None)


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
  try:
    return coco_mask.decode({'size': list(size), 'counts': counts.encode()}).astype(bool)
  except ValueError as error:
    raise ValueError(f'{name}: damaged run lengths given ({error}); export it again') from None

"""Masks out of CVAT's XML, "CVAT for images 1.1" and "CVAT for video 1.1", and its label map.

Format: https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/. `SegmentationClass` is the
folder of coloured masks of "Segmentation mask 1.1"; `labelmap.txt` next to it names the colours.
"""

from collections.abc import Mapping
import os
import pathlib
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import names
from feelvos_tf.datasets.mask_files import shapes
from feelvos_tf.datasets.mask_files.picking import pick

MASKS = 'SegmentationClass'  # Folder in "Segmentation mask 1.1", unpacked.
_SHAPES = ('polygon', 'mask', 'box', 'ellipse')
_NOT_AREAS = ('polyline', 'points', 'cuboid', 'skeleton')
_MOST_DIGITS = 9  # of a size or the number of a frame


def read(
  data: bytes, name: str, frame_name: str, frame_index: int = 0
) -> tuple[tuple[int, int], list[shapes.Instance]]:
  """The objects of one image, or of one frame of the tracks of a video.

  Args:
    data: content of the XML file.
    name: what messages call the file.
    frame_name: name of the frame that is wanted, without suffix.
    frame_index: its number in the video; for 0 the first frame of the tracks is taken if they have
      none of that number.

  Returns:
    ((height, width), instances from back to front).

  Raises:
    ValueError: not CVAT's XML, no such image, or a damaged shape.
  """
  if b'<!DOCTYPE' in data or b'<!ENTITY' in data:
    raise ValueError(f'{name}: an XML file with a document type given, expected one of CVAT')
  try:
    root = ElementTree.fromstring(data)
  except ElementTree.ParseError as error:
    raise ValueError(f'{name}: a damaged XML file given ({error}); export it again') from None
  if root.tag != 'annotations':
    raise ValueError(f'{name}: XML with <{root.tag}> given, expected <annotations> of CVAT')
  images = root.findall('image')
  if images:
    image = pick(images, [i.get('name', '') for i in images], frame_name, name, 'images')
    size = _whole(image.get('height'), name), _whole(image.get('width'), name)
    return size, _of_image(image, size, name)
  return _of_tracks(root, name, frame_index)


def read_label_map(path: str | os.PathLike) -> dict[tuple[int, int, int], str]:
  """{colour: label} of a labelmap.txt, in its order; lines are `label:r,g,b:parts:actions`.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a line that is none.
  """
  found = {}
  for line in map(str.strip, names.read_text(path).splitlines()):
    if not line or line.startswith('#'):  # Behind a space it is a part of a label: dog #1.
      continue
    parts = line.split(':')
    try:
      red, green, blue = (int(v) for v in parts[1].split(','))
    except (IndexError, ValueError):
      raise ValueError(
        f'{path}: {line!r} given, expected label:red,green,blue:: as CVAT writes it'
      ) from None
    found[red, green, blue] = parts[0]
  return found


def label_map_of(path: str | os.PathLike) -> pathlib.Path | None:
  """The labelmap.txt that belongs to a coloured mask, or None."""
  path = pathlib.Path(path)
  for folder in (path.parent, path.parent.parent):
    if (folder / 'labelmap.txt').is_file():
      return folder / 'labelmap.txt'
  return None


def _of_image(
  image: ElementTree.Element, size: tuple[int, int], name: str
) -> list[shapes.Instance]:
  groups: dict[tuple[str, int | str], NDArray[np.bool_]] = {}
  elements = [e for e in image if e.tag in _SHAPES]
  _name_what_is_left_out(image, name)
  for number, element in sorted(enumerate(elements), key=lambda e: _layer(e[1], name)):
    group = element.get('group_id') or '0'
    label = element.get('label', '')
    key = (label, f'group {group}') if group != '0' else (label, number)
    where = _drawn(element, size, name)
    groups[key] = groups[key] | where if key in groups else where
  return [shapes.Instance(label, where) for (label, _), where in groups.items()]


def _of_tracks(
  root: ElementTree.Element, name: str, frame_index: int
) -> tuple[tuple[int, int], list[shapes.Instance]]:
  tracks = root.findall('track')
  sizes = [(s.findtext('height'), s.findtext('width')) for s in root.iter('original_size')]
  height, width = sizes[0] if sizes else (None, None)
  if not tracks or height is None or width is None:
    raise ValueError(
      f'{name}: {len(tracks)} tracks and {len(sizes)} sizes of images given, expected <image> '
      'elements, or <track> elements with <original_size>; export as CVAT 1.1'
    )
  size = _whole(height, name), _whole(width, name)
  shown = [
    (track, element)
    for track in tracks
    for element in track
    if element.tag in _SHAPES and element.get('outside') != '1'
  ]
  for track in tracks:
    _name_what_is_left_out(track, name)
  frames = {_whole(e.get('frame', '0'), name) for _, e in shown}
  if frame_index and frame_index not in frames:
    raise ValueError(
      f'{name}: tracks with shapes on frames {min(frames, default=0)}..{max(frames, default=0)} '
      f'given, none of them on frame {frame_index}; draw one there or give another frame'
    )
  frame = frame_index if frame_index in frames else min(frames, default=0)
  if frame != frame_index:
    data_warning.warn(
      f'{name}: no track has a shape on frame 0; those of frame {frame} are taken for it. If they '
      f'belong to frame {frame} of the video, give --mask={frame}:{name}'
    )
  found = [(t, e) for t, e in shown if _whole(e.get('frame', '0'), name) == frame]
  found.sort(key=lambda pair: _layer(pair[1], name))
  return size, [
    shapes.Instance(t.get('label', ''), _drawn(e, size, name), key=f'track {t.get("id")}')
    for t, e in found
  ]


def _name_what_is_left_out(parent: ElementTree.Element, name: str) -> None:
  """Warns of shapes of an image or a track that are no areas."""
  for kind in _NOT_AREAS:
    if (first := parent.find(kind)) is not None:
      label = first.get('label') or parent.get('label')
      data_warning.warn(
        f'{name}: {label!r} is a {kind}, which is no area, and is left out; expected one of '
        f'{", ".join(_SHAPES)}'
      )


def _whole(text: str | None, name: str) -> int:
  """A size or the number of a frame."""
  if text is None or not text.isdecimal() or len(text) > _MOST_DIGITS:
    raise ValueError(
      f'{name}: {"no number" if text is None else repr(text)} given as a height, width or frame, '
      'expected a whole number; export as CVAT 1.1'
    )
  return int(text)


def _layer(element: ElementTree.Element, name: str) -> int:
  """z_order, which may be negative."""
  text = element.get('z_order') or '0'
  return -_whole(text[1:], name) if text.startswith('-') else _whole(text, name)


def _drawn(element: ElementTree.Element, size: tuple[int, int], name: str) -> NDArray[np.bool_]:
  try:
    numbers = {k: float(element.get(k, '')) for k in _NUMBERS[element.tag]}
    if element.tag == 'polygon':
      points = [
        [float(v) for v in pair.split(',')] for pair in element.get('points', '').split(';')
      ]
      return shapes.polygon(points, size)
    if element.tag == 'box':
      corners = (numbers['xtl'], numbers['ytl']), (numbers['xbr'], numbers['ybr'])
      return shapes.rectangle(*corners, size, float(element.get('rotation') or 0))
    if element.tag == 'ellipse':
      centre, radii = (numbers['cx'], numbers['cy']), (numbers['rx'], numbers['ry'])
      return shapes.ellipse(centre, radii, float(element.get('rotation') or 0), size)
    return _bitmap(element, numbers, size)
  except (TypeError, ValueError, AttributeError) as error:
    raise ValueError(
      f'{name}: a damaged {element.tag} of {element.get("label")!r} given ({error}); export it again'
    ) from None


_NUMBERS = {
  'polygon': (),
  'box': ('xtl', 'ytl', 'xbr', 'ybr'),
  'ellipse': ('cx', 'cy', 'rx', 'ry'),
  'mask': ('left', 'top', 'width', 'height'),
}


def _bitmap(
  element: ElementTree.Element, numbers: Mapping[str, float], size: tuple[int, int]
) -> NDArray[np.bool_]:
  left, top, width, height = (int(numbers[k]) for k in _NUMBERS['mask'])
  part = shapes.runs([int(v) for v in element.get('rle', '').split(',')], (height, width), False)
  where = np.zeros(size, bool)
  if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
    raise ValueError('it reaches beyond the image')
  where[top : top + height, left : left + width] = part
  return where

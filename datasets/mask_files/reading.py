"""Masks that a person gives for a frame, in whatever form they come.

- pictures: palette, grey, black and white, RGB(A) of few exact colours (`pictures`)
- a folder with one picture for each object, or several such files
- a folder with masks named like the frames: the one of the frame is taken
- annotations: COCO JSON, labelme JSON, CVAT XML, YOLO polygons

Masks of data sets are read by `feelvos_tf.datasets.masks` instead, which accepts ids only.
"""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
import re

import cv2
import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets.mask_files import checks
from feelvos_tf.datasets.mask_files import coco
from feelvos_tf.datasets.mask_files import cvat
from feelvos_tf.datasets.mask_files import labelme
from feelvos_tf.datasets.mask_files import pictures
from feelvos_tf.datasets.mask_files import shapes
from feelvos_tf.datasets.mask_files import yolo
from feelvos_tf.datasets.mask_files.given import FORMS
from feelvos_tf.datasets.mask_files.given import GivenMask
from feelvos_tf.datasets.mask_files.given import MaskOptions
from feelvos_tf.datasets.names import natural_key

_CVAT_OBJECTS = 'SegmentationObject'  # Next to it: a colour for each object.
CVAT_MASKS = cvat.MASKS


def read_given_mask(
  paths: str | os.PathLike | Sequence[str | os.PathLike],
  size: tuple[int, int],
  frame_name: str,
  options: MaskOptions = MaskOptions(),
  video_name: str = 'the video',
  require_object: bool = True,
  frame_index: int = 0,
) -> GivenMask:
  """Reads the masks of the objects on a frame.

  Args:
    paths: a file or folder, or several files with one object each.
    size: (height, width) of the frame.
    frame_name: its name without suffix, which chooses among masks of several frames.
    options: MaskOptions.
    video_name: what messages call the video.
    require_object: refuse a mask without any object.
    frame_index: number of the frame in the video, which chooses in files that number frames.

  Returns:
    GivenMask of that size.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it cannot be read as a mask, has no object, or another size.
  """
  given_paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
  places = [pathlib.Path(path) for path in given_paths]
  for path in places:
    if not path.exists():
      raise FileNotFoundError(f'{path}: no such mask file; give {FORMS}')
  files = files_to_read(places, frame_name)
  where = str(places[0])
  if len(files) > 1:
    given = _one_each(files, size, options, video_name)
  else:
    where = str(files[0])
    given = _read_file(files[0], size, (frame_name, frame_index), options)
  mask = given.mask
  if require_object and not mask.ids.any():
    raise ValueError(
      f'{where}: a mask without any object given, expected at least one pixel of an '
      f'object ({object_ids.GIVEN_IDS}); paint the objects to follow'
    )
  ids = _resized(mask.ids, size, where, options, video_name)
  lost = sorted(set(np.unique(mask.ids)) - set(np.unique(ids)))
  if lost:
    given.hints.append(f"{where}: objects {', '.join(map(str, lost))} vanish at the frames' size")
  ids = _without_void(ids, options, given)
  given.hints.extend(f'{where}: {hint}' for hint in checks.hints(ids))
  given.mask = dataclasses.replace(mask, ids=ids)
  return given


def mask_files_in(folder: pathlib.Path) -> list[pathlib.Path]:
  """Pictures and annotations of a folder in natural order; lists of labels are left out."""
  files = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith('.')]
  files = [p for p in files if p.suffix.lower() in (*pictures.SUFFIXES, '.json', '.xml', '.txt')]
  files = [p for p in files if p.name not in ('labelmap.txt', 'classes.txt')]
  return sorted(files, key=lambda p: natural_key(p.name))


def files_to_read(paths: Sequence[pathlib.Path], frame_name: str) -> Sequence[pathlib.Path]:
  """The files that given files or a folder stand for on a frame: one, or one for each object."""
  if len(paths) > 1 or not paths[0].is_dir():
    folders = [p for p in paths if p.is_dir()]
    if folders:
      raise ValueError(f'{folders[0]}: a folder among several masks given, expected files')
    return paths
  folder = paths[0]
  if (folder / CVAT_MASKS).is_dir():
    folder = folder / CVAT_MASKS
  files = mask_files_in(folder)
  of_frame = [p for p in files if names_lib.composed(p.stem) == names_lib.composed(frame_name)]
  if len(of_frame) == 1:
    return of_frame
  images = [p for p in files if p.suffix.lower() in pictures.SUFFIXES]
  if len(files) == 1:
    return files
  inner = sorted(p.name for p in folder.iterdir() if p.is_dir())
  if not files and inner:
    raise ValueError(
      f'{folder}: no mask in this folder, only folders ({", ".join(inner[:3])}); give one of them, '
      'or the files'
    )
  if not images or len(of_frame) > 1:
    raise ValueError(
      f'{paths[0]}: a folder of {len(files)} masks given, {len(of_frame)} of them named like the '
      f'first frame {frame_name!r}; expected one of this name, or one picture for each object'
    )
  return images


def _one_each(
  files: Sequence[pathlib.Path], size: tuple[int, int], options: MaskOptions, video_name: str
) -> GivenMask:
  """One object a file. The id is the number at the end of the name, or the place in the list."""
  ends = [re.search(r'(\d+)$', p.stem) for p in files]
  numbers = [int(m[1]) if m else 0 for m in ends]
  _check_count(len(files), str(files[0].parent))
  by_number = len(set(numbers)) == len(files) and all(map(object_ids.is_object_id, numbers))
  instances = []
  for path, number in zip(files, numbers):
    mask = pictures.read_picture(path, options).mask
    if len(mask.object_ids) > 1:
      raise ValueError(
        f'{path}: {len(mask.object_ids)} objects given, expected one object in each of the '
        f'{len(files)} files; for masks of several frames give the one of the first frame'
      )
    ids = _resized(mask.ids, size, str(path), options, video_name)
    object_id = number if by_number else None
    instances.append(shapes.Instance(path.name, ids > 0, object_id, file_key(path)))
  return _drawn(instances, size, str(files[0].parent))


def file_key(path: pathlib.Path) -> str:
  """What tells the object of a file on other frames."""
  return f'file {names_lib.composed(path.stem)}'


def _read_file(
  path: pathlib.Path, size: tuple[int, int], frame: tuple[str, int], options: MaskOptions
) -> GivenMask:
  try:
    return _read_file_of_any_kind(path, size, frame, options)
  except shapes.ShapeError as error:
    raise ValueError(f'{path}: {error}; draw the shape again') from None


def _read_file_of_any_kind(
  path: pathlib.Path, size: tuple[int, int], frame: tuple[str, int], options: MaskOptions
) -> GivenMask:
  suffix = path.suffix.lower()
  if suffix == '.json':
    return _read_json(path, frame[0])
  if suffix == '.xml':
    own_size, instances = cvat.read(path.read_bytes(), str(path), *frame)
    return _drawn(instances, own_size, str(path))
  if suffix == '.txt':
    instances = yolo.read(names_lib.read_text(path), str(path), size)
    return _drawn(instances, size, str(path))
  given = pictures.read_picture(path, options)
  given.hints.extend(_hint_of_instances(path, given, options))
  return given


def _hint_of_instances(path: pathlib.Path, given: GivenMask, options: MaskOptions) -> list[str]:
  """A hint where CVAT's colours are labels and the objects are in the folder next to it."""
  other = path.parent.parent / _CVAT_OBJECTS / path.name
  if path.parent.name != CVAT_MASKS or not other.is_file():
    return []
  labels = len(given.mask.object_ids)
  try:
    objects = len(pictures.read_picture(other, options).mask.object_ids)
  except (OSError, ValueError):
    return []  # Nobody asked for it.
  if objects <= labels:
    return []
  return [
    f'{path}: what has one label is one object, {labels} in all; {other} has {objects}: give that'
  ]


def _read_json(path: pathlib.Path, frame_name: str) -> GivenMask:
  try:
    content = names_lib.parse_json(names_lib.read_text(path))
  except ValueError as error:
    raise ValueError(f'{path}: damaged JSON given ({error}); export it again') from None
  try:
    if coco.is_coco(content):
      own_size, instances = coco.read(content, str(path), frame_name)
    elif labelme.is_labelme(content):
      own_size, instances = labelme.read(content, str(path))
    else:
      raise ValueError(f'{path}: JSON of another kind given, expected COCO or labelme')
  except KeyError as error:
    raise ValueError(
      f'{path}: JSON without the entry {error} of COCO or labelme given; export it again'
    ) from None
  except shapes.ShapeError:
    raise
  except (ValueError, TypeError, AttributeError, IndexError) as error:
    if str(error).startswith(f'{path}: '):
      raise
    raise ValueError(
      f'{path}: JSON given whose entries are not those of COCO or labelme ({error}); export it again'
    ) from None
  return _drawn(instances, own_size, str(path))


def _drawn(instances: Sequence[shapes.Instance], size: tuple[int, int], where: str) -> GivenMask:
  """GivenMask of instances, later ones over earlier ones."""
  _check_count(len(instances), where)
  ids, overlap, names, keys = np.zeros(size, np.uint8), 0, {}, {}
  for number, instance in enumerate(instances, 1):
    object_id = instance.object_id or number
    overlap += np.count_nonzero(ids[instance.where])
    ids[instance.where] = object_id
    names[object_id] = instance.name
    if instance.object_id is None or instance.key:
      keys[object_id] = instance.key or instance.name
  found = []
  hidden = [names[i] for i in names if not (ids == i).any()]
  if hidden:
    found.append(
      f'{where}: nothing of {", ".join(hidden[:5])} is left: empty, or covered by others'
    )
  elif overlap:
    found.append(f'{where}: {overlap} pixels belong to several objects; the later one has them')
  own = frozenset(one.object_id for one in instances if one.object_id is not None)
  return GivenMask(masks.Mask(ids, None, False, None), names, found, keys, own)


def _check_count(count: int, where: str) -> None:
  if count > object_ids.LAST_ID:
    raise ValueError(
      f'{where}: {count} objects given, expected at most {object_ids.LAST_ID} '
      f'({object_ids.GIVEN_IDS}); leave some out'
    )


def _resized(
  ids: NDArray[np.uint8], size: tuple[int, int], name: str, options: MaskOptions, video_name: str
) -> NDArray[np.uint8]:
  """The ids at the frame's size."""
  if ids.shape == tuple(size):
    return ids
  if ids.shape == options.stored_size:
    return _nearest(ids, size)
  height, width = ids.shape
  same_shape = abs(height * size[1] - width * size[0]) <= max(size) + max(ids.shape)
  given = f'{name}: a mask of {height}x{width} (height x width) given, expected {size[0]}x{size[1]}'
  given += f' like the frames of {video_name}'
  if not same_shape:
    turned = ' (it fits a frame turned by 90 degrees)' if (width, height) == tuple(size) else ''
    raise ValueError(f'{given}; draw the mask on a frame of this video{turned}')
  if not options.resize:
    raise ValueError(f'{given}; draw the mask on a frame of this video, or add --resize_mask')
  return _nearest(ids, size)


def _nearest(ids: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
  resized = cv2.resize(ids, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
  return np.asarray(resized, np.uint8)


def _without_void(
  ids: NDArray[np.uint8], options: MaskOptions, given: GivenMask
) -> NDArray[np.uint8]:
  others = ((ids != 0) & (ids != masks.VOID_ID)).any()
  if options.value_255 == 'object' or not others or not (ids == masks.VOID_ID).any():
    return ids
  if options.value_255 == 'auto':
    if not checks.is_void_contour(ids):
      return ids
    given.hints.append(
      'value 255 is a thin line along objects: taken as void, not as an object '
      '(--value_255=object makes it one)'
    )
  given.names.pop(masks.VOID_ID, None)
  given.keys.pop(masks.VOID_ID, None)
  return np.where(ids == masks.VOID_ID, 0, ids).astype(np.uint8)

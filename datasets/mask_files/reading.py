"""Masks that a person gives for a frame, in whatever form they come.

- pictures: palette, grey, black and white, RGB(A) of few exact colours (`colours`)
- a folder with one picture for each object, or several such files
- a folder with masks named like the frames: the one of the frame is taken
- annotations: COCO JSON, labelme JSON, CVAT XML, YOLO polygons

Masks of data sets are read by `feelvos_tf.datasets.masks` instead, which accepts ids only.
"""

from collections.abc import Sequence
import dataclasses
import io
import json
import os
import pathlib
import re
import zipfile

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL import ImageOps

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets import palette as palette_lib
from feelvos_tf.datasets.mask_files import checks
from feelvos_tf.datasets.mask_files import coco
from feelvos_tf.datasets.mask_files import colours
from feelvos_tf.datasets.mask_files import cvat
from feelvos_tf.datasets.mask_files import labelme
from feelvos_tf.datasets.mask_files import shapes
from feelvos_tf.datasets.mask_files import yolo
from feelvos_tf.datasets.names import IMAGE_SUFFIXES
from feelvos_tf.datasets.names import natural_key

_PICTURES = (*IMAGE_SUFFIXES, '.gif')
_TO_16_BITS = 257  # 255 becomes 65535.
_FORMS = 'a picture (palette, grey or few colours), COCO or labelme JSON, CVAT XML or YOLO text'


@dataclasses.dataclass(frozen=True)
class MaskOptions:
  """How a given mask is read.

  Raises:
    ValueError: a threshold outside of 0..255.
  """

  # Grey from here on is the object, the only one: a share of white (0.5) or a level (128).
  threshold: float | None = None
  # Resize a mask of another size and the same proportions, by nearest neighbour.
  resize: bool = False
  # What 255 is next to other ids: 'auto' (void where it is a thin line along objects), 'object',
  # 'void'.
  value_255: str = 'auto'
  # (height, width) of a video's stored pixels where they are not square: a mask of this size is
  # stretched as the frames are.
  stored_size: tuple[int, int] | None = None

  def __post_init__(self) -> None:
    if self.threshold is not None and not 0 < self.threshold <= 255:
      raise ValueError(
        f'threshold is {self.threshold:g}; expected a share of white such as 0.5 or a level 1..255'
      )


@dataclasses.dataclass
class GivenMask:
  """A mask and what there is to say about it.

  Attributes:
    mask: `masks.Mask`; every id but 0 is an object.
    names: {id: where it comes from} if the ids are not the file's own values.
    hints: sentences about what is probably not meant.
  """

  mask: masks.Mask
  names: dict[int, str] = dataclasses.field(default_factory=dict)
  hints: list[str] = dataclasses.field(default_factory=list)


def read_given_mask(
  paths: str | os.PathLike | Sequence[str | os.PathLike],
  size: tuple[int, int],
  frame_name: str,
  options: MaskOptions = MaskOptions(),
  video_name: str = 'the video',
  require_object: bool = True,
) -> GivenMask:
  """Reads the masks of the objects on a frame.

  Args:
    paths: a file or folder, or several files with one object each.
    size: (height, width) of the frame.
    frame_name: its name without suffix, which chooses among masks of several frames.
    options: MaskOptions.
    video_name: what messages call the video.
    require_object: refuse a mask without any object.

  Returns:
    GivenMask of that size.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it cannot be read as a mask, has no object, or another size.
  """
  paths = [pathlib.Path(p) for p in ([paths] if isinstance(paths, (str, pathlib.Path)) else paths)]
  for path in paths:
    if not path.exists():
      raise FileNotFoundError(f'{path}: no such mask file; give {_FORMS}')
  files = _files(paths, frame_name)
  where = str(paths[0])
  if len(files) > 1:
    given = _one_each(files, size, options, video_name)
  else:
    where = str(files[0])
    given = _read_file(files[0], size, frame_name, options)
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


def _files(paths: Sequence[pathlib.Path], frame_name: str) -> Sequence[pathlib.Path]:
  """The files to read: one, or one for each object."""
  if len(paths) > 1 or not paths[0].is_dir():
    folders = [p for p in paths if p.is_dir()]
    if folders:
      raise ValueError(f'{folders[0]}: a folder among several masks given, expected files')
    return paths
  folder = paths[0]
  if (folder / 'SegmentationClass').is_dir():  # CVAT's "Segmentation mask 1.1", unpacked.
    folder = folder / 'SegmentationClass'
  files = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith('.')]
  files = [p for p in files if p.suffix.lower() in (*_PICTURES, '.json', '.xml', '.txt')]
  files = [p for p in files if p.name not in ('labelmap.txt', 'classes.txt')]
  files.sort(key=lambda p: natural_key(p.name))
  of_frame = [p for p in files if p.stem == frame_name]
  if len(of_frame) == 1:
    return of_frame
  pictures = [p for p in files if p.suffix.lower() in _PICTURES]
  if len(files) == 1:
    return files
  if not pictures or len(of_frame) > 1:
    raise ValueError(
      f'{paths[0]}: a folder of {len(files)} masks given, {len(of_frame)} of them named like the '
      f'first frame {frame_name!r}; expected one of this name, or one picture for each object'
    )
  return pictures


def _one_each(
  files: Sequence[pathlib.Path], size: tuple[int, int], options: MaskOptions, video_name: str
) -> GivenMask:
  """One object a file. The id is the number at the end of the name, or the place in the list."""
  numbers = [re.search(r'(\d+)$', p.stem) for p in files]
  numbers = [int(m[1]) if m else 0 for m in numbers]
  _check_count(len(files), files[0].parent)
  if len(set(numbers)) < len(files) or not all(map(object_ids.is_object_id, numbers)):
    numbers = range(1, len(files) + 1)
  instances = []
  for path, number in zip(files, numbers):
    mask = _read_picture(path, options).mask
    if len(mask.object_ids) > 1:
      raise ValueError(
        f'{path}: {len(mask.object_ids)} objects given, expected one object in each of the '
        f'{len(files)} files; for masks of several frames give the one of the first frame'
      )
    ids = _resized(mask.ids, size, str(path), options, video_name)
    instances.append(shapes.Instance(path.name, ids > 0, number))
  return _drawn(instances, size, str(files[0].parent))


def _read_file(
  path: pathlib.Path, size: tuple[int, int], frame_name: str, options: MaskOptions
) -> GivenMask:
  try:
    return _read_file_of_any_kind(path, size, frame_name, options)
  except shapes.ShapeError as error:
    raise ValueError(f'{path}: {error}; draw the shape again') from None


def _read_file_of_any_kind(
  path: pathlib.Path, size: tuple[int, int], frame_name: str, options: MaskOptions
) -> GivenMask:
  suffix = path.suffix.lower()
  if suffix == '.json':
    return _read_json(path, frame_name)
  if suffix == '.xml':
    own_size, instances = cvat.read(path.read_bytes(), str(path), frame_name)
    return _drawn(instances, own_size, str(path))
  if suffix == '.txt':
    instances = yolo.read(names_lib.read_text(path), str(path), size)
    return _drawn(instances, size, str(path))
  return _read_picture(path, options)


def _read_json(path: pathlib.Path, frame_name: str) -> GivenMask:
  try:
    content = json.loads(names_lib.read_text(path))
  except ValueError as error:
    raise ValueError(f'{path}: damaged JSON given ({error}); export it again') from None
  try:
    if coco.is_coco(content):
      own_size, instances = coco.read(content, str(path), frame_name)
    elif labelme.is_labelme(content):
      own_size, instances = labelme.read(content, str(path))
    else:
      raise ValueError(f'{path}: JSON of another kind given, expected COCO or labelme')
  except (KeyError, TypeError, AttributeError, IndexError) as error:
    raise ValueError(
      f'{path}: JSON without what COCO and labelme have ({error!r}) given; export it again'
    ) from None
  return _drawn(instances, own_size, str(path))


def _drawn(instances: Sequence[shapes.Instance], size: tuple[int, int], where: str) -> GivenMask:
  """GivenMask of instances, later ones over earlier ones."""
  _check_count(len(instances), where)
  ids, overlap, names = np.zeros(size, np.uint8), 0, {}
  for number, instance in enumerate(instances, 1):
    object_id = instance.object_id or number
    overlap += np.count_nonzero(ids[instance.where])
    ids[instance.where] = object_id
    names[object_id] = instance.name
  found = []
  hidden = [names[i] for i in names if not (ids == i).any()]
  if hidden:
    found.append(
      f'{where}: nothing of {", ".join(hidden[:5])} is left: empty, or covered by others'
    )
  elif overlap:
    found.append(f'{where}: {overlap} pixels belong to several objects; the later one has them')
  return GivenMask(masks.Mask(ids, None, False, None), names, found)


def _check_count(count: int, where: str) -> None:
  if count > object_ids.LAST_ID:
    raise ValueError(
      f'{where}: {count} objects given, expected at most {object_ids.LAST_ID} '
      f'({object_ids.GIVEN_IDS}); leave some out'
    )


def _read_picture(path: pathlib.Path, options: MaskOptions) -> GivenMask:
  data = path.read_bytes()
  is_png = data.startswith(b'\x89PNG')
  if zipfile.is_zipfile(path):
    raise ValueError(f'{path}: a ZIP archive given, expected {_FORMS}; unpack it first')
  if path.suffix.lower() not in _PICTURES and not _is_picture(data):
    raise ValueError(f'{path}: a file of an unknown kind given, expected {_FORMS}')
  image = _open(data, str(path))
  if options.threshold is not None:
    return GivenMask(masks.Mask(_at_least(image, options.threshold), None, False, None))
  if image.format == 'JPEG' or (image.format == 'WEBP' and not _is_lossless_webp(data)):
    raise ValueError(
      f'{path}: a {image.format} image given, whose compression changes colours; expected a PNG, or '
      '--threshold=0.5 for one object in grey'
    )
  if image.mode.startswith('I;16') or image.mode in ('I', 'F'):
    return _of_deep_grey(image, str(path))
  if image.mode in ('1', 'L', 'P'):
    mask = masks.decode_mask(data, str(path), void=False) if is_png else _values(image)
    hidden = _hidden_values(image)
    if not hidden:
      return _of_values(mask, str(path))
    if image.mode == 'L' or 0 in hidden or not (mask.ids == 0).any() or not mask.palette[0].any():
      ids = np.where(np.isin(mask.ids, hidden), 0, mask.ids).astype(np.uint8)
      return GivenMask(dataclasses.replace(mask, ids=ids))
  has_alpha = image.mode in ('LA', 'PA', 'RGBA', 'La', 'RGBa') or 'transparency' in image.info
  pixels = np.array(image.convert('RGBA' if has_alpha else 'RGB'))
  return _of_colours(pixels, path)


def _values(image: Image.Image) -> masks.Mask:
  """Mask of a picture that is no PNG: its values, and its palette if it has one."""
  palette = None
  if image.mode == 'P':
    palette = masks.DAVIS_PALETTE.copy()
    own = np.asarray(image.getpalette('RGB') or [], np.uint8).reshape(-1, 3)
    palette[: len(own)] = own
  return masks.Mask(np.array(image, np.uint8), palette, False, None)


def _hidden_values(image: Image.Image) -> list[int]:
  """Values of a palette or grey picture that are fully transparent."""
  transparency = image.info.get('transparency')
  if isinstance(transparency, bytes):
    return [i for i, alpha in enumerate(transparency) if alpha == 0]
  return [] if transparency is None else [transparency]


def _of_colours(pixels: NDArray[np.uint8], path: pathlib.Path) -> GivenMask:
  label_map = cvat.label_map_of(path)
  ids, palette, texts = colours.ids_of_colours(pixels, str(path))
  if label_map is not None and texts:
    labels = cvat.read_label_map(label_map)
    listed = {c: i for i, c in enumerate([c for c in labels if any(c)], 1)}
    own = {i: tuple(int(v) for v in palette[i]) for i in texts}
    if all(c in listed for c in own.values()) and len(listed) <= object_ids.LAST_ID:
      table = np.zeros(256, np.uint8)
      palette = masks.DAVIS_PALETTE.copy()
      for old, colour in own.items():
        table[old] = listed[colour]
        palette[listed[colour]] = colour
      ids = table[ids]
      texts = {listed[c]: f'{labels[c]} ({palette_lib.hex_colour(c)})' for c in own.values()}
  return GivenMask(masks.Mask(ids, palette, False, None), texts)


def _of_values(mask: masks.Mask, name: str) -> GivenMask:
  """A mask whose values are the ids, unless its palette says which of them is background."""
  if mask.palette is None:
    return GivenMask(mask)
  checks.refuse_dithered(mask.ids, name)
  present = np.unique(mask.ids)
  own = mask.palette[present].astype(int)
  black = [int(i) for i, colour in zip(present, own) if not colour.any()]
  distinct = len({tuple(c) for c in own.tolist()}) == len(present)
  if len(black) != 1 or black[0] == 0 or 0 not in present or not distinct:
    return GivenMask(mask)
  edge = np.bincount(checks.edge_values(mask.ids), minlength=256)
  if 2 * edge[black[0]] <= edge.sum():
    return GivenMask(mask)
  ids, palette, texts = colours.ids_of_colours(mask.palette[mask.ids], name)
  hint = f'{name}: value {black[0]}, black and at the edge, is taken as background instead of 0'
  return GivenMask(masks.Mask(ids, palette, False, None), texts, [hint])


def _of_deep_grey(image: Image.Image, name: str) -> GivenMask:
  values = np.asarray(image)
  if values.max() > 255 and not (values % _TO_16_BITS).any():
    values = values // _TO_16_BITS  # Programs that save 8 bits as 16 repeat the byte.
  if values.min() < 0 or values.max() > 255 or (values != np.round(values)).any():
    raise ValueError(
      f'{name}: grey values {values.min():g}..{values.max():g} given, expected '
      f'{object_ids.GIVEN_IDS}; save the mask as an 8-bit PNG, or add --threshold=0.5 for one soft object'
    )
  return GivenMask(masks.Mask(values.astype(np.uint8), None, False, None))


def _at_least(image: Image.Image, threshold: float) -> NDArray[np.uint8]:
  """uint8 1 where grey, or what is opaque where transparency varies, reaches the threshold."""
  values, white = None, 255.0
  if image.mode in ('LA', 'RGBA', 'PA') or 'transparency' in image.info:
    alpha = np.asarray(image.convert('RGBA'))[..., 3]
    values = alpha if len(np.unique(alpha)) > 1 else None
  if values is None and (image.mode.startswith('I') or image.mode == 'F'):
    values = np.asarray(image, np.float64)
    white = 65535.0 if values.max() > 255 else 255.0 if values.max() > 1 else 1.0
  if values is None:
    values = np.asarray(image.convert('L'))
  level = threshold * white if threshold < 1 else threshold * white / 255
  return (values >= level).astype(np.uint8)


def _is_picture(data: bytes) -> bool:
  try:
    Image.open(io.BytesIO(data)).close()
  except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
    return False
  return True


def _open(data: bytes, name: str) -> Image.Image:
  try:
    image = Image.open(io.BytesIO(data))
    if image.width * image.height > masks.MAX_PIXELS:
      raise ValueError(
        f'{name}: an image of {image.height}x{image.width} given, expected at most '
        f'{masks.MAX_PIXELS} pixels; give a mask of the size of the frames'
      )
    image.load()
    image = _upright(image)
  except (OSError, SyntaxError, EOFError, Image.DecompressionBombError):
    raise ValueError(
      f'{name}: a damaged picture, or none, given; expected {_FORMS}; save it again'
    ) from None
  return image


def _upright(image: Image.Image) -> Image.Image:
  """Turned as its EXIF data ask, as frames are."""
  turned = ImageOps.exif_transpose(image)
  turned.format = image.format
  return turned


def _is_lossless_webp(data: bytes) -> bool:
  return b'VP8L' in data[:64]


def _resized(
  ids: NDArray[np.uint8], size: tuple[int, int], name: str, options: MaskOptions, video_name: str
) -> NDArray[np.uint8]:
  """The ids at the frame's size."""
  if ids.shape == tuple(size):
    return ids
  if ids.shape == options.stored_size:
    return cv2.resize(ids, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
  height, width = ids.shape
  same_shape = abs(height * size[1] - width * size[0]) <= max(size) + max(ids.shape)
  given = f'{name}: a mask of {height}x{width} (height x width) given, expected {size[0]}x{size[1]}'
  given += f' like the frames of {video_name}'
  if not same_shape:
    turned = ' (it fits a frame turned by 90 degrees)' if (width, height) == tuple(size) else ''
    raise ValueError(f'{given}; draw the mask on a frame of this video{turned}')
  if not options.resize:
    raise ValueError(f'{given}; draw the mask on a frame of this video, or add --resize_mask')
  return cv2.resize(ids, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)


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
  return np.where(ids == masks.VOID_ID, 0, ids).astype(np.uint8)

"""A given mask as a picture: palette, grey, black and white, RGB(A) of few exact colours."""

import dataclasses
import io
import pathlib
import re
from typing import cast
import zipfile

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL import ImageOps
from PIL import TiffImagePlugin

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import jpeg_file
from feelvos_tf.datasets import masks
from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets import palette as palette_lib
from feelvos_tf.datasets import picture
from feelvos_tf.datasets.mask_files import checks
from feelvos_tf.datasets.mask_files import colours
from feelvos_tf.datasets.mask_files import cvat
from feelvos_tf.datasets.mask_files.given import FORMS
from feelvos_tf.datasets.mask_files.given import GivenMask
from feelvos_tf.datasets.mask_files.given import MaskOptions
from feelvos_tf.datasets.names import IMAGE_SUFFIXES

SUFFIXES = (*IMAGE_SUFFIXES, '.gif')
_TO_16_BITS = 257  # 255 becomes 65535.
_PGM_HEAD = 4096  # Bytes in which size and white of a PGM file are, behind comments.


def read_picture(path: pathlib.Path, options: MaskOptions) -> GivenMask:
  """Reads a picture whose values, or colours, are objects.

  Args:
    path: the file.
    options: MaskOptions; `threshold` and nothing else is looked at.

  Raises:
    ValueError: no picture, or one that is no mask.
  """
  data = path.read_bytes()
  is_png = data.startswith(b'\x89PNG')
  if zipfile.is_zipfile(path):
    raise ValueError(f'{path}: a ZIP archive given, expected {FORMS}; unpack it first')
  if path.suffix.lower() not in SUFFIXES and not _is_picture(data):
    raise ValueError(f'{path}: a file of an unknown kind given, expected {FORMS}')
  image = _open(data, str(path))
  if options.threshold is not None:
    return GivenMask(masks.Mask(_at_least(image, options.threshold), None, False, None))
  if image.format == 'JPEG' or (image.format == 'WEBP' and not _is_lossless_webp(data)):
    raise ValueError(
      f'{path}: a {image.format} image given, whose compression changes colours; expected a PNG, or '
      '--threshold=0.5 for one object in grey'
    )
  if image.mode.startswith('I;16') or image.mode in ('I', 'F'):
    return _of_deep_grey(_as_stored(np.asarray(image), data), str(path))
  if image.mode in ('1', 'L', 'P'):
    name = str(path)
    mask = masks.decode_mask(data, name, void=False) if is_png else _values(image, data, name)
    hidden = _hidden_values(image)
    if not hidden:
      return _of_values(mask, str(path))
    black = mask.palette is None or not mask.palette[0].any()
    if image.mode == 'L' or 0 in hidden or not (mask.ids == 0).any() or black:
      ids = np.where(np.isin(mask.ids, hidden), 0, mask.ids).astype(np.uint8)
      return GivenMask(dataclasses.replace(mask, ids=ids))
  has_alpha = image.mode in ('LA', 'PA', 'RGBA', 'La', 'RGBa') or 'transparency' in image.info
  pixels = np.array(image.convert('RGBA' if has_alpha else 'RGB'))
  return _of_colours(pixels, path)


def _values(image: Image.Image, data: bytes, name: str) -> masks.Mask:
  """Mask of a picture that is no PNG: its values, and its palette if it has one."""
  palette = None
  if image.mode == 'P':
    palette = masks.DAVIS_PALETTE.copy()
    own = np.asarray(image.getpalette('RGB') or [], np.uint8).reshape(-1, 3)
    palette[: len(own)] = own
  values = np.array(image, np.uint8)
  if image.format == 'TIFF' and image.mode == 'L':
    # Pillow stretches 2 and 4 bits of grey to 8.
    values //= {2: 85, 4: 17}.get(_bits_per_sample(data), 1)
  values = _as_stored(values, data)
  masks.refuse_antialiased(values, palette is not None, name)
  return masks.Mask(values, palette, False, None)


def _bits_per_sample(data: bytes) -> int:
  with Image.open(io.BytesIO(data), formats=['TIFF']) as image:
    found = cast(TiffImagePlugin.TiffImageFile, image).tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, 8)
  return int(found[0] if isinstance(found, tuple) else found)


def _as_stored(values: np.ndarray, data: bytes) -> np.ndarray:
  """Values of a PGM file as they are in it: Pillow stretches them if white is not 255 or 65535."""
  head = re.sub(rb'#[^\r\n]*', b'', data[:_PGM_HEAD]).split(maxsplit=4)[:4]
  if len(head) < 4 or head[0] not in (b'P2', b'P5') or not head[3].isdigit():
    return values
  white = int(head[3])
  full = 255 if white <= 255 else 65535
  return values if white == full else np.round(values * (white / full)).astype(values.dtype)


def _hidden_values(image: Image.Image) -> list[int]:
  """Values of a palette or grey picture that are fully transparent."""
  transparency = image.info.get('transparency')
  if isinstance(transparency, bytes):
    return [i for i, alpha in enumerate(transparency) if alpha == 0]
  return [] if transparency is None else [transparency]


def _of_colours(pixels: NDArray[np.uint8], path: pathlib.Path) -> GivenMask:
  label_map = cvat.label_map_of(path)
  ids, palette, texts = colours.ids_of_colours(pixels, str(path))
  keys = dict(texts)
  hints: list[str] = []
  own = {i: _colour(palette[i]) for i in texts} if palette is not None else {}
  if path.parent.name == cvat.MASKS and palette is None:  # Labels may be grey; else it is an id.
    own = {i: (i, i, i) for i in np.unique(ids).tolist() if i}
  if label_map is not None and own:
    labels = cvat.read_label_map(label_map)
    listed = {c: i for i, c in enumerate([c for c in labels if any(c)], 1)}
    missing = [palette_lib.hex_colour(c) for c in own.values() if c not in listed]
    if missing and palette is not None:
      hints = [f'{label_map}: without {", ".join(missing)}; objects are numbered by their colours']
    elif not missing and len(listed) <= object_ids.LAST_ID:
      table = np.zeros(256, np.uint8)
      palette = masks.DAVIS_PALETTE.copy()
      for old, colour in own.items():
        table[old] = listed[colour]
        palette[listed[colour]] = colour
      ids = table[ids]
      texts = {listed[c]: f'{labels[c]} ({palette_lib.hex_colour(c)})' for c in own.values()}
      keys = {}
  return GivenMask(masks.Mask(ids, palette, False, None), texts, hints, keys)


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
  return GivenMask(masks.Mask(ids, palette, False, None), texts, [hint], dict(texts))


def _of_deep_grey(values: np.ndarray, name: str) -> GivenMask:
  if values.max() > 255 and not (values % _TO_16_BITS).any():
    values = values // _TO_16_BITS  # Programs that save 8 bits as 16 repeat the byte.
  if values.min() < 0 or values.max() > 255 or (values != np.round(values)).any():
    raise ValueError(
      f'{name}: grey values {values.min():g}..{values.max():g} given, expected '
      f'{object_ids.GIVEN_IDS}; save the mask as an 8-bit PNG, or add --threshold=0.5 for one soft object'
    )
  ids = values.astype(np.uint8)
  masks.refuse_antialiased(ids, False, name)
  return GivenMask(masks.Mask(ids, None, False, None))


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


def _colour(entry: np.ndarray) -> tuple[int, int, int]:
  red, green, blue = (int(value) for value in entry)
  return red, green, blue


def _is_picture(data: bytes) -> bool:
  try:
    Image.open(io.BytesIO(data)).close()
  except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
    return False
  return True


def _open(data: bytes, name: str) -> Image.Image:
  if data.startswith(jpeg_file.SIGNATURE):
    data = picture.inspect(data, name).data  # Pillow fills what is missing with grey.
  try:
    image: Image.Image = Image.open(io.BytesIO(data))
    if image.width * image.height > masks.MAX_PIXELS:
      raise ValueError(
        f'{name}: an image of {image.height}x{image.width} given, expected at most '
        f'{masks.MAX_PIXELS} pixels; give a mask of the size of the frames'
      )
    if note := picture.several(picture.pictures_in(data)):
      data_warning.warn(f'{name}: {note}')
    image.getexif()  # Pillow 10.0 cannot once a TIFF of several pages is loaded.
    image.load()
    image = _upright(image)
  except (OSError, SyntaxError, EOFError, Image.DecompressionBombError):
    raise ValueError(
      f'{name}: a damaged picture, or none, given; expected {FORMS}; save it again'
    ) from None
  return image


def _upright(image: Image.Image) -> Image.Image:
  """Turned as its EXIF data ask, as frames are."""
  turned = ImageOps.exif_transpose(image)
  turned.format = image.format
  return turned


def _is_lossless_webp(data: bytes) -> bool:
  """Whether the picture in a RIFF file is VP8L; colour profiles and the like may come before it."""
  place = 12
  while place + 8 <= len(data):
    kind, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], 'little')
    if kind in (b'VP8L', b'VP8 ', b'ANMF'):
      return kind == b'VP8L'
    place += 8 + size + size % 2
  return False

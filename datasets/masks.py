"""Object masks on disk and on screen: reading, checking, writing and drawing them.

A mask is an indexed image: the value of a pixel is the id of the object there. 0 is background and
255 is void (a pixel that belongs to nobody and is left out of losses and scores). This is the one
module that decides which PNG files are masks; `palette` knows the colours.
"""

from collections.abc import Callable, Collection, Iterable
import dataclasses
import io
import os
import pathlib
import struct

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL import UnidentifiedImageError

from feelvos_tf.datasets import names
from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets import picture
from feelvos_tf.datasets.names import IMAGE_SUFFIXES
from feelvos_tf.datasets.names import natural_key
from feelvos_tf.datasets.palette import DAVIS_PALETTE
from feelvos_tf.datasets.palette import ids_of_known_colours
from feelvos_tf.files import whole_file

VOID_ID = object_ids.VOID_ID
MAX_PIXELS = 1 << 26  # 8192 x 8192; a larger header is refused before anything is decoded.

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_REFUSED_COLOUR_TYPES = {4: 'a grey-with-alpha'}
_GREY, _RGB, _PALETTE, _RGBA = 0, 2, 3, 6  # Colour types of a PNG.
# What an antialiased outline looks like: this many values that never fill a 3x3 block. A palette
# image that some program made out of colours has more of them.
_THIN_VALUES_GREY = 3
_THIN_VALUES_PALETTE = 8


@dataclasses.dataclass(frozen=True)
class Mask:
  """Object ids of one frame.

  Attributes:
    ids: uint8 [height, width]; 0 is background, 255 is void, everything else an object.
    palette: uint8 [256, 3] RGB colours of the file, or None for a grey file.
    binary: the file was black and white, and its white (255) was read as object 1.
    void_id: the id that means void; None if every id but 0 is an object.
  """

  ids: np.ndarray
  palette: np.ndarray | None = None
  binary: bool = False
  void_id: int | None = VOID_ID

  @property
  def object_ids(self) -> tuple[int, ...]:
    """Sorted ids present, without background (0) and void."""
    return tuple(
      int(i)
      for i in np.flatnonzero(np.bincount(self.ids.ravel(), minlength=256))
      if i not in (0, self.void_id)
    )


def read_mask(
  path: str | os.PathLike,
  *,
  require_object: bool = False,
  grey_255: str = 'auto',
  void: bool = True,
  own: bool = False,
) -> Mask:
  """Reads a mask file; see `decode_mask`.

  Args:
    path: a PNG file.
    require_object: refuse a mask without any object, as a first frame's mask must have one.
    grey_255: meaning of the value 255 in a grey file; see `decode_mask`.
    void: whether 255 can mean void; see `decode_mask`.
    own: whether this program wrote the file; see `decode_mask`.

  Returns:
    The Mask.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not a mask; the message says why.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(names.missing(path, 'mask file', 'give a palette or grey PNG'))
  return decode_mask(
    path.read_bytes(),
    str(path),
    require_object=require_object,
    grey_255=grey_255,
    void=void,
    own=own,
  )


def read_result(path: str | os.PathLike, known: Callable[[], Collection[int]]) -> Mask:
  """Reads a mask that a method predicted; its thin objects are taken if their ids are known.

  Smoothing leaves values between those of the objects. What has none but ids of objects was not
  smoothed, however thin most of them are.

  Args:
    path: a PNG file.
    known: function: the ids that a result may have. It is called where most values are thin.

  Returns:
    The Mask.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not a mask; the message says why.
  """
  mask = read_mask(path, own=True)
  try:
    refuse_antialiased(mask.ids, mask.palette is not None, str(path))
  except ValueError:
    if not set(mask.object_ids) <= {*known()}:
      raise
  return mask


def decode_mask(
  data: bytes,
  name: str,
  *,
  require_object: bool = False,
  grey_255: str = 'auto',
  void: bool = True,
  own: bool = False,
  max_pixels: int = MAX_PIXELS,
) -> Mask:
  """Decodes a PNG mask: a palette image or a grey image of 1, 2, 4 or 8 bits.

  The pixel values are the ids, whatever colours the palette gives them; EXIF data turn the mask as
  they turn a frame. An RGB or RGBA file is read if each of its colours is in the DAVIS palette,
  whose index is the id then, or if all are grey. In a palette file of a data set 255 is void. In
  a grey file it depends: DAVIS 2016 and many drawing programs write white
  objects on black, other data sets write ids with a void value. In a mask that a user drew to say
  what to follow there is no void: every value but 0 is an object (`void=False`).

  Args:
    data: bytes of the PNG file.
    name: what messages call the file.
    require_object: refuse a mask without any object.
    grey_255: what 255 means in a grey file. 'object': object 1. 'void': void. 'auto': object 1
      if the file holds nothing but 0 and 255, else void. 'auto' is right for a single file. In
      a sequence whose first mask has other ids, a later frame may hold only background and void:
      pass 'void' there (`feelvos_tf.datasets.sources.folder` does).
    void: False takes 255 as an object id like any other, in palette and grey files, and leaves
      `grey_255` aside.
    own: this program wrote the file, of ids that it knows: what is thin in it are thin objects, and
      nothing is taken for antialiased.
    max_pixels: larger images are refused by their header.

  Returns:
    The Mask.

  Raises:
    ValueError: not a PNG, colour, 16 bits, antialiased, broken, too large, or (with
      `require_object`) empty.
  """
  if grey_255 not in ('auto', 'object', 'void'):
    raise ValueError(f'grey_255: {grey_255!r} given, expected auto, object or void')
  ids = object_ids.DATA_SET_IDS if void else object_ids.GIVEN_IDS
  bit_depth, colour_type = _check_header(data, name, max_pixels, ids)
  values, palette = _decode_pixels(data, name, bit_depth, colour_type)
  is_palette = palette is not None
  values = picture.upright(values, picture.orientation_of(data))
  if not own:
    refuse_antialiased(values, is_palette, name)
  binary = False
  if void and not is_palette:
    histogram = np.bincount(values.ravel(), minlength=256)
    only_white = histogram[VOID_ID] > 0 and not histogram[1:VOID_ID].any()
    binary = grey_255 != 'void' and bool(only_white)
    if binary or grey_255 == 'object':
      values[values == VOID_ID] = 1
  mask = Mask(values, palette, binary, VOID_ID if void else None)
  if require_object and not mask.object_ids:
    raise ValueError(
      f'{name}: a mask without any object given, expected at least one pixel of an '
      f'object ({ids}); paint the objects to follow'
    )
  return mask


def meaning_of_255(found: Iterable[Mask]) -> str:
  """What 255 means in the grey masks of a video, for `grey_255`: the first with an object decides.

  Args:
    found: the masks in the order of time, read with `grey_255='auto'`; taken up to that one.

  Returns:
    'object' or 'void'.
  """
  is_object = next((mask.binary for mask in found if mask.object_ids), False)
  return 'object' if is_object else 'void'


def list_masks(folder: str | os.PathLike) -> dict[str, pathlib.Path]:
  """The masks of a folder of a data set.

  Args:
    folder: a folder; one that does not exist has no masks.

  Returns:
    {name without suffix: PNG file} in natural order. Hidden files are left out.

  Raises:
    ValueError: two files of one name, or pictures of another kind, which would be left out
      without a word.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    return {}
  found: dict[str, pathlib.Path] = {}
  for path in sorted(folder.iterdir(), key=lambda p: natural_key(p.name)):
    suffix = path.suffix.lower()
    if path.name.startswith('.') or suffix not in IMAGE_SUFFIXES:
      continue
    if suffix != '.png':
      raise ValueError(f'{path}: a mask as {suffix} given, expected PNG; convert it')
    if path.stem in found:
      raise ValueError(
        f'{folder}: both {found[path.stem].name} and {path.name} given, expected one mask of a '
        'name; move one of them away'
      )
    found[path.stem] = path
  return found


def holds_colours(data: bytes) -> bool:
  """Whether the bytes are a PNG of colours or transparency instead of values."""
  return data.startswith(_PNG_SIGNATURE) and data[25:26] in (b'\2', b'\4', b'\6')


def encode_mask(
  ids: np.ndarray, palette: np.ndarray | None = None, compress_level: int = 6
) -> bytes:
  """Encodes ids as an 8-bit palette PNG whose palette has all 256 entries.

  Args:
    ids: integers 0..255 [height, width].
    palette: uint8 [256, 3]; None for DAVIS_PALETTE.
    compress_level: 0..9 of zlib; 1 takes a quarter of the time of 6 and twice the bytes.

  Returns:
    The bytes of the PNG file.

  Raises:
    ValueError: wrong shape, type or range.
  """
  ids = np.asarray(ids)
  palette = DAVIS_PALETTE if palette is None else np.asarray(palette)
  if ids.ndim != 2 or ids.dtype.kind not in 'iu' or not ids.size:
    raise ValueError(f'ids: {ids.dtype} {ids.shape} given, expected integers [height, width]')
  if ids.dtype != np.uint8 and (ids.min() < 0 or ids.max() > 255):
    raise ValueError(
      f'ids: values {ids.min()}..{ids.max()} given, expected {object_ids.GIVEN_IDS}; 0 is '
      'background'
    )
  if palette.shape != (256, 3) or palette.dtype != np.uint8:
    raise ValueError(f'palette: {palette.dtype} {palette.shape} given, expected uint8 (256, 3)')
  image = Image.fromarray(ids.astype(np.uint8, copy=False))  # Mode L, turned into P next.
  image.putpalette(palette.tobytes())
  stream = io.BytesIO()
  image.save(stream, format='PNG', bits=8, compress_level=compress_level)
  return stream.getvalue()


def write_mask(path: str | os.PathLike, ids: np.ndarray, palette: np.ndarray | None = None) -> None:
  """Writes a palette PNG, whole or not at all.

  Args:
    path: file to write.
    ids: integers 0..255 [height, width].
    palette: uint8 [256, 3], RGB; None for DAVIS_PALETTE.

  Raises:
    ValueError: see `encode_mask`.
    OSError: the file cannot be written.
  """
  whole_file.write_bytes(path, encode_mask(ids, palette))


def overlay(
  image: np.ndarray,
  ids: np.ndarray,
  palette: np.ndarray | None = None,
  alpha: float = 0.45,
  void_id: int | None = VOID_ID,
) -> np.ndarray:
  """Draws objects over a frame: a tint inside, the colour at full brightness as a contour.

  Args:
    image: uint8 [height, width, 3] RGB.
    ids: uint8 [height, width]; 0 and `void_id` are not drawn.
    palette: uint8 [256, 3]; None for DAVIS_PALETTE.
    alpha: weight 0..1 of the tint.
    void_id: the id that is no object; None if every id but 0 is one.

  Returns:
    A new uint8 [height, width, 3] RGB image.

  Raises:
    ValueError: the sizes differ.
  """
  image, ids = np.asarray(image), np.asarray(ids)
  if image.shape != ids.shape + (3,):
    raise ValueError(f'image {image.shape} and ids {ids.shape} given, expected the same size')
  palette = DAVIS_PALETTE if palette is None else palette
  if void_id is not None:
    ids = np.where(ids == void_id, 0, ids)
  ids = ids.astype(np.uint8, copy=False)
  colours = palette[ids]
  tinted = cv2.addWeighted(image, 1.0 - alpha, colours, alpha, 0.0)
  # One more pixel of contour for every 480 lines keeps it visible on large frames.
  width = 1 + ids.shape[0] // 480
  kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
  contour = cv2.erode(ids, kernel, borderType=cv2.BORDER_REPLICATE) != ids
  contour |= cv2.dilate(ids, kernel, borderType=cv2.BORDER_REPLICATE) != ids
  inside = ids != 0
  result = np.where(inside[..., None], tinted, image)
  edge = contour & inside
  result[edge] = _bright(palette)[ids[edge]]
  return result


def _bright(palette: np.ndarray) -> NDArray[np.uint8]:
  """The palette with every colour scaled until its strongest channel is 255: uint8 [256, 3]."""
  strongest = np.maximum(palette.max(axis=1, keepdims=True), 1).astype(np.float32)
  return np.round(palette * (255.0 / strongest)).astype(np.uint8)


def _check_header(data: bytes, name: str, max_pixels: int, ids: str) -> tuple[int, int]:
  """Returns (bit depth, colour type) of a PNG that may be a mask; raises ValueError otherwise."""
  if data[:8] != _PNG_SIGNATURE or data[12:16] != b'IHDR' or len(data) < 33:
    kind = 'a JPEG image' if data[:2] == b'\xff\xd8' else 'not a PNG image'
    raise ValueError(
      f'{name}: {kind} given, expected a palette or grey PNG mask; save the mask as an indexed PNG'
    )
  width, height, bit_depth, colour_type = struct.unpack('>IIBB', data[16:26])
  if colour_type not in (_GREY, _RGB, _PALETTE, _RGBA):
    kind = _REFUSED_COLOUR_TYPES.get(colour_type, f'a type {colour_type}')
    raise ValueError(
      f'{name}: {kind} image given, expected a palette or grey PNG whose values are the object ids'
    )
  if bit_depth > 8:
    raise ValueError(
      f'{name}: {bit_depth} bits per pixel given, expected at most 8 '
      f'({ids}); save the mask as an 8-bit PNG'
    )
  if not 0 < width * height <= max_pixels:
    raise ValueError(
      f'{name}: an image of {height}x{width} given, expected 1 to {max_pixels} '
      'pixels; give a mask of the size of the frames'
    )
  return bit_depth, colour_type


def _decode_pixels(
  data: bytes, name: str, bit_depth: int, colour_type: int
) -> tuple[np.ndarray, np.ndarray | None]:
  """Returns (ids uint8 [height, width], palette uint8 [256, 3] or None)."""
  try:
    with Image.open(io.BytesIO(data)) as image:
      image.load()
      has_alpha = colour_type == _RGBA or (colour_type == _RGB and 'transparency' in image.info)
      # A copy: callers may write to it.
      values = np.array(image.convert('RGBA') if has_alpha else image, dtype=np.uint8)
      colours = image.getpalette('RGB') if colour_type == _PALETTE else None
  # What Pillow raises for damaged chunks, bad checksums and cut-off files.
  except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
    # Pillow names the object in memory where it knows nothing else.
    reason = 'no image' if isinstance(error, UnidentifiedImageError) else error
    raise ValueError(
      f'{name}: a damaged PNG given ({reason}), expected a readable mask; write the file again'
    ) from error
  if colour_type in (_RGB, _RGBA):
    return ids_of_known_colours(values, name)
  if colour_type == _GREY:
    # Pillow stretches 2- and 4-bit grey to 0..255; the ids are the stored values.
    return values // {2: 85, 4: 17}.get(bit_depth, 1), None
  palette = DAVIS_PALETTE.copy()  # Entries that a short palette lacks stay visible.
  stored = np.asarray(colours or [], np.uint8).reshape(-1, 3)
  palette[: len(stored)] = stored
  return values, palette


def refuse_antialiased(values: np.ndarray, is_palette: bool, name: str) -> None:
  """Refuses a mask most of whose values exist on outlines only, as smoothing leaves them.

  A value counts as thin if no 3x3 block of the image is filled with it. Objects of a few pixels
  are thin, so thin values are held against an image only if there are several, they are
  the majority, and they mostly lie against other objects as the steps of a ramp do.

  Args:
    values: uint8 [height, width].
    is_palette: the values are indices of a palette.
    name: what messages call the file.

  Raises:
    ValueError: see above.
  """
  present = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
  present = present[present != 0]
  enough = _THIN_VALUES_PALETTE if is_palette else _THIN_VALUES_GREY
  if len(present) < enough:
    return  # The usual case, before the costly part.
  kernel = np.ones((3, 3), np.uint8)
  low, high = cv2.erode(values, kernel), cv2.dilate(values, kernel)
  solid = np.unique(values[low == high])
  thin = np.setdiff1d(present, solid)
  if len(thin) < enough:
    return
  if 2 * len(thin) <= len(present):
    return
  on_thin = np.isin(values, thin)
  # Touching an object with another id: above it, or below it but not background.
  lowest_object = cv2.erode(np.where(values == 0, 255, values).astype(np.uint8), kernel)
  touches = (high > values) | (lowest_object < values)
  if 2 * np.count_nonzero(touches & on_thin) > np.count_nonzero(on_thin):
    raise ValueError(
      f'{name}: an antialiased image given ({len(thin)} values only on outlines), '
      'expected hard-edged object ids; draw or resize the mask without smoothing'
    )

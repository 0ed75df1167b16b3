"""Pictures out of files: the one place that decodes them, upright, whole, within limits.

Frames, stills and whatever a request carries go through here, so that the same file is the same
picture everywhere, with every version of OpenCV and Pillow:

- turned upright as EXIF data ask (in JPEG, PNG, WebP and TIFF files);
- transparent pixels lie on black, as on a canvas of a browser;
- a file that lost pixels is refused, one that lacks only its end or last bits is read with a
  DataWarning;
- `inspect` looks at a file before its pixels are decoded: size, scans, chunks, unpacked bytes.
"""

import dataclasses
import io
import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL import TiffImagePlugin

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import jpeg_file
from feelvos_tf.datasets import png_file

MAX_PIXELS = 1 << 26  # 8192 x 8192
# Progressive encoders write about 10 scans; each costs a pass over the picture and may take a
# dozen bytes of the file.
MAX_SCANS = 100

_ORIENTATION = 0x0112
_TIFF_LONG, _TIFF_WIDTH, _TIFF_HEIGHT = 4, 0x0100, 0x0101
_GREY_16 = ('I;16', 'I;16B', 'I;16L', 'I;16N', 'I')


@dataclasses.dataclass(frozen=True)
class Picture:
  """A file that has been looked at, see `inspect`.

  Attributes:
    kind: 'JPEG', 'PNG', or what Pillow calls another format, for example 'WEBP'.
    height, width: pixels of the upright picture.
    orientation: 1..8 of EXIF for the pixels as they are stored; 1 is upright.
    transparent: some pixels may be transparent.
    data: the file; with its end if that was missing, without what follows a JPEG's end.
    completed: the end was missing.
    note: what is unusual about the file and what becomes of it, or ''.
  """

  kind: str
  height: int
  width: int
  orientation: int
  transparent: bool
  data: bytes
  completed: bool = False
  note: str = ''

  @property
  def plain(self) -> bool:
    """Whether a decoder that knows nothing of turning and alpha gives the same picture."""
    return self.orientation == 1 and not self.transparent and not self.completed


def inspect(
  data: bytes,
  name: str,
  *,
  max_pixels: int = MAX_PIXELS,
  max_scans: int = MAX_SCANS,
  trusted: bool = False,
) -> Picture:
  """Looks at a picture file before its pixels are decoded.

  The work is bounded by the bytes of the file and by `max_pixels`, whatever the file says.

  Args:
    data: content of the file.
    name: what messages call it.
    max_pixels: a larger picture is refused.
    max_scans: a JPEG with more scans is refused.
    trusted: leave out unpacking a PNG, which finds data beyond its pixels. It takes about as long
      as decoding does.

  Returns:
    A Picture.

  Raises:
    ValueError: one line: no picture, damaged, cut off, or beyond a limit.
  """
  try:
    if data[:2] == jpeg_file.SIGNATURE:
      found = _inspect_jpeg(data, max_pixels, max_scans)
    elif data[:8] == png_file.SIGNATURE:
      found = _inspect_png(data, max_pixels, trusted)
    else:
      found = _inspect_other(data, max_pixels)
  except ValueError as error:
    raise ValueError(
      f'{name}: unreadable picture ({error}); replace the file or remove it'
    ) from error
  if found.note:
    data_warning.warn(f'{name}: {found.note}')
  return found


def decode(data: bytes, name: str, **limits: Any) -> np.ndarray:
  """Decodes a picture file.

  Args:
    data: content of the file.
    name: what messages call it.
    **limits: see `inspect`.

  Returns:
    uint8 [height, width, 3] RGB, upright; transparent pixels are black.

  Raises:
    ValueError: see `inspect`.
  """
  return pixels(inspect(data, name, **limits), name)


def pixels(found: Picture, name: str) -> np.ndarray:
  """Decodes what `inspect` returned.

  Args:
    found: the `Picture`.
    name: what messages call it.

  Returns:
    uint8 [height, width, 3] RGB, upright; transparent pixels are black.

  Raises:
    ValueError: one line: the pixels are damaged.
  """
  try:
    if found.kind in ('JPEG', 'PNG') and not found.transparent:
      image = _decode_with_opencv(found.data)
    else:
      image = _decode_with_pillow(found.data)
  # What OpenCV and Pillow raise for damaged data.
  except (cv2.error, OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
    reason = ' '.join(str(error).split()) or type(error).__name__
    raise ValueError(
      f'{name}: unreadable picture ({reason}); replace the file or remove it'
    ) from error
  return upright(image, found.orientation)


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
  """Turns and mirrors a stored picture as its EXIF orientation asks.

  Args:
    image: [height, width] or [height, width, channels], any type.
    orientation: 1..8.

  Returns:
    The upright picture in the type of `image`; [width, height, ...] for 5..8.
  """
  if orientation == 1:
    return image
  if orientation in (5, 6, 7, 8):
    image = image.swapaxes(0, 1)
  # Of the picture as it is now: 2 mirrored, 3 upside down, 4 both; 5 needs the swap alone.
  flips = {2: (1,), 3: (0, 1), 4: (0,), 5: (), 6: (1,), 7: (0, 1), 8: (0,)}[orientation]
  return np.ascontiguousarray(np.flip(image, flips))


def on_black(rgba: np.ndarray) -> np.ndarray:
  """uint8 [height, width, 3] of an uint8 [height, width, 4] RGBA picture that lies on black."""
  return np.asarray((rgba[..., :3].astype(np.uint16) * rgba[..., 3:] + 127) // 255, np.uint8)


def has_deep_values(data: bytes) -> bool:
  """Whether a picture file has more than 8 bits for each value."""
  if data[:8] == png_file.SIGNATURE:
    return data[24:25] > b'\x08'
  try:
    with Image.open(io.BytesIO(data)) as image:
      return image.mode in _GREY_16
  except (EOFError, OSError, SyntaxError, ValueError, KeyError, struct.error):
    return False


def pictures_in(data: bytes) -> int:
  """Number of pages or frames of a file that Pillow reads; 2 stands for more.

  Its `n_frames` reads the whole file, which may say that it has millions.
  """
  try:
    with Image.open(io.BytesIO(data)) as image:
      image.seek(1)
  except (EOFError, OSError, SyntaxError, ValueError, KeyError, struct.error):
    return 1
  return 2


def several(count: int) -> str:
  """What is said of a file with several pictures; '' of one."""
  return 'the file holds several pictures; the first one is used' if count > 1 else ''


def orientation_of(data: bytes) -> int:
  """Orientation 1..8 that the file of a JPEG or PNG asks for; 1 if it cannot be read."""
  try:
    if data[:2] == jpeg_file.SIGNATURE:
      return exif_orientation(jpeg_file.read(data, MAX_SCANS).exif)
    if data[:8] == png_file.SIGNATURE:
      return exif_orientation(png_file.read(data).exif)
  except ValueError:
    pass
  return 1


def exif_orientation(exif: bytes | None) -> int:
  """Orientation 1..8 that EXIF data (from the TIFF header on) ask for; 1 if they are unreadable."""
  # The one tag is read here: Pillow warns on standard error about damage anywhere in the data.
  exif = (exif or b'').removeprefix(b'Exif\0\0')
  order = {b'II*\0': '<', b'MM\0*': '>'}.get(exif[:4])
  if order is None:
    return 1
  try:
    (directory,) = struct.unpack_from(f'{order}I', exif, 4)
    (count,) = struct.unpack_from(f'{order}H', exif, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
      tag, kind, _, short = struct.unpack_from(f'{order}HHIH', exif, entry)
      if tag == _ORIENTATION:
        (long,) = struct.unpack_from(f'{order}I', exif, entry + 8)
        value = long if kind == _TIFF_LONG else short
        return value if value in range(1, 9) else 1
  except struct.error:
    pass
  return 1


def _inspect_jpeg(data: bytes, max_pixels: int, max_scans: int) -> Picture:
  found = jpeg_file.read(data, max_scans)
  _check_size(found.height, found.width, max_pixels)
  data, note = jpeg_file.whole_file(data, found)
  return _picture('JPEG', found, False, data, note == jpeg_file.WITHOUT_END, note)


def _inspect_png(data: bytes, max_pixels: int, trusted: bool) -> Picture:
  found = png_file.read(data)
  _check_size(found.height, found.width, max_pixels)
  data, completed = png_file.whole_file(data, found)
  if not trusted and not completed:
    png_file.check_inflation(data, found)
  transparent = found.transparent or found.colour_type in (4, 6)
  note = png_file.WITHOUT_END if completed else several(found.frames)
  return _picture('PNG', found, transparent, data, completed, note)


def _picture(
  kind: str,
  found: jpeg_file.JpegFile | png_file.PngFile,
  transparent: bool,
  data: bytes,
  completed: bool,
  note: str,
) -> Picture:
  orientation = exif_orientation(found.exif)
  height, width = found.height, found.width
  if orientation >= 5:
    height, width = width, height
  return Picture(kind, height, width, orientation, transparent, data, completed, note)


def _inspect_other(data: bytes, max_pixels: int) -> Picture:
  try:
    with Image.open(io.BytesIO(data)) as image:
      width, height = image.size
      _check_size(height, width, max_pixels)
      turned = orientation = exif_orientation(image.info.get('exif'))
      if isinstance(
        image, TiffImagePlugin.TiffImageFile
      ):  # Pillow turns them itself; from version 11 on, `size` is upright.
        width, height = image.tag_v2[_TIFF_WIDTH], image.tag_v2[_TIFF_HEIGHT]
        turned, orientation = image.tag_v2.get(_ORIENTATION, 1), 1
      if turned in (5, 6, 7, 8):
        width, height = height, width
      note = several(pictures_in(data))
      return Picture(image.format or '', height, width, orientation, True, data, note=note)
  except Image.DecompressionBombError as error:
    raise ValueError(f'too large, expected 1 to {max_pixels} pixels') from error
  except (OSError, SyntaxError, EOFError, KeyError, struct.error) as error:
    raise ValueError(f'{len(data)} bytes that are no picture') from error


def _check_size(height: int, width: int, max_pixels: int) -> None:
  if not 0 < height * width <= max_pixels:
    raise ValueError(f'{height}x{width} (height x width), expected 1 to {max_pixels} pixels')


def _decode_with_opencv(data: bytes) -> NDArray[np.uint8]:
  image = cv2.imdecode(
    np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
  )
  if image is None:
    raise ValueError('damaged pixels')
  return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _decode_with_pillow(data: bytes) -> NDArray[np.uint8]:
  with Image.open(io.BytesIO(data)) as image:
    return _to_rgb(image)


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
  """uint8 [height, width, 3] of a Pillow image, with transparent pixels on black."""
  if image.mode in _GREY_16:
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 65535:
      raise ValueError('32-bit grey; save it with 8 bits')
    if image.mode == 'I' and image.format == 'TIFF' and 0 < grey.max() <= 255:
      raise ValueError(f'32-bit grey of values up to {grey.max()}; save it with 8 bits')
    return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
  if image.mode == 'F':
    raise ValueError('floating-point grey; save it with 8 bits')
  if {'A', 'a'} & set(image.getbands()) or 'transparency' in image.info:
    return on_black(np.asarray(image.convert('RGBA')))
  return np.array(image.convert('RGB'))

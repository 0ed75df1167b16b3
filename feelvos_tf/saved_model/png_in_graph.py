"""Frames and masks as bytes inside a graph: checked decoding, palette masks in and out.

TensorFlow's PNG decoder turns palette indices into colours, and two entries of a palette may have
the same colour: what is lost there cannot be found again. So a palette file is rewritten as the
grey file with the same pixel data before it is decoded. In a grey file of 1, 2, 4 or 8 bits the
stored values are what libpng reads, whatever row filters or interlacing the file uses, so this is
exact for every palette PNG. Likewise a mask is encoded as a grey PNG whose header is then changed
to palette and given the palette of the input.

PNG: ISO/IEC 15948, sections 5 (chunks) and 11 (IHDR, PLTE).
"""

from typing import NamedTuple
import zlib

import numpy as np
from numpy.typing import NDArray
import tensorflow as tf

from feelvos_tf.datasets import masks
from feelvos_tf.saved_model import jpeg_in_graph
from feelvos_tf.saved_model.checked import checked

MAX_PIXELS = masks.MAX_PIXELS
_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_IHDR_END = 33  # Signature, then length, type, 13 bytes and checksum of IHDR.
_GREY, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 3, 4, 6
_MAX_CHUNKS = 10000  # 8 KiB of pixels each make 80 MB.
_LARGEST_PIXEL, _SPARE_BYTES = 8, 1 << 16


class EncodedMask(NamedTuple):
  """A decoded mask.

  Attributes:
    ids: uint8 [height, width], the stored values.
    palette: string scalar, a whole PLTE chunk: that of the file, or the DAVIS palette for a grey
      file.
  """

  ids: tf.Tensor
  palette: tf.Tensor


def _chunk(kind: bytes, data: bytes) -> bytes:
  """Bytes of a PNG chunk."""
  return len(data).to_bytes(4, 'big') + kind + data + zlib.crc32(kind + data).to_bytes(4, 'big')


def palette_chunk(palette: np.ndarray) -> bytes:
  """The PLTE chunk, bytes, of a palette uint8 [256, 3]."""
  return _chunk(b'PLTE', palette.tobytes())


def palette_of_chunk(chunk: bytes) -> NDArray[np.uint8]:
  """The palette uint8 [256, 3] of a PLTE chunk; entries it lacks are those of the DAVIS palette."""
  palette = masks.DAVIS_PALETTE.copy()
  colours = np.frombuffer(chunk[8:-4], np.uint8)
  palette[: len(colours) // 3] = colours[: len(colours) // 3 * 3].reshape(-1, 3)
  return palette


DAVIS_PALETTE_CHUNK = palette_chunk(masks.DAVIS_PALETTE)
_IEND = _chunk(b'IEND', b'')


def decode_frame(data: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
  """Decodes a JPEG or PNG frame; its header and its parts are checked before it is decoded.

  The picture is that of `feelvos_tf.datasets.picture`: upright, transparent pixels on black.

  Args:
    data: string scalar.
    max_pixels: int, larger images are refused.

  Returns:
    uint8 [height, width, 3], RGB.

  Raises:
    tf.errors.InvalidArgumentError: when the graph runs: neither JPEG nor PNG, damaged, too large.
  """
  is_png = tf.strings.substr(data, 0, 8) == _SIGNATURE

  def png() -> tf.Tensor:
    sized = _sized_png(data, 'frame', max_pixels)
    found = _walk(sized, 'frame')
    kind = _bytes_at(sized, 25, 1)[0]
    sound = checked(sized, *_fitting(sized, found.pixel_bytes, 'frame'))
    image = tf.cond(
      found.transparent | (kind == _GREY_ALPHA) | (kind == _RGB_ALPHA),
      lambda: _on_black(tf.io.decode_png(sound, channels=4)),
      lambda: tf.io.decode_png(sound, channels=3),
    )
    return jpeg_in_graph.upright(image, jpeg_in_graph.orientation(found.exif))

  def jpeg() -> tf.Tensor:
    known = checked(
      data,
      tf.strings.substr(data, 0, 2) == b'\xff\xd8',
      'frame: not a JPEG or PNG image given; encode the frames as one of these.',
    )
    shape = tf.io.extract_jpeg_shape(known)
    sized = checked(known, *_small(shape[0], shape[1], 'frame', max_pixels))
    scans, exif = jpeg_in_graph.inspect(sized)
    with tf.control_dependencies([scans]):
      # The same arithmetic as OpenCV's and Pillow's; the default is another one.
      image = tf.io.decode_jpeg(data, channels=3, dct_method='INTEGER_ACCURATE')
    return jpeg_in_graph.upright(image, jpeg_in_graph.orientation(exif))

  return tf.ensure_shape(tf.cond(is_png, png, jpeg), [None, None, 3])


def decode_mask(data: tf.Tensor, max_pixels: int = MAX_PIXELS) -> EncodedMask:
  """Decodes a palette or grey PNG mask to the stored values; every value but 0 is an object.

  Args:
    data: string scalar, a PNG of 1, 2, 4 or 8 bits per pixel.
    max_pixels: int, larger images are refused.

  Returns:
    `EncodedMask`.

  Raises:
    tf.errors.InvalidArgumentError: when the graph runs: not a PNG, colours, 16 bits, damaged, too
      large.
  """
  data = checked(
    data,
    tf.strings.substr(data, 0, 8) == _SIGNATURE,
    'mask: not a PNG image given; save the mask as an indexed or grey PNG.',
  )
  data = _sized_png(data, 'mask', max_pixels)
  header = _bytes_at(data, 24, 2)
  bits, kind = header[0], header[1]
  data = checked(
    data,
    ((kind == _GREY) | (kind == _PALETTE)) & (bits <= 8),
    'mask: a PNG of colours or 16 bits given (colour type, bits follow), expected a palette or '
    'grey PNG whose values are the object ids.',
    kind,
    bits,
  )
  found = _walk(data, 'mask')
  pixels, palette = found.pixels, found.palette
  data = checked(data, *_fitting(data, found.pixel_bytes, 'mask'))
  # Decoding the file as it is verifies what is left out of the rewritten one.
  with tf.control_dependencies([tf.io.decode_png(data, channels=1)]):
    header = tf.strings.join(
      [_slice(data, 16, 8), _byte(bits), _byte(tf.constant(_GREY)), _slice(data, 26, 3)]
    )
  grey = tf.strings.join([_SIGNATURE, _ihdr_chunk(header), pixels, _IEND])
  values = tf.cast(tf.io.decode_png(grey, channels=1)[..., 0], tf.int32)
  # Grey of less than 8 bits is stretched to 0..255 by the decoder.
  step = 255 // (tf.bitwise.left_shift(1, bits) - 1)
  palette = tf.where(kind == _PALETTE, palette, DAVIS_PALETTE_CHUNK)
  return EncodedMask(tf.cast(values // step, tf.uint8), palette)


def encode_mask(ids: tf.Tensor, palette: tf.Tensor) -> tf.Tensor:
  """Encodes ids as an 8-bit palette PNG.

  Args:
    ids: uint8 [height, width].
    palette: string scalar, a PLTE chunk as in `EncodedMask`.

  Returns:
    string scalar, the PNG file.
  """
  grey = tf.io.encode_png(ids[..., tf.newaxis])
  header = tf.strings.join(
    [tf.strings.substr(grey, 16, 9), _byte(tf.constant(_PALETTE)), tf.strings.substr(grey, 26, 3)]
  )
  rest = tf.strings.substr(grey, _IHDR_END, tf.strings.length(grey) - _IHDR_END)
  return tf.strings.join([_SIGNATURE, _ihdr_chunk(header), palette, rest])


def _bytes_at(data: tf.Tensor, position: int | tf.Tensor, count: int) -> tf.Tensor:
  """int32 [count], some bytes of a string scalar; zeros beyond its end."""
  return tf.cast(tf.io.decode_raw(_slice(data, position, count), tf.uint8), tf.int32)


def _slice(data: tf.Tensor, position: int | tf.Tensor, count: int) -> tf.Tensor:
  """String scalar of exactly `count` bytes; zeros beyond the end of `data`.

  The operation refuses a position beyond the end with a message that quotes the bytes, which
  Python cannot decode as text.
  """
  part = tf.strings.substr(data, tf.minimum(position, tf.strings.length(data)), count)
  return tf.strings.substr(tf.strings.join([part, b'\0' * count]), 0, count)


def _big_endian(data: tf.Tensor, position: int | tf.Tensor) -> tf.Tensor:
  """int64 scalar, the unsigned 32-bit number at a position."""
  parts = tf.cast(_bytes_at(data, position, 4), tf.int64)
  return tf.reduce_sum(parts * tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64))


def _byte(value: tf.Tensor) -> tf.Tensor:
  """String scalar of one byte from an int32 scalar."""
  return tf.gather(tf.constant([bytes([i]) for i in range(256)]), value)


def _sized_png(data: tf.Tensor, name: str, max_pixels: int) -> tf.Tensor:
  """A PNG file that says that it is not too large."""
  data = checked(
    data,
    (tf.strings.length(data) >= _IHDR_END) & (_slice(data, 12, 4) == b'IHDR'),
    f'{name}: a damaged PNG given; write the file again.',
  )
  return checked(data, *_small(_big_endian(data, 20), _big_endian(data, 16), name, max_pixels))


def _small(height: tf.Tensor, width: tf.Tensor, name: str, max_pixels: int) -> tuple:
  """Condition and message: an image is not too large."""
  height, width = tf.cast(height, tf.float64), tf.cast(width, tf.float64)
  return (
    (height * width <= max_pixels) & (height >= 1.0) & (width >= 1.0),
    f'{name}: an image of 1 to {max_pixels} pixels expected, this height and width given; '
    'scale it down.',
    height,
    width,
  )


class _Chunks(NamedTuple):
  """What the chunks of a PNG file hold: strings, a bool, and a number of bytes."""

  pixels: tf.Tensor  # All IDAT chunks.
  palette: tf.Tensor  # The PLTE chunk; '' if there is none.
  exif: tf.Tensor
  transparent: tf.Tensor
  pixel_bytes: tf.Tensor


def _walk(data: tf.Tensor, name: str) -> _Chunks:
  """`_Chunks` of a PNG file."""
  total = tf.cast(tf.strings.length(data), tf.int64)

  def body(
    position: tf.Tensor,
    count: tf.Tensor,
    pixels: tf.TensorArray,
    palette: tf.Tensor,
    exif: tf.Tensor,
    transparent: tf.Tensor,
  ) -> tuple:
    length = _big_endian(data, tf.cast(position, tf.int32))
    end = position + length + 12
    place, end = checked(
      (tf.cast(position, tf.int32), end),
      (end <= total) & (count < _MAX_CHUNKS),
      f'{name}: a truncated PNG, or one of over {_MAX_CHUNKS} chunks given; write it again.',
    )
    kind = _slice(data, place + 4, 4)
    chunk = tf.strings.substr(data, place, tf.cast(length + 12, tf.int32))
    pixels = tf.cond(kind == b'IDAT', lambda: pixels.write(pixels.size(), chunk), lambda: pixels)
    palette = tf.where(kind == b'PLTE', chunk, palette)
    content = tf.strings.substr(chunk, 8, tf.cast(length, tf.int32))
    exif = tf.where(kind == b'eXIf', content, exif)
    position = tf.where(kind == b'IEND', total, end)
    return position, count + 1, pixels, palette, exif, transparent | (kind == b'tRNS')

  pixels = tf.TensorArray(tf.string, 0, dynamic_size=True, element_shape=[])
  start, none = tf.constant(8, tf.int64), tf.constant(b'')
  _, _, pixels, palette, exif, transparent = tf.while_loop(
    lambda position, *_: position + 12 <= total,
    body,
    [start, tf.constant(0), pixels, none, none, tf.constant(False)],
    parallel_iterations=1,
  )
  joined = tf.strings.reduce_join(pixels.stack())
  return _Chunks(joined, palette, exif, transparent, tf.strings.length(joined))


def _fitting(data: tf.Tensor, count: tf.Tensor, name: str) -> tuple:
  """Condition and message: compressed pixels are not larger than plain ones.

  What they unpack to is bounded by it.
  """
  area = tf.cast(_big_endian(data, 16) * _big_endian(data, 20), tf.float64)
  return (
    tf.cast(count, tf.float64) <= area * _LARGEST_PIXEL + _SPARE_BYTES,
    f'{name}: a PNG with more data than its pixels take given; write it again. Bytes:',
    count,
  )


def _on_black(image: tf.Tensor) -> tf.Tensor:
  """uint8 RGB of an RGBA image, transparent pixels black."""
  image = tf.cast(image, tf.int32)
  return tf.cast((image[..., :3] * image[..., 3:] + 127) // 255, tf.uint8)


def _checksum_map() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
  """CRC-32 of an IHDR chunk as a linear map over bits: (int32 [104, 32], int32 [32])."""

  def bits_of(number: int) -> list[int]:
    return [(number >> (31 - i)) & 1 for i in range(32)]

  zero = zlib.crc32(b'IHDR' + bytes(13))
  rows = []
  for bit in range(104):
    data = (1 << (103 - bit)).to_bytes(13, 'big')
    rows.append(bits_of(zlib.crc32(b'IHDR' + data) ^ zero))
  return np.array(rows, np.int32), np.array(bits_of(zero), np.int32)


_CHECKSUM_ROWS, _CHECKSUM_OF_ZERO = _checksum_map()


def _ihdr_chunk(header: tf.Tensor) -> tf.Tensor:
  """The IHDR chunk with its checksum around 13 bytes.

  A CRC is linear over bits up to a constant, so one small matrix product modulo 2 does it.
  """
  values = tf.ensure_shape(_bytes_at(header, 0, 13), [13])
  shifts = tf.range(7, -1, -1)
  bits = tf.reshape(tf.bitwise.right_shift(values[:, tf.newaxis], shifts) & 1, [1, 104])
  checksum = (tf.matmul(bits, _CHECKSUM_ROWS)[0] + _CHECKSUM_OF_ZERO) & 1
  weights = tf.bitwise.left_shift(1, shifts)
  checksum = tf.reduce_sum(tf.reshape(checksum, [4, 8]) * weights, axis=1)
  parts = [_byte(checksum[i]) for i in range(4)]
  return tf.strings.join([b'\x00\x00\x00\x0dIHDR', header, *parts])

"""What the markers of a JPEG file say, and EXIF orientation, inside a graph.

The same rules as in `feelvos_tf.datasets.jpeg_file` and `picture`, for servers that have nothing
but the graph: a file with more scans than `MAX_SCANS` is refused before it is decoded, and pictures
are turned upright.

JPEG: ITU-T T.81, annex B. EXIF: CIPA DC-008, section 4.6 (the orientation tag).
"""

import tensorflow as tf

from feelvos_tf.datasets import picture
from feelvos_tf.saved_model.checked import checked_all

MAX_SCANS = picture.MAX_SCANS
_MAX_SEGMENTS = 2000
_ORIENTATION, _LONG = 0x0112, 4
_START, _END, _EXIF, _SCAN, _TEMPORARY = 0xD8, 0xD9, 0xE1, 0xDA, 0x01
_PADDING = b'\0' * 32


def inspect(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Walks through the markers of a JPEG file.

  Args:
    data: string scalar.

  Returns:
    (int32 scalar, number of scans; string scalar, the EXIF data or '').

  Raises:
    tf.errors.InvalidArgumentError: when the graph runs: too many scans or segments.
  """
  content = _bytes(data)
  # All that may be a marker: not FF as fill, not a stuffed zero, not a restart.
  first, second = content[:-1], content[1:]
  is_restart = (second >= 0xD0) & (second <= 0xD7)
  markers = tf.where((first == 0xFF) & (second != 0) & (second != 0xFF) & ~is_restart)[:, 0]
  markers = tf.concat([tf.cast(markers, tf.int32), [tf.size(content) - 16]], axis=0)

  def body(
    position: tf.Tensor,
    scans: tf.Tensor,
    segments: tf.Tensor,
    start: tf.Tensor,
    length: tf.Tensor,
    ended: tf.Tensor,
  ) -> tuple[tf.Tensor, ...]:
    del ended
    index = tf.searchsorted(markers, [position])[0]
    place = markers[tf.minimum(index, tf.size(markers) - 1)]
    code = content[place + 1]
    size = tf.where((code == _START) | (code == _TEMPORARY), 0, _short(content, place + 2, True))
    is_exif = (code == _EXIF) & (length == 0)
    is_exif &= tf.strings.substr(data, tf.minimum(place + 4, limit), 6) == b'Exif\0\0'
    start, length = tf.where(is_exif, place + 10, start), tf.where(is_exif, size - 8, length)
    scans, segments = scans + tf.cast(code == _SCAN, tf.int32), segments + 1
    ended = (code == _END) | (place >= limit) | (scans > MAX_SCANS) | (segments > _MAX_SEGMENTS)
    return place + 2 + size, scans, segments, start, length, ended

  limit = tf.strings.length(data)
  zero = tf.constant(0)
  _, scans, segments, start, length, _ = tf.while_loop(
    lambda *state: ~state[-1],
    body,
    [tf.constant(2), zero, zero, zero, zero, tf.constant(False)],
    parallel_iterations=1,
  )
  exif = tf.strings.substr(data, tf.minimum(start, limit), tf.maximum(length, 0))
  return checked_all(
    (scans, exif),
    (
      scans <= MAX_SCANS,
      f'frame: a JPEG of over {MAX_SCANS} scans given; save it with fewer. Scans:',
      scans,
    ),
    (
      segments <= _MAX_SEGMENTS,
      f'frame: a JPEG of over {_MAX_SEGMENTS} segments given; save it again.',
    ),
  )


def orientation(exif: tf.Tensor) -> tf.Tensor:
  """Orientation 1..8, int32 scalar, that EXIF data ask for: string scalar from the TIFF header."""
  content = _bytes(exif)
  order = tf.strings.substr(tf.strings.join([exif, _PADDING]), 0, 4)
  big = order == b'MM\0*'
  directory = _long(content, 4, big)
  entries = directory + 2 + 12 * tf.range(_short(content, directory, big))
  entries = tf.boolean_mask(entries, entries + 12 <= tf.size(content) - len(_PADDING))
  entries = tf.boolean_mask(entries, _short(content, entries, big) == _ORIENTATION)
  entry = tf.concat([entries, [tf.size(content) - len(_PADDING)]], axis=0)[0]  # Or zeros.
  is_long = _short(content, entry + 2, big) == _LONG
  value = tf.where(is_long, _long(content, entry + 8, big), _short(content, entry + 8, big))
  known = ((order == b'II*\0') | big) & (value >= 1) & (value <= 8)
  return tf.where(known, value, 1)


def upright(image: tf.Tensor, turned: tf.Tensor) -> tf.Tensor:
  """Turns and mirrors an image as an EXIF orientation asks, see `datasets.picture.upright`.

  Args:
    image: [height, width, channels], any dtype.
    turned: int32 scalar, orientation 1..8.

  Returns:
    [height, width, channels] of the dtype of `image`; [width, height, channels] for 5..8.
  """
  image = tf.cond(turned >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
  for axis, values in ((0, (3, 4, 7, 8)), (1, (2, 3, 6, 7))):
    flips = tf.reduce_any(turned == tf.constant(values))
    image = tf.cond(flips, lambda i=image, a=axis: tf.reverse(i, [a]), lambda i=image: i)
  return image


def _bytes(data: tf.Tensor) -> tf.Tensor:
  """int32 [length + padding], zeros after the end."""
  return tf.cast(tf.io.decode_raw(tf.strings.join([data, _PADDING]), tf.uint8), tf.int32)


def _short(content: tf.Tensor, position: tf.Tensor, big: tf.Tensor) -> tf.Tensor:
  """Unsigned 16-bit numbers at positions, zeros far beyond the end."""
  position = tf.clip_by_value(position, 0, tf.size(content) - 2)
  high, low = tf.gather(content, position), tf.gather(content, position + 1)
  return tf.where(big, high * 256 + low, low * 256 + high)


def _long(content: tf.Tensor, position: tf.Tensor, big: tf.Tensor) -> tf.Tensor:
  """Unsigned 32-bit numbers that fit 24 bits; the largest such number for others."""
  parts = _short(content, position, big), _short(content, position + 2, big)
  high, low = tf.where(big, parts[0], parts[1]), tf.where(big, parts[1], parts[0])
  return tf.where(high < 256, high * 65536 + low, 2**24 - 1)

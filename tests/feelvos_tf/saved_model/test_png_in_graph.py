"""PNG masks inside a graph: every kind of palette and grey file, in and out, exact."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image
from png_files import chunk
import pytest
import tensorflow as tf

from feelvos_tf.datasets import masks
from feelvos_tf.saved_model import png_in_graph

_BYTES = [tf.TensorSpec([], tf.string)]


@pytest.fixture(scope='module')
def decode():
  return tf.function(lambda data: png_in_graph.decode_mask(data, 4096), input_signature=_BYTES)


@pytest.fixture(scope='module')
def decode_frame():
  return tf.function(lambda data: png_in_graph.decode_frame(data, 4096), input_signature=_BYTES)


@pytest.fixture(scope='module')
def encode():
  return tf.function(png_in_graph.encode_mask)


def png(ids, bits, palette=None, extra=b'', idat_size=1 << 20, interlaced=False, filter_type=0):
  """A PNG file assembled by hand: any bit depth, chunk size, row filter, interlacing."""
  passes = [(0, 0, 1, 1)]
  if interlaced:
    passes = [
      (0, 0, 8, 8),
      (0, 4, 8, 8),
      (4, 0, 8, 4),
      (0, 2, 4, 4),
      (2, 0, 4, 2),
      (0, 1, 2, 2),
      (1, 0, 2, 1),
    ]
  raw = b''
  for top, left, down, right in passes:
    part = ids[top::down, left::right]
    if not part.size:
      continue
    above = None
    for row in part:
      packed = np.unpackbits(row[:, np.newaxis], axis=1)[:, 8 - bits :]
      line = np.packbits(packed.ravel())
      stored = line if filter_type == 0 or above is None else line - above
      raw += bytes([0 if above is None else filter_type]) + stored.tobytes()
      above = line
  data = zlib.compress(raw)
  kind = 0 if palette is None else 3
  header = struct.pack('>IIBBBBB', ids.shape[1], ids.shape[0], bits, kind, 0, 0, interlaced)
  return b''.join(
    [
      b'\x89PNG\r\n\x1a\n',
      chunk(b'IHDR', header),
      b'' if palette is None else chunk(b'PLTE', palette.tobytes()),
      extra,
      *(chunk(b'IDAT', data[i : i + idat_size]) for i in range(0, len(data), idat_size)),
      chunk(b'IEND', b''),
    ]
  )


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
@pytest.mark.parametrize('is_palette', [True, False])
@pytest.mark.parametrize(
  'options',
  [
    {},
    {'interlaced': True},
    {'filter_type': 2, 'idat_size': 7},
    {'extra': chunk(b'gAMA', struct.pack('>I', 45455)) + chunk(b'tEXt', b'Comment\0made up')},
  ],
)
def test_decodes_the_stored_values_of_every_kind_of_file(decode, rng, bits, is_palette, options):
  ids = rng.integers(0, 2**bits, (11, 13), dtype=np.uint8)
  # All entries have the same colour: colours cannot tell the ids apart.
  palette = np.full((2**bits, 3), 70, np.uint8) if is_palette else None
  data = png(ids, bits, palette, **options)
  with Image.open(io.BytesIO(data)) as image:  # The file made up here is what it is meant to be.
    stretched = 1 if is_palette or bits == 1 else 255 // (2**bits - 1)
    np.testing.assert_array_equal(np.array(image, np.uint8), ids * stretched)
  decoded = decode(data)
  np.testing.assert_array_equal(decoded.ids, ids)
  expected = (
    png_in_graph.DAVIS_PALETTE_CHUNK if palette is None else chunk(b'PLTE', palette.tobytes())
  )
  assert decoded.palette.numpy() == expected


def test_transparency_of_a_palette_does_not_change_ids(decode, rng):
  ids = rng.integers(0, 4, (5, 9), dtype=np.uint8)
  data = png(ids, 2, np.zeros((4, 3), np.uint8), extra=chunk(b'tRNS', b'\0\x80'))
  np.testing.assert_array_equal(decode(data).ids, ids)


def test_ids_and_palette_come_back_from_encoding(decode, encode, rng):
  ids = rng.integers(0, 256, (21, 34), dtype=np.uint8)
  for size in ((21, 34), (1, 1), (3, 33)):
    part = ids[: size[0], : size[1]]
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    data = encode(part, decode(masks.encode_mask(part, palette)).palette).numpy()
    with Image.open(io.BytesIO(data)) as image:
      np.testing.assert_array_equal(image, part)
      assert image.getpalette('RGB') == list(palette.ravel())
    with Image.open(io.BytesIO(data)) as image:
      image.verify()  # Every checksum.
    np.testing.assert_array_equal(decode(data).ids, part)


def test_a_grey_mask_comes_back_with_the_davis_palette(decode, encode, rng):
  ids = np.repeat(rng.integers(0, 4, (3, 3), dtype=np.uint8), 4, axis=0)
  data = encode(ids, decode(png(ids, 2)).palette).numpy()
  np.testing.assert_array_equal(
    masks.decode_mask(data, 'encoded', void=False).palette, masks.DAVIS_PALETTE
  )


def encoded(image, extension):
  return cv2.imencode(extension, image)[1].tobytes()


def header_only(height, width):
  header = struct.pack('>IIBBBBB', width, height, 8, 3, 0, 0, 0)
  return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IEND', b'')


@pytest.mark.parametrize(
  'data, message',
  [
    (b'', 'not a PNG'),
    (b'GIF89a', 'not a PNG'),
    (encoded(np.zeros((4, 4, 3), np.uint8), '.jpg'), 'not a PNG'),
    (encoded(np.zeros((4, 4, 3), np.uint8), '.png'), 'a PNG of colours or 16 bits'),
    (encoded(np.zeros((4, 4), np.uint16), '.png'), 'a PNG of colours or 16 bits'),
    (header_only(20000, 20000), 'height and width given'),
    (header_only(2**32 - 1, 2**32 - 1), 'height and width given'),
    (header_only(0, 5), 'height and width given'),
    (masks.encode_mask(np.eye(9, dtype=np.uint8))[:-20], 'truncated PNG|Invalid PNG'),
    (b'\x89PNG\r\n\x1a\n' + b'\0' * 10, 'damaged PNG'),
    (header_only(4, 4), 'Invalid PNG'),
  ],
)
def test_wrong_masks_are_refused_with_a_clear_message(decode, data, message):
  with pytest.raises(tf.errors.InvalidArgumentError, match=message):
    decode(data)


def test_a_flipped_bit_in_the_pixels_is_refused(decode):
  data = bytearray(masks.encode_mask(np.eye(40, dtype=np.uint8)))
  data[data.index(b'IDAT') + 12] ^= 1
  with pytest.raises(tf.errors.InvalidArgumentError, match='PNG'):
    decode(bytes(data))


def test_frames_are_decoded_as_opencv_does(decode_frame, rng):
  image = np.full((40, 60, 3), (20, 130, 210), np.uint8)
  image[10:30, 16:48] = (200, 30, 90)
  np.testing.assert_array_equal(decode_frame(encoded(image, '.png')), image[..., ::-1])
  jpeg = encoded(image, '.jpg')
  expected = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
  difference = decode_frame(jpeg).numpy().astype(float) - expected
  assert np.mean(np.abs(difference)) < 1.0


@pytest.mark.parametrize(
  'data, message',
  [
    (b'', 'not a JPEG or PNG'),
    (b'BM' + b'\0' * 60, 'not a JPEG or PNG'),
    (header_only(20000, 20000), 'height and width given'),
    (encoded(np.zeros((100, 100, 3), np.uint8), '.jpg'), 'height and width given'),
    (encoded(np.zeros((40, 40, 3), np.uint8), '.png')[:60], 'PNG'),
  ],
)
def test_wrong_frames_are_refused_with_a_clear_message(decode_frame, data, message):
  with pytest.raises(tf.errors.InvalidArgumentError, match=message):
    decode_frame(data)

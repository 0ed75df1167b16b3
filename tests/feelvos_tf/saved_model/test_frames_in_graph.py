"""Frames inside a graph are those of the command line: same pixels, upright, within limits."""

import io

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from feelvos_tf.datasets import picture
from feelvos_tf.saved_model import jpeg_in_graph
from feelvos_tf.saved_model import png_in_graph

from .test_png_in_graph import chunk
from .test_png_in_graph import png


@pytest.fixture(scope='module')
def decode():
  return tf.function(
    lambda data: png_in_graph.decode_frame(data, 2**16),
    input_signature=[tf.TensorSpec([], tf.string)],
  )


def save(mode, kind, rng, **options):
  """Bytes of a picture of 37x23 pixels (width x height), some detail in it."""
  channels = len(Image.new(mode, (1, 1)).getbands())
  small = rng.integers(0, 256, (6, 9, channels), dtype=np.uint8)
  image = Image.fromarray(small.squeeze()).resize((37, 23), Image.Resampling.BICUBIC)
  if 'orientation' in options:
    exif = Image.Exif()
    exif[0x0112] = options.pop('orientation')
    exif[0x010F] = 'maker'  # An entry before it.
    options['exif'] = exif
  stream = io.BytesIO()
  image.save(stream, kind, **options)
  return stream.getvalue()


@pytest.mark.parametrize('quality', [30, 90])
@pytest.mark.parametrize('subsampling', [0, 2])
def test_a_jpeg_has_the_same_pixels(decode, rng, quality, subsampling):
  """The decoder's default arithmetic differs by up to 3 in many pixels."""
  for progressive in (False, True):
    data = save(
      'RGB', 'JPEG', rng, quality=quality, subsampling=subsampling, progressive=progressive
    )
    np.testing.assert_array_equal(decode(data), picture.decode(data, 'x'))


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_pictures_are_turned_upright(decode, rng, kind, orientation):
  data = save('RGB', kind, rng, orientation=orientation)
  expected = picture.decode(data, 'x')
  assert expected.shape == ((37, 23, 3) if orientation >= 5 else (23, 37, 3))
  np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize('mode', ['L', 'LA', 'RGBA'])
def test_transparent_pixels_are_black(decode, rng, mode):
  data = save(mode, 'PNG', rng)
  np.testing.assert_array_equal(decode(data), picture.decode(data, 'x'))


def test_a_transparent_palette_entry_is_black(decode, rng):
  ids = rng.integers(0, 4, (9, 11), dtype=np.uint8)
  palette = rng.integers(1, 256, (4, 3), dtype=np.uint8)
  data = png(ids, 8, palette, extra=chunk(b'tRNS', bytes([255, 0, 128])))
  np.testing.assert_array_equal(decode(data), picture.decode(data, 'x'))


@pytest.mark.parametrize(
  'exif, expected',
  [
    (b'', 1),
    (b'II*\0', 1),
    (b'nonsense' * 9, 1),
    (b'II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0', 6),
    (b'MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0', 6),
    (b'MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\0\0\x08\0\0\0\0', 8),  # A long.
    (b'II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0', 1),  # There is no 9.
    (b'II*\0\xff\xff\xff\xff\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0', 1),
    (b'II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0', 1),
  ],
)
def test_orientation(exif, expected):
  assert jpeg_in_graph.orientation(tf.constant(exif)) == expected
  assert picture.exif_orientation(exif) == expected


def with_scans(data, count):
  """A progressive JPEG with its last scan repeated."""
  scan = data[data.rindex(b'\xff\xda') : -2]
  return data[:-2] + scan * count + data[-2:]


def test_a_jpeg_of_many_scans_is_refused(decode, rng):
  data = save('RGB', 'JPEG', rng, progressive=True)
  decode(with_scans(data, 80))
  with pytest.raises(tf.errors.InvalidArgumentError, match='over 100 scans'):
    decode(with_scans(data, 4000))
  # A film after the picture is none of it.
  decode(data + with_scans(data, 4000))


def test_a_png_of_many_chunks_or_much_data_is_refused(decode, rng):
  ids = rng.integers(0, 4, (9, 11), dtype=np.uint8)
  with pytest.raises(tf.errors.InvalidArgumentError, match='over 10000 chunks'):
    decode(png(ids, 8, extra=chunk(b'tEXt', b'a\0') * 10000))
  with pytest.raises(tf.errors.InvalidArgumentError, match='more data than its pixels take'):
    decode(png(ids, 8, extra=chunk(b'IDAT', bytes(70000))))
  decode(png(ids, 8, extra=chunk(b'tEXt', b'a\0') * 100))

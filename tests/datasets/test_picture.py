"""Pictures out of files: upright, whole, within limits."""

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
from PIL import Image
from png_files import chunk
import pytest

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import jpeg_file
from feelvos_tf.datasets import picture
from feelvos_tf.datasets import png_file

SIZE = (45, 61)  # No multiple of a JPEG's blocks.
# What each orientation does to the stored picture, in words of Pillow: the standard's table.
TURNS = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}
LETTERS = np.zeros(SIZE + (3,), np.uint8)
LETTERS[5:40, 8:16] = (250, 40, 40)
LETTERS[5:13, 8:50] = (40, 250, 40)
LETTERS[::7] += 3


def noise(size=SIZE, seed=0):
  return np.random.default_rng(seed).integers(0, 256, size + (3,), np.uint8)


def encode(image, kind, **options):
  stream = io.BytesIO()
  Image.fromarray(image).save(stream, kind, **options)
  return stream.getvalue()


def exif(orientation):
  tags = Image.Exif()
  tags[0x0112] = orientation
  return tags.tobytes()


def with_chunk(png, new):
  """The PNG with a chunk after its header."""
  return png[:33] + new + png[33:]


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
def test_turned_upright(kind, orientation):
  options = {'quality': 95} if kind == 'JPEG' else {'lossless': True} if kind == 'WEBP' else {}
  tag = {'tiffinfo': {0x0112: orientation}} if kind == 'TIFF' else {'exif': exif(orientation)}
  data = encode(LETTERS, kind, **tag, **options)
  stored = Image.fromarray(picture.decode(encode(LETTERS, kind, **options), 'p'))
  turned = stored.transpose(TURNS[orientation]) if orientation > 1 else stored
  np.testing.assert_array_equal(picture.decode(data, 'p'), np.asarray(turned))
  found = picture.inspect(data, 'p')
  assert (found.height, found.width) == turned.size[::-1]
  if kind in ('JPEG', 'PNG'):
    assert found.orientation == orientation and found.plain == (orientation == 1)


def test_exif_behind_the_pixels_of_a_png_counts():
  data = encode(LETTERS, 'PNG')
  content = exif(6).removeprefix(b'Exif\0\0')
  assert picture.decode(data[:-12] + chunk(b'eXIf', content) + data[-12:], 'p').shape == (61, 45, 3)


@pytest.mark.parametrize('content', [b'', b'II', b'II*\0\xff\xff\xff\xff', exif(0), exif(9), b'x'])
def test_exif_without_a_sensible_orientation(content):
  assert picture.exif_orientation(content) == 1


ENCODINGS = {
  'baseline': {},
  'progressive': {'progressive': True},
  'restarts': {'restart_marker_blocks': 2},
  'full_colour': {'subsampling': 0, 'quality': 95},
}


@pytest.mark.parametrize('options', ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize('image', [LETTERS, noise()], ids=['plain', 'noise'])
def test_jpeg_is_whole_unfinished_or_cut(image, options):
  data = encode(image, 'JPEG', **options)
  whole = picture.decode(data, 'p')
  np.testing.assert_array_equal(whole, np.asarray(Image.open(io.BytesIO(data))))
  for unfinished in (data[:-2], data[:-1], data[:-2] + bytes(100), data[:-1] + bytes(100)):
    with pytest.warns(data_warning.DataWarning, match='p: the end of the JPEG file is missing'):
      np.testing.assert_array_equal(picture.decode(unfinished, 'p'), whole)
  for length in (3, 4, 5, 9, 40, 200, len(data) // 2, len(data) - 4, len(data) - 100):
    for padding in (b'', bytes(50)):
      with pytest.raises(
        ValueError, match=r'^p: unreadable picture \(the JPEG is (cut off|damaged)'
      ):
        picture.decode(data[:-length] + padding, 'p')


def test_jpeg_cut_where_a_restart_or_a_scan_is_due():
  """At these places nothing is torn: what follows is just not there."""
  options = [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]  # Pillow before 10.2 cannot write them.
  data = cv2.imencode('.jpg', noise(), options)[1].tobytes()
  restarts = [i for i in range(len(data) - 1) if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7]
  assert len(restarts) > 3
  for place in restarts:
    with pytest.raises(ValueError, match='cut off'):
      picture.decode(data[:place], 'p')
  data = encode(noise(), 'JPEG', progressive=True)
  scans = [i for i in range(len(data) - 1) if data[i : i + 2] == b'\xff\xda']
  assert len(scans) > 3
  for place in scans:
    with pytest.raises(ValueError, match='cut off'):
      picture.decode(data[:place], 'p')


def scan_starts(data):
  return [i for i in range(len(data) - 1) if data[i : i + 2] == b'\xff\xda']


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
def test_scans_that_a_jpeg_with_its_end_does_not_have(mode):
  """The last bit of coefficients may be missing, with a warning; more may not."""
  stream = io.BytesIO()
  image = cv2.GaussianBlur(noise(), (0, 0), 2)
  Image.fromarray(image).convert(mode).save(stream, 'JPEG', progressive=True)
  data = stream.getvalue()
  whole = picture.decode(data, 'p').astype(int)
  kinds = ''
  for place in scan_starts(data)[1:]:
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter('always')
      try:
        difference = np.abs(picture.decode(data[:place] + b'\xff\xd9', 'p') - whole)
      except ValueError as error:
        assert 'p: unreadable picture (the JPEG is cut off: its' in str(error)
        kinds += 'c'
        continue
    assert [str(w.message)[:35] for w in caught] == ['p: the last scan of the JPEG file i']
    assert difference.max() <= 32 and difference.mean() < 5
    kinds += 'u'
  assert kinds.lstrip('c').rstrip('u') == '' and kinds[0] == 'c' and kinds[-1] == 'u'


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
@pytest.mark.parametrize('restarts', [0, 2])
def test_an_end_marker_behind_a_part_of_the_data(mode, restarts):
  stream = io.BytesIO()
  image = Image.fromarray(noise()).convert(mode)
  image.save(stream, 'JPEG', quality=90, restart_marker_blocks=restarts)
  data = stream.getvalue()
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    assert picture.decode(data, 'p').shape == SIZE + (3,)
  for length in (200, len(data) // 3, len(data) // 2):
    with pytest.raises(ValueError, match='the JPEG is cut off: its end marker comes too early'):
      picture.decode(data[:-length] + b'\xff\xd9', 'p')


def test_an_end_marker_within_the_last_scan_of_a_progressive_jpeg():
  data = encode(noise(), 'JPEG', progressive=True, quality=95)
  middle = (scan_starts(data)[-1] + len(data)) // 2
  with pytest.raises(ValueError, match='the JPEG is cut off: its end marker comes too early'):
    picture.decode(data[:middle] + b'\xff\xd9', 'p')


@pytest.mark.parametrize('kind', ['TIFF', 'PNG', 'WEBP'])
def test_more_than_one_picture_in_a_file(kind):
  options = {'lossless': True} if kind == 'WEBP' else {}
  pages = {'save_all': True, 'append_images': [Image.fromarray(255 - LETTERS)]}
  data = encode(LETTERS, kind, **pages, **options)
  with pytest.warns(
    data_warning.DataWarning, match='p: the file holds several pictures; the first'
  ):
    np.testing.assert_array_equal(picture.decode(data, 'p'), LETTERS)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    picture.decode(encode(LETTERS, kind, **options), 'p')


def test_a_jpeg_without_the_scan_of_a_colour_is_cut():
  """A scan for each component, as some cameras write them."""
  data = encode(noise(), 'JPEG', subsampling=0)
  start = scan_starts(data)[0]
  # The three components of the header, one scan of the first: what a file cut after it has.
  one = b'\xff\xda' + struct.pack('>HBBBBBB', 8, 1, data[start + 5], data[start + 6], 0, 63, 0)
  grey = encode(np.asarray(Image.fromarray(noise()).convert('L')), 'JPEG')
  cut = data[:start] + one + grey[scan_starts(grey)[0] + 10 :]
  with pytest.raises(ValueError, match='its 1 scans do not have the whole picture'):
    picture.decode(cut, 'p')


def test_what_follows_a_jpeg_is_left_out():
  data = encode(LETTERS, 'JPEG')
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    found = picture.inspect(data + b'a film' + encode(noise(), 'JPEG')[:-2], 'p')
  assert found.data == data


def test_end_marker_of_a_preview_is_not_the_end():
  preview = encode(LETTERS[:16, :16], 'JPEG')
  data = encode(noise(), 'JPEG')
  segment = b'Exif\0\0' + exif(3).removeprefix(b'Exif\0\0') + preview
  data = data[:2] + b'\xff\xe1' + struct.pack('>H', len(segment) + 2) + segment + data[2:]
  assert picture.inspect(data, 'p').data == data
  with pytest.raises(ValueError, match='cut off'):
    picture.decode(data[:-50], 'p')


def test_scans_are_bounded():
  data = encode(LETTERS, 'JPEG', progressive=True)
  last = data.rfind(b'\xff\xda')
  data = data[:-2] + data[last:-2] * 200 + data[-2:]
  with pytest.raises(ValueError, match='a JPEG of over 100 scans'):
    picture.decode(data, 'p')
  assert jpeg_file.read(data, 300).scans > 200


@pytest.mark.parametrize(
  'data', [b'\xff\xd8' + b'\xff' * 3_000_000, b'\xff\xd8' + b'\xff\xfe\0\2' * 700_000]
)
def test_jpeg_of_markers_only(data):
  with pytest.raises(ValueError, match='without pixels|segments'):
    picture.decode(data, 'p')


@pytest.mark.parametrize('mode', ['RGB', 'L', 'P', '1', 'I;16'])
def test_png_is_whole_unfinished_or_cut(mode):
  image = Image.fromarray(noise())
  image = image.convert('L').convert(mode) if mode == 'I;16' else image.convert(mode)
  stream = io.BytesIO()
  image.save(stream, 'PNG')
  data = stream.getvalue()
  whole = picture.decode(data, 'p')
  for length in (1, 4, 8, 12, 13, 16):  # The end chunk, and the checksum of the pixels.
    with pytest.warns(data_warning.DataWarning, match='p: the end of the PNG file is missing'):
      np.testing.assert_array_equal(picture.decode(data[:-length], 'p'), whole)
  for length in (40, 100, len(data) // 2, len(data) - 40, len(data) - 8):
    with pytest.raises(ValueError, match=r'^p: unreadable picture \(the PNG is cut off'):
      picture.decode(data[:-length], 'p')


def test_damaged_png():
  data = bytearray(encode(noise(), 'PNG'))
  data[len(data) // 2] ^= 1
  with pytest.raises(ValueError, match='a checksum is wrong'):
    picture.decode(bytes(data), 'p')
  # Of a chunk that is not needed, it does no harm.
  text = bytearray(chunk(b'tEXt', b'Comment\0hello'))
  text[-1] ^= 1
  data = encode(LETTERS, 'PNG')
  np.testing.assert_array_equal(picture.decode(with_chunk(data, bytes(text)), 'p'), LETTERS)


def interlaced_png(image):
  """An RGB PNG in seven passes, which Pillow cannot write."""
  rows = b''
  for x, y, dx, dy in (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
  ):
    part = image[y::dy, x::dx]
    if part.size:
      rows += b''.join(b'\0' + row.tobytes() for row in part)
  header = struct.pack('>IIBBBBB', image.shape[1], image.shape[0], 8, 2, 0, 0, 1)
  return (
    png_file.SIGNATURE
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', zlib.compress(rows))
    + chunk(b'IEND', b'')
  )


@pytest.mark.parametrize('size', [SIZE, (1, 1), (3, 2), (8, 8)])
def test_interlaced_png(size):
  data = interlaced_png(noise(size))
  np.testing.assert_array_equal(picture.decode(data, 'p'), noise(size))
  with pytest.warns(data_warning.DataWarning):
    np.testing.assert_array_equal(picture.decode(data[:-12], 'p'), noise(size))


def test_surplus_of_a_png_is_bounded():
  header = struct.pack('>IIBBBBB', 4, 4, 8, 2, 0, 0, 0)
  data = (
    png_file.SIGNATURE
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', zlib.compress(bytes(50_000_000), 9))
    + chunk(b'IEND', b'')
  )
  with pytest.raises(ValueError, match='unpacks to over the 52 bytes of its pixels'):
    picture.inspect(data, 'p')


@pytest.mark.parametrize(
  'kind,before',
  [(b'zTXt', b'Comment\0\0'), (b'iCCP', b'x\0\0'), (b'iTXt', b'Comment\0\1\0en\0Kommentar\0')],
)
def test_texts_of_a_png_are_bounded(kind, before):
  data = encode(LETTERS, 'PNG')
  short = with_chunk(data, chunk(kind, before + zlib.compress(b'hello')))
  np.testing.assert_array_equal(picture.decode(short, 'p'), LETTERS)
  long = with_chunk(data, chunk(kind, before + zlib.compress(bytes(9_000_000), 9)))
  with pytest.raises(ValueError, match='texts unpack to over'):
    picture.inspect(long, 'p')


def test_chunks_of_a_png_are_bounded():
  data = with_chunk(encode(LETTERS, 'PNG'), chunk(b'tEXt', b'') * 100_001)
  with pytest.raises(ValueError, match='a PNG of over 100000 chunks'):
    picture.decode(data, 'p')


def test_size_is_bounded_before_pixels_are_decoded():
  for kind in ('JPEG', 'PNG', 'BMP', 'WEBP'):
    with pytest.raises(ValueError, match=r'45x61 .* expected 1 to 2000 pixels'):
      picture.inspect(encode(LETTERS, kind), 'p', max_pixels=2000)


@pytest.mark.parametrize('kind', ['BMP', 'PPM', 'TIFF', 'WEBP'])
def test_other_formats(kind):
  options = {'lossless': True} if kind == 'WEBP' else {}
  data = encode(noise(), kind, **options)
  np.testing.assert_array_equal(picture.decode(data, 'p'), noise())
  for length in (200, len(data) // 2):
    with pytest.raises(ValueError, match='p: unreadable picture'):
      picture.decode(data[:-length], 'p')


@pytest.mark.parametrize('data', [b'', b'\xff\xd8', png_file.SIGNATURE, b'GIF', b'no picture' * 9])
def test_no_picture(data):
  with pytest.raises(ValueError, match=r'^p: unreadable picture \(.*\); replace the file'):
    picture.decode(data, 'p')


def test_transparent_pixels_are_black():
  alpha = np.zeros(SIZE, np.uint8)
  alpha[:, 20:] = 128
  alpha[:, 40:] = 255
  expected = (noise() * (alpha[..., None] / 255.0) + 0.5).astype(np.uint8)
  rgba = np.dstack([noise(), alpha])
  for kind, options in (('PNG', {}), ('WEBP', {'lossless': True, 'exact': True}), ('TIFF', {})):
    np.testing.assert_array_equal(picture.decode(encode(rgba, kind, **options), 'p'), expected)
  assert not picture.inspect(encode(rgba, 'PNG'), 'p').plain
  image = Image.fromarray(LETTERS).quantize(4)
  stream = io.BytesIO()
  image.save(stream, 'PNG', transparency=int(np.asarray(image)[20, 10]))
  read = picture.decode(stream.getvalue(), 'p')
  assert not read[20, 10].any() and read[8, 30].any()


def test_grey_of_16_bits():
  values = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE) * 20
  expected = np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
  for suffix in ('.png', '.tiff', '.pgm'):
    data = cv2.imencode(suffix, values)[1].tobytes()
    np.testing.assert_array_equal(picture.decode(data, 'p'), expected)


def test_grey_of_32_bits_that_uses_8():
  """Read as 16 bits it is black."""
  stream = io.BytesIO()
  Image.fromarray(np.arange(12, dtype=np.int32).reshape(3, 4) * 20).save(stream, 'TIFF')
  with pytest.raises(ValueError, match='p: .*32-bit grey of values up to 220; save it with 8 bits'):
    picture.decode(stream.getvalue(), 'p')

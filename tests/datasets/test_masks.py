"""Masks: what is read, what is refused, what is written and drawn."""

import io

import cv2
import numpy as np
from PIL import Image
import png_files
import pytest

from feelvos_tf.datasets import masks


def png(array, mode=None, **options):
  stream = io.BytesIO()
  image = Image.fromarray(array)
  (image.convert(mode) if mode else image).save(stream, 'PNG', **options)
  return stream.getvalue()


def disc(value=1, size=(48, 64)):
  ids = np.zeros(size, np.uint8)
  cv2.circle(ids, (30, 20), 12, value, -1)
  return ids


@pytest.mark.parametrize('pillow', ['5.4.1', '8.4.0', '9.5.0'])
def test_reads_the_originals_palette_png(golden, pillow):
  mask = masks.read_mask(golden.path(f'tf1/png/segmentation_pillow_{pillow}.png'))
  expected = golden.npz(f'tf1/png_pillow_{pillow}')
  np.testing.assert_array_equal(mask.ids, expected['indices'])
  colours = expected['plte'].reshape(-1, 3)
  np.testing.assert_array_equal(mask.palette[: len(colours)], colours)
  # A short palette (new Pillow) is filled up, so that every id can be drawn.
  np.testing.assert_array_equal(mask.palette[len(colours) :], masks.DAVIS_PALETTE[len(colours) :])
  assert mask.object_ids == (1, 2, 5, 24, 200)


def test_our_palette_is_the_originals_for_the_first_25_ids(golden):
  colours = golden.npz('tf1/png_pillow_9.5.0')['plte'].reshape(-1, 3)
  np.testing.assert_array_equal(masks.DAVIS_PALETTE[: len(colours)], colours)


def test_write_and_read_keep_all_ids_and_the_palette(tmp_path, rng):
  ids = np.repeat(np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16), 4, 0), 4, 1)
  palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
  masks.write_mask(tmp_path / 'm.png', ids, palette)
  mask = masks.read_mask(tmp_path / 'm.png')
  np.testing.assert_array_equal(mask.ids, ids)
  np.testing.assert_array_equal(mask.palette, palette)
  assert [p.name for p in tmp_path.iterdir()] == ['m.png']


def test_written_palette_has_256_entries():
  with Image.open(io.BytesIO(masks.encode_mask(disc()))) as image:
    assert image.mode == 'P'
    assert len(image.getpalette()) == 768


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_palette_of_few_bits_holds_the_ids(bits):
  ids = disc(min(3, 2**bits - 1))
  image = Image.fromarray(ids)
  image.putpalette(masks.DAVIS_PALETTE[: 2**bits].tobytes())
  stream = io.BytesIO()
  image.save(stream, 'PNG', bits=bits)
  np.testing.assert_array_equal(masks.decode_mask(stream.getvalue(), 'm').ids, ids)


@pytest.mark.parametrize('bits', [1, 2, 4])
def test_grey_of_few_bits_holds_the_ids(bits):
  """The stored values count, not what a viewer stretches them to."""
  ids = disc(min(3, 2**bits - 1))
  data = masks.encode_mask(ids)
  packed = _grey_png(ids, bits)
  np.testing.assert_array_equal(masks.decode_mask(packed, 'm').ids, ids)
  np.testing.assert_array_equal(masks.decode_mask(data, 'm').ids, ids)


def _grey_png(ids, bits):
  """A grey PNG of `bits` per pixel, put together by hand since Pillow writes 1 and 8 only."""
  unpacked = np.unpackbits(ids[..., None], axis=-1)[..., -bits:]
  rows = np.packbits(unpacked.reshape(ids.shape[0], -1), axis=1)
  body = b''.join(b'\0' + row.tobytes() for row in rows)
  return png_files.assemble(ids.shape[1], ids.shape[0], body, bits)


def test_white_on_black_is_object_1():
  mask = masks.decode_mask(png(disc(255)), 'm')
  assert mask.binary and mask.object_ids == (1,) and mask.palette is None
  np.testing.assert_array_equal(mask.ids, disc(1))


def test_255_beside_ids_or_in_a_palette_is_void():
  ids = disc(3)
  ids[:8, :8] = 255
  assert masks.decode_mask(png(ids), 'm').object_ids == (3,)
  assert masks.decode_mask(png(ids), 'm').ids[0, 0] == 255
  in_palette = masks.decode_mask(masks.encode_mask(disc(255)), 'm')
  assert in_palette.object_ids == () and in_palette.ids.max() == 255


def test_grey_255_says_what_255_means():
  ids = disc(255)
  assert masks.decode_mask(png(ids), 'm', grey_255='void').object_ids == ()
  ids[40:, 40:] = 7
  assert masks.decode_mask(png(ids), 'm', grey_255='object').object_ids == (1, 7)
  with pytest.raises(ValueError, match='grey_255'):
    masks.decode_mask(png(ids), 'm', grey_255='maybe')


@pytest.mark.parametrize('transparent', [False, True])
def test_colours_of_the_davis_palette_are_their_ids(transparent):
  """As a program leaves them that turned an indexed mask into RGB; any frame alone gives them."""
  ids = disc(5)
  ids[40:, 40:] = 2
  pixels = masks.DAVIS_PALETTE[ids]
  if transparent:  # Under transparent pixels lies any colour.
    pixels = np.dstack([np.where(ids[..., None] > 0, pixels, 77), np.where(ids > 0, 255, 0)])
  mask = masks.decode_mask(png(pixels.astype(np.uint8)), 'm')
  np.testing.assert_array_equal(mask.ids, ids)
  np.testing.assert_array_equal(mask.palette, masks.DAVIS_PALETTE)


def test_grey_saved_as_colours_is_read_as_grey():
  mask = masks.decode_mask(png(disc(255), 'RGB'), 'm')
  assert mask.binary and mask.palette is None
  np.testing.assert_array_equal(mask.ids, disc(1))


def _rgb():
  return np.stack([disc(200), disc(30), disc(0)], -1)


def _smooth(value=255):
  return cv2.GaussianBlur(disc(value), (0, 0), 1.2)


@pytest.mark.parametrize(
  'data, message',
  [
    (lambda: png(_rgb()), 'an RGB colour image given'),
    (lambda: png(np.dstack([_rgb(), disc(255)])), '#c81e00. are not all in the DAVIS palette'),
    (lambda: png(np.dstack([_rgb(), _smooth()])), 'an RGBA colour image with soft transparency'),
    (lambda: png(disc(128), 'RGB'), '#808080 can be id 7 of the DAVIS palette or id 128 in grey'),
    (lambda: png(disc(), 'LA'), 'a grey-with-alpha image given'),
    (lambda: png(disc().astype(np.uint16) * 500), '16 bits per pixel given'),
    (lambda: png(_smooth()), 'antialiased image given'),
    (
      lambda: png(cv2.resize(disc(255), (200, 150), interpolation=cv2.INTER_LINEAR)),
      'antialiased image given',
    ),
    (lambda: masks.encode_mask(_smooth(120)), 'antialiased image given'),
    (lambda: cv2.imencode('.jpg', disc(255))[1].tobytes(), 'a JPEG image given'),
    (lambda: b'hello', 'not a PNG image given'),
    (lambda: b'', 'not a PNG image given'),
    (lambda: masks.encode_mask(disc())[:70], 'a damaged PNG given'),
    (lambda: masks.encode_mask(disc())[:20], 'not a PNG image given'),
  ],
)
def test_refuses(data, message):
  with pytest.raises(ValueError, match=message) as error:
    masks.decode_mask(data(), 'first.png')
  assert str(error.value).startswith('first.png: ')
  assert 'expected' in str(error.value)
  assert '\n' not in str(error.value)


def test_refuses_a_huge_header_without_decoding():
  data = bytearray(masks.encode_mask(disc()))
  data[16:24] = (20000).to_bytes(4, 'big') * 2
  with pytest.raises(ValueError, match='20000x20000 given'):
    masks.decode_mask(bytes(data), 'bomb')


def test_empty_mask_is_refused_only_where_an_object_is_needed():
  empty = masks.encode_mask(disc(0))
  assert masks.decode_mask(empty, 'm').object_ids == ()
  for data in (empty, masks.encode_mask(disc(255))):
    with pytest.raises(ValueError, match='m: a mask without any object'):
      masks.decode_mask(data, 'm', require_object=True)


def test_missing_file(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such mask file'):
    masks.read_mask(tmp_path / 'none.png')


def test_tiny_objects_are_not_taken_for_antialiasing():
  ids = np.zeros((60, 80), np.uint8)
  for i in range(1, 8):
    ids[8 * i, 10:12] = 20 * i
  assert masks.decode_mask(png(ids), 'm').object_ids == tuple(20 * i for i in range(1, 8))


def test_touching_objects_are_not_taken_for_antialiasing(rng):
  ids = np.zeros((64, 96), np.uint8)
  for value in range(1, 12):
    x, y = rng.integers(8, 88), rng.integers(8, 56)
    cv2.circle(ids, (int(x), int(y)), 12, value * 9, -1)
  np.testing.assert_array_equal(masks.decode_mask(png(ids), 'm').ids, ids)


def thin_objects():
  """Eight objects, each two pixels wide, side by side: as the steps of a smoothed outline."""
  ids = np.zeros((60, 80), np.uint8)
  for i in range(8):
    ids[10:40, 10 + 2 * i : 12 + 2 * i] = i + 1
  return ids


def test_thin_objects_of_this_program_are_not_taken_for_antialiasing():
  data = masks.encode_mask(thin_objects())
  with pytest.raises(ValueError, match='antialiased image given'):
    masks.decode_mask(data, 'm', void=False)
  found = masks.decode_mask(data, 'm', void=False, own=True)
  np.testing.assert_array_equal(found.ids, thin_objects())


def test_real_masks_are_accepted(davis_root):
  for name in ('schoolgirls', 'bmx-trees', 'breakdance'):
    files = sorted((davis_root / 'Annotations' / '480p' / name).glob('*.png'))
    for path in files[::10]:
      masks.read_mask(path)


@pytest.mark.parametrize(
  'ids',
  [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 256), np.full((4, 4), -1)],
)
def test_encode_refuses_what_is_not_ids(ids):
  with pytest.raises(ValueError, match='ids: '):
    masks.encode_mask(ids)


def test_overlay_tints_inside_and_leaves_the_rest(rng):
  image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
  ids = disc(2)
  ids[40:, :5] = 255
  drawn = masks.overlay(image, ids, alpha=0.5)
  outside = ids != 2
  np.testing.assert_array_equal(drawn[outside], image[outside])
  np.testing.assert_array_equal(drawn[20, 18], [0, 255, 0])  # On the contour.
  centre = (image[20, 30].astype(int) + masks.DAVIS_PALETTE[2]) / 2
  np.testing.assert_allclose(drawn[20, 30], centre, atol=1)
  with pytest.raises(ValueError, match='expected the same size'):
    masks.overlay(image[:-1], ids)


def test_without_void_255_is_an_id_like_any_other():
  """A user's own first mask: nothing in it is void, and white in a grey file stays 255."""
  grey = png(disc(255))
  for data in (masks.encode_mask(disc(255)), grey):
    mask = masks.decode_mask(data, 'm', require_object=True, void=False)
    assert mask.object_ids == (255,)
    assert not mask.binary
    np.testing.assert_array_equal(mask.ids, disc(255))
  with pytest.raises(ValueError, match=r'ids 1\.\.255'):
    masks.decode_mask(png(disc(0)), 'm', require_object=True, void=False)
  with pytest.raises(ValueError, match=r'ids 1\.\.254, 255 is void'):
    masks.decode_mask(masks.encode_mask(disc(255)), 'm', require_object=True)


def test_overlay_draws_255_unless_it_is_void():
  image = np.full((48, 64, 3), 100, np.uint8)
  np.testing.assert_array_equal(masks.overlay(image, disc(255)), image)
  drawn = masks.overlay(image, disc(255), void_id=None)
  np.testing.assert_array_equal((drawn != image).any(-1), disc(1) == 1)


# ---- Which files of a folder are masks.


def test_list_masks(tmp_path):
  for name in ('10.png', '2.PNG', '1.png', '._1.png', '.DS_Store', 'notes.txt', 'Thumbs.db'):
    (tmp_path / name).touch()
  (tmp_path / '.ipynb_checkpoints').mkdir()
  assert {k: p.name for k, p in masks.list_masks(tmp_path).items()} == {
    '1': '1.png',
    '2': '2.PNG',
    '10': '10.png',
  }
  assert list(masks.list_masks(tmp_path)) == ['1', '2', '10']
  assert masks.list_masks(tmp_path / 'none') == {}


@pytest.mark.parametrize(
  'name, message',
  [('1.PNG', 'both .* given'), ('3.jpg', 'as .jpg given, expected PNG'), ('3.BMP', 'PNG')],
)
def test_what_would_be_left_out_silently_is_refused(tmp_path, name, message):
  for one in ('1.png', name):
    (tmp_path / one).touch()
  with pytest.raises(ValueError, match=message):
    masks.list_masks(tmp_path)


def test_messages_have_no_addresses_of_memory():
  for data in (masks.encode_mask(disc())[:60], b'\x89PNG\r\n\x1a\n' + bytes(60)):
    with pytest.raises(ValueError, match='^m: ') as error:
      masks.decode_mask(data, 'm')
    assert ' at 0x' not in str(error.value)


def test_messages_agree_about_ids():
  with pytest.raises(ValueError, match=r'ids 1\.\.255\)'):
    masks.decode_mask(png(disc().astype(np.uint16) * 500), 'm', void=False)
  with pytest.raises(ValueError, match=r'ids 1\.\.254, 255 is void\)'):
    masks.decode_mask(png(disc().astype(np.uint16) * 500), 'm')

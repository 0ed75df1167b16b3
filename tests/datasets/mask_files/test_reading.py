"""Masks in every form that people have: right ids, or one clear line."""

import base64
import io
import json
import struct
import unicodedata
import zipfile

import cv2
import numpy as np
from PIL import Image
from PIL import ImageCms
import pytest

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import masks
from feelvos_tf.datasets.mask_files.reading import MaskOptions
from feelvos_tf.datasets.mask_files.reading import read_given_mask

SIZE = (60, 80)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def ids_of(one=1, two=2, background=0):
  ids = np.full(SIZE, background, np.uint8)
  ids[10:30, 10:40] = one
  ids[35:50, 50:70] = two
  return ids


def painted(one, two, background=(0, 0, 0)):
  """An array of colours: one, two and the background."""
  return np.array([background, one, two], np.uint8)[ids_of()]


def save(path, array, mode=None, palette=None, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  image = Image.fromarray(array)
  if palette is not None:
    image.putpalette(np.asarray(palette, np.uint8).tobytes())
  image = image.convert(mode) if mode else image
  image.save(path, **options)
  return path


def read(path, frame='00000', size=SIZE, **options):
  return read_given_mask(path, size, frame, MaskOptions(**options))


# ---- Colours.


@pytest.mark.parametrize(
  'colours, expected',
  [
    ((RED, GREEN), (1, 2)),
    ((GREEN, RED), (2, 1)),
    ((BLUE, WHITE), (2, 1)),
    (((128, 0, 0), (0, 128, 0)), (1, 2)),  # The DAVIS palette gives its ids back.
    (((64, 0, 128), (128, 0, 0)), (12, 1)),
  ],
)
@pytest.mark.parametrize('suffix', ['png', 'bmp', 'tif', 'PNG', 'webp'])
def test_few_exact_colours(tmp_path, colours, expected, suffix):
  options = {'lossless': True, 'exact': True} if suffix == 'webp' else {}
  given = read(save(tmp_path / f'm.{suffix}', painted(*colours), **options))
  np.testing.assert_array_equal(given.mask.ids, ids_of(*expected))
  assert given.hints == []
  for object_id, colour in zip(expected, colours):
    assert given.names[object_id] == '#{:02x}{:02x}{:02x}'.format(*colour)
    assert tuple(given.mask.palette[object_id]) == tuple(colour)


def test_transparent_and_black_are_background(tmp_path):
  pixels = np.dstack([painted(RED, GREEN, (9, 9, 9)), np.where(ids_of() > 0, 255, 0)]).astype(
    np.uint8
  )
  pixels[:5] = (0, 0, 0, 255)
  np.testing.assert_array_equal(read(save(tmp_path / 'm.png', pixels)).mask.ids, ids_of())
  opaque = np.dstack([painted(RED, GREEN), np.full(SIZE, 255, np.uint8)])
  np.testing.assert_array_equal(read(save(tmp_path / 'o.png', opaque)).mask.ids, ids_of())
  half = np.dstack([painted(RED, GREEN), np.where(ids_of() > 0, 128, 0).astype(np.uint8)])
  np.testing.assert_array_equal(read(save(tmp_path / 'h.png', half)).mask.ids, ids_of())


def test_grey_stored_as_colours_and_grey_with_alpha(tmp_path):
  rgb = np.repeat(ids_of(3, 7)[..., None], 3, -1)
  np.testing.assert_array_equal(read(save(tmp_path / 'g.png', rgb)).mask.ids, ids_of(3, 7))
  path = save(tmp_path / 'la.png', ids_of(3, 7), 'LA')
  np.testing.assert_array_equal(read(path).mask.ids, ids_of(3, 7))
  deep = save(tmp_path / 'deep.png', ids_of(3, 7).astype(np.uint16))
  np.testing.assert_array_equal(read(deep).mask.ids, ids_of(3, 7))


def test_palette_with_transparent_background(tmp_path):
  palette = np.zeros((256, 3), np.uint8)
  palette[:3] = [(255, 255, 255), RED, GREEN]
  path = save(tmp_path / 'm.png', ids_of(), palette=palette, transparency=0)
  np.testing.assert_array_equal(read(path).mask.ids, ids_of())
  path = save(tmp_path / 'm.png', ids_of(7, 2), palette=masks.DAVIS_PALETTE, transparency=0)
  np.testing.assert_array_equal(read(path).mask.ids, ids_of(7, 2))
  path = save(tmp_path / 'm.png', ids_of(7, 2), palette=masks.DAVIS_PALETTE, transparency=2)
  np.testing.assert_array_equal(read(path).mask.ids, ids_of(7, 0))
  # Background is what is transparent, not what happens to have the value 0.
  palette[:3] = [RED, GREEN, (9, 9, 9)]
  path = save(tmp_path / 'm.png', ids_of(0, 1, background=2), palette=palette, transparency=2)
  np.testing.assert_array_equal(read(path).mask.ids, ids_of(1, 2))


@pytest.mark.parametrize('one, two', [(1, 2), (255, 7), (254, 255)])
def test_palette_and_grey_values_are_the_ids(tmp_path, one, two):
  for palette in (None, masks.DAVIS_PALETTE):
    given = read(save(tmp_path / 'm.png', ids_of(one, two), palette=palette))
    np.testing.assert_array_equal(given.mask.ids, ids_of(one, two))
    assert given.names == {}


def test_black_and_white(tmp_path):
  one_bit = save(tmp_path / 'm.png', ids_of(255, 255), '1')
  assert Image.open(one_bit).mode == '1'
  np.testing.assert_array_equal(read(one_bit).mask.ids, ids_of(1, 1))
  np.testing.assert_array_equal(
    read(save(tmp_path / 'm.bmp', ids_of(255, 255), '1')).mask.ids > 0, ids_of() > 0
  )


@pytest.mark.parametrize('colors', [3, 8])
def test_a_palette_whose_black_is_not_0(tmp_path, colors):
  """Pillow orders colours as it likes: background and an object must not be exchanged."""
  image = Image.fromarray(painted((128, 0, 0), (0, 128, 0)))
  for name, one in (
    ('a', image.quantize(colors)),
    ('b', image.convert('P', palette=Image.ADAPTIVE, colors=colors)),
  ):
    one.save(tmp_path / f'{name}.png')
    given = read(tmp_path / f'{name}.png')
    np.testing.assert_array_equal(given.mask.ids, ids_of())
    assert 'is taken as background instead of 0' in given.hints[0]


def test_a_palette_without_colours_stands_as_it_is(tmp_path):
  given = read(save(tmp_path / 'm.png', ids_of(), palette=np.zeros((256, 3))))
  np.testing.assert_array_equal(given.mask.ids, ids_of())
  assert not given.hints


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'PPM'])
@pytest.mark.parametrize('name', ['m', 'm.dat', 'm.png'])
def test_the_content_says_what_a_picture_is(tmp_path, kind, name):
  Image.fromarray(ids_of()).save(tmp_path / name, kind)
  np.testing.assert_array_equal(read(tmp_path / name).mask.ids, ids_of())


def test_8_bits_stretched_to_16(tmp_path):
  path = save(tmp_path / 'm.png', ids_of(1, 255).astype(np.uint16) * 257)
  np.testing.assert_array_equal(read(path).mask.ids, ids_of(1, 255))


@pytest.mark.parametrize('bits', [2, 4])
def test_tiff_of_few_bits(tmp_path, bits):
  """Pillow stretches the values to 8 bits."""
  ids = ids_of(1, 3)
  per_byte = 8 // bits
  shifts = bits * np.arange(per_byte - 1, -1, -1)
  rows = np.pad(ids, ((0, 0), (0, -ids.shape[1] % per_byte))).reshape(len(ids), -1, per_byte)
  data = (rows << shifts).sum(axis=-1).astype(np.uint8).tobytes()
  tags = [(256, ids.shape[1]), (257, len(ids)), (258, bits), (259, 1), (262, 1), (273, 8)]
  tags += [(277, 1), (278, len(ids)), (279, len(data))]
  entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags)
  directory = struct.pack('<H', len(tags)) + entries + bytes(4)
  path = tmp_path / 'm.tif'
  path.write_bytes(b'II*\0' + struct.pack('<I', 8 + len(data)) + data + directory)
  np.testing.assert_array_equal(read(path).mask.ids, ids)


@pytest.mark.parametrize('white', [2, 100, 254, 255, 300, 65535])
@pytest.mark.parametrize('text', [False, True])
def test_pgm_of_any_white(tmp_path, white, text):
  """Pillow stretches the values so that white is 255 or 65535."""
  ids, path = ids_of(1, 2), tmp_path / 'm.pgm'
  head = f'{"P2" if text else "P5"}\n# 7 labels\n{ids.shape[1]} {ids.shape[0]}\n{white}\n'
  stored = ids.astype('>u2' if white > 255 else np.uint8).tobytes()
  path.write_bytes(head.encode() + (' '.join(map(str, ids.ravel())).encode() if text else stored))
  np.testing.assert_array_equal(read(path).mask.ids, ids)


def test_lossless_webp_with_a_colour_profile(tmp_path):
  profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
  ids = ids_of()
  colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
  image = Image.fromarray(colours[np.searchsorted(np.unique(ids), ids)])
  image.save(tmp_path / 'm.webp', lossless=True, icc_profile=profile)
  assert len(read(tmp_path / 'm.webp').mask.object_ids) == len(np.unique(ids)) - 1
  image.save(tmp_path / 'lossy.webp', lossless=False, icc_profile=profile)
  with pytest.raises(ValueError, match='a WEBP image given, whose compression changes colours'):
    read(tmp_path / 'lossy.webp')


# ---- Refused.


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda p: Image.fromarray(painted((128, 0, 0), (0, 128, 0))).convert('P').save(p), 'dithered'),
    (lambda p: save(p, painted(RED, GREEN, WHITE)), 'no black or transparent pixel'),
    (lambda p: save(p, cv2.GaussianBlur(painted(RED, GREEN), (5, 5), 1)), 'smooth'),
    (
      lambda p: save(p, np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)),
      'colours given',
    ),
    (lambda p: save(p, cv2.GaussianBlur(ids_of(255, 255), (5, 5), 1)), 'antialiased'),
    (lambda p: save(p, ids_of().astype(np.uint16) * 300), 'grey values 0..600'),
    (lambda p: save(p, ids_of(0, 0)), 'a mask without any object'),
    (lambda p: p.write_bytes(b'\x89PNG\r\n\x1a\nbroken'), 'a damaged picture'),
    (lambda p: p.write_bytes(b''), 'a damaged picture'),
    (lambda p: Image.fromarray(painted(RED, GREEN)).save(p, 'JPEG'), 'a JPEG image given'),
    (lambda p: save(p, ids_of()[:50]), r'a mask of 50x80 \(height x width\) given, expected 60x80'),
    (lambda p: save(p, ids_of().T.copy()), 'turned by 90 degrees'),
  ],
)
def test_refuses(tmp_path, make, message):
  path = tmp_path / 'm.png'
  make(path)
  with pytest.raises(ValueError, match=message) as error:
    read(path)
  assert '\n' not in str(error.value) and ' at 0x' not in str(error.value)


@pytest.mark.parametrize(
  'name, kind',
  [(f'm.{suffix}', np.uint8) for suffix in ('png', 'bmp', 'tif', 'pgm', 'gif')]
  + [('m.png', np.uint16), ('m.tif', np.uint16), ('m.tif', np.float32)],
)
def test_smoothed_grey_is_refused_in_every_format(tmp_path, name, kind):
  """Its outlines were dozens of objects in all formats but PNG of 8 bits."""
  smooth = cv2.GaussianBlur(ids_of(255, 255), (5, 5), 1).astype(kind)
  path = save(tmp_path / name, smooth * 257 if kind is np.uint16 else smooth)
  with pytest.raises(ValueError, match='an antialiased image given'):
    read(path)


def test_a_cut_jpeg_is_refused_with_a_threshold_too(tmp_path):
  """Pillow fills what is missing with grey, which may be an object."""
  path = save(tmp_path / 'm.jpg', np.where(ids_of() > 0, 255, 0).astype(np.uint8))
  data = path.read_bytes()
  path.write_bytes(data[: len(data) - 100] + b'\xff\xd9')
  with pytest.raises(ValueError, match=r'm\.jpg: unreadable picture \(the JPEG is cut off'):
    read(path, threshold=0.5)


def test_a_label_map_that_lacks_a_colour_is_named(tmp_path):
  save(tmp_path / 'SegmentationClass' / '0.png', painted((250, 50, 83), (51, 221, 255)))
  (tmp_path / 'labelmap.txt').write_text('background:0,0,0::\ncat:51,221,255::\n')
  given = read(tmp_path / 'SegmentationClass' / '0.png')
  assert given.hints[0].startswith(f'{tmp_path / "labelmap.txt"}: without #fa3253; objects are')
  np.testing.assert_array_equal(given.mask.ids, ids_of())


@pytest.mark.parametrize('suffix', ['tif', 'gif', 'png'])
def test_a_mask_of_several_pages_says_so(tmp_path, suffix):
  images = [Image.fromarray(ids) for ids in (ids_of(), np.flip(ids_of()))]
  images[0].save(tmp_path / f'm.{suffix}', save_all=True, append_images=images[1:])
  with pytest.warns(data_warning.DataWarning, match='the file holds several pictures; the first'):
    found = read(tmp_path / f'm.{suffix}')
  np.testing.assert_array_equal(found.mask.ids, ids_of())


def test_an_archive_has_to_be_unpacked(tmp_path):
  with zipfile.ZipFile(tmp_path / 'm.zip', 'w') as archive:
    archive.writestr('m.png', b'')
  with pytest.raises(ValueError, match=r'm\.zip: a ZIP archive given.*unpack it first'):
    read(tmp_path / 'm.zip')


def test_soft_alpha_is_refused(tmp_path):
  alpha = cv2.GaussianBlur(ids_of(255, 255), (5, 5), 1)
  path = save(tmp_path / 'm.png', np.dstack([painted(RED, GREEN), alpha]))
  with pytest.raises(ValueError, match='degrees of transparency'):
    read(path)
  np.testing.assert_array_equal(read(path, threshold=0.5).mask.ids, (alpha >= 128).astype(np.uint8))


def test_nothing_there(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such mask file'):
    read(tmp_path / 'none.png')


# ---- Threshold and size.


@pytest.mark.parametrize('threshold', [0.5, 128])
@pytest.mark.parametrize('suffix', ['png', 'jpg', 'tif'])
def test_threshold_of_soft_grey(tmp_path, threshold, suffix):
  soft = cv2.GaussianBlur(ids_of(255, 255), (9, 9), 2)
  path = save(tmp_path / f'm.{suffix}', soft, **({'quality': 98} if suffix == 'jpg' else {}))
  ids = read(path, threshold=threshold).mask.ids
  assert np.mean(ids == (soft >= 128)) > (0.99 if suffix == 'jpg' else 0.9999)
  assert set(np.unique(ids)) == {0, 1}


def test_threshold_of_16_bits(tmp_path):
  soft = cv2.GaussianBlur(ids_of(255, 255), (9, 9), 2).astype(np.uint16) * 257
  ids = read(save(tmp_path / 'm.png', soft), threshold=0.5).mask.ids
  np.testing.assert_array_equal(ids, (soft >= 32768).astype(np.uint8))


@pytest.mark.parametrize('threshold', [0, -1, 256, float('nan')])
def test_thresholds_that_are_refused(threshold):
  with pytest.raises(ValueError, match='threshold is'):
    MaskOptions(threshold=threshold)


@pytest.mark.parametrize('scale', [0.5, 2, 3, 1 / 3])
def test_resize(tmp_path, scale):
  size = round(SIZE[0] * scale), round(SIZE[1] * scale)
  other = cv2.resize(ids_of(), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
  path = save(tmp_path / 'm.png', other)
  with pytest.raises(ValueError, match='or add --resize_mask'):
    read(path)
  assert np.mean(read(path, resize=True).mask.ids == ids_of()) > 0.97
  path = save(tmp_path / 'n.png', other[:, : other.shape[1] // 2])
  with pytest.raises(ValueError, match='draw the mask on a frame of this video$'):
    read(path, resize=True)


def test_resizing_says_what_vanishes(tmp_path):
  big = np.zeros((SIZE[0] * 4, SIZE[1] * 4), np.uint8)
  big[40:120, 40:120] = 1
  big[200, 201] = 5
  assert 'objects 5 vanish' in ' '.join(read(save(tmp_path / 'm.png', big), resize=True).hints)


def test_a_mask_is_turned_upright_as_frames_are(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6
  for array in (np.rot90(ids_of()).copy(), np.rot90(painted(RED, GREEN)).copy()):
    path = save(tmp_path / 'm.png', array, exif=exif)
    np.testing.assert_array_equal(read(path).mask.ids, ids_of())


# ---- Void, background, stray pixels.


def contour(width):
  ids = ids_of()
  outline = cv2.dilate(ids, np.ones((2 * width + 1,) * 2, np.uint8)) > 0
  ids[outline & (ids == 0)] = 255
  return ids


@pytest.mark.parametrize('width', [1, 2, 3])
def test_a_contour_of_255_is_void(tmp_path, width):
  path = save(tmp_path / 'm.png', contour(width), palette=masks.DAVIS_PALETTE)
  given = read(path)
  np.testing.assert_array_equal(given.mask.ids, ids_of())
  assert 'taken as void' in given.hints[0]
  np.testing.assert_array_equal(read(path, value_255='object').mask.ids, contour(width))


def test_an_object_of_255_is_an_object(tmp_path):
  for two, size in ((255, 1), (255, 3)):
    ids = ids_of(1, 0)
    ids[30 : 30 + 4 * size, 20 : 20 + 4 * size] = two  # Small and next to object 1.
    given = read(save(tmp_path / 'm.png', ids))
    np.testing.assert_array_equal(given.mask.ids, ids)
    assert 'value 255 is taken as an object' in given.hints[0]
    void = read(save(tmp_path / 'm.png', ids), value_255='void').mask.ids
    np.testing.assert_array_equal(void, ids_of(1, 0))
  assert read(save(tmp_path / 'w.png', ids_of(255, 255))).hints == []


def test_an_inverted_mask(tmp_path):
  for path in (
    save(tmp_path / 'a.png', ids_of(0, 0, background=1)),
    save(tmp_path / 'b.png', ids_of(0, 0, background=255)),
    save(tmp_path / 'c.png', ids_of(0, 1, background=2), palette=masks.DAVIS_PALETTE),
  ):
    (hint,) = [h for h in read(path).hints if 'is the mask inverted' in h]
    assert '% of the picture' in hint


def test_a_large_object_is_not_taken_for_an_inverted_mask(tmp_path):
  ids = np.zeros(SIZE, np.uint8)
  ids[8:, 12:68] = 1  # A face that fills the picture.
  assert read(save(tmp_path / 'm.png', ids)).hints == []


def test_stray_pixels(tmp_path):
  ids = ids_of()
  ids[3, 5] = ids[55, 60] = 9
  ids[20, 75:78] = 12
  (hint,) = read(save(tmp_path / 'm.png', ids)).hints
  assert 'objects 9, 12 of under 9 connected pixels (the first at x=5, y=3)' in hint


# ---- Folders.


def test_one_file_an_object(tmp_path):
  for i, name in enumerate(('person_1', 'ball_2')):
    save(tmp_path / 'a' / f'{name}.png', np.where(ids_of() == i + 1, 255, 0).astype(np.uint8))
    save(tmp_path / 'b' / f'{"zy"[i]}.png', np.where(ids_of() == i + 1, 1, 0).astype(np.uint8))
  (tmp_path / 'a' / '.DS_Store').touch()
  (tmp_path / 'a' / '._person_1.png').write_bytes(b'x')
  given = read(tmp_path / 'a')
  np.testing.assert_array_equal(given.mask.ids, ids_of())
  assert given.names == {1: 'person_1.png', 2: 'ball_2.png'}
  np.testing.assert_array_equal(read(tmp_path / 'b').mask.ids, ids_of(2, 1))
  files = [tmp_path / 'b' / 'z.png', tmp_path / 'b' / 'y.png']
  np.testing.assert_array_equal(read(files).mask.ids, ids_of())
  save(tmp_path / 'b' / 'x.png', ids_of())
  with pytest.raises(ValueError, match='x.png: 2 objects given, expected one object in each'):
    read(tmp_path / 'b')


def test_overlapping_objects_are_reported(tmp_path):
  first = ids_of(1, 0)
  second = np.roll(first, 5, 1)
  save(tmp_path / 'm' / '1.png', first)
  save(tmp_path / 'm' / '2.png', second)
  given = read(tmp_path / 'm')
  assert (given.mask.ids == 2).sum() == (second > 0).sum()
  assert f'{((first > 0) & (second > 0)).sum()} pixels belong to several objects' in given.hints[0]


def test_a_folder_of_masks_of_frames(tmp_path):
  save(tmp_path / 'm' / '00000.png', ids_of(3, 4))
  save(tmp_path / 'm' / '00001.png', ids_of(5, 6))
  np.testing.assert_array_equal(read(tmp_path / 'm').mask.ids, ids_of(3, 4))
  np.testing.assert_array_equal(read(tmp_path / 'm', '00001').mask.ids, ids_of(5, 6))
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match="a folder of 0 masks given, 0 of them .* '00000'"):
    read(tmp_path / 'empty')


@pytest.mark.parametrize('form, other', [('NFD', 'NFC'), ('NFC', 'NFD')])
def test_names_whose_letters_are_composed_in_another_way(tmp_path, form, other):
  """Of a folder of masks, and in a file about several images."""
  frame, name = unicodedata.normalize(form, 'Bär'), unicodedata.normalize(other, 'Bär')
  save(tmp_path / 'm' / f'{name}.png', ids_of(3, 4))
  save(tmp_path / 'm' / 'cow.png', ids_of(5, 6))
  np.testing.assert_array_equal(read(tmp_path / 'm', frame).mask.ids, ids_of(3, 4))
  content = coco_content([[8, 8, 30, 8, 30, 20, 8, 20]])
  for image, file_name in zip(content['images'], (f'{name}.jpg', 'cow.jpg')):
    image['file_name'] = file_name
  (tmp_path / 'coco.json').write_text(json.dumps(content))
  ids = read(tmp_path / 'coco.json', frame).mask.ids
  assert ids[14, 20] == 1 and (ids > 0).sum() < 400


def test_segmentation_class_of_cvat(tmp_path):
  save(tmp_path / 'x' / 'SegmentationClass' / '00000.png', painted((250, 50, 83), (51, 221, 255)))
  save(tmp_path / 'x' / 'SegmentationClass' / '00001.png', painted((51, 221, 255), (250, 50, 83)))
  (tmp_path / 'x' / 'labelmap.txt').write_text(
    '# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:51,221,255::\ndog:250,50,83::\n'
  )
  for path in (tmp_path / 'x', tmp_path / 'x' / 'SegmentationClass'):
    given = read(path)
    np.testing.assert_array_equal(given.mask.ids, ids_of(2, 1))
    assert given.names == {2: 'dog (#fa3253)', 1: 'cat (#33ddff)'}
  file = tmp_path / 'x' / 'SegmentationClass' / '00001.png'
  np.testing.assert_array_equal(read(file).mask.ids, ids_of(1, 2))


def test_labels_of_cvat_may_be_grey(tmp_path):
  """On a frame without other colours, the shade was taken for the id."""
  folder = tmp_path / 'x' / 'SegmentationClass'
  (tmp_path / 'x').mkdir()
  (tmp_path / 'x' / 'labelmap.txt').write_text(
    'background:0,0,0::\ndog #1:250,50,83::\ncat #1:255,255,255::\n'
  )
  white, black, other = (255, 255, 255), (0, 0, 0), (128, 128, 128)
  for colours, ids, named in (
    ((white, black), ids_of(2, 0), {2: 'cat #1 (#ffffff)'}),
    ((white, (250, 50, 83)), ids_of(2, 1), {1: 'dog #1 (#fa3253)', 2: 'cat #1 (#ffffff)'}),
    ((white, other), ids_of(255, 128), {}),  # Shades that are no labels.
  ):
    given = read(save(folder / '00000.png', painted(*colours)))
    np.testing.assert_array_equal(given.mask.ids, ids)
    assert given.names == named
  (tmp_path / 'labelmap.txt').write_text('of something else')
  path = save(tmp_path / 'mask.png', painted(white, black))
  np.testing.assert_array_equal(read(path).mask.ids, ids_of(255, 0))


def test_two_objects_of_one_label_of_cvat(tmp_path):
  one = save(tmp_path / 'x' / 'SegmentationClass' / '00000.png', painted(GREEN, GREEN))
  save(tmp_path / 'x' / 'SegmentationObject' / '00000.png', painted(RED, BLUE))
  assert any('1 in all' in hint and 'has 2: give that' in hint for hint in read(one).hints)
  assert len(read(tmp_path / 'x' / 'SegmentationObject').mask.object_ids) == 2
  save(tmp_path / 'x' / 'SegmentationClass' / '00000.png', painted(RED, BLUE))
  assert not any('give that' in hint for hint in read(one).hints)
  (tmp_path / 'x' / 'SegmentationObject' / '00000.png').write_bytes(b'damaged')
  assert read(one).mask.object_ids == (1, 2)


# ---- Annotation files. Corners are those of pixels: x from 10 to 40 are columns 10..39.

BOXES = ((10, 10, 40, 30), (50, 35, 70, 50))


def corners(box):
  x0, y0, x1, y1 = box
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def coco_content(*segmentations, **changes):
  return {
    'images': [
      {'id': 7, 'file_name': 'clip/00000.jpg', 'width': 80, 'height': 60},
      {'id': 8, 'file_name': 'clip/00001.jpg', 'width': 80, 'height': 60},
    ],
    'categories': [{'id': 1, 'name': 'dog'}],
    'annotations': [
      {'id': i, 'image_id': 7, 'category_id': 1, 'segmentation': s}
      for i, s in enumerate(segmentations)
    ]
    + [{'id': 99, 'image_id': 8, 'category_id': 1, 'segmentation': [[0, 0, 9, 0, 9, 9]]}],
    **changes,
  }


def counts_of(where, column_first=True):
  flat = where.T.ravel() if column_first else where.ravel()
  edges = np.flatnonzero(np.diff(np.r_[0, flat.astype(int), 0]))
  lengths = np.diff(np.r_[0, edges, len(flat)]).tolist()
  return lengths if lengths[-1] else lengths[:-1]


@pytest.mark.parametrize('bom', [b'', b'\xef\xbb\xbf'])
def test_coco_polygons(tmp_path, bom):
  content = coco_content(*([np.ravel(corners(b)).tolist()] for b in BOXES))
  (tmp_path / 'c.json').write_bytes(bom + json.dumps(content).encode())
  given = read(tmp_path / 'c.json')
  np.testing.assert_array_equal(given.mask.ids, ids_of())
  assert given.names == {1: 'dog', 2: 'dog'}


@pytest.mark.parametrize('kind', [str, float])
def test_coco_with_ids_that_are_texts_or_fractions_in_one_place(tmp_path, kind):
  content = coco_content(*([np.ravel(corners(b)).tolist()] for b in BOXES))
  for annotation in content['annotations']:
    annotation['image_id'] = kind(annotation['image_id'])
    annotation['category_id'] = kind(annotation['category_id'])
  (tmp_path / 'c.json').write_text(json.dumps(content))
  given = read(tmp_path / 'c.json')
  np.testing.assert_array_equal(given.mask.ids, ids_of())
  assert given.names == {1: 'dog', 2: 'dog'}


def test_a_folder_of_folders_is_refused_by_their_names(tmp_path):
  for name in ('dog', 'cat'):
    (tmp_path / 'm' / name).mkdir(parents=True)
  with pytest.raises(ValueError, match=r'only folders \(cat, dog\); give one of them'):
    read(tmp_path / 'm')


def test_coco_run_lengths(tmp_path):
  one = {'size': list(SIZE), 'counts': counts_of(ids_of() == 1)}
  coco_mask = pytest.importorskip('pycocotools.mask')
  packed = coco_mask.encode(np.asfortranarray((ids_of() == 2).astype(np.uint8)))
  two = {'size': list(SIZE), 'counts': packed['counts'].decode()}
  (tmp_path / 'c.json').write_text(json.dumps(coco_content(one, two)))
  np.testing.assert_array_equal(read(tmp_path / 'c.json').mask.ids, ids_of())


def test_coco_polygons_are_those_of_pycocotools(tmp_path, rng):
  coco_mask = pytest.importorskip('pycocotools.mask')
  angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
  points = np.stack([40 + 25 * np.cos(angles), 30 + 20 * np.sin(angles)], -1)
  (tmp_path / 'c.json').write_text(json.dumps(coco_content([points.ravel().tolist()])))
  expected = coco_mask.decode(coco_mask.frPyObjects([points.ravel().tolist()], *SIZE))[..., 0] > 0
  ids = read(tmp_path / 'c.json').mask.ids > 0
  assert (ids & expected).sum() / (ids | expected).sum() > 0.97


@pytest.mark.parametrize(
  'content, message',
  [
    (coco_content([]), 'a box and no segmentation'),
    (coco_content({'size': [60, 80], 'counts': [5, 5]}), r'c\.json: run lengths of 10 pixels'),
    (coco_content({'size': [30, 40], 'counts': [1200]}), 'run lengths of 30x40 given'),
    (coco_content([[1, 2, 3, 4]]), r'c\.json: a polygon of fewer than 3 points'),
    (coco_content(images=[]), '0 images given'),
    ({'annotations': [{}], 'images': [{}]}, "JSON without the entry 'height' of COCO or labelme"),
    (coco_content({'size': [60, 80], 'counts': 'äö~~'}), r'c\.json: damaged run lengths given'),
    (coco_content([[1, 2, 3, 4, 5, 6, 7]]), r'c\.json: JSON given whose entries are not those'),
    (coco_content('abc'), r'c\.json: JSON given whose entries are not those'),
    ({'info': 1}, 'JSON of another kind'),
    ([1], 'JSON of another kind'),
  ],
)
def test_json_that_is_refused(tmp_path, content, message):
  (tmp_path / 'c.json').write_text(json.dumps(content))
  with pytest.raises(ValueError, match=message):
    read(tmp_path / 'c.json')
  (tmp_path / 'c.json').write_text('{"annotations"')
  with pytest.raises(ValueError, match='damaged JSON'):
    read(tmp_path / 'c.json')


@pytest.mark.parametrize('height, width', [(10**9, 10**9), (-1, 5), ('x', 5), (None, 5), (2.5, 5)])
def test_sizes_that_no_image_has(tmp_path, height, width):
  image = {'id': 1, 'file_name': '00000.jpg', 'height': height, 'width': width}
  contents = (
    {'images': [image], 'annotations': [], 'categories': []},
    {'imageHeight': height, 'imageWidth': width, 'shapes': []},
  )
  for content in contents:
    (tmp_path / 'c.json').write_text(json.dumps(content))
    with pytest.raises(
      ValueError, match=rf'c\.json: an image of {height}x{width} \(height x width'
    ):
      read(tmp_path / 'c.json')


def test_a_size_may_be_a_text(tmp_path):
  content = coco_content([corners(BOXES[0])])
  content['images'][0].update(height='60', width='80.0')
  content['annotations'][0]['segmentation'] = [np.ravel(corners(BOXES[0])).tolist()]
  (tmp_path / 'c.json').write_text(json.dumps(content))
  np.testing.assert_array_equal(read(tmp_path / 'c.json').mask.ids, ids_of(1, 0))


def labelme_content(*shapes):
  return {
    'version': '5',
    'shapes': list(shapes),
    'imagePath': 'a.jpg',
    'imageHeight': 60,
    'imageWidth': 80,
  }


def test_labelme(tmp_path):
  stream = io.BytesIO()
  Image.fromarray(np.full((15, 20), 255, np.uint8)).convert('1').save(stream, 'PNG')
  shapes = [
    {'label': '_background_', 'points': corners((0, 0, 80, 60)), 'shape_type': 'polygon'},
    {'label': 'dog', 'points': corners((10, 10, 30, 30)), 'group_id': 4, 'shape_type': 'polygon'},
    {
      'label': 'cat',
      'points': [[50, 35], [69, 49]],
      'group_id': None,
      'shape_type': 'mask',
      'mask': base64.b64encode(stream.getvalue()).decode(),
    },
    {'label': 'dog', 'points': [[25, 10], [40, 30]], 'group_id': 4, 'shape_type': 'rectangle'},
  ]
  (tmp_path / 'l.json').write_text(json.dumps(labelme_content(*shapes)))
  given = read(tmp_path / 'l.json')
  np.testing.assert_array_equal(given.mask.ids, ids_of())
  assert given.names == {1: 'dog', 2: 'cat'}


def test_labelme_numbers_are_ids(tmp_path):
  shapes = [
    {'label': str(i), 'points': corners(b), 'shape_type': 'polygon'} for i, b in zip((7, 3), BOXES)
  ]
  (tmp_path / 'l.json').write_text(json.dumps(labelme_content(*shapes)))
  np.testing.assert_array_equal(read(tmp_path / 'l.json').mask.ids, ids_of(7, 3))
  circle = {'label': 'a', 'points': [[40, 30], [50, 30]], 'shape_type': 'circle'}
  (tmp_path / 'l.json').write_text(json.dumps(labelme_content(circle)))
  assert abs(read(tmp_path / 'l.json').mask.ids.sum() - np.pi * 100) < 4
  line = {'label': 'a', 'points': [[40, 30], [50, 30]], 'shape_type': 'line'}
  (tmp_path / 'l.json').write_text(json.dumps(labelme_content(line)))
  with pytest.raises(ValueError, match='a is a line of 2 points, expected'):
    read(tmp_path / 'l.json')


@pytest.mark.parametrize('kind', ['rectangle', 'rotation', 'oriented_rectangle'])
def test_a_labelme_box_by_its_four_corners(tmp_path, kind):
  """As X-AnyLabeling writes all boxes, and labelme turned ones."""
  shapes = [
    {'label': str(i), 'points': corners(b), 'shape_type': kind} for i, b in zip((1, 2), BOXES)
  ]
  (tmp_path / 'l.json').write_text(json.dumps(labelme_content(*shapes)))
  np.testing.assert_array_equal(read(tmp_path / 'l.json').mask.ids, ids_of(1, 2))


def test_a_labelme_mask_that_begins_outside_of_the_image_lies_where_it_lay(tmp_path):
  """It was moved inside."""
  stream, drawn = io.BytesIO(), np.zeros((20, 30), np.uint8)
  drawn[5:20, 8:30] = 255
  Image.fromarray(drawn).convert('1').save(stream, 'PNG')
  shape = {
    'label': '1',
    'points': [[-10, -7], [19, 12]],
    'shape_type': 'mask',
    'mask': base64.b64encode(stream.getvalue()).decode(),
  }
  (tmp_path / 'l.json').write_text(json.dumps(labelme_content(shape)))
  expected = np.zeros((60, 80), np.uint8)
  expected[:13, :20] = 1
  np.testing.assert_array_equal(read(tmp_path / 'l.json').mask.ids, expected)


def cvat_points(box):
  return ';'.join(f'{x},{y}' for x, y in corners(box))


def test_cvat_images(tmp_path):
  x0, y0, x1, y1 = BOXES[1]
  rle = ', '.join(map(str, [0, (x1 - x0) * (y1 - y0)]))
  (tmp_path / 'c.xml').write_text(
    '<?xml version="1.0"?><annotations><version>1.1</version>'
    '<image id="0" name="clip/00000.jpg" width="80" height="60">'
    f'<polygon label="dog" occluded="0" points="{cvat_points(BOXES[0])}" z_order="0"/>'
    f'<mask label="cat" rle="{rle}" left="{x0}" top="{y0}" width="{x1 - x0}" height="{y1 - y0}" z_order="1"/>'
    '<tag label="night"/></image>'
    '<image id="1" name="clip/00001.jpg" width="80" height="60">'
    f'<box label="dog" xtl="10" ytl="10" xbr="40" ybr="30" z_order="0"/></image></annotations>'
  )
  given = read(tmp_path / 'c.xml')
  np.testing.assert_array_equal(given.mask.ids, ids_of())
  assert given.names == {1: 'dog', 2: 'cat'}
  np.testing.assert_array_equal(read(tmp_path / 'c.xml', 'frame_00001').mask.ids, ids_of(1, 0))
  with pytest.raises(
    ValueError, match=r"2 images given \(clip/00000.jpg, clip/00001.jpg\), 0 .* 'x'"
  ):
    read(tmp_path / 'c.xml', 'x')


def cvat_image(*shapes):
  return (
    '<annotations><image id="0" name="00000.jpg" width="80" height="60">'
    f'{"".join(shapes)}</image></annotations>'
  )


def test_a_turned_box_of_cvat(tmp_path):
  box = '<box label="a" xtl="20" ytl="26" xbr="60" ybr="34" rotation="{}"/>'
  (tmp_path / 'c.xml').write_text(cvat_image(box.format(90)))
  expected = np.zeros(SIZE, np.uint8)
  expected[10:50, 36:44] = 1
  np.testing.assert_array_equal(read(tmp_path / 'c.xml').mask.ids, expected)
  (tmp_path / 'c.xml').write_text(cvat_image(box.format(45)))
  ids = read(tmp_path / 'c.xml').mask.ids
  assert abs(int(ids.sum()) - 320) < 10
  assert ids[42, 52] and ids[18, 28] and not ids[18, 52]  # Clockwise: right end down.


def test_shapes_of_cvat_that_are_no_areas_are_named(tmp_path):
  points = f'points="{cvat_points(BOXES[0])}"'
  for kind in ('polyline', 'points', 'cuboid', 'skeleton'):
    text = cvat_image(f'<polygon label="dog" {points}/>', f'<{kind} label="cat" {points}/>')
    (tmp_path / 'c.xml').write_text(text)
    with pytest.warns(
      data_warning.DataWarning, match=f"c.xml: 'cat' is a {kind}, which is no area"
    ):
      assert read(tmp_path / 'c.xml').names == {1: 'dog'}


def test_cvat_video(tmp_path):
  tracks = ''.join(
    f'<track id="{i}" label="{label}"><polygon frame="0" outside="{outside}" points="{cvat_points(box)}"/>'
    f'<polygon frame="1" outside="0" points="{cvat_points((0, 0, 80, 60))}"/></track>'
    for i, (label, box, outside) in enumerate(
      [('dog', BOXES[0], 0), ('cow', (0, 0, 9, 9), 1), ('cat', BOXES[1], 0)]
    )
  )
  (tmp_path / 'c.xml').write_text(
    '<annotations><meta><task><original_size><width>80</width><height>60</height></original_size>'
    f'</task></meta>{tracks}</annotations>'
  )
  given = read(tmp_path / 'c.xml')
  np.testing.assert_array_equal(given.mask.ids, ids_of())
  assert given.names == {1: 'dog', 2: 'cat'}


@pytest.mark.parametrize(
  'text, message',
  [
    ('<annotations>', 'a damaged XML file'),
    ('<annotation/>', 'XML with <annotation> given'),
    ('<annotations/>', '0 tracks and 0 sizes'),
    ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', 'a document type'),
    (
      (
        '<annotations><image name="a" width="80" height="60"><polygon label="x" points="1,2;3"/>'
        '</image></annotations>'
      ),
      "a damaged polygon of 'x'",
    ),
    (
      (
        '<annotations><image name="a" width="80" height="60"><mask label="x" rle="0,4" left="79"'
        ' top="0" width="2" height="2"/></image></annotations>'
      ),
      'reaches beyond the image',
    ),
    ('<annotations><image name="a" width="80"/></annotations>', 'c.xml: no number given as a'),
    ('<annotations><image name="a" width="80" height="b"/></annotations>', "c.xml: 'b' given as a"),
    (
      (
        '<annotations><image name="a" width="80" height="60"><box xtl="0" ytl="0" xbr="9" ybr="9"'
        ' z_order="-x"/></image></annotations>'
      ),
      "c.xml: 'x' given as a height, width or frame, expected a whole number",
    ),
  ],
)
def test_xml_that_is_refused(tmp_path, text, message):
  (tmp_path / 'c.xml').write_text(text)
  with pytest.raises(ValueError, match=message):
    read(tmp_path / 'c.xml')


def test_yolo(tmp_path):
  lines = [
    f'{i} ' + ' '.join(f'{x / 80} {y / 60}' for x, y in corners(b)) for i, b in enumerate(BOXES)
  ]
  (tmp_path / 'labels').mkdir()
  (tmp_path / 'labels' / '00000.txt').write_text('\n'.join(lines) + '\n')
  (tmp_path / 'labels' / '00001.txt').write_text(lines[0])
  (tmp_path / 'labels' / 'classes.txt').write_text('dog\ncat\n')
  for path in (tmp_path / 'labels', tmp_path / 'labels' / '00000.txt'):
    given = read(path)
    np.testing.assert_array_equal(given.mask.ids, ids_of())
    assert given.names == {1: 'class 0', 2: 'class 1'}


@pytest.mark.parametrize(
  'line, message',
  [
    ('0 0.5 0.5 0.2 0.2', 'line 1: a box given'),
    ('0 1 2 3 4 5 6', 'coordinates 1..6 given'),
    ('dog 0.1 0.1 0.2 0.2 0.3 0.3', "line 1: 'dog 0.1"),
    ('0 0.1 0.1 0.2 0.2 0.3', 'expected a class and the x y pairs'),
    ('0 nan nan 0.2 0.2 0.3 0.3', r'y\.txt: a polygon of fewer than 3 points, or without numbers'),
  ],
)
def test_text_that_is_refused(tmp_path, line, message):
  (tmp_path / 'y.txt').write_text(line)
  with pytest.raises(ValueError, match=message):
    read(tmp_path / 'y.txt')

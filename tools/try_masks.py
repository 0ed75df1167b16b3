r"""Tries the forms of masks: writes each with other programs' libraries and compares the ids read.

  python -m feelvos_tf.tools.try_masks --output=docs/masks_table.md

Two objects are written in every form by Pillow, OpenCV, pycocotools or as the text that an
annotation tool exports. A line says which ids are read and whether each pixel is right.
"""

import base64
from collections.abc import Callable
import io
import json
import pathlib
import tempfile
import warnings

from absl import flags
import cv2
import numpy as np
from PIL import Image

from feelvos_tf.datasets.mask_files.reading import MaskOptions
from feelvos_tf.datasets.mask_files.reading import read_given_mask
from feelvos_tf.files import whole_file
from feelvos_tf.runtime import command_line

FLAGS = flags.FLAGS

SIZE = (60, 80)
_BOXES = ((10, 10, 40, 30), (50, 35, 70, 50))  # Left, top, right, bottom; behind the last pixel.
_COLOURS = np.zeros((256, 3), np.uint8)
_COLOURS[1:3] = (255, 0, 0), (0, 255, 0)

# Writes a form into a folder; returns what is given as --mask.
Write = Callable[[pathlib.Path], pathlib.Path]


def true_ids() -> np.ndarray:
  """uint8 [height, width]: what every form holds."""
  ids = np.zeros(SIZE, np.uint8)
  for object_id, (x0, y0, x1, y1) in enumerate(_BOXES, 1):
    ids[y0:y1, x0:x1] = object_id
  return ids


def define_flags() -> None:
  """Defines the flags."""
  flags.DEFINE_string('output', None, 'Markdown file to write; default: standard output.')


def main() -> int:
  """Writes, reads, compares; exit code 1 if a line is wrong."""
  lines = []
  with tempfile.TemporaryDirectory() as folder:
    for number, (form, write, options) in enumerate(forms()):
      place = pathlib.Path(folder, str(number))
      place.mkdir()
      lines.append(f'| {form} | {outcome(write, place, options)} |')
      print(lines[-1], flush=True)
  if FLAGS.output:
    head = '| form | ids read |\n|---|---|\n'
    whole_file.write_text(FLAGS.output, head + '\n'.join(lines) + '\n')
  return int(any('!' in line for line in lines))


def outcome(write: Write, place: pathlib.Path, options: MaskOptions) -> str:
  """Cell of the table: the ids that are read, and whether each pixel is right.

  Args:
    write: see `forms`.
    place: an empty folder.
    options: how the mask is read.
  """
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    found = read_given_mask(write(place), SIZE, '00000', options).mask.ids
  expected = true_ids() > 0 if options.threshold else true_ids()
  ids = ', '.join(map(str, np.unique(found)[1:].tolist()))
  wrong = np.count_nonzero((found > 0) != (expected > 0))
  pairs = {tuple(pair) for pair in np.stack([found, expected], -1).reshape(-1, 2).tolist()}
  if wrong or len(pairs) != len(np.unique(expected)):
    return f'{ids}; ! {wrong} pixels are wrong'
  return f'{ids}; each pixel right'


def forms() -> list[tuple[str, Write, MaskOptions]]:
  """(name, writer, options) of the lines of the table."""
  return [*_pictures(), *_soft_pictures(), *_several_files(), *_coco(), *_labelme(), *_others()]


def _pictures() -> list[tuple[str, Write, MaskOptions]]:
  ids, plain = true_ids(), MaskOptions()
  colours = _COLOURS[ids]
  alpha = np.where(ids > 0, 255, 0).astype(np.uint8)
  palette = Image.fromarray(ids)
  palette.putpalette(_COLOURS.tobytes())
  found: list[tuple[str, Write, MaskOptions]] = []
  for bits in (2, 4, 8):
    found.append((f'palette PNG, {bits} bits', _saved(palette, 'png', bits=bits), plain))
  for suffix in ('gif', 'bmp', 'tif'):
    found.append((f'palette {suffix.upper()}', _saved(palette, suffix), plain))
  for suffix in ('png', 'bmp', 'tif', 'pgm'):
    found.append((f'grey {suffix.upper()}, 8 bits', _saved(Image.fromarray(ids), suffix), plain))
  for suffix in ('png', 'tif'):
    deep = Image.fromarray(ids.astype(np.uint16))
    found.append((f'grey {suffix.upper()}, 16 bits', _saved(deep, suffix), plain))
  stretched = Image.fromarray(ids.astype(np.uint16) * 257)
  found.append(('grey PNG, 8 bits stretched to 16', _saved(stretched, 'png'), plain))
  found.append(
    ('grey TIFF, floating point', _saved(Image.fromarray(ids.astype(np.float32)), 'tif'), plain)
  )
  for suffix in ('png', 'bmp', 'tif', 'ppm'):
    found.append((f'RGB {suffix.upper()}', _saved(Image.fromarray(colours), suffix), plain))
  webp = _saved(Image.fromarray(colours), 'webp', lossless=True)
  found.append(('RGB WebP, lossless', webp, plain))
  rgba = Image.fromarray(np.dstack([colours, alpha]))
  found.append(('RGBA PNG, transparent background', _saved(rgba, 'png'), plain))
  grey_alpha = Image.fromarray(np.dstack([ids, alpha]))
  found.append(('grey PNG with transparent background', _saved(grey_alpha, 'png'), plain))
  reduced = Image.fromarray(colours).quantize(8)
  found.append(('palette PNG that Pillow made of RGB', _saved(reduced, 'png'), plain))
  return found


def _soft_pictures() -> list[tuple[str, Write, MaskOptions]]:
  soft, white = MaskOptions(threshold=0.5), np.where(true_ids() > 0, 200, 30).astype(np.uint8)
  return [
    ('black and white PNG, 1 bit', _saved(Image.fromarray(true_ids() > 0), 'png'), soft),
    ('soft grey PNG, `--threshold=0.5`', _saved(Image.fromarray(white), 'png'), soft),
    ('soft grey JPEG, `--threshold=0.5`', _saved(Image.fromarray(white), 'jpg', quality=95), soft),
  ]


def _several_files() -> list[tuple[str, Write, MaskOptions]]:
  def one_an_object(place: pathlib.Path) -> pathlib.Path:
    for i in (1, 2):
      Image.fromarray(true_ids() == i).save(place / f'{i}.png')
    return place

  def frames(place: pathlib.Path) -> pathlib.Path:
    Image.fromarray(true_ids()).save(place / '00000.png')
    Image.fromarray(np.roll(true_ids(), 3)).save(place / '00001.png')
    return place

  def segmentation_class(place: pathlib.Path) -> pathlib.Path:
    (place / 'SegmentationClass').mkdir()
    Image.fromarray(_COLOURS[true_ids()]).save(place / 'SegmentationClass' / '00000.png')
    (place / 'labelmap.txt').write_text('background:0,0,0::\ndog:255,0,0::\ncat:0,255,0::\n')
    return place / 'SegmentationClass'

  writers: list[tuple[str, Write]] = [
    ('folder with one PNG an object', one_an_object),
    ('folder with masks named like frames', frames),
    ('CVAT SegmentationClass with labelmap.txt', segmentation_class),
  ]
  return [(name, write, MaskOptions()) for name, write in writers]


def _coco() -> list[tuple[str, Write, MaskOptions]]:
  from pycocotools import mask as coco_mask

  polygons = [[np.ravel(_corners(box)).tolist()] for box in _BOXES]
  counts: list = []
  packed: list = []
  for i in (1, 2):
    where = np.asfortranarray((true_ids() == i).astype(np.uint8))
    edges = np.flatnonzero(np.diff(np.r_[0, where.ravel('F'), 0]))
    lengths = np.diff(np.r_[0, edges, where.size])
    counts.append({'size': SIZE, 'counts': lengths.tolist()})
    packed.append({'size': SIZE, 'counts': coco_mask.encode(where)['counts'].decode()})
  names = ('polygons', 'run lengths', 'compressed run lengths')
  forms_of_shapes: tuple[list, ...] = (polygons, counts, packed)
  return [
    (f'COCO JSON, {name}', _text('coco.json', json.dumps(_coco_content(shapes))), MaskOptions())
    for name, shapes in zip(names, forms_of_shapes)
  ]


def _coco_content(shapes: list) -> dict:
  image = {'id': 1, 'file_name': '00000.jpg', 'height': SIZE[0], 'width': SIZE[1]}
  annotations = [
    {'id': i, 'image_id': 1, 'category_id': 1, 'segmentation': shape, 'iscrowd': 0}
    for i, shape in enumerate(shapes)
  ]
  categories = [{'id': 1, 'name': 'dog'}]
  return {'images': [image], 'annotations': annotations, 'categories': categories}


def _labelme() -> list[tuple[str, Write, MaskOptions]]:
  found: list[tuple[str, Write, MaskOptions]] = []
  for kind in ('polygon', 'rectangle', 'mask'):
    shapes = []
    for number, (x0, y0, x1, y1) in enumerate(_BOXES):
      points = _corners((x0, y0, x1, y1)) if kind == 'polygon' else [[x0, y0], [x1, y1]]
      shape = {'label': f'object {number}', 'shape_type': kind, 'points': points}
      if kind == 'mask':  # Its corners are the first and the last pixel.
        part = cv2.imencode('.png', np.full((y1 - y0, x1 - x0), 255, np.uint8))[1].tobytes()
        shape.update(points=[[x0, y0], [x1 - 1, y1 - 1]], mask=base64.b64encode(part).decode())
      shapes.append(shape)
    content = {'shapes': shapes, 'imageHeight': SIZE[0], 'imageWidth': SIZE[1]}
    found.append((f'labelme JSON, {kind}', _text('l.json', json.dumps(content)), MaskOptions()))
  return found


def _others() -> list[tuple[str, Write, MaskOptions]]:
  height, width = SIZE
  points = [';'.join(f'{x},{y}' for x, y in _corners(box)) for box in _BOXES]
  boxes = [f'xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}"' for x0, y0, x1, y1 in _BOXES]
  drawn = {
    'polygon': [f'<polygon label="a" points="{p}"/>' for p in points],
    'box': [f'<box label="a" {b}/>' for b in boxes],
    'mask': [
      f'<mask label="a" rle="0, {(x1 - x0) * (y1 - y0)}" left="{x0}" top="{y0}" '
      f'width="{x1 - x0}" height="{y1 - y0}"/>'
      for x0, y0, x1, y1 in _BOXES
    ],
  }
  found: list[tuple[str, Write, MaskOptions]] = []
  for kind, shapes in drawn.items():
    image = (
      f'<image id="0" name="00000.jpg" width="{width}" height="{height}">{"".join(shapes)}</image>'
    )
    xml = f'<annotations>{image}</annotations>'
    found.append((f'CVAT for images, {kind}', _text('c.xml', xml), MaskOptions()))
  size = f'<original_size><width>{width}</width><height>{height}</height></original_size>'
  tracks = ''.join(
    f'<track id="{i}" label="a"><polygon frame="0" outside="0" keyframe="1" points="{p}"/></track>'
    for i, p in enumerate(points)
  )
  video = f'<annotations><meta><task>{size}</task></meta>{tracks}</annotations>'
  found.append(('CVAT for video', _text('c.xml', video), MaskOptions()))
  lines = [
    ' '.join(['0', *(f'{x / width} {y / height}' for x, y in _corners(box))]) for box in _BOXES
  ]
  found.append(('YOLO polygons', _text('y.txt', '\n'.join(lines)), MaskOptions()))
  return found


def _corners(box: tuple[int, int, int, int]) -> list[list[int]]:
  x0, y0, x1, y1 = box
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def _saved(image: Image.Image, suffix: str, **options: object) -> Write:
  def write(place: pathlib.Path) -> pathlib.Path:
    stream = io.BytesIO()
    kind = {'jpg': 'JPEG', 'tif': 'TIFF', 'pgm': 'PPM'}.get(suffix, suffix.upper())
    image.save(stream, kind, **options)
    (place / f'mask.{suffix}').write_bytes(stream.getvalue())
    return place / f'mask.{suffix}'

  return write


def _text(name: str, text: str) -> Write:
  def write(place: pathlib.Path) -> pathlib.Path:
    (place / name).write_text(text, encoding='utf-8')
    return place / name

  return write


if __name__ == '__main__':
  command_line.run(main, define_flags)

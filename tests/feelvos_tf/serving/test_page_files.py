"""How the page reads and writes files: masks as PNG, frames of videos, the demo clip."""

from fractions import Fraction
import io

import av
import cv2
import numpy as np
from PIL import Image
import png_files
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.film import reader
from feelvos_tf.runtime import packaged_files
from feelvos_tf.runtime import repair_list


def interlaced(ids):
  """An interlaced 8-bit grey PNG, which Pillow reads but does not write."""
  height, width = ids.shape
  passes = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
  ]
  rows = b''.join(
    b'\0' + row.tobytes()
    for x, y, step_x, step_y in passes
    for row in ids[y::step_y, x::step_x]
    if row.size
  )

  return png_files.assemble(width, height, rows, interlaced=1)


def test_reads_ids_not_colours(page, rng):
  """Every kind of mask gives the values in the file, also with one colour for all of them."""
  files = []
  for bits in (1, 2, 4, 8):
    ids = rng.integers(0, 2**bits, (21, 37), dtype=np.uint8)
    for mode in 'PL':
      image = Image.fromarray(ids)
      if mode == 'P':
        image.putpalette(bytes([9, 9, 9] * 2**bits))
      elif bits < 8:
        continue  # Pillow writes grey of 8 bits only.
      stream = io.BytesIO()
      image.save(stream, 'PNG', bits=bits)
      files.append((stream.getvalue(), ids))
  smooth = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint8)  # Makes filters worth it.
  files += [
    (cv2.imencode('.png', smooth, [cv2.IMWRITE_PNG_FILTER, kind])[1].tobytes(), smooth)
    for kind in (
      cv2.IMWRITE_PNG_FILTER_SUB,
      cv2.IMWRITE_PNG_FILTER_UP,
      cv2.IMWRITE_PNG_FILTER_AVG,
      cv2.IMWRITE_PNG_FILTER_PAETH,
    )
  ]
  files += [(interlaced(smooth), smooth), (interlaced(smooth[:3, :2]), smooth[:3, :2])]
  found = page.run_js(
    """
    const {decodeIds} = await import(new URL('static/png.js', document.baseURI));
    return Promise.all(args[0].map(async (file) => {
      const {width, height, ids} = await decodeIds(new Blob([new Uint8Array(file)]));
      return [height, width, [...ids]];
    }));""",
    [list(data) for data, _ in files],
  )
  for (data, ids), (height, width, values) in zip(files, found):
    np.testing.assert_array_equal(np.reshape(values, (height, width)), ids)
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(data))), ids)


def test_the_pages_repair_list_is_that_of_python(page, rng):
  for frames in (1, 6, 25, 90):
    values = np.round(rng.uniform(0, 1.3, (frames, 2)).clip(0, 1), 3)
    found = page.run_js(
      """
      const {framesToCheck} = await import(new URL('static/repair_list.js', document.baseURI));
      const values = new Map(args[0].map(([a, b], index) => [index, new Map([[4, a], [9, b]])]));
      return framesToCheck(values, args[0].length);""",
      values.tolist(),
    )
    expected = [entry._asdict() for entry in repair_list.frames_to_check(values, [4, 9])]
    assert [(e['index'], e['id'], e['confidence']) for e in found] == [
      (e['frame'], e['object_id'], e['confidence']) for e in expected
    ]


def test_written_masks_are_palette_files(page, rng):
  ids = rng.integers(0, 256, (21, 37), dtype=np.uint8)
  data = page.run_js(
    """
    const {encodeIds} = await import(new URL('static/png.js', document.baseURI));
    const blob = await encodeIds(new Uint8Array(args[0]), 37, 21);
    return [...new Uint8Array(await blob.arrayBuffer())];""",
    ids.ravel().tolist(),
  )
  image = Image.open(io.BytesIO(bytes(data)))
  assert image.mode == 'P'
  np.testing.assert_array_equal(np.array(image), ids)
  np.testing.assert_array_equal(np.reshape(image.getpalette(), (256, 3)), masks.DAVIS_PALETTE)


def numbered_video(path, fourcc, rate, count=40):
  """A video whose frames show their number in eight black or white fields."""
  writer = cv2.VideoWriter(
    str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*fourcc), rate, (160, 64)
  )
  assert writer.isOpened()
  for i in range(count):
    fields = np.array([255 * (i >> bit & 1) for bit in range(8)], np.uint8)
    writer.write(np.repeat(np.tile(fields.repeat(20), (64, 1))[..., None], 3, 2))
  writer.release()
  return path


@pytest.mark.parametrize(
  'name, fourcc, rate', [('clip.webm', 'VP80', 24), ('clip.mp4', 'vp09', 30)]
)
def test_every_frame_of_a_video(page, tmp_path, name, fourcc, rate):
  """The page finds how many frames there are, and takes each one: forwards and in any order."""
  page.open(numbered_video(tmp_path / name, fourcc, rate))
  order = [*range(40), 31, 2, 3, 39, 0]
  count, found_rate, seen = page.run_js(
    """
    const {source} = workspace.clip;
    const canvas = Object.assign(document.createElement('canvas'), {width: 160, height: 64});
    const context = canvas.getContext('2d', {willReadFrequently: true});
    const seen = [];
    for (const index of args[0]) {
      await source.withFrame(index, (picture) => context.drawImage(picture, 0, 0));
      const bit = (i) => context.getImageData(20 * i + 10, 32, 1, 1).data[0] > 127;
      seen.push([0, 1, 2, 3, 4, 5, 6, 7].reduce((sum, i) => sum + (bit(i) << i), 0));
    }
    return [source.count, source.framesPerSecond, seen];""",
    order,
  )
  assert (count, found_rate, seen) == (40, rate, order)


def test_demo_clip(page):
  """The clip's frames are those that OpenCV reads; its mask comes with it."""
  assets = packaged_files.DEMO_MASK.parent
  page.click('[data-open=demo]')
  page.wait(
    "return document.getElementById('busy').hidden && "
    "document.getElementById('clip-name').textContent === 'demo.mp4'"
  )
  page.settle()
  np.testing.assert_array_equal(page.ids(), masks.read_mask(assets / 'mask.png').ids)
  capture = cv2.VideoCapture(str(assets / 'clip.mp4'))
  expected = []
  while (frame := capture.read())[0]:
    expected.append(frame[1][::8, ::8, ::-1].astype(int))
  assert page.run_js('return workspace.clip.count') == len(expected) == 56
  for index in (0, 1, 29, 55, 28):
    page.go_to(index)
    pixels = page.run_js("""
      const context = document.getElementById('picture').getContext('2d');
      const {data} = context.getImageData(0, 0, 640, 360);
      const pixels = [];
      for (let y = 0; y < 360; y += 8) for (let x = 0; x < 640; x += 8)
        pixels.push(...data.subarray(4 * (640 * y + x), 4 * (640 * y + x) + 3));
      return pixels;""")
    distances = [np.abs(frame - np.reshape(pixels, (45, 80, 3))).mean() for frame in expected]
    assert np.argmin(distances) == index
    assert distances[index] < 4  # Two decoders, two conversions of colours.


@pytest.mark.parametrize('aspect', ['4/3', '3/4', '16/15', '10/11'])
def test_pixels_that_are_not_square(page, tmp_path, aspect):
  """The page paints on frames of the size that the command line segments."""
  height, width = 90, 121
  path = tmp_path / 'a.mp4'
  with av.open(str(path), 'w') as output:
    stream = output.add_stream('vp9', rate=10)
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    stream.codec_context.sample_aspect_ratio = Fraction(aspect)
    for _ in range(3):
      frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format='rgb24')
      output.mux(stream.encode(frame))
    output.mux(stream.encode())
  page.open(path)
  found = page.run_js('return [workspace.clip.source.height, workspace.clip.source.width]')
  film = reader.Film(path)
  assert tuple(found) == film.frame_size

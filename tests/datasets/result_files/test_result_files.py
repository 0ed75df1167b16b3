"""Masks in the forms of other tools, read back by the libraries of these tools."""

import dataclasses
from fractions import Fraction
import json
import sys
from xml.etree import ElementTree

import av
import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.mask_files import reading
from feelvos_tf.datasets.result_files import outline
from feelvos_tf.datasets.result_files import writing
from feelvos_tf.datasets.result_files.target import Files
from feelvos_tf.datasets.result_files.target import ResultFrame
from feelvos_tf.datasets.result_files.target import Target

SIZE = (34, 50)
NAMES = ('0007', '0008', '0009', '0010')


def test_coco(written, ids):
  coco_lib = pytest.importorskip('pycocotools.coco')
  coco = coco_lib.COCO(str(written[0] / 'coco' / 'annotations' / 'instances_default.json'))
  assert [c['name'] for c in coco.loadCats(coco.getCatIds())] == ['dog & <co>', 'ball']
  for index, name in enumerate(NAMES):
    (image,) = [i for i in coco.imgs.values() if i['file_name'] == f'{name}.jpg']
    found = coco.loadAnns(coco.getAnnIds(image['id']))
    assert {a['track_id'] for a in found} == set(np.unique(ids[index])) - {0}
    for annotation in found:
      where = ids[index] == annotation['track_id']
      np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), where)
      assert annotation['area'] == where.sum()
      x, y, width, height = annotation['bbox']
      assert where[y : y + height, x : x + width].sum() == where.sum()


def test_mots(written, ids):
  coco_mask = pytest.importorskip('pycocotools.mask')
  found = np.zeros_like(ids)
  for line in (written[0] / 'mots' / 'clip.txt').read_text().splitlines():
    frame, instance, number, height, width, counts = line.split(' ')
    assert int(instance) // 1000 == int(number)
    where = coco_mask.decode({'size': [int(height), int(width)], 'counts': counts.encode()})
    found[int(frame) - 1][where > 0] = int(instance) % 1000
  np.testing.assert_array_equal(found, ids)


def test_own_reader_takes_what_was_written(written, ids, tmp_path):
  """YOLO, CVAT and COCO are among the forms that --mask takes; ids stay or become places."""
  place = {3: 1, 17: 2, 20: 3}
  for path, index in (
    (written[0] / 'coco' / 'annotations' / 'instances_default.json', 1),
    (written[0] / 'yolo' / 'labels' / f'{NAMES[1]}.txt', 1),
    (written[0] / 'cvat' / 'annotations.xml', 0),  # The first frame of the tracks.
  ):
    if path.suffix == '.json':
      pytest.importorskip('pycocotools')
    found = reading.read_given_mask(path, SIZE, NAMES[index]).mask.ids
    expected = np.zeros_like(found)
    for object_id in np.unique(ids[index])[1:]:
      has_ids = path.suffix == '.json'  # `track_id` of COCO.
      expected[ids[index] == object_id] = object_id if has_ids else place[object_id]
    wrong = np.count_nonzero(found != expected)
    # The lines of YOLO's paths between parts may touch the middle of a pixel.
    assert wrong <= (8 if path.suffix == '.txt' else 0), path


def test_names_of_files_are_known_before_they_are_written(written):
  there = {
    form: sorted(p.relative_to(written[0] / form).as_posix() for p in folder.rglob('*.*'))
    for form in writing.FORMATS
    if (folder := written[0] / form).is_dir()
  }
  names = writing.file_names(there, Files('clip', NAMES, (3, 17, 20)))
  assert {form: sorted(found) for form, found in names.items()} == there
  assert names['cvat'] == ['annotations.xml'] and '17/0008.png' in names['objects']


def test_mots_in_16_bits_has_65_classes(tmp_path):
  ids = np.arange(1, 67, dtype=np.uint8)[np.newaxis]
  target = Target(tmp_path, 'clip', ids.shape, labels={66: 'object 65'})
  frames = [ResultFrame('0', 0, ids)]
  writing.write(frames, ['mots_png'], target)
  pixels = cv2.imread(str(tmp_path / 'mots_png' / 'instances' / '0.png'), cv2.IMREAD_UNCHANGED)
  assert pixels[0, [0, 63, 64, 65]].tolist() == [2001, 65064, 1065, 1066]  # Labels come first.
  with pytest.raises(ValueError, match='66 classes given, expected at most 65'):
    writing.write(frames, ['mots_png'], dataclasses.replace(target, labels={}))


def test_frames_that_are_left_out_have_no_masks(ids, tmp_path):
  """A track ends where frames are left out: a tool would show its last mask on them."""
  pytest.importorskip('pycocotools')
  frames = map(ResultFrame, NAMES, (3, 4, 20, 21), ids)
  forms = ['coco', 'mots', 'cvat', 'cvat_images']
  writing.write(frames, forms, Target(tmp_path, 'clip', SIZE))
  coco = json.loads((tmp_path / 'coco' / 'annotations' / 'instances_default.json').read_text())
  assert [image['frame_id'] for image in coco['images']] == [3, 4, 20, 21]
  lines = (tmp_path / 'mots' / 'clip.txt').read_text().splitlines()
  assert sorted({int(line.split()[0]) for line in lines}) == [4, 5, 21, 22]
  images = ElementTree.parse(tmp_path / 'cvat_images' / 'annotations.xml').iter('image')
  assert [image.get('id') for image in images] == ['3', '4', '20', '21']
  video = ElementTree.parse(tmp_path / 'cvat' / 'annotations.xml')
  assert video.findtext('.//size') == '22'
  found = {
    track.get('label'): [(int(m.get('frame')), m.get('outside')) for m in track.iter('mask')]
    for track in video.iter('track')
  }
  end = (5, '1')
  assert found == {
    'object 3': [(3, '0'), (4, '0'), end, (20, '0'), (21, '0')],
    'object 17': [(3, '0'), (4, '0'), end, (21, '0')],
    'object 20': [(4, '0'), end, (20, '0'), (21, '0')],
  }


def test_objects_are_white_on_black_from_the_first_frame_on(written, ids):
  for object_id in (3, 17, 20):
    for name, mask in zip(NAMES, ids):
      path = written[0] / 'objects' / str(object_id) / f'{name}.png'
      picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
      np.testing.assert_array_equal(picture, np.where(mask == object_id, 255, 0))


def test_cutouts(written, ids):
  for name, mask, frame in zip(NAMES, ids, written[1]):
    picture = cv2.imread(str(written[0] / 'cutouts' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(picture[..., 3], np.where(mask > 0, 255, 0))
    np.testing.assert_array_equal(picture[..., 2::-1][mask > 0], frame[mask > 0])
    assert not picture[mask == 0].any()


@pytest.mark.parametrize(
  'name, decoder, least', [('prores/alpha.mov', None, 0.99), ('vp9/alpha.webm', 'libvpx-vp9', 0.97)]
)
def test_films_with_transparency(written, ids, name, decoder, least):
  frames = []
  with av.open(str(written[0] / name)) as container:
    stream = container.streams.video[0]
    assert float(stream.average_rate) == 12.5
    # FFmpeg's own decoder of VP9 leaves transparency out.
    context = av.CodecContext.create(decoder, 'r') if decoder else stream.codec_context
    for packet in container.demux(stream):
      for shown in context.decode(packet if packet.size else None):
        assert shown.colorspace == 1  # BT.709
        shown = shown.reformat(format='rgba', src_colorspace='ITU709')
        frames.append(shown.to_ndarray())
  assert len(frames) == len(NAMES)
  for found, mask, frame in zip(frames, ids, written[1]):
    assert found.shape == (*SIZE, 4)
    assert np.mean((found[..., 3] > 127) == (mask > 0)) > least
    # Colours are those of the frame, also around objects; VP9 has chroma of half the size.
    assert np.abs(found[..., :3].astype(int) - frame).mean() < (4 if decoder is None else 14)


@pytest.mark.parametrize('form', ['prores', 'vp9'])
@pytest.mark.parametrize(
  'rate, times, shown',
  [
    (10, (0.5, 0.6, 1.5, 1.55), (0, 0.1, 1, 1.05)),  # From the first frame that is written.
    (24000 / 1001, (0, 0.042, 0.083, 0.125), np.arange(4) * 1.001 / 24),  # Rounded, as in Matroska.
    (25, (None,) * 4, (0, 0.04, 0.08, 0.12)),
    (2e8 / 833471, (None,) * 4, np.arange(4) * 833471 / 2e8),  # Slow motion of a telephone.
  ],
)
def test_films_with_transparency_have_the_times_of_the_video(
  ids, tmp_path, form, rate, times, shown
):
  stamps = [None if t is None else Fraction(t) for t in times]
  frames = map(ResultFrame, NAMES, range(4), ids, np.zeros((4, *SIZE, 3), np.uint8), stamps)
  writing.write(frames, [form], Target(tmp_path, 'clip', SIZE, rate))
  with av.open(str(next((tmp_path / form).iterdir()))) as film:
    found = [float(frame.time) for frame in film.decode(video=0)]
  milliseconds = form == 'vp9'  # WebM has no finer ones.
  assert found == pytest.approx(shown, abs=6e-4 if milliseconds else 1e-6)


def test_outlines_hold_the_middles_of_their_pixels(ids):
  where = ids[1] == 3
  found = outline.polygons(where)
  assert [hole for _, hole in found] == [False, True, False]
  canvas = np.zeros(SIZE, bool)
  for points, _ in found:  # Even-odd.
    path = np.round(points * 4).astype(np.int32)
    fine = cv2.fillPoly(np.zeros((SIZE[0] * 4, SIZE[1] * 4), np.uint8), [path], 1)
    canvas ^= fine[2::4, 2::4].astype(bool)
  assert np.count_nonzero(canvas != where) <= 2


def test_what_is_refused():
  with pytest.raises(ValueError, match="format 'png' given, expected some of coco, yolo, mots"):
    writing.check_formats(['coco', 'png'])
  with pytest.raises(ValueError, match="label 'dog' given, expected ID:NAME"):
    writing.parse_labels(['dog'])
  assert writing.parse_labels(['1:dog', '20:a:b']) == {1: 'dog', 20: 'a:b'}


@pytest.mark.parametrize('form, needs', [('mots', 'pycocotools'), ('vp9', 'libvpx-vp9')])
def test_what_is_not_installed_is_said_before_a_run(monkeypatch, form, needs):
  def none(name, mode):
    raise ValueError(name)

  monkeypatch.setattr(av.codec, 'Codec', none)
  monkeypatch.setitem(sys.modules, 'pycocotools', None)
  writing.check_installed(['yolo', 'cvat'])
  with pytest.raises(ValueError, match=needs):
    writing.check_installed(['yolo', form])


def test_masks_of_folder(tmp_path, ids):
  masks.write_mask(tmp_path / '10.png', ids[1])
  masks.write_mask(tmp_path / '9.png', ids[0])
  found = list(writing.masks_of_folder(tmp_path))
  assert [name for name, _ in found] == ['9', '10']
  np.testing.assert_array_equal(found[1][1], ids[1])
  with pytest.raises(FileNotFoundError, match='no such folder of masks'):
    next(writing.masks_of_folder(tmp_path / 'none'))


def test_masks_of_thin_objects_in_a_folder(tmp_path):
  """Eight of two pixels side by side were refused as antialiased."""
  thin = np.zeros((40, 60), np.uint8)
  thin[8:30, 10:26] = np.repeat(np.arange(1, 9), 2)
  masks.write_mask(tmp_path / '1.png', thin)
  ((_, found),) = writing.masks_of_folder(tmp_path)
  np.testing.assert_array_equal(found, thin)


def test_a_damaged_json_is_not_written(written):
  content = json.loads((written[0] / 'coco' / 'annotations' / 'instances_default.json').read_text())
  assert content['tracks'] == [
    {'id': 3, 'category_id': 1, 'video_id': 1},
    {'id': 17, 'category_id': 1, 'video_id': 1},
    {'id': 20, 'category_id': 2, 'video_id': 1},
  ]

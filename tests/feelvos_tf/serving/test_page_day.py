"""A day's work on the page: late object, correction, backwards, handed on in three forms."""

import json
import zipfile

import cv2
import numpy as np

from feelvos_tf.datasets.mask_files import cvat as cvat_reader

from .page_clip import by_command_line
from .page_clip import check_masks
from .page_clip import choose
from .page_clip import COUNT
from .page_clip import HEIGHT
from .page_clip import stroke
from .page_clip import type_into
from .page_clip import WIDTH


def test_a_day(page, page_server, frames, frame_files, tmp_path):
  """Every run gives the masks of the command line; the exports hold those of the last run."""
  command = lambda given, name, direction='forward': by_command_line(
    page_server, frame_files, given, tmp_path / name, direction
  )
  empty = np.zeros((HEIGHT, WIDTH), np.uint8)
  first = stroke(empty.copy(), 1, 30, (40, 40))
  page.open(*frame_files)
  page.set_size(30)
  page.mouse((40, 40))
  type_into(page.find('#objects li:nth-child(1) .name'), 'ball')
  page.go_to(2)  # An object that enters later.
  page.click('#add-object')
  page.mouse((110, 60))
  late = stroke(empty.copy(), 2, 30, (110, 60))
  page.run()
  found = command({0: first, 2: late}, 'late')
  check_masks(page, found)
  assert not (found[1] == 2).any() and (found[2] == 2).any()

  page.go_to(4)  # Object 2 is selected.
  page.mouse((60, 70))
  right = stroke(found[4].copy(), 2, 30, (60, 70))
  page.run()
  forward = command({0: first, 2: late, 4: right}, 'corrected')
  check_masks(page, forward)

  choose(page, '#direction', 'backward')
  page.run()
  given = {0: first, 2: forward[2], 4: right}
  expected = command(given, 'backward', 'backward')
  check_masks(page, {**expected, 5: forward[5]})
  check_exports(page, frames, expected)


def check_exports(page, frames, expected):
  """COCO, CVAT and cut-outs of the masks that the page has."""
  found = {}
  for form in ('coco', 'cvat', 'cutouts'):
    choose(page, '#form', form)
    page.click('#export')
    found[form] = zipfile.ZipFile(page.downloaded(f'_{form}.zip'))
  coco = json.loads(found['coco'].read('annotations/instances_default.json'))
  assert {c['name'] for c in coco['categories']} == {'ball', 'object 2'}
  areas = {(a['image_id'] - 1, a['track_id']): a['area'] for a in coco['annotations']}
  xml = found['cvat'].read('annotations.xml')
  for index, ids in expected.items():
    for object_id in (1, 2):
      assert areas.get((index, object_id), 0) == np.count_nonzero(ids == object_id)
    _, tracks = cvat_reader.read(xml, 'cvat', f'shot_{index + 8}', index)
    for track in tracks:
      object_id = 1 if track.name == 'ball' else 2
      np.testing.assert_array_equal(track.where, ids == object_id)
    data = np.frombuffer(found['cutouts'].read(f'shot_{index + 8}.png'), np.uint8)
    cut = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(cut[..., 3], np.where(ids, 255, 0))
    np.testing.assert_array_equal(cut[ids > 0, 2::-1], frames[index][ids > 0])
  assert len(found['cutouts'].namelist()) == COUNT

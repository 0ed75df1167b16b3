"""feelvos convert-masks: from a folder of masks to other forms, and bad flags."""

from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks

MODULE = 'tools.convert_masks'


@pytest.fixture
def result(tmp_path):
  """A folder with frames 0 to 2 and, of the last two of them, masks."""
  for folder in ('frames', 'result/masks'):
    (tmp_path / folder).mkdir(parents=True)
  ids = np.zeros((16, 20), np.uint8)
  ids[2:9, 3:12] = 5
  for i in range(3):
    cv2.imwrite(str(tmp_path / 'frames' / f'{i}.png'), np.full((16, 20, 3), 40 * i, np.uint8))
    if i:
      masks.write_mask(tmp_path / 'result' / 'masks' / f'{i}.png', ids)
  return tmp_path


def test_forms_and_what_is_refused(run_main, result):
  given = [f'--masks={result / "result" / "masks"}', f'--output={result / "out"}']
  process = run_main(
    MODULE, *given, '--format=yolo,cutouts', f'--input={result / "frames"}', '--label=5:dog'
  )
  assert process.returncode == 0, process.stderr
  assert f'2 masks as yolo, cutouts in {result / "out"}' in process.stdout
  names = sorted(str(p.relative_to(result / 'out')) for p in (result / 'out').rglob('*.*'))
  assert names == [
    'cutouts/1.png',
    'cutouts/2.png',
    'yolo/data.yaml',
    'yolo/labels/1.txt',
    'yolo/labels/2.txt',
  ]
  picture = cv2.imread(str(result / 'out' / 'cutouts' / '2.png'), cv2.IMREAD_UNCHANGED)
  assert picture[5, 5].tolist() == [80, 80, 80, 255] and picture[0, 0].tolist() == [0, 0, 0, 0]
  for flags, code, text in (
    ([*given, '--format=yolo'], 1, 'is not empty; choose another --output'),
    ([*given, '--format=vp9'], 2, '--input is missing: cutouts, prores and vp9'),
    ([*given, '--format=png'], 2, "--format 'png' given, expected some of coco"),
    (given, 2, '--format is missing'),
  ):
    process = run_main(MODULE, *flags)
    assert process.returncode == code
    assert text in process.stderr and len(process.stderr.splitlines()) == 1


@pytest.mark.parametrize('form', ['cvat', 'cvat_images'])
def test_masks_of_some_frames_have_the_numbers_of_these(run_main, result, form):
  found = result / 'result' / 'masks'
  (found / '1.png').rename(found / '0.png')
  process = run_main(
    MODULE,
    f'--masks={found}',
    f'--output={result / "out"}',
    f'--format={form}',
    f'--input={result / "frames"}',
  )
  assert process.returncode == 0, process.stderr
  root = ElementTree.parse(result / 'out' / form / 'annotations.xml').getroot()
  if form == 'cvat_images':
    assert [image.get('id') for image in root.iter('image')] == ['0', '2']
  else:  # The track is outside on the frame without a mask.
    shown = [(mask.get('frame'), mask.get('outside')) for mask in root.iter('mask')]
    assert shown == [('0', '0'), ('1', '1'), ('2', '0')]
  assert root.findtext('.//stop_frame') == '2'

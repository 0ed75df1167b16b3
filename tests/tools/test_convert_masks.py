"""feelvos convert-masks: from a folder of masks to other forms, and bad flags."""

import unicodedata
from xml.etree import ElementTree

import av
import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.files import whole_file
from feelvos_tf.tools import convert_masks

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


def test_what_another_killed_command_left_lets_no_files_be_replaced(run_main, result):
  """Only a killed run of this command says that the files are not whole."""
  out = result / 'out'
  (out / 'yolo').mkdir(parents=True)
  (out / 'yolo' / 'data.yaml').write_text('of segment --format=yolo')
  given = [f'--masks={result / "result" / "masks"}', f'--output={out}', '--format=yolo']
  for name in ('overlay.mp4', 'temporary'):
    whole_file.temporary_name(out / name).touch()
  process = run_main(MODULE, *given)
  assert process.returncode == 1 and 'is not empty; choose another --output' in process.stderr
  assert (out / 'yolo' / 'data.yaml').read_text() == 'of segment --format=yolo'
  whole_file.temporary_name(out / convert_masks._TEMPORARY).mkdir()
  process = run_main(MODULE, *given)
  assert process.returncode == 0, process.stderr
  assert (out / 'yolo' / 'data.yaml').read_text().startswith('path: ')


def _write_film(path):
  """Three frames."""
  with av.open(str(path), 'w') as output:
    stream = output.add_stream('mpeg4', rate=25, width=20, height=16, pix_fmt='yuv420p')
    for i in range(3):
      picture = np.full((16, 20, 3), 40 * i, np.uint8)
      output.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
    output.mux(stream.encode(None))


def _frames_of(path):
  """[(number, whether its mask is outside)] of a CVAT file."""
  root = ElementTree.parse(path / 'cvat' / 'annotations.xml').getroot()
  return [(int(mask.get('frame')), mask.get('outside') == '1') for mask in root.iter('mask')]


@pytest.mark.parametrize(
  'names, frames, warning',
  [
    # Names that `segment` gives frames of films.
    (['00001', '00002'], [1, 2], '00001.png is taken for frame 1 of the video'),
    (['00100', '00105'], [100, 105], '00100.png is taken for frame 100 of the video'),
    (['00000', '00001'], [0, 1], ''),
    (['1', '2'], [0, 1], ''),
    (['00001', 'b'], [0, 1], ''),
  ],
)
def test_masks_without_their_video_have_the_numbers_of_their_names(
  run_main, result, names, frames, warning
):
  found = result / 'result' / 'masks'
  for number, name in ((2, names[1]), (1, names[0])):
    (found / f'{number}.png').rename(found / f'{name}.png')
  process = run_main(MODULE, f'--masks={found}', f'--output={result / "out"}', '--format=cvat')
  assert process.returncode == 0, process.stderr
  assert [at for at, outside in _frames_of(result / 'out') if not outside] == frames
  assert warning in process.stderr and bool(warning) == bool(process.stderr)


@pytest.mark.parametrize('film', [False, True])
def test_a_track_ends_with_the_last_mask(run_main, result, film):
  """Tools show the last mask on all frames behind it; the last frame of the video has none."""
  frames = result / ('film.mp4' if film else 'frames')
  if film:
    _write_film(frames)
  for index, end in ((1, [(2, True)]), (2, [])):
    found, output = result / f'masks{index}', result / f'out{index}'
    found.mkdir()
    ids = np.full((16, 20), 5, np.uint8)
    masks.write_mask(found / (f'{index:05d}.png' if film else f'{index}.png'), ids)
    process = run_main(
      MODULE, f'--masks={found}', f'--output={output}', '--format=cvat', f'--input={frames}'
    )
    assert process.returncode == 0, process.stderr
    assert _frames_of(output) == [(index, False), *end]


@pytest.mark.parametrize(
  'film, names, error',
  [
    (
      False,
      ['1', '1b'],
      '1b.png: a mask without a frame given, expected names of frames of frames',
    ),
    (False, ['2', '3'], '3.png: a mask without a frame given'),
    (False, ['a', 'b', 'c', 'd'], 'a.png: a mask without a frame given'),
    (False, ['a', 'b'], ''),
    (True, ['1', '00001'], 'a further mask of frame 1 given, expected one of a frame'),
    (True, ['00001', '00001b', '00002'], '00002.png: a further mask of frame 2 given'),
  ],
)
def test_no_two_masks_have_one_number(run_main, result, film, names, error):
  found, source = result / 'named', result / ('film.mp4' if film else 'frames')
  found.mkdir()
  for name in names:
    masks.write_mask(found / f'{name}.png', np.full((16, 20), 5, np.uint8))
  if film:
    _write_film(source)
  process = run_main(
    MODULE, f'--masks={found}', f'--output={result / "out"}', '--format=cvat', f'--input={source}'
  )
  assert process.returncode == bool(error) and error in process.stderr
  if not error:
    assert _frames_of(result / 'out') == [(0, False), (1, False), (2, True)]


@pytest.mark.parametrize('form', ['cvat', 'cvat_images'])
def test_masks_of_some_frames_have_the_numbers_of_these(run_main, result, form):
  found = result / 'result' / 'masks'
  (found / '1.png').rename(found / '0.png')
  (result / 'frames' / '2.png').rename(result / 'frames' / '2.jpeg')
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
    images = [(image.get('id'), image.get('name')) for image in root.iter('image')]
    assert images == [('0', '0.png'), ('2', '2.jpeg')]  # As the files are called.
  else:  # The track is outside on the frame without a mask.
    shown = [(mask.get('frame'), mask.get('outside')) for mask in root.iter('mask')]
    assert shown == [('0', '0'), ('1', '1'), ('2', '0')]
  assert root.findtext('.//stop_frame') == '2'


@pytest.mark.parametrize('form, other', [('NFD', 'NFC'), ('NFC', 'NFD')])
def test_letters_of_masks_may_be_composed_in_another_way(run_main, result, form, other):
  """Masks of the last frames became those of the first ones, and cut-outs were refused."""
  frame, name = (unicodedata.normalize(way, 'Bär') for way in (form, other))
  found, frames = result / 'result' / 'masks', result / 'frames'
  for folder, beginning in ((found, name), (frames, frame)):
    for path in list(folder.iterdir()):
      path.rename(folder / f'{beginning}{path.name}')
  process = run_main(
    MODULE,
    f'--masks={found}',
    f'--output={result / "out"}',
    '--format=cvat_images,cutouts',
    f'--input={frames}',
  )
  assert process.returncode == 0, process.stderr
  root = ElementTree.parse(result / 'out' / 'cvat_images' / 'annotations.xml').getroot()
  images = [(image.get('id'), image.get('name')) for image in root.iter('image')]
  assert images == [('1', f'{frame}1.png'), ('2', f'{frame}2.png')]
  written = sorted(p.name for p in (result / 'out' / 'cutouts').iterdir())
  assert written == [f'{frame}1.png', f'{frame}2.png']

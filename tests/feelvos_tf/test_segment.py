"""feelvos segment from end to end, and every kind of bad input."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unicodedata
import weakref

import cv2
import numpy as np
from PIL import Image
import programs
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.video import NumberedNames
from feelvos_tf.datasets.video import Video
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model import precision
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import segment_run

MODULE = 'feelvos_tf.segment'
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SIZE = (33, 49)


def write_png(path, array, palette=None, mode=None):
  """Writes an array as Pillow takes it, with a palette if given; returns the path."""
  path.parent.mkdir(parents=True, exist_ok=True)
  image = Image.fromarray(array)
  if mode:
    image = image.convert(mode)
  if palette is not None:
    image.putpalette(palette.tobytes())
  image.save(path)
  return path


def ids_mask(*ids):
  mask = np.zeros(SIZE, np.uint8)
  width = SIZE[1] // len(ids)
  for i, object_id in enumerate(ids):
    mask[8:25, i * width + 4 : (i + 1) * width - 2] = object_id
  return mask


@pytest.fixture
def images(rng):
  """Five smooth frames."""
  small = rng.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
  return [cv2.resize(image, SIZE[::-1]) for image in small]


@pytest.fixture
def frames(tmp_path, images):
  """A folder of frames whose natural order is not the alphabetical one."""
  for i, image in enumerate(images):
    write_png(tmp_path / 'frames' / f'frame{i + 8}.png', image)
  return tmp_path / 'frames'


@pytest.fixture
def palette(rng):
  return rng.integers(0, 256, (256, 3), dtype=np.uint8)


def outputs(path):
  """Files below a folder without those that the program keeps for itself."""
  found = [p for p in path.rglob('*') if p.is_file() and not p.name.startswith('.feelvos_')]
  return sorted(str(p.relative_to(path)) for p in found)


def assert_one_line(process, code, *parts):
  """Nothing but one error line on stderr (and lines of progress, if it came that far)."""
  assert process.returncode == code, process.stderr
  *progress, line = process.stderr.splitlines()
  goes_on = re.compile(r'(loading the model|.*\d frames).*')
  assert all(goes_on.fullmatch(other) for other in progress), process.stderr
  assert line.startswith(f'{MODULE}: error: ')
  for part in parts:
    assert str(part) in line, line


# ---- What it makes.


def test_folder_of_frames(run_main, frames, tmp_path, copying_weights, palette):
  mask = ids_mask(3, 17, 255)
  given = write_png(tmp_path / 'mask.png', mask, palette)
  out = tmp_path / 'out' / 'deep'
  process = run_main(
    MODULE, f'--input={frames}', f'--mask={given}', f'--output={out}', f'--model={copying_weights}'
  )
  assert process.returncode == 0, process.stderr
  assert f'frames: 5 masks in {out}/masks' in process.stdout
  assert 'Computes in float32' in process.stdout
  assert 'frames/s' in process.stderr
  assert outputs(out) == [
    'frames.csv',
    *(f'masks/{name}.png' for name in sorted(f'frame{i}' for i in range(8, 13))),
    'overlay.mp4',
    'overview.png',
  ]
  for name in ('frame8', 'frame12'):
    written = masks.read_mask(out / 'masks' / f'{name}.png')
    np.testing.assert_array_equal(written.palette, palette)
    np.testing.assert_array_equal(written.ids[::4, ::4], mask[::4, ::4])
  np.testing.assert_array_equal(masks.read_mask(out / 'masks' / 'frame8.png').ids, mask)
  assert cv2.imread(str(out / 'overview.png')).size
  with_overlay = folder.open_video(out / 'overlay.mp4')
  assert sum(1 for _ in with_overlay.frames()) == 5


def test_video_file_and_overwrite(run_main, images, tmp_path, copying_weights):
  clip = str(tmp_path / 'clip.avi')
  writer = cv2.VideoWriter(clip, cv2.VideoWriter_fourcc(*'MJPG'), 12, (48, 32))
  for image in images:
    writer.write(np.ascontiguousarray(image[:32, :48]))
  writer.release()
  given = write_png(tmp_path / 'mask.png', ids_mask(255)[:32, :48])  # Black and white.
  out = tmp_path / 'out'
  flags = [
    f'--input={clip}',
    f'--mask={given}',
    f'--output={out}',
    f'--model={copying_weights}',
    '--max_internal_size=40',
    '--nopictures',
  ]
  (out / 'masks').mkdir(parents=True)
  (out / 'masks' / '00000.png').write_text('something older')
  assert_one_line(run_main(MODULE, *flags), 1, f'{out} is not empty', '--overwrite')
  overwrite = run_main(MODULE, *flags, '--overwrite')
  assert_one_line(overwrite, 1, '00000.png: a file that no earlier run wrote', 'move it away')
  assert (out / 'masks' / '00000.png').read_text() == 'something older'
  (out / 'masks' / '00000.png').rename(out / 'masks' / 'mine.png')
  process = run_main(
    MODULE,
    *flags,
    '--overwrite',
    '--previous_prediction=probabilities',
    '--max_reference_pixels_per_object=50',
    '--flip',
    '--image_pyramid=0.75,1',
  )
  assert process.returncode == 0, process.stderr
  assert outputs(out) == ['frames.csv', *(f'masks/{i:05d}.png' for i in range(5)), 'masks/mine.png']
  assert (out / 'masks' / 'mine.png').read_text() == 'something older'
  with Image.open(out / 'masks' / '00004.png') as image:
    assert set(np.unique(image)) == {0, 255}


def test_the_default_model_computes_in_what_is_fast_here(
  run_main, frames, tmp_path, copying_weights
):
  given = write_png(tmp_path / 'mask.png', ids_mask(1))
  flags = [
    f'--input={frames}',
    f'--mask={given}',
    f'--output={tmp_path / "out"}',
    '--nopictures',
    '--overwrite',
  ]
  expected = precision.resolve(precision.AUTO)
  for more in ([], [f'--model={copying_weights}', '--precision=auto']):
    process = run_main(MODULE, *flags, *more)
    assert process.returncode == 0, process.stderr
    assert f'Computes in {expected}' in process.stdout, more


def test_a_number_of_reference_pixels_overrules_what_the_weights_file_says():
  code = (
    'from absl import flags; from feelvos_tf.runtime import segmenter_flags as options; '
    'options.define_flags(); flags.FLAGS(["x", *{}]); print(options.model_overrides())'
  )
  for given, expected in (
    ([], {}),
    (
      ['--max_reference_pixels_per_object=0'],
      {'max_reference_pixels_per_object': None, 'max_reference_imbalance': None},
    ),
    (
      ['--max_reference_pixels_per_object=70'],
      {'max_reference_pixels_per_object': 70, 'max_reference_imbalance': None},
    ),
  ):
    process = programs.run_code(code.format(given))
    assert process.stdout.strip() == str(expected), process.stderr


@pytest.fixture
def davis(tmp_path, images, palette):
  """A root with a palette sequence, a black and white one, and one with a void region."""
  root = tmp_path / 'DAVIS'
  void = ids_mask(2, 3)
  void[:4] = 255
  for name, mask, colours in (
    ('ducks', ids_mask(1, 5), palette),
    ('bear', ids_mask(255), None),
    ('void', void, palette),
  ):
    for i, image in enumerate(images[:3]):
      write_png(root / 'JPEGImages' / '480p' / name / f'{i:05d}.png', image)
    write_png(root / 'Annotations' / '480p' / name / '00000.png', mask, colours)
  return root


def test_davis_style_root(run_main, davis, tmp_path, copying_weights, palette):
  out = tmp_path / 'out'
  process = run_main(
    MODULE,
    f'--input={davis}',
    '--sequence=ducks',
    '--sequence=bear',
    '--sequence=void',
    f'--output={out}',
    f'--model={copying_weights}',
  )
  assert process.returncode == 0, process.stderr
  names = ('bear', 'ducks', 'void')
  assert outputs(out) == sorted(
    [f'masks/{name}/{i:05d}.png' for name in names for i in range(3)]
    + [f'{name}.{kind}' for name in names for kind in ('frames.csv', 'overlay.mp4', 'overview.png')]
  )
  last = masks.read_mask(out / 'masks' / 'ducks' / '00002.png')
  np.testing.assert_array_equal(last.palette, palette)
  assert set(np.unique(last.ids)) == {0, 1, 5}
  with Image.open(out / 'masks' / 'bear' / '00002.png') as image:
    assert set(np.unique(image)) == {0, 255}
  # Void in a data set's mask is nobody's: no object is made of it.
  assert set(np.unique(masks.read_mask(out / 'masks' / 'void' / '00002.png').ids)) == {0, 2, 3}


def test_a_sequence_whose_letters_are_composed_in_another_way(
  run_main, davis, tmp_path, copying_weights
):
  one, two = (unicodedata.normalize(form, 'Bär') for form in ('NFC', 'NFD'))
  for part, name in (('JPEGImages', one), ('Annotations', two)):
    (davis / part / '480p' / 'ducks').rename(davis / part / '480p' / name)
  process = run_main(
    MODULE,
    f'--input={davis}',
    f'--sequence={two}',
    f'--output={tmp_path / "out"}',
    f'--model={copying_weights}',
    '--nopictures',
  )
  assert process.returncode == 0, process.stderr
  assert len(list((tmp_path / 'out' / 'masks' / one).iterdir())) == 3


def test_unreadable_frame_in_the_middle_keeps_what_was_written(
  run_main, frames, tmp_path, copying_weights
):
  (frames / 'frame11.png').write_bytes(b'not an image')
  given = write_png(tmp_path / 'mask.png', ids_mask(1), masks.DAVIS_PALETTE)
  out = tmp_path / 'out'
  process = run_main(
    MODULE, f'--input={frames}', f'--mask={given}', f'--output={out}', f'--model={copying_weights}'
  )
  assert_one_line(process, 1, 'frame11.png: unreadable picture', 'replace the file or remove it')
  assert outputs(out) == [
    'frames.csv',
    'masks/frame10.png',
    'masks/frame8.png',
    'masks/frame9.png',
    'overlay.mp4',
    'overview.png',
  ]
  for name in ('frame8', 'frame10'):
    assert masks.read_mask(out / 'masks' / f'{name}.png').object_ids == (1,)
  assert sum(1 for _ in folder.open_video(out / 'overlay.mp4').frames()) == 3


def test_seeded_model_says_that_it_is_untrained(run_main, frames, tmp_path):
  given = write_png(tmp_path / 'mask.png', ids_mask(1), masks.DAVIS_PALETTE)
  for path in sorted(frames.iterdir())[1:]:
    path.unlink()  # A video of one frame.
  process = run_main(
    MODULE,
    f'--input={frames}',
    f'--mask={given}',
    f'--output={tmp_path / "o"}',
    '--seeded_model=mobilenet_v2',
    '--nopictures',
  )
  assert process.returncode == 0, process.stderr
  assert 'Untrained: mobilenet_v2' in process.stdout
  assert outputs(tmp_path / 'o') == ['frames.csv', 'masks/frame10.png']


@pytest.mark.parametrize(
  'number, code', [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_interrupt_leaves_valid_files(tmp_path, rng, copying_weights, number, code):
  image = write_png(
    tmp_path / 'frames' / '00000.png', rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
  )
  for i in range(1, 3000):
    os.link(image, tmp_path / 'frames' / f'{i:05d}.png')
  given = write_png(tmp_path / 'mask.png', ids_mask(1), masks.DAVIS_PALETTE)
  out = tmp_path / 'out'
  flags = [f'--input={tmp_path / "frames"}', f'--mask={given}', f'--output={out}']
  process = subprocess.Popen(
    [sys.executable, '-m', MODULE, *flags, f'--model={copying_weights}'],
    text=True,
    stderr=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    start_new_session=True,
  )
  deadline = time.monotonic() + 200
  while len(list(out.glob('masks/*.png'))) < 5 and time.monotonic() < deadline:
    assert process.poll() is None, process.stderr.read()
    time.sleep(0.05)
  second = programs.run(MODULE, *flags, '--overwrite')
  assert_one_line(second, 1, f'{out}: another run is writing there')
  os.killpg(process.pid, number)  # As a terminal does: to ffmpeg as well.
  _, stderr = process.communicate(timeout=60)
  assert process.returncode == code
  assert 'Traceback' not in stderr
  assert 'what was written so far is valid' in stderr
  files = sorted(out.glob('masks/*'))
  assert 5 <= len(files) < 3000
  assert all(masks.read_mask(path).object_ids == (1,) for path in files)
  assert not list(out.rglob('*.tmp*'))
  assert sum(1 for _ in folder.open_video(out / 'overlay.mp4').frames()) == len(files)


# ---- Memory.


class CountedFrame(np.ndarray):
  """A frame that can be counted while it lives."""


class EndlessVideo(Video):
  """Frames made when asked for; knows how many of them were alive at once."""

  def __init__(self, num_frames):
    self.name, self.num_frames, self.frame_size = 'made up', num_frames, SIZE
    self.frame_names = NumberedNames(num_frames)
    self.alive = self.most = 0

  def frames(self, start=0):
    for i in range(start, self.num_frames):
      frame = np.full((*SIZE, 3), i % 256, np.uint8).view(CountedFrame)
      self.alive += 1
      self.most = max(self.most, self.alive)
      weakref.finalize(frame, self._died)
      yield frame

  def _died(self):
    self.alive -= 1

  def mask(self, index):
    return None


def test_a_long_video_holds_a_few_frames(tmp_path, copying_graph):
  """Reading ahead, the segmenter, writing behind and the pictures hold a few frames each.

  How many of these places are taken depends on which thread is behind; their number does not
  depend on the length of the video.
  """
  video = EndlessVideo(100)
  with result_folder.ResultFolder(tmp_path / 'out', 'a') as output:
    count = segment_run.segment(
      VideoSegmenter(copying_graph), video, masks.Mask(ids_mask(1)), output
    )
  assert count == len(list((tmp_path / 'out' / 'masks').iterdir())) == 100
  assert video.most <= 16


def test_masks_on_several_frames_of_a_range(run_main, frames, tmp_path, copying_weights, palette):
  """frame8 to frame12 are frames 0 to 4; objects 3, then also 9, until 3 is removed."""
  late = np.zeros(SIZE, np.uint8)
  late[28:32, 8:40] = 9
  write_png(tmp_path / 'late.png', late, palette)
  given = write_png(tmp_path / 'first.png', ids_mask(3), palette)
  out = tmp_path / 'out'
  process = run_main(
    MODULE,
    f'--input={frames}',
    f'--mask={given}',
    f'--mask=frame10:{tmp_path / "late.png"}',
    '--remove=3@3',
    '--start=1',
    '--end=frame11',
    '--format=cvat,cvat_images,cutouts',
    '--label=9:ball',
    f'--output={out}',
    f'--model={copying_weights}',
  )
  assert process.returncode == 0, process.stderr
  assert 'frames: masks given on frames 1, 2' in process.stdout
  assert outputs(out) == [
    *sorted(f'cutouts/frame{i}.png' for i in range(9, 12)),
    'cvat/annotations.xml',
    'cvat_images/annotations.xml',
    'frames.csv',
    *sorted(f'masks/frame{i}.png' for i in range(9, 12)),
    'overlay.mp4',
    'overview.png',
  ]
  assert 'name="frame10.png"' in (out / 'cvat_images' / 'annotations.xml').read_text()
  text = (out / 'cvat' / 'annotations.xml').read_text()
  assert 'label="ball"' in text
  assert '<mask frame="4" keyframe="1" outside="1"' in text  # Frame 4 is left out.
  written = [masks.read_mask(out / 'masks' / f'frame{i}.png') for i in range(9, 12)]
  assert [mask.object_ids for mask in written] == [(3,), (3, 9), (9,)]
  np.testing.assert_array_equal(written[1].ids == 9, late == 9)
  np.testing.assert_array_equal(written[2].palette, palette)


def test_a_box_instead_of_a_mask(run_main, frames, tmp_path, copying_weights):
  """--preview shows it and ends; the same flags without it segment."""
  flags = [f'--input={frames}', f'--output={tmp_path / "out"}', f'--model={copying_weights}']
  flags += ['--box=6,8,20,17,id=4', '--polygon=frame8:30,5;45,5;45,20;30,20', '--nopictures']
  process = run_main(MODULE, *flags, f'--preview={tmp_path / "first.png"}')
  assert process.returncode == 0, process.stderr
  assert 'first.png shows the mask; leave out --preview' in process.stdout
  assert not (tmp_path / 'out').exists()
  drawn = masks.read_mask(tmp_path / 'first.mask.png')
  assert drawn.object_ids == (1, 4)
  np.testing.assert_array_equal(np.argwhere(drawn.ids == 1)[[0, -1]], [[5, 30], [19, 44]])
  assert not (drawn.ids == 4)[:, 26:].any()
  assert cv2.imread(str(tmp_path / 'first.png')).shape == (*SIZE, 3)
  process = run_main(MODULE, *flags)
  assert process.returncode == 0, process.stderr
  first = masks.read_mask(tmp_path / 'out' / 'masks' / 'frame8.png')
  np.testing.assert_array_equal(first.ids, drawn.ids)


def test_a_pipe(tmp_path, images, copying_weights):
  clip = tmp_path / 'clip.avi'
  writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*'MJPG'), 12, (48, 32))
  for image in images:
    writer.write(np.ascontiguousarray(image[:32, :48]))
  writer.release()
  given = write_png(tmp_path / 'first.png', ids_mask(3)[:32, :48])
  flags = ['--input=-', f'--mask={given}', f'--output={tmp_path / "out"}', '--end=3']
  process = subprocess.run(
    [sys.executable, '-m', MODULE, *flags, f'--model={copying_weights}'],
    cwd=ROOT,
    input=clip.read_bytes(),
    capture_output=True,
    timeout=300,
    check=False,
  )
  assert process.returncode == 0, process.stderr
  assert b'pipe: 4 masks' in process.stdout
  assert len(outputs(tmp_path / 'out')) == 7  # 4 masks, frames.csv, two pictures.


# ---- What it refuses: exit code, one line, no traceback, nothing written.


@pytest.fixture
def refuse(run_main, frames, tmp_path):
  """Function: runs with good flags but the given ones; checks the line and that nothing came."""
  good = write_png(tmp_path / 'mask.png', ids_mask(1), masks.DAVIS_PALETTE)

  def refuse(code, *parts, extra=(), **flags):
    out = tmp_path / 'out'
    values = {'input': frames, 'mask': good, 'output': out, **flags}
    process = run_main(MODULE, *(f'--{k}={v}' for k, v in values.items() if v is not None), *extra)
    assert_one_line(process, code, *parts)
    assert not out.exists() or not outputs(out)

  return refuse


@pytest.mark.parametrize(
  'array, mode, parts',
  [
    (np.ones((20, 30), np.uint8), None, ['a mask of 20x30', 'expected 33x49', 'draw the mask']),
    (np.full((*SIZE, 3), (9, 1, 1), np.uint8), None, ['no black or transparent pixel', 'black']),
    (
      np.full(SIZE, 300, np.uint16),
      None,
      ['grey values 300..300', 'save the mask as an 8-bit PNG'],
    ),
    (np.zeros(SIZE, np.uint8), None, ['a mask without any object', 'paint the objects']),
    (cv2.GaussianBlur(ids_mask(255), (7, 7), 2), None, ['an antialiased image', 'without smooth']),
  ],
)
def test_masks_that_are_refused(refuse, tmp_path, array, mode, parts):
  path = write_png(tmp_path / 'bad.png', array, mode=mode)
  refuse(1, path, *parts, mask=path)


def test_files_that_are_refused(refuse, tmp_path):
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'text.mp4').write_text('no video')
  (tmp_path / 'void.mp4').touch()
  (tmp_path / 'mask.jpg').write_bytes(b'\xff\xd8\xff')
  refuse(1, 'empty: a folder with 0 frames given', 'expected images', input=tmp_path / 'empty')
  refuse(1, 'text.mp4: no decodable video stream', input=tmp_path / 'text.mp4')
  refuse(1, 'void.mp4: no decodable video stream', input=tmp_path / 'void.mp4')
  refuse(1, 'none: no such file or folder; check --input', input=tmp_path / 'none')
  refuse(1, 'none.png: no such mask file', mask=tmp_path / 'none.png')
  refuse(1, 'mask.jpg: unreadable picture (the JPEG is cut off', mask=tmp_path / 'mask.jpg')


def test_inputs_in_the_output_are_refused(run_main, frames, davis, tmp_path):
  """Nothing of them is touched, whether or not --overwrite is given."""
  given = write_png(frames / 'sub' / 'first.png', ids_mask(1), masks.DAVIS_PALETTE)
  own = frames.rename(tmp_path / 'masks')
  given = own / 'sub' / 'first.png'
  before = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
  for flags in (
    [f'--input={own}', f'--mask={given}', f'--output={tmp_path}'],
    [f'--input={own}', f'--mask={given}', f'--output={own}'],
    [f'--input={own}', f'--mask={given}', f'--output={own / "sub"}'],
    [f'--input={davis}', '--sequence=bear', f'--output={davis}'],
    [f'--input={davis}', '--sequence=bear', f'--output={davis / "Annotations"}'],
  ):
    process = run_main(MODULE, *flags, '--overwrite')
    assert_one_line(process, 1, 'an output folder that holds the input', 'choose another')
  assert before == {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}


@pytest.mark.parametrize('name', ['../bear', '..', '.', '/bear', 'bear/', 'a/../bear', ''])
def test_a_sequence_is_a_name_and_no_path(refuse, davis, name):
  refuse(
    1,
    '--sequence: ',
    'expected the name of a folder',
    input=davis,
    mask=None,
    extra=[f'--sequence={name}'],
  )


def test_addresses_are_refused(refuse):
  refuse(1, 'an address (https:) given', 'on this machine', input='https://host/clip.mp4')
  refuse(1, 'an address (http:) given', 'on this machine', mask='http://host/first.png')


def test_thresholds_that_are_refused(refuse):
  refuse(2, '--threshold is 300; expected a share of white', extra=['--threshold=300'])


def test_the_mask_lies_among_the_frames_and_is_painted_in_colours(
  run_main, frames, tmp_path, copying_weights
):
  colours = np.zeros((256, 3), np.uint8)
  colours[[1, 2]] = (255, 0, 0), (0, 0, 255)
  given = write_png(frames / 'first.png', colours[ids_mask(1, 2)])
  out = tmp_path / 'out'
  process = run_main(
    MODULE,
    f'--input={frames}',
    f'--mask={given}',
    f'--output={out}',
    f'--model={copying_weights}',
    '--nopictures',
  )
  assert process.returncode == 0, process.stderr
  assert 'first.png is the mask, not a frame' in process.stdout
  assert 'objects of the mask: 1: #ff0000, 2: #0000ff' in process.stdout
  assert outputs(out) == ['frames.csv', *sorted(f'masks/frame{i}.png' for i in range(8, 13))]
  first = masks.read_mask(out / 'masks' / 'frame8.png')
  np.testing.assert_array_equal(first.ids, ids_mask(1, 2))
  assert tuple(first.palette[2]) == (0, 0, 255)


def test_outputs_that_are_refused(refuse, tmp_path):
  (tmp_path / 'file').touch()
  refuse(1, 'file is a file; the output has to be a folder', output=tmp_path / 'file')
  refuse(
    1, 'cannot be written to', 'choose another output folder', output=tmp_path / 'file' / 'below'
  )
  refuse(1, 'cannot be written to', output='/proc/none')


def test_flags_that_are_refused(refuse, tmp_path, davis):
  for flag in ('input', 'output', 'mask'):
    refuse(2, f'--{flag} is missing', '--helpshort lists the flags', **{flag: None})
  refuse(2, "Unknown command line flag 'colour'", extra=['--colour=red'])
  refuse(2, "'clip.mp4' is not a flag", extra=['clip.mp4'])
  refuse(2, '--max_internal_size', '5', extra=['--max_internal_size=5'])
  refuse(2, '--image_pyramid=1,big given', extra=['--image_pyramid=1,big'])
  refuse(2, '--image_pyramid has the scale 0', extra=['--image_pyramid=0'])
  refuse(2, '--merge_method', extra=['--merge_method=min'])
  refuse(2, '--direction', extra=['--direction=up'])
  refuse(2, '--preview shows what --box', extra=['--preview=a.png'])
  refuse(1, 'a mask and a drawing for frame 0 given', extra=['--box=1,2,9,9'])
  refuse(2, 'a live source goes forward', input='-', extra=['--direction=both'])
  refuse(2, "--format 'png' given, expected some of coco", extra=['--format=png'])
  refuse(2, "--label 'dog' given, expected ID:NAME", extra=['--label=dog'])
  refuse(1, '--remove=3 given, expected ID@FRAME', extra=['--remove=3'])
  refuse(1, 'object 3 is to be removed at frame 2; expected one of 1', extra=['--remove=3@2'])
  refuse(1, '--end: frame 5 given, expected 0..4 or the name', extra=['--end=5'])
  refuse(1, 'frames 3 to 1 given, expected a start', extra=['--start=3', '--end=1'])
  refuse(2, '--previous_prediction', extra=['--previous_prediction=hard'])
  refuse(2, '--mask and --sequence exclude each other', input=davis, extra=['--sequence=bear'])
  refuse(2, 'is a DAVIS-style root; say which sequence', input=davis)
  refuse(
    1,
    'no such folder; expected frames of the sequence camel',
    input=davis,
    mask=None,
    extra=['--sequence=camel'],
  )
  refuse(1, "model_variant is 'vgg'; expected one of", extra=['--seeded_model=vgg'])


def test_models_that_are_refused(refuse, tmp_path, copying_weights):
  truncated = tmp_path / 'truncated.h5'
  truncated.write_bytes(copying_weights.read_bytes()[:100_000])
  refuse(1, 'none.h5: no such weights file', model=tmp_path / 'none.h5')
  refuse(1, 'truncated.h5: not a weights file or truncated', model=truncated)

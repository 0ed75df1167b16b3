"""Masks on several frames, both directions, removed objects: from pictures on disk to masks."""

import csv
import types

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import backwards
from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.sources.part import Part
from feelvos_tf.inference import given_masks
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.runtime import both_directions
from feelvos_tf.runtime import progress
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import results
from feelvos_tf.runtime import segment_job
from feelvos_tf.runtime import segment_run

SIZE = (68, 120)
COUNT = 8


@pytest.fixture(scope='module')
def segmenter(default_graph):
  return VideoSegmenter(default_graph)


def disc(x, object_id, ids=None):
  ids = np.zeros(SIZE, np.uint8) if ids is None else ids
  cv2.circle(ids, (x, 34), 14, object_id, -1)
  return ids


@pytest.fixture(scope='module')
def images():
  """A red disc that moves to the right, a green one from frame 3 on that moves to the left."""
  rng = np.random.default_rng(1)
  wide = cv2.resize(rng.integers(0, 256, (9, 20, 3), dtype=np.uint8), (160, SIZE[0])) // 2
  found = [wide[:, 2 * i : 2 * i + SIZE[1]].copy() for i in range(COUNT)]
  for i, image in enumerate(found):
    cv2.circle(image, (24 + 2 * i, 34), 14, (250, 40, 30), -1)
    if i >= 3:
      cv2.circle(image, (100 - 2 * i, 34), 14, (30, 250, 40), -1)
  return found


@pytest.fixture(scope='module')
def film(images, tmp_path_factory):
  """The frames as a folder; function: whether reversed."""
  paths = {}
  for name, frames in (('forward', images), ('reversed', images[::-1])):
    paths[name] = tmp_path_factory.mktemp(name)
    for i, image in enumerate(frames):
      cv2.imwrite(str(paths[name] / f'{i:05d}.png'), image[..., ::-1])
  return lambda backwards=False: folder.open_video(paths['reversed' if backwards else 'forward'])


def given(by_frame, removals=(), direction='forward', backwards=False):
  flipped = {COUNT - 1 - i if backwards else i: masks.Mask(m) for i, m in by_frame.items()}
  return given_masks.GivenMasks(flipped, removals, direction)


def run(segmenter, video, given, path, pictures=False, overwrite=False):
  deciding = 'model', {}, [('', given, video.num_frames)]
  run_id, plans = segment_run.run_id(*deciding), segment_run.plans(*deciding)
  with result_folder.ResultFolder(path, run_id, overwrite, plans) as output:
    count = segment_run.segment(segmenter, video, given, output, pictures=pictures)
    output.finish()
  return count


def read(path, backwards=False):
  found = [masks.read_mask(p).ids for p in sorted((path / 'masks').glob('*.png'))]
  return np.stack(found[::-1] if backwards else found)


ALL = {0: disc(24, 1), 3: disc(94, 7), 6: disc(88, 7, disc(36, 1))}


@pytest.mark.parametrize('ends', ['forward', 'both'])
def test_backwards_is_forward_on_the_reversed_film(segmenter, film, tmp_path, ends):
  """Every mask is equal, those of a late object and of a correction among them."""
  other = {'forward': 'backward', 'both': 'both'}[ends]
  by_frame = {COUNT - 1: disc(86, 7, disc(38, 1)), 4: disc(92, 7, disc(32, 1)), 1: disc(26, 1)}
  run(segmenter, film(), given(by_frame, direction=other), tmp_path / 'there')
  run(segmenter, film(True), given(by_frame, (), ends, True), tmp_path / 'back')
  there, back = read(tmp_path / 'there'), read(tmp_path / 'back', backwards=True)
  assert len(there) == COUNT
  np.testing.assert_array_equal(there, back)


def test_a_mask_of_new_ids_adds_and_another_corrects(segmenter, film, tmp_path):
  correction = disc(36, 1)  # Object 7 is not visible, it says.
  run(segmenter, film(), given({0: ALL[0], 3: ALL[3], 6: correction}), tmp_path / 'out')
  written = read(tmp_path / 'out')
  assert set(np.unique(written[2])) == {0, 1}
  assert set(np.unique(written[3])) == {0, 1, 7}
  np.testing.assert_array_equal(written[3] == 7, ALL[3] == 7)
  assert (written[3][34, 20:40] == 1).all()  # As predicted: the mask of frame 3 lacks it.
  np.testing.assert_array_equal(written[6], correction)


@pytest.mark.parametrize('direction, first', [('forward', 0), ('backward', 7), ('both', 0)])
def test_removed_objects_are_on_no_mask_from_there_on(segmenter, film, tmp_path, direction, first):
  by_frame = {first: disc(24, 1) if first == 0 else disc(86, 7, disc(38, 1)), 3: ALL[6]}
  run(segmenter, film(), given(by_frame, [(1, 5)], direction), tmp_path / 'out')
  written = read(tmp_path / 'out')
  holds = [bool((mask == 1).any()) for mask in written]
  # Backward, the mask of frame 7 gives the object again.
  assert holds == [True] * 5 + [False] * 2 + [direction == 'backward']
  assert '00006,1,0,,,,,1.0' in (tmp_path / 'out' / 'frames.csv').read_text()  # As sure as can be.


def test_a_removal_behind_the_last_frame_is_told(segmenter, film, tmp_path):
  """A film knows its end when it is there; the object stayed without a word."""
  with pytest.warns(
    data_warning.DataWarning, match=f'removed at frame {COUNT} and stays, as the last frame is 7'
  ):
    run(segmenter, film(), given({0: ALL[0]}, [(1, COUNT)]), tmp_path / 'out')


def test_between_two_masks_both_directions_count(segmenter, film, tmp_path, monkeypatch, capsys):
  """An object that is only on the later mask is there before it; frames before the first too."""
  bars, steps, step = [], [], segmenter.step
  make = progress.Progress
  monkeypatch.setattr(progress, 'Progress', lambda *a, **k: bars.append(make(*a, **k)) or bars[-1])
  monkeypatch.setattr(
    segmenter, 'step', lambda frame: steps.append(bars[0].steps_left) or step(frame)
  )
  run(segmenter, film(), given({1: disc(26, 1), 6: ALL[6]}, (), 'both'), tmp_path / 'out')
  assert steps == list(range(12, 0, -1))  # 1 frame before, 1 behind, 5 twice there and back.
  assert bars[0].steps_left == 0 and bars[0].count == COUNT
  assert 'a frame, about' in capsys.readouterr().out
  written = read(tmp_path / 'out')
  assert len(written) == COUNT
  np.testing.assert_array_equal(written[1], disc(26, 1))
  np.testing.assert_array_equal(written[6], ALL[6])
  assert (written[5][34, 82:98] == 7).all() and (written[5][34, 26:42] == 1).all()
  assert (written[0][34, 16:32] == 1).all()
  assert not (written[0] == 7).any()


class Doubting:
  """A segmenter whose predictions have a confidence of a half."""

  def __init__(self, segmenter):
    self.segmenter = segmenter

  def step(self, frame):
    result = self.segmenter.step(frame)
    result.confidence = np.full(len(result.object_ids), 0.5, np.float32)
    return result

  def __getattr__(self, name):
    return getattr(self.segmenter, name)


@pytest.mark.parametrize('direction', ['forward', 'both'])
def test_an_object_that_a_mask_leaves_to_the_model_has_its_confidence(
  segmenter, film, tmp_path, direction
):
  masks_of = given({0: disc(24, 1), 3: disc(94, 7)}, (), direction)
  run(Doubting(segmenter), film(), masks_of, tmp_path)
  with open(tmp_path / 'frames.csv', newline='') as stream:
    rows = [row for row in csv.DictReader(stream) if row['frame'] == '00003']
  assert {row['object']: float(row['confidence']) for row in rows} == {'1': 0.5, '7': 1.0}


def break_off_at(monkeypatch, count):
  """Runs are interrupted in place of their mask number `count`, until `monkeypatch.undo`."""
  write, calls = results.Results.write_mask, []

  def break_off(self, *args):
    calls.append(args)
    if len(calls) == count:
      raise KeyboardInterrupt
    write(self, *args)

  monkeypatch.setattr(results.Results, 'write_mask', break_off)


@pytest.mark.parametrize('direction', ['forward', 'both'])
@pytest.mark.parametrize('shorter', ['part', 'folder'])
def test_an_interrupted_run_goes_on_with_fewer_frames(
  segmenter, film, images, tmp_path, direction, shorter, monkeypatch
):
  masks_of = given({0: disc(24, 1)}, (), direction)
  break_off_at(monkeypatch, 7)
  with pytest.raises(KeyboardInterrupt):
    run(segmenter, film(), masks_of, tmp_path / 'out')
  monkeypatch.undo()
  video = Part(film(), 0, 3)
  if shorter == 'folder':
    video = folder.FolderVideo(film().name, film().frame_paths[:4])
  assert run(segmenter, video, masks_of, tmp_path / 'out', pictures=True) == 4
  run(segmenter, Part(film(), 0, 3), masks_of, tmp_path / 'whole', pictures=True)
  names = lambda path: sorted(p.name for p in path.rglob('*') if '.feelvos_run' not in p.name)
  assert names(tmp_path / 'out') == names(tmp_path / 'whole')
  assert '00003.png' in names(tmp_path / 'out') and '00004.png' not in names(tmp_path / 'out')
  tables = [(tmp_path / name / 'frames.csv').read_text() for name in ('out', 'whole')]
  assert tables[0] == tables[1]


@pytest.mark.parametrize(
  'by_frame, direction, first, message',
  [
    (
      {0: disc(24, 1), 7: disc(38, 1)},
      'forward',
      4,
      'mask for frame 11 given, expected frames 0..7',
    ),
    ({0: disc(24, 1), 7: disc(38, 1)}, 'both', 4, 'mask for frame 11 given, expected frames 0..7'),
    ({0: disc(24, 1)}, 'forward', 20, 'frame 20 given as the first one, expected an earlier one'),
    ({0: disc(24, 1)}, 'both', 20, 'frame 20 given as the first one, expected an earlier one'),
  ],
)
def test_masks_behind_the_end_of_a_film(
  segmenter, film, tmp_path, by_frame, direction, first, message
):
  video = film()
  assert video.num_frames == COUNT
  video.seeks = False  # As a video file, whose length is what it claims.
  with pytest.raises(ValueError, match=message):
    run(segmenter, Part(video, first), given(by_frame, (), direction), tmp_path)
  assert (tmp_path / 'frames.csv').exists() == (direction == 'forward' and first == 4)


@pytest.mark.parametrize('direction', given_masks.DIRECTIONS)
def test_an_interrupted_run_goes_on(segmenter, film, tmp_path, direction, monkeypatch, capsys):
  by_frame = {**ALL, COUNT - 1: disc(86, 7, disc(38, 1))}
  run(segmenter, film(), given(by_frame, (), direction), tmp_path / 'whole', pictures=True)
  break_off_at(monkeypatch, 6)
  with pytest.raises(KeyboardInterrupt):
    run(segmenter, film(), given(by_frame, (), direction), tmp_path / 'out', pictures=True)
  monkeypatch.undo()
  capsys.readouterr()
  run(segmenter, film(), given(by_frame, (), direction), tmp_path / 'out', pictures=True)
  assert 'goes on after the ' in capsys.readouterr().out
  np.testing.assert_array_equal(read(tmp_path / 'out'), read(tmp_path / 'whole'))
  tables = [(tmp_path / name / 'frames.csv').read_text() for name in ('out', 'whole')]
  assert tables[0] == tables[1]
  order = [line[:5] for line in tables[0].splitlines()[1:]]
  assert list(dict.fromkeys(order)) == sorted(set(order)) and len(set(order)) == COUNT
  names = lambda path: sorted(p.name for p in path.rglob('*') if '.feelvos_run' not in p.name)
  assert names(tmp_path / 'out') == names(tmp_path / 'whole')
  assert folder.open_video(tmp_path / 'out' / 'overlay.mp4').num_frames == COUNT


def test_a_removed_object_is_followed_after_an_interruption_too(
  segmenter, film, tmp_path, monkeypatch
):
  """Masks that are there lack it; a mask that adds objects is completed with it all the same."""
  asked = lambda: given({0: disc(24, 1), 5: disc(90, 7)}, [(1, 3)], 'both')
  run(segmenter, film(), asked(), tmp_path / 'whole')
  break_off_at(monkeypatch, 7)
  with pytest.raises(KeyboardInterrupt):
    run(segmenter, film(), asked(), tmp_path / 'out')
  monkeypatch.undo()
  starts = []
  start = VideoSegmenter.start
  monkeypatch.setattr(
    VideoSegmenter, 'start', lambda self, *a: starts.append(set(np.unique(a[1]))) or start(self, *a)
  )
  run(segmenter, film(), asked(), tmp_path / 'out')
  assert {0, 1, 7} in starts  # Frame 5, with the removed object.
  np.testing.assert_array_equal(read(tmp_path / 'out'), read(tmp_path / 'whole'))


@pytest.mark.parametrize('direction', given_masks.DIRECTIONS)
def test_several_masks_are_refused_before_several_views_begin(segmenter, film, tmp_path, direction):
  several = VideoSegmenter(segmenter.graph, flip=True)
  with pytest.raises(ValueError, match='masks on 3 frames given, .*--speed=best'):
    run(several, film(), given(ALL, (), direction), tmp_path)
  assert not list(tmp_path.rglob('*.png'))


@pytest.mark.parametrize('there, expected', [(disc(38, 1), []), (ALL[6], [6])])
def test_a_mask_without_background_is_shown_with_others_for_their_objects(
  film, tmp_path, there, expected
):
  """Background is none; several views, and what a plan keeps, know of no further masks then."""
  masks_of = given({0: np.full(SIZE, 1, np.uint8), 6: there}, (), 'both')
  no_segmenter = types.SimpleNamespace(options=None)
  one_run = both_directions._Run(no_segmenter, film(), masks_of, None, None, {}, None)
  with backwards.Tape(tmp_path) as tape:
    one_run._read_given_frames(tape)
    one_run._masks[0] = masks_of.mask(0)
    shown = [mask for _, mask in one_run._others(0)]
  np.testing.assert_array_equal(shown, [masks_of.mask(index) for index in expected])


class Counting:
  """Counts the frames that a segmenter predicts."""

  def __init__(self, segmenter):
    self.segmenter, self.steps = segmenter, 0

  def step(self, frame):
    self.steps += 1
    return self.segmenter.step(frame)

  def __getattr__(self, name):
    return getattr(self.segmenter, name)


LAST = {COUNT - 1: disc(86, 7, disc(38, 1))}


@pytest.mark.parametrize(
  'direction, first, later, removals, steps',
  [
    ('forward', {0: ALL[0]}, {0: ALL[0], 5: disc(34, 1)}, [[], []], 2),  # One correction.
    ('forward', {0: ALL[0], 3: ALL[3]}, {**ALL, 3: ALL[3]}, [[], []], 2),  # 3 is taken once more.
    # A mask that adds a third object leaves to the model what two may cover of each other.
    ('forward', {0: LAST[COUNT - 1]}, {0: LAST[COUNT - 1], 5: disc(60, 9)}, [[], []], 7),
    # A mask is taken away: on from the one before it, as no mask tells what objects cover.
    ('forward', ALL, {0: ALL[0], 3: ALL[3]}, [[], []], 5),
    (
      'forward',
      ALL,
      ALL,
      [[(1, 5)], [(1, 5), (7, 7)]],
      4,
    ),  # From 5 on the model follows more than masks show; the mask before that is of frame 3.
    ('backward', LAST, {**LAST, 2: disc(28, 1)}, [[], []], 2),
    ('both', {0: ALL[0], 5: disc(34, 1)}, {0: ALL[0], 5: disc(34, 1), 7: disc(38, 1)}, [[], []], 4),
    ('both', {2: ALL[6], 4: ALL[6]}, {0: ALL[6], 2: ALL[6], 4: ALL[6]}, [[], []], 4),
  ],
)
def test_only_what_depends_on_a_mask_is_segmented_again(
  segmenter, film, tmp_path, direction, first, later, removals, steps
):
  """The same command with a further, changed or missing mask gives what a whole run of it gives."""
  pictures = 5 in later
  before, after = (given(m, r, direction) for m, r in zip((first, later), removals))
  run(segmenter, film(), before, tmp_path / 'out', pictures)
  counting = Counting(segmenter)
  run(counting, film(), after, tmp_path / 'out', pictures)
  assert counting.steps == steps
  run(segmenter, film(), after, tmp_path / 'whole', pictures)
  files = lambda path: {
    p.relative_to(path): p.read_bytes()
    for p in path.rglob('*')
    if p.is_file() and not p.name.startswith('.')
  }
  assert files(tmp_path / 'out') == files(tmp_path / 'whole')
  assert len(list((tmp_path / 'out' / 'masks').iterdir())) == COUNT


@pytest.mark.parametrize(
  'direction, by_frame, steps',
  [('forward', {0: ALL[0]}, 4), ('both', {0: ALL[0]}, 4), ('both', {2: disc(28, 1)}, 4)],
)
def test_a_finished_run_goes_on_where_it_was_told_to_end(
  segmenter, film, tmp_path, direction, by_frame, steps
):
  masks_given, part = given(by_frame, direction=direction), lambda: Part(film(), 0, COUNT - 5)
  run(segmenter, part(), masks_given, tmp_path / 'out', pictures=True)
  counting = Counting(segmenter)
  assert run(counting, film(), masks_given, tmp_path / 'out', pictures=True) == COUNT
  assert counting.steps == steps
  run(segmenter, film(), masks_given, tmp_path / 'whole', pictures=True)
  np.testing.assert_array_equal(read(tmp_path / 'out'), read(tmp_path / 'whole'))
  assert folder.open_video(tmp_path / 'out' / 'overlay.mp4').num_frames == COUNT
  for video in (film(), part()):  # Masks of further frames are no results of others.
    with pytest.raises(ValueError, match='holds the finished results of this command'):
      run(segmenter, video, masks_given, tmp_path / 'out')
  assert len(read(tmp_path / 'out')) == COUNT


@pytest.mark.parametrize('first, second', [(6, 7), (7, 6)])
def test_an_interrupted_run_goes_on_to_another_end(
  segmenter, film, tmp_path, monkeypatch, first, second
):
  """From what the model remembered: of two objects, masks do not say all."""
  by_frame = {0: ALL[0], 3: ALL[3]}
  break_off_at(monkeypatch, 6)
  with pytest.raises(KeyboardInterrupt):  # Frames 0 to 4 are there.
    run(segmenter, Part(film(), 0, first), given(by_frame), tmp_path / 'out')
  monkeypatch.undo()
  counting = Counting(segmenter)
  run(counting, Part(film(), 0, second), given(by_frame), tmp_path / 'out')
  assert counting.steps == second - 4
  run(segmenter, Part(film(), 0, second), given(by_frame), tmp_path / 'whole')
  np.testing.assert_array_equal(read(tmp_path / 'out'), read(tmp_path / 'whole'))


def test_masks_that_are_made_again_keep_their_place(segmenter, film, tmp_path, monkeypatch):
  """A run that was interrupted twice, the second time among masks that the first one had made."""
  masks_given = given({0: ALL[6]})
  for count in (6, 4):  # Frames 0 to 4, then 1 and 2 again.
    break_off_at(monkeypatch, count)
    with pytest.raises(KeyboardInterrupt):
      run(segmenter, film(), masks_given, tmp_path / 'out')
    monkeypatch.undo()
    if count == 6:
      (tmp_path / 'out' / result_folder.STATE).unlink()
  counting = Counting(segmenter)
  run(counting, film(), masks_given, tmp_path / 'out')
  assert counting.steps == COUNT - 3
  run(segmenter, film(), masks_given, tmp_path / 'whole')
  np.testing.assert_array_equal(read(tmp_path / 'out'), read(tmp_path / 'whole'))


def test_a_run_that_was_killed_before_its_first_mask_may_get_others(
  segmenter, film, tmp_path, monkeypatch
):
  """No results of other frames are there."""

  def kill(self, *unused):
    raise SystemExit

  with monkeypatch.context() as patch:
    patch.setattr(results.Results, 'write_mask', kill)
    patch.setattr(result_folder.ResultFolder, 'close', lambda self: self._held.close())
    with pytest.raises(SystemExit):
      run(segmenter, film(), given({0: ALL[0]}), tmp_path)
  assert (tmp_path / result_folder.JOURNAL).exists()
  assert run(segmenter, film(), given({0: ALL[0], 5: disc(34, 1)}), tmp_path) == COUNT


def test_a_run_with_further_masks_can_be_interrupted_too(segmenter, film, tmp_path, monkeypatch):
  by_frame = {0: ALL[0], 2: disc(28, 1)}
  run(segmenter, film(), given(by_frame), tmp_path / 'out')
  write = results.Results.write_mask

  def break_off(self, name, frame, *args):
    if name == '00006':
      raise KeyboardInterrupt
    write(self, name, frame, *args)

  by_frame[4] = disc(32, 1)
  monkeypatch.setattr(results.Results, 'write_mask', break_off)
  with pytest.raises(KeyboardInterrupt):
    run(segmenter, film(), given(by_frame), tmp_path / 'out')
  monkeypatch.undo()
  monkeypatch.setattr(VideoSegmenter, 'remembers_masks', False)  # From the saved state alone.
  counting = Counting(segmenter)
  run(counting, film(), given(by_frame), tmp_path / 'out')
  assert counting.steps == 2
  run(segmenter, film(), given(by_frame), tmp_path / 'whole')
  np.testing.assert_array_equal(read(tmp_path / 'out'), read(tmp_path / 'whole'))


def test_an_interrupted_run_of_which_nothing_stays(segmenter, film, tmp_path, monkeypatch):
  """The frames are the same: the message must not say that they are others."""
  by_frame = {3: disc(30, 1), 4: disc(32, 1)}
  break_off_at(monkeypatch, 3)
  with pytest.raises(KeyboardInterrupt):  # Frames 3 and 4 are there.
    run(segmenter, film(), given(by_frame, [(1, 1)], 'both'), tmp_path)
  monkeypatch.undo()
  changed = given(by_frame, [(1, 5)], 'both')
  message = 'masks that all depend on what changed are there; .* add --overwrite'
  with pytest.raises(ValueError, match=message):
    run(segmenter, film(), changed, tmp_path)
  assert run(segmenter, film(), changed, tmp_path, overwrite=True) == COUNT


def test_results_of_other_frames_are_not_taken_for_a_run_with_further_masks(
  segmenter, film, tmp_path
):
  run(segmenter, film(), given({0: ALL[0]}), tmp_path / 'out')
  with pytest.raises(ValueError, match='is not empty: it holds the finished results of this'):
    run(segmenter, film(), given({0: ALL[0]}), tmp_path / 'out')
  with pytest.raises(ValueError, match='is not empty; choose another'):
    run(segmenter, film(), given({0: ALL[6]}), tmp_path / 'out')
  before = read(tmp_path / 'out')
  further = given({0: ALL[0], 6: ALL[6]})
  with pytest.raises(ValueError, match='results of other frames than those of '):
    run(segmenter, film(True), further, tmp_path / 'out')
  np.testing.assert_array_equal(read(tmp_path / 'out'), before)
  counting = Counting(segmenter)
  run(counting, film(True), further, tmp_path / 'out', overwrite=True)
  assert counting.steps == 6


def test_frames_of_a_film_backwards(images, tmp_path, monkeypatch):
  """A film only reads forward: it is decoded in stretches that lie in a temporary file."""
  clip = tmp_path / 'clip.avi'
  writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*'MJPG'), 12, SIZE[::-1])
  for image in images:
    writer.write(np.ascontiguousarray(image))
  writer.release()
  video = folder.open_video(clip)
  monkeypatch.setattr(backwards, 'CACHE_BYTES', 3 * 3 * SIZE[0] * SIZE[1])
  found = list(backwards.frames_backwards(video, 1, 7, tmp_path))
  assert [index for index, _ in found] == [7, 6, 5, 4, 3, 2, 1]
  np.testing.assert_array_equal([f for _, f in found[::-1]], list(video.frames())[1:])
  with pytest.raises(ValueError, match='a video of 8 frames given, expected at least 10'):
    list(backwards.frames_backwards(video, 5, 9, tmp_path))


def test_masks_that_do_not_fit_are_refused():
  empty = masks.Mask(np.zeros(SIZE, np.uint8))
  with pytest.raises(ValueError, match=r"direction is 'up'; expected one of forward, backward"):
    given({0: disc(24, 1)}, direction='up')
  with pytest.raises(ValueError, match='the mask of frame 7, the first in the direction backward'):
    given_masks.GivenMasks({0: masks.Mask(disc(24, 1)), 7: empty}, (), 'backward')
  with pytest.raises(ValueError, match='object 3 is to be removed at frame 2; expected one of 1'):
    given({0: disc(24, 1)}, [(3, 2)])


def test_how_many_frames_get_a_mask(film, tmp_path):
  """A container may claim fewer frames than there are."""
  mask = tmp_path / 'mask.png'
  masks.write_mask(mask, disc(24, 1))
  claims = film()
  claims.seeks, claims.num_frames = False, 3
  count = lambda video, **asked: (
    segment_job.prepare(video, segment_job.Request([f'1:{mask}'], **asked)).num_frames
  )
  assert (count(film()), count(film(), end='5')) == (COUNT - 1, 5)
  assert (count(claims), count(claims, end='5')) == (None, 5)
  assert count(claims, direction='backward') == 2


def test_a_drawing_behind_the_end_of_a_film(film):
  video = film()
  video.seeks = False
  request = segment_job.Request(drawings=[('box', '20:1,2,30,40')])
  with pytest.raises(ValueError, match='no frame 20, .*; a drawing for frame 20 given, see --box'):
    segment_job.prepare(video, request, draw=lambda frame, hints: np.ones(SIZE, np.uint8))


def test_what_is_drawn_on_a_later_frame_is_another_object(film, tmp_path):
  """It would be object 1 else, and the mask of its frame a correction that hides all others."""
  masks.write_mask(tmp_path / 'first.png', disc(86, 2, disc(24, 1)))
  drawings = [('box', '4:1,2,30,40'), ('box', '4:60,2,9,9,id=2')]
  request = segment_job.Request([str(tmp_path / 'first.png')], drawings=drawings)
  draw = lambda frame, hints: disc(50, hints[-1].object_id)
  job = segment_job.prepare(film(), request, draw=draw)
  assert job.given.object_ids(4) == {3}
  assert 'objects of the mask on frame 4: 2: --box, 3: --box' in job.lines


@pytest.mark.parametrize(
  'request_', [dict(masks=['a.png']), dict(masks=[], drawings=[('box', '1,2,30,40')])]
)
def test_backwards_the_last_frame_of_a_film_has_to_be_known(request_, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  masks.write_mask('a.png', disc(24, 1))
  film = types.SimpleNamespace(name='film', seeks=False, num_frames=12)
  request = segment_job.Request(direction='backward', **request_)
  with pytest.raises(ValueError, match='which frame is the last has to be known; .*--box=120:'):
    segment_job._default_frame(film, request, None, None)
  assert segment_job._default_frame(film, request, None, 7) == 7

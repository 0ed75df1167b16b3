"""Segmenting into a result folder: an interrupted run goes on, and gives what a whole one gives."""

import csv
import errno
import json
import resource
import shutil

import cv2
import head_models
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.video import NumberedNames
from feelvos_tf.datasets.video import Video
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import results
from feelvos_tf.runtime import segment_run

SIZE = (68, 120)


class Frames(Video):
  """Frames in memory; raises `error` in place of frame `breaks_at`."""

  def __init__(self, frames, breaks_at=None, error=KeyboardInterrupt):
    self.name, self.num_frames, self.frame_size = 'made up', len(frames), SIZE
    self.frame_names = NumberedNames(len(frames))
    self.images, self.breaks_at, self.error = frames, breaks_at, error

  def frames(self, start=0):
    for index, image in enumerate(self.images):
      if index == self.breaks_at:
        raise self.error
      yield image

  def mask(self, index):
    return None


class Counting:
  """Counts the steps of a segmenter."""

  def __init__(self, segmenter):
    self.segmenter, self.steps = segmenter, 0

  def step(self, frame):
    self.steps += 1
    return self.segmenter.step(frame)

  def __getattr__(self, name):
    return getattr(self.segmenter, name)


@pytest.fixture(scope='module')
def model(default_graph):
  """The graph of the default model, which segmenters share: tracing takes seconds."""
  return default_graph


@pytest.fixture(scope='module')
def frames():
  rng = np.random.default_rng(1)
  wide = cv2.resize(rng.integers(0, 256, (9, 20, 3), dtype=np.uint8), (160, SIZE[0]))
  images = [wide[:, 4 * i : 4 * i + SIZE[1]].copy() for i in range(8)]
  for i, image in enumerate(images):
    cv2.circle(image, (40 + 3 * i, 34), 14, (250, 40, 30), -1)
  return images


@pytest.fixture(scope='module')
def mask():
  ids = np.zeros(SIZE, np.uint8)
  cv2.circle(ids, (40, 34), 14, 3, -1)
  return masks.Mask(ids)


def run(segmenter, video, mask, path, name='', run_id='a', pictures=True):
  with result_folder.ResultFolder(path, run_id) as output:
    count = segment_run.segment(segmenter, video, mask, output, name, pictures)
    output.finish()
  return count


def written(path, name=''):
  """{file name: bytes} of the masks, and of the table if the run came to its end."""
  paths = [*sorted((path / 'masks' / name).glob('*.png')), path / f'{name}.frames.csv'.lstrip('.')]
  return {p.name: p.read_bytes() for p in paths if p.is_file()}


@pytest.mark.parametrize(
  'options', [{}, {'flip': True}, {'image_pyramid': (0.75,)}, {'max_internal_size': 80}]
)
def test_an_interrupted_run_goes_on(model, frames, mask, tmp_path, options, capsys):
  segmenter = Counting(VideoSegmenter(model, **options))
  assert run(segmenter, Frames(frames), mask, tmp_path / 'whole') == 8
  with pytest.raises(KeyboardInterrupt):
    run(segmenter, Frames(frames, 5), mask, tmp_path / 'out')
  assert len(written(tmp_path / 'out')) == 5
  assert sum(1 for _ in folder.open_video(tmp_path / 'out' / 'overlay.mp4').frames()) == 5
  # Another video in between: nothing of the first may be left in the segmenter.
  run(segmenter, Frames(frames[::-1]), mask, tmp_path / 'other')
  segmenter.steps = 0
  capsys.readouterr()
  assert run(segmenter, Frames(frames), mask, tmp_path / 'out') == 8
  assert segmenter.steps == 3
  assert 'goes on after the 5 masks' in capsys.readouterr().out
  assert written(tmp_path / 'out') == written(tmp_path / 'whole')
  assert sum(1 for _ in folder.open_video(tmp_path / 'out' / 'overlay.mp4').frames()) == 8
  assert not list((tmp_path / 'out').glob('.*tmp*'))


@pytest.mark.parametrize('name', ['overlay.mp4', 'overview.png', 'frames.csv', 'masks/00006.png'])
def test_a_file_of_another_origin_is_noticed_before_anything_is_segmented(
  model, frames, mask, tmp_path, name
):
  (tmp_path / 'masks').mkdir()
  (tmp_path / name).write_bytes(b'mine')
  segmenter = Counting(VideoSegmenter(model))
  with (
    pytest.raises(ValueError, match=f'{name}: a file that no earlier run wrote as it is'),
    result_folder.ResultFolder(tmp_path, 'a', overwrite=True) as output,
  ):
    segment_run.segment(segmenter, Frames(frames), mask, output)
  assert segmenter.steps == 0 and (tmp_path / name).read_bytes() == b'mine'


def test_a_run_goes_on_after_results_of_before_were_deleted(model, frames, mask, tmp_path):
  """`rm -r out/*` leaves the journal, whose name is hidden."""
  segmenter = Counting(VideoSegmenter(model))
  run(segmenter, Frames(frames), mask, tmp_path)
  shutil.rmtree(tmp_path / 'masks')
  for name in ('overlay.mp4', 'overview.png', 'frames.csv'):
    (tmp_path / name).unlink()
  with pytest.raises(KeyboardInterrupt):
    run(segmenter, Frames(frames, 5), mask, tmp_path)
  segmenter.steps = 0
  assert run(segmenter, Frames(frames), mask, tmp_path) == 8
  assert segmenter.steps == 3 and len(written(tmp_path)) == 9


def test_after_a_kill_it_goes_on_from_the_last_state(model, frames, mask, tmp_path, monkeypatch):
  """A kill leaves no time to save: masks that came after the last state are made again."""
  segmenter = Counting(VideoSegmenter(model))
  run(segmenter, Frames(frames), mask, tmp_path / 'whole')
  monkeypatch.setattr(results, '_SECONDS_BETWEEN_STATES', 0)
  with pytest.raises(KeyboardInterrupt):
    run(segmenter, Frames(frames, 4), mask, tmp_path / 'out')
  monkeypatch.setattr(results, '_SECONDS_BETWEEN_STATES', 1e9)
  monkeypatch.setattr(results.Results, '__exit__', lambda *args: None)
  with pytest.raises(KeyboardInterrupt):
    run(segmenter, Frames(frames, 6), mask, tmp_path / 'out')
  assert len(written(tmp_path / 'out')) == 6
  monkeypatch.undo()
  monkeypatch.setattr(VideoSegmenter, 'remembers_masks', False)  # Else the masks are enough.
  segmenter.steps = 0
  assert run(segmenter, Frames(frames), mask, tmp_path / 'out') == 8
  assert segmenter.steps == 4
  assert written(tmp_path / 'out') == written(tmp_path / 'whole')


@pytest.mark.parametrize('other, steps', [(0, 3), (9, 7)], ids=['one object', 'two'])
def test_no_mask_tells_what_objects_hide(frames, mask, tmp_path, monkeypatch, other, steps):
  """Without a saved state, a run with two objects that may cross begins again; one goes on."""
  segmenter = Counting(VideoSegmenter(head_models.make_model(crossing_radius=5)))
  ids = mask.ids.copy()
  ids[50:, 60:] = other
  given = masks.Mask(ids)
  run(segmenter, Frames(frames), given, tmp_path / 'whole')
  with monkeypatch.context() as patch:
    patch.setattr(results.Results, '__exit__', lambda *args: None)
    with pytest.raises(KeyboardInterrupt):
      run(segmenter, Frames(frames, 5), given, tmp_path / 'out')
  segmenter.steps = 0
  run(segmenter, Frames(frames), given, tmp_path / 'out')
  assert segmenter.steps == steps
  assert written(tmp_path / 'out') == written(tmp_path / 'whole')
  # With the state that an end in good order saves, nothing is made twice.
  with pytest.raises(KeyboardInterrupt):
    run(segmenter, Frames(frames, 5), given, tmp_path / 'more')
  segmenter.steps = 0
  run(segmenter, Frames(frames), given, tmp_path / 'more')
  assert segmenter.steps == 3
  assert written(tmp_path / 'more') == written(tmp_path / 'whole')


def test_other_frames_begin_again_and_a_lost_mask_is_made_again(model, frames, mask, tmp_path):
  segmenter = Counting(VideoSegmenter(model))
  with pytest.raises(KeyboardInterrupt):
    run(segmenter, Frames(frames, 5), mask, tmp_path / 'out')
  run(segmenter, Frames(frames[::-1]), mask, tmp_path / 'whole')
  segmenter.steps = 0
  run(segmenter, Frames(frames[::-1]), mask, tmp_path / 'out')
  assert segmenter.steps == 7
  assert written(tmp_path / 'out') == written(tmp_path / 'whole')
  with pytest.raises(KeyboardInterrupt):
    run(segmenter, Frames(frames, 5), mask, tmp_path / 'more')
  (tmp_path / 'more' / 'masks' / '00002.png').unlink()
  segmenter.steps = 0
  run(segmenter, Frames(frames), mask, tmp_path / 'more')
  assert segmenter.steps == 6


def test_finished_videos_of_an_interrupted_run_stay(model, frames, mask, tmp_path):
  segmenter = Counting(VideoSegmenter(model))

  def both(breaks_at):
    with result_folder.ResultFolder(tmp_path, 'a') as output:
      first = segment_run.segment(segmenter, Frames(frames[:3]), mask, output, 'bear')
      segment_run.segment(segmenter, Frames(frames, breaks_at), mask, output, 'camel')
      return first

  with pytest.raises(KeyboardInterrupt):
    both(4)
  segmenter.steps = 0
  assert both(None) == 3
  assert segmenter.steps == 4
  assert len(written(tmp_path, 'bear')) == 4 and len(written(tmp_path, 'camel')) == 9


def test_an_unreadable_frame_can_be_mended(model, frames, mask, tmp_path):
  segmenter = Counting(VideoSegmenter(model))
  with pytest.raises(ValueError, match='bad frame'):
    run(segmenter, Frames(frames, 5, ValueError('bad frame')), mask, tmp_path)
  segmenter.steps = 0
  assert run(segmenter, Frames(frames), mask, tmp_path) == 8
  assert segmenter.steps == 3


def test_a_full_disk_is_reported_as_such(model, frames, mask, tmp_path, monkeypatch):
  segmenter = VideoSegmenter(model)
  write = result_folder.whole_file.write_bytes

  def full(path, data, last=True):
    if path.name == '00003.png':
      raise OSError(errno.ENOSPC, 'No space left on device', str(path))
    write(path, data, last)

  with monkeypatch.context() as patch:
    patch.setattr(result_folder.whole_file, 'write_bytes', full)
    with pytest.raises(OSError, match='No space left on device.*00003.png'):
      run(segmenter, Frames(frames), mask, tmp_path)
  assert run(segmenter, Frames(frames), mask, tmp_path) == 8


def test_a_disk_that_gets_full_under_an_overlay(model, frames, mask, tmp_path):
  """A limit on the size of files does as a disk does; Python leaves out its signal."""
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (6000, limits[1]))
  try:
    with pytest.raises(OSError, match='File too large') as error:
      run(VideoSegmenter(model), Frames(frames), mask, tmp_path)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert error.value.filename == str(tmp_path / 'overlay.mp4')
  assert not list(tmp_path.glob('.feelvos_*.tmp*'))


def test_what_is_remembered_has_to_fit(model, frames, mask):
  one, two = VideoSegmenter(model), VideoSegmenter(model)
  with pytest.raises(RuntimeError, match='restore_previous before start'):
    one.restore_previous([])
  one.start(frames[0], mask.ids)
  one.step(frames[1])
  arrays = [np.asarray(t) for t in one.previous_tensors]
  with pytest.raises(ValueError, match='other shapes'):
    one.restore_previous(arrays[:-1])
  two.start(frames[0], mask.ids)
  two.restore_previous(arrays)
  np.testing.assert_array_equal(
    one.step(frames[2]).stride4_logits, two.step(frames[2]).stride4_logits
  )


@pytest.mark.parametrize('pictures', [True, False])
def test_the_table_says_where_every_object_is(model, frames, mask, tmp_path, pictures):
  """Also of frames that an earlier run segmented, whose masks may not be read again."""
  with pytest.raises(KeyboardInterrupt):
    run(VideoSegmenter(model), Frames(frames, 3), mask, tmp_path, pictures=pictures)
  run(VideoSegmenter(model), Frames(frames), mask, tmp_path, pictures=pictures)
  with open(tmp_path / 'frames.csv', newline='') as stream:
    rows = list(csv.DictReader(stream))
  assert [row['frame'] for row in rows] == [f'{i:05d}' for i in range(8)]
  for row in rows:
    ids = masks.read_mask(tmp_path / 'masks' / f'{row["frame"]}.png', void=False).ids
    y, x = np.nonzero(ids == 3)
    assert (row['object'], row['area']) == ('3', str(len(x)))
    box = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
    assert [int(row[key]) for key in ('left', 'top', 'width', 'height')] == box
  segmenter = VideoSegmenter(model)
  segmenter.start(frames[0], mask.ids)
  expected = [1.0, *(segmenter.step(frame).confidence[1] for frame in frames[1:])]
  np.testing.assert_allclose([float(row['confidence']) for row in rows], expected, atol=1e-4)


def test_the_table_has_all_frames_of_a_video_that_claims_fewer(model, frames, mask, tmp_path):
  video = Frames(frames)
  video.num_frames = 5
  assert run(VideoSegmenter(model), video, mask, tmp_path) == 8
  with open(tmp_path / 'frames.csv', newline='') as stream:
    assert [row['frame'] for row in csv.DictReader(stream)] == [f'{i:05d}' for i in range(8)]


@pytest.mark.parametrize('live', [True, False])
def test_a_live_source_that_is_interrupted_gets_its_table(model, frames, mask, tmp_path, live):
  """A camera has no other end, and the run cannot go on."""
  video = Frames(frames, 5)
  video.live, video.num_frames = live, None
  with pytest.raises(KeyboardInterrupt):
    run(VideoSegmenter(model), video, mask, tmp_path)
  assert len(list((tmp_path / 'masks').iterdir())) == 5
  assert (tmp_path / 'frames.csv').exists() == live
  if live:
    with open(tmp_path / 'frames.csv', newline='') as stream:
      assert [row['frame'] for row in csv.DictReader(stream)] == [f'{i:05d}' for i in range(5)]


def test_a_finished_video_is_segmented_again_if_its_frames_are_others(
  model, frames, mask, tmp_path
):
  """Of a run with several videos that is resumed."""
  segmenter = Counting(VideoSegmenter(model))
  changed = [*frames[:7], frames[0]]
  for video, steps in ((frames, 7), (frames, 0), (changed, 7), (changed, 0), (changed[:6], 5)):
    segmenter.steps = 0
    with result_folder.ResultFolder(tmp_path, 'a') as output:
      assert segment_run.segment(segmenter, Frames(video), mask, output, 'one') == len(video)
    assert segmenter.steps == steps
  assert len(list((tmp_path / 'masks' / 'one').iterdir())) == 6


def test_a_run_of_a_version_without_table_begins_again(model, frames, mask, tmp_path):
  segmenter = Counting(VideoSegmenter(model))
  with pytest.raises(KeyboardInterrupt):
    run(segmenter, Frames(frames, 5), mask, tmp_path)
  journal = tmp_path / result_folder.JOURNAL
  lines = [json.loads(line) for line in journal.read_text().splitlines() if line]
  lines = [{k: v for k, v in line.items() if k != 'objects'} for line in lines]
  journal.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  segmenter.steps = 0
  assert run(segmenter, Frames(frames), mask, tmp_path) == 8
  assert segmenter.steps == 7 and len(written(tmp_path)) == 9

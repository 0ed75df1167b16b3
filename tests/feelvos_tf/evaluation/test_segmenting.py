"""Running a model over videos: files, resuming, what fails. The model is made up."""

import errno
import functools
import json
import os
import pathlib

import cv2
import moving_squares
from moving_squares import FakeSegmenter
from moving_squares import squares
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import folder
from feelvos_tf.evaluation import kept_maps
from feelvos_tf.evaluation import methods
from feelvos_tf.evaluation import pictures
from feelvos_tf.evaluation import segmenting
from feelvos_tf.files import whole_file
from feelvos_tf.inference.options import SegmenterOptions
from feelvos_tf.runtime import result_folder


@pytest.fixture(autouse=True)
def forget_segmenters():
  FakeSegmenter.made.clear()


@pytest.fixture
def make_video(tmp_path):
  return functools.partial(moving_squares.make_video, tmp_path)


@pytest.fixture
def run(tmp_path):
  weights = tmp_path / 'weights.h5'
  weights.write_bytes(b'weights')
  return methods.ModelRun(str(weights))


def segment(videos, run, output_dir, **kwargs):
  with result_folder.ResultFolder(output_dir, run.fingerprint(), overwrite=True) as results:
    clips = segmenting.segment_all(videos, run, results, new_segmenter=FakeSegmenter, **kwargs)
    return {clip.name: clip for clip in clips}


def test_masks_of_every_frame(make_video, run, tmp_path):
  clips = segment([make_video('a', {0: {2: (4, 4), 9: (10, 4)}})], run, tmp_path)
  assert clips['a'].seconds_per_frame >= 0 and not clips['a'].error
  for index in range(4):
    found = masks.read_mask(tmp_path / 'masks' / 'a' / f'{index:05d}.png').ids
    np.testing.assert_array_equal(found, squares({2: (4, 4 + index), 9: (10, 4 + index)}))
  known = segmenting.read_state(tmp_path, 'a')['confidence']
  assert known == {f'{index:05d}': {'2': 0.75, '9': 0.75} for index in range(1, 4)}


def test_only_the_first_mask_is_given_and_void_is_not(make_video, run, tmp_path):
  video = make_video('a', {0: {1: (4, 4), 255: (10, 4)}, 1: {7: (0, 0)}, 2: {8: (0, 0)}})
  segment([video], run, tmp_path)
  assert len(FakeSegmenter.made) == 1
  assert FakeSegmenter.made[0].object_ids == (0, 1)


def test_resumes_whole_videos_of_the_same_model(make_video, run, tmp_path):
  videos = [make_video('a', {0: {1: (4, 4)}}), make_video('b', {0: {1: (4, 4)}})]
  counted = []
  segment(videos, run, tmp_path, on_frames=lambda count, name: counted.append(count))
  assert sum(counted) == 8
  again = segment(videos, run, tmp_path, on_frames=lambda count, name: counted.append(count))
  assert all(clip.resumed for clip in again.values()) and sum(counted) == 16
  assert again['a'].seconds_per_frame is not None
  (tmp_path / 'masks' / 'a' / '00002.png').unlink()
  again = segment(videos, run, tmp_path)
  assert not again['a'].resumed and again['b'].resumed
  other = methods.ModelRun(run.model, SegmenterOptions(max_internal_size=64))
  assert not any(clip.resumed for clip in segment(videos, other, tmp_path).values())


def test_segments_again_what_has_other_frames_or_masks(make_video, run, tmp_path):
  video = make_video('a', {0: {1: (4, 4), 2: (10, 4)}})
  segment([video], run, tmp_path)
  assert segment([video], run, tmp_path)['a'].resumed
  masks.write_mask(video.files[3], squares({9: (0, 0)}))
  assert not segment([video], run, tmp_path)['a'].resumed
  assert segment([video], run, tmp_path)['a'].resumed
  masks.write_mask(tmp_path / 'frames' / 'a_0.png', squares({1: (5, 5), 2: (10, 4)}))
  assert not segment([video], run, tmp_path)['a'].resumed
  found = masks.read_mask(tmp_path / 'masks' / 'a' / '00001.png').ids
  np.testing.assert_array_equal(found, squares({1: (5, 6), 2: (10, 5)}))
  # Objects as one, as DAVIS 2016 takes them, are other masks.
  foreground = folder.FolderVideo('a', video.files, {0: tmp_path / 'one.png'})
  masks.write_mask(tmp_path / 'one.png', squares({1: (5, 5)}) | (squares({1: (10, 4)})))
  assert not segment([foreground], run, tmp_path)['a'].resumed


def test_weights_are_told_apart_by_their_content(run, tmp_path):
  before, stat = run.fingerprint(), pathlib.Path(run.model).stat()
  pathlib.Path(run.model).write_bytes(b'WEIGHTS')
  os.utime(run.model, ns=(stat.st_atime_ns, stat.st_mtime_ns))
  assert run.fingerprint() != before


def test_bad_video(make_video, run, tmp_path):
  bad, good = make_video('bad', {}), make_video('good', {0: {1: (4, 4)}})
  with pytest.raises(ValueError, match='bad: no mask with an object'):
    segment([bad, good], run, tmp_path)
  clips = segment([bad, good], run, tmp_path, on_error='skip')
  assert 'bad: no mask with an object' in clips['bad'].error and not clips['good'].error


def test_a_full_disk_is_no_fault_of_a_video(make_video, run, tmp_path, monkeypatch):
  videos = [make_video(name, {0: {1: (4, 4)}}) for name in 'ab']
  write, asked = whole_file.write_bytes, []

  def full(path, data, last=True):
    asked.append(path.parent.name)
    if path.name == '00002.png':
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    write(path, data, last)

  with monkeypatch.context() as patch:
    patch.setattr(whole_file, 'write_bytes', full)
    with pytest.raises(OSError, match='No space left on device.*00002.png'):
      segment(videos, run, tmp_path, on_error='skip')
  assert set(asked) == {'a'}
  clips = segment(videos, run, tmp_path, on_error='skip')
  assert not clips['a'].error and not clips['b'].error


def test_unreadable_frame_leaves_the_video_unfinished(make_video, run, tmp_path):
  video = make_video('a', {0: {1: (4, 4)}})
  frame = video.frame_paths[2]
  content = frame.read_bytes()
  frame.write_bytes(b'')
  clips = segment([video], run, tmp_path, on_error='skip')
  assert str(frame) in clips['a'].error
  frame.write_bytes(content)
  assert not segment([video], run, tmp_path)['a'].resumed


def test_masks_that_no_run_wrote_stay(make_video, run, tmp_path):
  painted = tmp_path / 'masks' / 'a' / '00002.png'
  painted.parent.mkdir(parents=True)
  masks.write_mask(painted, squares({5: (0, 0)}))
  content = painted.read_bytes()
  video = make_video('a', {0: {1: (4, 4)}})
  with pytest.raises(ValueError, match=r'00002\.png: a file that no earlier run wrote as it is'):
    segment([video], run, tmp_path)
  clips = segment([video, make_video('b', {0: {1: (4, 4)}})], run, tmp_path, on_error='skip')
  assert 'no earlier run wrote' in clips['a'].error and not clips['b'].error
  assert painted.read_bytes() == content and len(list(painted.parent.iterdir())) == 1
  painted.unlink()
  assert not segment([video], run, tmp_path)['a'].error
  # Painted over after the run: another model may not replace it, and leaves the others as they are.
  masks.write_mask(painted, squares({5: (0, 0)}))
  other = methods.ModelRun(run.model, SegmenterOptions(max_internal_size=64))
  clips = segment([video], other, tmp_path, on_error='skip')
  assert 'no earlier run wrote' in clips['a'].error and painted.read_bytes() == content
  assert len(list(painted.parent.iterdir())) == 4


def test_one_run_at_a_time(run, tmp_path):
  with (
    result_folder.ResultFolder(tmp_path, run.fingerprint(), overwrite=True),
    pytest.raises(ValueError, match='another run is writing there'),
  ):
    segment([], run, tmp_path)


def test_maps_round_trip(make_video, run, tmp_path):
  keeping = methods.ModelRun(run.model, keep_maps=True)
  segment([make_video('a', {0: {2: (4, 4), 9: (10, 4)}})], keeping, tmp_path)
  assert json.loads((tmp_path / 'segmented' / 'a.json').read_text())['object_ids'] == [0, 2, 9]
  found = kept_maps.read_maps(tmp_path / 'maps' / 'a' / '00001.png', 3)
  assert found.shape == (3, 3, 4, 6)
  assert (found[:, 0] == 51).all() and (found[:, 1] == 0).all()
  expected = np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()
  np.testing.assert_array_equal(found[:, 2, 0, 0], np.round(expected * 255))
  with pytest.raises(FileNotFoundError, match='run the model again'):
    kept_maps.read_maps(tmp_path / 'maps' / 'a' / '00000.png', 3)  # the given frame


def test_maps_of_one_chosen_object_are_drawn(make_video, run, tmp_path):
  """Global distance, local distance and probability of the object asked for, not of the worst."""
  keeping = methods.ModelRun(run.model, keep_maps=True)
  segment([make_video('a', {0: {2: (4, 4), 9: (10, 4)}})], keeping, tmp_path)
  moment = pictures.Moment('00001', 2, 0.5)
  shown = {}
  for chosen in (None, 9):
    options = pictures.PictureOptions(map_object=chosen, jpeg_quality=100)
    shown[chosen] = pictures.draw_maps(tmp_path, 'a', moment, options)
  titles = ('global distance', 'local distance', 'head probability')
  assert [t for t, _ in shown[None]] == [f'{title} of object 2' for title in titles]
  assert [t for t, _ in shown[9]] == [f'{title} of object 9' for title in titles]
  probability = np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()
  for channel, (_, encoded) in ((1, shown[None][2]), (2, shown[9][2])):
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    level = np.full((1, 1), round(255 * probability[channel]), np.uint8)
    colour = cv2.applyColorMap(level, cv2.COLORMAP_VIRIDIS)[0, 0].astype(int)
    assert picture.shape == (160, 240, 3) and np.abs(picture - colour).max() <= 8
  absent = pictures.PictureOptions(map_object=77)
  assert pictures.draw_maps(tmp_path, 'a', moment, absent) == []


def test_maps_of_a_frame_whose_letters_are_composed_in_another_way(make_video, run, tmp_path):
  keeping = methods.ModelRun(run.model, keep_maps=True)
  segment([make_video('a', {0: {2: (4, 4), 9: (10, 4)}})], keeping, tmp_path)
  frames = tmp_path / 'maps' / 'a'
  (frames / '00001.png').rename(frames / 'a\u030800001.png')
  assert len(pictures.draw_maps(tmp_path, 'a', pictures.Moment('\xe400001', 2, 0.5))) == 3


def test_nothing_is_known_of_an_unfinished_video(tmp_path):
  assert segmenting.read_state(tmp_path, 'a') == {}

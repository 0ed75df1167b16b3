"""A finished run without pictures, and the same command with them."""

import types

import made_masks
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.sources.part import Part
from feelvos_tf.inference import given_masks
from feelvos_tf.inference.segmented_frame import SegmentedFrame
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import results
from feelvos_tf.runtime import segment_run

SIZE = (34, 50)
COUNT = 5
# All that is asked of it: a frame that is segmented would be an AttributeError.
NO_SEGMENTER = types.SimpleNamespace(options=types.SimpleNamespace(shows_once=True))


@pytest.fixture
def video(tmp_path):
  (tmp_path / 'frames').mkdir()
  for i in range(COUNT):
    masks.write_mask(tmp_path / 'frames' / f'{i:05d}.png', np.full(SIZE, i, np.uint8))
  return folder.open_video(tmp_path / 'frames')


def begin(path, video, given, pictures):
  """`ResultFolder`."""
  deciding = 'model', {}, [('', given, video.num_frames)]
  run, plans = segment_run.run_id(*deciding), segment_run.plans(*deciding)
  wanted = segment_run.all_pictures(plans, pictures)
  return result_folder.ResultFolder(path, run, plans=plans, pictures=wanted)


def add_pictures(path, video, given):
  with begin(path, video, given, pictures=True) as output:
    count = segment_run.segment(NO_SEGMENTER, video, given, output)
    output.finish()
  return count


@pytest.fixture(params=given_masks.DIRECTIONS)
def finished(request, video, tmp_path):
  """(folder of a finished run without pictures, `GivenMasks`)."""
  ids = made_masks.blocks((3, 8), SIZE)
  path, at = tmp_path / 'out', COUNT - 1 if request.param == 'backward' else 0
  given = given_masks.GivenMasks({at: masks.Mask(ids)}, (), request.param)
  with begin(path, video, given, pictures=False) as output:
    job = output.job('', 'masks')
    with results.Results(job, '', given, video, pictures=False) as writer:
      for index, frame in sorted(
        enumerate(video.frames()), reverse=at > 0, key=lambda pair: pair[0]
      ):
        found = SegmentedFrame(ids.copy(), (3, 8), confidence=np.ones(2, np.float32))
        writer.write_mask(video.frame_names[index], frame, found)
    segment_run._write_table(video, job, '')
    job.finish()
    output.finish()
  return path, given


def files(path):
  return {p.name: p.read_bytes() for p in path.rglob('*') if p.is_file() and p.name[0] != '.'}


def test_they_are_made_of_the_masks_that_are_there(video, finished):
  path, given = finished
  before = files(path)
  assert add_pictures(path, video, given) == COUNT
  after = files(path)
  assert after.keys() - before.keys() == {'overlay.mp4', 'overview.png'}
  assert {name: after[name] for name in before} == before
  assert folder.open_video(path / 'overlay.mp4').num_frames == COUNT
  with pytest.raises(ValueError, match='holds the finished results of this command'):
    add_pictures(path, video, given)
  (path / 'overlay.mp4').unlink()
  with pytest.raises(ValueError, match='holds the finished results of this command'):
    begin(path, video, given, pictures=False)
  assert add_pictures(path, video, given) == COUNT
  assert files(path) == after


def test_an_interruption_leaves_no_overlay_of_some_frames(video, finished, monkeypatch):
  path, given = finished
  before, write, calls = files(path), results.Results.write, []

  def break_off(self, *args):
    calls.append(args)
    if len(calls) == 3:
      raise KeyboardInterrupt
    write(self, *args)

  with monkeypatch.context() as patch:
    patch.setattr(results.Results, 'write', break_off)
    with pytest.raises(KeyboardInterrupt):
      add_pictures(path, video, given)
  # Nothing of it counts as finished: the run goes on as every one that was interrupted.
  with begin(path, video, given, pictures=True) as output:
    job = output.job('', 'masks')
    assert output.resumed and not job.is_done and len(job.frames()) == COUNT
  assert {name: data for name, data in files(path).items() if name in before} == {
    name: data for name, data in before.items() if name != 'frames.csv'
  }


def test_a_file_of_another_origin_in_their_place_stays(video, finished):
  path, given = finished
  (path / 'overlay.mp4').write_bytes(b'mine')
  with pytest.raises(ValueError, match='overlay.mp4: a file that no earlier run wrote as it is'):
    add_pictures(path, video, given)
  assert (path / 'overlay.mp4').read_bytes() == b'mine'
  assert (path / 'frames.csv').exists()


@pytest.mark.parametrize('finished', ['forward', 'both'], indirect=True)
def test_masks_behind_an_earlier_end_stay(video, finished):
  path, given = finished
  part = Part(video, 0, 2)
  with pytest.raises(ValueError, match='is not empty'):
    add_pictures(path, part, given)
  assert len(list((path / 'masks').iterdir())) == COUNT


def test_of_other_frames_nothing_is_made(video, finished, tmp_path):
  path, given = finished
  before = files(path)
  masks.write_mask(tmp_path / 'frames' / '00003.png', np.full(SIZE, 99, np.uint8))
  with pytest.raises(ValueError, match='results of other frames than those of frames are there'):
    add_pictures(path, video, given)
  assert files(path) == before

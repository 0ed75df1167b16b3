"""Many clips in one run: failures, interruptions, and results like those of single runs."""

import errno
import os
import threading
import types

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.runtime import many_clips
from feelvos_tf.runtime import result_folder

SIZE = (33, 49)


def clips_named(*names):
  return [types.SimpleNamespace(name=name) for name in names]


@pytest.mark.parametrize('at_once', [1, 3])
def test_one_that_goes_wrong_is_told_and_the_others_run(at_once, capsys):
  done = []

  def run(clip, segmenter, stop):
    assert segmenter == 'a segmenter' and not stop.is_set()
    if clip.name in 'bd':
      raise ValueError(f'{clip.name} is bad')
    done.append(clip.name)

  failed = many_clips.run_all(clips_named(*'abcde'), run, lambda: 'a segmenter', at_once)
  assert failed == ['b', 'd'] and sorted(done) == ['a', 'c', 'e']
  assert sorted(capsys.readouterr().err.splitlines()) == [
    'b: error: b is bad',
    'd: error: d is bad',
  ]


def test_a_fault_of_the_program_ends_the_run():
  def run(clip, segmenter, stop):
    raise ZeroDivisionError(clip.name)

  with pytest.raises(ZeroDivisionError):
    many_clips.run_all(clips_named(*'ab'), run, object, 2)


@pytest.mark.parametrize('at_once', [1, 2])
@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_ends_the_run(tmp_path, capsys, at_once, code):
  """It is no fault of the clips: one message, and none of the others is begun."""
  begun = []

  def run(clip, segmenter, stop):
    begun.append(clip.name)
    try:
      raise OSError(code, os.strerror(code), clip.name)
    except OSError as error:
      raise ValueError(f'{clip.name}: cannot be written to') from error

  with pytest.raises(ValueError, match='[ab]: cannot be written to'):
    many_clips.run_all(clips_named(*'abcdef'), run, object, at_once)
  assert len(begun) <= at_once and not capsys.readouterr().err


def test_an_interruption_stops_all_clips_between_two_frames(monkeypatch):
  """Both threads wait for a frame that never comes to its end, and are asked to stop."""
  running, stopped = threading.Barrier(3), []

  def run(clip, segmenter, stop):
    running.wait(30)
    stop.wait(30)
    stopped.append(clip.name)
    raise many_clips.Stopped

  join = threading.Thread.join

  def interrupted(thread, timeout=None):
    monkeypatch.setattr(threading.Thread, 'join', join)
    running.wait(30)
    raise KeyboardInterrupt

  monkeypatch.setattr(threading.Thread, 'join', interrupted)
  with pytest.raises(KeyboardInterrupt):
    many_clips.run_all(clips_named(*'abcd'), run, object, 2)
  assert sorted(stopped) == ['a', 'b']


def test_frames_of_a_video_that_is_stopped():
  video = types.SimpleNamespace(
    name='a', fps=None, frame_size=SIZE, stored_size=None, seeks=True, live=False, num_frames=3,
    frame_names=('0', '1', '2'), masked_frames=(), frames=lambda start: iter([1, 2, 3][start:]),
  )  # fmt: skip
  stop = threading.Event()
  frames = many_clips.StoppableVideo(video, stop).frames()
  assert next(frames) == 1
  stop.set()
  with pytest.raises(many_clips.Stopped):
    next(frames)


@pytest.fixture
def clips(tmp_path, rng):
  """Folder with two clips of four frames and one that has a frame of another size."""
  mask = np.zeros(SIZE, np.uint8)
  mask[8:25, 10:30] = 7
  for name in ('cow', 'dog', 'torn'):
    folder = tmp_path / 'clips' / name
    folder.mkdir(parents=True)
    for i in range(4):
      size = SIZE if name != 'torn' or i < 2 else (20, 20)
      image = cv2.resize(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8), size[::-1])
      cv2.imwrite(str(folder / f'{i}.png'), image)
    path = tmp_path / 'masks' / f'{name}.png'
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), mask)
  return tmp_path / 'clips'


def test_folder_of_clips(run_main, clips, tmp_path, copying_weights):
  out = tmp_path / 'out'
  flags = [
    f'--input={clips}',
    f'--mask={tmp_path / "masks"}',
    f'--output={out}',
    f'--model={copying_weights}',
    '--nopictures',
  ]
  process = run_main('feelvos_tf.segment', *flags)
  assert process.returncode == 1
  assert f'2 of 3 clips in {out}' in process.stdout
  assert 'torn: error:' in process.stderr and '2.png: a frame of 20x20' in process.stderr
  assert 'went wrong, see above: torn' in process.stderr
  mask = masks.read_mask(tmp_path / 'masks' / 'cow.png').ids
  for name, count in (('cow', 4), ('dog', 4), ('torn', 2)):
    found = sorted((out / name / 'masks').iterdir())
    assert [p.name for p in found] == [f'{i}.png' for i in range(count)]
    for path in found:
      np.testing.assert_array_equal(masks.read_mask(path).ids[::4, ::4], mask[::4, ::4])

  whole = cv2.resize(cv2.imread(str(clips / 'torn' / '2.png')), SIZE[::-1])
  for i in (2, 3):
    cv2.imwrite(str(clips / 'torn' / f'{i}.png'), whole)
  written = {p: p.stat().st_mtime_ns for p in out.glob('*/masks/*.png')}
  process = run_main('feelvos_tf.segment', *flags)
  assert process.returncode == 0, process.stderr
  for name in ('cow', 'dog'):
    assert f'{name}: is done' in process.stdout
  assert 'goes on after the 2 masks' in process.stdout and 'torn: 4 masks' in process.stdout
  assert {p: p.stat().st_mtime_ns for p in written} == written

  # A clip that got a further frame is not done.
  cv2.imwrite(str(clips / 'cow' / '4.png'), whole)
  process = run_main('feelvos_tf.segment', *flags)
  assert process.returncode == 0 and 'cow: 5 masks' in process.stdout, process.stderr

  # A clip that was replaced is not done; one whose pictures are missing gets them.
  cv2.imwrite(str(clips / 'dog' / '3.png'), whole)
  process = run_main('feelvos_tf.segment', *flags)
  assert process.returncode == 1
  assert 'results of other frames' in process.stderr and '2 of 3 clips' in process.stdout
  masks_there = {p: p.stat().st_mtime_ns for p in out.glob('*/masks/*.png')}
  process = run_main('feelvos_tf.segment', *flags, '--pictures')
  assert process.returncode == 1 and '2 of 3 clips' in process.stdout
  assert 'dog: error:' in process.stderr and 'results of other frames' in process.stderr
  assert sorted(p.parent.name for p in out.glob('*/overlay.mp4')) == ['cow', 'torn']
  assert {p: p.stat().st_mtime_ns for p in masks_there} == masks_there


def test_which_results_are_done(tmp_path):
  def run(name, content=b'a', finish=True):
    with result_folder.ResultFolder(tmp_path / 'out', name, overwrite=True) as output:
      output.job('', 'masks').write('masks/0.png', content)
      if finish:
        output.finish()

  holds = lambda name: result_folder.holds_results(tmp_path / 'out', name)
  assert not holds('one')
  run('one', finish=False)
  assert not holds('one')
  run('one')
  assert holds('one') and not holds('two')
  run('two', b'b')
  assert holds('two') and not holds('one')
  (tmp_path / 'out' / 'masks' / '0.png').write_bytes(b'painted over')
  assert not holds('two')

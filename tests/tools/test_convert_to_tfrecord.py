"""Conversion to TFRecords: sharding, resuming, bad videos, and the command line."""

import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from absl import flags
import cv2
import numpy as np
import programs
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.sources import static_images
from feelvos_tf.datasets.sources import synthetic
from feelvos_tf.datasets.sources import youtube_vos
from feelvos_tf.datasets.tfrecord import conversion
from feelvos_tf.datasets.tfrecord import planning
from feelvos_tf.datasets.tfrecord import shards
from feelvos_tf.datasets.tfrecord import videos as videos_lib
from feelvos_tf.tools import convert_to_tfrecord

ROOT = pathlib.Path(__file__).parents[2]
SIZE = (24, 32)


def write_video(path, num_frames=3, size=SIZE, ids=(1, 2)):
  """`<path>/frames` and `<path>/masks` with one square per id."""
  for part in ('frames', 'masks'):
    (path / part).mkdir(parents=True)
  for i in range(num_frames):
    cv2.imwrite(str(path / 'frames' / f'{i:03d}.jpg'), np.full(size + (3,), 30 * i, np.uint8))
    values = np.zeros(size, np.uint8)
    for k, value in enumerate(ids):
      values[4:12, 4 + 12 * k : 12 + 12 * k] = value
    masks.write_mask(path / 'masks' / f'{i:03d}.png', values)


@pytest.fixture
def data_dir(tmp_path):
  for name in ('a', 'b', 'c', 'd', 'e'):
    write_video(tmp_path / 'data' / name)
  return tmp_path / 'data'


def options(output_dir, **changes):
  return planning.ConversionOptions(
    str(output_dir), 'folder', 'train', **{'num_shards': 2, 'num_workers': 1, **changes}
  )


def convert(data_dir, output_dir, on_video=lambda frames, name: None, **changes):
  plan = planning.plan(folder.folder_sources(data_dir), options(output_dir, **changes))
  return conversion.convert(plan, on_video)


def contents(path):
  """{file name: bytes} of everything in a folder, hidden files too."""
  return {p.name: p.read_bytes() for p in path.iterdir()}


def run(*flags):
  return programs.run('tools.convert_to_tfrecord', *flags)


@pytest.mark.parametrize('num_shards', [1, 2, 3, 4, 5])
def test_no_video_is_lost_when_shards_do_not_divide(data_dir, tmp_path, num_shards):
  """The original drops the last videos in this case."""
  entry = convert(data_dir, tmp_path / 'out', num_shards=num_shards)
  sizes = [shard['videos'] for shard in entry['shards']]
  assert sum(sizes) == 5 and max(sizes) - min(sizes) <= 1 and len(sizes) == num_shards
  names = [v.name for v in videos_lib.record_videos(tmp_path / 'out', 'train')]
  assert names == ['a', 'b', 'c', 'd', 'e']


def test_manifest(data_dir, tmp_path):
  entry = convert(data_dir, tmp_path / 'out')
  assert (entry['num_videos'], entry['num_frames'], entry['num_masks'], entry['num_objects']) == (
    5,
    15,
    15,
    10,
  )
  assert entry['videos'][1] == {
    'name': 'b',
    'frames': 3,
    'masks': 3,
    'objects': [1, 2],
    'height': 24,
    'width': 32,
  }
  assert json.loads((tmp_path / 'out' / 'manifest.json').read_text())['splits']['train'] == entry
  assert sorted(contents(tmp_path / 'out')) == [
    'manifest.json',
    'train-00000-of-00002.tfrecord',
    'train-00001-of-00002.tfrecord',
  ]


def test_splits_share_a_folder(data_dir, tmp_path):
  convert(data_dir, tmp_path / 'out')
  sources = synthetic.synthetic_sources(2, num_frames=2, frame_size=SIZE)
  val = planning.ConversionOptions(str(tmp_path / 'out'), 'synthetic', 'val', num_workers=1)
  conversion.convert(planning.plan(sources, val))
  assert len(shards.list_shards(tmp_path / 'out', 'train')) == 2
  assert len(shards.list_shards(tmp_path / 'out', 'val')) == 1


def test_interrupted_run_ends_with_the_same_bytes(data_dir, tmp_path):
  convert(data_dir, tmp_path / 'undisturbed', num_shards=3)

  def stop_in_third_shard(frames, name):
    if name == 'd':
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    convert(data_dir, tmp_path / 'out', stop_in_third_shard, num_shards=3)
  assert 'manifest.json' not in contents(tmp_path / 'out')
  with pytest.raises(ValueError, match='has not finished'):
    shards.list_shards(tmp_path / 'out', 'train')
  (tmp_path / 'out' / 'train-00002-of-00003.tfrecord.99.tmp').write_bytes(b'left by a kill')
  seen = []
  convert(data_dir, tmp_path / 'out', lambda frames, name: seen.append(name), num_shards=3)
  assert seen == ['d', 'e']  # Only what was missing.
  assert contents(tmp_path / 'out') == contents(tmp_path / 'undisturbed')


def test_finished_conversion_is_not_done_again(data_dir, tmp_path):
  convert(data_dir, tmp_path / 'out')
  before, seen = contents(tmp_path / 'out'), []
  convert(data_dir, tmp_path / 'out', lambda frames, name: seen.append(name))
  assert not seen and contents(tmp_path / 'out') == before


def test_finished_shards_and_their_sources_are_read_once(data_dir, tmp_path, monkeypatch):
  """As the command does, which says first how many shards are done."""
  convert(data_dir, tmp_path / 'out')
  read, sha256 = [], shards.file_sha256
  monkeypatch.setattr(shards, 'file_sha256', lambda path: read.append(path) or sha256(path))
  define = flags.FlagValues()
  monkeypatch.setattr(convert_to_tfrecord, 'FLAGS', define)
  flags.DEFINE_string('dataset', 'folder', '', flag_values=define)
  flags.DEFINE_string('split', 'train', '', flag_values=define)
  define(['convert-data'])
  plan = planning.plan(folder.folder_sources(data_dir), options(tmp_path / 'out'))
  convert_to_tfrecord._convert_here(plan)
  assert len(read) == len(set(read)) == 2 + 5 * 3 * 2  # Shards, frames and masks.


def test_damaged_shard_is_written_again(data_dir, tmp_path):
  convert(data_dir, tmp_path / 'out')
  before, path = contents(tmp_path / 'out'), tmp_path / 'out' / 'train-00001-of-00002.tfrecord'
  path.write_bytes(path.read_bytes()[:-5])
  convert(data_dir, tmp_path / 'out')
  assert contents(tmp_path / 'out') == before


def test_a_shard_of_changed_masks_is_written_again(data_dir, tmp_path):
  """Of five videos in two shards; also of photos, which have no folders of their own."""
  out = tmp_path / 'out'
  convert(data_dir, out)
  corrected = np.zeros(SIZE, np.uint8)
  corrected[2:9, 2:9] = 1
  masks.write_mask(data_dir / 'd' / 'masks' / '001.png', corrected)
  written = []
  convert(data_dir, out, lambda frames, name: written.append(name))
  assert written == ['c', 'd', 'e']
  video = next(v for v in videos_lib.record_videos(out, 'train') if v.name == 'd')
  np.testing.assert_array_equal(video.mask(1).ids, corrected)
  (data_dir / 'a' / 'frames' / '.DS_Store').write_bytes(b'x')
  (data_dir / 'a' / 'notes.txt').write_bytes(b'x')
  convert(data_dir, out, lambda frames, name: pytest.fail(name))

  for part, name in (
    ('images', 'x.png'),
    ('masks', 'x.png'),
    ('images', 'y.png'),
    ('masks', 'y.png'),
  ):
    (tmp_path / 'photos' / part).mkdir(parents=True, exist_ok=True)
    masks.write_mask(tmp_path / 'photos' / part / name, corrected)
  written.clear()
  for ids in (corrected, 1 - corrected, 1 - corrected):
    masks.write_mask(tmp_path / 'photos' / 'masks' / 'y.png', ids)
    sources = static_images.static_image_sources(tmp_path / 'photos', 'train', num_frames=2)
    plan = planning.plan(sources, options(tmp_path / 'stills'))
    conversion.convert(plan, lambda frames, name: written.append(name))
  assert written == ['x', 'y', 'y']


def write_meta(root, first_frames):
  """Videos a to e as YouTube-VOS has them, with two objects each; of b, object 2 appears later."""
  videos = {
    name: {
      'objects': {
        '1': {'category': 'cow', 'frames': ['000', '001', '002']},
        '2': {'category': 'ape', 'frames': first_frames if name == 'b' else ['000']},
      }
    }
    for name in 'abcde'
  }
  (root / 'train' / 'meta.json').write_text(json.dumps({'videos': videos}))


def test_a_shard_of_a_changed_list_is_written_again(tmp_path):
  """What meta.json says of a video is in its record; the list is mended after an interruption."""
  for name in 'abcde':
    write_video(tmp_path / name)
    for part, here in (('frames', 'JPEGImages'), ('masks', 'Annotations')):
      (tmp_path / 'data' / 'train' / here).mkdir(parents=True, exist_ok=True)
      (tmp_path / name / part).rename(tmp_path / 'data' / 'train' / here / name)
  out, written = tmp_path / 'out', []

  def convert_all(on_video):
    sources = youtube_vos.youtube_vos_sources(tmp_path / 'data')
    conversion.convert(planning.plan(sources, options(out)), on_video)

  def stop_in_second_shard(frames, name):
    if name == 'c':
      raise KeyboardInterrupt

  write_meta(tmp_path / 'data', ['001', '002'])
  with pytest.raises(KeyboardInterrupt):
    convert_all(stop_in_second_shard)
  for first_frames in (['002'], ['000', '002'], ['000', '001', '002']):
    write_meta(tmp_path / 'data', first_frames)
    convert_all(lambda frames, name: written.append(name))
    video = next(v for v in videos_lib.record_videos(out, 'train') if v.name == 'b')
    assert video.object_first_frames == {1: 0, 2: int(first_frames[0])}
  # All after the interruption, then the shard of b, then nothing: its first frame is the same.
  assert written == ['a', 'b', 'c', 'd', 'e', 'a', 'b']


@pytest.mark.parametrize('text', ['', '{"fing', '[]'])
def test_a_note_that_was_cut_off_is_one_of_this_conversion(data_dir, tmp_path, text):
  convert(data_dir, tmp_path / 'undisturbed')

  def stop_in_second_shard(frames, name):
    if name == 'd':
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    convert(data_dir, tmp_path / 'out', stop_in_second_shard)
  (tmp_path / 'out' / '.train-00000-of-00002.tfrecord.done.json').write_text(text)
  convert(data_dir, tmp_path / 'out')
  assert contents(tmp_path / 'out') == contents(tmp_path / 'undisturbed')


def test_a_file_that_may_not_be_read_is_skipped_with_its_video(data_dir, tmp_path, monkeypatch):
  """Not only by what encodes it: the contents of all files are noted first."""
  path = data_dir / 'c' / 'masks' / '001.png'
  refuse, read, sha256 = PermissionError(13, 'denied'), pathlib.Path.read_bytes, shards.file_sha256

  def or_refused(function):
    def call(asked):
      if asked == path:
        raise refuse
      return function(asked)

    return call

  monkeypatch.setattr(pathlib.Path, 'read_bytes', or_refused(read))
  monkeypatch.setattr(shards, 'file_sha256', or_refused(sha256))
  entry = convert(data_dir, tmp_path / 'out', on_error='skip')
  assert [video['name'] for video in entry['skipped']] == ['c'] and entry['num_videos'] == 4


def test_another_conversion_in_the_folder_is_refused(data_dir, tmp_path):
  convert(data_dir, tmp_path / 'out')
  before = contents(tmp_path / 'out')
  write_video(data_dir / 'f')
  for changes in ({}, {'num_shards': 3}):
    with pytest.raises(ValueError, match='holds another conversion of split .train.'):
      convert(data_dir, tmp_path / 'out', **changes)
  shutil.rmtree(data_dir / 'f')
  with pytest.raises(ValueError, match='holds another conversion'):
    convert(data_dir, tmp_path / 'out', allow_void=True)
  assert contents(tmp_path / 'out') == before


def test_a_shard_of_another_origin_is_not_replaced(data_dir, tmp_path):
  """The original's converter writes shards of these names, and no manifest."""
  path = tmp_path / 'out' / 'train-00001-of-00002.tfrecord'
  path.parent.mkdir()
  path.write_bytes(b'of another program')
  with pytest.raises(
    ValueError, match='00001-of-00002.tfrecord: a file that no conversion of this'
  ):
    convert(data_dir, tmp_path / 'out')
  assert contents(tmp_path / 'out') == {path.name: b'of another program'}


def _wrong_size(video):
  cv2.imwrite(str(video / 'frames' / '001.jpg'), np.zeros((20, 32, 3), np.uint8))


def _unreadable(video):
  path = video / 'frames' / '001.jpg'
  path.write_bytes(path.read_bytes()[:100])


def _mask_with(value):
  def change(video):
    masks.write_mask(video / 'masks' / '001.png', np.full(SIZE, value, np.uint8))

  return change


def _sixteen_bits(video):
  cv2.imwrite(str(video / 'masks' / '001.png'), np.full(SIZE, 300, np.uint16))


def _mask_size(video):
  masks.write_mask(video / 'masks' / '001.png', np.ones((10, 10), np.uint8))


BAD = {
  'size': (_wrong_size, r'001.jpg: a frame of 20x32 .* expected 24x32'),
  'missing_mask': (lambda v: (v / 'masks' / '001.png').unlink(), 'no mask for frame 001'),
  'no_masks': (lambda v: shutil.rmtree(v / 'masks'), 'masks: no such folder'),
  'unreadable': (_unreadable, '001.jpg: unreadable picture'),
  'id_255': (_mask_with(255), 'holds id 255'),
  'id_300': (_sixteen_bits, '16 bits per pixel'),
  'mask_size': (_mask_size, 'a mask of 10x10 .* expected 24x32'),
  'no_frames': (lambda v: [p.unlink() for p in (v / 'frames').iterdir()], 'a video of 0 frames'),
  'stray_mask': (
    lambda v: (v / 'masks' / '001.png').rename(v / 'masks' / 'x.png'),
    'x.png: a mask without a frame',
  ),
}


@pytest.mark.parametrize('kind', list(BAD))
def test_bad_video_fails_or_is_skipped_by_name(data_dir, tmp_path, kind):
  change, message = BAD[kind]
  change(data_dir / 'c')
  with pytest.raises(ValueError, match=f'video c: .*{message}'):
    convert(data_dir, tmp_path / 'fail')
  assert 'manifest.json' not in contents(tmp_path / 'fail')
  entry = convert(data_dir, tmp_path / 'skip', on_error='skip')
  assert [v['name'] for v in entry['videos']] == ['a', 'b', 'd', 'e']
  (skipped,) = entry['skipped']
  assert skipped['name'] == 'c' and skipped['reason'].startswith('video c: ')
  assert shards.list_shards(tmp_path / 'skip', 'train')


def test_too_many_open_files_are_no_fault_of_a_video(data_dir, tmp_path, monkeypatch):
  read = pathlib.Path.read_bytes

  def full(path):
    if path.parent == data_dir / 'c' / 'masks':
      raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
    return read(path)

  monkeypatch.setattr(pathlib.Path, 'read_bytes', full)
  with pytest.raises(OSError, match='Too many open files'):
    convert(data_dir, tmp_path / 'out', on_error='skip')
  monkeypatch.undo()
  convert(data_dir, tmp_path / 'out', on_error='skip')
  convert(data_dir, tmp_path / 'undisturbed')
  assert contents(tmp_path / 'out') == contents(tmp_path / 'undisturbed')


def test_mended_video_is_taken_up_by_the_next_run(data_dir, tmp_path):
  convert(data_dir, tmp_path / 'undisturbed')
  _unreadable(data_dir / 'c')
  convert(data_dir, tmp_path / 'out', on_error='skip')
  shutil.rmtree(data_dir / 'c')
  write_video(data_dir / 'c')
  convert(data_dir, tmp_path / 'out', on_error='skip')
  assert contents(tmp_path / 'out') == contents(tmp_path / 'undisturbed')


def test_all_videos_bad(data_dir, tmp_path):
  for video in data_dir.iterdir():
    _unreadable(video)
  with pytest.raises(ValueError, match='all 5 videos are bad; the first: video a: '):
    convert(data_dir, tmp_path / 'out', on_error='skip')


def test_splits_of_a_folder(data_dir):
  with pytest.raises(ValueError, match='an empty split'):
    (data_dir / 'empty.txt').write_text('')
    folder.folder_sources(data_dir, 'empty')
  (data_dir / 'val.txt').write_text('d\nb\n')
  assert [s.name for s in folder.folder_sources(data_dir, 'val')] == ['d', 'b']
  with pytest.raises(ValueError, match="no split 'train'.* lists found: empty, val"):
    folder.folder_sources(data_dir, 'train')
  assert len(folder.folder_sources(data_dir, 'all')) == 5
  write_video(data_dir / 'test' / 'z')
  assert [s.name for s in folder.folder_sources(data_dir, 'test')] == ['z']


def test_command_line(golden, tmp_path):
  """DAVIS in two processes; the records hold what the original's hold."""
  out = run(
    '--dataset=davis2017',
    f'--data_dir={golden.path("tf1/tfrecord/DAVIS")}',
    '--split=val',
    f'--output_dir={tmp_path}',
    '--num_shards=2',
    '--num_workers=2',
  )
  assert out.returncode == 0, out.stderr
  assert '3 videos, 12 frames, 12 masks, 5 objects in 2 shards' in out.stdout
  assert 'videos/s' in out.stderr  # The progress line.
  videos = list(videos_lib.record_videos(tmp_path, 'val'))
  theirs = list(videos_lib.record_videos(golden.path('tf1/tfrecord/val_1shard'), 'val'))
  for ours, original in zip(videos, theirs, strict=True):
    assert ours.name == original.name
    for i in range(4):
      np.testing.assert_array_equal(ours.frame(i), original.frame(i))
      np.testing.assert_array_equal(ours.mask(i).ids, original.mask(i).ids)


@pytest.mark.parametrize(
  'flags, code, message',
  [
    (['--dataset=imagenet', '--output_dir=x'], 2, '--dataset=imagenet given, expected one'),
    (['--dataset=davis2017', '--output_dir=x'], 2, '--data_dir expected'),
    (['--dataset=synthetic'], 2, '--output_dir expected'),
    (
      ['--dataset=davis2017', '--data_dir=/nonexistent', '--output_dir=x'],
      1,
      '/nonexistent: no such folder; give that of the data set davis2017',
    ),
  ],
)
def test_command_line_errors(flags, code, message):
  out = run(*flags)
  assert out.returncode == code and message in out.stderr
  assert 'Traceback' not in out.stderr


@pytest.mark.slow
def test_killed_run_ends_with_the_same_bytes(tmp_path):
  flags = [
    '--dataset=synthetic',
    '--num_videos=24',
    '--num_frames=12',
    '--num_shards=8',
    '--frame_size=240,320',
    '--num_workers=2',
  ]
  assert run(*flags, f'--output_dir={tmp_path / "undisturbed"}').returncode == 0
  out = tmp_path / 'out'
  process = subprocess.Popen(
    [sys.executable, '-m', 'tools.convert_to_tfrecord', *flags, f'--output_dir={out}'],
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  deadline = time.monotonic() + 120
  # A shard that has a successor in its process has its note.
  while len(list(out.glob('*.tfrecord'))) < 3 and time.monotonic() < deadline:
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.wait()
  done = len(list(out.glob('*.tfrecord')))
  assert 0 < done < 8 and not (out / 'manifest.json').exists()
  again = run(*flags, f'--output_dir={out}')
  assert again.returncode == 0 and 'of 8 shards are done already' in again.stdout
  assert contents(out) == contents(tmp_path / 'undisturbed')

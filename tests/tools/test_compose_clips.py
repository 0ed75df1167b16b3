"""The command that composes clips: what it writes, and that the project reads it."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.composition import Track
from feelvos_tf.datasets.composition_plan import CompositionOptions
from feelvos_tf.datasets.composition_plan import plan_clip
from feelvos_tf.datasets.sources.davis import davis_videos
from feelvos_tf.runtime import result_folder
from feelvos_tf.tools import compose_clips
from feelvos_tf.tools import composed_scores

NAMES = ('one', 'two', 'three')


@pytest.fixture(scope='module')
def davis(tmp_path_factory):
  """A folder in DAVIS layout: three sequences with one square each."""
  root = tmp_path_factory.mktemp('davis')
  (root / 'ImageSets' / '2016').mkdir(parents=True)
  (root / 'ImageSets' / '2016' / 'val.txt').write_text('\n'.join(NAMES) + '\n')
  for number, name in enumerate(NAMES):
    for kind in ('JPEGImages', 'Annotations'):
      (root / kind / '480p' / name).mkdir(parents=True)
    for t in range(20):
      ids = np.zeros((120, 200), np.uint8)
      ids[40:85, 80 + t : 125 + t] = 1
      image = np.full((120, 200, 3), 60 + 40 * number, np.uint8)
      image[ids > 0] = (250, 80 * number, 0)
      cv2.imwrite(str(root / 'JPEGImages' / '480p' / name / f'{t:05d}.jpg'), image)
      masks.write_mask(root / 'Annotations' / '480p' / name / f'{t:05d}.png', ids)
  return root


def files(folder):
  found = [p for p in folder.rglob('*') if p.is_file() and p.name != result_folder.JOURNAL]
  return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def test_clips_in_davis_layout(davis, tmp_path, run_main):
  output = tmp_path / 'composed'
  numbers = ('--clips=3', '--frames=20', '--objects=2..3')
  flags = (f'--davis_root={davis}', f'--output_dir={output}', *numbers)
  done = run_main('tools.compose_clips', *flags)
  assert done.returncode == 0, done.stderr
  assert done.stdout == f'{output}: 3 clips, 60 frames.\n'
  about = json.loads((output / 'composition.json').read_text())
  videos = davis_videos(output, '2017', 'val')
  assert [video.name for video in videos] == [clip['name'] for clip in about]
  for video, clip in zip(videos, about, strict=True):
    assert video.num_frames == len(video.masked_frames) == clip['frames'] == 20
    assert video.frame_size == (120, 200)
    ids = [entry['id'] for entry in clip['objects']]
    assert video.mask(0).object_ids == tuple(ids) == tuple(range(1, len(ids) + 1))
    assert 2 <= len(ids) <= 4
  groups = composed_scores.to_groups(about)
  every = [f'{clip["name"]}_{one["id"]}' for clip in about for one in clip['objects']]
  assert list(groups['all objects']) == every
  for parts in (['with a twin', 'without a twin'], list(groups)[4:]):
    assert sorted(name for part in parts for name in groups[part]) == sorted(every)
  again = run_main('tools.compose_clips', *flags)
  assert again.returncode == 1
  assert again.stderr.startswith('tools.compose_clips: error: ') and 'not empty' in again.stderr
  before = files(output)
  own, changed = output / 'diary.txt', output / 'ImageSets' / '2017' / 'val.txt'
  own.write_text('mine')
  assert run_main('tools.compose_clips', *flags, '--overwrite').returncode == 0
  assert files(output) == {**before, 'diary.txt': b'mine'}
  changed.write_text('mine as well\n')
  again = run_main('tools.compose_clips', *flags, '--overwrite')
  assert again.returncode == 1 and 'val.txt: a file that no earlier run wrote' in again.stderr
  assert files(output) == {
    **before,
    'diary.txt': b'mine',
    'ImageSets/2017/val.txt': b'mine as well\n',
  }


def test_names_of_other_bytes(davis, tmp_path):
  tracks = [Track(video) for video in davis_videos(davis)]
  plan = plan_clip(tracks, 0, CompositionOptions(20, objects=(2, 3)))
  plan = dataclasses.replace(plan, name='caf\udce9', num_frames=1)
  with result_folder.ResultFolder(tmp_path / 'out', 'run') as output:
    compose_clips.write([plan], output)
  assert (tmp_path / 'out' / 'ImageSets' / '2017' / 'val.txt').read_bytes() == b'caf\xe9\n'
  assert [video.name for video in davis_videos(tmp_path / 'out', '2017')] == ['caf\udce9']


@pytest.mark.parametrize(
  'flags, code, message',
  [
    ((), 2, '--davis_root is missing'),
    (('--davis_root=none', '--output_dir=x'), 1, 'none: no folder JPEGImages/480p'),
    (('--davis_root=.', '--output_dir=x', '--objects=some'), 2, '--objects=some; expected a num'),
    (('--davis_root=.', '--output_dir=x', '--objects=1'), 2, 'objects is 1 to 1; expected 2 to 8'),
  ],
)
def test_wrong_usage(run_main, flags, code, message):
  done = run_main('tools.compose_clips', *flags)
  assert done.returncode == code
  assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_ranges():
  assert compose_clips.parse_range('3') == (3, 3)
  assert compose_clips.parse_range('2..4') == (2, 4)

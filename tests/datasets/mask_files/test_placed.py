"""Which frame a mask belongs to, as people write it."""

import pathlib

import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.mask_files import placed
from feelvos_tf.datasets.sources import folder


@pytest.fixture
def video(tmp_path):
  (tmp_path / 'frames').mkdir()
  for i in range(4):
    masks.write_mask(tmp_path / 'frames' / f'shot{i + 10}.png', np.full((8, 9), i, np.uint8))
  return folder.open_video(tmp_path / 'frames')


@pytest.fixture
def files(tmp_path, monkeypatch):
  """Function: makes files below the current folder, masks of object 1."""
  monkeypatch.chdir(tmp_path)

  def make(*names):
    for name in names:
      pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
      masks.write_mask(name, np.ones((8, 9), np.uint8))

  return make


def test_a_frame_before_the_colon(files, video):
  files('late.png', '30:own.png', 'a:b.png', 'shot11')
  parse = lambda text: (placed.parse(text).frame, str(placed.parse(text).path))
  assert parse('late.png') == (None, 'late.png')
  assert parse('3:late.png') == ('3', 'late.png')
  assert parse('shot12:late.png') == ('shot12', 'late.png')
  assert parse('30:own.png') == (None, '30:own.png')  # A file of that name.
  assert parse('2:30:own.png') == ('2', '30:own.png')
  assert parse('2:a:b.png') == ('2', 'a:b.png')
  with pytest.raises(FileNotFoundError, match='3:none.png: no such mask file; check --mask'):
    placed.parse('3:none.png')
  with pytest.raises(ValueError, match='an address .https:. given'):
    placed.parse('3:https://example.org/late.png')
  with pytest.raises(ValueError, match='--mask: an empty name given'):
    placed.parse('')


def test_numbers_count_from_0_and_names_come_first(video):
  index = lambda text: placed.frame_index(text, video, '--start')
  assert [index(text) for text in ('0', '3', 'shot13', 2)] == [0, 3, 3, 2]
  with pytest.raises(ValueError, match='--start: frame 4 given, expected 0..3 or the name'):
    index('4')
  with pytest.raises(ValueError, match="--start: frame 'x' given, .* for example shot10"):
    index('x')


def test_files_by_frame(files, video):
  files('a.png', 'b.png', 'some/shot11.png', 'some/shot13.png', 'some/other.png')
  by_frame = lambda *values: {
    i: [str(p) for p in paths]
    for i, paths in placed.files_by_frame([placed.parse(v) for v in values], video, 0).items()
  }
  assert by_frame('a.png', '2:b.png') == {0: ['a.png'], 2: ['b.png']}
  assert by_frame('a.png', 'b.png') == {0: ['a.png', 'b.png']}
  assert by_frame('some') == {1: ['some/shot11.png'], 3: ['some/shot13.png']}


@pytest.mark.parametrize('below', ['Annotations/480p/bear', 'bear'])
def test_a_tree_of_sparse_masks(files, video, below):
  files(f'tree/{below}/shot10.png', f'tree/{below}/shot12.png', 'tree/Annotations/480p/cat/x.png')
  places = [placed.parse('tree')]
  found = placed.files_by_frame(places, video, 0, 'Annotations/480p/bear')
  assert {i: [p.name for p in paths] for i, paths in found.items()} == {
    0: ['shot10.png'],
    2: ['shot12.png'],
  }


def test_only_one_of_several_masks_needs_an_object(files, video):
  files('a.png')
  masks.write_mask('empty.png', np.zeros((8, 9), np.uint8))
  read = lambda *values: placed.read(
    placed.files_by_frame([placed.parse(v) for v in values], video, 0), video
  )
  assert [g.mask.object_ids for g in read('a.png', '2:empty.png').values()] == [(1,), ()]
  with pytest.raises(ValueError, match='empty.png: a mask without any object given'):
    read('empty.png')

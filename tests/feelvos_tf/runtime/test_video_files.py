"""`segment_video` with all that one can ask for: several masks, removals, directions, a box."""

import io
import json
import os
import pathlib
import shutil
import sys

import cv2
import numpy as np
import pytest

import feelvos_tf
from feelvos_tf.datasets import masks
from feelvos_tf.model import weights

# Stride 4 samples these frames where the copying model keeps what it was given.
SIZE, COUNT = (33, 49), 5


def boxes(*given):
  """uint8 [33, 49] with (id, left) each: a square of 16 pixels."""
  ids = np.zeros(SIZE, np.uint8)
  for object_id, left in given:
    ids[8:24, left : left + 16] = object_id
  return ids


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
  """Function: name of a mask -> its file; the frames are in `frames`."""
  path = tmp_path_factory.mktemp('clip')
  (path / 'frames').mkdir()
  for i in range(COUNT):
    image = np.full((*SIZE, 3), 40, np.uint8)
    image[8:24, 4:20] = (30, 200, 240)
    cv2.imwrite(str(path / 'frames' / f'{i}.png'), image)
  for name, ids in {'left': boxes((3, 4)), 'both': boxes((3, 4), (17, 28))}.items():
    masks.write_mask(path / f'{name}.png', ids)
  masks.write_mask(path / 'new.png', boxes((17, 28)))
  return path


@pytest.fixture
def read_as_copying(monkeypatch, copying_graph):
  """Weights files are read as `copying_graph`: building and tracing each time takes seconds."""
  monkeypatch.setattr(weights, 'load_model', lambda *args, **options: copying_graph)


def run(clip, output, model, mask, **options):
  """Ids of every frame that got a mask: {index: what the copying model keeps exactly}."""
  mask = mask and {frame: clip / f'{name}.png' for frame, name in mask.items()}
  folder = feelvos_tf.segment_video(
    clip / 'frames', mask, output, model, pictures=False, precision='float32', **options
  )
  return {int(p.stem): masks.read_mask(p).ids[::4, ::4] for p in sorted(folder.iterdir())}


@pytest.mark.parametrize(
  'mask, options, expected',
  [
    # A mask of a new object adds it; from frame 3 on it is gone.
    (
      {0: 'left', 2: 'new'},
      {'remove': np.array([[17, 3]])},
      {0: 'left', 1: 'left', 2: 'both', 3: 'left', 4: 'left'},
    ),
    ({3: 'both'}, {'direction': 'backward', 'start': 1}, dict.fromkeys((1, 2, 3), 'both')),
    (
      {1: 'both', 3: 'both'},
      {'direction': 'both', 'remove': [(17, 4)]},
      {0: 'both', 1: 'both', 2: 'both', 3: 'both', 4: 'left'},
    ),
    ({'1': 'left'}, {'end': '3'}, dict.fromkeys((1, 2, 3), 'left')),
  ],
)
def test_plans(clip, tmp_path, copying_graph, mask, options, expected):
  found = run(clip, tmp_path / 'out', copying_graph, mask, **options)
  wanted = {'left': boxes((3, 4)), 'both': boxes((3, 4), (17, 28))}
  assert sorted(found) == sorted(expected)
  for index, name in expected.items():
    np.testing.assert_array_equal(found[index], wanted[name][::4, ::4], err_msg=f'frame {index}')


@pytest.mark.parametrize(
  'mask, options, line',
  [
    ({2: 'left'}, {'start': 0}, 'frames 0 to 1 lie before the first mask and get none'),
    ({1: 'left'}, {'direction': 'backward'}, 'frames behind 1, the last mask, get none'),
    (
      {0: 'left', 4: 'both'},
      {'end': 2},
      'masks of the frames 4 lie outside --start and --end and are left out',
    ),
  ],
)
def test_frames_and_masks_that_do_not_count_are_told(
  clip, tmp_path, copying_graph, capsys, mask, options, line
):
  run(clip, tmp_path / 'out', copying_graph, mask, **options)
  assert line in capsys.readouterr().out


@pytest.mark.parametrize(
  'mask, kind',
  [
    (np.zeros(SIZE, np.uint8), 'ndarray'),
    ([np.zeros(SIZE, np.uint8)], 'list'),
    ({0: np.zeros(SIZE, np.uint8)}, 'ndarray'),
    (3, 'int'),
    (b'a.png', 'bytes'),
  ],
)
def test_a_mask_that_is_no_path(clip, tmp_path, mask, kind):
  with pytest.raises(ValueError, match=f'^mask: {kind} given, expected the path of a file'):
    feelvos_tf.segment_video(clip / 'frames', mask, tmp_path / 'out')


@pytest.mark.parametrize(
  'options, message',
  [
    ({'remove': (3, 2)}, r'^remove: \(3, 2\) given, expected a list of pairs such as \[\(2, 40\)'),
    ({'remove': {3: 2}}, r'^remove: \{3: 2\} given, expected a list of pairs'),
    ({'drawings': ('box', '9,9,4,3')}, r"^drawings: \('box', '9,9,4,3'\) given, expected a list"),
    ({'formats': 'coco'}, "^formats: 'coco' given, expected a list of forms"),
  ],
)
def test_one_where_several_are_expected(clip, tmp_path, options, message):
  with pytest.raises(ValueError, match=message):
    run(clip, tmp_path / 'out', None, {0: 'left'}, **options)


@pytest.mark.parametrize('output', ['s3://bucket/out', pathlib.Path('s3://bucket/out')])
def test_an_address_is_no_folder(clip, tmp_path, monkeypatch, output):
  """The masks went to a folder called `s3:`."""
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match=r'^output=s3:/+bucket/out: an address \(s3:\) given'):
    feelvos_tf.segment_video(clip / 'frames', clip / 'left.png', output)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'name, encoding, told', [(b'v\xe4d', 'utf-8', 'v?d: '), ('牛'.encode(), 'cp1252', r'\u725b: ')]
)
def test_a_name_that_standard_output_cannot_take_is_told(
  clip, tmp_path, copying_graph, monkeypatch, name, encoding, told
):
  """The last line ended in a UnicodeEncodeError, and the results counted as unfinished."""
  odd = tmp_path / os.fsdecode(name)
  shutil.copytree(clip / 'frames', odd)
  stream = io.TextIOWrapper(io.BytesIO(), encoding, errors='strict')
  monkeypatch.setattr(sys, 'stdout', stream)
  feelvos_tf.segment_video(odd, clip / 'left.png', tmp_path / 'out', copying_graph, pictures=False)
  assert told in stream.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize('name', ['input', 'output'])
def test_an_empty_name_is_not_the_current_folder(clip, tmp_path, monkeypatch, name):
  """Pictures that lay there were segmented."""
  monkeypatch.chdir(clip / 'frames')
  places = {'input': clip / 'frames', 'output': tmp_path / 'out', name: ''}
  with pytest.raises(ValueError, match=f'^{name}: an empty name given, expected a file or folder'):
    feelvos_tf.segment_video(places['input'], clip / 'left.png', places['output'])


def test_a_form_that_cannot_be_written_is_refused_first(clip, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'pycocotools', None)
  with pytest.raises(ValueError, match=r"pip install 'feelvos-tf\[formats\]'"):
    run(clip, tmp_path / 'out', None, {0: 'left'}, formats=['coco'])
  assert not (tmp_path / 'out').exists()


def test_labels_of_ids_that_are_none(clip, tmp_path, copying_graph):
  """They named nothing, without a word; a text with the number of an id is one."""
  for label in ({1.9: 'dog'}, {True: 'dog'}, {256: 'dog'}, {3: ''}):
    with pytest.raises(ValueError, match='given, expected ID:NAME'):
      run(clip, tmp_path / 'out', copying_graph, {0: 'left'}, labels=label, formats=['coco'])
  run(clip, tmp_path / 'out', copying_graph, {0: 'left'}, labels={'3': 'dog'}, formats=['coco'])
  coco = tmp_path / 'out' / 'coco' / 'annotations' / 'instances_default.json'
  assert [one['name'] for one in json.loads(coco.read_text())['categories']] == ['dog']


def test_a_further_mask_segments_what_depends_on_it(
  clip, tmp_path, copying_weights, read_as_copying, capsys
):
  options = {'formats': ['coco'], 'labels': {3: 'dog', 17: 'ball'}}
  run(clip, tmp_path / 'out', copying_weights, {0: 'left'}, **options)
  capsys.readouterr()
  found = run(clip, tmp_path / 'out', copying_weights, {0: 'left', 3: 'new'}, **options)
  assert '3 masks do not depend on what changed and stay' in capsys.readouterr().out
  np.testing.assert_array_equal(found[4], boxes((3, 4), (17, 28))[::4, ::4])
  coco = tmp_path / 'out' / 'coco' / 'annotations' / 'instances_default.json'
  content = json.loads(coco.read_text())
  assert [(a['image_id'], a['track_id']) for a in content['annotations']] == [
    *((i, 3) for i in (1, 2, 3)),
    *((i, o) for i in (4, 5) for o in (3, 17)),
  ]


def test_a_finished_run_gets_its_pictures_later(clip, tmp_path, copying_weights, read_as_copying):
  run(clip, tmp_path / 'out', copying_weights, {0: 'left'})
  mask = {0: clip / 'left.png'}
  feelvos_tf.segment_video(
    clip / 'frames', mask, tmp_path / 'out', copying_weights, precision='float32'
  )
  assert (tmp_path / 'out' / 'overlay.mp4').stat().st_size > 0


def test_a_finished_run_goes_on_behind_its_end(
  clip, tmp_path, copying_weights, read_as_copying, capsys
):
  options = {'formats': ['coco']}
  found = run(clip, tmp_path / 'out', copying_weights, {0: 'left'}, end=2, **options)
  assert sorted(found) == [0, 1, 2]
  found = run(clip, tmp_path / 'out', copying_weights, {0: 'left'}, **options)
  assert sorted(found) == [0, 1, 2, 3, 4]
  assert '3 masks do not depend on what changed and stay' in capsys.readouterr().out
  coco = tmp_path / 'out' / 'coco' / 'annotations' / 'instances_default.json'
  assert len(json.loads(coco.read_text())['images']) == COUNT
  for end in (None, 2):
    with pytest.raises(ValueError, match='holds the finished results of this command'):
      run(clip, tmp_path / 'out', copying_weights, {0: 'left'}, end=end, **options)


@pytest.mark.parametrize(
  'before, now, options',
  [
    ({0: 'left'}, {2: 'left'}, [{}, {}]),
    ({2: 'left'}, {0: 'left'}, [{'end': 3}, {'end': 1}]),
    ({1: 'left'}, {3: 'left'}, [{'start': 0}, {'start': 2}]),
  ],
)
def test_the_same_mask_of_another_frame(
  clip, tmp_path, copying_weights, read_as_copying, before, now, options
):
  """Counted from the first frame that gets a mask, both are given on the same frame."""
  direction = 'both' if 'start' in options[0] else 'forward'
  first, second = ({'direction': direction, **one} for one in options)
  found = run(clip, tmp_path / 'out', copying_weights, before, **first)
  with pytest.raises(ValueError, match='is not empty; choose another output folder or add'):
    run(clip, tmp_path / 'out', copying_weights, now, **second)
  assert {int(p.stem) for p in (tmp_path / 'out' / 'masks').iterdir()} == found.keys()
  with pytest.raises(ValueError, match='holds the finished results of this command'):
    run(clip, tmp_path / 'out', copying_weights, before, **first)


def test_a_box_to_start_and_a_mask_later(clip, tmp_path, copying_graph):
  drawings = [('box', '2,6,20,20,id=3'), ('polygon', '28,8;43,8;43,23;28,23,id=5')]
  found = run(clip, tmp_path / 'out', copying_graph, {3: 'both'}, drawings=drawings)
  drawn = np.zeros(SIZE, bool)
  drawn[6:26, 2:22] = True
  square = (boxes((3, 4)) == 3)[::4, ::4]
  assert (found[0][square] == 3).all() and not (found[0] == 3)[~drawn[::4, ::4]].any()
  assert ((found[0] == 5) == (boxes((5, 28)) == 5)[::4, ::4]).all()
  assert set(np.unique(found[2])) == {0, 3, 5}
  np.testing.assert_array_equal(found[4], boxes((3, 4), (17, 28))[::4, ::4])
  with pytest.raises(ValueError, match="kind 'circle' given, expected one of box, points"):
    run(clip, tmp_path / 'none', copying_graph, None, drawings=[('circle', '2,6,20')])
  with pytest.raises(ValueError, match='no mask given; expected a mask, or drawings'):
    run(clip, tmp_path / 'none', copying_graph, None)

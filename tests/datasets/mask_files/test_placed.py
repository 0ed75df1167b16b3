"""Which frame a mask belongs to, as people write it."""

import json
import pathlib
import types

import numpy as np
from PIL import Image
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.data_warning import DataWarning
from feelvos_tf.datasets.mask_files import placed
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.video import NumberedNames


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


@pytest.mark.parametrize(
  'names',
  [
    ['m/shot10_mask.png', 'm/shot12_mask.png'],
    ['m/shot10_1.png', 'm/shot10_2.png', 'm/shot12_1.png'],
  ],
)
def test_a_folder_of_masks_of_several_frames_that_is_taken_for_one_is_told(files, video, names):
  """The objects of all of them were on the first frame, without a word."""
  files(*names)
  with pytest.warns(DataWarning, match='shot10.*png and shot12.*png are named like several frames'):
    placed.files_by_frame([placed.parse('m')], video, 0)


@pytest.mark.parametrize(
  'names', [['m/shot10_1.png', 'm/shot10_2.png'], ['m/obj_1.png', 'm/obj_2.png']]
)
def test_objects_of_one_frame_are_no_reason_to_warn(files, video, names, recwarn):
  files(*names)
  assert list(placed.files_by_frame([placed.parse('m')], video, 0)) == [0]
  assert not recwarn.list


@pytest.mark.parametrize('num_frames', [20, None])
def test_dates_of_objects_are_no_frames_of_a_film(files, num_frames, recwarn):
  files('m/20240501_dog.png', 'm/20240502_cat.png')
  film = types.SimpleNamespace(
    name='v', seeks=False, num_frames=num_frames, frame_names=NumberedNames(num_frames)
  )
  assert list(placed.files_by_frame([placed.parse('m')], film, 0)) == [0]
  assert not recwarn.list


def test_a_mask_whose_name_begins_with_two_frames_is_not_several(files, video, recwarn):
  """The warning named one file twice."""
  files('frames/shot10_1.png', 'm/shot10_1_dog.png', 'm/shot10_1_cat.png')
  longer = folder.open_video('frames')
  assert list(placed.files_by_frame([placed.parse('m')], longer, 0)) == [0]
  assert not recwarn.list


def test_numbers_count_from_0_and_names_come_first(video):
  index = lambda text: placed.frame_index(text, video, '--start')
  assert [index(text) for text in ('0', '3', 'shot13', 2)] == [0, 3, 3, 2]
  with pytest.raises(ValueError, match='--start: frame 4 given, expected 0..3 or the name'):
    index('4')
  with pytest.raises(ValueError, match="--start: frame 'x' given, .* for example shot10"):
    index('x')


def test_a_number_that_may_be_meant_as_a_name(video):
  """Of frames counted from 1, or with gaps, the numbers in the names are others."""
  video.frame_names = ('00001', '00002', '00004', '00005')
  for text, index, other in (('1', 1, '00001'), ('2', 2, '00002')):
    with pytest.warns(DataWarning, match=f'--mask: frame {text}, counted .*; if {other} is meant'):
      assert placed.frame_index(text, video, '--mask') == index
  assert [placed.frame_index(text, video, '--mask') for text in ('0', '3', '00002')] == [0, 3, 1]
  video.frame_names = ('00000', '00001', '00002', '00003')
  assert placed.frame_index('2', video, '--mask') == 2


@pytest.mark.parametrize('seeks', [True, False])
def test_a_mask_that_is_named_like_another_frame(files, video, seeks, recwarn):
  if not seeks:
    video = types.SimpleNamespace(
      name='film', seeks=False, num_frames=20, frame_names=NumberedNames(20)
    )
  one, other = ('shot12.png', 'shot13.png') if seeks else ('00012.png', '00013.png')
  files(one, other, '00020.png', '20240501.png')
  by_frame = lambda default, *values: placed.files_by_frame(
    [placed.parse(value) for value in values], video, default
  )
  index = 2 if seeks else 12
  by_frame(index, one)
  by_frame(0, one, other)  # Two objects.
  by_frame(0, f'{index}:{one}')
  by_frame(0, '00020.png')
  video.num_frames, count = None, video.num_frames
  by_frame(0, '20240501.png')
  video.num_frames = count
  assert not recwarn.list
  name, video.name = video.name, one[:-4]  # A clip with its mask.
  by_frame(0, one)
  assert not recwarn.list
  video.name = name
  with pytest.warns(DataWarning, match=f'named like frame {one[:-4]} and taken for frame .*0[;,]'):
    assert list(by_frame(0, one)) == [0]


def test_files_by_frame(files, video):
  files('a.png', 'b.png', 'some/shot11.png', 'some/shot13.png', 'some/other.png')
  by_frame = lambda *values: {
    i: [str(p) for p in paths]
    for i, paths in placed.files_by_frame([placed.parse(v) for v in values], video, 0).items()
  }
  assert by_frame('a.png', '2:b.png') == {0: ['a.png'], 2: ['b.png']}
  assert by_frame('a.png', 'b.png') == {0: ['a.png', 'b.png']}
  with pytest.warns(DataWarning, match='left out, as named like no frame of frames: other.png'):
    assert by_frame('some') == {1: ['some/shot11.png'], 3: ['some/shot13.png']}


@pytest.mark.parametrize('values', [('some', '1:late.png'), ('shot11.png', 'some'), ('some',) * 2])
def test_a_further_mask_of_a_frame_that_a_folder_has_one_of(files, video, values):
  """Two files of a frame are one object each, which these are not."""
  files('late.png', 'shot11.png', 'some/shot10.png', 'some/shot11.png', 'some/shot13.png')
  places = [placed.parse(value) for value in values]
  with pytest.raises(ValueError, match=r'both some/shot1\d.png and .* given, expected one mask of'):
    placed.files_by_frame(places, video, 0)


def _indices(names, video):
  places = [placed.parse('some')]
  return {i: p.name for i, [p] in placed.files_by_frame(places, video, 0).items() if p.is_file()}


@pytest.mark.parametrize(
  'names, expected',
  [
    (['shot10.json', 'shot12.json', 'shot12.jpg'], {0: 'shot10.json', 2: 'shot12.json'}),
    (['shot11.txt', 'shot13.gif', 'labelmap.txt'], {1: 'shot11.txt', 3: 'shot13.gif'}),
    (['shot10.json', 'shot10.jpg', 'shot11.jpg'], {0: 'shot10.json'}),  # A photo without objects.
    (['shot11.png', 'shot11.txt', 'shot12.png'], {1: 'shot11.png', 2: 'shot12.png'}),
    (
      ['SegmentationClass/shot10.png', 'SegmentationClass/shot13.png'],
      {0: 'shot10.png', 3: 'shot13.png'},
    ),
    (['0010.png', '0012.png'], {0: '0010.png', 2: '0012.png'}),
    (['mask_010.png', 'mask_012.png'], {0: 'mask_010.png', 2: 'mask_012.png'}),
    (['0010.png', '0011.png', '0012.png', '0013.png'], {i: f'00{i + 10}.png' for i in range(4)}),
    (['10.png', '12.png'], {}),  # May be objects.
    (['0010.png', '0011.png'], {}),
    (['mask_0010.png', 'other_0012.png'], {}),
    (['0010.png', '0019.png'], {}),  # There is no such frame.
  ],
)
def test_how_masks_of_frames_are_named(files, video, names, expected):
  for name in names:
    path = pathlib.Path('some') / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  assert _indices(names, video) == expected


@pytest.mark.parametrize(
  'names, expected',
  [
    (['00000.png', '00030.png'], {0: '00000.png', 30: '00030.png'}),
    (['0000.png', '0030.png'], {0: '0000.png', 30: '0030.png'}),
    (['v_00001.png', 'v_00030.png'], {1: 'v_00001.png', 30: 'v_00030.png'}),
    (['frame_000000.json', 'frame_000030.json'], {0: 'frame_000000.json', 30: 'frame_000030.json'}),
    (['SegmentationClass/frame_000003.png'], {3: 'frame_000003.png'}),
    (['000.png', '030.png'], {0: '000.png', 30: '030.png'}),
    (['00030.png'], {30: '00030.png'}),
    # Of the first frame, or an object each.
    (['0001.png'], {}),
    (['cow_20240105.png'], {}),
    (['IMG_2034.png', 'IMG_2040.png'], {}),
    (['mask_0.png', 'mask_1.png'], {}),
    (['object_0001.png', 'object_0002.png'], {}),
    (['1.png', '30.png'], {}),
  ],
)
def test_how_masks_of_frames_of_a_film_are_named(files, names, expected):
  film = types.SimpleNamespace(name='v', seeks=False, num_frames=40, frame_names=NumberedNames(40))
  for name in names:
    path = pathlib.Path('some') / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  assert _indices(names, film) == expected


def test_letters_and_accents_apart(files, tmp_path):
  files('letters/B\u00e4r_0.png', 'letters/B\u00e4r_1.png', 'some/Ba\u0308r_1.png')
  video = folder.open_video(tmp_path / 'letters')
  assert _indices((), video) == {1: 'Ba\u0308r_1.png'}
  assert placed.frame_index('Ba\u0308r_1', video, '--mask') == 1


def test_two_masks_of_a_frame_in_one_folder(files, video):
  files('some/shot11.png', 'some/shot11.tif')
  with pytest.raises(ValueError, match='both shot11.png and shot11.tif given'):
    _indices((), video)


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


def _box(left):
  return [left, 1, left + 3, 1, left + 3, 5, left, 5]


def _colours(path, *lefts_and_colours):
  image = np.zeros((8, 9, 3), np.uint8)
  for left, colour in lefts_and_colours:
    image[1:5, left : left + 3] = colour
  Image.fromarray(image).save(path)


def _coco(path, *lefts_and_annotations):
  annotations = [
    {'image_id': 1, 'segmentation': [_box(left)], **more} for left, more in lefts_and_annotations
  ]
  categories = [{'id': 1, 'name': 'dog'}, {'id': 2, 'name': 'cat'}]
  images = [{'id': 1, 'file_name': 'x.png', 'height': 8, 'width': 9}]
  content = {'images': images, 'categories': categories, 'annotations': annotations}
  pathlib.Path(path).write_text(json.dumps(content))


def _labelme(path, *lefts_and_labels):
  shapes = [
    {'label': label, 'points': np.reshape(_box(left), (-1, 2)).tolist()}
    for left, label in lefts_and_labels
  ]
  content = {'imageHeight': 8, 'imageWidth': 9, 'shapes': shapes, 'imagePath': 'x.png'}
  pathlib.Path(path).write_text(json.dumps(content))


_RED, _BLUE, _GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)


@pytest.mark.parametrize(
  'write, suffix, first, late',
  [
    (_colours, 'png', [(0, _RED), (3, _GREEN)], [(0, _GREEN), (3, _RED), (6, _BLUE)]),
    (
      _coco,
      'json',
      [(0, {'category_id': 1}), (3, {'category_id': 2})],
      [(0, {'category_id': 2}), (3, {'category_id': 1}), (6, {'category_id': 9})],
    ),
    (
      _coco,
      'json',
      [(0, {'track_id': 1}), (3, {'attributes': {'track_id': 2}})],
      [(0, {'track_id': 2}), (3, {'track_id': 1}), (6, {'track_id': 3})],
    ),
    (_labelme, 'json', [(0, 'dog'), (3, 'cat')], [(0, 'cat'), (3, 'dog'), (6, 'emu')]),
    (_labelme, 'json', [(0, '1'), (3, '2')], [(0, '2'), (3, '1'), (6, '3')]),
    # Tracks and labels that can be ids on one of the frames only.
    (
      _coco,
      'json',
      [(0, {'track_id': 2}), (3, {'track_id': 300})],
      [(0, {'track_id': 300}), (3, {'track_id': 2}), (6, {'track_id': 1})],
    ),
    (
      _coco,
      'json',
      [(0, {'track_id': 1}), (3, {'track_id': 2})],
      [(0, {'track_id': 2}), (3, {'track_id': 1}), (6, {'track_id': 300})],
    ),
    (_labelme, 'json', [(0, '2'), (3, '300')], [(0, '300'), (3, '2'), (6, '1')]),
  ],
)
def test_an_object_has_one_id_on_all_frames(write, suffix, first, late, video, tmp_path):
  """Also where it is another one in the order of the second file."""
  write(tmp_path / f'first.{suffix}', *first)
  write(tmp_path / f'late.{suffix}', *late)
  paths = {0: [tmp_path / f'first.{suffix}'], 2: [tmp_path / f'late.{suffix}']}
  read = placed.read(paths, video)
  assert read[0].mask.ids[2, [1, 4]].tolist() == [1, 2]
  assert read[2].mask.ids[2, [1, 4, 7]].tolist() == [2, 1, 3]
  if read[0].mask.palette is not None:
    assert read[2].mask.palette[[1, 2, 3]].tolist() == [list(c) for c in (_RED, _GREEN, _BLUE)]


@pytest.mark.parametrize(
  'first',
  [
    (_colours, 'png', [(0, _RED), (3, _GREEN)]),
    (_coco, 'json', [(0, {'category_id': 1}), (3, {'category_id': 2})]),
    (_coco, 'json', [(0, {'track_id': 1}), (3, {'track_id': 2})]),
    (_labelme, 'json', [(0, 'dog'), (3, 'cat')]),
  ],
)
def test_ids_that_a_file_gives_stand_next_to_files_of_another_form(first, video, tmp_path):
  write, suffix, objects = first
  write(tmp_path / f'first.{suffix}', *objects)
  _labelme(tmp_path / 'late.json', (0, '2'), (3, '1'))
  _coco(tmp_path / 'later.json', (0, {'track_id': 2}), (3, {'track_id': 1}))
  paths = {0: f'first.{suffix}', 1: 'late.json', 2: 'later.json'}
  read = placed.read({i: [tmp_path / path] for i, path in paths.items()}, video)
  assert read[0].mask.ids[2, [1, 4]].tolist() == [1, 2]
  assert read[1].mask.ids[2, [1, 4]].tolist() == [2, 1]
  assert read[2].mask.ids[2, [1, 4]].tolist() == [2, 1]


def test_a_new_colour_alone_is_a_new_object(video, tmp_path):
  _colours(tmp_path / 'a.png', (0, _RED))
  _colours(tmp_path / 'b.png', (3, _BLUE))
  read = placed.read({0: [tmp_path / 'a.png'], 1: [tmp_path / 'b.png']}, video)
  assert read[0].mask.object_ids == (1,) and read[1].mask.object_ids == (2,)
  assert read[1].names == {2: '#0000ff'}


_WHITE = (255, 255, 255)


def _palette(path, colours, *lefts_and_ids):
  ids, palette = np.zeros((8, 9), np.uint8), np.zeros((256, 3), np.uint8)
  palette[1 : len(colours) + 1] = colours
  for left, object_id in lefts_and_ids:
    ids[1:5, left : left + 3] = object_id
  masks.write_mask(path, ids, palette)


@pytest.mark.parametrize('at', [(0, 2), (2, 0)], ids=['palette first', 'palette late'])
@pytest.mark.parametrize(
  'lefts_and_colours, expected',
  [([(3, _GREEN)], [0, 2, 0]), ([(3, _BLUE)], [0, 3, 0]), ([(0, _GREEN), (3, _RED)], [2, 1, 0])],
  ids=['one of two', 'a new one', 'both, exchanged'],
)
def test_colours_of_a_palette_are_colours_of_other_frames(
  video, tmp_path, at, lefts_and_colours, expected
):
  """Else a green object on another frame would be object 1, which is the red one here."""
  _palette(tmp_path / 'palette.png', [_RED, _GREEN], (0, 1), (3, 2))
  _colours(tmp_path / 'colours.png', *lefts_and_colours)
  read = placed.read(
    dict(sorted(zip(at, ([tmp_path / 'palette.png'], [tmp_path / 'colours.png'])))), video
  )
  assert read[at[0]].mask.ids[2, [1, 4, 7]].tolist() == [1, 2, 0]  # Values are ids.
  assert read[at[1]].mask.ids[2, [1, 4, 7]].tolist() == expected


@pytest.mark.parametrize('kind', ['L', 'RGB', 'P'])
def test_white_is_one_object_with_and_without_colours(video, tmp_path, kind):
  """White alone is value 255; next to red it would be object 1."""
  _colours(tmp_path / 'white.png', (0, _WHITE))
  Image.open(tmp_path / 'white.png').convert('L').convert(kind).save(tmp_path / 'first.png')
  _colours(tmp_path / 'late.png', (0, _WHITE), (3, _RED))
  read = placed.read({0: [tmp_path / 'first.png'], 2: [tmp_path / 'late.png']}, video)
  assert read[0].mask.object_ids == (255,)
  assert read[2].mask.ids[2, [1, 4, 7]].tolist() == [255, 2, 0]


def test_grey_values_say_nothing_about_colours(video, tmp_path):
  Image.fromarray(np.eye(8, 9, dtype=np.uint8)).save(tmp_path / 'first.png')
  _colours(tmp_path / 'late.png', (3, _RED))
  read = placed.read({0: [tmp_path / 'first.png'], 2: [tmp_path / 'late.png']}, video)
  assert (read[0].mask.object_ids, read[2].mask.object_ids) == ((1,), (1,))


def test_palettes_that_contradict_each_other_are_told(video, tmp_path):
  _palette(tmp_path / 'a.png', [_RED, _GREEN], (0, 1), (3, 2))
  _palette(tmp_path / 'b.png', [_GREEN, _RED], (0, 1), (3, 2))
  _colours(tmp_path / 'c.png', (0, _GREEN))
  read = placed.read({i: [tmp_path / f'{"abc"[i]}.png'] for i in range(3)}, video)
  assert read[1].mask.ids[2, [1, 4]].tolist() == [1, 2]
  assert 'frame 1: #00ff00 is value 1 here and object 2 on a frame before' in read[1].hints[0]
  assert read[2].mask.object_ids == (2,)


@pytest.mark.parametrize('colour', [_WHITE, _RED])
@pytest.mark.parametrize('is_folder', [False, True])
@pytest.mark.parametrize(
  'first, late, expected',
  [
    (['cat', 'dog'], ['dog', 'emu'], [2, 3]),  # In the order of each folder the dog would be 1.
    (['cat', 'dog'], ['dog'], [2]),
    (['cat1', 'dog2'], ['dog2', 'emu3'], [2, 3]),
    (['cat4', 'dog7'], ['dog7'], [7]),
    (['0_cat', '0_dog'], ['2_cat', '2_dog'], [1, 2]),  # No name comes again: the order counts.
  ],
)
def test_files_of_one_object_each_on_several_frames(
  video, tmp_path, first, late, expected, is_folder, colour
):
  paths = {}
  for index, names in ((0, first), (2, late)):
    (tmp_path / str(index)).mkdir()
    paths[index] = [tmp_path / str(index) / f'{name}.png' for name in names]
    for place, path in enumerate(paths[index]):
      _colours(path, (3 * place, colour))
    if is_folder:
      paths[index] = [tmp_path / str(index)]
  read = placed.read(paths, video)
  assert read[2].mask.ids[2, [1, 4][: len(late)]].tolist() == expected


def test_a_file_of_no_known_name_is_a_mask_of_its_values(video, tmp_path):
  for name in ('cat', 'dog', 'emu'):
    _colours(tmp_path / f'{name}.png', (0 if name == 'cat' else 3, _WHITE))
  paths = {0: [tmp_path / 'cat.png', tmp_path / 'dog.png'], 2: [tmp_path / 'emu.png']}
  assert placed.read(paths, video)[2].mask.object_ids == (255,)


def test_objects_of_a_mask_stay_apart_whatever_other_frames_say(video, tmp_path):
  """Red and blue are value 1 of two palettes; in one picture they are two objects all the same."""
  _palette(tmp_path / 'red.png', [_RED], (0, 1))
  _palette(tmp_path / 'blue.png', [_BLUE], (0, 1))
  _colours(tmp_path / 'both.png', (0, _RED), (3, _BLUE))
  paths = {i: [tmp_path / f'{name}.png'] for i, name in enumerate(('red', 'blue', 'both'))}
  assert placed.read(paths, video)[2].mask.ids[2, [1, 4]].tolist() == [1, 2]


def test_names_that_two_objects_have_tell_nothing(video, tmp_path):
  for name in 'ab':
    _labelme(tmp_path / f'{name}.json', (0, 'dog'), (3, 'dog'))
  read = placed.read({0: [tmp_path / 'a.json'], 1: [tmp_path / 'b.json']}, video)
  assert read[1].mask.ids[2, [1, 4]].tolist() == [1, 2]
  assert any('several objects called dog' in hint for hint in read[1].hints)


def test_tracks_of_the_frame_that_is_asked_for(video, tmp_path):
  box = '<box frame="{}" outside="0" xtl="{}" ytl="1" xbr="{}" ybr="5" />'
  track = '<track id="{}" label="dog">{}</track>'
  size = '<meta><original_size><width>9</width><height>8</height></original_size></meta>'
  tracks = track.format(0, box.format(0, 0, 3) + box.format(2, 3, 6))
  tracks += track.format(1, box.format(0, 3, 6)) + track.format(2, box.format(2, 6, 9))
  (tmp_path / 't.xml').write_text(f'<annotations>{size}{tracks}</annotations>')
  read = placed.read({0: [tmp_path / 't.xml'], 2: [tmp_path / 't.xml']}, video)
  assert read[0].mask.ids[2, [1, 4, 7]].tolist() == [1, 2, 0]
  assert read[2].mask.ids[2, [1, 4, 7]].tolist() == [0, 1, 3]
  late = tmp_path / 'late.xml'
  late.write_text(f'<annotations>{size}{track.format(2, box.format(2, 6, 9))}</annotations>')
  with pytest.warns(
    DataWarning, match='no track has a shape on frame 0; those of frame 2 are taken'
  ):
    assert placed.read({0: [late]}, video)[0].mask.ids[2, 7] == 1
  with pytest.raises(ValueError, match='none of them on frame 1; draw one there'):
    placed.read({0: [tmp_path / 't.xml'], 1: [tmp_path / 't.xml']}, video)

"""Boxes, points, polygons and scribbles as text."""

import numpy as np
import pytest

from feelvos_tf.datasets.mask_files import drawn

SIZE = (40, 60)


def hints(*texts):
  return drawn.hints_of([drawn.parse(*text.split('=', 1)) for text in texts], SIZE)


def test_what_is_read():
  box = drawn.parse('box', 'shot7:10,5,20,8,id=9')
  assert box.frame == 'shot7' and box.object_id == 9
  assert box.points.tolist() == [[10, 5], [30, 13]]
  points = drawn.parse('points', '3,4;-10.5,20')
  assert points.points.tolist() == [[3, 4], [10.5, 20]] and points.positive.tolist() == [
    True,
    False,
  ]
  assert drawn.parse('scribble', '-3,4;5,6;7,8').positive.tolist() == [False] * 3
  assert drawn.parse('polygon', '30:1,2;3,4;5,2;id=2').object_id == 2


def test_shapes_of_one_id_are_one_object_and_others_count_up():
  found = hints('box=10,5,20,8,id=2', 'points=12,8;-20,10;id=2', 'polygon=40,10;50,10;50,20;40,20')
  assert [one.object_id for one in found] == [1, 2]
  assert found[0].exact[10:20, 40:50].all() and found[0].exact.sum() == 100
  assert found[1].box[5:13, 10:30].all() and found[1].box.sum() == 160
  assert found[1].inside[8, 12] and found[1].outside[10, 20]
  assert not (found[1].inside & found[1].outside).any()


@pytest.mark.parametrize(
  'of_masks, backward, expected',
  [
    ({}, False, [1, 4, 3, 5]),
    ({0: (1, 3)}, False, [4, 5, 3, 6]),  # The mask of frame 0 comes first.
    ({9: (1, 3)}, False, [1, 4, 3, 5]),  # It corrects what is drawn before.
    ({9: (1,)}, True, [5, 6, 3, 4]),
  ],
)
def test_each_shape_is_an_object_of_its_own_on_all_frames(of_masks, backward, expected):
  texts = {2: ['1,1,9,9', '20,1,9,9', '30,1,9,9,id=3'], 5: ['10,10,5,5']}
  shapes = {i: [drawn.parse('box', text) for text in found] for i, found in texts.items()}
  shapes[7] = [drawn.parse('box', '2,2,3,3,id=2')]
  found = drawn.with_ids(shapes, of_masks, backward)
  assert [one.object_id for i in (2, 5) for one in found[i]] == expected
  assert found[7] == shapes[7]


def test_a_polygon_is_cut_at_the_edges_of_the_frame():
  (one,) = hints('polygon=-20,-5;50,-5;50,30;-20,30')
  assert one.exact[:30, :50].all() and one.exact.sum() == 30 * 50
  (one,) = hints('polygon=30,20;90,20;90,50;30,50')
  assert one.exact[20:, 30:].all() and one.exact.sum() == 20 * 30
  with pytest.raises(ValueError, match='expected one on the frame'):
    hints('polygon=70,20;90,20;90,50;70,50')


def test_a_scribble_is_a_line():
  (one,) = hints('scribble=5,5;35,5')
  assert one.inside[5, 5:36].all() and not one.inside[10:].any() and one.box is None


@pytest.mark.parametrize(
  'text, message',
  [
    ('box=1,2,3', '--box=1,2,3 given, expected .* for example 40,30,120,90'),
    ('box=1,2,0,5', 'given, expected'),
    ('box=1,2,3,4,id=0', 'given, expected'),
    ('points=1', '--points=1 given'),
    ('polygon=1,2;3,4', '--polygon=1,2;3,4 given'),
    ('scribble=a,b;3,4', 'given, expected'),
    ('box=70,2,5,5', 'expected one on the frame, which has 60x40 pixels'),
    ('points=3,50', 'expected one on the frame'),
    ('points=-3,5', 'object 1 has marks on background only; mark the object'),
  ],
)
def test_what_is_refused(text, message):
  with pytest.raises(ValueError, match=message):
    hints(text)


def test_marks_are_as_thick_as_a_hand_draws():
  (one,) = hints('points=30,20')
  assert 4 <= np.count_nonzero(one.inside) <= 12

"""Tests of `inference.head_area`."""

import head_models
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.inference import head_area
from feelvos_tf.inference.functions import InferenceFunctions
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.saved_model import signatures

SIZE = (161, 193)  # 41 x 49 positions of stride 4
BOX = head_area.Box(12, 20, 21, 30)


def box_of(previous, seen=(), background=0.5, radius=2):
  """Edges of the box for a mask of the previous frame and (rows, columns, object, distance)."""
  distance = np.full([3, *previous.shape], 0.9, np.float32)
  distance[0] = background
  for rows, columns, index, value in seen:
    distance[index, rows, columns] = value
  box = head_area.around_objects(tf.constant(previous), tf.constant(distance), radius)
  return tuple(int(edge) for edge in box)


def objects():
  """Object 1 in rows 10 to 13 and columns 5 to 8, object 2 below it."""
  previous = np.zeros([30, 40], np.int32)
  previous[10:14, 5:9], previous[15, 8] = 1, 2
  return previous


def test_a_box_around_the_objects_of_the_previous_frame():
  assert box_of(objects()) == (8, 3, 18, 11)
  assert box_of(objects(), radius=4) == (6, 1, 20, 13)
  assert box_of(objects(), radius=100) == (0, 0, 30, 40)


@pytest.mark.parametrize('index', [1, 2])
def test_what_global_matching_gives_to_an_object_is_in_the_box(index):
  assert box_of(objects(), [(slice(20, 23), slice(30, 32), index, 0.2)]) == (8, 3, 23, 32)


@pytest.mark.parametrize(
  'seen, background',
  [
    ((20, slice(30, 36), 1, 0.2), 0.5),  # a single row
    ((slice(20, 23), slice(30, 32), 1, 0.3), 0.5),  # not near
    ((slice(20, 23), slice(30, 32), 1, 0.2), 0.1),  # nearer to the background
    ((slice(20, 23), slice(30, 32), 0, 0.0), 0.5),  # the background itself
  ],
)
def test_what_does_not_count(seen, background):
  assert box_of(objects(), [seen], background) == (8, 3, 18, 11)


def test_the_whole_frame_where_an_object_was_not():
  """It may come back anywhere; ids that no object has are none."""
  gone = objects()
  gone[gone == 2] = 0
  assert box_of(gone) == (0, 0, 30, 40)
  assert box_of(np.zeros([30, 40], np.int32)) == (0, 0, 30, 40)
  only_background = tf.zeros([1, 30, 40])
  box = head_area.around_objects(tf.constant(objects()), only_background, 2)
  assert tuple(int(edge) for edge in box) == (0, 0, 30, 40)


def test_sides_in_steps_stay_inside_the_frame():
  size = tf.constant([41, 49])
  in_steps = lambda *edges: tuple(int(edge) for edge in head_area.Box(*edges).in_steps(size))
  assert in_steps(3, 4, 10, 20) == (3, 4, 19, 20)
  assert in_steps(30, 40, 41, 49) == (25, 33, 41, 49)
  assert in_steps(1, 2, 34, 49) == (0, 1, 41, 49)


@pytest.mark.parametrize(
  'options',
  [
    {},
    {'local_window_radii': (2,), 'other_object_distances': True},
    {'global_distance_square': 5, 'other_object_distances': True},
    {'joint_head': True, 'object_gates': True},
    {'previous_frame_matching': 'global'},
    {'previous_frame_matching': 'none', 'previous_prediction': 'probabilities'},
    {'previous_prediction': 'none'},
    {'head_layers': 2, 'head_kernel_size': 3, 'head_atrous_rates': (1, 2)},
    {'neutral_inputs': ('local_distance',)},
  ],
)
def test_logits_in_the_box_are_those_of_the_whole_frame(options, monkeypatch):
  """So margins are wide enough; beyond the box is background."""
  monkeypatch.setattr(head_area, '_STEP', 1)
  monkeypatch.setattr(head_area, 'around_objects', lambda *_: head_area.Box(*map(tf.constant, BOX)))
  whole, part = one_step(options), one_step({**options, 'head_area_radius': 1})
  np.testing.assert_allclose(BOX.cut_maps(part), BOX.cut_maps(whole), rtol=1e-4, atol=1e-4)
  assert np.ptp(BOX.cut_maps(whole)) > 1e-3
  beyond = np.ones(part.shape[1:], bool)
  beyond[12:21, 20:30] = False
  np.testing.assert_array_equal(part[:, beyond].argmax(axis=0), 0)
  np.testing.assert_array_less(part[1:, beyond], -9)


def one_step(options):
  """Logits [3, 41, 49] of the second frame of a made-up video with two objects."""
  model = head_models.make_model(**options)
  functions = InferenceFunctions(model)
  frames = np.random.default_rng(3).integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
  mask = np.zeros(SIZE, np.int32)
  mask[60:80, 90:110], mask[50:70, 112:130] = 1, 2
  (_, first), (features, embedding) = (functions.trace_extract(tf.constant(f)) for f in frames)
  state = functions.trace_initialize(first, tf.constant(mask), 3)
  return functions.trace_step(features, embedding, state, 3, SIZE).logits.numpy()


@pytest.mark.parametrize(
  'changes', [{'use_first_frame_matching': False}, {'neutral_inputs': ('global_distance',)}]
)
def test_without_global_distances_the_whole_frame(changes):
  assert head_area.radius_of(FeelvosOptions(head_area_radius=8)) == 8
  assert head_area.radius_of(FeelvosOptions(head_area_radius=8, **changes)) is None
  assert head_area.radius_of(FeelvosOptions()) is None


def test_an_exported_model_works_on_the_same_box(monkeypatch):
  monkeypatch.setattr(head_area, '_STEP', 1)
  model = head_models.make_model(head_area_radius=1, head_layers=1, head_kernel_size=3)
  frames = np.random.default_rng(3).integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
  mask = np.zeros(SIZE, np.uint8)
  mask[60:80, 90:110] = 9
  exported, segmenter = signatures.Signatures(model), VideoSegmenter(model)
  labels, count = tf.constant((mask == 9).astype(np.int32)), tf.constant(2)
  state = exported.initialize(tf.constant(frames[0]), labels, count)
  segmenter.start(frames[0], mask)
  for frame in frames[1:]:
    result = exported.step(tf.constant(frame), count, **state)
    state = {name: result.get(name, value) for name, value in state.items()}
    np.testing.assert_array_equal(result['labels'], segmenter.step(frame).mask // 9)

"""Tests of `inference.crossing`: two squares of one texture, one of them mirrored.

Their pixels are the same, so that only what lies beside what, and moves with it, tells them apart.
"""

import head_models
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.datasets import masks
from feelvos_tf.inference import crossing
from feelvos_tf.inference import given_masks
from feelvos_tf.inference.functions import InferenceFunctions
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model.feelvos import one_hot
from feelvos_tf.model.feelvos import PreviousFrame

SHAPE = (30, 80)
SIDE, CHANNELS = 12, 8
RADIUS = 6


@pytest.fixture
def texture(rng):
  return rng.normal(size=(SIDE, SIDE, CHANNELS)).astype(np.float32)


class Scene:
  """Squares that move over a plain background, the last one in front."""

  def __init__(self, texture, *places):
    """places: of every object a function of the frame: (row, column)."""
    self._texture, self._places = texture, places
    self.count = 1 + len(places)

  def labels(self, frame):
    return self._painted(frame)[0]

  def embedding(self, frame):
    return self._painted(frame)[1]

  def _painted(self, frame):
    room = 4 * SIDE  # Squares may leave the frame.
    labels = np.zeros([side + 2 * room for side in SHAPE], np.int32)
    embedding = np.full([*labels.shape, CHANNELS], 3.0, np.float32)
    for index, place in enumerate(self._places, 1):
      row, column = (position + room for position in place(frame))
      there = np.s_[row : row + SIDE, column : column + SIDE]
      labels[there], embedding[there] = index, self._texture[:, :: 1 if index == 1 else -1]
    inside = np.s_[room:-room, room:-room]
    return labels[inside], embedding[inside]


def previous_of(scene, frame=0):
  labels, embedding = tf.constant(scene.labels(frame)), tf.constant(scene.embedding(frame))
  hidden = crossing.nothing_hidden(embedding, scene.count)
  return PreviousFrame(embedding, labels, one_hot(labels, scene.count), hidden)


@tf.function
def settle(*given, reference=None):
  return crossing.settle(*given, reference, RADIUS)


cover = tf.function(crossing.cover)


def follow(scene, frames, winner=1, distance=None):
  """Labels of every frame, if the head gives all objects' positions to one."""
  previous, found = previous_of(scene), []
  for frame in range(1, frames):
    won = np.where(scene.labels(frame) > 0, winner, 0).astype(np.int32)
    logits = 3.0 * one_hot(tf.constant(won), scene.count)
    embedding = tf.constant(scene.embedding(frame))
    if distance is None:
      distance = tf.fill(logits.shape, 0.5)
    logits, motion = settle(logits, embedding, previous, distance)
    labels = tf.argmax(logits, axis=0, output_type=tf.int32)
    hidden = cover(previous, motion, labels, embedding)
    previous = PreviousFrame(embedding, labels, one_hot(labels, scene.count), hidden)
    found.append(labels.numpy())
  return found, previous


def check(found, scene):
  """Misfit is a mean over squares of five: three columns that show of an object may be too few."""
  for frame, labels in enumerate(found, 1):
    expected = scene.labels(frame)
    assert np.sum(labels != expected) <= 3 * SIDE, frame
    for index in (1, 2):
      there = expected == index
      if np.sum(there) > 3 * SIDE:
        assert np.sum(there & (labels == index)) > 0.9 * np.sum(there), frame
  np.testing.assert_array_equal(found[-1], scene.labels(len(found)))


@pytest.mark.parametrize('winner', [1, 2])
def test_the_one_in_front_moves_over_the_other_and_both_keep_their_pixels(texture, winner):
  scene = Scene(texture, lambda t: (9, 30), lambda t: (11, 7 + 4 * t))
  found, previous = follow(scene, 13, winner)
  check(found, scene)
  np.testing.assert_array_equal(previous.hidden.motion, [[0, 0], [0, 0], [0, 4]])


def test_what_is_covered_is_remembered_and_comes_out_again(texture):
  """The one behind moves, is hidden as a whole for some frames, and goes on as it went."""
  scene = Scene(texture, lambda t: (9, 14 + 3 * t), lambda t: (9, 34))
  found, _ = follow(scene, 14, winner=2)
  assert not (scene.labels(7) == 1).sum() - SIDE  # One column left of it at frame 7.
  check(found, scene)
  _, previous = follow(scene, 8, winner=2)
  hidden = np.zeros(SHAPE, np.int32)
  hidden[9 : 9 + SIDE, 35:46] = 1  # Its last column shows, or is too little to be seen.
  np.testing.assert_array_equal(previous.hidden.labels[:, :46], hidden[:, :46])
  first_column = scene.embedding(0)[9 : 9 + SIDE, 14]
  np.testing.assert_array_equal(previous.hidden.embedding[9 : 9 + SIDE, 35], first_column)


def test_what_leaves_the_frame_is_forgotten(texture):
  scene = Scene(texture, lambda t: (9, 55), lambda t: (9, 42 + 5 * t))
  found, previous = follow(scene, 12)
  check(found, scene)
  assert not np.any(previous.hidden.labels) and not np.any(previous.hidden.embedding)


@pytest.mark.parametrize(
  'gap, looked_at', [(2 * RADIUS, True), (2 * RADIUS + 1, False)], ids=['near', 'far']
)
def test_only_objects_near_each_other_are_looked_at(texture, gap, looked_at):
  scene = Scene(texture, lambda t: (5, 5), lambda t: (5 + t, 4 + SIDE + gap))
  previous = previous_of(scene)
  logits = 3.0 * one_hot(tf.constant(scene.labels(1)), 3)
  result, motion = settle(
    logits, tf.constant(scene.embedding(1)), previous, tf.fill([3, *SHAPE], 0.5)
  )
  np.testing.assert_array_equal(result, logits)
  np.testing.assert_array_equal(motion, [[0, 0], [0, 0], [int(looked_at), 0]])


def beside(texture, columns=3):
  """Two squares of which the second one moves away to the right."""
  return Scene(texture, lambda t: (9, 25), lambda t: (9, 38 + columns * t))


def test_logits_are_exchanged_between_look_alikes_only(texture):
  """Background stays; so does what is farther from the other object by more than .3."""
  scene = beside(texture)
  labels = scene.labels(1)
  won = np.where(labels > 0, 1, 0).astype(np.int32)
  won[9, 44] = 0  # The head sees background in a position of the second one.
  logits = tf.constant(one_hot(tf.constant(won), 3) * [[[2.0]], [[3.0]], [[4.0]]] - 0.5)
  distance = np.full([3, *SHAPE], 0.2, np.float32)
  distance[2, 11] = 0.51
  result, motion = settle(
    logits, tf.constant(scene.embedding(1)), previous_of(scene), tf.constant(distance)
  )
  np.testing.assert_array_equal(motion, [[0, 0], [0, 0], [0, 3]])
  expected = logits.numpy()
  given = (labels == 2) & (won == 1)
  given[11] = False
  expected[1, given], expected[2, given] = -0.5, 2.5
  np.testing.assert_array_equal(result, expected)


def settled(scene, of_second=0.5, reference=None):
  """What both have if the first one wins both squares, and what it won: int32 [rows, columns] each.

  of_second: distance of every position to the second one; it is .5 to the first.
  """
  won = np.minimum(scene.labels(1), 1)
  distance = np.full([3, *SHAPE], 0.5, np.float32)
  distance[2] = of_second
  logits = 3.0 * one_hot(tf.constant(won), 3)
  given = logits, tf.constant(scene.embedding(1)), previous_of(scene), tf.constant(distance)
  return np.argmax(settle(*given, reference=reference)[0], axis=0), won


@pytest.mark.parametrize('distance, is_alike', [(0.54, True), (0.56, False)])
def test_objects_that_do_not_look_alike_keep_what_they_get(texture, distance, is_alike):
  scene = beside(texture)
  found, won = settled(scene, distance)
  np.testing.assert_array_equal(found, scene.labels(1) if is_alike else won)


@pytest.mark.parametrize('offset, is_alike', [(0.0, True), (5.0, False)])
def test_objects_that_look_alike_on_the_reference_frame_do_so_ever_after(texture, offset, is_alike):
  """While one hides the other in part, what they win looks farther apart."""
  scene = beside(texture)
  shown = scene.embedding(0) + offset * (scene.labels(0) == 2)[..., np.newaxis]
  reference = matching.prepare_reference(shown.astype(np.float32), scene.labels(0), 3)
  found, won = settled(scene, 0.7, reference)
  np.testing.assert_array_equal(found, scene.labels(1) if is_alike else won)


@pytest.mark.parametrize('columns, moves_apart', [(2, True), (1, False)])
def test_objects_that_move_alike_keep_what_they_get(texture, columns, moves_apart):
  """A hand that rests on a stone moves like the stone."""
  scene = beside(texture, columns)
  found, won = settled(scene)
  np.testing.assert_array_equal(found, scene.labels(1) if moves_apart else won)


@pytest.mark.parametrize('covered', [39, 40])
def test_an_object_that_was_nowhere_keeps_what_it_gets(texture, covered):
  """The first one has two squares; the head gives the second one its own. A third is near them.

  With so many positions covered the second one was there, and its square moves with the first.
  """
  scene = Scene(texture, lambda t: (9 + 3 * t, 25), lambda t: (9 + 3 * t, 40), lambda t: (9, 10))
  labels = scene.labels(0)
  hidden_labels = np.zeros(SHAPE, np.int32)
  hidden_labels.ravel()[np.flatnonzero(labels == 1)[:covered]] = 2
  previous = previous_of(scene)
  previous = previous._replace(
    labels=tf.constant(np.where(labels == 2, 1, labels)),
    hidden=previous.hidden._replace(labels=tf.constant(hidden_labels)),
  )
  labels = scene.labels(1)
  logits = 3.0 * one_hot(tf.constant(labels), 4)
  result, _ = settle(logits, tf.constant(scene.embedding(1)), previous, tf.fill(logits.shape, 0.5))
  expected = labels if covered < 40 else np.where(labels == 2, 1, labels)
  np.testing.assert_array_equal(np.argmax(result, axis=0), expected)


def test_a_video_of_one_object_is_left_alone(texture):
  scene = Scene(texture, lambda t: (9, 5 + 3 * t))
  found, previous = follow(scene, 4)
  np.testing.assert_array_equal(found[-1], scene.labels(3))
  assert not np.any(previous.hidden.motion) and not np.any(previous.hidden.labels)


def test_a_state_without_hidden_parts_is_named(texture):
  scene = Scene(texture, lambda t: (9, 5))
  previous = previous_of(scene)._replace(hidden=())
  with pytest.raises(ValueError, match='has no hidden parts'):
    crossing.cover(previous, tf.zeros([2, 2], tf.int32), previous.labels, previous.embedding)


@pytest.fixture(scope='module')
def model():
  return head_models.make_model(crossing_radius=RADIUS)


def test_step_settles_and_covers(model, rng):
  """What it says of a frame is what `settle` makes of a model's logits without it."""
  functions = InferenceFunctions(model)
  plain = InferenceFunctions(head_models.make_model())
  labels = np.zeros((33, 49), np.int32)
  labels[4:20, 4:24], labels[10:28, 20:40] = 1, 2
  frames = rng.integers(0, 256, (2, 33, 49, 3), np.uint8)
  shown = [functions.trace_extract(frame) for frame in frames]
  state = functions.trace_initialize(shown[0][1], tf.constant(labels), 3)
  bare = state._replace(previous=state.previous._replace(hidden=()))
  step = functions.trace_step(*shown[1], state, 3, (33, 49))
  before = plain.trace_step(*shown[1], bare, 3, (33, 49))
  logits, motion = crossing.settle(
    before.logits, shown[1][1], state.previous, before.maps.global_distance, state.reference, RADIUS
  )
  np.testing.assert_allclose(step.logits, logits, atol=1e-6)
  np.testing.assert_array_equal(step.state.previous.hidden.motion, motion)
  assert before.state.previous.hidden == ()


def test_remember_forgets_what_is_hidden(model, copying_graph, rng):
  frames = rng.integers(0, 256, (2, 33, 49, 3), np.uint8)
  mask = np.zeros((33, 49), np.uint8)
  mask[4:20, 4:24], mask[10:28, 20:40] = 5, 9
  segmenter = VideoSegmenter(model)
  assert segmenter.is_told_by_masks(1) and not segmenter.is_told_by_masks(2)
  assert VideoSegmenter(copying_graph).is_told_by_masks(2)
  segmenter.start(frames[0], mask)
  segmenter.remember(frames[1], mask)
  previous = segmenter.snapshot().state.previous
  assert not np.any(previous.hidden.labels) and previous.hidden.motion.shape == (3, 2)
  segmenter.step(frames[0])


def test_an_added_object_leaves_what_others_hide(model, rng, monkeypatch):
  """A mask that adds an object says nothing about two others that cross."""
  frames = rng.integers(0, 256, (2, 33, 49, 3), np.uint8)
  mask, added = np.zeros((2, 33, 49), np.uint8)
  mask[4:20, 4:24], mask[10:28, 20:40], added[28:, :9] = 5, 9, 7
  segmenter = VideoSegmenter(model)
  step = segmenter.step

  def hiding(frame):
    result = step(frame)
    previous = segmenter._state.previous
    labels = np.zeros(previous.labels.shape, np.int32)
    labels[3, 4], labels[5, 6] = 1, 2
    motion = np.int32([[0, 0], [1, 2], [3, 4]])
    hidden = previous.hidden._replace(labels=tf.constant(labels), motion=tf.constant(motion))
    hidden = hidden._replace(embedding=tf.ones_like(previous.embedding))
    segmenter._state = segmenter._state._replace(previous=previous._replace(hidden=hidden))
    return result

  monkeypatch.setattr(segmenter, 'step', hiding)
  segmenter.start(frames[0], mask)
  given = given_masks.GivenMasks({0: masks.Mask(mask), 1: masks.Mask(added)})
  assert given_masks.take(segmenter, frames[1], 1, given).object_ids == (0, 5, 7, 9)
  hidden = segmenter.snapshot().state.previous.hidden
  labels = np.asarray(hidden.labels)
  assert (labels[3, 4], labels[5, 6], np.count_nonzero(labels)) == (1, 3, 2)
  np.testing.assert_array_equal(hidden.motion, [[0, 0], [1, 2], [0, 0], [3, 4]])
  assert np.all(hidden.embedding == 1)
  step(frames[0])
  segmenter.correct(frames[1], mask)  # A mask of the whole frame says where everything is.
  assert not np.any(segmenter.snapshot().state.previous.hidden.labels)


def test_references_are_compared_as_the_model_matches(monkeypatch):
  """What objects are from each other is measured with as many neighbours as global distances."""
  found, distances = [], matching.distances_of_bank

  def spied(bank, num_objects, k=1):
    found.append(k)
    return distances(bank, num_objects, k)

  monkeypatch.setattr(matching, 'distances_of_bank', spied)
  options = dict(crossing_radius=RADIUS, k_nearest_neighbors=3)
  segmenter = VideoSegmenter(head_models.make_model(**options))
  frames, mask = head_models.make_clip()
  segmenter.start(frames[0], mask)
  segmenter.step(frames[1])
  assert found == [3]

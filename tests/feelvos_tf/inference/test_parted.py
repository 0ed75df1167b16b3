"""Tests of `inference.parted`."""

import head_models
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.inference import parted
from feelvos_tf.inference.functions import InferenceFunctions
from feelvos_tf.model.feelvos import Maps

SHAPE = (40, 60)
LARGE = np.s_[2:22, 2:18]  # 320 positions
SMALL = np.s_[24:34, 30:46]  # 160
OBJECTS = {1: 320, 2: 160}  # Sizes on the reference frame.


def reference(sizes, background=1000, frames=1, most=None):
  """A bank of objects with so many pixels on every frame."""
  labels = np.concatenate([np.full(n, i, np.int32) for i, n in {0: background, **sizes}.items()])
  labels = np.tile(labels, frames)
  embeddings = np.random.default_rng(0).normal(size=[labels.size, 8]).astype(np.float32)
  return matching.prepare_reference(
    tf.constant(embeddings), tf.constant(labels), 1 + max(sizes), max_pixels_per_object=most
  )


def give_back(labels, bank, distance=None, factor=1.4):
  """Winners after it."""
  return after(parted.give_back, labels, bank, distance, factor)


def after(rule, labels, bank, distance, factor):
  """Winners after a rule."""
  objects = int(bank.block_object[-1]) + 1
  logits = 3.0 * (np.arange(objects)[:, np.newaxis, np.newaxis] == labels).astype(np.float32)
  if distance is None:
    distance = np.full(logits.shape, 0.4, np.float32)
  function = tf.function(lambda *given: rule(*given, factor))
  result = function(tf.constant(logits), tf.constant(distance), bank)
  assert result.shape == logits.shape
  return np.asarray(result).argmax(axis=0)


def absorbed(giver=1):
  """Both objects have the id of one."""
  labels = np.zeros(SHAPE, np.int32)
  labels[LARGE], labels[SMALL] = giver, giver
  return labels


@pytest.mark.parametrize('giver', [1, 2])
def test_the_missing_object_gets_the_part_that_has_its_size(giver):
  expected = np.zeros(SHAPE, np.int32)
  expected[LARGE], expected[SMALL] = 1, 2
  np.testing.assert_array_equal(give_back(absorbed(giver), reference(OBJECTS)), expected)


def test_frames_before_count_by_their_mean_ratio_and_padding_does_not():
  """3 frames of 107 and 53 pixels, in blocks of 128."""
  bank = reference({1: 107, 2: 53}, frames=3)
  np.testing.assert_array_equal(matching.kept_pixels(bank, 3), [3000, 321, 159])
  expected = np.zeros(SHAPE, np.int32)
  expected[LARGE], expected[SMALL] = 1, 2
  np.testing.assert_array_equal(give_back(absorbed(), bank), expected)


@pytest.mark.parametrize(
  'sizes, part', [((320, 160), SMALL), ((320, 640), LARGE)], ids=['smaller', 'larger']
)
def test_frames_without_an_object_make_it_no_smaller(sizes, part):
  """Object 2 is on the last of four frames only."""
  masks = np.zeros((4, 30, 80), np.int32)
  for mask in masks:
    mask.ravel()[: sizes[0]] = 1
  masks[-1].ravel()[-sizes[1] :] = 2
  embeddings = np.random.default_rng(0).normal(size=[*masks.shape, 8]).astype(np.float32)
  bank = matching.prepare_reference(tf.constant(embeddings), tf.constant(masks), 3)
  expected = absorbed()
  expected[part] = 2
  np.testing.assert_array_equal(give_back(absorbed(), bank), expected)


@pytest.mark.parametrize('dtype', [tf.float32, tf.bfloat16])
def test_kept_pixels(dtype):
  labels = np.array([0] * 300 + [1] * 5 + [3] * 129 + [255] * 9, np.int32)
  embeddings = tf.random.normal([labels.size, 8])
  bank = matching.prepare_reference(
    embeddings, tf.constant(labels), 4, max_pixels_per_object=200, compute_dtype=dtype
  )
  np.testing.assert_array_equal(matching.kept_pixels(bank, 4), [200, 5, 0, 129])


@pytest.mark.parametrize(
  'sizes, changes', [({1: 320, 2: 115}, True), ({1: 320, 2: 113}, False), ({1: 320, 2: 223}, True)]
)
def test_the_ratio_of_sizes_may_be_off_by_a_factor(sizes, changes):
  """.5 next to .359, .353 and .697; the factor is 1.4."""
  result = give_back(absorbed(), reference(sizes))
  assert (result[SMALL] == (2 if changes else 1)).all()
  assert (result[LARGE] == 1).all()


@pytest.mark.parametrize('size, changes', [(280, True), (290, False), (320, False)])
def test_objects_of_one_size_are_not_told_apart(size, changes):
  """Parts of 320 and 280: the other way round is off by 1.31 or 1.2 times more, or as much."""
  labels = np.zeros(SHAPE, np.int32)
  labels[LARGE], labels[24:38, 30:50] = 1, 1
  result = give_back(labels, reference({1: 320, 2: size}))
  assert (result[24:38, 30:50] == (2 if changes else 1)).all()


@pytest.mark.parametrize('there, changes', [(23, True), (25, False)])
def test_an_object_that_is_somewhere_gets_nothing(there, changes):
  """15 % of 160 are 24 positions; what it has goes, where it gets a part."""
  labels = absorbed()
  labels[0, 30 : 30 + there] = 2
  expected = labels.copy()
  if changes:
    expected[0], expected[SMALL] = 0, 2
  np.testing.assert_array_equal(give_back(labels, reference(OBJECTS)), expected)


@pytest.mark.parametrize('farther, changes', [(0.14, True), (0.16, False)])
def test_a_part_that_looks_like_its_owner_only_stays(farther, changes):
  distance = np.full([3, *SHAPE], 0.4, np.float32)
  distance[2] += farther
  result = give_back(absorbed(), reference(OBJECTS), distance)
  assert (result[SMALL] == (2 if changes else 1)).all()


def test_the_part_is_compared_and_not_the_rest():
  distance = np.full([3, *SHAPE], 0.4, np.float32)
  distance[2][LARGE] = 0.9
  assert (give_back(absorbed(), reference(OBJECTS), distance)[SMALL] == 2).all()


@pytest.mark.parametrize('width, changes', [(1, True), (2, True), (3, False)])
def test_a_thread_joins_no_parts(width, changes):
  labels = np.zeros(SHAPE, np.int32)
  labels[5:25, 2:18], labels[5:15, 30:46] = 1, 1
  labels[8 : 8 + width, 18:30] = 1
  result = give_back(labels, reference(OBJECTS))
  assert (result[5:15, 32:46] == (2 if changes else 1)).all()
  assert (result[5:25, 2:18] == 1).all()


def test_what_another_object_hides_in_the_middle_is_one_part():
  labels = np.zeros(SHAPE, np.int32)
  labels[5:25, 2:18], labels[5:15, 30:46], labels[3:30, 18:30] = 1, 1, 3
  bank = reference({**OBJECTS, 3: 324})
  np.testing.assert_array_equal(give_back(labels, bank), labels)
  labels[:, 20:28] = 0  # The third object touches each of them, but is itself in two.
  assert (give_back(labels, bank)[5:15, 30:46] == 2).all()


def test_parts_of_few_positions_stay():
  labels = np.zeros(SHAPE, np.int32)
  labels[2:12, 2:10], labels[20:23, 30:43] = 1, 1  # 80 and 39
  np.testing.assert_array_equal(give_back(labels, reference(OBJECTS)), labels)
  labels[20:24, 30:40] = 1
  assert (give_back(labels, reference(OBJECTS))[20:23, 30:40] == 2).all()


def test_an_object_larger_than_its_kept_pixels_takes_no_part():
  """160 of each: the first one is larger, by how much is not known."""
  bank = reference({1: 320, 2: 100}, most=160)
  np.testing.assert_array_equal(give_back(absorbed(), bank), absorbed())


def test_the_pair_that_fits_best():
  """Two objects are nowhere: of 160 and of 200 pixels."""
  result = give_back(absorbed(), reference({1: 320, 2: 200, 3: 160}))
  assert (result[SMALL] == 3).all() and (result[LARGE] == 1).all()


def test_of_other_objects_nothing_changes():
  labels = absorbed()
  labels[30:40, 0:20] = 3
  result = give_back(labels, reference({**OBJECTS, 3: 190}))
  assert (result[SMALL] == 2).all()
  result[SMALL] = 1
  np.testing.assert_array_equal(result, labels)


@pytest.mark.parametrize('objects', [1, 2, 3])
def test_nothing_to_give(objects):
  """No object, one, or two of which none is in parts; maps of one position as well."""
  bank = reference({i: 100 + i for i in range(1, objects)}) if objects > 1 else None
  bank = bank or matching.prepare_reference(tf.zeros([9, 8]), tf.zeros([9], tf.int32), 1)
  for shape in ((1, 1), SHAPE):
    labels = np.zeros(shape, np.int32)
    labels[2:12, 2:12] = objects - 1
    np.testing.assert_array_equal(give_back(labels, bank), labels)
  logits = tf.random.normal([objects, *SHAPE])
  np.testing.assert_array_equal(parted.give_back(logits, None, bank, 1.4), logits)


def unmix(labels, bank, distance=None, factor=1.4):
  """Winners after it."""
  return after(parted.unmix, labels, bank, distance, factor)


def mixed(large, small):
  """Each object has some of both parts: 1 the rows of LARGE above one, 2 those of SMALL."""
  labels = np.zeros(SHAPE, np.int32)
  labels[LARGE], labels[SMALL] = 2, 1
  labels[2:large, 2:18], labels[small:34, 30:46] = 1, 2
  return labels


def apart():
  """Each object has the part of its size."""
  labels = np.zeros(SHAPE, np.int32)
  labels[LARGE], labels[SMALL] = 1, 2
  return labels


def test_mixed_look_alikes_get_the_part_of_their_size():
  """1 has 192 of 320 and 64 of 160 positions, 2 the others."""
  np.testing.assert_array_equal(unmix(mixed(14, 28), reference(OBJECTS)), apart())


def test_what_joins_the_parts_may_be_another_object():
  labels, expected = mixed(14, 28), apart()
  for ids in (labels, expected):
    ids[22:24, 2:46] = 3
  np.testing.assert_array_equal(
    unmix(labels, reference({**OBJECTS, 3: 88}), farther_between(3, 4)), expected
  )


def farther_between(other, objects):
  """Distances with which one object looks like no other."""
  distance = np.full((objects, *SHAPE), 0.4, np.float32)
  distance[other] = 0.9
  return distance


@pytest.mark.parametrize(
  'sizes, changes',
  [({1: 320, 2: 115}, True), ({1: 320, 2: 113}, False), ({1: 160, 2: 320}, False)],
  ids=['off by 1.39', 'off by 1.42', 'most of both says otherwise'],
)
def test_mixed_look_alikes_whose_sizes_do_not_say_it_stay(sizes, changes):
  expected = apart() if changes else mixed(14, 28)
  np.testing.assert_array_equal(unmix(mixed(14, 28), reference(sizes)), expected)


@pytest.mark.parametrize('size, changes', [(280, True), (290, False)])
def test_mixed_look_alikes_of_one_size_stay(size, changes):
  labels = np.zeros(SHAPE, np.int32)
  labels[LARGE], labels[24:38, 30:50] = 1, 2
  expected = labels.copy()
  labels[2:6, 2:18], labels[24:28, 30:50] = 2, 1
  result = unmix(labels, reference({1: 320, 2: size}))
  np.testing.assert_array_equal(result, expected if changes else labels)


@pytest.mark.parametrize(
  'kept, changes',
  [
    ((300, 250), True),
    ((299, 250), False),
    ((300, 100), False),
    ((250, 300), False),
    ((300, 300), False),
  ],
)
def test_an_object_of_which_not_all_pixels_were_kept_may_be_larger(kept, changes):
  """Parts of 320 and 160; of an object of 300 pixels as many were kept as of the background."""
  bank = reference(dict(enumerate(kept, 1)), background=300)
  expected = apart() if changes else mixed(14, 28)
  np.testing.assert_array_equal(unmix(mixed(14, 28), bank), expected)


@pytest.mark.parametrize('width, changes', [(5, True), (4, False)])
def test_but_not_by_more_than_twice(width, changes):
  """Parts of 320 and 100 or 80: 3.2 and 4 times; 1.2 by the pixels kept, twice, 1.4 off: 3.36."""
  bank = reference({1: 300, 2: 250}, background=300)
  labels = np.zeros(SHAPE, np.int32)
  labels[LARGE], labels[24:34, 30 : 30 + 2 * width] = 1, 2
  expected = labels.copy()
  labels[14:22, 2:18], labels[24:28, 30 : 30 + 2 * width] = 2, 1
  np.testing.assert_array_equal(unmix(labels, bank), expected if changes else labels)


def test_a_part_that_one_object_has_alone_stays():
  """As of an object that is in two parts, one of which touches another one."""
  labels = mixed(14, 24)
  labels[SMALL] = 2
  np.testing.assert_array_equal(unmix(labels, reference(OBJECTS)), labels)


@pytest.mark.parametrize(
  'near, farther, changes',
  [(0.3, 0.14, True), (0.3, 0.16, False), (0.54, 0.0, True), (0.56, 0.0, False)],
)
def test_mixed_objects_have_to_look_alike(near, farther, changes):
  labels = mixed(14, 28)
  distance = np.full((3, *SHAPE), near, np.float32)
  distance[2][labels == 1] += farther
  expected = apart() if changes else labels
  np.testing.assert_array_equal(unmix(labels, reference(OBJECTS), distance), expected)


def test_objects_in_one_part_or_in_three_large_ones_stay():
  one = np.zeros(SHAPE, np.int32)
  one[LARGE] = 1
  one[2:8, 2:18] = 2
  np.testing.assert_array_equal(unmix(one, reference(OBJECTS)), one)
  three = mixed(14, 28)
  three[24:34, 2:15] = 1  # 130 of 610.
  np.testing.assert_array_equal(unmix(three, reference(OBJECTS)), three)


def test_nothing_is_mixed_without_objects_or_distances():
  labels = mixed(14, 28)
  logits = tf.constant(np.eye(3, dtype=np.float32)[labels].transpose(2, 0, 1))
  assert parted.unmix(logits, None, reference(OBJECTS), 1.4) is logits
  alone = np.zeros(SHAPE, np.int32)
  alone[LARGE] = 1
  np.testing.assert_array_equal(unmix(alone, reference({1: 320})), alone)


@pytest.mark.parametrize('factor', [None, 1.4])
@pytest.mark.parametrize('wins', [absorbed(), mixed(14, 28)], ids=['absorbed', 'mixed'])
def test_a_step_gives_back_and_unmixes_if_the_model_has_the_option(wins, factor, monkeypatch):
  """The state has it as well: masks of later frames follow from it."""
  functions = InferenceFunctions(head_models.make_model(parted_factor=factor))
  frame, size = tf.zeros([160, 240, 3], tf.uint8), (160, 240)
  mask = np.zeros(size, np.int32)
  mask[8:88, 8:72], mask[96:136, 120:184] = 1, 2  # LARGE and SMALL
  features, embedding = functions.trace_extract(frame)
  state = functions.trace_initialize(embedding, tf.constant(mask), 3)
  logits = 3.0 * tf.one_hot(wins, 3, axis=0)
  maps = Maps(tf.fill(tf.shape(logits), 0.4), None, None)
  monkeypatch.setattr(functions, '_match_and_segment', lambda *_: (maps, logits))
  step = functions.trace_step(features, embedding, state, 3, size)
  expected = apart() if factor else wins
  for rows, columns in (
    ((9, 13), (4, 16)),
    ((15, 20), (4, 16)),
    ((25, 28), (32, 44)),
    ((29, 33), (32, 44)),
  ):
    ids = np.unique(expected[slice(*rows), slice(*columns)])
    found = np.asarray(step.state.previous.labels)[slice(*rows), slice(*columns)]
    np.testing.assert_array_equal(np.unique(found), ids)
    full = (slice(4 * first + 4, 4 * end - 4) for first, end in (rows, columns))
    np.testing.assert_array_equal(np.unique(np.asarray(step.labels)[tuple(full)]), ids)

"""J and F against a slow, literal reading of the definitions, and numbers worked out by hand."""

import math
import os
import pathlib

import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.evaluation import measures
from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.evaluation import summary as summary_lib
from feelvos_tf.runtime import packaged_files


def literal_j(prediction, truth, void):
  """Intersection over union, pixel by pixel."""
  both = either = 0
  for y in range(truth.shape[0]):
    for x in range(truth.shape[1]):
      if not void[y, x]:
        both += bool(prediction[y, x] and truth[y, x])
        either += bool(prediction[y, x] or truth[y, x])
  return both / either if either else 1.0


def literal_contour(mask):
  """Contour pixels as a list of (y, x)."""
  height, width = mask.shape
  found = []
  for y in range(height):
    for x in range(width):
      if y == height - 1 and x == width - 1:
        continue
      if y == height - 1:
        neighbours = [(y, x + 1)]
      elif x == width - 1:
        neighbours = [(y + 1, x)]
      else:
        neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
      if any(mask[n] != mask[y, x] for n in neighbours):
        found.append((y, x))
  return found


def literal_f(prediction, truth, void, tolerance=0.008):
  """F measure with every pair of contour pixels compared."""
  height, width = truth.shape
  radius = tolerance if tolerance >= 1 else math.ceil(tolerance * math.sqrt(height**2 + width**2))
  predicted = literal_contour(prediction & ~void)
  true = literal_contour(truth & ~void)

  def matched(pixels, others):
    return sum(any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in others) for y, x in pixels)

  if not predicted and not true:
    precision = recall = 1
  elif not predicted:
    precision, recall = 1, 0
  elif not true:
    precision, recall = 0, 1
  else:
    precision = matched(predicted, true) / len(predicted)
    recall = matched(true, predicted) / len(true)
  return 2 * precision * recall / (precision + recall) if precision + recall else 0


def random_pair(rng, shape):
  """Two related masks: rectangles that may touch the border, the second damaged."""
  masks = np.zeros((2, *shape), bool)
  for _ in range(rng.integers(0, 4)):
    y, x = rng.integers(-4, shape[0]), rng.integers(-4, shape[1])
    height, width = rng.integers(1, 12, 2)
    masks[:, max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] ^= True
  damage = rng.random(shape) < rng.choice([0, 0.02, 0.3])
  masks[1] ^= damage
  masks[1] = np.roll(masks[1], rng.integers(-3, 4, 2), (0, 1))
  return masks


SHAPES = [(17, 23), (24, 16), (1, 9), (9, 1), (1, 1), (30, 31)]


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('tolerance', [0.008, 0.1, 3, 25])
def test_equals_literal_implementation(rng, shape, tolerance):
  for case in range(12):
    prediction, truth = random_pair(rng, shape)
    void = rng.random(shape) < 0.1 if case % 3 == 0 else np.zeros(shape, bool)
    j = measures.region_similarity(prediction, truth, void)
    f = measures.contour_accuracy(prediction, truth, void, tolerance)
    assert j == pytest.approx(literal_j(prediction, truth, void), abs=1e-12)
    assert f == pytest.approx(literal_f(prediction, truth, void, tolerance), abs=1e-12)


def test_pure_noise_equals_literal_implementation(rng):
  none = np.zeros((20, 28), bool)
  for density in (0.02, 0.5, 0.98, 1.0):
    prediction, truth = rng.random((2, 20, 28)) < density
    assert measures.region_similarity(prediction, truth) == pytest.approx(
      literal_j(prediction, truth, none), abs=1e-12
    )
    assert measures.contour_accuracy(prediction, truth) == pytest.approx(
      literal_f(prediction, truth, none), abs=1e-12
    )


def test_score_frame_equals_literal_implementation(rng):
  for case in range(20):
    truth = rng.choice(np.array([0, 3, 7, 254], np.uint8), (22, 30), p=[0.7, 0.1, 0.1, 0.1])
    truth = np.repeat(np.repeat(truth[:11, :15], 2, 0), 2, 1)
    prediction = np.where(rng.random(truth.shape) < 0.1, 7, truth).astype(np.uint8)
    if case % 2:
      truth[rng.random(truth.shape) < 0.1] = 255
    void = truth == 255
    ids = (3, 5, 7, 254)
    j, f = measures.score_frame(prediction, truth, ids)
    for row, i in enumerate(ids):
      assert j[row] == pytest.approx(literal_j(prediction == i, truth == i, void), abs=1e-12)
      assert f[row] == pytest.approx(literal_f(prediction == i, truth == i, void), abs=1e-12)


def assert_equal_to_literal(prediction, truth):
  ids = [int(i) for i in np.unique(truth) if i not in (0, 255)]
  void = truth == 255
  j, f = measures.score_frame(prediction, truth, ids)
  for row, i in enumerate(ids):
    assert j[row] == pytest.approx(literal_j(prediction == i, truth == i, void), abs=1e-6)
    assert f[row] == pytest.approx(literal_f(prediction == i, truth == i, void), abs=1e-6)
  return f


def test_drawn_masks_equal_literal_implementation():
  """The demo's mask, moved and with a hole: contours as people draw them, at 320x180."""
  truth = masks.read_mask(packaged_files.DEMO_MASK).ids[::2, ::2]
  prediction = np.roll(truth, (2, 5), (0, 1))
  prediction[100:130, 150:190] = 0
  f = assert_equal_to_literal(prediction, truth)
  assert len(f) == 2 and np.all((f > 0.1) & (f < 0.95))


@pytest.mark.slow
def test_real_masks_equal_literal_implementation(davis_root):
  """A frame of every other sequence whose predictions are in FEELVOS_EVALUATION_GOLDEN."""
  folder = os.environ.get('FEELVOS_EVALUATION_GOLDEN')
  if not folder or not pathlib.Path(folder, 'results').is_dir():
    pytest.skip('set FEELVOS_EVALUATION_GOLDEN to a folder with predictions in results/')
  for results in sorted(pathlib.Path(folder, 'results').iterdir())[::2]:
    path = sorted(results.iterdir())[10]
    truth = davis_root / 'Annotations' / '480p' / results.name / path.name
    assert_equal_to_literal(masks.read_mask(path).ids, masks.read_mask(truth, grey_255='void').ids)


def test_an_object_at_each_border_and_corner_equals_literal():
  """The crop to the bounding box must not disturb the rule for the last row and column."""
  none = np.zeros((14, 18), bool)
  for y in (0, 5, 10):
    for x in (0, 7, 14):
      truth = np.zeros((14, 18), np.uint8)
      truth[y : y + 4, x : x + 4] = 1
      prediction = np.zeros_like(truth)
      prediction[y : y + 4, max(x - 1, 0) : x + 2] = 1
      (j,), (f,) = measures.score_frame(prediction, truth, [1], tolerance=1)
      assert j == pytest.approx(literal_j(prediction == 1, truth == 1, none), abs=1e-12)
      assert f == pytest.approx(literal_f(prediction == 1, truth == 1, none, 1), abs=1e-12)


def test_dilation_and_distance_transform_agree(rng):
  """Large radii take another way; a contour in a corner reaches as far either way."""
  truth, prediction = np.zeros((2, 90, 90), bool)
  truth[:30, :30] = True
  prediction[45:, 45:] = True
  none = np.zeros((90, 90), bool)
  for tolerance in (20, 21, 22, 60):
    assert measures.contour_accuracy(prediction, truth, tolerance=tolerance) == pytest.approx(
      literal_f(prediction, truth, none, tolerance), abs=1e-12
    )


def test_empty_masks():
  empty, full = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
  full[2:5, 2:5] = True
  assert measures.region_similarity(empty, empty) == 1
  assert measures.contour_accuracy(empty, empty) == 1
  for pair in ((empty, full), (full, empty)):
    assert measures.region_similarity(*pair) == 0
    assert measures.contour_accuracy(*pair) == 0


def test_boundary_radius_is_that_of_the_benchmark():
  assert measures.boundary_radius((480, 854)) == 8  # 0.008 * 979.65 = 7.84
  assert measures.boundary_radius((1080, 1920)) == 18
  assert measures.boundary_radius((480, 854), 3) == 3


def test_different_sizes_are_refused():
  with pytest.raises(ValueError, match='one size expected'):
    measures.region_similarity(np.zeros((4, 4)), np.zeros((4, 5)))
  with pytest.raises(ValueError, match='4x3 pixels given, ground truth is 5x3'):
    measures.score_frame(np.zeros((3, 4), np.uint8), np.zeros((3, 5), np.uint8), [1])


def test_statistics_by_hand():
  # 9 values, borders at 1, 3, 5, 7, 9: the first bin is values 1..3, the last 7..9.
  values = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
  found = sequence_scores.statistics(values)
  assert found.mean == pytest.approx(0.5)
  assert found.recall == pytest.approx(4 / 9)  # 0.5 itself is not above the threshold
  assert found.decay == pytest.approx(0.8 - 0.2)


def test_statistics_round_bin_borders_up():
  # 7 values: borders 1, 2.5, 4, 5.5, 7 become 1, 3, 4, 6, 7.
  found = sequence_scores.statistics([1, 1, 0, 0, 0, 0, 1])
  assert found.decay == pytest.approx(2 / 3 - 1 / 2)


def test_statistics_of_one_and_of_many_frames():
  assert sequence_scores.statistics([0.7]) == sequence_scores.Statistics(0.7, 1.0, 0.0)
  # More than 256 frames, where the official code's 8-bit borders wrap around.
  found = sequence_scores.statistics([1.0] * 200 + [0.0] * 200)
  assert found.decay == 1.0
  assert np.isnan(sequence_scores.statistics([]).mean)
  assert sequence_scores.statistics([np.nan, 0.6]).recall == 1.0


# A made-up data set. The images are 40x50 pixels, so the contour radius is 1 pixel, and objects are
# rectangles 10 high: F is 1 for equal or one pixel shifted ones, 0 for those that miss, and 2/3 if
# the prediction is the object and a far copy of it.


def frame(**objects):
  """ids uint8 [40, 50]; id_1=(y, x, width) puts a 10 pixels high rectangle there."""
  ids = np.zeros((40, 50), np.uint8)
  for key, rectangles in objects.items():
    for y, x, width in [rectangles] if isinstance(rectangles, tuple) else rectangles:
      ids[y : y + 10, x : x + width] = int(key.split('_')[1])
  return ids


def score(name, truth, prediction, protocol='davis2017'):
  """score_sequence on lists of frames; the first and last prediction must not be asked for."""
  return sequence_scores.score_sequence(
    name,
    [f'{i:05d}' for i in range(len(truth))],
    truth.__getitem__,
    prediction.__getitem__,
    sequence_scores.PROTOCOLS[protocol],
  )


def made_up_dataset():
  """[(name, truth, prediction)] with 3 sequences and 5 objects; object 9 of 'b' disappears."""
  a_truth = [frame(id_1=(5, 5, 10), id_2=(25, 30, 10))] * 6
  a_prediction = [
    None,
    frame(id_1=(5, 5, 10), id_2=(25, 30, 10)),  # both right
    frame(id_1=(5, 6, 10), id_2=(25, 30, 10)),  # 1 shifted by a pixel: J 90/110, F 1
    frame(id_1=[(5, 5, 10), (5, 30, 10)]),  # 1 with a copy: J 1/2, F 2/3; 2 missing: 0
    frame(id_1=(25, 30, 10), id_2=(5, 5, 10)),  # swapped: all 0
    None,
  ]
  there, gone = frame(id_4=(5, 5, 10), id_9=(25, 30, 10)), frame(id_4=(5, 5, 10))
  b_truth = [there, there, gone, gone, there, there]
  b_prediction = [None, there, gone, there, there, None]  # 9: right, right, ghost, right
  c_truth = [frame(id_1=(15, 20, 10))] * 3
  c_prediction = [None, frame(id_1=(15, 21, 10)), None]
  return [('a', a_truth, a_prediction), ('b', b_truth, b_prediction), ('c', c_truth, c_prediction)]


def test_made_up_dataset_by_hand():
  a, b, c = [score(*sequence) for sequence in made_up_dataset()]
  np.testing.assert_allclose(a.j, [[1, 90 / 110, 1 / 2, 0], [1, 1, 0, 0]])
  np.testing.assert_allclose(a.f, [[1, 1, 2 / 3, 0], [1, 1, 0, 0]])
  assert b.object_ids == (4, 9) and b.object_names == ('b_4', 'b_9')
  np.testing.assert_allclose(b.j, [[1, 1, 1, 1], [1, 1, 0, 1]])
  np.testing.assert_allclose(b.f, b.j)
  np.testing.assert_allclose(c.j, [[90 / 110]])
  assert c.frame_names == ('00001',)
  # Per object, 4 frames: borders 1, 1.75, 2.5, 3.25, 4 -> 1, 2, 3, 3, 4; the first bin is frames
  # 1..2, the last 3..4. One frame: no decay.
  j_means = [(1 + 90 / 110 + 0.5) / 4, 0.5, 1, 0.75, 90 / 110]
  f_means = [(2 + 2 / 3) / 4, 0.5, 1, 0.75, 1]
  summary = summary_lib.summarise([a, b, c])
  assert summary['J-Mean'] == pytest.approx(sum(j_means) / 5)
  assert summary['F-Mean'] == pytest.approx(sum(f_means) / 5)
  assert summary['J&F-Mean'] == pytest.approx((sum(j_means) + sum(f_means)) / 10)
  assert summary['J-Recall'] == pytest.approx((2 / 4 + 2 / 4 + 1 + 3 / 4 + 1) / 5)
  assert summary['F-Recall'] == pytest.approx((3 / 4 + 2 / 4 + 1 + 3 / 4 + 1) / 5)
  a1_decay = (1 + 90 / 110) / 2 - (0.5 + 0) / 2
  assert summary['J-Decay'] == pytest.approx((a1_decay + 1 + 0 + 0.5 + 0) / 5)
  assert summary['F-Decay'] == pytest.approx(((1 - 1 / 3) + 1 + 0 + 0.5 + 0) / 5)


def test_foreground_protocol_merges_objects():
  name, truth, prediction = made_up_dataset()[0]
  scores = score(name, truth, prediction, 'davis2016')
  assert scores.object_ids == (1,)
  # Swapped ids do not matter; the copy lies on the other object's row but misses it.
  np.testing.assert_allclose(scores.j, [[1, 190 / 210, 100 / 300, 1]])


def test_foreground_protocol_takes_255_of_a_prediction_as_foreground():
  truth = [frame(id_1=(5, 5, 10))] * 3
  scores = score('a', truth, [None, frame(id_255=(5, 5, 10)), None], 'davis2016')
  assert scores.j.tolist() == [[1.0]]


def test_void_pixels_count_for_nothing():
  truth = frame(id_1=(5, 5, 10))
  truth[20:, :] = 255
  prediction = frame(id_1=[(5, 5, 10), (25, 5, 10)], id_2=(25, 30, 10))
  for protocol in ('davis2016', 'davis2017'):
    for result in (prediction, truth):
      scores = score('a', [truth] * 3, [None, result, None], protocol)
      assert scores.object_ids == (1,) and not scores.notes
      assert scores.j.tolist() == scores.f.tolist() == [[1.0]]


@pytest.mark.parametrize('object_id', [6, 255])
def test_objects_only_in_the_results_are_background_and_noted(object_id):
  """255 is void in the ground truth alone."""
  truth, other = [frame(id_1=(5, 5, 10))] * 3, {f'id_{object_id}': (25, 5, 10)}
  scores = score('a', truth, [None, frame(id_1=(5, 5, 10), **other), None])
  assert scores.j.tolist() == [[1.0]]
  assert f'ids [{object_id}] of the results are not in the ground truth' in scores.notes[0]


def test_objects_only_in_the_ground_truth_score_zero():
  truth = [frame(id_1=(5, 5, 10), id_200=(25, 5, 10))] * 3
  scores = score('a', truth, [None, frame(id_1=(5, 5, 10)), None])
  assert scores.object_ids == (1, 200)
  assert scores.j.tolist() == [[1.0], [0.0]]


def test_late_object_is_scored_after_its_first_frame_for_youtube_vos():
  one, two = frame(id_1=(5, 5, 10)), frame(id_1=(5, 5, 10), id_2=(25, 5, 10))
  truth, prediction = [one, one, two, two, two], [None, one, one, two, one]
  scores = score('a', truth, prediction, 'youtube_vos')
  assert scores.object_ids == (1, 2)
  np.testing.assert_array_equal(scores.j, [[1, 1, 1, 1], [np.nan, np.nan, 1, 0]])
  np.testing.assert_array_equal(scores.f, scores.j)
  assert scores.statistics('J')[1].mean == 0.5
  davis = score('a', truth, prediction, 'davis2017')
  assert davis.object_ids == (1,)
  assert 'objects [2] appear after the first frame' in davis.notes[0]


def test_seen_and_unseen_by_hand():
  sequences = [score(*sequence) for sequence in made_up_dataset()]
  found = summary_lib.summarise_seen_unseen(sequences, lambda name, i: (name, i) != ('b', 9))
  assert found['J-Unseen'] == found['F-Unseen'] == 0.75
  a1 = (1 + 90 / 110 + 1 / 2) / 4
  assert found['J-Seen'] == pytest.approx((a1 + 0.5 + 1 + 90 / 110) / 4)
  assert found['G'] == pytest.approx(np.mean([found[k] for k in found if k != 'G']))
  everything_seen = summary_lib.summarise_seen_unseen(sequences, lambda name, i: True)
  assert np.isnan(everything_seen['J-Unseen'])
  assert everything_seen['G'] == pytest.approx(
    (everything_seen['J-Seen'] + everything_seen['F-Seen']) / 2
  )


@pytest.mark.parametrize(
  'count, protocol, expected',
  [
    (1, 'davis2017', '1 annotated frame(s) given, at least 3 expected'),
    (2, 'davis2016', '2 annotated frame(s) given, at least 3 expected'),
    (1, 'youtube_vos', '1 annotated frame(s) given, at least 2 expected'),
  ],
)
def test_too_few_frames(count, protocol, expected):
  with pytest.raises(ValueError) as error:
    score('short', [frame(id_1=(5, 5, 10))] * count, [None] * count, protocol)
  assert expected in str(error.value) and 'short' in str(error.value)


def test_empty_ground_truth():
  with pytest.raises(ValueError, match='first frame .00000. is empty'):
    score('nothing', [frame()] * 4, [frame()] * 4)
  with pytest.raises(ValueError, match='nothing: the ground truth holds no object'):
    score('nothing', [frame()] * 4, [frame()] * 4, 'youtube_vos')

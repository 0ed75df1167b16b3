"""Tests of `inference.guided_filter`."""

import pickle

import head_models
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf import export
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference import guided_filter
from feelvos_tf.inference import winner
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model import geometry
from feelvos_tf.model import weights
from feelvos_tf.saved_model import version_folder
from feelvos_tf.saved_model.exported_model import ExportedModel

EPSILON = 0.001
SIZE = (33, 49)


def enlarge(logits, frame, size=None, epsilon=EPSILON):
  function = tf.function(lambda *given: guided_filter.enlarge_logits(*given, epsilon))
  size = tf.constant(frame.shape[:2] if size is None else size)
  return function(tf.constant(logits, tf.float32), tf.constant(frame), size).numpy()


def around(values, radius):
  """Means of float64 [height, width, channels] around every place, of what is in the picture."""
  height, width = values.shape[:2]
  return np.array(
    [
      [
        values[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1].mean(
          (0, 1)
        )
        for x in range(width)
      ]
      for y in range(height)
    ]
  )


def bilinear(values, size):
  """float64 [h4, w4, channels] at another size, corners aligned."""
  hats = [
    np.maximum(1 - np.abs(np.linspace(0, few - 1, many)[:, np.newaxis] - np.arange(few)), 0)
    for few, many in zip(values.shape, size)
  ]
  return np.einsum('yh,xw,hwc->yxc', *hats, values)


def in_loops(values, frame, epsilon):
  """The filter of the paper, position by position: values float64 [h4, w4] at the frame's size."""
  colours = frame / 255.0
  small = around(colours, 2)[::4, ::4]
  height, width = values.shape
  linear = np.zeros([height, width, 4])
  for y in range(height):
    for x in range(width):
      window = slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2)
      seen, wanted = small[window].reshape(-1, 3), values[window].reshape(-1)
      factors = np.linalg.solve(
        np.cov(seen.T, bias=True) + epsilon * np.eye(3),
        ((seen - seen.mean(0)) * (wanted - wanted.mean())[:, np.newaxis]).mean(0),
      )
      linear[y, x] = *factors, wanted.mean() - factors @ seen.mean(0)
  linear = bilinear(around(linear, 1), frame.shape[:2])
  return (linear[..., :3] * colours).sum(-1) + linear[..., 3]


@pytest.mark.parametrize('epsilon', [0.001, 0.1])
def test_it_is_the_filter_of_the_paper(rng, epsilon):
  frame = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
  logits = rng.uniform(-1.5, 1.5, [3, 9, 13])
  found = enlarge(logits, frame, epsilon=epsilon)
  assert found.shape == (3, *SIZE) and not found[0].any()
  for channel in (1, 2):
    expected = in_loops(logits[channel] - logits[0], frame, epsilon)
    np.testing.assert_allclose(found[channel], expected, atol=2e-3)
  large = enlarge(logits, frame, (65, 97), epsilon)
  np.testing.assert_allclose(large[:, ::2, ::2], found, atol=1e-5)


def two_colours(edge):
  """(frame with an object from column `edge` on, its logits at stride 4, its mask)."""
  frame = np.full([*SIZE, 3], (200, 90, 40), np.uint8)
  frame[:, edge:] = (60, 120, 80)
  mask = np.arange(SIZE[1]) >= edge
  side = np.where(mask[::4], 6.0, -6.0) * np.ones([9, 1])
  return frame, np.stack([np.zeros_like(side), side]), np.broadcast_to(mask, SIZE)


@pytest.mark.parametrize('edge', [21, 22, 23, 24])
def test_borders_follow_edges_between_positions(edge):
  frame, logits, mask = two_colours(edge)
  np.testing.assert_array_equal(enlarge(logits, frame).argmax(0), mask)
  plain = enlarge(logits, frame, epsilon=None)
  np.testing.assert_array_equal(
    plain, geometry.enlarge_logits(tf.constant(logits, tf.float32), SIZE)
  )
  # Bilinear logits have their border in the middle, whatever the frame shows.
  np.testing.assert_array_equal(plain.argmax(0), np.broadcast_to(np.arange(49) > 22, SIZE))


def test_without_edges_borders_stay_and_far_from_them_logits():
  _, logits, _ = two_colours(22)
  logits[1] *= 2.0
  found = enlarge(logits, np.full([*SIZE, 3], 128, np.uint8))
  assert (found[1, :, :22] < 0).all() and (found[1, :, 23:] > 0).all()
  # Positions of columns 0 to 20 and 24 to 48; near are two on either side and what is in between.
  np.testing.assert_allclose(found[1, :, :9], -12.0, atol=1e-4)
  np.testing.assert_allclose(found[1, :, 36:], 12.0, atol=1e-4)
  assert np.abs(found[1, :, 20:25]).max() < 4.01


def test_an_object_that_wins_nowhere_gets_nothing(rng):
  """Not even where colours differ from all that the fit has seen."""
  frame = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
  logits = rng.uniform(-1, 1, [4, 9, 13])
  logits[2] = winner.LEFT_OUT
  found = enlarge(logits, frame)
  assert (found[2] == winner.LEFT_OUT).all() and set(np.unique(found.argmax(0))) == {0, 1, 3}
  logits[1:] = -100.0
  assert not enlarge(logits, frame).argmax(0).any()
  only_background = enlarge(logits[:1], frame)
  assert only_background.shape == (1, *SIZE) and not only_background.any()


def results(graph, frames, mask, **options):
  segmenter = VideoSegmenter(graph, **options)
  segmenter.start(frames[0], mask)
  return [segmenter.step(frame) for frame in frames[1:]]


@pytest.fixture(scope='module')
def model():
  return head_models.make_model(guided_filter_epsilon=EPSILON, frame_grid=16)


@pytest.fixture(scope='module')
def graph(model):
  return graph_lib.InferenceGraph(model)


@pytest.fixture(scope='module')
def plain_graph():
  """That of the model without the filter."""
  return graph_lib.InferenceGraph(head_models.make_model(frame_grid=16))


def test_all_ways_to_run_a_model_agree(model):
  head_models.check_all_ways_agree(model)


@pytest.mark.parametrize(
  'options', [{}, {'max_internal_size': 33}, {'flip': True}, {'image_pyramid': (1.0, 1.5)}]
)
def test_masks_are_of_the_filter_and_so_are_probabilities(graph, plain_graph, options):
  frames, mask = head_models.make_clip()
  found = results(graph, frames, mask, **options)
  plain = results(plain_graph, frames, mask, **options)
  assert any((one.mask != other.mask).any() for one, other in zip(found, plain))
  for one in found:
    ids = np.asarray(one.object_ids)
    elsewhere = pickle.loads(pickle.dumps(one))  # Without the model, and whatever the frame became.
    np.testing.assert_array_equal(ids[elsewhere.probabilities.argmax(0)], one.mask)
    np.testing.assert_array_equal(elsewhere.stride4_logits, one.stride4_logits)
    np.testing.assert_array_equal(ids[one.probabilities.argmax(0)], one.mask)
    np.testing.assert_allclose(one.probabilities.sum(0), 1.0, atol=1e-5)


def test_the_next_frame_is_told_of_the_mask_with_edges(graph):
  frames, mask = head_models.make_clip()
  sizes = graph.frame_geometry(SIZE)
  labels = np.searchsorted(head_models.IDS, mask).astype(np.int32)
  step = graph.advance(frames[1], graph.begin(frames[0], labels, 4, sizes), 4, sizes)
  small = geometry.shrink_labels(step.labels, (9, 13))
  np.testing.assert_array_equal(step.state.previous.labels, small)
  assert np.any(np.argmax(step.logits, axis=0) != small)


@pytest.mark.slow
def test_an_exported_model_does_the_same(tmp_path):
  """Also where frames are scaled down in its graph."""
  model = head_models.make_model(guided_filter_epsilon=EPSILON, frame_grid=16, largest_side=40)
  signatures, info = export.build(model)
  version_folder.write_version(tmp_path / '1', signatures, info)
  frames, mask = head_models.make_clip()
  expected = results(model, frames, mask)
  for one, other in zip(expected, results(ExportedModel(tmp_path / '1'), frames, mask)):
    assert np.mean(one.mask != other.mask) < 0.01
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-2)
    ids = np.asarray(other.object_ids)
    assert np.mean(ids[other.probabilities.argmax(0)] != other.mask) < 0.01


def test_weights_files_keep_it(model, tmp_path):
  weights.save_model(tmp_path / 'm.h5', model)
  assert weights.load_model(tmp_path / 'm.h5').options.guided_filter_epsilon == EPSILON


@pytest.mark.parametrize('value', [0, -1.0, 1.5])
def test_what_is_no_variance_is_refused(value):
  with pytest.raises(ValueError, match='guided_filter_epsilon is .*expected a variance'):
    head_models.make_model(guided_filter_epsilon=value)

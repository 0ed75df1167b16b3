"""Scales and mirrored frames: what is merged, what every view is told, and what is refused."""

import numpy as np
import pytest
import small_models
import tensorflow as tf

from feelvos_tf.deeplab import layers
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference import views
from feelvos_tf.inference.options import SegmenterOptions
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model import geometry

VIDEO = 'tf1/video_xception_65_os16_62x86'


@pytest.fixture(scope='module')
def clip(golden):
  tensors = golden.npz(VIDEO)
  return tensors['images'], tensors['gt_labels'][0, ..., 0].astype(np.uint8)


def run(graph, clip, **options):
  segmenter = VideoSegmenter(graph, **options)
  images, mask = clip
  segmenter.start(images[0], mask)
  return [segmenter.step(image) for image in images[1:]]


def merged_by_hand(graph, clip, shown, merge):
  """Logits at stride 4 of the first step, view by view with `inference.InferenceGraph` alone.

  Args:
    shown: list of (scale, mirrored).
    merge: list of logits [objects, h4, w4] of one size, mirrored back -> merged.
  """
  images, mask = clip
  found = []
  size = [layers.scale_dimension(side, max(1.0, *(s for s, _ in shown)) / 4) for side in mask.shape]
  for scale, mirrored in shown:
    scaled = [layers.scale_dimension(side, scale) for side in mask.shape]
    frames = tf.round(layers.resize_bilinear(tf.cast(images[:2], tf.float32), scaled)).numpy()
    labels = layers.resize_nearest(mask[np.newaxis, ..., np.newaxis].astype(np.int32), scaled)
    labels = labels.numpy()[0, ..., 0]
    if mirrored:
      frames, labels = frames[:, :, ::-1], labels[:, ::-1]
    frames = frames.astype(np.uint8)
    state = graph.initialize(graph.extract(frames[0])[1], labels, 3)
    logits = graph.step(*graph.extract(frames[1]), state, 3, (1, 1)).logits
    logits = geometry.enlarge_logits(logits, size).numpy()
    found.append(logits[:, :, ::-1] if mirrored else logits)
  return merge(found)


def mean_probability(logits):
  return np.log(np.mean([tf.nn.softmax(one, axis=0) for one in logits], axis=0))


@pytest.mark.parametrize(
  'options, shown, merge',
  [
    (dict(flip=True), [(1.0, False), (1.0, True)], mean_probability),
    (
      dict(image_pyramid=(0.75, 1.25)),
      [(0.75, False), (1.25, False)],
      lambda logits: np.max(logits, axis=0),
    ),
    (
      dict(image_pyramid=(0.5, 0.8), merge_method='avg'),
      [(0.5, False), (0.8, False)],
      lambda logits: np.mean(logits, axis=0),
    ),
    (
      dict(image_pyramid=(1, 1.25), flip=True),
      [(1.0, False), (1.25, False), (1.0, True), (1.25, True)],
      lambda logits: mean_probability([np.max(logits[:2], axis=0), np.max(logits[2:], axis=0)]),
    ),
  ],
)
def test_merged_as_the_original_merges(golden_graph, clip, options, shown, merge):
  result = run(golden_graph, (clip[0][:2], clip[1]), **options)[0]
  expected = merged_by_hand(golden_graph, clip, shown, merge)
  scale = np.abs(expected).max()
  np.testing.assert_allclose(result.stride4_logits, expected, atol=1e-4 * scale)
  assert result.global_distance.shape == result.stride4_logits.shape
  assert result.local_distance.shape == result.stride4_logits.shape
  np.testing.assert_array_equal(
    result.mask, geometry.enlarge_logits(expected, result.mask.shape).numpy().argmax(0)
  )


def test_one_view_is_no_view(golden_graph, clip):
  plain = run(golden_graph, clip)
  graph = views.Views(golden_graph)
  for one, other in zip(plain, run(graph, clip)):
    np.testing.assert_array_equal(one.stride4_logits, other.stride4_logits)
    np.testing.assert_array_equal(one.mask, other.mask)
    np.testing.assert_array_equal(one.global_distance, other.global_distance)


def test_a_mirrored_video_gets_mirrored_masks(golden_graph, clip):
  """With `flip` left and right are alike, on every frame: what is fed back is mirrored as well.

  The width is 4n + 1, so that the samples at stride 4 are the same from both sides.
  """
  images, mask = clip[0][:, :, :85], clip[1][:, :85]
  found = run(golden_graph, (images, mask), flip=True)
  mirrored = run(golden_graph, (images[:, :, ::-1], mask[:, ::-1]), flip=True)
  for one, other in zip(found, mirrored):
    np.testing.assert_array_equal(one.mask, other.mask[:, ::-1])
    np.testing.assert_allclose(
      one.stride4_logits,
      other.stride4_logits[..., ::-1],
      atol=1e-4 * np.abs(one.stride4_logits).max(),
    )


@pytest.mark.parametrize(
  'options',
  [
    dict(flip=True),
    dict(image_pyramid=(0.5, 1, 1.5)),
    dict(image_pyramid=(2,), flip=True),
    dict(image_pyramid=(0.5, 1), merge_method='avg', max_internal_size=64),
  ],
)
def test_every_view_is_told_the_merged_result(copying_graph, rng, options):
  """A model that copies the previous prediction keeps the mask, ids and all, in every view."""
  size = (65, 97)
  mask = np.zeros(size, np.uint8)
  mask[8:40, 8:40], mask[30:60, 60:90] = 7, 200
  images = rng.integers(0, 256, (4, *size, 3), dtype=np.uint8)
  for result in run(copying_graph, (images, mask), **options):
    assert result.object_ids == (0, 7, 200)
    assert np.mean(result.mask == mask) > 0.9  # The rest is within stride 4 of a contour.
    if options == {'flip': True}:
      np.testing.assert_array_equal(result.mask[::4, ::4], mask[::4, ::4])
    ids = np.array([0, 7, 200], np.uint8)
    np.testing.assert_array_equal(ids[result.probabilities.argmax(0)], result.mask)
    np.testing.assert_allclose(result.probabilities.sum(0), 1.0, atol=1e-5)


def test_small_objects_survive_small_scales(copying_graph, rng):
  mask = np.zeros((65, 97), np.uint8)
  mask[10:40, 10:40] = 3
  mask[50, 61] = 9
  images = rng.integers(0, 256, (2, 65, 97, 3), dtype=np.uint8)
  result = run(copying_graph, (images, mask), image_pyramid=(0.5,), flip=True)[0]
  assert set(np.unique(result.mask)) == {0, 3, 9}


def test_soft_maps_are_those_of_the_merged_result(copying_model, rng):
  model = small_models.with_options(copying_model, previous_prediction='probabilities')
  graph = views.Views(graph_lib.InferenceGraph(model), (0.5, 1.0), 'avg', True)
  images = rng.integers(0, 256, (2, 65, 97, 3), dtype=np.uint8)
  labels = np.zeros((65, 97), np.int32)
  labels[20:50, 30:60] = 1
  sizes = graph.frame_geometry((65, 97))
  state = graph.begin(images[0], labels, 2, sizes)
  step = graph.advance(images[1], state, 2, sizes)
  soft = tf.nn.softmax(step.logits, axis=0).numpy()
  told = [one.previous.probabilities.numpy() for one in step.state.states]
  np.testing.assert_allclose(told[1], soft, atol=1e-6)
  np.testing.assert_allclose(told[3], soft[..., ::-1], atol=1e-6)
  small = geometry.enlarge_logits(soft, told[0].shape[1:]).numpy()
  np.testing.assert_allclose(told[0], small, atol=1e-6)
  np.testing.assert_allclose(told[2], small[..., ::-1], atol=1e-6)
  assert told[0].min() > 0 and told[0].max() < 1


def test_a_video_of_several_views_cannot_be_corrected(copying_graph, rng):
  segmenter = VideoSegmenter(copying_graph, flip=True)
  images = rng.integers(0, 256, (3, 33, 49, 3), dtype=np.uint8)
  mask = np.zeros((33, 49), np.uint8)
  mask[8:24, 8:24] = 4
  segmenter.start(images[0], mask)
  with pytest.raises(ValueError, match='cannot be corrected; leave image_pyramid and flip'):
    segmenter.correct(images[1], mask)
  np.testing.assert_array_equal(segmenter.step(images[2]).mask[::4, ::4], mask[::4, ::4])


def test_exported_models_have_one_view():
  class Exported:
    advance = begin = None

  with pytest.raises(ValueError, match='an exported model cannot segment at several scales'):
    VideoSegmenter(Exported(), image_pyramid=(0.5, 1))


@pytest.mark.parametrize(
  'values, message',
  [
    (dict(max_internal_size=31), 'max_internal_size is 31; expected at least 32'),
    (dict(merge_method='mean'), "merge_method is 'mean'; expected one of max, avg"),
    (dict(image_pyramid=()), 'image_pyramid is empty'),
    (dict(image_pyramid=(1, 0)), 'has the scale 0; expected more than 0 and at most 4'),
    (dict(image_pyramid=(-1,)), 'has the scale -1'),
    (dict(image_pyramid=(75,)), 'has the scale 75'),
    (dict(image_pyramid=(float('nan'),)), 'has the scale nan'),
    (dict(image_pyramid=(1, 0.5, 1.0)), 'image_pyramid is 1, 0.5, 1; expected every scale once'),
  ],
)
def test_wrong_options(values, message):
  with pytest.raises(ValueError, match=message):
    SegmenterOptions(**values)


def crossing_clip(rng):
  """(frames [6, 120, 200, 3], first mask): a square with a texture passes another one like it."""
  texture = np.repeat(np.repeat(rng.integers(0, 256, (6, 6, 3)), 8, 0), 8, 1).astype(np.uint8)
  frames, mask = np.full((6, 120, 200, 3), 90, np.uint8), np.zeros((120, 200), np.uint8)
  for t, frame in enumerate(frames):
    frame[36:84, 70:118] = texture
    frame[44:92, 12 + 10 * t : 60 + 10 * t] = texture[:, ::-1]
  mask[36:84, 70:118], mask[44:92, 12:60] = 1, 2
  return frames, mask


def test_every_view_remembers_what_objects_cover(default_graph, rng):
  """By the merged masks: it is what the model remembers without views, but for rounding."""
  graph = default_graph
  frames, mask = crossing_clip(rng)
  sizes = graph.frame_geometry(mask.shape)
  several = views.Views(graph, flip=True)
  labels = tf.constant(mask, tf.int32)
  plain, state = (one.begin(frames[0], labels, 3, sizes) for one in (graph, several))
  covered = 0
  for frame in frames[1:]:
    plain = graph.advance(frame, plain, 3, sizes).state
    state = several.advance(frame, state, 3, sizes).state
    expected = plain.previous.hidden_parts
    covered += np.sum(expected.labels)
    for of_view, view in zip(state.states, several._views):
      found = of_view.previous.hidden_parts
      shown = found.labels[:, ::-1] if view.mirrored else found.labels
      assert np.mean(shown != expected.labels) < 0.02
  assert covered > 100

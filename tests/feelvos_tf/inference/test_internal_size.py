"""The option `internal_size`: small frames are enlarged inside, and masks have their size."""

import cv2
import numpy as np
import pytest
from small_models import with_options
import tensorflow as tf

from feelvos_tf.datasets import masks
from feelvos_tf.deeplab import layers
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model.geometry import FrameGeometry
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.saved_model import signatures

SIZE = (48, 80)


@pytest.mark.parametrize(
  'size, limits, expected',
  [
    ((240, 432), (1.0, 2.0), (480, 864)),
    ((432, 240), (1.0, 2.0), (864, 480)),
    ((120, 160), (1.0, 2.0), (240, 320)),
    ((480, 854), (1.0, 2.0), (480, 854)),
    ((720, 1280), (1.0, 2.0), (720, 1280)),
    ((720, 1280), (0.5, 2.0), (480, 853)),
    ((1080, 1920), (0.5, 2.0), (540, 960)),
    ((1, 1), (1.0, 2.0), (2, 2)),
  ],
)
def test_sizes(size, limits, expected):
  options = FeelvosOptions(internal_size=480, internal_scale_limits=limits)
  sizes = FrameGeometry.of(size, options)
  assert (sizes.internal, sizes.working, sizes.network) == (size, expected, expected)
  in_graph = FrameGeometry.of(tf.constant(size), options)
  assert tuple(in_graph.working.numpy()) == tuple(in_graph.network.numpy()) == expected
  on_grid = FeelvosOptions(internal_size=480, internal_scale_limits=limits, frame_grid=16)
  alone = FrameGeometry.of(expected, FeelvosOptions(frame_grid=16))
  assert FrameGeometry.of(size, on_grid).network == alone.network


def test_without_the_option_frames_stay_as_they_are():
  assert FrameGeometry.of((48, 80), FeelvosOptions()).working == (48, 80)


def test_sizes_in_a_graph_are_those_outside():
  """Of all sides, so that an exported model works at the sizes of the segmenter."""
  options = FeelvosOptions(internal_size=480, internal_scale_limits=(0.25, 4.0))
  for short in range(200, 700, 7):
    size = (short, 2 * short + 35)
    in_graph = FrameGeometry.of(tf.constant(size), options).working
    assert tuple(in_graph.numpy()) == FrameGeometry.of(size, options).working


@pytest.fixture(scope='module')
def graph(copying_model):
  return graph_lib.InferenceGraph(with_options(copying_model, internal_size=96, frame_grid=16))


@pytest.fixture
def clip(rng):
  frames = rng.integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
  mask = np.zeros(SIZE, np.uint8)
  mask[8:30, 10:40], mask[20:44, 50:75] = 5, 200
  return frames, mask


def test_small_frames_are_seen_larger(graph, clip):
  frames, mask = clip
  segmenter = VideoSegmenter(graph)
  segmenter.start(frames[0], mask)
  result = segmenter.step(frames[1])
  # 48x80 becomes 96x160, and 97x161 on the grid.
  assert result.mask.shape == SIZE and result.stride4_logits.shape == (3, 25, 41)
  # The model copies the mask: twice as fine as the stride of the frame.
  assert np.mean(result.mask != mask) < 0.06


def test_it_is_the_frame_enlarged_beforehand(copying_graph, graph, clip):
  """Features of the small frame are those of the frame enlarged as the network sees it."""
  frame = clip[0][0]
  larger = tf.round(layers.resize_bilinear(tf.cast(frame, tf.float32)[tf.newaxis], (97, 161))[0])
  features, _ = graph.extract(frame)
  expected = copying_graph.extract(tf.cast(larger, tf.uint8))
  assert features.shape == expected[0].shape == (25, 41, 256)
  np.testing.assert_allclose(features, expected[0], atol=0.05 * np.ptp(expected[0]))


def test_a_limit_on_the_size_bounds_it(graph, clip):
  frames, mask = clip
  for limit, expected in ((80, (13, 21)), (120, (17, 29)), (400, (25, 41))):
    segmenter = VideoSegmenter(graph, max_internal_size=limit)
    segmenter.start(frames[0], mask)
    result = segmenter.step(frames[1])
    assert result.stride4_logits.shape[1:] == expected
    assert result.mask.shape == SIZE


def test_scales_refer_to_it(graph, clip):
  frames, mask = clip
  segmenter = VideoSegmenter(graph, image_pyramid=(0.5, 1.0), flip=True)
  segmenter.start(frames[0], mask)
  result = segmenter.step(frames[1])
  assert [state.previous.labels.shape for state in segmenter.snapshot().state.states] == [
    (13, 21),
    (25, 41),
  ] * 2
  assert result.mask.shape == SIZE and np.mean(result.mask != mask) < 0.1


def test_signatures_equal_the_segmenter(copying_model, graph, clip):
  frames, mask = clip
  exported = signatures.Signatures(with_options(copying_model, internal_size=96, frame_grid=16))
  encode = lambda image: cv2.imencode('.png', image)[1].tobytes()
  images = tf.constant([encode(frame[..., ::-1]) for frame in frames])
  nothing = tf.constant('')
  first = exported.track_resume(images[:2], tf.constant(encode(mask)), nothing)
  second = exported.track_resume(images[2:], nothing, first['state_bytes'])
  segmenter = VideoSegmenter(graph)
  segmenter.start(frames[0], mask)
  expected = [mask, *(segmenter.step(frame).mask for frame in frames[1:])]
  found = [*first['masks_bytes'].numpy(), *second['masks_bytes'].numpy()]
  for data, ids in zip(found, expected, strict=True):
    np.testing.assert_array_equal(masks.decode_mask(data, 'found', void=False).ids, ids)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'internal_size': 0}, 'internal_size is 0; expected a number of pixels'),
    ({'internal_size': 480.5}, 'internal_size is 480.5'),
    ({'internal_scale_limits': (1.5, 2)}, r'internal_scale_limits is \(1.5, 2\); expected two'),
    ({'internal_scale_limits': (0.5, 0.9)}, 'internal_scale_limits is'),
    ({'internal_scale_limits': (1.0,)}, 'internal_scale_limits is'),
  ],
)
def test_options_that_cannot_be(options, message):
  with pytest.raises(ValueError, match=message):
    FeelvosOptions(**options)


def test_options_travel():
  options = FeelvosOptions(internal_size=480, internal_scale_limits=(0.5, 2.0))
  assert FeelvosOptions.from_dict(options.to_dict()) == options
  assert (
    FeelvosOptions.from_dict({**options.to_dict(), 'internal_scale_limits': [0.5, 2.0]}) == options
  )

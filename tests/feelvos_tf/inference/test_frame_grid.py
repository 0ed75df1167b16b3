"""Frames resized to a size of the network's grid: what lies where, and what comes back."""

import cv2
import numpy as np
import pytest
import small_models
import tensorflow as tf

from feelvos_tf.deeplab import layers
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference.functions import InferenceFunctions
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model import feelvos
from feelvos_tf.model.geometry import FrameGeometry
from feelvos_tf.model.options import FeelvosOptions

SIZE = (96, 160)  # 97x161 on the grid of 16: every stride meets an even size without it.


@pytest.fixture(scope='module')
def grid_graph(copying_model):
  """Inference graph of `copying_model` on the grid of 16."""
  return graph_lib.InferenceGraph(small_models.with_options(copying_model, frame_grid=16))


@pytest.mark.parametrize(
  'size, grid, expected, at_stride_4',
  [
    ((480, 854), None, (480, 854), (120, 214)),
    ((480, 854), 16, (481, 849), (121, 213)),
    ((360, 640), 16, (353, 641), (89, 161)),
    ((465, 257), 16, (465, 257), (117, 65)),
    ((466, 1080), 8, (465, 1081), (117, 271)),
    ((1, 9), 16, (17, 17), (5, 5)),
    ((1, 9), None, (1, 9), (1, 3)),
  ],
)
def test_sizes(size, grid, expected, at_stride_4):
  options = FeelvosOptions(frame_grid=grid)
  assert FrameGeometry.of(size, options) == FrameGeometry(size, size, size, expected, at_stride_4)
  in_graph = FrameGeometry.of(tf.constant(size), options)
  assert tuple(in_graph.network.numpy()) == expected
  assert tuple(in_graph.stride_4.numpy()) == at_stride_4


def test_sizes_of_smaller_frames():
  geometry = FrameGeometry.of((480, 854), FeelvosOptions(frame_grid=16), max_internal_size=427)
  assert geometry == FrameGeometry((480, 854), (240, 427), (240, 427), (241, 433), (61, 109))
  assert geometry.scaled(0.5) == (120, 214)
  assert geometry.shrink_frame(np.zeros((480, 854, 3), np.uint8)).shape == (240, 427, 3)


@pytest.mark.parametrize('grid', [0, -16, 2.5, True, '16'])
def test_a_grid_that_is_no_step_is_refused(grid):
  with pytest.raises(
    ValueError, match='frame_grid is .*expected a (number of pixels|whole number)'
  ):
    FeelvosOptions(frame_grid=grid)


def averaging_model(frame_grid):
  """A MobileNetV2 whose kernels all average, so that its response is symmetric in itself."""
  model = feelvos.Feelvos(
    FeelvosOptions(
      ModelOptions('mobilenet_v2', depth_multiplier=0.35, add_image_level_feature=False),
      embedding_dimension=8,
      head_dimension=8,
      head_layers=1,
      frame_grid=frame_grid,
    )
  )
  for name, variable in tf1_checkpoint.variables_by_name(model.deeplab).items():
    if len(variable.shape) == 4:
      inputs = np.prod(variable.shape[: 2 if 'depthwise' in name else 3])
      variable.assign(tf.fill(variable.shape, 1.0 / float(inputs)))
  return model


def distance_from_its_position(frame_grid):
  """How far from where it belongs the middle feature looks: (rows, columns) in frame pixels."""
  functions = InferenceFunctions(averaging_model(frame_grid))
  frame = tf.Variable(tf.fill([*SIZE, 3], 200.0))
  with tf.GradientTape() as tape:
    features, _ = functions.trace_extract(frame)
    shape = np.array(features.shape[:2])
    middle = shape // 2
    response = tf.reduce_sum(features[middle[0], middle[1]])
  weight = np.abs(tape.gradient(response, frame).numpy()).sum(axis=-1)
  assert weight.max() > 0
  seen = [
    np.sum(np.arange(side) * weight.sum(axis=1 - axis)) / weight.sum()
    for axis, side in enumerate(SIZE)
  ]
  return np.array(seen) - middle * (np.array(SIZE) - 1) / (shape - 1)


def test_features_look_where_corner_aligned_resizing_puts_them():
  assert np.all(np.abs(distance_from_its_position(16)) < 0.2)
  # What it is there for: as it is, the frame's features look elsewhere.
  assert np.all(np.abs(distance_from_its_position(None)) > 1)


def test_the_network_sees_the_resized_frame(copying_model, grid_graph, rng):
  frame = rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)
  resized = layers.resize_bilinear(tf.cast(frame, tf.float32)[tf.newaxis], (33, 49))
  for found, expected in zip(grid_graph.extract(frame), copying_model.extract(resized)):
    np.testing.assert_allclose(found, expected[0], atol=1e-4)


def test_frames_on_the_grid_are_left_as_they_are(copying_graph, grid_graph, rng):
  frame = rng.integers(0, 256, (33, 49, 3), dtype=np.uint8)
  assert copying_graph.options.frame_grid is None
  for found, expected in zip(*(graph.extract(frame) for graph in (grid_graph, copying_graph))):
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize('size', [SIZE, (30, 50), (9, 5), (33, 49)])
def test_masks_have_the_frames_size_and_the_users_ids(grid_graph, rng, size):
  frames = rng.integers(0, 256, (4, *size, 3), dtype=np.uint8)
  height, width = size
  mask = np.zeros(size, np.uint8)
  mask[: height // 2, : width // 2] = 9
  mask[height // 2 :, width // 2 :] = 200
  segmenter = VideoSegmenter(grid_graph)
  segmenter.start(frames[0], mask)
  results = [segmenter.step(frames[1])]
  segmenter.correct(frames[2], mask)
  results.append(segmenter.step(frames[3]))
  for result in results:
    assert result.mask.shape == size
    assert np.mean(result.mask == mask) > 0.8  # Stride 4 blurs the edges.
    assert result.probabilities.shape == (3, *size)


def test_smaller_frames_and_views_keep_full_size_masks(grid_graph, rng):
  mask = np.zeros(SIZE, np.uint8)
  mask[20:70, 30:120] = 1
  frames = rng.integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
  for options in ({'max_internal_size': 100}, {'image_pyramid': (0.75, 1.0)}, {'flip': True}):
    segmenter = VideoSegmenter(grid_graph, **options)
    segmenter.start(frames[0], mask)
    assert np.mean(segmenter.step(frames[1]).mask == mask) > 0.9, options


def test_a_still_video_keeps_its_mask_in_place(grid_graph, rng):
  """Shrunk and enlarged ten times, a mask must not creep."""
  frame = cv2.GaussianBlur(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), (5, 5), 0)
  mask = np.zeros(SIZE, np.uint8)
  mask[32:64, 48:112] = 1
  segmenter = VideoSegmenter(grid_graph)
  segmenter.start(frame, mask)
  masks = [segmenter.step(frame).mask for _ in range(10)]
  np.testing.assert_array_equal(masks[-1], masks[0])
  center = np.mean(np.argwhere(masks[-1]), axis=0)
  np.testing.assert_allclose(center, np.mean(np.argwhere(mask), axis=0), atol=1.0)

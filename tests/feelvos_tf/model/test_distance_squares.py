"""The option `global_distance_square`: averages, the head's inputs, training, files, conversion."""

import head_models
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.evaluation import baselines
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model.feelvos import Maps
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.tools import convert_checkpoint
from feelvos_tf.training import step


def make(global_distance_square=3, **options):
  return head_models.make_model(global_distance_square=global_distance_square, **options)


@pytest.fixture(scope='module')
def model():
  return make(other_object_distances=True)


def averaged(maps, side):
  """The definition, position by position, in numpy."""
  found, reach = np.zeros_like(maps), side // 2
  for y, x in np.ndindex(maps.shape[1:]):
    rows, columns = (slice(max(0, i - reach), i + reach + 1) for i in (y, x))
    found[:, y, x] = maps[:, rows, columns].mean(axis=(1, 2))
  return found


@pytest.mark.parametrize('side', [1, 3, 5])
def test_mean_of_squares(rng, side):
  maps = rng.random((2, 7, 9)).astype(np.float32)
  found = matching.mean_of_squares(tf.constant(maps), side)
  np.testing.assert_allclose(found, averaged(maps, side), rtol=1e-5)


def test_mean_of_squares_by_hand():
  maps = tf.constant([[[0.0, 0.0, 0.0], [0.0, 0.9, 0.0], [0.0, 0.0, 0.0]]])
  found = matching.mean_of_squares(maps, 3)
  # Of a corner four positions are inside, of an edge six.
  np.testing.assert_allclose(
    found[0], [[0.225, 0.15, 0.225], [0.15, 0.1, 0.15], [0.225, 0.15, 0.225]], rtol=1e-5
  )


@pytest.mark.parametrize('others', [False, True])
def test_they_are_the_heads_last_channels(rng, others):
  model = make(other_object_distances=others, local_window_radii=(1,))
  maps = rng.random((4, 3, 9, 13)).astype(np.float32)
  near, window = maps[2], maps[3]
  features = tf.constant(rng.random((9, 13, 256)), tf.float32)
  of_others = head_models.expected_others
  mean = averaged(maps[0], 3)
  inputs = [*maps[:3], *((of_others(maps[0]), of_others(near)) if others else ()), window]
  inputs += [mean, of_others(mean)] if others else [mean]
  assert len(inputs) == model.options.object_channels == model.head.object_channels
  names = 'global_distance_in_squares_of_3', 'other_global_distance_in_squares_of_3'
  assert model.options.added_inputs[-1 - others :] == names[: 1 + others]
  given = Maps(*map(tf.constant, maps[:3]), (tf.constant(window),))
  np.testing.assert_allclose(
    model.segment(features, given),
    model.head(features[tf.newaxis], tf.stack(inputs, axis=-1)),
    rtol=1e-4,
    atol=1e-4,
  )


def test_they_are_trained(model):
  kernel = np.asarray(head_models.gradients_of(model)[head_models.FIRST_LAYER])
  assert kernel.shape[2] == 256 + 7
  assert np.abs(kernel[:, :, 256:, 0]).max(axis=(0, 1)).min() > 0


@pytest.mark.parametrize('name', ['matching_loss_weight', 'matching_overlap_loss_weight'])
def test_the_losses_of_matching_take_single_distances(name):
  random = np.random.default_rng(5)
  batch = {
    'images': tf.constant(random.integers(0, 256, (1, 3, 33, 49, 3), dtype=np.uint8)),
    'labels': tf.constant(random.integers(0, 3, (1, 3, 33, 49)), tf.int32),
    'num_objects': tf.constant([3]),
  }

  def loss_of_matching(model):
    plain, with_it = (
      step.video_results(model, batch, 0, step.LossOptions(dropout=False, **weights))
      for weights in ({}, {name: 1.0})
    )
    return float(with_it[0].loss - plain[0].loss)

  assert loss_of_matching(make(3)) == pytest.approx(loss_of_matching(make(None)), abs=1e-5)


def test_all_ways_to_run_a_model_agree(model):
  head_models.check_all_ways_agree(model)


@pytest.mark.parametrize('before', [{}, {'other_object_distances': True}])
def test_initial_weights_without_them_give_the_same_logits(tmp_path, before):
  plain, model = make(None, **before), make(other_object_distances=True)
  head_models.check_initial_weights(plain, model, tmp_path / 'm.h5')


def test_files_keep_them(model, tmp_path):
  head_models.check_files(model, tmp_path)


def test_global_matching_alone_takes_the_averages(model):
  frames, mask = head_models.make_clip()
  found = []
  for used in (model, make(None, other_object_distances=True)):
    segmenter = VideoSegmenter(baselines.GlobalMatching(graph_lib.InferenceGraph(used)))
    segmenter.start(frames[0], mask)
    found.append(segmenter.step(frames[1]).global_distance)
  np.testing.assert_allclose(found[0], averaged(found[1], 3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  'side, options, message',
  [
    (1, {}, 'global_distance_square is 1; expected an odd number of positions of at least 3'),
    (4, {}, 'global_distance_square is 4; expected an odd number'),
    (2.5, {}, 'global_distance_square is 2.5; expected a whole number'),
    (5, {'use_first_frame_matching': False}, 'first-frame matching is off'),
  ],
)
def test_impossible_squares_are_refused(side, options, message):
  with pytest.raises(ValueError, match=message):
    FeelvosOptions(global_distance_square=side, **options)


@pytest.mark.parametrize('channels, others', [(263, True), (260, False)])
def test_converted_checkpoints_need_the_side(channels, others):
  shapes = {
    'decoder/decoder_conv1_pointwise/weights': [1, 1, 256, 256],
    'embedding_seg/split_separable_conv2d_0_pointwise/weights': [1, 1, channels, 256],
  }
  found = convert_checkpoint.guess_head_options(shapes, square=5)
  assert found['global_distance_square'] == 5 and found['other_object_distances'] is others

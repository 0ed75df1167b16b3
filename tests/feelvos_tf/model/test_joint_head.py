"""The option `joint_head`: its term, groups, initial weights; all options in one model."""

import head_models
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.model.head import SegmentationHead
from feelvos_tf.tools import convert_checkpoint


def joint_head(rng, num_layers=4, **options):
  head = SegmentationHead(
    feature_channels=6,
    object_channels=3,
    dimension=5,
    num_layers=num_layers,
    kernel_size=3,
    joint=True,
    **options,
  )
  for variable in head.weights:
    variable.assign(rng.normal(size=variable.shape) * 0.5)
  return head


def expected_logits(head, features, maps, before):
  """The definition: in front of layer `before`, 1x1 of the mean of the others is added."""
  nets = [tf.concat([features, own[tf.newaxis]], axis=-1) for own in maps]
  for index in range(head.num_layers + 1):
    if index == before:
      kernel, bias = head.joint.kernel.numpy()[0, 0], head.joint.bias.numpy()
      means = [
        np.mean([nets[j] for j in range(len(nets)) if j != i], axis=0) if len(nets) > 1 else 0 * net
        for i, net in enumerate(nets)
      ]
      nets = [net + (mean @ kernel + bias) for net, mean in zip(nets, means)]
    for i, net in enumerate(nets):
      is_last = index == head.num_layers
      nets[i] = head.logit(net) if is_last else head.pointwise[index](head.depthwise[index](net))
  return np.stack([net[0, ..., 0] for net in nets])


@pytest.mark.parametrize('objects', [1, 2, 5])
@pytest.mark.parametrize('layers, before', [(4, 2), (1, 1)])
def test_the_others_mean_is_added_half_way(rng, objects, layers, before):
  head = joint_head(rng, layers)
  features = rng.normal(size=(1, 6, 7, 6)).astype(np.float32)
  maps = rng.random((objects, 6, 7, 3)).astype(np.float32)
  expected = expected_logits(head, features, maps, before)
  np.testing.assert_allclose(head(features, maps, training=True), expected, atol=1e-4)
  # Groups of one, of two and of all objects.
  for head.group_bytes in (1, 2 * 4 * 6 * 7 * 5, 2**20):
    np.testing.assert_allclose(head(features, maps), expected, atol=1e-4)
  graph = tf.function(lambda *given: head(*given), autograph=False)
  head.group_bytes = 1
  np.testing.assert_allclose(graph(features, maps), expected, atol=1e-4)


def test_initial_weights_without_it_give_the_same_logits(tmp_path):
  plain = head_models.make_model()
  model = head_models.make_model(joint_head=True)
  before = head_models.eager_logits(model)
  assert np.abs(before - head_models.eager_logits(plain)).max() > 1e-3
  head_models.check_initial_weights(plain, model, tmp_path / 'm.h5')
  # Also from here it learns.
  assert np.abs(head_models.gradients_of(model)['embedding_seg/joint/weights']).max() > 0


def test_all_options_together_in_all_ways(tmp_path):
  model = head_models.make_model(
    object_gates=True, joint_head=True, local_window_radii=(1, 3), other_object_distances=True
  )
  model.head.group_bytes = 1
  head_models.check_all_ways_agree(model)
  head_models.check_files(model, tmp_path)
  shapes = tf.train.load_checkpoint(str(tmp_path / 'model.ckpt-1')).get_variable_to_shape_map()
  assert convert_checkpoint.guess_head_options(shapes)['joint_head']

"""Channels that died: what is counted, against layers that were made to die."""

import keras
import numpy as np
import pytest

from feelvos_tf.deeplab import DeepLabV3Plus
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.training.dead_channels import DeadChannels


@pytest.fixture
def network():
  keras.utils.set_random_seed(3)
  return DeepLabV3Plus(ModelOptions('mobilenet_v2', depth_multiplier=0.35))


def test_layer_that_was_made_to_die(network):
  images = np.random.default_rng(0).integers(0, 256, (2, 65, 65, 3), np.uint8)
  looked = DeadChannels(network, images)
  before = looked.shares()
  assert before['layer_5/expansion_output'] < 0.25
  assert not any(name.startswith(('aspp', 'decoder')) for name in before)
  assert looked.report() is None

  layer = network.get_layer('MobilenetV2.expanded_conv_3.expand')
  dead = np.arange(layer.beta.shape[0]) % 4 < 3  # Three of four channels.
  layer.beta.assign(np.where(dead, -1e3, layer.beta.numpy()))
  share = looked.shares()['layer_5/expansion_output']
  assert 0.75 <= share <= 0.75 + before['layer_5/expansion_output']
  assert f'layer_5/expansion_output {share:.0%}' in looked.report()
  # What was dead at the start is no news.
  again = DeadChannels(network, images)
  assert again.shares() == looked.shares() and again.report() is None

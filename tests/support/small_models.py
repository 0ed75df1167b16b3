"""Models that are built and traced in seconds."""

import contextlib
from unittest import mock

import keras

from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.model import feelvos
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions


def tiny_model(seed, **options):
  """A seeded Feelvos on a MobileNetV2 of a third of the width; `options` as of FeelvosOptions."""
  keras.utils.set_random_seed(seed)
  defaults = dict(embedding_dimension=8, head_dimension=8, head_layers=1, head_kernel_size=3)
  model = ModelOptions('mobilenet_v2', depth_multiplier=0.35)
  return Feelvos(FeelvosOptions(model, **{**defaults, 'window_radius': 3, **options}))


@contextlib.contextmanager
def backbone_of(deeplab):
  """Every Feelvos that is built inside has this DeepLab; to build one takes most of the time."""
  with mock.patch.object(feelvos, 'DeepLabV3Plus', lambda *args, **options: deeplab):
    yield


def with_options(model, **options):
  """The same weights with other options, none of the backbone."""
  with backbone_of(model.deeplab):
    other = Feelvos(FeelvosOptions.from_dict({**model.options.to_dict(), **options}))
  other.set_weights(model.get_weights())
  return other

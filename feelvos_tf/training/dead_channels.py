"""Channels of the backbone that die in training: the same value at every pixel of every image.

A ReLU that gives 0 everywhere has no gradient and does not come back. A network can lose most of
its layers like that while the loss goes on falling, because what is left learns to do without them.
Source: none in the original.
"""

import keras
import numpy as np
import tensorflow as tf

from feelvos_tf.deeplab import DeepLabV3Plus

# A channel is constant if its standard deviation is at most this part of that of its layer.
_CONSTANT = 0.01
# A layer is reported if at least this part of its channels is constant, and that many more are than
# at the start.
_REPORTED_SHARE = 0.5
_REPORTED_GROWTH = 0.25


class DeadChannels:
  """Compares the layers of a DeepLab network's backbone with what they were at the start.

  ASPP and decoder are left out: they start from scratch, and half of them may be mute then.

  >>> looked = DeadChannels(model.deeplab, images)
  >>> ...  # Training.
  >>> looked.report()  # None, or a line to print.
  """

  def __init__(self, deeplab: DeepLabV3Plus, images: np.ndarray | tf.Tensor) -> None:
    """Looks at the layers as they are now.

    Args:
      deeplab: `DeepLabV3Plus`.
      images: [batch, height, width, 3], RGB 0..255, any numeric dtype; a few, of different content.
    """
    self._images = tf.cast(images, tf.float32)
    self._tapped = keras.Model(deeplab.inputs, dict(deeplab.backbone_end_points))
    self._before = self.shares()

  def shares(self) -> dict[str, float]:
    """Part of each layer's channels that is constant: dict of end point to float in [0, 1]."""
    shares = {}
    for name, values in self._tapped(self._images).items():
      values = np.asarray(tf.cast(values, tf.float32))
      deviations = values.reshape(-1, values.shape[-1]).std(axis=0)
      typical = np.sqrt(np.mean(deviations**2))
      shares[name] = float(np.mean(deviations <= _CONSTANT * typical))
    return shares

  def report(self) -> str | None:
    """One line about the layers of which most channels died, or None if there is none."""
    died = {
      name: share
      for name, share in self.shares().items()
      if share >= max(_REPORTED_SHARE, self._before[name] + _REPORTED_GROWTH)
    }
    if not died:
      return None
    worst = sorted(died, key=lambda name: died[name], reverse=True)[:3]
    return (
      f'{len(died)} layers of the backbone have mostly channels that are the same at every '
      f'pixel: {", ".join(f"{name} {died[name]:.0%}" for name in worst)}. They do not come '
      'back by themselves. A lower --backbone_rate_multiplier keeps pretrained layers alive, '
      'see docs/training.md.'
    )

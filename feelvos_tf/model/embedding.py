"""The embedding layer: one depthwise separable 3x3 layer on DeepLab's stride-4 features.

Source: paper section 3.2; original `embedding_utils`,
`split_separable_conv2d_with_identity_initializer`.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from feelvos_tf.deeplab import layers

_NOISE = 0.03


@keras.saving.register_keras_serializable(package='feelvos_tf')
class IdentityWithNoise(keras.initializers.Initializer):
  """Identity from input to output channel at the kernel's centre, plus noise of 0.03.

  On a depthwise kernel [3, 3, channels, 1] the identity reaches channel 0 only: the published
  models started like that, so it is kept.

  Source: original `embedding_utils.conv2d_identity_initializer`.
  """

  def __init__(self, seed: int | None = None) -> None:
    self._seed = seed

  def __call__(self, shape: Sequence[int], dtype: str | None = None) -> tf.Tensor:
    noise = keras.random.truncated_normal(shape, stddev=_NOISE, dtype=dtype, seed=self._seed)
    identity = np.zeros(shape, np.float32)
    for channel in range(min(shape[2], shape[3])):
      identity[shape[0] // 2, shape[1] // 2, channel, channel] = 1.0
    return noise + identity

  def get_config(self) -> dict[str, Any]:
    return {'seed': self._seed}


@keras.saving.register_keras_serializable(package='feelvos_tf')
class EmbeddingLayer(keras.Model):
  """Maps stride-4 features to embeddings; no batch norm, ReLU last, so embeddings are >= 0.

  Call with float [batch, h4, w4, 256]; returns [batch, h4, w4, embedding_dimension] in the type
  that the model computes in.
  """

  def __init__(
    self, embedding_dimension: int = 100, name: str = 'embedding', **kwargs: Any
  ) -> None:
    # === Layers ===
    depthwise = layers.DepthwiseConv2D(
      3,
      use_batch_norm=False,
      activation='relu',
      kernel_initializer=IdentityWithNoise(),
      name='embedding.split_separable_conv2d_depthwise',
    )
    pointwise = layers.Conv2D(
      embedding_dimension,
      1,
      use_batch_norm=False,
      activation='relu',
      kernel_initializer=IdentityWithNoise(),
      name='embedding.split_separable_conv2d_pointwise',
    )

    # === Functional model ===
    features = keras.Input([None, None, 256], name='features')
    super().__init__(inputs=features, outputs=pointwise(depthwise(features)), name=name, **kwargs)

    # === Config ===
    self.embedding_dimension = embedding_dimension

  def get_config(self) -> dict[str, Any]:
    return {'embedding_dimension': self.embedding_dimension, 'name': self.name}

  @classmethod
  def from_config(
    cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
  ) -> 'EmbeddingLayer':
    del custom_objects  # Nothing custom inside.
    return cls(**config)

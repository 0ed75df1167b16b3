"""The dynamic segmentation head: one logit per object and pixel, weights shared by objects.

Source: paper section 3.5; original `embedding_utils.create_embedding_segmentation_features`
and `deeplab/model.py`, `get_branch_logits`.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from feelvos_tf.deeplab import layers
from feelvos_tf.deeplab.depthwise import depthwise_conv2d

# Bytes one tensor of the head may take; objects are worked off in groups that fit.
GROUP_BYTES = 64 * 2**20


@keras.saving.register_keras_serializable(package='feelvos_tf')
class SegmentationHead(keras.Model):
  """4 depthwise separable 7x7 layers of 256 channels, then 1x1 to one logit.

  The first layer's input is [features, maps of one object]. The features are the same for all
  objects, a depthwise convolution works channel by channel and a 1x1 convolution is a sum over
  channels: so the features' share of the first layer is computed once per frame. That is exact
  up to the order of float additions.

  Call with features float [1, h4, w4, feature_channels] and maps float [objects, h4, w4,
  object_channels] in [0, 1]; returns logits float32 [objects, h4, w4].
  """

  def __init__(
    self,
    feature_channels: int = 256,
    object_channels: int = 3,
    dimension: int = 256,
    num_layers: int = 4,
    kernel_size: int = 7,
    atrous_rates: Sequence[int] | None = None,
    group_bytes: int = GROUP_BYTES,
    name: str = 'embedding_seg',
    **kwargs: Any,
  ) -> None:
    """Creates the head with initial weights.

    Args:
      feature_channels: int, channels of the features.
      object_channels: int, channels of the maps of one object.
      dimension: int, channels of each layer.
      num_layers: int.
      kernel_size: int, side of the depthwise kernels in pixels of stride 4.
      atrous_rates: one int per layer, or None for 1.
      group_bytes: int, see GROUP_BYTES; 0 takes all objects at once.
      name: str.
      **kwargs: of keras.Model.
    """
    super().__init__(name=name, **kwargs)
    self.feature_channels = feature_channels
    self.object_channels = object_channels
    self.dimension = dimension
    self.num_layers = num_layers
    self.kernel_size = kernel_size
    self.atrous_rates = tuple(atrous_rates or (1,) * num_layers)
    self.group_bytes = group_bytes
    self.depthwise: list[layers.DepthwiseConv2D] = []
    self.pointwise: list[layers.Conv2D] = []
    channels = feature_channels + object_channels
    for index, rate in enumerate(self.atrous_rates):
      self._add_layer(index, rate, channels)
      channels = dimension
    self.logit = layers.Conv2D(
      1,
      1,
      use_batch_norm=False,
      dtype='float32',
      kernel_initializer=layers.truncated_normal(0.01),
      name='logits.semantic',
    )
    self.logit.build((None, None, None, channels))
    self.built = True

  def _add_layer(self, index: int, rate: int, channels: int) -> None:
    scope = f'embedding_seg.split_separable_conv2d_{index}'
    depthwise = layers.DepthwiseConv2D(
      self.kernel_size,
      rate=rate,
      use_batch_norm=False,
      activation='relu',
      kernel_initializer=layers.truncated_normal(0.33),
      name=f'{scope}_depthwise',
    )
    pointwise = layers.Conv2D(
      self.dimension,
      1,
      use_batch_norm=False,
      activation='relu',
      kernel_initializer=layers.truncated_normal(0.06),
      name=f'{scope}_pointwise',
    )
    for found, layer in ((self.depthwise, depthwise), (self.pointwise, pointwise)):
      found.append(layer)
      layer.build((None, None, None, channels))

  def call(self, features: tf.Tensor, maps: tf.Tensor, training: bool = False) -> tf.Tensor:
    dtype = self.compute_dtype
    shared = self._shared_part(tf.cast(features, dtype))
    maps = tf.cast(maps, dtype)
    if training or not self.group_bytes:
      return self._logits(shared, maps)
    return self._logits_in_groups(shared, maps)

  def _logits_in_groups(self, shared: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(maps)
    num_objects = shape[0]
    per_object = shape[1] * shape[2] * (self.dimension * shared.dtype.size)
    group = tf.clip_by_value(self.group_bytes // tf.maximum(per_object, 1), 1, 64)
    num_groups = -(-num_objects // group)
    logits = tf.TensorArray(
      tf.float32, num_groups, infer_shape=False, element_shape=[None, None, None]
    )

    def body(i: tf.Tensor, logits: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
      part = maps[i * group : tf.minimum((i + 1) * group, num_objects)]
      return i + 1, logits.write(i, self._logits(shared, part))

    # One group at a time, or the groups would not bound memory.
    _, logits = tf.while_loop(lambda i, _: i < num_groups, body, [0, logits], parallel_iterations=1)
    return tf.ensure_shape(logits.concat(), [None, None, None])

  def _shared_part(self, features: tf.Tensor) -> tf.Tensor:
    """The features' share of the first layer before its last ReLU, [1, h4, w4, dimension]."""
    depthwise, pointwise = self.depthwise[0], self.pointwise[0]
    part = slice(self.feature_channels)
    kernel, offset, mixing = self._first_layer(part, features.dtype)
    activate = lambda net: tf.nn.relu(tf.nn.bias_add(net, offset))
    net = depthwise_conv2d(features, kernel, rate=depthwise.rate, then=activate)
    net = tf.nn.conv2d(net, mixing, 1, 'SAME')
    return tf.nn.bias_add(net, layers.from_weights(lambda: tf.cast(pointwise.bias, features.dtype)))

  def _first_layer(self, part: slice, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The first layer's depthwise kernel and bias and 1x1 kernel of some input channels."""
    depthwise, pointwise = self.depthwise[0], self.pointwise[0]
    return layers.from_weights(
      lambda: (
        tf.cast(depthwise.kernel[:, :, part], dtype),
        tf.cast(depthwise.bias[part], dtype),
        tf.cast(pointwise.kernel[:, :, part], dtype),
      )
    )

  def _logits(self, shared: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """Logits [objects, h4, w4] of some objects from the shared part and their maps."""
    net = shared
    if self.object_channels:
      kernel, offset, mixing = self._first_layer(slice(self.feature_channels, None), maps.dtype)
      activate = lambda own: tf.nn.relu(tf.nn.bias_add(own, offset))
      own = depthwise_conv2d(maps, kernel, rate=self.depthwise[0].rate, then=activate)
      net = shared + tf.nn.conv2d(own, mixing, 1, 'SAME')
    net = tf.nn.relu(net)
    for depthwise, pointwise in zip(self.depthwise[1:], self.pointwise[1:]):
      net = pointwise(depthwise(net))
    return tf.cast(self.logit(net), tf.float32)[..., 0]

  def get_config(self) -> dict[str, Any]:
    names = (
      'feature_channels',
      'object_channels',
      'dimension',
      'num_layers',
      'kernel_size',
      'atrous_rates',
      'group_bytes',
      'name',
    )
    return {name: getattr(self, name) for name in names}

  @classmethod
  def from_config(
    cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
  ) -> 'SegmentationHead':
    del custom_objects  # Nothing custom inside.
    return cls(**config)

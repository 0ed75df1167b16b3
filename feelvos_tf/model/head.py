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
# Variables of these scopes start at 0 and then change nothing.
GATE_SCOPE, JOINT_SCOPE = 'embedding_seg/gate_', 'embedding_seg/joint'


@keras.saving.register_keras_serializable(package='feelvos_tf')
class SegmentationHead(keras.Model):
  """4 depthwise separable 7x7 layers of 256 channels, then 1x1 to one logit.

  The first layer's input is [features, maps of one object]. The features are the same for all
  objects, a depthwise convolution works channel by channel and a 1x1 convolution is a sum over
  channels: so the features' share of the first layer is computed once per frame. That is exact
  up to the order of float additions.

  Two additions, each the identity with its initial weights:
  - Gates (CFBI, Yang et al., ECCV 2020, section 3.3): the inputs of all layers but the first are
    multiplied by 2 * sigmoid(dense layer of the object's guidance), channel by channel.
  - A joint layer half way: every object's channels get a 1x1 convolution of the mean of the other
    objects' added. The mean needs all objects: in groups, the layers before are computed twice.

  Call with features float [1, h4, w4, feature_channels], maps float [objects, h4, w4,
  object_channels] in [0, 1], and, with gates, guidance float [objects, guidance_channels]; returns
  logits float32 [objects, h4, w4].
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
    guidance_channels: int = 0,
    joint: bool = False,
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
      guidance_channels: int, of what sets the gates; 0 for no gates.
      joint: bool, with the joint layer.
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
    self.guidance_channels = guidance_channels
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
    self.gates = (
      [self._gate(index) for index in range(1, num_layers + 1)] if guidance_channels else []
    )
    self.joint = self._joint_layer() if joint else None
    # The layer whose input it changes; the last one is the logit's.
    self._joint_before = max(1, num_layers // 2)
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

  def _gate(self, index: int) -> layers.Conv2D:
    """Dense layer of the guidance for the input of a layer; the last index is the logit's."""
    gate = layers.Conv2D(
      self.dimension,
      1,
      use_batch_norm=False,
      dtype='float32',
      kernel_initializer='zeros',
      name=f'{GATE_SCOPE}{index}'.replace('/', '.'),
    )
    gate.build((None, None, None, self.guidance_channels))
    return gate

  def _joint_layer(self) -> layers.Conv2D:
    joint = layers.Conv2D(
      self.dimension,
      1,
      use_batch_norm=False,
      kernel_initializer='zeros',
      name=JOINT_SCOPE.replace('/', '.'),
    )
    joint.build((None, None, None, self.dimension))
    return joint

  def call(
    self,
    features: tf.Tensor,
    maps: tf.Tensor,
    training: bool = False,
    guidance: tf.Tensor | None = None,
  ) -> tf.Tensor:
    if self.gates and guidance is None:
      raise ValueError('a head with gates needs guidance; give what `Feelvos.guidance` returns.')
    dtype = self.compute_dtype
    shared = self._shared_part(tf.cast(features, dtype))
    maps = tf.cast(maps, dtype)
    if guidance is None:
      guidance = tf.zeros([tf.shape(maps)[0], 0])
    if training or not self.group_bytes:
      return self._logits(shared, maps, guidance, tf.shape(maps)[0], 0.0)
    return self._logits_in_groups(shared, maps, guidance)

  def _logits_in_groups(self, shared: tf.Tensor, maps: tf.Tensor, guidance: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(maps)
    num_objects = shape[0]
    per_object = shape[1] * shape[2] * (self.dimension * shared.dtype.size)
    group = tf.clip_by_value(self.group_bytes // tf.maximum(per_object, 1), 1, 64)
    num_groups = -(-num_objects // group)
    total = self._total_in_groups(shared, maps, guidance, group) if self.joint else 0.0
    logits = tf.TensorArray(
      tf.float32, num_groups, infer_shape=False, element_shape=[None, None, None]
    )

    def body(i: tf.Tensor, logits: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
      part = slice(i * group, tf.minimum((i + 1) * group, num_objects))
      values = self._logits(shared, maps[part], guidance[part], num_objects, total)
      return i + 1, logits.write(i, values)

    # One group at a time, or the groups would not bound memory.
    _, logits = tf.while_loop(lambda i, _: i < num_groups, body, [0, logits], parallel_iterations=1)
    return tf.ensure_shape(logits.concat(), [None, None, None])

  def _total_in_groups(
    self, shared: tf.Tensor, maps: tf.Tensor, guidance: tf.Tensor, group: tf.Tensor
  ) -> tf.Tensor:
    """Sum over objects [1, h4, w4, dimension] of the joint layer's input.

    Of one group it is not needed, see `_mean_of_others`.
    """
    num_objects = tf.shape(maps)[0]
    end = tf.where(group >= num_objects, 0, num_objects)

    def body(start: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      part = slice(start, tf.minimum(start + group, num_objects))
      net = self._until_joint(shared, maps[part], guidance[part])
      return start + group, total + _sum_of_objects(net)

    start = tf.zeros(tf.shape(shared), tf.float32)
    return tf.while_loop(lambda i, _: i < end, body, [0, start], parallel_iterations=1)[1]

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

  def _logits(
    self,
    shared: tf.Tensor,
    maps: tf.Tensor,
    guidance: tf.Tensor,
    num_objects: tf.Tensor,
    total: tf.Tensor | float,
  ) -> tf.Tensor:
    """Logits [objects, h4, w4] of some objects from the shared part, their maps and guidance.

    For the joint layer there are num_objects, all objects, and total, of `_total_in_groups`.
    """
    net = self._until_joint(shared, maps, guidance)
    if self.joint is not None:
      mean = _mean_of_others(net, num_objects, total)
      net += self.joint(tf.cast(mean, net.dtype))
    net = self._run_layers(net, guidance, self._joint_before, self.num_layers)
    return tf.cast(self.logit(self._gated(net, guidance, self.num_layers)), tf.float32)[..., 0]

  def _run_layers(self, net: tf.Tensor, guidance: tf.Tensor, start: int, end: int) -> tf.Tensor:
    for index in range(start, end):
      net = self.pointwise[index](self.depthwise[index](self._gated(net, guidance, index)))
    return net

  def _gated(self, net: tf.Tensor, guidance: tf.Tensor, index: int) -> tf.Tensor:
    if not self.gates:
      return net
    gate = 2.0 * tf.sigmoid(self.gates[index - 1](guidance[:, tf.newaxis, tf.newaxis]))
    return net * tf.cast(gate, net.dtype)

  def _until_joint(self, shared: tf.Tensor, maps: tf.Tensor, guidance: tf.Tensor) -> tf.Tensor:
    net = self._first(shared, maps)
    return self._run_layers(net, guidance, 1, self._joint_before)

  def _first(self, shared: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """The first layer [objects, h4, w4, dimension] of some objects."""
    net = shared
    if self.object_channels:
      kernel, offset, mixing = self._first_layer(slice(self.feature_channels, None), maps.dtype)
      activate = lambda own: tf.nn.relu(tf.nn.bias_add(own, offset))
      own = depthwise_conv2d(maps, kernel, rate=self.depthwise[0].rate, then=activate)
      net = shared + tf.nn.conv2d(own, mixing, 1, 'SAME')
    return tf.nn.relu(net)

  def get_config(self) -> dict[str, Any]:
    names = (
      'feature_channels',
      'object_channels',
      'dimension',
      'num_layers',
      'kernel_size',
      'atrous_rates',
      'group_bytes',
      'guidance_channels',
      'name',
    )
    return {**{name: getattr(self, name) for name in names}, 'joint': self.joint is not None}

  @classmethod
  def from_config(
    cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
  ) -> 'SegmentationHead':
    del custom_objects  # Nothing custom inside.
    return cls(**config)


def _mean_of_others(net: tf.Tensor, num_objects: tf.Tensor, total: tf.Tensor | float) -> tf.Tensor:
  """Mean float32 over all objects but one of [objects, ...], for some of them or all.

  `total` is the sum over all; it is not looked at if `net` has all. 0 if there are no others.
  """
  total = tf.where(tf.shape(net)[0] == num_objects, _sum_of_objects(net), total)
  others = tf.cast(tf.maximum(num_objects - 1, 1), tf.float32)
  return (total - tf.cast(net, tf.float32)) / others


def _sum_of_objects(net: tf.Tensor) -> tf.Tensor:
  return tf.reduce_sum(tf.cast(net, tf.float32), axis=0, keepdims=True)

"""Building blocks: convolutions with batch norm or bias, and what is added to them.

A layer's name is the scope of the original slim variables with '.' for '/', so a variable's
original name follows from the layer that owns it (see tf1_checkpoint.py).
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import contextvars
import functools
from typing import Any, TypeVar

import keras
import tensorflow as tf

from feelvos_tf.deeplab.depthwise import depthwise_conv2d
from feelvos_tf.deeplab.resizing import pad_for_kernel
from feelvos_tf.deeplab.resizing import resize_bilinear  # noqa: F401 (here in version 0.1)
from feelvos_tf.deeplab.resizing import resize_nearest  # noqa: F401
from feelvos_tf.deeplab.resizing import ResizeLike  # noqa: F401
from feelvos_tf.deeplab.resizing import scale_dimension  # noqa: F401

# Batch norm's epsilon: 1e-3 in Xception and MobileNet. Elsewhere the original asks for 1e-5,
# which TF1's fused kernel raises to 1.001e-5.
EPSILON_BACKBONE = 1e-3
EPSILON = 1.001e-5

Tensors = TypeVar('Tensors')  # A tensor or a nest of tensors.

_FOLDING = contextvars.ContextVar('folding', default=False)


@contextlib.contextmanager
def folded_weights() -> Iterator[None]:
  """Functions that are traced inside take the layers' weights as they are now.

  What is computed of weights alone (batch norm folded into kernels, casts) is computed once,
  outside of the graph, which captures the results. So the graph is small and traced fast, the
  folded weights exist once in memory, and later changes of the variables are not seen. For
  inference: the results have no gradients.
  """
  token = _FOLDING.set(True)
  try:
    yield
  finally:
    _FOLDING.reset(token)


def from_weights(compute: Callable[[], Tensors]) -> Tensors:
  """Calls a function of a layer's weights; layers get what they compute of weights through this.

  Args:
    compute: function without arguments, returns a tensor or a nest of tensors.

  Returns:
    What `compute` returns, as constants inside `folded_weights`.
  """
  if not _FOLDING.get():
    return compute()
  with tf.init_scope():
    return tf.nest.map_structure(tf.convert_to_tensor, compute())


class _Convolution(keras.layers.Layer):
  """What the two convolution layers share: batch norm or bias, padding, activation."""

  def __init__(
    self,
    kernel_size: int,
    strides: int = 1,
    rate: int = 1,
    padding: str = 'same',
    epsilon: float = EPSILON,
    decay: float = 0.9997,
    use_batch_norm: bool = True,
    fine_tune_batch_norm: bool = False,
    activation: str | None = None,
    kernel_initializer: str | keras.initializers.Initializer = 'he_normal',
    **kwargs: Any,
  ) -> None:
    """Creates the layer.

    Args:
      kernel_size: int.
      strides: int.
      rate: int, atrous rate; 1 if `strides` is not.
      padding: 'same', or 'fixed': symmetric zero padding before a VALID convolution when
        strided, which differs from 'same' on even sizes.
      epsilon: float, batch norm's epsilon.
      decay: float, decay of the moving statistics.
      use_batch_norm: batch norm with scale and offset; False has a bias instead.
      fine_tune_batch_norm: use and update batch statistics when called with training=True.
      activation: None, 'relu' or 'relu6'.
      kernel_initializer: a Keras initializer.
      **kwargs: of keras.layers.Layer.
    """
    super().__init__(**kwargs)
    if padding not in ('same', 'fixed'):
      raise ValueError(f"padding is {padding!r}; expected 'same' or 'fixed'.")
    self.kernel_size = kernel_size
    self.strides = strides
    self.rate = rate
    self.padding = padding
    self.epsilon = epsilon
    self.decay = decay
    self.use_batch_norm = use_batch_norm
    self.fine_tune_batch_norm = fine_tune_batch_norm
    self.activation = keras.activations.get(activation)
    self.kernel_initializer = keras.initializers.get(kernel_initializer)

  def _add_weights(
    self, kernel_name: str, kernel_shape: tuple[int | None, ...], channels: int | None
  ) -> None:
    # Weights stay float32 under a mixed policy: batch norm is folded in float32, then cast.
    add = functools.partial(self.add_weight, autocast=False)
    self.kernel = add(name=kernel_name, shape=kernel_shape, initializer=self.kernel_initializer)
    if not self.use_batch_norm:
      self.bias = add(name='bias', shape=(channels,), initializer='zeros')
      return
    self.gamma = add(name='gamma', shape=(channels,), initializer='ones')
    self.beta = add(name='beta', shape=(channels,), initializer='zeros')
    self.moving_mean = add(
      name='moving_mean',
      shape=(channels,),
      initializer='zeros',
      trainable=False,
      aggregation='mean',
    )
    self.moving_variance = add(
      name='moving_variance',
      shape=(channels,),
      initializer='ones',
      trainable=False,
      aggregation='mean',
    )

  def _convolve(
    self,
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    padding: str,
    then: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
  ) -> tf.Tensor:
    raise NotImplementedError  # The two subclasses below.

  def _scaled_kernel(self, scale: tf.Tensor) -> tf.Tensor:
    raise NotImplementedError  # The two subclasses below.

  def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
    padding = 'SAME'
    if self.padding == 'fixed' and self.strides > 1:
      inputs = pad_for_kernel(inputs, self.kernel_size, self.rate)
      padding = 'VALID'
    if self.use_batch_norm and training and self.fine_tune_batch_norm:
      outputs = self._convolve(inputs, tf.cast(self.kernel, inputs.dtype), padding)
      return self._activate(self._normalize_batch(outputs))
    kernel, offset = from_weights(lambda: self._kernel_and_offset(inputs.dtype))
    then = lambda outputs: self._activate(tf.nn.bias_add(outputs, offset))
    return self._convolve(inputs, kernel, padding, then)

  def _activate(self, outputs: tf.Tensor) -> tf.Tensor:
    return outputs if self.activation is None else self.activation(outputs)

  def _kernel_and_offset(self, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    kernel, offset = self.kernel, None if self.use_batch_norm else self.bias
    if self.use_batch_norm:
      # With frozen statistics batch norm is linear: folded into the kernel it costs nothing
      # per pixel, and gamma and beta still get their gradients.
      scale = self.gamma * tf.math.rsqrt(self.moving_variance + self.epsilon)
      kernel, offset = self._scaled_kernel(scale), self.beta - self.moving_mean * scale
    return tf.cast(kernel, dtype), tf.cast(offset, dtype)

  def _normalize_batch(self, outputs: tf.Tensor) -> tf.Tensor:
    outputs = tf.cast(outputs, tf.float32)
    mean, variance = tf.nn.moments(outputs, [0, 1, 2])
    self.moving_mean.assign(self.decay * self.moving_mean + (1.0 - self.decay) * mean)
    self.moving_variance.assign(self.decay * self.moving_variance + (1.0 - self.decay) * variance)
    normalized = tf.nn.batch_normalization(
      outputs,
      mean,
      variance,
      tf.convert_to_tensor(self.beta),
      tf.convert_to_tensor(self.gamma),
      self.epsilon,
    )
    return tf.cast(normalized, self.compute_dtype)

  def get_config(self) -> dict[str, Any]:
    config = super().get_config()
    for name in (
      'kernel_size',
      'strides',
      'rate',
      'padding',
      'epsilon',
      'decay',
      'use_batch_norm',
      'fine_tune_batch_norm',
    ):
      config[name] = getattr(self, name)
    config['activation'] = keras.activations.serialize(self.activation)
    config['kernel_initializer'] = keras.initializers.serialize(self.kernel_initializer)
    return config


@keras.saving.register_keras_serializable(package='deeplab')
class Conv2D(_Convolution):
  """Convolution, then batch norm or bias, then activation.

  Call with float [batch, height, width, channels]; returns [batch, new height, new width, filters]
  in the type that the model computes in.

  >>> Conv2D(48, 1, activation='relu')(tf.zeros([1, 5, 7, 256])).shape
  TensorShape([1, 5, 7, 48])

  Source: `slim.conv2d` with the original's argument scopes.
  """

  def __init__(self, filters: int, kernel_size: int, **kwargs: Any) -> None:
    super().__init__(kernel_size, **kwargs)
    self.filters = filters

  def build(self, input_shape: Sequence[int | None]) -> None:
    shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
    self._add_weights('kernel', shape, self.filters)

  def _convolve(
    self,
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    padding: str,
    then: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
  ) -> tf.Tensor:
    return then(tf.nn.conv2d(inputs, kernel, self.strides, padding, dilations=self.rate))

  def _scaled_kernel(self, scale: tf.Tensor) -> tf.Tensor:
    return self.kernel * scale

  def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
    height, width = (_output_side(side, self.strides) for side in input_shape[1:3])
    return (input_shape[0], height, width, self.filters)

  def get_config(self) -> dict[str, Any]:
    return {**super().get_config(), 'filters': self.filters}


@keras.saving.register_keras_serializable(package='deeplab')
class DepthwiseConv2D(_Convolution):
  """Depthwise convolution, then batch norm or bias, then activation.

  Call with float [batch, height, width, channels]; returns [batch, new height, new width, channels]
  in the type that the model computes in.

  Source: `slim.separable_conv2d(inputs, None, ...)` with the original's argument scopes.
  """

  def build(self, input_shape: Sequence[int | None]) -> None:
    channels = input_shape[-1]
    shape = (self.kernel_size, self.kernel_size, channels, 1)
    self._add_weights('depthwise_kernel', shape, channels)

  def _convolve(
    self,
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    padding: str,
    then: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
  ) -> tf.Tensor:
    return depthwise_conv2d(inputs, kernel, self.strides, self.rate, padding, then)

  def _scaled_kernel(self, scale: tf.Tensor) -> tf.Tensor:
    return self.kernel * scale[:, tf.newaxis]

  def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
    height, width = (_output_side(side, self.strides) for side in input_shape[1:3])
    return (input_shape[0], height, width, input_shape[3])


def _output_side(side: int | None, strides: int) -> int | None:
  # 'same' and 'fixed' with an odd kernel agree: ceil(side / strides).
  return None if side is None else -(-side // strides)


def separable_conv2d(
  inputs: keras.KerasTensor,
  filters: int,
  kernel_size: int,
  name: str,
  rate: int = 1,
  strides: int = 1,
  padding: str = 'same',
  depthwise_activation: str | None = 'relu',
  activation: str | None = 'relu',
  depthwise_initializer: keras.initializers.Initializer | None = None,
  pointwise_initializer: keras.initializers.Initializer | None = None,
  **kwargs: Any,
) -> keras.KerasTensor:
  """Depthwise convolution `<name>_depthwise`, then 1x1 convolution `<name>_pointwise`.

  Unlike Keras's SeparableConv2D there is batch norm (or bias) and activation in between.

  Args:
    inputs: [batch, height, width, channels] Keras tensor.
    filters: int, channels of the result.
    kernel_size: int.
    name: str, scope of the pair.
    rate: int, atrous rate of the depthwise convolution.
    strides: int, of the depthwise convolution.
    padding: 'same' or 'fixed'.
    depthwise_activation: None, 'relu' or 'relu6', after the depthwise convolution.
    activation: the same after the pointwise convolution.
    depthwise_initializer: Keras initializer; None takes the original's.
    pointwise_initializer: Keras initializer; None takes the original's.
    **kwargs: of both layers.

  Returns:
    [batch, new height, new width, filters].

  Source: original `deeplab/core/utils.py`, `split_separable_conv2d`.
  """
  depthwise = DepthwiseConv2D(
    kernel_size,
    strides=strides,
    rate=rate,
    padding=padding,
    activation=depthwise_activation,
    kernel_initializer=depthwise_initializer or truncated_normal(0.33),
    name=f'{name}_depthwise',
    **kwargs,
  )
  pointwise = Conv2D(
    filters,
    1,
    activation=activation,
    kernel_initializer=pointwise_initializer or truncated_normal(0.06),
    name=f'{name}_pointwise',
    **kwargs,
  )
  return pointwise(depthwise(inputs))


def truncated_normal(stddev: float) -> keras.initializers.Initializer:
  """Keras initializer: normal of mean 0 cut at two standard deviations, as slim's."""
  return keras.initializers.TruncatedNormal(mean=0.0, stddev=stddev)


@keras.saving.register_keras_serializable(package='deeplab')
class Preprocess(keras.layers.Layer):
  """RGB 0..255 [batch, height, width, 3], any dtype, to -1..1: x * 2 / 255 - 1.

  The result has the type that the model computes in.

  Source: original `feature_extractor._preprocess_zero_mean_unit_range`.
  """

  def __init__(self, **kwargs: Any) -> None:
    super().__init__(autocast=False, **kwargs)

  def call(self, images: tf.Tensor) -> tf.Tensor:
    return tf.cast((2.0 / 255.0) * tf.cast(images, tf.float32) - 1.0, self.compute_dtype)

  def compute_output_spec(self, images: keras.KerasTensor) -> keras.KerasTensor:
    return keras.KerasTensor(images.shape, self.compute_dtype)


@keras.saving.register_keras_serializable(package='deeplab')
class Residual(keras.layers.Layer):
  """Sum of two tensors of one shape [batch, height, width, channels].

  It is taken of [pixels, channels]: TensorFlow's optimizer wants to merge the sum itself into the
  convolution before it and fails where the sum is needed twice (Xception: "Mutation::Apply error:
  fanout exist for missing node", TensorFlow 2.21). Then it merges nothing at all in the graph, no
  bias and no ReLU; Xception-65 takes 1.1 times as long in float32 and 1.5 times in bfloat16.
  """

  def call(self, inputs: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    channels = inputs.shape[-1]
    flat = tf.reshape(inputs, [-1, channels]) + tf.reshape(other, [-1, channels])
    return tf.reshape(flat, tf.shape(inputs))

  def compute_output_spec(
    self, inputs: keras.KerasTensor, other: keras.KerasTensor
  ) -> keras.KerasTensor:
    del other
    return keras.KerasTensor(inputs.shape, self.compute_dtype)

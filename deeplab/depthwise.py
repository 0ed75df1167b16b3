"""Depthwise convolution: TensorFlow's, with the fast way chosen where there are several.

TensorFlow's CPU kernels differ by an order of magnitude: atrous convolution goes through
space-to-batch, and oneDNN's gradient by a large kernel takes longer than the rest of a layer.

Dilations are given to oneDNN's kernel where it is there to honour them. Graphs for other machines
are traced inside `portable_dilations`.
"""

from collections.abc import Callable, Iterator
import contextlib
import contextvars
import functools

import tensorflow as tf

# Up to this rate oneDNN's atrous kernel beats space-to-batch (measured at 30x54: 1.8 ms against
# 5 ms at rate 2 to 6 with 2,048 channels); at rate 12 it loses by 4 to 1.
_MAX_NATIVE_RATE = 6
# From this kernel size on the gradient by the kernel is computed as a convolution (measured at
# 3x65x65x256: 13 ms against 55 ms with 7x7; with 3x3 it is slower, 44 ms against 11 ms).
_MIN_LARGE_KERNEL = 7


_PORTABLE: contextvars.ContextVar[tuple[tf.DType, ...]] = contextvars.ContextVar(
  'portable', default=()
)


@contextlib.contextmanager
def portable_dilations(*dtypes: tf.DType) -> Iterator[None]:
  """Functions that are traced inside have no dilated kernels in these types, see `in_phases`."""
  token = _PORTABLE.set(dtypes)
  try:
    yield
  finally:
    _PORTABLE.reset(token)


def depthwise_conv2d(
  inputs: tf.Tensor,
  kernel: tf.Tensor,
  strides: int = 1,
  rate: int = 1,
  padding: str = 'SAME',
  then: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> tf.Tensor:
  """Depthwise convolution, fast on CPUs and right everywhere.

  Args:
    inputs: float32, bfloat16 or float16 [batch, height, width, channels].
    kernel: [kernel height, kernel width, channels, 1], dtype of `inputs`.
    strides: int; has to be 1 if `rate` is not.
    rate: int, atrous rate.
    padding: 'SAME' or 'VALID'.
    then: function of every value alone, as bias and activation, that is applied to the result; it
      takes and returns a tensor [batch, any height, any width, channels].

  Returns:
    [batch, new height, new width, channels], dtype of `inputs`.
  """
  # The CPU kernels for float16 know neither dilations nor large kernels.
  if inputs.dtype == tf.float16 or tf.config.list_physical_devices('GPU'):
    return then(_portable(inputs, kernel, strides, rate, padding))
  if 1 < rate <= _MAX_NATIVE_RATE and _native_dilation_is_right(inputs.dtype):
    if inputs.dtype not in _PORTABLE.get():
      return then(_native_dilation(inputs, kernel, rate, padding))
    if padding == 'SAME':
      return in_phases(inputs, kernel, rate, then)
  if rate == strides == 1 and padding == 'SAME' and min(kernel.shape[:2]) >= _MIN_LARGE_KERNEL:
    return then(_large_kernel(inputs, kernel))
  return then(_portable(inputs, kernel, strides, rate, padding))


def in_phases(
  inputs: tf.Tensor,
  kernel: tf.Tensor,
  rate: int,
  then: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> tf.Tensor:
  """Atrous depthwise convolution, stride 1 and SAME, for kernels without dilations.

  TensorFlow joins a convolution with the bias and the activation behind it, and with the sum of a
  residual unit, and rounds once where separate operations round each time. So what follows is
  applied inside, next to the convolution, and the result keeps the shape of the input for the
  optimiser to see. `tf.nn.depthwise_conv2d` does neither.

  Args:
    inputs: float32 or bfloat16 [batch, height, width, channels]; no size but that of the channels
      has to be known.
    kernel: [kernel height, kernel width, channels, 1], dtype of `inputs`.
    rate: int, atrous rate.
    then: see `depthwise_conv2d`.

  Returns:
    [batch, height, width, channels], dtype of `inputs`.
  """
  size = tf.shape(inputs)
  margins = tf.stack([tf.zeros([2], tf.int32), -size[1:3] % rate], axis=1)
  phases = tf.space_to_batch(inputs, [rate, rate], margins)
  phases = then(
    tf.raw_ops.DepthwiseConv2dNative(input=phases, filter=kernel, strides=[1] * 4, padding='SAME')
  )
  return tf.reshape(tf.batch_to_space(phases, [rate, rate], margins), size)


def _portable(
  inputs: tf.Tensor, kernel: tf.Tensor, strides: int, rate: int, padding: str
) -> tf.Tensor:
  return tf.nn.depthwise_conv2d(
    inputs, kernel, [1, strides, strides, 1], padding, dilations=[rate, rate]
  )


def _native_dilation(inputs: tf.Tensor, kernel: tf.Tensor, rate: int, padding: str) -> tf.Tensor:

  @tf.custom_gradient
  def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    outputs = tf.raw_ops.DepthwiseConv2dNative(
      input=inputs, filter=kernel, strides=[1] * 4, padding=padding, dilations=[1, rate, rate, 1]
    )

    def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
      # The native gradient kernels ignore dilations; those of the portable form do not.
      with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        value = _portable(inputs, kernel, 1, rate, padding)
      return tape.gradient(value, [inputs, kernel], output_gradients=upstream)

    return outputs, gradient

  return convolve(inputs, kernel)


@functools.cache
def _native_dilation_is_right(dtype: tf.DType) -> bool:
  """Whether DepthwiseConv2dNative honours dilations here, for a tf.DType.

  oneDNN's CPU kernel does, eleven times faster than the space-to-batch route of
  `tf.nn.depthwise_conv2d`; other kernels refuse the attribute or ignore it without a word, and
  oneDNN has bfloat16 on some CPUs only. So it is tried.
  """
  with tf.init_scope(), tf.device('CPU:0'):
    image = tf.cast(tf.reshape(tf.range(2.0 * 9 * 11), [1, 9, 11, 2]), dtype)
    kernel = tf.cast(tf.reshape(tf.range(18.0), [3, 3, 2, 1]), dtype)
    expected = tf.nn.depthwise_conv2d(image, kernel, [1, 1, 1, 1], 'SAME', dilations=[2, 2])
    try:
      got = tf.raw_ops.DepthwiseConv2dNative(
        input=image, filter=kernel, strides=[1] * 4, padding='SAME', dilations=[1, 2, 2, 1]
      )
    except tf.errors.OpError:
      return False
    got, expected = tf.cast(got, tf.float32), tf.cast(expected, tf.float32)
    tolerance = 1e-4 if dtype == tf.float32 else 2e-2
    return bool(tf.reduce_all(tf.abs(got - expected) <= tolerance * tf.abs(expected)))


def _large_kernel(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  size = kernel.shape[:2]

  @tf.custom_gradient
  def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    outputs = tf.nn.depthwise_conv2d(inputs, kernel, [1] * 4, 'SAME')

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      by_inputs = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=tf.shape(inputs),
        filter=kernel,
        out_backprop=upstream,
        strides=[1] * 4,
        padding='SAME',
      )
      return by_inputs, _kernel_gradient(inputs, upstream, size)

    return outputs, gradient

  return convolve(inputs, kernel)


def _kernel_gradient(inputs: tf.Tensor, upstream: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
  """Gradient of a depthwise convolution (stride 1, SAME) by its kernel, [*size, channels, 1].

  It is the correlation of every channel of the input with the same channel of the upstream
  gradient, that is, a depthwise convolution with the upstream gradient as kernel. The images of
  the batch become channels of one image, and what they gave is added up.

  Args:
    inputs: [batch, height, width, channels].
    upstream: the same shape, gradient by the convolution's result.
    size: (kernel height, kernel width), ints.
  """
  dtype = inputs.dtype
  if not _adds_up_exactly(dtype):
    inputs, upstream = tf.cast(inputs, tf.float32), tf.cast(upstream, tf.float32)
  before = [(side - 1) // 2 for side in size]
  margins = [[first, side - 1 - first] for first, side in zip(before, size)]
  batch, height, width, channels = tf.unstack(tf.shape(inputs))
  image = tf.transpose(tf.pad(inputs, [[0, 0], *margins, [0, 0]]), [1, 2, 0, 3])
  image = tf.reshape(
    image, tf.stack([1, height + size[0] - 1, width + size[1] - 1, batch * channels])
  )
  kernel = tf.reshape(
    tf.transpose(upstream, [1, 2, 0, 3]), tf.stack([height, width, batch * channels, 1])
  )
  products = tf.raw_ops.DepthwiseConv2dNative(
    input=image, filter=kernel, strides=[1] * 4, padding='VALID'
  )
  products = tf.reshape(products, tf.stack([*size, batch, channels]))
  total = tf.reduce_sum(tf.cast(products, tf.float32), axis=2)
  return tf.cast(total, dtype)[..., tf.newaxis]


@functools.cache
def _adds_up_exactly(dtype: tf.DType) -> bool:
  """Whether a depthwise convolution adds its products in float32 here, for a tf.DType.

  oneDNN does. On CPUs without bfloat16 TensorFlow's own kernel adds up in bfloat16, in which
  256 + 1 is 256: no sum over an image comes out.
  """
  if dtype == tf.float32:
    return True
  with tf.init_scope(), tf.device('CPU:0'):
    ones = tf.ones([1, 24, 24, 4], dtype)
    total = tf.raw_ops.DepthwiseConv2dNative(
      input=ones, filter=tf.ones([24, 24, 4, 1], dtype), strides=[1] * 4, padding='VALID'
    )
    return bool(tf.reduce_all(tf.cast(total, tf.float32) == 24.0 * 24.0))

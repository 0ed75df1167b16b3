"""MobileNetV2 with atrous convolution.

Source: MobileNetV2 (arXiv 1801.04381), section 6.3, and slim's `nets/mobilenet` as the
original calls it (SAME padding, no explicit padding).
"""

from typing import Any

import keras

from feelvos_tf.deeplab import layers
from feelvos_tf.deeplab.options import ModelOptions

# End point that the decoder takes as its low-level feature.
DECODER_END_POINT = {'mobilenet_v2': 'layer_4/depthwise_output'}

# (expansion, output channels, units, stride of the first unit), table 2 of the paper.
_BOTTLENECKS = (
  (1, 16, 1, 1),
  (6, 24, 2, 2),
  (6, 32, 3, 2),
  (6, 64, 4, 2),
  (6, 96, 3, 1),
  (6, 160, 3, 2),
  (6, 320, 1, 1),
)
_DIVISOR = 8
_DECAY = 0.997


def _make_divisible(channels: float) -> int:
  """Nearest multiple of 8, never more than 10 % below; slim's `make_divisible`."""
  result = max(_DIVISOR, int(channels + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
  return result + _DIVISOR if result < 0.9 * channels else result


def _expanded_conv(
  inputs: keras.KerasTensor,
  filters: int,
  expansion: int,
  strides: int,
  rate: int,
  scope: str,
  layer: str,
  end_points: dict[str, keras.KerasTensor],
  **kwargs: Any,
) -> keras.KerasTensor:
  """Inverted residual: expand 1x1, depthwise 3x3, project 1x1, sum if shapes allow."""
  scope = scope.replace('/', '.')
  channels = inputs.shape[-1]
  net = inputs
  if expansion > 1:
    net = layers.Conv2D(
      _make_divisible(channels * expansion), 1, activation='relu6', name=f'{scope}.expand', **kwargs
    )(net)
    end_points[f'{layer}/expansion_output'] = net
  net = layers.DepthwiseConv2D(
    3, strides=strides, rate=rate, activation='relu6', name=f'{scope}.depthwise', **kwargs
  )(net)
  end_points[f'{layer}/depthwise_output'] = net
  net = layers.Conv2D(filters, 1, name=f'{scope}.project', **kwargs)(net)
  if strides == 1 and channels == filters:
    net = keras.layers.Add()([net, inputs])
  end_points[f'{layer}/output'] = net
  end_points[layer] = net
  return net


def mobilenet_v2(
  images: keras.KerasTensor, options: ModelOptions
) -> tuple[keras.KerasTensor, dict[str, keras.KerasTensor]]:
  """MobileNetV2 features of preprocessed images.

  Args:
    images: [batch, height, width, 3] Keras tensor in -1..1.
    options: `ModelOptions` of mobilenet_v2.

  Returns:
    (features [batch, height / output_stride, width / output_stride, 320 * depth_multiplier],
    dict of end points by the original's names, 'layer_1' to 'layer_18').
  """
  kwargs = dict(
    epsilon=layers.EPSILON_BACKBONE,
    decay=_DECAY,
    fine_tune_batch_norm=options.fine_tune_batch_norm,
    kernel_initializer=layers.truncated_normal(0.09),
  )
  width = options.depth_multiplier
  end_points = {}
  net = layers.Conv2D(
    _make_divisible(32 * width), 3, strides=2, activation='relu6', name='MobilenetV2.Conv', **kwargs
  )(images)
  end_points['layer_1'] = net

  current_stride, rate, index = 2, 1, 0
  for expansion, filters, units, first_stride in _BOTTLENECKS:
    for unit in range(units):
      strides = first_stride if unit == 0 else 1
      unit_strides, unit_rate = strides, 1
      if current_stride == options.output_stride:
        # The wanted stride is reached: what was a stride becomes a rate for what follows.
        unit_strides, unit_rate = 1, rate
        rate *= strides
      else:
        current_stride *= strides
      scope = 'MobilenetV2/expanded_conv' + (f'_{index}' if index else '')
      net = _expanded_conv(
        net,
        _make_divisible(filters * width),
        expansion,
        unit_strides,
        unit_rate,
        scope,
        f'layer_{index + 2}',
        end_points,
        **kwargs,
      )
      index += 1
  return net, end_points

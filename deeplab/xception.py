"""Xception-41, 65 and 71 with atrous convolution, as modified for DeepLabv3+.

Source: DeepLabv3+ (arXiv 1802.02611), section 3.2, and the original `deeplab/core/xception.py`.
"""

import dataclasses
from typing import Any

import keras

from feelvos_tf.deeplab import layers
from feelvos_tf.deeplab.options import ModelOptions

# End point that the decoder takes as its low-level feature.
DECODER_END_POINT = {
  'xception_41': 'entry_flow/block2/unit_1/xception_module/separable_conv2_pointwise',
  'xception_65': 'entry_flow/block2/unit_1/xception_module/separable_conv2_pointwise',
  'xception_71': 'entry_flow/block3/unit_1/xception_module/separable_conv2_pointwise',
}


@dataclasses.dataclass(frozen=True)
class _Block:
  scope: str
  depths: tuple[int, int, int]
  skip: str  # 'conv', 'sum' or 'none'
  strides: int = 1
  num_units: int = 1
  # ReLU after each depthwise and pointwise convolution instead of one before the pair.
  activation_inside: bool = False
  unit_rates: tuple[int, int, int] = (1, 1, 1)


def _blocks(variant: str, multi_grid: tuple[int, int, int] | None) -> list[_Block]:
  entry = {
    'xception_71': [
      _Block('entry_flow/block1', (128,) * 3, 'conv', strides=2),
      _Block('entry_flow/block2', (256,) * 3, 'conv'),
      _Block('entry_flow/block3', (256,) * 3, 'conv', strides=2),
      _Block('entry_flow/block4', (728,) * 3, 'conv'),
      _Block('entry_flow/block5', (728,) * 3, 'conv', strides=2),
    ]
  }.get(
    variant,
    [
      _Block('entry_flow/block1', (128,) * 3, 'conv', strides=2),
      _Block('entry_flow/block2', (256,) * 3, 'conv', strides=2),
      _Block('entry_flow/block3', (728,) * 3, 'conv', strides=2),
    ],
  )
  return entry + [
    _Block(
      'middle_flow/block1', (728,) * 3, 'sum', num_units=8 if variant == 'xception_41' else 16
    ),
    _Block('exit_flow/block1', (728, 1024, 1024), 'conv', strides=2),
    _Block(
      'exit_flow/block2',
      (1536, 1536, 2048),
      'none',
      activation_inside=True,
      unit_rates=multi_grid or (1, 1, 1),
    ),
  ]


def _xception_module(
  inputs: keras.KerasTensor,
  block: _Block,
  scope: str,
  strides: int,
  rate: int,
  end_points: dict[str, keras.KerasTensor],
  **kwargs: Any,
) -> keras.KerasTensor:
  """Three separable convolutions and a shortcut; no ReLU after the sum."""
  net = inputs
  activation = 'relu' if block.activation_inside else None
  for i, depth in enumerate(block.depths):
    if not block.activation_inside:
      net = keras.layers.ReLU()(net)
    name = f'{scope}/separable_conv{i + 1}'
    net = layers.separable_conv2d(
      net,
      depth,
      3,
      name=name.replace('/', '.'),
      rate=rate * block.unit_rates[i],
      # The stride sits in the third convolution, with padding that keeps pixels aligned.
      strides=strides if i == 2 else 1,
      padding='fixed',
      depthwise_activation=activation,
      activation=activation,
      **kwargs,
    )
    end_points[f'{name}_pointwise'] = net
  if block.skip == 'conv':
    shortcut = layers.Conv2D(
      block.depths[-1],
      1,
      strides=strides,
      kernel_initializer=layers.truncated_normal(0.09),
      name=f'{scope}/shortcut'.replace('/', '.'),
      **kwargs,
    )(inputs)
    net = layers.Residual()(net, shortcut)
  elif block.skip == 'sum':
    net = layers.Residual()(net, inputs)
  end_points[scope] = net
  return net


def xception(
  images: keras.KerasTensor, options: ModelOptions
) -> tuple[keras.KerasTensor, dict[str, keras.KerasTensor]]:
  """Xception features of preprocessed images.

  Args:
    images: [batch, height, width, 3] Keras tensor in -1..1.
    options: `ModelOptions` of an Xception variant.

  Returns:
    (features [batch, height / output_stride, width / output_stride, 2048],
    dict of end points by the original's names).
  """
  root = options.model_variant
  kwargs = dict(epsilon=layers.EPSILON_BACKBONE, fine_tune_batch_norm=options.fine_tune_batch_norm)
  end_points = {}
  net = images
  for i, (filters, strides) in enumerate(((32, 2), (64, 1)), start=1):
    scope = f'{root}/entry_flow/conv1_{i}'
    net = layers.Conv2D(
      filters,
      3,
      strides=strides,
      padding='fixed',
      activation='relu',
      kernel_initializer=layers.truncated_normal(0.09),
      name=scope.replace('/', '.'),
      **kwargs,
    )(net)
    end_points[scope] = net

  current_stride, rate = 2, 1
  for block in _blocks(options.model_variant, options.multi_grid):
    for unit in range(1, block.num_units + 1):
      scope = f'{root}/{block.scope}/unit_{unit}/xception_module'
      if current_stride == options.output_stride:
        # The wanted stride is reached: what was a stride becomes a rate for what follows.
        net = _xception_module(net, block, scope, 1, rate, end_points, **kwargs)
        rate *= block.strides
      else:
        net = _xception_module(net, block, scope, block.strides, 1, end_points, **kwargs)
        current_stride *= block.strides
    end_points[f'{root}/{block.scope}'] = net
  return net, end_points

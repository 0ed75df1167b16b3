"""ResNet-v1-50 and 101 "beta": three 3x3 convolutions at the root, stride in a block's last unit.

Source: original `deeplab/core/resnet_v1_beta.py` and slim's `resnet_utils`.
"""

from typing import Any

import keras

from feelvos_tf.deeplab import layers
from feelvos_tf.deeplab.options import ModelOptions

# End point that the decoder takes as its low-level feature.
DECODER_END_POINT = {
  'resnet_v1_50_beta': 'block1/unit_2/bottleneck_v1/conv3',
  'resnet_v1_101_beta': 'block1/unit_2/bottleneck_v1/conv3',
}
SCOPE = {'resnet_v1_50_beta': 'resnet_v1_50', 'resnet_v1_101_beta': 'resnet_v1_101'}
_UNITS = {'resnet_v1_50_beta': (3, 4, 6, 3), 'resnet_v1_101_beta': (3, 4, 23, 3)}
_DECAY = 0.95


def _bottleneck(
  inputs: keras.KerasTensor,
  depth: int,
  strides: int,
  rate: int,
  scope: str,
  end_points: dict[str, keras.KerasTensor],
  **kwargs: Any,
) -> keras.KerasTensor:
  """1x1, 3x3, 1x1 with a shortcut; ReLU after the sum."""
  name = scope.replace('/', '.')
  if inputs.shape[-1] != depth * 4:
    shortcut = layers.Conv2D(depth * 4, 1, strides=strides, name=f'{name}.shortcut', **kwargs)(
      inputs
    )
  elif strides > 1:
    shortcut = keras.layers.MaxPooling2D(1, strides=strides, data_format='channels_last')(inputs)
  else:
    shortcut = inputs
  net = layers.Conv2D(depth, 1, activation='relu', name=f'{name}.conv1', **kwargs)(inputs)
  net = layers.Conv2D(
    depth,
    3,
    strides=strides,
    rate=rate,
    padding='fixed',
    activation='relu',
    name=f'{name}.conv2',
    **kwargs,
  )(net)
  net = layers.Conv2D(depth * 4, 1, name=f'{name}.conv3', **kwargs)(net)
  end_points[f'{scope}/conv3'] = net
  net = keras.layers.ReLU()(keras.layers.Add()([shortcut, net]))
  end_points[scope] = net
  return net


def resnet_v1_beta(
  images: keras.KerasTensor, options: ModelOptions
) -> tuple[keras.KerasTensor, dict[str, keras.KerasTensor]]:
  """ResNet-v1 beta features of preprocessed images.

  Args:
    images: [batch, height, width, 3] Keras tensor in -1..1.
    options: `ModelOptions` of a ResNet variant.

  Returns:
    (features [batch, height / output_stride, width / output_stride, 2048],
    dict of end points by the original's names).
  """
  root = SCOPE[options.model_variant]
  kwargs = dict(
    epsilon=layers.EPSILON, decay=_DECAY, fine_tune_batch_norm=options.fine_tune_batch_norm
  )
  end_points = {}
  net = images
  for i, (filters, strides) in enumerate(((64, 2), (64, 1), (128, 1)), start=1):
    net = layers.Conv2D(
      filters,
      3,
      strides=strides,
      padding='fixed',
      activation='relu',
      name=f'{root}.conv1_{i}',
      **kwargs,
    )(net)
    end_points[f'{root}/conv1_{i}'] = net
  net = keras.layers.MaxPooling2D(3, strides=2, padding='same', data_format='channels_last')(net)

  current_stride, rate = 4, 1
  for block, num_units in enumerate(_UNITS[options.model_variant], start=1):
    for unit in range(1, num_units + 1):
      unit_rate = (options.multi_grid or (1, 1, 1))[unit - 1] if block == 4 else 1
      strides = 2 if unit == num_units and block < 4 else 1
      unit_strides = strides
      if current_stride == options.output_stride:
        # The wanted stride is reached: what was a stride becomes a rate for what follows.
        unit_strides, unit_rate = 1, unit_rate * rate
        rate *= strides
      else:
        current_stride *= strides
      net = _bottleneck(
        net,
        64 * 2 ** (block - 1),
        unit_strides,
        unit_rate,
        f'{root}/block{block}/unit_{unit}/bottleneck_v1',
        end_points,
        **kwargs,
      )
    end_points[f'{root}/block{block}'] = net
  return net, end_points

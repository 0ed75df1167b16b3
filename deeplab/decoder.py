"""DeepLabv3+'s decoder: ASPP features and a low-level feature to stride 4.

Source: DeepLabv3+ (arXiv 1802.02611), section 3.1; original `deeplab/model.py`,
`refine_by_decoder`.
"""

from typing import Any, cast

import keras

from feelvos_tf.deeplab import layers
from feelvos_tf.deeplab import resizing
from feelvos_tf.deeplab.options import ModelOptions

DEPTH = 256
LOW_LEVEL_DEPTH = 48


def decoder(
  features: keras.KerasTensor,
  low_level: keras.KerasTensor,
  images: keras.KerasTensor,
  options: ModelOptions,
) -> tuple[keras.KerasTensor, dict[str, keras.KerasTensor]]:
  """Refines ASPP features with a low-level feature.

  Args:
    features: [batch, height / output_stride, width / output_stride, 256] Keras tensor.
    low_level: [batch, about height / 4, about width / 4, channels], end point of the backbone.
    images: [batch, height, width, 3]; only its size is used.
    options: `ModelOptions`.

  Returns:
    (refined [batch, h4, w4, 256] with h4 = scale_dimension(height, 1 / 4),
    dict of end points by the original's names).
  """
  kwargs: dict[str, Any] = dict(fine_tune_batch_norm=options.fine_tune_batch_norm)
  scale = 1.0 / cast(int, options.decoder_output_stride)  # None has no decoder.
  projected = layers.Conv2D(
    LOW_LEVEL_DEPTH, 1, activation='relu', name='decoder.feature_projection0', **kwargs
  )(low_level)
  end_points = {'feature_projection0': projected}
  net = keras.layers.Concatenate()(
    [
      resizing.ResizeLike(scale, name='decoder.resize_features')(features, images),
      resizing.ResizeLike(scale, name='decoder.resize_low_level')(projected, images),
    ]
  )
  for i in range(2):
    name = f'decoder.decoder_conv{i}'
    if options.decoder_use_separable_conv:
      net = layers.separable_conv2d(net, DEPTH, 3, name=name, **kwargs)
    else:
      # slim.repeat names its layers <scope>/<scope>_<n>, counting from 1.
      name = f'decoder.decoder_conv0.decoder_conv0_{i + 1}'
      net = layers.Conv2D(DEPTH, 3, activation='relu', name=name, **kwargs)(net)
  end_points['decoder'] = net
  return net, end_points

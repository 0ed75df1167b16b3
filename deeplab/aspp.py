"""Atrous spatial pyramid pooling with the image-level feature.

Source: DeepLabv3 (arXiv 1706.05587), section 3.3; original `deeplab/model.py`,
`extract_features`.
"""

from typing import cast

import keras

from feelvos_tf.deeplab import layers
from feelvos_tf.deeplab import resizing
from feelvos_tf.deeplab.options import ModelOptions

DEPTH = 256
# Probability of dropping after the projection. The original keeps 0.9 in training, also when
# batch norm is frozen.
DROPOUT = 0.1


def aspp(
  features: keras.KerasTensor, options: ModelOptions
) -> tuple[keras.KerasTensor, dict[str, keras.KerasTensor]]:
  """Pools features at several rates and over the whole image.

  Args:
    features: [batch, height, width, channels] Keras tensor of the backbone.
    options: `ModelOptions`.

  Returns:
    (pooled [batch, height, width, 256], dict of end points by the original's names).
  """
  kwargs = dict(activation='relu', fine_tune_batch_norm=options.fine_tune_batch_norm)
  end_points = {}
  branches = []
  if options.add_image_level_feature:
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, data_format='channels_last')(
      features
    )
    pooled = layers.Conv2D(DEPTH, 1, name='image_pooling', **kwargs)(pooled)
    end_points['image_pooling'] = pooled
    branches.append(resizing.ResizeLike(name='image_pooling.resize')(pooled, features))
  branches.append(layers.Conv2D(DEPTH, 1, name='aspp0', **kwargs)(features))
  end_points['aspp0'] = branches[-1]
  for i, rate in enumerate(cast(tuple, options.atrous_rates), start=1):
    if options.aspp_with_separable_conv:
      branch = layers.separable_conv2d(
        features,
        DEPTH,
        3,
        name=f'aspp{i}',
        rate=rate,
        fine_tune_batch_norm=options.fine_tune_batch_norm,
      )
      end_points[f'aspp{i}_pointwise'] = branch
    else:
      branch = layers.Conv2D(DEPTH, 3, rate=rate, name=f'aspp{i}', **kwargs)(features)
      end_points[f'aspp{i}'] = branch
    branches.append(branch)
  net = keras.layers.Concatenate()(branches) if len(branches) > 1 else branches[0]
  net = layers.Conv2D(DEPTH, 1, name='concat_projection', **kwargs)(net)
  net = keras.layers.Dropout(DROPOUT, name='concat_projection_dropout')(net)
  end_points['aspp'] = net
  return net, end_points

"""DeepLabv3+ assembled: backbone, ASPP, decoder, semantic logits.

Source: DeepLabv3+ (arXiv 1802.02611); original `deeplab/model.py`.
"""

from typing import Any

import keras

from feelvos_tf.deeplab import aspp
from feelvos_tf.deeplab import decoder
from feelvos_tf.deeplab import layers
from feelvos_tf.deeplab import mobilenet_v2
from feelvos_tf.deeplab import resnet_v1_beta
from feelvos_tf.deeplab import xception
from feelvos_tf.deeplab.options import ModelOptions

_BACKBONES = {
  'xception_41': (xception.xception, xception.DECODER_END_POINT, 'xception_41/'),
  'xception_65': (xception.xception, xception.DECODER_END_POINT, 'xception_65/'),
  'xception_71': (xception.xception, xception.DECODER_END_POINT, 'xception_71/'),
  'mobilenet_v2': (mobilenet_v2.mobilenet_v2, mobilenet_v2.DECODER_END_POINT, ''),
  'resnet_v1_50_beta': (
    resnet_v1_beta.resnet_v1_beta,
    resnet_v1_beta.DECODER_END_POINT,
    'resnet_v1_50/',
  ),
  'resnet_v1_101_beta': (
    resnet_v1_beta.resnet_v1_beta,
    resnet_v1_beta.DECODER_END_POINT,
    'resnet_v1_101/',
  ),
}


@keras.saving.register_keras_serializable(package='deeplab')
class DeepLabV3Plus(keras.Model):
  """DeepLabv3+ of any variant, for images of any size.

  Call with images [batch, height, width, 3], RGB, 0..255 (any numeric dtype); returns a dict:
    'features': [batch, h4, w4, 256] float32, h4 = int((height - 1) / 4 + 1) (or at the
      output stride when there is no decoder).
    'logits': [batch, h4, w4, num_classes], only if `options.num_classes` is not 0.

  `end_points` maps the original's end point names to symbolic tensors, so that any of them
  can be tapped: `keras.Model(model.inputs, model.end_points['aspp'])`. `backbone_end_points` holds
  those of the backbone alone.

  >>> model = DeepLabV3Plus(ModelOptions('mobilenet_v2'))
  >>> model(tf.zeros([1, 65, 97, 3]))['features'].shape
  TensorShape([1, 17, 25, 256])
  """

  def __init__(
    self,
    options: ModelOptions | None = None,
    name: str = 'deeplab',
    logits_scope: str = 'logits',
    **kwargs: Any,
  ) -> None:
    """Creates the network with initial weights.

    Args:
      options: `ModelOptions`; None takes the defaults (Xception-65, output stride 16).
      name: str, name of the model.
      logits_scope: str, scope of the semantic logits' variables. The original has 'logits' for
        semantic classes in DeepLab and for objects in FEELVOS; a network with both needs two.
      **kwargs: of keras.Model.
    """
    # === Layers ===
    options = options or ModelOptions()
    if isinstance(options, dict):
      options = ModelOptions.from_dict(options)
    backbone, decoder_end_point, scope = _BACKBONES[options.model_variant]

    # === Functional model ===
    images = keras.Input([None, None, 3], name='images', dtype='float32')
    preprocessed = layers.Preprocess(name='preprocess')(images)
    net, backbone_end_points = backbone(preprocessed, options)
    end_points = {'preprocessed': preprocessed, **backbone_end_points}
    net, points = aspp.aspp(net, options)
    end_points.update(points)
    if options.decoder_output_stride is not None:
      low_level = end_points[scope + decoder_end_point[options.model_variant]]
      net, points = decoder.decoder(net, low_level, images, options)
      end_points.update(points)
    outputs = {'features': keras.layers.Activation('linear', dtype='float32', name='features')(net)}
    if options.num_classes:
      logits = layers.Conv2D(
        options.num_classes,
        1,
        use_batch_norm=False,
        dtype='float32',
        kernel_initializer=layers.truncated_normal(0.01),
        name=f'{logits_scope}.semantic',
      )(net)
      outputs['logits'] = end_points['logits'] = logits
    super().__init__(inputs=images, outputs=outputs, name=name, **kwargs)

    # === Config ===
    self.options = options
    self.logits_scope = logits_scope
    self.end_points = end_points
    self.backbone_end_points = backbone_end_points

  def get_config(self) -> dict[str, Any]:
    return {'options': self.options.to_dict(), 'name': self.name, 'logits_scope': self.logits_scope}

  @classmethod
  def from_config(
    cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
  ) -> 'DeepLabV3Plus':
    del custom_objects  # Everything needed is in the options.
    return cls(**config)

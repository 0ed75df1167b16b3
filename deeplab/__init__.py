"""Keras DeepLabv3+: image in, stride-4 features (and semantic logits) out."""

from typing import Any

from feelvos_tf.deeplab.options import MODEL_VARIANTS
from feelvos_tf.deeplab.options import ModelOptions

__all__ = ['MODEL_VARIANTS', 'DeepLabV3Plus', 'ModelOptions']


def __getattr__(name: str) -> Any:
  # On first use: mains read options and report wrong flags before TensorFlow's seconds.
  if name == 'DeepLabV3Plus':
    from feelvos_tf.deeplab.model import DeepLabV3Plus

    return DeepLabV3Plus
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

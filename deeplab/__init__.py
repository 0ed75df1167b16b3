"""Keras DeepLabv3+: image in, stride-4 features (and semantic logits) out."""

import os

# TensorFlow turns oneDNN's kernels on by itself for CPUs with AVX-512 VNNI only. With AVX2 alone
# they are 1.3 (training) to several times faster, too. Read when TensorFlow is imported.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')

from deeplab.options import MODEL_VARIANTS
from deeplab.options import ModelOptions

__all__ = ['DeepLabV3Plus', 'MODEL_VARIANTS', 'ModelOptions']


def __getattr__(name):
  # On first use: mains read options and report wrong flags before TensorFlow's seconds.
  if name == 'DeepLabV3Plus':
    from deeplab.model import DeepLabV3Plus

    return DeepLabV3Plus
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

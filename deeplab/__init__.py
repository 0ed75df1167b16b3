"""Keras DeepLabv3+: image in, stride-4 features (and semantic logits) out."""

from deeplab.model import DeepLabV3Plus
from deeplab.options import MODEL_VARIANTS
from deeplab.options import ModelOptions

__all__ = ['DeepLabV3Plus', 'MODEL_VARIANTS', 'ModelOptions']

"""Keras DeepLabv3+: image in, stride-4 features (and semantic logits) out."""

"""FEELVOS: semi-supervised video object segmentation in TensorFlow 2."""

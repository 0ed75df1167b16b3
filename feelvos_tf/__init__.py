"""FEELVOS: semi-supervised video object segmentation in TensorFlow 2."""

import deeplab  # Turns oneDNN on; has to come before any import of TensorFlow.

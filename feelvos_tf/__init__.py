"""FEELVOS: semi-supervised video object segmentation in TensorFlow 2."""

import os

# TensorFlow turns oneDNN's kernels on by itself for CPUs with AVX-512 VNNI only. With AVX2 alone
# they are 1.3 (training) to several times faster, too. Read when TensorFlow is imported.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')

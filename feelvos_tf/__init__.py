"""FEELVOS: semi-supervised video object segmentation in TensorFlow 2."""

import os
import pathlib

# TensorFlow turns oneDNN's kernels on by itself for CPUs with AVX-512 VNNI only. With AVX2 alone
# they are 1.3 (training) to several times faster. Read when TensorFlow is imported.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')

# In a checkout the folders datasets/, deeplab/ and tools/ lie next to this one. A wheel has them
# inside it, so it owns no top-level name but feelvos_tf.
_CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
if (_CHECKOUT / 'pyproject.toml').is_file() and (_CHECKOUT / 'deeplab').is_dir():
  __path__.append(str(_CHECKOUT))

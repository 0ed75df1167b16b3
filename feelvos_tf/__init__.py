"""FEELVOS: semi-supervised video object segmentation in TensorFlow 2 and Keras 3.

>>> import feelvos_tf
>>> segmenter = feelvos_tf.VideoSegmenter(feelvos_tf.load_model())
>>> segmenter.start(frames[0], mask)  # uint8 RGB frame, uint8 object ids
>>> masks = [segmenter.step(frame).mask for frame in frames[1:]]

or, from files to files:

>>> feelvos_tf.segment_video('clip.mp4', 'first.png', 'result')

Importing this package takes milliseconds; the first use of a name imports TensorFlow.
"""

import importlib
import os
import platform
import sys
from typing import TYPE_CHECKING
import warnings

from feelvos_tf.old_names import OldNames
from feelvos_tf.runtime.tensorflow_start import QuietTensorFlow

if TYPE_CHECKING:
  from feelvos_tf.inference.segmented_frame import SegmentedFrame
  from feelvos_tf.inference.segmenter import VideoSegmenter
  from feelvos_tf.model.options import FeelvosOptions
  from feelvos_tf.model.weights import load_model
  from feelvos_tf.model.weights import save_model
  from feelvos_tf.runtime.video_files import segment_video

__all__ = [
  'FeelvosOptions',
  'SegmentedFrame',
  'VideoSegmenter',
  '__version__',
  'load_model',
  'save_model',
  'segment_video',
]

__version__ = '0.2.0'  # The one place; pyproject.toml reads it here.

_HOMES = {
  'FeelvosOptions': 'feelvos_tf.model.options',
  'SegmentedFrame': 'feelvos_tf.inference.segmented_frame',
  'VideoSegmenter': 'feelvos_tf.inference.segmenter',
  'load_model': 'feelvos_tf.model.weights',
  'save_model': 'feelvos_tf.model.weights',
  'segment_video': 'feelvos_tf.runtime.video_files',
}

# In a checkout the folders datasets/, deeplab/ and tools/ lie next to this one. A wheel has them
# inside it, so it owns no top-level name but feelvos_tf.
_CHECKOUT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
if os.path.isfile(f'{_CHECKOUT}/pyproject.toml') and os.path.isdir(f'{_CHECKOUT}/deeplab'):
  __path__.append(_CHECKOUT)


def _prepare_environment() -> None:
  """Sets what TensorFlow and Keras read once, when they are imported.

  Raises:
    ImportError: Keras was imported before, with another backend.
  """
  # TensorFlow turns oneDNN's kernels on by itself for CPUs with AVX-512 VNNI only. With AVX2 alone
  # they are 1.3 (training) to several times faster.
  if 'TF_ENABLE_ONEDNN_OPTS' not in os.environ and _computes_without_onednn():
    warnings.warn(
      'tensorflow was imported before feelvos_tf and computes without oneDNN on this processor, '
      'which takes several times as long. Import feelvos_tf first, or set TF_ENABLE_ONEDNN_OPTS=1 '
      '(0: leave it off, without this warning).',
      RuntimeWarning,
      stacklevel=3,
    )
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
  # Else a missing GPU is an error line on standard error. TF_CPP_MIN_LOG_LEVEL=0 shows all lines.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  keras = sys.modules.get('keras')
  if keras is None:
    os.environ['KERAS_BACKEND'] = 'tensorflow'  # Counts more than ~/.keras/keras.json.
  elif (backend := keras.config.backend()) != 'tensorflow':
    raise ImportError(
      f'Keras was imported with the backend {backend}; feelvos_tf needs TensorFlow. Import '
      'feelvos_tf before keras, or set KERAS_BACKEND=tensorflow.'
    )


def _computes_without_onednn() -> bool:
  """Whether TensorFlow is here, could have oneDNN (builds for x86), and has it turned off."""
  if 'tensorflow' not in sys.modules or platform.machine() not in ('x86_64', 'AMD64'):
    return False
  try:
    from tensorflow.python.util import _pywrap_util_port
  except ImportError:  # It is no public name.
    return False
  return not _pywrap_util_port.IsMklEnabled()


_prepare_environment()
if 'tensorflow' not in sys.modules:
  sys.meta_path.insert(0, QuietTensorFlow())
sys.meta_path.insert(0, OldNames('feelvos_tf'))  # First: pretrained/ is a folder of files now.
sys.meta_path.append(OldNames('datasets', 'tools'))  # Last: of names that nothing else finds.


def __getattr__(name: str) -> object:
  if name not in _HOMES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  value = getattr(importlib.import_module(_HOMES[name]), name)
  globals()[name] = value
  return value


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})

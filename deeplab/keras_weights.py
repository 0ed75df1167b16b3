"""Weights of `keras.applications.MobileNetV2` as initial weights of our backbone."""

import contextlib
import dataclasses
import os
import re
import tempfile
from typing import TYPE_CHECKING
import warnings

import keras

from feelvos_tf.deeplab import hdf5_file
from feelvos_tf.deeplab import tf1_checkpoint

if TYPE_CHECKING:
  import numpy as np


# The numbers of MobileNetV2 with its classes as float32 are 14 MB.
_MOST_BYTES = 64 << 20
_STATISTICS = ('gamma', 'beta', 'moving_mean', 'moving_variance')


def original_name(layer: str, variable: str) -> str | None:
  """The original's name of a variable of `keras.applications.MobileNetV2`.

  Args:
    layer: str, name of the Keras layer, for example 'block_3_expand_BN'.
    variable: str, name of its variable, for example 'gamma'.

  Returns:
    str such as 'MobilenetV2/expanded_conv_3/expand/BatchNorm/gamma', or None for a layer that
    DeepLab does not use (the last 1x1 convolution).
  """
  if layer in ('Conv1', 'bn_Conv1'):
    scope = 'MobilenetV2/Conv'
  else:
    match = re.fullmatch(r'(expanded_conv|block_(\d+))_(expand|depthwise|project)(_BN)?', layer)
    if match is None:
      return None
    index = f'_{match[2]}' if match[2] else ''
    scope = f'MobilenetV2/expanded_conv{index}/{match[3]}'
  if variable in _STATISTICS:
    return f'{scope}/BatchNorm/{variable}'
  return f'{scope}/depthwise_weights' if scope.endswith('/depthwise') else f'{scope}/weights'


def read_mobilenet_v2(path: str | os.PathLike) -> 'dict[str, np.ndarray]':
  """Reads a `.weights.h5` of `keras.applications.MobileNetV2(include_top=False)`.

  Args:
    path: weights file, width multiplier 1.

  Returns:
    {name of the variable in the original: float32 array in the shape of the variable}.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file does not fit MobileNetV2.
  """
  if not os.path.isfile(path):
    raise FileNotFoundError(f'{path}: no such weights file; check the path.')
  model = keras.applications.MobileNetV2(
    include_top=False, weights=None, input_shape=(None, None, 3)
  )
  try:
    with warnings.catch_warnings():
      # For a file of another model: a warning per layer, then an error.
      warnings.simplefilter('ignore')
      _load_rewritten(model, path)
  except Exception as error:  # Keras and h5py raise several kinds.
    reason = (str(error).strip().splitlines() or [''])[0].removeprefix(f'{path}: ')[:200]
    raise ValueError(
      f'{path}: not weights of keras.applications.MobileNetV2(include_top=False) ({reason}).'
    ) from error
  arrays = {}
  for layer in model.layers:
    for variable in layer.weights:
      name = original_name(layer.name, variable.name)
      if name is not None:
        arrays[name] = variable.numpy()
  return arrays


def _load_rewritten(model: keras.Model, path: str | os.PathLike) -> None:
  """Loads a Keras file of others: Keras sees a new file with its numbers and texts."""
  limits = dataclasses.replace(hdf5_file.limits_of_environment(), values_bytes=_MOST_BYTES)
  parts = hdf5_file.parts(path, limits=limits)
  # Keras goes by the end of the name.
  with tempfile.TemporaryDirectory() as folder, contextlib.closing(parts):
    rewritten = os.path.join(folder, os.path.basename(path))
    hdf5_file.write_parts(rewritten, parts)
    model.load_weights(rewritten)


def restore_mobilenet_v2(path: str | os.PathLike, model: keras.Model) -> list[str]:
  """Loads the backbone of a model from a Keras MobileNetV2 file.

  Args:
    path: see `read_mobilenet_v2`.
    model: keras.Model with a mobilenet_v2 backbone.

  Returns:
    list of the original's names of the variables loaded.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file or the model is not a MobileNetV2 of width 1; the model is not touched.
  """
  arrays = read_mobilenet_v2(path)
  variables = tf1_checkpoint.variables_by_name(model)
  backbone = [name for name in variables if name.startswith('MobilenetV2/')]
  unfit = [
    name
    for name in backbone
    if name not in arrays or arrays[name].shape != tuple(variables[name].shape)
  ]
  if unfit or not backbone:
    raise ValueError(
      f'{path}: the weights do not fit the backbone of the model '
      f'({", ".join(unfit[:5]) or "it has no MobileNetV2"}); expected '
      'mobilenet_v2 with depth_multiplier 1.'
    )
  for name in backbone:
    variables[name].assign(arrays[name])
  return backbone

"""Initial weights of a training: a TF1 checkpoint, our weights file, or a Keras MobileNetV2 file.

Facts: `research/feelvos/utils/train_utils.py`, `get_model_init_fn`. Without
`initialize_last_layer` ASPP, decoder and logits keep their random initial values, whatever the
checkpoint holds; what else is missing from it (embedding and head, usually) also does.
"""

from collections.abc import Sequence
import os
from typing import Any, TYPE_CHECKING

import numpy as np

from feelvos_tf.deeplab import keras_weights
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.deeplab import weights_file
from feelvos_tf.model import head
from feelvos_tf.training.options import LAST_LAYERS
from feelvos_tf.training.options import LOGITS_ONLY

if TYPE_CHECKING:
  import keras


_FIRST_HEAD_LAYER = 'embedding_seg/split_separable_conv2d_0'


def initialize(
  model: 'keras.Model',
  path: str | os.PathLike,
  initialize_last_layer: bool = False,
  last_layers_contain_logits_only: bool = False,
) -> str:
  """Loads initial weights into a model.

  Args:
    model: `Feelvos` or `DeepLabV3Plus`.
    path: TF1 checkpoint (prefix or folder), our `.h5`, or `.weights.h5` of Keras's MobileNetV2.
    initialize_last_layer: also load ASPP, decoder and logits.
    last_layers_contain_logits_only: only logits count as last layers.

  Returns:
    str, what was loaded and what was not.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is broken or of another network; the model is not touched then.
  """
  path = str(path)
  if path.endswith('.h5') and not weights_file.is_ours(path):
    names = keras_weights.restore_mobilenet_v2(path, model)
    return f'{path}: {len(names)} variables of the backbone loaded, the others start from scratch.'
  reader: tf1_checkpoint.TensorReader
  known: Any = None
  if path.endswith('.h5'):
    metadata, arrays = weights_file.read(path)
    reader, known = weights_file.Arrays(arrays), metadata.get('options')
  else:
    reader = tf1_checkpoint.read_checkpoint(path)
  reader = _with_more_maps(reader, known if isinstance(known, dict) else {}, model)
  reader = _with_gates_and_joint(reader, model)
  last_layers = LOGITS_ONLY if last_layers_contain_logits_only else LAST_LAYERS
  exclude = () if initialize_last_layer else last_layers
  report = tf1_checkpoint.compare(reader, model, exclude_scopes=exclude)
  lacking = [name for name in report.missing if tf1_checkpoint.in_backbone(name)]
  if lacking or report.wrong_shape:
    raise ValueError(
      f'{path}: the checkpoint is of another model than the flags describe (model '
      f'variant, depth multiplier, dimensions?). {report.summary(limit=3)}'
    )
  tf1_checkpoint.restore_from_reader(
    reader, path, model, allow_incomplete=True, exclude_scopes=exclude
  )
  return f'{path}: {_describe(report, exclude)}'


def _with_more_maps(
  reader: tf1_checkpoint.TensorReader, known: dict[str, Any], model: 'keras.Model'
) -> tf1_checkpoint.TensorReader:
  """The reader; a head without `other_object_distances`, `local_window_radii` or both gets them.

  It does if the model has them. Their kernels pass the maps on and their weights in the sum over
  channels are 0: the model's logits are those of the file. `known` are the options in the file.
  """
  wanted = {
    name: tuple(variable.shape)
    for name, variable in tf1_checkpoint.variables_by_name(model).items()
    if name.startswith(f'{_FIRST_HEAD_LAYER}_')
  }
  options: Any = getattr(model, 'options', None)
  shapes = reader.get_variable_to_shape_map()
  # The smaller windows come last, so nothing can be put before those that a file has.
  if options is None or known.get('local_window_radii') or not wanted.keys() <= shapes.keys():
    return reader
  others = len(options.matched_inputs) if options.other_object_distances else 0
  windows = len(options.local_window_radii)
  depthwise = f'{_FIRST_HEAD_LAYER}_depthwise/depthwise_weights'
  lacking = wanted[depthwise][2] - shapes[depthwise][2]
  if not lacking or lacking not in (windows, windows + others):
    return reader
  arrays = {name: reader.get_tensor(name) for name in shapes}
  for name, shape in wanted.items():
    more = [(0, new - old) for new, old in zip(shape, arrays[name].shape)]
    if min(count for _, count in more) < 0:
      return reader  # Another model; the comparison says so.
    old_channels = arrays[name].shape[2] if name == depthwise else 0
    arrays[name] = np.pad(arrays[name], more)
    if name == depthwise:
      arrays[name][shape[0] // 2, shape[1] // 2, old_channels:] = 1.0
  return weights_file.Arrays(arrays)


def _with_gates_and_joint(
  reader: tf1_checkpoint.TensorReader, model: 'keras.Model'
) -> tf1_checkpoint.TensorReader:
  """The reader; a head without gates or joint layer gets those of the model as 0: the identity."""
  shapes = reader.get_variable_to_shape_map()
  added = {
    name: np.zeros(tuple(variable.shape), np.float32)
    for name, variable in tf1_checkpoint.variables_by_name(model).items()
    if name.startswith((head.GATE_SCOPE, head.JOINT_SCOPE)) and name not in shapes
  }
  if not added or f'{_FIRST_HEAD_LAYER}_depthwise/depthwise_weights' not in shapes:
    return reader
  return weights_file.Arrays({**{name: reader.get_tensor(name) for name in shapes}, **added})


def _describe(report: tf1_checkpoint.Report, exclude: Sequence[str]) -> str:
  text = f'{len(report.loaded)} variables loaded'
  if exclude:
    text += f'; {", ".join(exclude)} start from scratch (--initialize_last_layer loads them)'
  if report.missing:
    scopes = sorted({name.split('/')[0] for name in report.missing})
    text += f'; not in the checkpoint, from scratch: {", ".join(scopes)}'
  if report.left_over:
    text += f'; {len(report.left_over)} variables of the checkpoint not used'
  return f'{text}.'

"""Initial weights of a training: a TF1 checkpoint, our weights file, or a Keras MobileNetV2 file.

Facts: `research/feelvos/utils/train_utils.py`, `get_model_init_fn`. Without
`initialize_last_layer` ASPP, decoder and logits keep their random initial values, whatever the
checkpoint holds; what else is missing from it (embedding and head, usually) also does.
"""

from collections.abc import Sequence
import dataclasses
import os
from typing import Any, TYPE_CHECKING

import numpy as np

from feelvos_tf.deeplab import keras_weights
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.deeplab import weights_file
from feelvos_tf.model import default_model
from feelvos_tf.model import head
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.model.options import InferenceOptions
from feelvos_tf.model.options import NetworkOptions
from feelvos_tf.training.options import LAST_LAYERS
from feelvos_tf.training.options import LOGITS_ONLY

if TYPE_CHECKING:
  import keras

  from feelvos_tf.model.feelvos import Feelvos


_DEPTHWISE = 'embedding_seg/split_separable_conv2d_0_depthwise/depthwise_weights'
# Variables of the head's first layer: the axis of its inputs; the middle of a new input's kernel.
_FIRST_LAYER = {
  _DEPTHWISE: (2, 1.0),
  'embedding_seg/split_separable_conv2d_0_depthwise/biases': (0, 0.0),
  'embedding_seg/split_separable_conv2d_0_pointwise/weights': (2, 0.0),
}
# What weights without them can begin with.
_ADDITIONS = (
  'other_object_distances',
  'local_window_radii',
  'global_distance_square',
  'object_gates',
  'joint_head',
)


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
  reader, left_out = _fitted_to_maps(path, reader, known, model)
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
  return f'{path}: {_describe(report, exclude, left_out)}'


def restore_whole(model: 'Feelvos', path: str | os.PathLike) -> None:
  """Loads a weights file of the model's network, or of the same without some of its inputs.

  Inputs of the head, gates and a joint layer that the file does not have begin as in `initialize`.

  Args:
    model: the model.
    path: our `.h5`.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is damaged, of another network, or has more inputs; the model is not
      touched then.
  """
  metadata, arrays = weights_file.read(path)
  known = metadata.get('options')
  _check_network(path, known, model.options)
  reader, left_out = _fitted_to_maps(path, weights_file.Arrays(arrays), known, model)
  if left_out:
    raise ValueError(f'{path}: the model does not have its inputs {", ".join(left_out)}.')
  reader = _with_gates_and_joint(reader, model)
  tf1_checkpoint.restore_from_reader(reader, path, model)


def _check_network(path: str | os.PathLike, known: Any, options: NetworkOptions) -> None:
  """Raises ValueError for options in a file that are of another network, additions aside."""
  if not isinstance(known, dict):
    return
  found = FeelvosOptions.from_dict(known)
  names = {field.name for field in dataclasses.fields(NetworkOptions)}
  for name in sorted(names.difference(_ADDITIONS)):
    theirs, ours = getattr(found, name), getattr(options, name)
    if theirs != ours:
      raise ValueError(f'{path}: of another network: its {name} is {theirs}, expected {ours}.')


def inference_options(path: str) -> dict[str, Any] | None:
  """The options of inference in a `.h5` of this project; None for any other file, or none.

  Args:
    path: as of `initialize`.

  Raises:
    ValueError: the file is damaged.
  """
  path = str(path)
  if not path.endswith('.h5') or not os.path.isfile(path) or not weights_file.is_ours(path):
    return None
  metadata = weights_file.read_metadata(path, known=[default_model.CHECKSUM])
  known = metadata.get('options')
  if not isinstance(known, dict):
    return None
  names = {field.name for field in dataclasses.fields(InferenceOptions)}
  return {name: value for name, value in known.items() if name in names}


def _fitted_to_maps(
  path: str | os.PathLike, reader: tf1_checkpoint.TensorReader, known: Any, model: 'keras.Model'
) -> tuple[tf1_checkpoint.TensorReader, tuple[str, ...]]:
  """The reader with the added inputs of the head that the model has, and those left out.

  Kernels of new inputs pass the maps on and their weights in the sum over channels are 0: the
  model's logits are those of the file, unless it has inputs that the model does not.

  Args:
    path: of the file, for messages.
    reader: of the file.
    known: options in the file; None for a TF1 checkpoint, whose inputs are the model's first ones.
    model: `Feelvos` or `DeepLabV3Plus`.

  Raises:
    ValueError: the options in the file have other inputs of an object than the model.
  """
  options: Any = getattr(model, 'options', None)
  shapes = reader.get_variable_to_shape_map()
  if not isinstance(options, NetworkOptions) or not _FIRST_LAYER.keys() <= shapes.keys():
    return reader, ()
  wanted = options.added_inputs
  first = model.head.feature_channels + len(options.object_inputs)
  count = shapes[_DEPTHWISE][2] - first
  have = wanted[:count] if known is None else _added_inputs(path, known, options)
  if have is None or len(have) != count or have == wanted:
    return reader, ()  # The comparison says if it is another model.
  arrays = {name: reader.get_tensor(name) for name in shapes}
  channels = [have.index(name) if name in have else -1 for name in wanted]
  for name, (axis, new) in _FIRST_LAYER.items():
    arrays[name] = _chosen(arrays[name], axis, first, channels, new)
  left_out = tuple(name for name in have if name not in wanted)
  return weights_file.Arrays(arrays), left_out


def _added_inputs(
  path: str | os.PathLike, known: Any, options: NetworkOptions
) -> tuple[str, ...] | None:
  """`added_inputs` of the options in a file; None if these are not a video model's.

  Raises:
    ValueError: the other inputs are not the model's. As many others would load without a word.
  """
  try:
    found = FeelvosOptions.from_dict(known)
  except (ValueError, TypeError, AttributeError):
    return None
  if found.object_inputs != options.object_inputs:
    raise ValueError(
      f'{path}: the head sees {", ".join(found.object_inputs)} of every object there; expected '
      f'{", ".join(options.object_inputs)}'
    )
  return found.added_inputs


def _chosen(
  values: np.ndarray, axis: int, first: int, channels: Sequence[int], new: float
) -> np.ndarray:
  """The channels before `first`, then some of those behind; for -1 one that is `new` in its middle.

  Args:
    values: kernel or bias; the middle is that of the first two axes, if they are not channels.
    axis: of the channels.
    first: number of channels that stay.
    channels: counted from `first`.
    new: value of a new channel in the middle; elsewhere it is 0.
  """
  values = np.moveaxis(values, axis, 0)
  fresh = np.zeros_like(values[0])
  if new:
    fresh[fresh.shape[0] // 2, fresh.shape[1] // 2] = new
  added = [values[first + channel] if channel >= 0 else fresh for channel in channels]
  return np.moveaxis(np.stack([*values[:first], *added]), 0, axis)


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
  if not added or _DEPTHWISE not in shapes:
    return reader
  return weights_file.Arrays({**{name: reader.get_tensor(name) for name in shapes}, **added})


def _describe(
  report: tf1_checkpoint.Report, exclude: Sequence[str], left_out: Sequence[str]
) -> str:
  text = f'{len(report.loaded)} variables loaded'
  if exclude:
    text += f'; {", ".join(exclude)} start from scratch (--initialize_last_layer loads them)'
  if report.missing:
    scopes = sorted({name.split('/')[0] for name in report.missing})
    text += f'; not in the checkpoint, from scratch: {", ".join(scopes)}'
  if left_out:
    text += f'; inputs of the head that the model does not have left out: {", ".join(left_out)}'
  if report.left_over:
    text += f'; {len(report.left_over)} variables of the checkpoint not used'
  return f'{text}.'

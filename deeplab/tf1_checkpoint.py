"""The original's TF1 checkpoints: variable names, reading into a model, writing from one.

A variable's original name follows from its layer: the layer's name with '/' for '.', then
`weights`, `depthwise_weights`, `biases` or `BatchNorm/<statistic>` (slim's names). Nothing is
matched by order or by shape.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
import dataclasses
import os
import pathlib
import re
from typing import Protocol, TYPE_CHECKING

import numpy as np
import tensorflow as tf

from feelvos_tf.files import plain_path
from feelvos_tf.files import whole_file

if TYPE_CHECKING:
  import keras


_LEAVES = {'kernel': 'weights', 'depthwise_kernel': 'depthwise_weights', 'bias': 'biases'}
# What training leaves in a checkpoint in addition to the weights. The last group is the scratch
# variables of other optimisers and the moving averages some published checkpoints carry.
_TRAINING_STATE = re.compile(
  r'(^|/)(global_step|beta[12]_power)$'
  r'|/(Momentum|RMSProp|RMSProp_1|Adam|Adam_1|ExponentialMovingAverage)$'
  r'|^(save_counter|_CHECKPOINTABLE_OBJECT_GRAPH)'
)
# Classifier of ImageNet checkpoints; of no use to a segmentation network.
_CLASSIFIER = re.compile(r'^(xception_\d\d|resnet_v1_\d+|MobilenetV2)/[Ll]ogits/')
# MobileNetV2 checkpoints of ImageNet hold the layer behind the last one DeepLab uses.
_UNUSED_BACKBONE = re.compile(r'^MobilenetV2/Conv_1/')

# Scopes outside the backbone, which an initialisation from ImageNet or COCO leaves out unless
# asked (the original's `--initialize_last_layer`).
NON_BACKBONE_SCOPES = (
  'image_pooling',
  'aspp',
  'concat_projection',
  'decoder',
  'logits',
  'semantic_logits',
  'embedding',
  'embedding_seg',
)


def _top_scope(name: str) -> str:
  """Top-level scope of a variable, 'aspp' for all branches of ASPP."""
  return re.sub(r'^aspp\d.*', 'aspp', name.split('/')[0])


def in_backbone(name: str) -> bool:
  """Whether a variable, by its original name, belongs to the backbone."""
  return _top_scope(name) not in NON_BACKBONE_SCOPES


@dataclasses.dataclass(frozen=True)
class Report:
  """The variables that a checkpoint and a model have in common, by the original's variable names.

  `wrong_shape` maps a name to (shape in the checkpoint, shape in the model).
  """

  loaded: tuple[str, ...]
  missing: tuple[str, ...]
  left_over: tuple[str, ...]
  wrong_shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
  training_state: tuple[str, ...]
  ignored: tuple[str, ...]

  @property
  def complete(self) -> bool:
    """Whether every variable on both sides was used."""
    return not (self.missing or self.left_over or self.wrong_shape)

  def summary(self, limit: int | None = 10) -> str:
    """Text with every group that has members; at most `limit` names a group (None: all)."""
    lines = [
      f'{len(self.loaded)} variables loaded, '
      f'{len(self.training_state)} of training state recognised.'
    ]
    shapes = [
      f'{name}: checkpoint {list(ours)}, model {list(theirs)}'
      for name, (ours, theirs) in self.wrong_shape.items()
    ]
    groups = (
      ('missing from the checkpoint', self.missing),
      ('left over in the checkpoint', self.left_over),
      ('of the wrong shape', shapes),
      ('of a classifier or unused layer, ignored', self.ignored),
    )
    for title, names in groups:
      if names:
        shown = list(names)[:limit]
        more = f' and {len(names) - len(shown)} more' if len(names) > len(shown) else ''
        lines.append(f'{len(names)} {title}: {", ".join(shown)}{more}.')
    return '\n'.join(lines)


class TensorReader(Protocol):
  """What `restore_from_reader` reads: tf.train.CheckpointReader, or `weights_file.Arrays`."""

  def get_variable_to_shape_map(self) -> Mapping[str, Sequence[int]]:
    """Shape of every tensor, by name."""

  def get_tensor(self, name: str) -> np.ndarray:
    """The array of that name, in the dtype and shape in which it was saved."""


def variables_by_name(model: 'keras.Model') -> 'dict[str, keras.Variable]':
  """Maps original variable names to the model's Keras variables.

  Args:
    model: keras.Model built of this package's layers, at any depth.

  Returns:
    dict of str to keras.Variable, in the order of creation.

  Raises:
    ValueError: two variables have the same original name.
  """
  named: dict[str, keras.Variable] = {}
  for layer in leaf_layers(model):
    scope = layer.name.replace('.', '/')
    for variable in layer.weights:
      leaf = _LEAVES.get(variable.name, f'BatchNorm/{variable.name}')
      name = f'{scope}/{leaf}'
      if name in named and named[name] is not variable:
        raise ValueError(f'two variables are called {name}; give their layers different names.')
      named[name] = variable
  return named


def leaf_layers(layer: 'keras.Layer') -> 'Iterator[keras.Layer]':
  """Yields the layers that hold variables, at any depth, in the order of creation."""
  children = getattr(layer, 'layers', None)
  if not children:
    if layer.weights:
      yield layer
    return
  for child in children:
    yield from leaf_layers(child)


def read_checkpoint(path: str | os.PathLike) -> TensorReader:
  """Reads every tensor's shape of a TF1 (or TF2, name-based) checkpoint.

  Args:
    path: prefix such as `model.ckpt-200000`, one of its files, or a folder with a
      `checkpoint` file.

  Returns:
    tf.train.CheckpointReader.

  Raises:
    FileNotFoundError: there is no checkpoint at `path`.
    ValueError: the checkpoint is truncated or not a checkpoint.
  """
  prefix = os.fspath(path)
  if os.path.isdir(prefix):
    state = tf.train.get_checkpoint_state(prefix)
    if state is None:
      raise FileNotFoundError(
        f'{path}: folder without a `checkpoint` file; give the prefix of the checkpoint, '
        'for example model.ckpt-200000.'
      )
    prefix = state.model_checkpoint_path
  prefix = re.sub(r'\.(index|meta|data-\d{5}-of-\d{5})$', '', prefix)
  if not os.path.exists(f'{prefix}.index') and not os.path.isfile(prefix):
    raise FileNotFoundError(
      f'{path}: no checkpoint here; expected {os.path.basename(prefix)}.index next to '
      'its data files.'
    )
  plain = plain_path.of_prefix(prefix)
  try:
    reader = tf.train.load_checkpoint(plain)
    reader.get_variable_to_shape_map()
  except Exception as error:  # TensorFlow raises several kinds here, RuntimeError among them.
    raise ValueError(
      f'{path}: not a readable checkpoint ({_first_line(error).replace(plain, prefix)}); '
      'copy it again, all files of the prefix.'
    ) from error
  return reader


def compare(
  reader: TensorReader,
  model: 'keras.Model',
  scopes: Collection[str] | None = None,
  exclude_scopes: Collection[str] = (),
) -> Report:
  """Compares the names and shapes of a checkpoint and a model.

  Args:
    reader: of `read_checkpoint`.
    model: keras.Model.
    scopes: names of the top-level scopes to load; None is all.
    exclude_scopes: top-level scopes that are neither loaded nor reported as missing or left
      over (for a backbone only: NON_BACKBONE_SCOPES).

  Returns:
    `Report`; `loaded` holds what `restore` would load.
  """
  shapes = reader.get_variable_to_shape_map()
  wanted = {name: tuple(variable.shape) for name, variable in variables_by_name(model).items()}

  def in_scope(name: str) -> bool:
    top = _top_scope(name)
    return (scopes is None or top in scopes) and top not in exclude_scopes

  training_state = sorted(name for name in shapes if _TRAINING_STATE.search(name))
  ignored = sorted(
    name
    for name in shapes
    if name not in wanted
    and name not in training_state
    and (_CLASSIFIER.search(name) or _UNUSED_BACKBONE.search(name))
  )
  known = set(training_state) | set(ignored)
  left_over = sorted(
    name for name in shapes if name not in wanted and name not in known and in_scope(name)
  )
  missing = tuple(name for name in wanted if name not in shapes and in_scope(name))
  common = [name for name in wanted if name in shapes and in_scope(name)]
  wrong_shape = {
    name: (tuple(shapes[name]), wanted[name])
    for name in common
    if tuple(shapes[name]) != wanted[name]
  }
  return Report(
    loaded=tuple(name for name in common if name not in wrong_shape),
    missing=missing,
    left_over=tuple(left_over),
    wrong_shape=wrong_shape,
    training_state=tuple(training_state),
    ignored=tuple(ignored),
  )


def restore(
  path: str | os.PathLike,
  model: 'keras.Model',
  allow_incomplete: bool = False,
  scopes: Collection[str] | None = None,
  exclude_scopes: Collection[str] = (),
) -> Report:
  """Loads a TF1 checkpoint into a model.

  Args:
    path: see `read_checkpoint`.
    model: keras.Model whose variables exist.
    allow_incomplete: load what fits although variables are missing, left over or of the wrong
      shape.
    scopes: see `compare`.
    exclude_scopes: see `compare`.

  Returns:
    `Report`.

  Raises:
    FileNotFoundError: there is no checkpoint at `path`.
    ValueError: the checkpoint is broken, does not fit the model, or fits in nothing. The
      model is not touched then.
  """
  return restore_from_reader(
    read_checkpoint(path), path, model, allow_incomplete, scopes, exclude_scopes
  )


def restore_from_reader(
  reader: TensorReader,
  path: str | os.PathLike,
  model: 'keras.Model',
  allow_incomplete: bool = False,
  scopes: Collection[str] | None = None,
  exclude_scopes: Collection[str] = (),
) -> Report:
  """As `restore`, from an open reader.

  Args:
    reader: `TensorReader`; values are cast to float32.
    path: what messages call it.
    model: see `restore`.
    allow_incomplete: see `restore`.
    scopes: see `compare`.
    exclude_scopes: see `compare`.

  Raises:
    ValueError: see `restore`.
  """
  report = compare(reader, model, scopes, exclude_scopes)
  if not report.loaded:
    raise ValueError(
      f'{path}: no variable fits the model; this is a checkpoint of another '
      f'network. {report.summary(limit=3)}'
    )
  if not report.complete and not allow_incomplete:
    raise ValueError(
      f'{path}: the checkpoint does not fit the model, another variant or other '
      f'options? Allow incomplete loading to go on. {report.summary(limit=3)}'
    )
  try:
    values = {name: reader.get_tensor(name) for name in report.loaded}
  except Exception as error:
    raise ValueError(
      f'{path}: the checkpoint is truncated ({_first_line(error)}); copy it again.'
    ) from error
  variables = variables_by_name(model)
  for name, value in values.items():
    variables[name].assign(value.astype(np.float32))
  return report


def save(
  path: str | os.PathLike,
  model: 'keras.Model',
  global_step: int = 0,
  slots: Mapping[str, np.ndarray] | None = None,
) -> list[str]:
  """Writes a checkpoint the original code can restore from.

  Args:
    path: prefix of the files to write, for example `model.ckpt-0`.
    model: keras.Model.
    global_step: int.
    slots: optional {original name of a variable: its momentum, float32 in the variable's shape}.

  Returns:
    list of the variable names written, sorted.

  Raises:
    OSError: the files cannot be written.
  """
  tensors = {
    name: tf.convert_to_tensor(variable.numpy())
    for name, variable in variables_by_name(model).items()
  }
  for name, value in (slots or {}).items():
    tensors[f'{name}/Momentum'] = tf.convert_to_tensor(value)
  tensors['global_step'] = tf.constant(global_step, tf.int64)
  write_tensors(path, tensors)
  return sorted(tensors)


def write_tensors(path: str | os.PathLike, tensors: Mapping[str, np.ndarray | tf.Tensor]) -> None:
  """Writes named tensors as a TF1 checkpoint (index and one data file).

  Args:
    path: prefix of the files to write.
    tensors: {name: array or tensor of any dtype and shape}.

  Raises:
    OSError: the files cannot be written.
  """
  path = os.fspath(path)
  os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  names = sorted(tensors)
  temporary = whole_file.temporary_name(path)
  try:
    with whole_file.named_errors(path), tf.device('CPU:0'):
      tf.raw_ops.SaveV2(
        prefix=str(temporary),
        tensor_names=names,
        shape_and_slices=[''] * len(names),
        tensors=[tf.convert_to_tensor(tensors[name]) for name in names],
      )
  except tf.errors.OpError as error:  # No OSError, so mains would not know it as the user's.
    raise OSError(
      f'{path}: the checkpoint cannot be written ({_first_line(error)}); check the '
      'folder and the space left.'
    ) from error
  # The index comes last: without it there is no checkpoint. Nor may that of one that is replaced
  # stay beside other data.
  pathlib.Path(f'{path}.index').unlink(missing_ok=True)
  for suffix in ('.data-00000-of-00001', '.index'):
    whole_file.move(f'{temporary}{suffix}', f'{path}{suffix}')


def _first_line(error: Exception) -> str:
  return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

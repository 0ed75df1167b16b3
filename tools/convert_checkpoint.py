r"""Converts weights between the original's TF1 checkpoints, Keras MobileNetV2 files and ours.

  feelvos convert-checkpoint --input=model.ckpt-200004 --output=feelvos.h5
  feelvos convert-checkpoint --input=feelvos.h5 --output=export/model.ckpt-0
  feelvos convert-checkpoint --input=mobilenet_v2.weights.h5 --output=initial.h5

An output that ends in .h5 is one of our weights files, any other a TF1 checkpoint with the
original's variable names. The variant is read off the variable names. Every variable is accounted
for: what is missing, left over or of the wrong shape is listed and is an error, unless
--allow_incomplete (keep what fits; the rest has initial values) or --backbone_only. The file
written is read back and compared, value by value.
"""

from collections.abc import Mapping, Sequence
import os
from typing import Any, TYPE_CHECKING

from absl import flags
import numpy as np

from feelvos_tf.runtime import command_line
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

if TYPE_CHECKING:
  import keras

  from feelvos_tf.deeplab import tf1_checkpoint
  from feelvos_tf.deeplab.options import ModelOptions
  from feelvos_tf.deeplab.options import ModelVariant
  from feelvos_tf.model.options import FeelvosOptions


FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_string(
    'input', None, 'TF1 checkpoint (prefix or folder), our .h5 or a Keras MobileNetV2 .weights.h5.'
  )
  flags.DEFINE_string('output', None, 'File to write: *.h5 for ours, else a TF1 checkpoint prefix.')
  flags.DEFINE_enum(
    'network',
    'auto',
    ['auto', 'feelvos', 'deeplab'],
    'The video model, or DeepLab alone; auto: feelvos if the input has an embedding layer.',
  )
  flags.DEFINE_string('model_variant', None, 'Backbone; default: what the variable names say.')
  flags.DEFINE_integer(
    'output_stride',
    16,
    'Recorded in the options; no variable depends on it. One of our files keeps its own unless this '
    'is given.',
  )
  flags.DEFINE_integer(
    'frame_grid',
    None,
    'Recorded in the options of a video model: at inference, '
    'both sides of a frame are resized to the nearest multiple of this number '
    'plus one; 0: frames as they are, as the original segments them. Default: '
    'what the input says, else as they are.',
    lower_bound=0,
  )
  flags.DEFINE_list(
    'local_window_radii',
    [],
    'Of a TF1 checkpoint of a video model trained with this option: its radii; no variable has them.',
  )
  flags.DEFINE_integer(
    'global_distance_square',
    None,
    'Of a TF1 checkpoint of a video model trained with this option: its side; no variable has it.',
  )
  flags.DEFINE_bool(
    'allow_incomplete',
    False,
    'Variables that are missing keep initial values, those left over are dropped.',
  )
  flags.DEFINE_bool(
    'backbone_only',
    False,
    'Take the backbone only; the other layers keep initial '
    'values (what the original does unless --initialize_last_layer).',
  )
  flags.DEFINE_integer('seed', 0, 'Seed of initial values.')
  flags.DEFINE_bool('overwrite', False, 'Replace the output if it exists.')


def main() -> None:
  """Reads, checks, writes, reads back."""
  _check_flags()
  start_tensorflow()
  import keras

  keras.utils.set_random_seed(FLAGS.seed)
  arrays, metadata = read_any(FLAGS.input)
  model = build_model(arrays, metadata)
  if FLAGS.frame_grid is not None and not hasattr(model.options, 'frame_grid'):
    raise ValueError(f'{FLAGS.input} holds a DeepLab; --frame_grid is for video models.')
  report = load(model, arrays, FLAGS.input)
  print(report.summary(limit=None))
  write(model, FLAGS.output, (metadata or {}).get('notes'))
  count = verify(model, FLAGS.output)
  print(f'{FLAGS.output}: {count} variables written and read back, all equal.')


def read_any(path: str) -> 'tuple[tf1_checkpoint.TensorReader, dict[str, Any] | None]':
  """Reads any of the three kinds of input.

  Returns:
    (object with `get_variable_to_shape_map` and `get_tensor`, metadata dict or None).

  Raises:
    FileNotFoundError, ValueError: see the readers.
  """
  from feelvos_tf.deeplab import keras_weights
  from feelvos_tf.deeplab import tf1_checkpoint
  from feelvos_tf.deeplab import weights_file

  if not str(path).endswith('.h5'):
    return tf1_checkpoint.read_checkpoint(path), None
  if not weights_file.is_ours(path):
    return weights_file.Arrays(keras_weights.read_mobilenet_v2(path)), None
  metadata, arrays = weights_file.read(path)
  return weights_file.Arrays(arrays), metadata


def build_model(
  arrays: 'tf1_checkpoint.TensorReader', metadata: dict[str, Any] | None
) -> 'keras.Model':
  """The model a checkpoint belongs to, by its metadata or its variable names."""
  import dataclasses

  from feelvos_tf.deeplab import DeepLabV3Plus
  from feelvos_tf.deeplab import ModelOptions
  from feelvos_tf.model.feelvos import Feelvos
  from feelvos_tf.model.options import FeelvosOptions

  if metadata and 'options' in metadata:
    return _described_model(metadata['options'])
  shapes = arrays.get_variable_to_shape_map()
  variant: ModelVariant = FLAGS.model_variant or guess_variant(shapes)
  options = ModelOptions(
    variant,
    output_stride=FLAGS.output_stride,
    depth_multiplier=guess_depth_multiplier(shapes, variant),
  )
  with_embedding = any(name.startswith('embedding/') for name in shapes)
  if FLAGS.network == 'feelvos' or (
    FLAGS.network == 'auto' and (with_embedding or FLAGS.backbone_only)
  ):
    head_options = guess_head_options(shapes, _radii(), FLAGS.global_distance_square)
    return Feelvos(_on_grid(FeelvosOptions(options, **head_options)))
  return DeepLabV3Plus(dataclasses.replace(options, **guess_deeplab_options(shapes, options)))


def _described_model(known: dict[str, Any]) -> 'keras.Model':
  """The model of the options in one of our files, with what the flags change of them.

  Raises:
    ValueError: --model_variant is another than the file's.
  """
  import dataclasses

  from feelvos_tf.deeplab import DeepLabV3Plus
  from feelvos_tf.deeplab import ModelOptions
  from feelvos_tf.deeplab.options import ATROUS_RATES
  from feelvos_tf.model.feelvos import Feelvos
  from feelvos_tf.model.options import FeelvosOptions

  video = FeelvosOptions.from_dict(known) if 'model' in known else None
  options = video.model if video else ModelOptions.from_dict(known)
  if FLAGS.model_variant not in (None, options.model_variant):
    raise ValueError(
      f'{FLAGS.input} holds the variant {options.model_variant}; --model_variant={FLAGS.model_variant} '
      'given. Leave it out.'
    )
  if FLAGS['output_stride'].present:
    is_usual = options.atrous_rates == ATROUS_RATES[options.output_stride]
    rates = None if is_usual else options.atrous_rates
    options = dataclasses.replace(options, output_stride=FLAGS.output_stride, atrous_rates=rates)
  if FLAGS.network == 'deeplab' or (FLAGS.network == 'auto' and not video):
    return DeepLabV3Plus(options)
  return Feelvos(_on_grid(dataclasses.replace(video or FeelvosOptions(), model=options)))


def _on_grid(options: 'FeelvosOptions') -> 'FeelvosOptions':
  """`FeelvosOptions` with the frame grid of the flag, if it is given."""
  import dataclasses

  if FLAGS.frame_grid is None:
    return options
  return dataclasses.replace(options, frame_grid=FLAGS.frame_grid or None)


def guess_variant(shapes: Mapping[str, Sequence[int]]) -> 'ModelVariant':
  """The model variant whose scope the variable names have.

  Args:
    shapes: dict of variable name to shape.

  Raises:
    ValueError: no variant's scope is there.
  """
  scopes = {name.split('/')[0] for name in shapes}
  variants: tuple[tuple[str, ModelVariant], ...] = (
    ('xception_41', 'xception_41'),
    ('xception_65', 'xception_65'),
    ('xception_71', 'xception_71'),
    ('MobilenetV2', 'mobilenet_v2'),
    ('resnet_v1_50', 'resnet_v1_50_beta'),
    ('resnet_v1_101', 'resnet_v1_101_beta'),
  )
  for scope, variant in variants:
    if scope in scopes:
      return variant
  raise ValueError(
    'no variable belongs to a known backbone; the checkpoint has the scopes '
    f'{", ".join(sorted(scopes)[:10])}. Say which with --model_variant.'
  )


def guess_depth_multiplier(shapes: Mapping[str, Sequence[int]], variant: str) -> float:
  """Width multiplier of a MobileNetV2 checkpoint, by the last layer's 320 channels; else 1."""
  last = shapes.get('MobilenetV2/expanded_conv_16/project/weights')
  return last[-1] / 320 if variant == 'mobilenet_v2' and last else 1.0


def _radii() -> tuple[int, ...]:
  """The radii of the flag.

  Raises:
    UsageError: one is no whole number.
  """
  try:
    return tuple(int(text) for text in FLAGS.local_window_radii)
  except ValueError:
    raise command_line.UsageError(
      f'--local_window_radii={",".join(FLAGS.local_window_radii)} given; expected whole numbers '
      'separated by commas.'
    ) from None


def guess_head_options(
  shapes: Mapping[str, Sequence[int]], radii: tuple[int, ...] = (), square: int | None = None
) -> dict[str, Any]:
  """Options of the head that show in a checkpoint's variables.

  Args:
    shapes: dict of variable name to shape.
    radii: `local_window_radii`, one input channel of an object each; the published models have 3
      others, those with `other_object_distances` 5.
    square: `global_distance_square`; one more channel, with `other_object_distances` two.
  """
  from feelvos_tf.model import head

  features = shapes.get('decoder/decoder_conv1_pointwise/weights')
  head_input = shapes.get('embedding_seg/split_separable_conv2d_0_pointwise/weights')
  expected = 5 + len(radii) + (0 if square is None else 2)
  others = features and head_input and head_input[2] - features[-1] == expected
  return {
    'other_object_distances': bool(others),
    'local_window_radii': radii,
    'global_distance_square': square,
    'object_gates': any(name.startswith(head.GATE_SCOPE) for name in shapes),
    'joint_head': any(name.startswith(head.JOINT_SCOPE) for name in shapes),
  }


def guess_deeplab_options(
  shapes: Mapping[str, Sequence[int]], options: 'ModelOptions'
) -> dict[str, Any]:
  """Options of a DeepLab checkpoint that show in its variables: classes, branches, decoder."""
  logits = shapes.get('logits/semantic/weights')
  branches = [
    i
    for i in range(1, 10)
    if f'aspp{i}_depthwise/depthwise_weights' in shapes or f'aspp{i}/weights' in shapes
  ]
  return {
    'num_classes': int(logits[-1]) if logits else 0,
    'atrous_rates': options.atrous_rates if branches else (),
    'aspp_with_separable_conv': not any(f'aspp{i}/weights' in shapes for i in branches),
    'add_image_level_feature': 'image_pooling/weights' in shapes or not logits,
    'decoder_output_stride': 4
    if any(name.startswith('decoder/') for name in shapes) or not logits
    else None,
  }


def load(
  model: 'keras.Model', arrays: 'tf1_checkpoint.TensorReader', path: str
) -> 'tf1_checkpoint.Report':
  """Loads what was read into the model; returns the `tf1_checkpoint.Report`.

  Raises:
    ValueError: something does not fit and no flag allows it; all of it has been listed then.
  """
  from feelvos_tf.deeplab import tf1_checkpoint

  exclude = tf1_checkpoint.NON_BACKBONE_SCOPES if FLAGS.backbone_only else ()
  report = tf1_checkpoint.compare(arrays, model, exclude_scopes=exclude)
  if not report.complete and not FLAGS.allow_incomplete:
    print(report.summary(limit=None))
  return tf1_checkpoint.restore_from_reader(
    arrays, path, model, allow_incomplete=FLAGS.allow_incomplete, exclude_scopes=exclude
  )


def write(model: 'keras.Model', path: str, notes: dict[str, Any] | None = None) -> None:
  """Writes our file (*.h5), with the notes of the input, or a TF1 checkpoint."""
  from feelvos_tf.deeplab import tf1_checkpoint
  from feelvos_tf.deeplab import weights_file

  if path.endswith('.h5'):
    weights_file.save(
      path,
      model,
      {
        'options': model.options.to_dict(),
        'notes': {**(notes or {}), 'converted_from': os.path.basename(FLAGS.input)},
      },
    )
  else:
    tf1_checkpoint.save(path, model)


def verify(model: 'keras.Model', path: str) -> int:
  """Reads the file back and compares it with the model; returns the number of variables.

  Raises:
    ValueError: a value differs.
  """
  from feelvos_tf.deeplab import tf1_checkpoint

  arrays, _ = read_any(path)
  variables = tf1_checkpoint.variables_by_name(model)
  for name, variable in variables.items():
    if not np.array_equal(arrays.get_tensor(name), variable.numpy()):
      raise ValueError(f'{path}: {name} is not what was written; disk trouble? Try again.')
  return len(variables)


def _check_flags() -> None:
  for flag in ('input', 'output'):
    if not getattr(FLAGS, flag):
      raise command_line.UsageError(f'--{flag} is missing.')
  for suffix in ('', '.index'):
    paths = [f'{path}{suffix}' for path in (FLAGS.input, FLAGS.output)]
    if all(map(os.path.exists, paths)) and os.path.samefile(*paths):
      raise ValueError(f'{FLAGS.output}: the input given as output; choose another --output.')
  exists = os.path.exists(FLAGS.output) or os.path.exists(f'{FLAGS.output}.index')
  if exists and not FLAGS.overwrite:
    raise ValueError(f'{FLAGS.output} exists; choose another --output or add --overwrite.')


if __name__ == '__main__':
  command_line.run(main, define_flags)

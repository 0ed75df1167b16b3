r"""The weighted mean of the weights of one model after different trainings.

  python -m tools.mean_weights --weights=before.h5 --weights=runs/nine/checkpoints/train-690 \
      --shares=.25 --shares=.75 --output=model.h5

A short training on new samples loses some of what the model knew; the mean of the weights before
and after it keeps most of both (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR
2022). The default model was made so. Options and notes are those of the first file. A file without
some of its inputs of the head, a model before a training that added them, gets them as the initial
weights of a training do.
"""

from collections.abc import Mapping
import os
from typing import TYPE_CHECKING

from absl import flags
import numpy as np

from feelvos_tf.runtime import command_line
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

if TYPE_CHECKING:
  from feelvos_tf.model.feelvos import Feelvos

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_multi_string(
    'weights',
    [],
    'Weights file (.h5) or, but for the first, checkpoint of a training (checkpoints/train-N); once '
    'for each.',
  )
  flags.DEFINE_multi_float('shares', [], 'Share of each; together 1. Default: equal shares.')
  flags.DEFINE_string('output', None, 'Weights file to write.')
  flags.DEFINE_enum('dtype', 'float32', ['float32', 'float16'], 'How the numbers are stored.')
  flags.DEFINE_bool('overwrite', False, 'Replace the output.')


def main() -> None:
  """Reads all weights, writes their mean."""
  paths = FLAGS.weights
  if len(paths) < 2:
    raise command_line.UsageError(f'{len(paths)} --weights given; expected two or more.')
  shares = FLAGS.shares or [1 / len(paths)] * len(paths)
  if len(shares) != len(paths):
    raise command_line.UsageError(
      f'{len(shares)} --shares and {len(paths)} --weights given; expected one for each.'
    )
  if abs(sum(shares) - 1) > 1e-6:
    raise command_line.UsageError(f'--shares add up to {sum(shares):g}; expected 1.')
  if not FLAGS.output:
    raise command_line.UsageError('--output is missing.')
  if os.path.exists(FLAGS.output) and not FLAGS.overwrite:
    raise command_line.UsageError(f'{FLAGS.output} exists; --overwrite replaces it.')
  start_tensorflow()
  from feelvos_tf.deeplab import weights_file
  from feelvos_tf.model import weights

  metadata = weights_file.read_metadata(paths[0])
  model = weights.load_model(paths[0], precision='float32')
  mean: dict[str, np.ndarray] = {}
  for path, share in zip(paths, shares, strict=True):
    for name, value in read(path, model).items():
      mean[name] = mean.get(name, 0) + share * value.astype(np.float64)
  weights_file.save_arrays(FLAGS.output, mean, metadata, FLAGS.dtype)
  parts = ', '.join(f'{share:g} of {path}' for path, share in zip(paths, shares, strict=True))
  print(f'{FLAGS.output}: {len(mean)} variables, {parts}.')


def read(path: str, model: 'Feelvos') -> Mapping[str, np.ndarray]:
  """Returns {name: float32 array} of a weights file, or of a checkpoint of a training.

  Args:
    path: see the flag --weights.
    model: built like the one in the file; its own weights change.

  Raises:
    FileNotFoundError: there is no such file or checkpoint.
    ValueError: it is of another model, or damaged.
  """
  import tensorflow as tf

  from feelvos_tf.deeplab import tf1_checkpoint
  from feelvos_tf.training import initial_weights

  variables = tf1_checkpoint.variables_by_name(model)
  if os.path.isfile(path):
    initial_weights.restore_whole(model, path)
  elif os.path.isfile(f'{path}.index'):
    values = {name: variable.value for name, variable in variables.items()}
    try:
      status = tf.train.Checkpoint(weights=values).restore(path)
      status.assert_existing_objects_matched().expect_partial()
      saved = [name for name, _ in tf.train.list_variables(path) if name.startswith('weights/')]
      if len(saved) > len(values):
        raise ValueError(f'it has {len(saved) - len(values)} variables more')
    except (AssertionError, ValueError, tf.errors.OpError) as error:
      raise ValueError(
        f'{path}: not a checkpoint of a training of this model ({str(error).splitlines()[0]})'
      ) from error
  else:
    raise FileNotFoundError(f'{path}: no such weights file or checkpoint; check the path.')
  return {name: variable.numpy() for name, variable in variables.items()}


if __name__ == '__main__':
  command_line.run(main, define_flags)

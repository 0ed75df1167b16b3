"""Flags and beginning of commands that run the model on DAVIS and score it by the ground truth."""

import pathlib
from typing import NamedTuple

from absl import flags

from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.evaluation import truth as truth_lib
from feelvos_tf.evaluation.sequences import SequenceFiles
from feelvos_tf.model import default_model
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import model_flags
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime.option_flags import OptionFlags
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

flags.disclaim_key_flags()  # The flags are those of the main that calls `define_flags`.

FLAGS = flags.FLAGS
TRUTH = OptionFlags(
  truth_lib.TruthOptions,
  leave_out=truth_lib.BEYOND_DAVIS,
  choices={'protocol': sequence_scores.PROTOCOLS},
  lists=('sequences',),
)


class DavisRun(NamedTuple):
  """What the flags say.

  Attributes:
    model: weights file.
    precision: what it computes in.
    rules: `sequence_scores.Protocol`.
    sequences: what to run on.
  """

  model: pathlib.Path
  precision: str
  rules: sequence_scores.Protocol
  sequences: list[SequenceFiles]


def define_flags(output: str) -> None:
  """Defines the flags; `output` is the help of --output_dir."""
  TRUTH.define()
  flags.DEFINE_string('output_dir', None, output)
  flags.DEFINE_string('model', None, 'Weights file; default: the model of the project.')
  model_flags.define_precision()


def begin() -> DavisRun:
  """Checks the flags, finds the sequences, starts TensorFlow, and prints what it computes in.

  Raises:
    UsageError: a flag is missing.
    FileNotFoundError: there is no such model or data.
    ValueError: the data are broken, or lie in the output folder.
  """
  for flag in ('davis_root', 'output_dir'):
    if not getattr(FLAGS, flag):
      raise command_line.UsageError(f'--{flag} is missing.')
  model = default_model.model_path(FLAGS.model)
  truth = TRUTH.make()
  sequences = truth_lib.find_sequences(truth, FLAGS.output_dir, FLAGS.output_dir)
  inputs = [path for files in sequences for path in (files.truth, files.frames)]
  result_folder.check_inputs(FLAGS.output_dir, inputs)
  start_tensorflow()
  precision = model_flags.choose_precision(FLAGS.precision, default_model.is_default(FLAGS.model))
  return DavisRun(model, precision.name, truth.rules, sequences)

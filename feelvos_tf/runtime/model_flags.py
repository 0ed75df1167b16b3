"""Flags that name the model, which commands share: `--model` and `--seeded_model`."""

from typing import Any, NamedTuple

from absl import flags

from feelvos_tf.model import default_model
from feelvos_tf.model import precision as precision_lib
from feelvos_tf.runtime import command_line

flags.disclaim_key_flags()  # The flags are those of the main that calls `define_flags`.


class LoadedModel(NamedTuple):
  """A model, and how it came about.

  Attributes:
    model: `Feelvos`.
    notes: dict, notes of the weights file; None if it has none.
    precision: `precision.Choice`.
  """

  model: Any
  notes: dict | None
  precision: precision_lib.Choice


def define_flags() -> None:
  """Defines the flags."""
  flags.DEFINE_string(
    'model',
    None,
    'Weights file of save_model; default: the pretrained model that comes with the project.',
  )
  flags.DEFINE_string(
    'seeded_model',
    None,
    'Instead of --model: this variant with seeded, untrained weights. For measuring time; the masks '
    'mean nothing.',
  )


def define_precision() -> None:
  """Defines --precision; see `choose_precision`."""
  flags.DEFINE_enum(
    'precision',
    None,
    ['auto', 'float32', 'bfloat16'],
    'Type the network computes in; products of matching are added up in float32. auto: what is '
    'faster in a trial on this machine, which is made once and kept. Default: auto with the model '
    'that comes with the project, float32 with others, as the original.',
  )


def choose_precision(asked: str | None, of_project: bool) -> precision_lib.Choice:
  """What a model computes in; prints it with the device. Imports TensorFlow.

  Args:
    asked: value of --precision.
    of_project: whether the model is the one that comes with the project.
  """
  choice = precision_lib.choose(precision_lib.wanted(asked, of_project))
  print(choice.line)
  return choice


def check() -> None:
  """Raises UsageError if both flags are given, FileNotFoundError if there is no such file."""
  if flags.FLAGS.model and flags.FLAGS.seeded_model:
    raise command_line.UsageError('--model and --seeded_model exclude each other.')
  if not flags.FLAGS.seeded_model:
    default_model.model_path(flags.FLAGS.model)


def load(**overrides: Any) -> LoadedModel:
  """Loads the model of the flags, in the precision of --precision; prints what it computes in.

  Args:
    **overrides: `FeelvosOptions` to change.

  Raises:
    FileNotFoundError, ValueError: see `weights.load_model`, `weights.seeded_model`.
  """
  from feelvos_tf.deeplab import weights_file
  from feelvos_tf.model import weights

  path, seeded = flags.FLAGS.model, flags.FLAGS.seeded_model
  choice = choose_precision(flags.FLAGS.precision, default_model.is_default(path) and not seeded)
  if seeded:
    print(f'Untrained: {seeded} with seeded weights. The masks mean nothing.')
    notes: dict[str, Any] | None = {'weights': 'seeded, untrained; the masks mean nothing'}
    make = lambda: weights.seeded_model(seeded, **overrides)
  else:
    path = default_model.model_path(path)
    notes = weights_file.read_metadata(path, [default_model.CHECKSUM]).get('notes')
    make = lambda: weights.load_model(path, **overrides)
  return LoadedModel(precision_lib.with_precision(choice.name, make), notes, choice)

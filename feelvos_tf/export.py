r"""Exports a model for TensorFlow Serving: the whole video path as one SavedModel.

  feelvos export --model=weights.h5 --output_dir=models --name=feelvos --version=1

Writes models/feelvos/1/ with the graph, model.json, a README and warm-up requests. docs/export.md
says what the signatures take and return.
"""

import pathlib
import re
from typing import Any, TYPE_CHECKING

from absl import flags
from absl import logging

from feelvos_tf.inference import speed
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import model_flags
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

if TYPE_CHECKING:
  from feelvos_tf.model.feelvos import Feelvos


FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  model_flags.define_flags()
  flags.DEFINE_string('output_dir', None, 'Folder of models; <name>/<version>/ appears in it.')
  flags.DEFINE_string(
    'name', None, 'Name of the model. Default: feelvos; with --speed=fast feelvos-fast.'
  )
  flags.DEFINE_integer('version', 1, 'Version number; servers take the highest.', lower_bound=1)
  flags.DEFINE_enum(
    'speed',
    speed.DEFAULT_SPEED,
    list(speed.SPEEDS),
    'fast: smaller frames and fewer pixels of the first frame to match with; balanced: as the '
    'weights file says. Masks have the size of the frames. best shows frames several times, which '
    'an exported model cannot do.',
  )
  flags.DEFINE_enum(
    'precision',
    None,
    ['auto', 'float32', 'bfloat16', 'float16'],
    'Type the network computes in; products of matching are added up in float32. auto: what is '
    'faster in a trial on this machine, which has to be like the one that serves. Default: auto '
    'with the model that comes with the project, float32 with others.',
  )
  flags.DEFINE_bool(
    'jit_compile',
    False,
    'Compile features and embedding with XLA: for GPUs. '
    'Every size of frames is compiled when it is first met. Slow on CPUs.',
  )
  flags.DEFINE_string(
    'warmup_size',
    '480x854',
    'Height and width of the frames in the warm-up requests; empty writes none.',
  )


def main() -> None:
  """Checks flags and files, then exports."""
  folder, warmup_size = _check_flags()
  # TensorFlow takes seconds to import; wrong flags and files are reported before.
  start_tensorflow()
  from feelvos_tf.saved_model import version_folder

  logging.set_verbosity(logging.WARNING)  # Writing a SavedModel reports every step otherwise.
  version_folder.check_folder(folder)
  if warmup_size is not None:
    try:
      version_folder.serving_protos()
    except ImportError:
      print(
        'No warm-up requests: tensorflow-serving-api is missing '
        "(pip install 'feelvos-tf[serving]')."
      )
      warmup_size = None
  model, notes, choice = model_flags.load(**speed.exported_options(FLAGS.speed))
  signatures, info = build(
    model, _name(), FLAGS.version, choice.name, FLAGS.jit_compile, notes, choice.reason, FLAGS.speed
  )
  print(version_folder.made_for(info))
  version_folder.write_version(folder, signatures, info, warmup_size)
  print(f'{folder}: {", ".join(signatures)}')


def build(
  model: 'Feelvos',
  name: str = 'feelvos',
  version: int = 1,
  precision: str = 'float32',
  jit_compile: bool = False,
  notes: dict[str, Any] | None = None,
  precision_reason: str = '',
  speed: str = speed.DEFAULT_SPEED,
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Builds what `saved_model.version_folder.write_version` writes.

  Args:
    model: `Feelvos`, made under the Keras policy of `precision` (see `precision.with_precision`).
    name: str. version: int. precision: str, for the description.
    jit_compile: bool, see the flag.
    notes: notes of the weights file.
    precision_reason: why the precision was chosen for this machine, '' if it was asked for.
    speed: preset that the model's options are made for, for the description.

  Returns:
    (dict of signature name to concrete function, description dict).
  """
  from feelvos_tf.saved_model import signatures as signatures_lib
  from feelvos_tf.saved_model import version_folder

  signatures = signatures_lib.Signatures(model, jit_compile).build()
  return signatures, version_folder.describe(
    name, version, precision, jit_compile, model, signatures, notes, precision_reason, speed
  )


def _check_flags() -> tuple[pathlib.Path, tuple[int, int] | None]:
  """(version folder, warm-up size or None) of the flags."""
  if not FLAGS.output_dir:
    raise command_line.UsageError('--output_dir is missing.')
  model_flags.check()
  try:
    speed.exported_options(FLAGS.speed)
  except ValueError as error:
    raise command_line.UsageError(f'--{error}') from None
  if not re.fullmatch(r'[A-Za-z0-9][\w.-]*', _name()):
    raise command_line.UsageError(
      f'--name is {_name()!r}; expected letters, digits, ".", "_" and "-".'
    )
  size = None
  if FLAGS.warmup_size:
    match = re.fullmatch(r'(\d+)x(\d+)', FLAGS.warmup_size)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= size[0] * size[1] <= 2**26 or max(size) > 2**16 - 1:
      raise command_line.UsageError(
        f'--warmup_size is {FLAGS.warmup_size!r}; expected HEIGHTxWIDTH, for example 480x854.'
      )
  return pathlib.Path(FLAGS.output_dir) / _name() / str(FLAGS.version), size


def _name() -> str:
  """Name of the model: the flag, or one that says the preset."""
  if FLAGS.name is not None:
    return FLAGS.name
  return 'feelvos' if FLAGS.speed == speed.DEFAULT_SPEED else f'feelvos-{FLAGS.speed}'


if __name__ == '__main__':
  command_line.run(main, define_flags)

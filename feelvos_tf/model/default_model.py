"""Where the model that comes with the project lies."""

import pathlib

from feelvos_tf.runtime.packaged_files import DEFAULT_MODEL


def model_path(path=None):
  """The weights file to load: `path`, or the default model's if there is none.

  Raises:
    FileNotFoundError: the default is wanted and is not there.
  """
  if path:
    return pathlib.Path(path)
  if not DEFAULT_MODEL.is_file():
    raise FileNotFoundError(
      f'{DEFAULT_MODEL}: the pretrained model is not there; give --model, '
      'or try without trained weights: --seeded_model=mobilenet_v2.'
    )
  return DEFAULT_MODEL

"""Where the model that comes with the project lies."""

from importlib import resources
import os
import pathlib

DEFAULT_MODEL = pathlib.Path(str(resources.files('feelvos_tf'))) / 'pretrained' / 'mobilenet_v2.h5'


def is_default(path: str | os.PathLike | None = None) -> bool:
  """Whether the value of a --model flag means the model that comes with the project."""
  return not path or str(path) == 'default'


def model_path(path: str | os.PathLike | None = None) -> pathlib.Path:
  """The weights file to load.

  Args:
    path: value of a --model flag; None or 'default' for the model that comes with the project.

  Raises:
    FileNotFoundError: it is not there.
  """
  if path is not None and not is_default(path):
    if not pathlib.Path(path).is_file():
      raise FileNotFoundError(f'{path}: no such weights file; check --model')
    return pathlib.Path(path)
  if not DEFAULT_MODEL.is_file():
    raise FileNotFoundError(
      f'{DEFAULT_MODEL}: the pretrained model is not there; give --model, '
      'or try without trained weights: --seeded_model=mobilenet_v2.'
    )
  return DEFAULT_MODEL

"""Where the model that comes with the project lies."""

from importlib import resources
import os
import pathlib

from feelvos_tf.datasets import names

DEFAULT_MODEL = pathlib.Path(str(resources.files('feelvos_tf'))) / 'pretrained' / 'mobilenet_v2.h5'
# SHA-256 of that file. Weights of these bytes are trusted and read in this process, see
# `deeplab/hdf5_file.py`.
CHECKSUM = '8640dd00c1552a7a00039b9166ff39523343f563cd244f3d698ad2d91356213f'


def is_default(path: str | os.PathLike | None = None) -> bool:
  """Whether a --model flag means the model that comes with the project, or names its file."""
  if not path or str(path) == 'default':
    return True
  return os.path.exists(path) and DEFAULT_MODEL.exists() and os.path.samefile(path, DEFAULT_MODEL)


def model_path(path: str | os.PathLike | None = None) -> pathlib.Path:
  """The weights file to load.

  Args:
    path: value of a --model flag; None or 'default' for the model that comes with the project.

  Raises:
    FileNotFoundError: it is not there.
  """
  if path is not None and not is_default(path):
    names.check_local(path, '--model')
    if not pathlib.Path(path).is_file():
      raise FileNotFoundError(names.missing(path, 'weights file', 'check --model'))
    return pathlib.Path(path)
  if not DEFAULT_MODEL.is_file():
    raise FileNotFoundError(
      f'{DEFAULT_MODEL}: the pretrained model is not there; give --model, '
      'or try without trained weights: --seeded_model=mobilenet_v2.'
    )
  return DEFAULT_MODEL

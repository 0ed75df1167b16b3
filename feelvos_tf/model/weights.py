"""Weights files of the video model: written, read, and a seeded model without one."""

import dataclasses
import os
from typing import Any

import keras

from feelvos_tf.datasets import names
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.deeplab import weights_file
from feelvos_tf.deeplab.options import ModelVariant
from feelvos_tf.model import default_model
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.model.precision import with_precision


def seeded_model(model_variant: ModelVariant, seed: int = 0, **overrides: Any) -> Feelvos:
  """A model with seeded, untrained weights: for measuring time; its masks mean nothing.

  Args:
    model_variant: str, see `ModelOptions`.
    seed: int.
    **overrides: other `FeelvosOptions`.

  Returns:
    `Feelvos`.

  Raises:
    ValueError: unknown variant.
  """
  keras.utils.set_random_seed(seed)
  return Feelvos(FeelvosOptions(ModelOptions(model_variant), **overrides))


def save_model(
  path: str | os.PathLike, model: Feelvos, notes: dict | None = None, dtype: str = 'float32'
) -> None:
  """Writes a model's options and weights to one `.h5` file; `load_model` reads it.

  Args:
    path: file to write.
    model: `Feelvos`.
    notes: optional JSON-ready dict that travels along (data, licence, scores).
    dtype: storage, 'float32' or 'float16'.

  Raises:
    ValueError: the path is an address, or what `weights_file.save` refuses.
    OSError: the file cannot be written.
  """
  names.check_local(path, 'path')
  metadata = {'options': model.options.to_dict(), 'notes': notes or {}}
  weights_file.save(path, model, metadata, dtype)


def load_model(
  path: str | os.PathLike | None = None, precision: str | None = None, **overrides: Any
) -> Feelvos:
  """Builds the model of a weights file.

  Args:
    path: file written by `save_model`; None: the model that comes with the project.
    precision: what the model computes in: 'float32', 'bfloat16', 'float16', or 'auto', what is
      fast on this machine (see `precision.choose`); None: as the Keras policy says.
    **overrides: options to change (ablations, for example previous_prediction='none' is not
      possible when the weights have a channel for it: that is an error).

  Returns:
    `Feelvos` with the file's weights.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is broken, takes longer than the limit to read (`deeplab/hdf5_file.py`),
      is from a newer version or not a FEELVOS model; an unknown precision; an option to change
      that there is not, or a value that it refuses.
  """
  known = {field.name for field in dataclasses.fields(FeelvosOptions)}
  if unknown := sorted(overrides.keys() - known):
    raise ValueError(
      f'unknown option(s) {", ".join(unknown)} given, expected names of FeelvosOptions; '
      'max_internal_size, image_pyramid, merge_method and flip go to VideoSegmenter.'
    )
  if precision is not None:
    return with_precision(precision, lambda: load_model(path, **overrides))
  path = default_model.model_path(path)
  metadata, arrays = weights_file.read(path, known=[default_model.CHECKSUM])
  if 'model' not in metadata.get('options', {}):
    raise ValueError(
      f'{path}: weights without the options of a video model; expected a file of '
      'save_model or of tools.convert_checkpoint --network=feelvos.'
    )
  try:
    in_file = FeelvosOptions.from_dict(metadata['options'])
    options = FeelvosOptions.from_dict({**metadata['options'], **overrides})
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  have, wanted = (', '.join((*of.object_inputs, *of.added_inputs)) for of in (in_file, options))
  if have != wanted:  # As many others would load without a word.
    raise ValueError(f'{path}: its head sees {have} of every object; asked for are {wanted}.')
  model = Feelvos(options)
  tf1_checkpoint.restore_from_reader(weights_file.Arrays(arrays), path, model)
  return model

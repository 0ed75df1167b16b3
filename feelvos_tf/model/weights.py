"""Weights files of the video model: written, read, and a seeded model without one."""

import keras

from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import weights_file
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions


def seeded_model(model_variant, seed=0, **overrides):
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


def save_model(path, model, notes=None, dtype='float32'):
  """Writes a model's options and weights to one `.h5` file; `load_model` reads it.

  Args:
    path: file to write.
    model: `Feelvos`.
    notes: optional JSON-ready dict that travels along (data, licence, scores).
    dtype: storage, 'float32' or 'float16'.
  """
  metadata = {'options': model.options.to_dict(), 'notes': notes or {}}
  weights_file.save(path, model, metadata, dtype)


def load_model(path, **overrides):
  """Builds the model of a weights file.

  Args:
    path: file written by `save_model`.
    **overrides: options to change (ablations, for example previous_prediction='none' is not
      possible when the weights have a channel for it: that is an error).

  Returns:
    `Feelvos` with the file's weights.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is broken, from a newer version or not a FEELVOS model.
  """
  metadata = weights_file.read_metadata(path)
  if 'model' not in metadata.get('options', {}):
    raise ValueError(
      f'{path}: weights without the options of a video model; expected a file of '
      'save_model or of tools.convert_checkpoint --network=feelvos.'
    )
  try:
    options = FeelvosOptions.from_dict({**metadata['options'], **overrides})
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  model = Feelvos(options)
  weights_file.restore(path, model)
  return model

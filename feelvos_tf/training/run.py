"""A whole training run: data, model, initial weights, the loop, the final weights.

`train.py` fills the options from flags; everything that happens is here.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING

import keras

from feelvos_tf.datasets.samples import triplets
from feelvos_tf.deeplab import DeepLabV3Plus
from feelvos_tf.model import precision
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.model.options import InferenceOptions
from feelvos_tf.training import calibration
from feelvos_tf.training import data
from feelvos_tf.training import initial_weights as initial_weights_lib
from feelvos_tf.training import memory
from feelvos_tf.training import run_directory
from feelvos_tf.training import summaries
from feelvos_tf.training import trainer as trainer_lib
from feelvos_tf.training import validation as validation_lib
from feelvos_tf.training.options import RunOptions
from feelvos_tf.training.strategy import Placement

if TYPE_CHECKING:
  import numpy as np


# Calibration takes samples that training does not reach.
CALIBRATION_START = 2**40
# Batches that the scale of new embeddings is taken from.
EMBEDDING_BATCHES = 4
FINAL = 'final.h5'  # Weights after the last step.


def run(options: RunOptions, placement: Placement) -> int:
  """Trains until the last step or an interruption.

  Args:
    options: RunOptions.
    placement: `training.strategy.Placement`.

  Returns:
    The last step taken.

  Raises:
    ValueError, OSError: data, weights or the folder are wrong, or the loss is not finite.
  """
  logdir = pathlib.Path(options.trainer.train_logdir)
  with _locked(logdir, placement) as directory:
    options = _with_inference_options(options, placement)
    keras.utils.set_random_seed(options.seed)
    memory.check(
      options.model.model.model_variant,
      options.samples,
      options.trainer.batch_size // placement.strategy.num_replicas_in_sync,
    )
    samples = triplets.Triplets([data.source(one) for one in options.data_sets], options.samples)
    validate = _validation(options) if placement.is_chief else None
    if directory is not None:
      for change in directory.register(options.to_dict(), {'model': FeelvosOptions().to_dict()}):
        print(f'changed since the last start: {change}')
    if placement.is_chief:
      print(precision.Choice(precision.name_of(options.policy)).line, flush=True)
    with placement.strategy.scope():
      model = build_model(options)
    trainer = trainer_lib.Trainer(
      model,
      samples,
      options.trainer,
      placement.strategy,
      placement.num_workers,
      placement.worker,
      options.input_threads,
      _summaries(logdir, options, placement),
    )
    _start(trainer, samples, options, placement)
    if directory is not None and directory.note(options.to_dict()):
      print(
        f'warning: there was no {directory.options_path}; it has the options of this start now.'
      )
    try:
      step = trainer.train(validate)
    except FloatingPointError as error:
      raise ValueError(str(error)) from error
    if placement.is_chief and step >= options.trainer.last_step:
      path = options.export or logdir / FINAL
      trainer.export_weights(path, {'step': step, 'trained_with': 'feelvos_tf.train'})
      print(f'written: {path}')
    return step


def build_model(options: RunOptions) -> Feelvos | DeepLabV3Plus:
  """`Feelvos`, or `DeepLabV3Plus` if there are semantic classes to train; initial values."""
  keras.config.set_dtype_policy(options.policy)
  if options.num_classes:
    return DeepLabV3Plus(dataclasses.replace(options.model.model, num_classes=options.num_classes))
  return Feelvos(options.model)


def _locked(logdir: str | os.PathLike, placement: Placement) -> contextlib.AbstractContextManager:
  """The chief's hold on the folder; other workers share it."""
  if placement.is_chief:
    return run_directory.RunDirectory(logdir).locked()
  return contextlib.nullcontext()


def _with_inference_options(options: RunOptions, placement: Placement) -> RunOptions:
  """Options whose model has the initial weights' options of inference where it has the defaults.

  `frame_grid` is left, which a flag always sets. Where the initial weights are gone because the run
  is being resumed, the options are those in `run.json`.
  """
  initial = options.initial_weights
  if options.num_classes or initial is None or not initial.take_inference_options:
    return options
  found = initial_weights_lib.inference_options(initial.path)
  if found is None and not os.path.exists(initial.path):
    known = run_directory.RunDirectory(options.trainer.train_logdir).registered()
    found = known and known['model']
  if not found:
    return options
  default = InferenceOptions()
  taken = {
    name: found[name]
    for name, value in vars(default).items()
    if name in found and name != 'frame_grid' and getattr(options.model, name) == value
  }
  model = dataclasses.replace(options.model, **taken)
  changed = {name: getattr(model, name) for name in taken}
  changed = {name: value for name, value in changed.items() if value != getattr(default, name)}
  if changed and placement.is_chief:
    named = ', '.join(f'{name} {value}' for name, value in changed.items())
    print(f'options of inference of the initial weights: {named}.', flush=True)
  return dataclasses.replace(options, model=model)


def _start(
  trainer: trainer_lib.Trainer,
  samples: triplets.Triplets,
  options: RunOptions,
  placement: Placement,
) -> None:
  """Resumes, or gives the model its initial weights.

  Raises:
    ValueError: there is no checkpoint, but the final weights of a training that ended; a new one
      would replace them.
  """
  say = print if placement.is_chief else lambda *args, **kwargs: None
  step = trainer.resume()
  if step is not None:
    say(f'resumed at step {step}.', flush=True)
    return
  final = pathlib.Path(options.trainer.train_logdir) / FINAL
  if not options.export and final.exists():
    raise ValueError(
      f'{final}: weights of a training that ended, and no checkpoint of it to go on from; a new training '
      'would replace them. Move them away, or choose another --train_logdir.'
    )
  if options.initial_weights:
    given = vars(options.initial_weights).copy()
    del given['take_inference_options']
    say(initial_weights_lib.initialize(trainer.model, **given), flush=True)
  else:
    say('no --tf_initial_checkpoint: everything starts from scratch.', flush=True)
  if options.num_classes:
    return
  if options.calibration_batches:
    count = calibration.calibrate(
      trainer.model, _calibration_images(samples, options, options.calibration_batches)
    )
    say(f'batch norm statistics of {count} layers calibrated.', flush=True)
  if options.matching_initialization == 'spread':
    calibration.spread_matching(
      trainer.model, _calibration_images(samples, options, EMBEDDING_BATCHES), options.seed
    )
    say("embedding layer and the head's view of the maps: new initial values.", flush=True)


def _calibration_images(
  samples: triplets.Triplets, options: RunOptions, batches: int
) -> 'Iterator[np.ndarray]':
  return (
    samples.sample(CALIBRATION_START + number)['images']
    for number in range(batches * options.trainer.batch_size)
  )


def _validation(options: RunOptions) -> validation_lib.Validation | None:
  if options.validation is None:
    return None
  if options.num_classes:
    raise ValueError(
      'validation segments videos; the loss softmax trains DeepLab alone. Leave '
      '--validation_steps out.'
    )
  wanted = options.validation
  videos = data.videos(wanted.data, wanted.clips)
  return validation_lib.Validation(videos, wanted.frames, wanted.max_size)


def _summaries(
  logdir: str | os.PathLike, options: RunOptions, placement: Placement
) -> summaries.Summaries | None:
  if not placement.is_chief:
    return None
  if not summaries.available():
    print(
      "no TensorBoard logs: the package tensorboard is missing (pip install 'feelvos-tf[train]')."
    )
    return None
  return summaries.Summaries(os.path.join(logdir, 'events'), options.picture_secs)

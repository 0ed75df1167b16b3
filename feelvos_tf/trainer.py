"""The training loop: distribution, checkpoints, exact resume, logs, validation.

Samples, dropout's seeds and the choice of reference pixels are functions of the step; with the
weights, the optimizer's slots and the step restored, a run that was killed goes on as if it had
not been.
"""

import dataclasses
import json
import os
import pathlib
import time
from typing import Callable, Optional

import keras
import numpy as np
import tensorflow as tf

from datasets import progress
from datasets import triplets as triplets_lib
from deeplab import tf1_checkpoint
from feelvos_tf import model as model_lib
from feelvos_tf import optimizer as optimizer_lib
from feelvos_tf import schedule as schedule_lib
from feelvos_tf import training_step

OPTIMIZERS = ('momentum', 'adam')


@dataclasses.dataclass(frozen=True)
class TrainerOptions:
  """How a run goes; what is minimised is in `training_step.LossOptions`.

  Raises:
    ValueError: an option has a value training cannot run with.
  """

  # Folder of checkpoints, logs and the best weights.
  train_logdir: str
  # Videos per step, over all devices and workers (flag `train_batch_size`).
  batch_size: int = 3
  schedule: schedule_lib.ScheduleOptions = schedule_lib.ScheduleOptions()
  # 'momentum' is the original's; 'adam' needs fewer steps where the budget is small.
  optimizer: str = 'momentum'
  optimizer_options: optimizer_lib.OptimizerOptions = optimizer_lib.OptimizerOptions()
  loss: training_step.LossOptions = training_step.LossOptions()
  # Steps after which the run stops; None takes the schedule's length.
  stop_at_step: Optional[int] = None
  # Steps between log lines, checkpoints and validations; 0 is never.
  log_steps: int = 20
  save_interval_steps: int = 500
  validation_steps: int = 0
  # Checkpoints kept.
  max_to_keep: int = 3

  def __post_init__(self):
    if self.optimizer not in OPTIMIZERS:
      raise ValueError(
          f'optimizer is {self.optimizer!r}; expected one of {", ".join(OPTIMIZERS)}.')
    if self.batch_size < 1:
      raise ValueError(f'train_batch_size is {self.batch_size}; expected at least 1.')
    if min(self.log_steps, self.save_interval_steps, self.validation_steps) < 0:
      raise ValueError('log_steps, save_interval_steps and validation_steps are 0 (never) or more.')

  @property
  def last_step(self):
    """Step at which the run ends."""
    length = self.schedule.training_number_of_steps
    return length if self.stop_at_step is None else min(self.stop_at_step, length)


class Trainer:
  """Trains a `Feelvos` model on triplets."""

  def __init__(self, model, triplets, options, strategy=None, num_input_shards=1, input_shard=0,
               input_threads=2, summaries=None):
    """Creates optimizer and checkpoint manager; nothing is read or written yet.

    Args:
      model: `Feelvos`, created under the strategy's scope.
      triplets: `datasets.triplets.Triplets`.
      options: TrainerOptions.
      strategy: tf.distribute.Strategy; None is one device.
      num_input_shards: int, number of workers.
      input_shard: int, number of this worker.
      input_threads: int, samples made at the same time.
      summaries: optional object with `write(step, scalars, batch, results)`.

    Raises:
      ValueError: the batch does not divide by the number of replicas.
    """
    self.model = model
    self.options = options
    self._triplets = triplets
    self._strategy = strategy or tf.distribute.get_strategy()
    self._shards = (num_input_shards, input_shard)
    self._input_threads = input_threads
    self._summaries = summaries
    replicas = self._strategy.num_replicas_in_sync
    if options.batch_size % replicas:
      raise ValueError(f'train_batch_size is {options.batch_size}; expected a multiple of the '
                       f'{replicas} devices.')
    self._variables = training_step.trained_variables(model)
    with self._strategy.scope():
      self._step = tf.Variable(0, dtype=tf.int64, trainable=False, name='global_step')
      if options.optimizer == 'momentum':
        self._optimizer = optimizer_lib.MomentumOptimizer(
            self._variables, options.optimizer_options)
      else:
        self._optimizer = keras.optimizers.Adam(
            learning_rate=options.schedule.base_learning_rate, epsilon=1e-8)
        self._optimizer.build(list(self._variables.values()))
    self._manager = tf.train.CheckpointManager(
        self._checkpoint(), os.path.join(options.train_logdir, 'checkpoints'),
        max_to_keep=options.max_to_keep, checkpoint_name='train')
    self._train_step = tf.function(self._distributed_step)
    self._best = -1.0

  @property
  def step(self):
    """int, number of steps taken."""
    return int(self._step.numpy())

  def resume(self):
    """Restores the newest checkpoint of the run, if there is one.

    Returns:
      Step of the checkpoint, or None.

    Raises:
      ValueError: the checkpoint is of another model or unreadable.
    """
    latest = self._manager.latest_checkpoint
    if latest is None:
      return None
    try:
      self._checkpoint().restore(latest).assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
      reason = (str(error).strip().splitlines() or [''])[0][:200]
      raise ValueError(f'{latest}: the checkpoint does not fit this model or is damaged '
                       f'({reason}). Resume with the flags the run was started with, or choose '
                       'another --train_logdir.') from error
    best = pathlib.Path(self.options.train_logdir) / 'best.json'
    if best.exists():
      self._best = json.loads(best.read_text())['score']
    return self.step

  def train(self, validate: Optional[Callable] = None):
    """Runs steps until the last one; SIGINT ends it with a checkpoint.

    Args:
      validate: optional function of the model that returns a score; called every
        `validation_steps` steps, the weights of the best score are kept in `best.h5`.

    Returns:
      The last step taken.

    Raises:
      FloatingPointError: the loss is not finite; the checkpoint before stays the newest.
      ValueError: the data cannot be read.
    """
    options = self.options
    iterator = iter(self._dataset())
    started, first = time.monotonic(), self.step
    try:
      while self.step < options.last_step:
        batch = self._next(iterator)
        losses, regularization, rate = self._train_step(batch)
        step = self.step
        if options.log_steps and step % options.log_steps == 0 or step == options.last_step:
          self._check_finite(losses, step)
          self._log(step, losses, regularization, rate, started, first, batch)
        if options.save_interval_steps and step % options.save_interval_steps == 0:
          self._check_finite(losses, step)
          self.save()
        if validate is not None and options.validation_steps and (
            step % options.validation_steps == 0):
          self._validate(validate, step)
    except KeyboardInterrupt:
      self.save()
      print(f'interrupted at step {self.step}; a checkpoint was written, the same command goes on.')
      return self.step
    self.save()
    return self.step

  def save(self):
    """Writes a checkpoint (once per step)."""
    if not str(self._manager.latest_checkpoint).endswith(f'-{self.step}'):
      self._manager.save(checkpoint_number=self.step)

  def export_weights(self, path, notes=None, dtype='float32'):
    """Writes the model's weights as `model.save_model` does."""
    model_lib.save_model(path, self.model, notes, dtype)

  def _checkpoint(self):
    named = tf1_checkpoint.variables_by_name(self.model)
    return tf.train.Checkpoint(
        step=self._step, weights={name: variable.value for name, variable in named.items()},
        optimizer=self._optimizer_state(), dropout=self._dropout_state())

  def _optimizer_state(self):
    if self.options.optimizer == 'momentum':
      return {'iterations': self._optimizer.iterations, 'slots': self._optimizer.slots}
    return {f'{i}_{variable.name}': variable.value
            for i, variable in enumerate(self._optimizer.variables)}

  def _dropout_state(self):
    return {variable.path: variable.value for variable in self.model.variables
            if 'seed_generator' in variable.path}

  def _dataset(self):
    options = self.options
    shards, shard = self._shards
    return triplets_lib.make_dataset(
        self._triplets, options.batch_size // shards, start=self.step * options.batch_size,
        num_shards=shards, shard_index=shard, num_parallel_calls=self._input_threads)

  def _next(self, iterator):
    try:
      batch = next(iterator)
    except tf.errors.OpError as error:
      raise ValueError(triplets_lib.error_message(error)) from error
    batch.pop('video', None)
    return self._split(batch)

  def _split(self, batch):
    """The batch as per-replica values."""
    replicas = self._strategy.num_replicas_in_sync // self._shards[0]
    if replicas <= 1:
      return batch
    size = self.options.batch_size // self._strategy.num_replicas_in_sync

    def part(context):
      begin = context.replica_id_in_sync_group % replicas * size
      return {key: value[begin:begin + size] for key, value in batch.items()}

    return self._strategy.experimental_distribute_values_from_function(part)

  def _distributed_step(self, batch):
    losses, regularization, rate = self._strategy.run(self._replica_step, args=(batch,))
    if self._strategy.num_replicas_in_sync > 1:
      losses = self._strategy.gather(losses, axis=0)
      regularization = self._strategy.reduce('MEAN', regularization, axis=None)
      rate = self._strategy.reduce('MEAN', rate, axis=None)
    self._step.assign_add(1)
    return losses, regularization, rate

  def _replica_step(self, batch):
    options = self.options
    rate = schedule_lib.learning_rate(self._step, options.schedule)
    replicas = self._strategy.num_replicas_in_sync
    # As in the original: losses of videos are summed on a clone and averaged over clones.
    results, regularization, gradients = training_step.gradients(
        self.model, self._variables, batch, self._step, options.loss, 1.0 / replicas)
    losses = tf.stack([result.loss for result in results])
    finite = tf.reduce_all(tf.math.is_finite(losses))
    # A step that went wrong must not reach the weights before the loop has seen its loss.
    gradients = [None if g is None else tf.where(finite, g, tf.zeros_like(g)) for g in gradients]
    if options.optimizer == 'momentum':
      self._optimizer.apply(gradients, rate)
    else:
      self._optimizer.learning_rate.assign(rate)
      norm = options.optimizer_options.clip_gradient_norm
      self._optimizer.apply_gradients([
          (optimizer_lib.clip_by_own_norm(g, norm), v)
          for g, v in zip(gradients, self._variables.values()) if g is not None])
    return losses, regularization, rate

  @staticmethod
  def _check_finite(losses, step):
    values = np.asarray(losses)
    if not np.all(np.isfinite(values)):
      raise FloatingPointError(
          f'the loss is not finite at step {step} ({values}); the last checkpoint is good. '
          'Lower --base_learning_rate or look at the data.')

  def _log(self, step, losses, regularization, rate, started, first, batch):
    seconds = max(time.monotonic() - started, 1e-9)
    speed = (step - first) / seconds
    left = (self.options.last_step - step) / max(speed, 1e-9)
    mean = float(np.mean(np.asarray(losses)))
    print(f'step {step}/{self.options.last_step}: loss {mean:.4f}, '
          f'L2 {float(regularization):.4f}, rate {float(rate):.3g}, {speed:.3g} steps/s, '
          f'{progress.duration(left)} left', flush=True)
    if self._summaries is not None:
      scalars = {'loss/cross_entropy': mean, 'loss/regularization': float(regularization),
                 'learning_rate': float(rate), 'steps_per_second': speed}
      self._summaries.write(step, scalars, batch)

  def _validate(self, validate, step):
    score = float(validate(self.model))
    print(f'step {step}: validation {score:.4f} (best {max(score, self._best):.4f})', flush=True)
    if self._summaries is not None:
      self._summaries.write(step, {'validation': score}, None)
    if score > self._best:
      self._best = score
      folder = pathlib.Path(self.options.train_logdir)
      self.export_weights(folder / 'best.h5', {'step': step, 'validation': score})
      temporary = folder / 'best.json.tmp'
      temporary.write_text(json.dumps({'step': step, 'score': score}))
      os.replace(temporary, folder / 'best.json')

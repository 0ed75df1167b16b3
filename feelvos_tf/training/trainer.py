"""The training loop: distribution, checkpoints, exact resume, logs, validation.

Samples, dropout's masks and the choice of reference pixels are functions of the step; with the
weights, the optimizer's slots and the step restored, a run that was killed goes on as if it had
not been.
"""

from collections.abc import Callable, Iterator
import hashlib
import os
import time
from typing import Any, TYPE_CHECKING

import numpy as np
import tensorflow as tf

from feelvos_tf.datasets.samples import batches as batches_lib
from feelvos_tf.datasets.samples.triplets import Triplets
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.deeplab import weights_file
from feelvos_tf.runtime import progress
from feelvos_tf.training import best_weights
from feelvos_tf.training import checkpoints
from feelvos_tf.training import dead_channels
from feelvos_tf.training import distributed_step
from feelvos_tf.training.options import TrainerOptions
from feelvos_tf.training.run_directory import CHECKPOINTS
from feelvos_tf.training.summaries import Summaries

if TYPE_CHECKING:
  import keras


# Reference frames of this many videos of the first batch are looked at for channels that have died.
_IMAGES_LOOKED_AT = 4


class Trainer:
  """Trains a `Feelvos` model on triplets."""

  def __init__(
    self,
    model: 'keras.Model',
    triplets: Triplets,
    options: TrainerOptions,
    strategy: tf.distribute.Strategy | None = None,
    num_input_shards: int = 1,
    input_shard: int = 0,
    input_threads: int = 2,
    summaries: Summaries | None = None,
  ) -> None:
    """Creates optimizer and checkpoint manager; nothing is read or written yet.

    Args:
      model: `Feelvos` (or `DeepLabV3Plus` for the loss 'softmax'), created under the strategy's
        scope.
      triplets: `feelvos_tf.datasets.samples.triplets.Triplets`.
      options: TrainerOptions.
      strategy: tf.distribute.Strategy; None is one device.
      num_input_shards: int, number of workers.
      input_shard: int, number of this worker; worker 0 writes checkpoints and prints.
      input_threads: int, samples made at the same time.
      summaries: optional `training.summaries.Summaries`.

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
      raise ValueError(
        f'train_batch_size is {options.batch_size}; expected a multiple of the {replicas} devices.'
      )
    self._take_step = distributed_step.DistributedStep(
      model, options, self._strategy, with_pictures=summaries is not None
    )
    self._checkpoints = checkpoints.Checkpoints(
      os.path.join(options.train_logdir, CHECKPOINTS), self._checkpoint(), options.max_to_keep
    )
    self._best = best_weights.BestWeights(options.train_logdir)
    self._dead_channels: dead_channels.DeadChannels | None = (
      None  # Looked at from the first batch on, until they have been told.
    )
    self._looks_at_channels = self.is_chief

  @property
  def step(self) -> int:
    """int, number of steps taken."""
    return int(self._take_step.step.numpy())

  @property
  def is_chief(self) -> bool:
    """Whether this process writes and prints."""
    return self._shards[1] == 0

  def resume(self) -> int | None:
    """Restores the checkpoint that the list names, or another that is whole, if there is one.

    Returns:
      Step of the checkpoint, or None.

    Raises:
      ValueError: the checkpoints are of another model or unreadable.
    """
    lines = self._best.read() if self.is_chief else []
    is_new = self._checkpoints.latest is None
    if is_new:
      self._best.start_anew()
    else:
      lines += self._checkpoints.restore(lambda: self.step)
    if is_new and self._best.score >= 0:
      lines.append(
        f'no checkpoint; best.h5 of an earlier start stays until a score is above {self._best.score:.4f}'
      )
    for line in lines:
      self._print(f'warning: {line}')
    return None if is_new else self.step

  def train(self, validate: Callable | None = None) -> int:
    """Runs steps until the last one; SIGINT ends it with a checkpoint.

    Args:
      validate: optional function of the model that returns a score; called every
        `validation_steps` steps, the weights of the best score are kept in `best.h5`.

    Returns:
      The last step taken.

    Raises:
      FloatingPointError: the loss or a gradient is not finite; the weights have not been touched
        by that step, and the last checkpoint stays.
      ValueError: the data cannot be read, or the memory does not suffice.
    """
    iterator = iter(self._dataset())
    self._logged = self._saved = (time.monotonic(), self.step)
    try:
      if validate is not None and self._owes_validation():
        self._validate(validate, self.step)
      while self.step < self.options.last_step:
        self._one_step(iterator, validate)
    except KeyboardInterrupt:
      self.save()
      self._print(
        f'interrupted at step {self.step}; a checkpoint was written, the same command goes on.'
      )
      return self.step
    self.save()
    return self.step

  def save(self) -> None:
    """Writes a checkpoint (once per step)."""
    if self.is_chief:
      self._checkpoints.save(self.step)
    self._saved = (time.monotonic(), self.step)

  def export_weights(
    self, path: str | os.PathLike, notes: dict[str, Any] | None = None, dtype: str = 'float32'
  ) -> None:
    """Writes the model's weights as `model.save_model` does."""
    metadata = {'options': self.model.options.to_dict(), 'notes': notes or {}}
    weights_file.save(path, self.model, metadata, dtype)

  def _one_step(self, iterator: Iterator[dict[str, tf.Tensor]], validate: Callable | None) -> None:
    """A step and whatever is due after it."""
    options = self.options
    batch = self._next(iterator)
    if self._looks_at_channels and self._dead_channels is None:
      self._dead_channels = dead_channels.DeadChannels(
        getattr(self.model, 'deeplab', self.model), batch['images'][:_IMAGES_LOOKED_AT, 0]
      )
    try:
      outcome = self._take_step(self._split(batch))
      self._check_finite(outcome)
    except tf.errors.ResourceExhaustedError as error:
      raise ValueError(
        f'the memory does not suffice for a step ({str(error).splitlines()[0][:150]}); lower '
        '--train_batch_size or --train_crop_size.'
      ) from error
    except tf.errors.UnimplementedError as error:
      lines = [line.strip() for line in str(error).splitlines()]
      reason = [line for line in lines if line and not line.startswith('[[')][-1][:150]
      raise ValueError(
        f'this device cannot compute a step in the chosen precision ({reason}); '
        'use --precision=bfloat16 or float32.'
      ) from error
    step = self.step
    if (options.log_steps and step % options.log_steps == 0) or step == options.last_step:
      self._log(outcome, batch)
    seconds = time.monotonic() - self._saved[0]
    if (options.save_interval_steps and step % options.save_interval_steps == 0) or (
      options.save_interval_secs and seconds >= options.save_interval_secs
    ):
      self.save()
      self._report_dead_channels()
    if validate is not None and options.validation_steps and step % options.validation_steps == 0:
      self._validate(validate, step)

  def _report_dead_channels(self) -> None:
    """Says once if layers have died since this process began."""
    if not self._looks_at_channels or self._dead_channels is None:
      return
    found = self._dead_channels.report()
    if found:
      self._print(f'warning: step {self.step}: {found}')
      self._looks_at_channels = False

  def _checkpoint(self) -> tf.train.Checkpoint:
    named = tf1_checkpoint.variables_by_name(self.model)
    return tf.train.Checkpoint(
      weights={name: variable.value for name, variable in named.items()},
      **self._take_step.checkpoint_items(),
    )

  def _dataset(self) -> tf.data.Dataset:
    options = self.options
    shards, shard = self._shards
    return batches_lib.make_dataset(
      self._triplets,
      options.batch_size // shards,
      start=self.step * options.batch_size,
      num_shards=shards,
      shard_index=shard,
      num_parallel_calls=self._input_threads,
    )

  def _next(self, iterator: Iterator[dict[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
    try:
      batch = next(iterator)
    except tf.errors.OpError as error:
      raise ValueError(batches_lib.error_message(error)) from error
    batch.pop('video', None)
    return batch

  def _split(self, batch: dict[str, tf.Tensor]) -> dict[str, Any]:
    """The batch as per-replica values."""
    replicas = self._strategy.num_replicas_in_sync // self._shards[0]
    if replicas <= 1:
      return batch
    size = self.options.batch_size // self._strategy.num_replicas_in_sync

    def part(context: tf.distribute.ValueContext) -> dict[str, Any]:
      begin = context.replica_id_in_sync_group % replicas * size
      return {key: value[begin : begin + size] for key, value in batch.items()}

    return self._strategy.experimental_distribute_values_from_function(part)

  def _check_finite(self, outcome: distributed_step.StepOutcome) -> None:
    losses, step = np.asarray(outcome.losses), self.step
    if np.all(np.isfinite(losses)) and (outcome.finite or self._take_step.may_overflow):
      return
    what = 'the loss' if not np.all(np.isfinite(losses)) else 'a gradient'
    raise FloatingPointError(
      f'{what} is not finite at step {step} (losses {losses.tolist()}); the last good checkpoint '
      f'is {self._checkpoints.latest or "none, no step was saved"}. Lower '
      '--base_learning_rate, start slower (--slow_start_step) or look at the data.'
    )

  def _print(self, text: str) -> None:
    if self.is_chief:
      print(text, flush=True)

  def _log(self, outcome: distributed_step.StepOutcome, batch: dict[str, tf.Tensor]) -> None:
    step, now = self.step, time.monotonic()
    speed = (step - self._logged[1]) / max(now - self._logged[0], 1e-9)
    self._logged = (now, step)
    left = (self.options.last_step - step) / max(speed, 1e-9)
    scalars = {
      'loss/cross_entropy': float(np.mean(np.asarray(outcome.losses))),
      'loss/regularization': float(outcome.regularization),
      'learning_rate': float(outcome.rate),
      'mean_iou': float(outcome.mean_iou),
      'steps_per_second': speed,
    }
    if self._take_step.loss_scale is not None:
      scalars['loss/scale'] = float(self._take_step.loss_scale.scale)
    self._print(
      f'step {step}/{self.options.last_step}: loss {scalars["loss/cross_entropy"]:.4f}, '
      f'L2 {scalars["loss/regularization"]:.4f}, IoU {scalars["mean_iou"]:.3f}, '
      f'rate {scalars["learning_rate"]:.3g}, {speed:.3g} steps/s, '
      f'{progress.duration(left)} left'
    )
    if self._summaries is not None:
      first = {key: value[0] for key, value in batch.items()}
      self._summaries.write(step, scalars, first, outcome.pictures)

  def _owes_validation(self) -> bool:
    """Whether the run ended in the validation of the step at which it goes on."""
    step, steps = self.step, self.options.validation_steps
    return step > 0 and steps > 0 and step % steps == 0 and self._best.validated < step

  def _validate(self, validate: Callable, step: int) -> None:
    if not self.is_chief:
      return
    identity = getattr(validate, 'identity', None)
    if identity is not None:
      told = f'{identity} {getattr(self.model, "options", None)}'
      identity = hashlib.sha256(told.encode()).hexdigest()[:16]
    if line := self._best.begin(identity):
      self._print(line)
    score = float(validate(self.model))
    print(
      f'step {step}: validation {score:.4f} (best {max(score, self._best.score):.4f})', flush=True
    )
    if self._summaries is not None:
      self._summaries.write(step, {'validation': score})
    self._best.add(step, score, identity, self.export_weights)

"""One training step on all devices of a strategy: gradients, loss scaling, update.

Source of the arithmetic: original `research/feelvos/train.py`; what a batch means is in
`training.step`.
"""

from collections.abc import Sequence
import functools
from typing import Any, cast, NamedTuple, TYPE_CHECKING

import tensorflow as tf

from feelvos_tf.training import loss_scale
from feelvos_tf.training import optimizer
from feelvos_tf.training import schedule
from feelvos_tf.training import step
from feelvos_tf.training.options import TrainerOptions

if TYPE_CHECKING:
  import keras


class StepOutcome(NamedTuple):
  """The outcome of one step over all devices.

  Attributes:
    losses: float32 [videos].
    regularization: float32 scalar.
    rate: float32 scalar, learning rate.
    finite: bool scalar, all gradients are finite; else the weights have not been touched.
    mean_iou: float32 scalar; 0 without object logits.
    pictures: dict of the first video's `logits`, `global_distance` and `local_distance`.
  """

  losses: tf.Tensor
  regularization: tf.Tensor
  rate: tf.Tensor
  finite: tf.Tensor
  mean_iou: tf.Tensor
  pictures: dict


class DistributedStep:
  """A compiled step and the variables that belong to it.

  Attributes:
    step: int64 variable, number of steps taken.
    optimizer: `optimizer.MomentumOptimizer` or `optimizer.Adam`.
    loss_scale: `loss_scale.LossScale` or None.
  """

  def __init__(
    self,
    model: 'keras.Model',
    options: TrainerOptions,
    strategy: tf.distribute.Strategy,
    with_pictures: bool = False,
  ) -> None:
    """Creates step counter, optimizer and slots; nothing is compiled yet.

    Args:
      model: `Feelvos`, or `DeepLabV3Plus` for the loss 'softmax'.
      options: `trainer.TrainerOptions`.
      strategy: tf.distribute.Strategy under whose scope the model was created.
      with_pictures: bool, let outcomes have `pictures`.
    """
    self._model = model
    self._options = options
    self._strategy = strategy
    self._with_pictures = with_pictures
    self._with_gradient: list[bool] = []
    self._variables = step.trained_variables(model)
    with strategy.scope():
      self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name='global_step')
      self.loss_scale = loss_scale.LossScale() if options.loss_scaling else None
      if options.optimizer == 'momentum':
        self.optimizer = optimizer.MomentumOptimizer(self._variables, options.optimizer_options)
      else:
        self.optimizer = optimizer.Adam(
          self._variables,
          options.optimizer_options,
          learning_rate=options.schedule.base_learning_rate,
          epsilon=1e-8,
        )
    self._seed_dropout_by_step()
    self._compiled = tf.function(self._on_all_devices)

  def __call__(self, batch: dict[str, Any]) -> StepOutcome:
    """Takes one step; `batch` is as for `training.step.video_results`, or per replica.

    Returns:
      StepOutcome.
    """
    return self._compiled(batch)

  @property
  def may_overflow(self) -> bool:
    """Whether gradients that are not finite only mean that the loss scale is too high."""
    return self.loss_scale is not None and bool(self.loss_scale.scale > loss_scale.MIN_SCALE)

  def checkpoint_items(self) -> dict[str, Any]:
    """{name: object} that a checkpoint holds next to the weights, for tf.train.Checkpoint."""
    optional = {} if self.loss_scale is None else {'loss_scale': self.loss_scale}
    return {'step': self.step, 'optimizer': self._optimizer_state(), **optional}

  def _optimizer_state(self) -> dict[str, Any]:
    if self._options.optimizer == 'momentum':
      return {'iterations': self.optimizer.iterations, 'slots': self.optimizer.slots}
    return {
      f'{i}_{variable.name}': variable.value for i, variable in enumerate(self.optimizer.variables)
    }

  def _seed_dropout_by_step(self) -> None:
    """Dropout's mask becomes a function of the step and the device instead of a hidden state."""

    def seed(number: int, ordered: bool = True) -> tf.Tensor:
      del ordered  # Of Keras's interface.
      replica = tf.distribute.get_replica_context().replica_id_in_sync_group
      return tf.stack(
        [
          tf.cast(self._options.loss.seed * 1024 + number, tf.int32),
          tf.cast(self.step, tf.int32) * self._strategy.num_replicas_in_sync
          + tf.cast(replica, tf.int32),
        ]
      )

    for number, layer in enumerate(_layers_with_seed(self._model)):
      layer.seed_generator.next = functools.partial(seed, number)

  def _on_all_devices(self, batch: dict[str, Any]) -> StepOutcome:
    """One step on all devices; the update is left out if some gradient is not finite."""
    strategy = self._strategy
    rate = schedule.learning_rate(self.step, self._options.schedule)
    losses, regularization, bad, iou, pictures, gradients = strategy.run(
      self._replica_gradients, args=(batch,)
    )
    if strategy.num_replicas_in_sync > 1:
      losses = strategy.gather(losses, axis=0)
      regularization = strategy.reduce('MEAN', regularization, axis=None)
      iou = strategy.reduce('MEAN', iou, axis=None)
      bad = strategy.reduce('SUM', bad, axis=None)
      pictures = {
        name: strategy.experimental_local_results(value)[0] for name, value in pictures.items()
      }
    finite = tf.equal(bad, 0)

    def update() -> bool:
      strategy.run(self._replica_update, args=(gradients, rate))
      return True

    tf.cond(finite, update, lambda: False)
    if self.loss_scale is not None:
      self.loss_scale.update(finite)
    self.step.assign_add(1)
    return StepOutcome(losses, regularization, rate, finite, iou, pictures)

  def _replica_gradients(self, batch: dict[str, Any]) -> tuple:
    """Losses and gradients of one device's videos."""
    options, replicas = self._options, self._strategy.num_replicas_in_sync
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    scale = 1.0 if self.loss_scale is None else self.loss_scale.scale.read_value()
    # Gradients of devices are added up; the regularization is on each of them.
    results, regularization, gradients = step.gradients(
      self._model,
      self._variables,
      batch,
      self.step,
      options.loss,
      scale / replicas if options.average_over_devices else scale,
      scale / replicas,
      first_video=tf.cast(replica, tf.int32) * (options.batch_size // replicas),
    )
    if self.loss_scale is not None:
      gradients = [None if g is None else g / scale for g in gradients]
    known = [g for g in gradients if g is not None]
    self._with_gradient = [g is not None for g in gradients]
    losses = tf.stack([result.loss for result in results])
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in (losses, *known)])
    iou, pictures = tf.constant(0.0), {}
    if results[0].maps is not None:
      iou = step.mean_iou(results, batch['labels'])
      if self._with_pictures:
        pictures = _pictures(results[0])
    return losses, regularization, tf.cast(~finite, tf.int32), iou, pictures, known

  def _replica_update(self, known: Sequence[tf.Tensor], rate: tf.Tensor) -> None:
    """Applies one device's gradients, together with those of the others."""
    known = list(known)
    gradients = [known.pop(0) if there else None for there in self._with_gradient]
    if self._options.optimizer == 'momentum':
      self.optimizer.apply(gradients, rate)
      return
    replicas = self._strategy.num_replicas_in_sync
    there = [index for index, gradient in enumerate(gradients) if gradient is not None]
    values = [gradients[index] for index in there]
    if replicas > 1:
      values = tf.distribute.get_replica_context().all_reduce('SUM', values)
    norm = self._options.optimizer_options.clip_gradient_norm
    # Keras adds the devices up once more.
    values = [optimizer.clip_by_own_norm(value, norm) / replicas for value in values]
    self.optimizer.learning_rate.assign(rate)
    variables = list(self._variables.values())
    self.optimizer.apply_gradients(
      [(value, variables[index]) for index, value in zip(there, values)]
    )


def _layers_with_seed(layer: 'keras.Layer') -> 'list[keras.Layer]':
  """Layers with a random state (dropout), at any depth, in the order of creation."""
  children = getattr(layer, 'layers', ())
  found = [] if getattr(layer, 'seed_generator', None) is None else [layer]
  return found + [inner for child in children for inner in _layers_with_seed(child)]


def _pictures(result: step.VideoResult) -> dict[str, tf.Tensor]:
  """What summaries show of one video: dict of float32 [objects, h4, w4]."""
  pictures = {'logits': tf.transpose(cast(tf.Tensor, result.logits)[-1], [2, 0, 1])}
  for name in ('global_distance', 'local_distance'):
    value = getattr(result.maps, name)
    if value is not None:
      pictures[name] = value
  return pictures

"""Momentum SGD exactly as the original applies it.

Order of the original `research/feelvos/train.py`: gradients of biases are doubled (and those of
last layers multiplied), then every variable's gradient is clipped by its own norm, then
v = 0.9 v + g and w -= rate * v, with the rate of the step before it is incremented. Keras's SGD
keeps `rate * g` in its slot instead, which differs as soon as the rate changes.

  >>> weight = tf.Variable([1.0])
  >>> optimizer = MomentumOptimizer([('head/biases', weight)])
  >>> optimizer.apply([tf.constant([1.0])], learning_rate=0.1)
  >>> weight.numpy(), int(optimizer.iterations)   # the gradient of a bias counts twice
  (array([0.8], dtype=float32), 1)
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.training.options import OptimizerOptions

_BIAS_MULTIPLIER = 2.0


def gradient_multiplier(name: str, options: OptimizerOptions = OptimizerOptions()) -> float:
  """Factor on the gradient of a variable, applied before clipping.

  Args:
    name: str, name in a TF1 checkpoint. As in `get_model_gradient_multipliers`, a name counts as
      last layer if one of `last_layers` occurs anywhere in it, and as bias if 'biases' does.
    options: OptimizerOptions.

  Returns:
    float: 1, 2 for biases, times the multiplier for last layers.
  """
  factor = _BIAS_MULTIPLIER if 'biases' in name else 1.0
  if any(layer in name for layer in options.last_layers):
    factor *= options.last_layer_gradient_multiplier
  return factor


def rate_multiplier(name: str, options: OptimizerOptions = OptimizerOptions()) -> float:
  """Factor on the learning rate of a variable, float; `name` as for `gradient_multiplier`."""
  return options.backbone_rate_multiplier if tf1_checkpoint.in_backbone(name) else 1.0


def clip_by_own_norm(gradient: tf.Tensor, norm: float) -> tf.Tensor:
  """Scales a gradient so that its own norm is at most `norm`.

  Args:
    gradient: float tensor of any shape.
    norm: float; 0 does not clip.

  Returns:
    Tensor of the same shape and dtype.
  """
  return tf.clip_by_norm(gradient, norm) if norm else gradient


class MomentumOptimizer(tf.Module):
  """Momentum SGD over a fixed list of named variables.

  Works eagerly, inside `tf.function` and in the replica context of a `tf.distribute.Strategy`
  (create it under the strategy's scope). There, gradients of the replicas are added up, so the
  caller divides each replica's loss by the number of replicas, as the original does for its
  clones. `iterations` and `slots` are tracked, so `tf.train.Checkpoint(optimizer=optimizer)`
  is all that an exact resume needs.
  """

  def __init__(
    self,
    named_variables: Mapping[str, tf.Variable] | Iterable[tuple[str, tf.Variable]],
    options: OptimizerOptions = OptimizerOptions(),
  ) -> None:
    """Creates the slots.

    Args:
      named_variables: iterable of (TF1 checkpoint name, variable), or a dict of them. Keras
        variables are fine. The names decide the gradient multipliers.
      options: OptimizerOptions.

    Raises:
      ValueError: if there is no variable, or a name occurs twice.
    """
    super().__init__(name='momentum_optimizer')
    if isinstance(named_variables, Mapping):
      named_variables = named_variables.items()
    pairs = [(name, _tf_variable(variable)) for name, variable in named_variables]
    names = [name for name, _ in pairs]
    if not pairs:
      raise ValueError('the optimizer was given no variable; is everything frozen?')
    if len(set(names)) < len(names):
      twice = sorted({name for name in names if names.count(name) > 1})
      raise ValueError(f'variable names given twice: {", ".join(twice[:5])}; they must be unique')
    self.options = options
    self.names = tuple(names)
    self._targets = [variable for _, variable in pairs]
    self._multipliers = [gradient_multiplier(name, options) for name in names]
    self._rate_multipliers = [rate_multiplier(name, options) for name in names]
    self.iterations = tf.Variable(
      0,
      trainable=False,
      dtype=tf.int64,
      name='iterations',
      aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
    # By name, so that a checkpoint does not depend on the order of the variables.
    self.slots = {
      name: tf.Variable(
        tf.zeros(variable.shape, variable.dtype), trainable=False, name=f'momentum_{index}'
      )
      for index, (name, variable) in enumerate(pairs)
    }

  @property
  def targets(self) -> list[tf.Variable]:
    """The trained tf.Variables, in the order in which `apply` expects gradients."""
    return list(self._targets)

  def process(self, gradients: Sequence[tf.Tensor | None]) -> list[tf.Tensor | None]:
    """Gradients as the update takes them: multiplied, then clipped one by one.

    Args:
      gradients: one float tensor in the variable's shape, or None, per variable, in the order of
        `targets`.

    Returns:
      List of the same length, in the variables' dtypes; None stays None.

    Raises:
      ValueError: if the number of gradients is wrong, or all are None.
    """
    gradients = list(gradients)
    if len(gradients) != len(self._targets):
      raise ValueError(
        f'{len(gradients)} gradients for {len(self._targets)} variables; '
        'give one, or None, for each of `targets`'
      )
    if all(gradient is None for gradient in gradients):
      raise ValueError('every gradient is None: the loss does not depend on any trained variable')
    return [
      gradient if gradient is None else self._processed(gradient, *rest)
      for gradient, *rest in zip(gradients, self._multipliers, self._targets)
    ]

  def _processed(self, gradient: tf.Tensor, multiplier: float, variable: tf.Variable) -> tf.Tensor:
    gradient = tf.cast(tf.convert_to_tensor(gradient), variable.dtype)
    if multiplier != 1.0:
      gradient *= multiplier
    return clip_by_own_norm(gradient, self.options.clip_gradient_norm)

  def apply(self, gradients: Sequence[tf.Tensor | None], learning_rate: float | tf.Tensor) -> None:
    """One update of all variables and slots; then `iterations` grows by one.

    Args:
      gradients: one float tensor in the variable's shape, or None, per variable, in the order of
        `targets`. A variable whose gradient is None keeps its value and its slot.
      learning_rate: float scalar; `schedule.learning_rate(optimizer.iterations)` gives the rate
        of the step before the increment, as the original uses it.

    Raises:
      ValueError: see `process`.
    """
    replica = tf.distribute.get_replica_context()
    gradients = list(gradients)
    if replica is None:
      raise ValueError('call `apply` in a replica context: inside strategy.run, not around it')
    if replica.num_replicas_in_sync > 1:
      known = [index for index, gradient in enumerate(gradients) if gradient is not None]
      summed = replica.all_reduce(tf.distribute.ReduceOp.SUM, [gradients[index] for index in known])
      for index, gradient in zip(known, summed):
        gradients[index] = gradient
    gradients = self.process(gradients)
    rate = tf.cast(learning_rate, tf.float32)
    replica.merge_call(self._update, args=(gradients, rate))

  def _update(
    self, strategy: tf.distribute.Strategy, gradients: Sequence[tf.Tensor | None], rate: tf.Tensor
  ) -> None:
    """Cross-replica part of `apply`."""
    for name, variable, multiplier, gradient in zip(
      self.names, self._targets, self._rate_multipliers, gradients
    ):
      if gradient is not None:
        strategy.extended.update(
          variable,
          self._update_one,
          args=(self.slots[name], gradient, rate, multiplier),
          group=False,
        )
    self.iterations.assign_add(1)

  def _update_one(
    self,
    variable: tf.Variable,
    slot: tf.Variable,
    gradient: tf.Tensor,
    rate: tf.Tensor,
    multiplier: float,
  ) -> None:
    # The op that TF1's MomentumOptimizer runs: in place, one pass over the memory.
    tf.raw_ops.ResourceApplyMomentum(
      var=variable.handle,
      accum=slot.handle,
      lr=tf.cast(rate * multiplier, variable.dtype),
      grad=gradient,
      momentum=tf.constant(self.options.momentum, variable.dtype),
      use_locking=True,
    )


class Adam(keras.optimizers.Adam):
  """Keras's Adam with a learning rate of its own for the backbone."""

  def __init__(
    self,
    named_variables: Mapping[str, keras.Variable],
    options: OptimizerOptions = OptimizerOptions(),
    **kwargs: Any,
  ) -> None:
    """Creates the slots.

    Args:
      named_variables: dict of TF1 checkpoint name to Keras variable.
      options: OptimizerOptions, of which `backbone_rate_multiplier` is used.
      **kwargs: of keras.optimizers.Adam.
    """
    super().__init__(**kwargs)
    self._rate_multipliers = [rate_multiplier(name, options) for name in named_variables]
    self.build(list(named_variables.values()))

  def update_step(
    self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
  ) -> None:
    multiplier = self._rate_multipliers[self._get_variable_index(variable)]
    super().update_step(gradient, variable, learning_rate * multiplier)


def _tf_variable(variable: keras.Variable | tf.Variable) -> tf.Variable:
  """The tf.Variable behind a Keras variable, or the variable itself."""
  inner = getattr(variable, 'value', None)
  return variable if inner is None or callable(inner) else inner

"""Dynamic loss scaling for float16, whose gradients would otherwise vanish below 6e-8.

The loss is multiplied by the scale and the gradients are divided by it. A step with gradients
that are not finite is left out and halves the scale; many good steps in a row double it.
Source: Micikevicius et al., Mixed Precision Training (arXiv 1710.03740), section 3.2.
"""

import tensorflow as tf

INITIAL_SCALE = 2.0**15
# Good steps after which the scale is doubled.
GROWTH_STEPS = 2000
# Gradients that overflow without any scaling are no matter of precision.
MIN_SCALE = 1.0


class LossScale(tf.Module):
  """The scale and how many good steps it has seen; both belong into checkpoints."""

  def __init__(self, growth_steps: int = GROWTH_STEPS) -> None:
    super().__init__(name='loss_scale')
    self.growth_steps = growth_steps
    self.scale = _variable(INITIAL_SCALE, tf.float32, 'scale')
    self.good_steps = _variable(0, tf.int64, 'good_steps')

  def update(self, finite: tf.Tensor) -> None:
    """Tells what became of a step; call it outside of replicas.

    Args:
      finite: bool scalar, whether all gradients were finite.
    """
    grows = self.good_steps + 1 >= self.growth_steps
    after_good = tf.where(grows, self.scale * 2.0, self.scale)
    self.scale.assign(tf.where(finite, after_good, tf.maximum(self.scale / 2.0, MIN_SCALE)))
    self.good_steps.assign(tf.where(finite & ~grows, self.good_steps + 1, 0))


def _variable(value: float, dtype: tf.DType, name: str) -> tf.Variable:
  return tf.Variable(
    value,
    dtype=dtype,
    trainable=False,
    name=name,
    aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
  )

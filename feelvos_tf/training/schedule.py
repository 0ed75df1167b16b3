"""Learning rates of the original: poly, step and cosine decay, with a slow start.

The rate is a pure function of the step, so a resumed run needs no state for it. Facts:
`research/deeplab/utils/train_utils.py`, `get_model_learning_rate`.
"""

import math

import tensorflow as tf

from feelvos_tf.training.options import ScheduleOptions


def _decayed(options: ScheduleOptions, step: tf.Tensor) -> tf.Tensor:
  """Rate of `step` (float32 scalar, counted from the end of the slow start)."""
  base = tf.constant(options.base_learning_rate, tf.float32)
  length = float(options.training_number_of_steps - options.slow_start_step)
  if options.learning_policy == 'step':
    exponent = tf.floor(step / float(options.learning_rate_decay_step))
    return base * tf.pow(tf.constant(options.learning_rate_decay_factor, tf.float32), exponent)
  progress = tf.minimum(step, length) / length
  if options.learning_policy == 'cosine':
    return base * 0.5 * (1.0 + tf.cos(math.pi * progress))
  end = options.end_learning_rate
  return (base - end) * tf.pow(1.0 - progress, options.learning_power) + end


def learning_rate(
  step: int | tf.Tensor | tf.Variable, options: ScheduleOptions = ScheduleOptions()
) -> tf.Tensor:
  """The learning rate of one training step.

  Args:
    step: integer scalar (Python int, tensor or variable), 0 for the first step. The original
      uses the step before it is incremented: the first update uses the rate of step 0.
    options: ScheduleOptions.

  Returns:
    float32 scalar tensor, 0 or more. After `training_number_of_steps` it keeps the end rate.
  """
  step = tf.cast(tf.convert_to_tensor(step), tf.float32)
  rate = _decayed(options, tf.maximum(step - float(options.slow_start_step), 0.0))
  if not options.slow_start_step:
    return rate
  slow = tf.constant(options.slow_start_learning_rate, tf.float32)
  if options.slow_start_burnin_type == 'linear':
    slow += (options.base_learning_rate - slow) * step / float(options.slow_start_step)
  return tf.where(step < float(options.slow_start_step), slow, rate)

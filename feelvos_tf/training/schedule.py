"""Learning rates of the original: poly, step and cosine decay, with a slow start.

The rate is a pure function of the step, so a resumed run needs no state for it. Facts:
`research/deeplab/utils/train_utils.py`, `get_model_learning_rate`.
"""

import dataclasses
import math

import tensorflow as tf

POLICIES = ('poly', 'step', 'cosine')
SLOW_START_KINDS = ('none', 'linear')


@dataclasses.dataclass(frozen=True)
class ScheduleOptions:
  """How the learning rate falls; the defaults are those of the original `train.py`.

  Raises:
    ValueError: if a field is out of its range.
  """

  # One of POLICIES.
  learning_policy: str = 'poly'
  # Rate at the first step after the slow start.
  base_learning_rate: float = 0.0007
  # Step policy: the rate is multiplied by the factor every N steps, N given below.
  learning_rate_decay_factor: float = 0.1
  learning_rate_decay_step: int = 2000
  # Poly and cosine policy: the step at which the end rate is reached, slow start included.
  training_number_of_steps: int = 200000
  # Poly policy: exponent, and the rate that is left at the end.
  learning_power: float = 0.9
  end_learning_rate: float = 0.0
  # Steps at the beginning that use a rate of their own.
  slow_start_step: int = 0
  slow_start_learning_rate: float = 1e-4
  # 'none' keeps the slow start rate constant; 'linear' climbs from it to the base rate.
  slow_start_burnin_type: str = 'none'

  def __post_init__(self):
    _check_choice('learning_policy', self.learning_policy, POLICIES)
    _check_choice('slow_start_burnin_type', self.slow_start_burnin_type, SLOW_START_KINDS)
    for field in (
      'base_learning_rate',
      'learning_rate_decay_factor',
      'end_learning_rate',
      'learning_power',
      'slow_start_learning_rate',
      'slow_start_step',
    ):
      value = getattr(self, field)
      if value < 0 or not math.isfinite(value):
        raise ValueError(f'{field} is {value}; it must be 0 or more and finite')
    if self.learning_rate_decay_step < 1:
      raise ValueError(
        f'learning_rate_decay_step is {self.learning_rate_decay_step}; it must be at least 1'
      )
    if self.training_number_of_steps <= self.slow_start_step:
      raise ValueError(
        f'training_number_of_steps is {self.training_number_of_steps} and slow_start_step is '
        f'{self.slow_start_step}; train longer or shorten the slow start'
      )


def _check_choice(name, value, choices):
  if value not in choices:
    raise ValueError(f'{name} is {value!r}; choose one of {", ".join(choices)}')


def _decayed(options, step):
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


def learning_rate(step, options=ScheduleOptions()):
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

"""Learning rates against those of the original, and their edges."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.training.options import ScheduleOptions
from feelvos_tf.training.schedule import learning_rate

GOLDEN = {
  'poly': ScheduleOptions(),
  'poly_slow1000': ScheduleOptions(slow_start_step=1000),
  'step': ScheduleOptions(learning_policy='step'),
}


@pytest.mark.parametrize('name', GOLDEN)
def test_golden_rates(golden, name):
  data = golden.npz('tf1/misc')
  rates = [float(learning_rate(int(step), GOLDEN[name])) for step in data['lr|steps']]
  np.testing.assert_allclose(rates, data[f'lr|{name}'], rtol=1e-5, atol=1e-38)


def test_rates_of_the_golden_training_steps(golden):
  data = golden.npz('tf1/train_xception_65_os16')
  rates = [float(learning_rate(int(step))) for step in data['loss|steps']]
  np.testing.assert_allclose(rates, data['loss|lr'], rtol=1e-5)


def test_the_step_may_be_a_variable_inside_a_function():
  step = tf.Variable(50000, dtype=tf.int64)
  inside = tf.function(lambda: learning_rate(step))()
  assert float(inside) == float(learning_rate(50000))


def test_linear_slow_start_meets_the_base_rate():
  options = ScheduleOptions(slow_start_step=10, slow_start_burnin_type='linear')
  rates = [float(learning_rate(step, options)) for step in (0, 5, 10)]
  np.testing.assert_allclose(rates, [1e-4, 4e-4, 7e-4], rtol=1e-6)


def test_cosine_starts_at_the_base_rate_and_ends_at_zero():
  options = ScheduleOptions(learning_policy='cosine', training_number_of_steps=100)
  rates = [float(learning_rate(step, options)) for step in (0, 50, 100, 1000)]
  np.testing.assert_allclose(rates, [7e-4, 3.5e-4, 0, 0], atol=1e-10)


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'learning_policy': 'linear'}, "learning_policy is 'linear'; expected one of poly, step"),
    ({'base_learning_rate': -1.0}, 'base_learning_rate is -1.0; it must be 0 or more'),
    ({'base_learning_rate': float('nan')}, 'base_learning_rate is nan'),
    ({'learning_rate_decay_step': 0}, 'learning_rate_decay_step is 0'),
    ({'slow_start_step': 200000}, 'train longer or shorten the slow start'),
  ],
)
def test_bad_options_are_refused(fields, message):
  with pytest.raises(ValueError, match=message.replace('(', r'\(')):
    ScheduleOptions(**fields)

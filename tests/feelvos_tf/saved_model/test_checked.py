"""A value behind a check: there when it holds, else an error that shows what was given."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.saved_model.checked import checked
from feelvos_tf.saved_model.checked import checked_all


@tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
def behind_one(values):
  pair = checked((values, values[:1]), tf.size(values) < 3, 'too many values, given:', values)
  return pair[0] + pair[1]


@tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
def behind_two(value):
  return checked_all(value, (value > 0, 'not above 0:', value), (value < 9, 'not below 9:', value))


def test_a_value_comes_through():
  np.testing.assert_array_equal(behind_one(tf.constant([1, 2])), [2, 3])
  assert behind_two(tf.constant(5)) == 5


def test_an_error_shows_what_was_given():
  with pytest.raises(tf.errors.InvalidArgumentError, match=r'too many values, given:.*\[7 8 9\]'):
    behind_one(tf.constant([7, 8, 9]))


@pytest.mark.parametrize(
  ('value', 'message'), [(0, r'not above 0:.*\[0\]'), (12, r'not below 9:.*\[12\]')]
)
def test_each_of_several_checks_counts(value, message):
  with pytest.raises(tf.errors.InvalidArgumentError, match=message):
    behind_two(tf.constant(value))


def test_what_follows_waits():
  """The division by zero behind the check is not reached."""

  @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
  def divided(value):
    return 8 // checked(value, value != 0, 'give a number')

  with pytest.raises(tf.errors.InvalidArgumentError, match='give a number'):
    divided(tf.constant(0))

"""A check inside a graph, tied to the value that may not be had without it."""

from typing import Any

import tensorflow as tf


def checked(value: Any, condition: tf.Tensor, *message: str | tf.Tensor) -> Any:
  """A value behind a condition: whatever is computed from it waits for the check.

  Args:
    value: tensor or structure of tensors.
    condition: bool scalar.
    *message: what the error says: texts, and tensors whose values are shown.

  Returns:
    The value.

  Raises:
    tf.errors.InvalidArgumentError: when the graph runs and the condition does not hold.
  """
  return checked_all(value, (condition, *message))


def checked_all(value: Any, *checks: tuple) -> Any:
  """`checked` with several checks, each a tuple (condition, *message); none waits for another."""
  asserted = [tf.debugging.Assert(condition, list(message)) for condition, *message in checks]
  with tf.control_dependencies(asserted):
    return tf.nest.map_structure(tf.identity, value)

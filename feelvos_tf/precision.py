"""Precision of a model's arithmetic, as Keras policies."""

POLICIES = {'float32': 'float32', 'bfloat16': 'mixed_bfloat16', 'float16': 'mixed_float16'}


def with_precision(precision, make_model):
  """Calls `make_model()` under the Keras policy of a precision; returns its result.

  Weights, distance maps and logits stay float32 under every policy; the network and the head
  compute in half precision. Matching takes float32 factors, at inference of a bfloat16 model
  bfloat16 ones (`Feelvos.matching_dtype`); products are added up in float32.

  Args:
    precision: key of POLICIES.
    make_model: function without arguments that builds a model.

  Returns:
    What `make_model` returns.
  """
  import keras  # Mains check flags before they import TensorFlow.

  before = keras.config.dtype_policy()
  keras.config.set_dtype_policy(POLICIES[precision])
  try:
    return make_model()
  finally:
    keras.config.set_dtype_policy(before)

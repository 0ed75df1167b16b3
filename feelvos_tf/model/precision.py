"""Precision of a model's arithmetic, as Keras policies."""

import os
import pathlib

POLICIES = {'float32': 'float32', 'bfloat16': 'mixed_bfloat16', 'float16': 'mixed_float16'}
AUTO = 'auto'  # See `resolve`.

_CPU_INFO = '/proc/cpuinfo'
_BFLOAT16_CPU_FLAGS = {'avx512_bf16', 'amx_bf16'}
_BFLOAT16_COMPUTE_CAPABILITY = (8, 0)


def resolve(precision):
  """Key of POLICIES for a key of POLICIES or AUTO.

  AUTO is bfloat16 on CPUs with AVX512-BF16 or AMX, as far as Linux tells, and on GPUs of compute
  capability 8.0 on; float32 elsewhere, where bfloat16 is slower. It does not depend on a
  measurement, so that a machine always gives the same masks.
  """
  if precision != AUTO:
    return precision
  import tensorflow as tf

  gpus = tf.config.list_physical_devices('GPU')
  if gpus:
    fast = all(
      tf.config.experimental.get_device_details(gpu).get('compute_capability', (0, 0))
      >= _BFLOAT16_COMPUTE_CAPABILITY
      for gpu in gpus
    )
  else:
    # Only oneDNN uses these instructions.
    fast = os.environ.get('TF_ENABLE_ONEDNN_OPTS') != '0' and not _BFLOAT16_CPU_FLAGS.isdisjoint(
      cpu_info('flags').split()
    )
  return 'bfloat16' if fast else 'float32'


def cpu_info(name):
  """A field of the first CPU in /proc/cpuinfo, as 'flags': str, '' where Linux tells none."""
  try:
    lines = pathlib.Path(_CPU_INFO).read_text(encoding='utf-8').splitlines()
  except OSError:
    return ''
  fields = (line.partition(':') for line in lines)
  return next((value.strip() for key, _, value in fields if key.strip() == name), '')


def with_precision(precision, make_model):
  """Calls `make_model()` under the Keras policy of a precision; returns its result.

  Weights, distance maps and logits stay float32 under every policy; the network and the head
  compute in half precision. Matching takes float32 factors, at inference of a bfloat16 model
  bfloat16 ones (`Feelvos.matching_dtype`); products are added up in float32.

  Args:
    precision: key of POLICIES, or AUTO.
    make_model: function without arguments that builds a model.

  Returns:
    What `make_model` returns.
  """
  import keras  # Mains check flags before they import TensorFlow.

  before = keras.config.dtype_policy()
  keras.config.set_dtype_policy(POLICIES[resolve(precision)])
  try:
    return make_model()
  finally:
    keras.config.set_dtype_policy(before)

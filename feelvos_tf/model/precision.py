"""Precision of a model's arithmetic, as Keras policies."""

from collections.abc import Callable, Sequence
import math
import os
import pathlib
from typing import NamedTuple, TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
  import tensorflow as tf


POLICIES = {'float32': 'float32', 'bfloat16': 'mixed_bfloat16', 'float16': 'mixed_float16'}
AUTO = 'auto'  # See `choose`.

Model = TypeVar('Model')

_CPU_INFO = '/proc/cpuinfo'
# Compute capabilities from which on NVIDIA's GPUs have fast products in a type.
_GPU_TYPES = (((8, 0), 'bfloat16'), ((7, 0), 'float16'))


class Choice(NamedTuple):
  """A precision and why it was chosen.

  Attributes:
    name: key of POLICIES.
    reason: str, '' if it was not chosen but asked for.
  """

  name: str
  reason: str = ''

  @property
  def line(self) -> str:
    """On what device and in what precision a model computes, and why, for the user."""
    line = f'Computes in {self.name} on {device_name()}'
    return f'{line}: {self.reason} (--precision changes it).' if self.reason else f'{line}.'


def wanted(precision: str | None, of_project: bool) -> str:
  """Key of POLICIES or AUTO that a flag stands for.

  Args:
    precision: the flag, None if it was not given: AUTO for the model that comes with the
      project, float32 for others, as in the original.
    of_project: bool, whether the model is that one.
  """
  return precision or (AUTO if of_project else 'float32')


def choose(precision: str) -> Choice:
  """The precision that a key of POLICIES or AUTO stands for on this machine.

  AUTO on GPUs: bfloat16 from compute capability 8.0 on, float16 from 7.0 on, else float32. On
  CPUs: what is faster in the trial of `precision_trial`, made once per machine and kept.

  Args:
    precision: key of POLICIES, or AUTO.

  Raises:
    ValueError: it is neither.
  """
  if precision not in (*POLICIES, AUTO):
    raise ValueError(f'precision is {precision!r}; expected {", ".join(POLICIES)} or {AUTO}.')
  if precision != AUTO:
    return Choice(precision)
  import tensorflow as tf

  gpus = tf.config.list_physical_devices('GPU')
  if gpus:
    return _choose_for_gpus(gpus)
  from feelvos_tf.model import precision_trial  # Imports TensorFlow.

  trial = precision_trial.trial()
  exact, fast = (trial.total(name) for name in precision_trial.CANDIDATES)
  if trial.fastest == 'float32':
    if fast < exact:
      return Choice('float32', 'bfloat16 is no faster')
    return Choice('float32', f'bfloat16 takes {_times(fast, exact)} as long')
  return Choice(trial.fastest, f'it is {_times(exact, fast)} as fast as float32')


def _choose_for_gpus(gpus: 'Sequence[tf.config.PhysicalDevice]') -> Choice:
  import tensorflow as tf

  least = min(
    tf.config.experimental.get_device_details(gpu).get('compute_capability', (0, 0)) for gpu in gpus
  )
  name = next((name for capability, name in _GPU_TYPES if least >= capability), 'float32')
  return Choice(name, f'the GPU has compute capability {least[0]}.{least[1]}')


def _times(more: float, less: float) -> str:
  # An operation that this machine cannot compute takes forever.
  return f'{more / less:.1f} times' if math.isfinite(more) else 'many times'


def name_of(policy: str) -> str:
  """Key of POLICIES of a Keras policy's name."""
  return next(name for name, value in POLICIES.items() if value == policy)


def resolve(precision: str) -> str:
  """Key of POLICIES for a key of POLICIES or AUTO, see `choose`."""
  return choose(precision).name


def device_name() -> str:
  """The devices TensorFlow computes on: names of GPUs, or the CPU's with its usable cores."""
  import tensorflow as tf

  gpus = [
    tf.config.experimental.get_device_details(gpu).get('device_name', 'GPU')
    for gpu in tf.config.list_physical_devices('GPU')
  ]
  if gpus:
    return ', '.join(gpus)
  cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
  return f'{cpu_info("model name") or "CPU"} ({cores} {"core" if cores == 1 else "cores"})'


def cpu_info(name: str) -> str:
  """A field of the first CPU in /proc/cpuinfo, as 'flags': str, '' where Linux names none."""
  try:
    lines = pathlib.Path(_CPU_INFO).read_text(encoding='utf-8').splitlines()
  except OSError:
    return ''
  fields = (line.partition(':') for line in lines)
  return next((value.strip() for key, _, value in fields if key.strip() == name), '')


def with_precision(precision: str, make_model: Callable[[], Model]) -> Model:
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

"""Which precision computes the model fastest on this machine: a trial, made once and kept.

CPU flags do not answer that: a processor that names AVX512-BF16 but not AMX needed three times as
long for the head in bfloat16 as in float32 behind one hypervisor, and half as long on another
machine. So a few of the model's own operations are timed in both, and the result is kept in the
user's cache folder.

One precision is chosen for the whole network, because all parts agreed wherever they were timed
(docs/notes/speed.md).
"""

from collections.abc import Callable
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import platform
import time
from typing import Any, TYPE_CHECKING

from feelvos_tf.deeplab.depthwise import depthwise_conv2d
from feelvos_tf.files import whole_file
from feelvos_tf.model import precision

if TYPE_CHECKING:
  import numpy as np
  import tensorflow as tf


CANDIDATES = ('float32', 'bfloat16')  # The first one is taken where they are about equally fast.
# bfloat16 has to save this share of float32's time.
LEAST_GAIN = 0.04
# Environment variables that decide which instructions oneDNN uses, and how many threads.
_SETTINGS = (
  'TF_ENABLE_ONEDNN_OPTS',
  'ONEDNN_MAX_CPU_ISA',
  'DNNL_MAX_CPU_ISA',
  'ONEDNN_DEFAULT_FPMATH_MODE',
  'OMP_NUM_THREADS',
  'TF_NUM_INTRAOP_THREADS',
)
_FORMAT = 1  # Of the file and of the operations timed; a change makes older trials void.

_ROUNDS = 7
_SLOW_MILLISECONDS = 100.0  # An operation that takes longer is not repeated: it has lost.

# How often each operation runs in a frame of 480x854 pixels with one object, counted by its
# floating point operations; `_operations` says what they are.
PARTS = {'matching': 25, 'head': 56, 'decoder': 16, 'backbone': 7}


@dataclasses.dataclass(frozen=True)
class Trial:
  """Milliseconds that the model's operations take in each precision on this machine.

  They are weighted as in one frame of 480x854 pixels with one object.

  Attributes:
    milliseconds: {precision: {part: float}}, with the parts of PARTS.
  """

  milliseconds: dict[str, dict[str, float]]

  @property
  def fastest(self) -> str:
    """The precision to compute in, one of CANDIDATES."""
    exact, fast = (self.total(name) for name in CANDIDATES)
    return CANDIDATES[1] if fast < (1 - LEAST_GAIN) * exact else CANDIDATES[0]

  def total(self, precision: str) -> float:
    """Milliseconds of all parts in a precision."""
    return sum(self.milliseconds[precision].values())


def trial() -> Trial:
  """The trial of this machine: the one kept, or a new one, which takes a second or two.

  A file that is damaged, unreadable or of another machine counts as none. Where the cache folder
  cannot be written to, every process makes its own trial.
  """
  about = _about()
  path = _cache_path(about)
  kept = _read(path, about) if path else None
  if kept is None:
    kept = measure()
    if path:
      _write(path, about, kept)
  return kept


def measure(rounds: int = _ROUNDS) -> Trial:
  """Times the operations, in both precisions one after the other.

  Takes the least of some rounds: other processes only ever make an operation slower.

  Args:
    rounds: number of times that each operation is timed, after one that does not count.
  """
  operations = {name: _operations(name) for name in CANDIDATES}
  least = {name: dict.fromkeys(PARTS, math.inf) for name in CANDIDATES}
  lost = set()
  for number in range(rounds + 1):
    for part in PARTS:
      for name in CANDIDATES:
        if (name, part) in lost:
          continue
        taken = _milliseconds(operations[name][part])
        if number or taken > _SLOW_MILLISECONDS:
          least[name][part] = min(least[name][part], taken)
        if number and taken > _SLOW_MILLISECONDS:
          lost.add((name, part))
  return Trial(
    {name: {part: PARTS[part] * taken for part, taken in least[name].items()} for name in least}
  )


def _milliseconds(operation: Callable[[], Any]) -> float:
  """Time of a call, infinity if this machine cannot compute it."""
  import tensorflow as tf

  start = time.perf_counter()
  try:
    operation()
  except tf.errors.OpError:
    return math.inf
  return 1e3 * (time.perf_counter() - start)


def _operations(dtype: str) -> 'dict[str, Callable[[], np.ndarray]]':
  """{part: call without arguments}, an operation of each of PARTS in a precision."""
  return {
    'matching': _compiled(_best_matches, dtype, [2048, 112], [2048, 112]),
    'head': _compiled(_separable, dtype, [1, 30, 107, 256], [7, 7, 256, 1], [1, 1, 256, 256]),
    'decoder': _compiled(_separable, dtype, [1, 30, 107, 304], [3, 3, 304, 1], [1, 1, 304, 256]),
    'backbone': _compiled(
      _inverted_residual, dtype, [1, 60, 107, 64], [1, 1, 64, 384], [3, 3, 384, 1], [1, 1, 384, 64]
    ),
  }


def _compiled(function: Callable, dtype: str, *shapes: list[int]) -> 'Callable[[], np.ndarray]':
  """A call of `function` with random tensors of some shapes, as a graph function."""
  import tensorflow as tf

  tensors = [
    tf.cast(tf.random.stateless_uniform(shape, [0, index]) / shape[-1], dtype)
    for index, shape in enumerate(shapes)
  ]
  graph = tf.function(function, autograph=False).get_concrete_function(*tensors)
  return lambda: graph(*tensors).numpy()


def _best_matches(queries: 'tf.Tensor', references: 'tf.Tensor') -> 'tf.Tensor':
  """Global matching's product of as many pixels as it multiplies at a time, and its maxima."""
  import tensorflow as tf

  if queries.dtype == tf.float32:
    product = tf.matmul(queries, references, transpose_b=True)
    return tf.reduce_max(tf.reshape(product, [2048, 16, 128]), axis=2)
  product = tf.reshape(tf.matmul(references, queries, transpose_b=True), [16, 128, 1, 2048])
  return tf.cast(tf.nn.max_pool2d(product, [128, 1], [128, 1], 'VALID'), tf.float32)


def _separable(image: 'tf.Tensor', depthwise: 'tf.Tensor', pointwise: 'tf.Tensor') -> 'tf.Tensor':
  return _in_float32(_convolved(_convolved(image, depthwise), pointwise))


def _inverted_residual(
  image: 'tf.Tensor', expansion: 'tf.Tensor', depthwise: 'tf.Tensor', projection: 'tf.Tensor'
) -> 'tf.Tensor':
  wide = _convolved(_convolved(image, expansion), depthwise)
  return _in_float32(image + _convolved(wide, projection, activation=None))


def _convolved(
  image: 'tf.Tensor', kernel: 'tf.Tensor', activation: str | None = 'relu'
) -> 'tf.Tensor':
  """Convolution, depthwise for a kernel with 1 as its last dimension, with bias as in the model.

  TensorFlow makes one operation of the three.
  """
  import tensorflow as tf

  if kernel.shape[3] == 1:
    image = depthwise_conv2d(image, kernel)
  else:
    image = tf.nn.conv2d(image, kernel, 1, 'SAME')
  image = tf.nn.bias_add(image, tf.zeros(image.shape[3:], image.dtype))
  return tf.nn.relu(image) if activation else image


def _in_float32(image: 'tf.Tensor') -> 'tf.Tensor':
  import tensorflow as tf

  return tf.cast(image, tf.float32)


def _about() -> dict[str, Any]:
  """What a trial depends on, as JSON has it."""
  import tensorflow as tf

  flags = precision.cpu_info('flags')
  try:
    cores = len(os.sched_getaffinity(0))
  except AttributeError:  # Not on macOS and Windows.
    cores = os.cpu_count() or 0
  return {
    'format': _FORMAT,
    'machine': platform.node(),
    'processor': precision.cpu_info('model name') or platform.processor() or platform.machine(),
    'flags': hashlib.sha256(flags.encode()).hexdigest()[:16],
    'cores': cores,
    'threads': tf.config.threading.get_intra_op_parallelism_threads(),
    'tensorflow': tf.__version__,
    'settings': {name: os.environ.get(name, '') for name in _SETTINGS},
  }


def _cache_path(about: dict[str, Any]) -> pathlib.Path | None:
  """File of the trial under XDG_CACHE_HOME or ~/.cache; None where there is no home."""
  folder = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '')
  if not folder.is_absolute():  # To be ignored, says the XDG specification.
    try:
      folder = pathlib.Path.home() / '.cache'
    except RuntimeError:
      return None
  digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
  return folder / 'feelvos_tf' / f'precision-{digest[:16]}.json'


def _read(path: pathlib.Path, about: dict[str, Any]) -> Trial | None:
  """The Trial that a file holds of this machine, or None."""
  try:
    values = json.loads(path.read_text(encoding='utf-8'))
    if values['about'] != about:
      return None
    return Trial(
      {
        name: {part: _positive(values['milliseconds'][name][part]) for part in PARTS}
        for name in CANDIDATES
      }
    )
  except (OSError, ValueError, KeyError, TypeError):
    return None


def _positive(value: Any) -> float:
  if isinstance(value, bool) or not value > 0:  # NaN is not, either.
    raise ValueError(f'{value!r} is no time')
  return float(value)


def _write(path: pathlib.Path, about: dict[str, Any], made: Trial) -> None:
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole_file.write_text(
      path, json.dumps({'about': about, 'milliseconds': made.milliseconds}, indent=1) + '\n'
    )
  except OSError:
    pass  # No cache: the next process measures again.

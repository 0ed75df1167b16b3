"""Times cases next to this machine's matmul peak, and says what the machine is."""

from collections.abc import Callable
import dataclasses
import functools
import multiprocessing
import os
import platform
import resource
import time
from typing import Any, TYPE_CHECKING

import numpy as np
import tensorflow as tf

from feelvos_tf.model import precision

if TYPE_CHECKING:
  from multiprocessing.connection import Connection

  from feelvos_tf.tools.benchmarks.cases import BenchmarkOptions
  from feelvos_tf.tools.benchmarks.cases import Case


PEAK_SIZE = 2048


def timed(function: Callable[[], Any]) -> tuple[float, float]:
  """(wall seconds, processor seconds) of one call."""
  wall, processor = time.perf_counter(), time.process_time()
  function()
  return time.perf_counter() - wall, time.process_time() - processor


def measure(
  part: str,
  options: 'BenchmarkOptions',
  case: 'Case',
  time_baseline: Callable[[], tuple[float, float]] | None = None,
) -> dict[str, Any]:
  """Times one case.

  Every repetition times the float32 matmul peak, the case and its baseline one after the other, so
  that a ratio compares the same moment of a noisy machine.

  Args:
    part: str, name for the row.
    options: `benchmarks.cases.BenchmarkOptions`.
    case: `benchmarks.cases.Case`.
    time_baseline: optional function that runs a baseline and returns its (wall seconds, processor
      seconds); None takes the case's own, if it has one.

  Returns:
    Dict of plain numbers, strings and lists: one row of the table. Times are medians over
    `options.repeats`; `quartiles` are the spread. `share_of_peak` is missing where the case has no
    number of operations, `times_faster` where it has no baseline.
  """
  square = tf.random.stateless_normal([PEAK_SIZE, PEAK_SIZE], [0, 0])
  timers: list[Callable[[], tuple[float, float]]] = [
    functools.partial(timed, lambda: tf.matmul(square, square)),
    functools.partial(timed, case.run),
  ]
  if time_baseline is not None:
    timers.append(time_baseline)
  elif options.baseline and case.baseline:
    timers.append(functools.partial(timed, case.baseline))
  for timer in timers:
    timer()
  times = np.array([[timer() for timer in timers] for _ in range(options.repeats)])
  row = dict(part=part, **dataclasses.asdict(options))
  row.update(_ours(times / np.array([1, case.units, 1][: len(timers)])[:, np.newaxis], case))
  if len(timers) > 2:
    ratio = times[:, 2] / (times[:, 1] / case.units)
    row.update(
      baseline_seconds=float(np.median(times[:, 2, 0])),
      times_faster=float(np.median(ratio[:, 0])),
      processor_times_faster=float(np.median(ratio[:, 1])),
    )
  if case.samples:
    row['samples_per_second'] = case.samples / row['seconds']
  row['peak_memory_bytes'] = peak_memory()
  return row


class BaselineProcess:
  """Runs the baseline of a case in a process of its own, without oneDNN; a context manager."""

  def __init__(self, part: str, options: 'BenchmarkOptions') -> None:
    """Args: as of `measure`; nothing is started yet."""
    self._arguments = part, options

  def __enter__(self) -> 'BaselineProcess':
    context = multiprocessing.get_context('spawn')
    self._connection, other = context.Pipe()
    self._process = context.Process(target=_serve_baseline, args=(other, *self._arguments))
    before = os.environ.get('TF_ENABLE_ONEDNN_OPTS')
    os.environ['TF_ENABLE_ONEDNN_OPTS'] = '0'  # TensorFlow reads it when the process imports it.
    try:
      self._process.start()
    finally:
      if before is None:
        del os.environ['TF_ENABLE_ONEDNN_OPTS']
      else:
        os.environ['TF_ENABLE_ONEDNN_OPTS'] = before
    other.close()
    return self

  def __exit__(self, *error: object) -> None:
    self._connection.close()
    self._process.join()

  def time(self) -> tuple[float, float]:
    """(wall seconds, processor seconds) of one run.

    Raises:
      ValueError: the part has no baseline, or the process died.
    """
    try:
      self._connection.send(None)
      seconds = self._connection.recv()
    except (EOFError, OSError) as error:
      raise ValueError("the original's algorithm failed in its process, see above") from error
    if seconds is None:
      raise ValueError(f'{self._arguments[0]} has no baseline; use --nobaseline')
    return seconds


def _serve_baseline(connection: 'Connection', part: str, options: 'BenchmarkOptions') -> None:
  from feelvos_tf.tools.benchmarks import cases

  baseline = cases.PARTS[part](options).baseline
  try:
    while True:
      connection.recv()
      connection.send(baseline and timed(baseline))
  except EOFError:
    pass  # The parent has closed its end.


def _ours(times: np.ndarray, case: 'Case') -> dict[str, Any]:
  peak = 2 * PEAK_SIZE**3 / times[:, 0]
  seconds = float(np.median(times[:, 1, 0]))
  row = dict(
    seconds=seconds,
    quartiles=np.quantile(times[:, 1, 0], [0.25, 0.75]).tolist(),
    processor_seconds=float(np.median(times[:, 1, 1])),
    float32_peak_gflops=float(np.median(peak[:, 0]) / 1e9),
  )
  if case.flop:
    share = np.median(case.flop / times[:, 1] / peak, axis=0)
    row.update(
      gflops=case.flop / seconds / 1e9,
      share_of_peak=float(share[0]),
      processor_share_of_peak=float(share[1]),
    )
  return row


def peak_memory() -> int:
  """Most bytes this process has had in memory so far."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def machine() -> dict[str, Any]:
  """What the figures depend on besides the code: a dict of plain values."""
  return dict(
    platform=platform.platform(),
    processor=precision.cpu_info('model name') or platform.processor(),
    cores=os.cpu_count(),
    threads=tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
    onednn=os.environ.get('TF_ENABLE_ONEDNN_OPTS', 'default'),
    python=platform.python_version(),
    tensorflow=tf.__version__,
    numpy=np.__version__,
    load_average=os.getloadavg()[0],
    gpus=len(tf.config.list_physical_devices('GPU')),
  )


def format_row(row: dict[str, Any]) -> str:
  """One line of the table."""
  low, high = row['quartiles']
  preset = f'{row["speed"]} ' if row.get('speed') else ''
  text = (
    f'{row["part"]:13s} {row["model_variant"]:12s} {row["height"]}x{row["width"]} objects '
    f'{row["objects"]} {preset}{row["precision"]:8s} {1e3 * row["seconds"]:8.1f} ms '
    f'({1e3 * low:.1f}-{1e3 * high:.1f}), processor {1e3 * row["processor_seconds"]:.1f}'
  )
  if 'gflops' in row:
    text += (
      f', {row["gflops"]:.1f} GFLOP/s, share of float32 peak '
      f'({row["float32_peak_gflops"]:.0f}) {row["share_of_peak"]:.2f} '
      f'(processor {row["processor_share_of_peak"]:.2f})'
    )
  else:
    text += f', float32 peak {row["float32_peak_gflops"]:.0f} GFLOP/s'
  if 'times_faster' in row:
    text += (
      f', original {1e3 * row["baseline_seconds"]:.0f} ms: {row["times_faster"]:.1f} times '
      f'(processor {row["processor_times_faster"]:.1f})'
    )
  if 'samples_per_second' in row:
    text += f', {row["samples_per_second"]:.1f} samples/s'
  return text + f', memory {row["peak_memory_bytes"] / 2**30:.2f} GB'

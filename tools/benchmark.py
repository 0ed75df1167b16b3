"""Times the parts of FEELVOS on this machine, beside its matmul peak and the original's algorithm.

  python -m tools.benchmark --parts=global,local --precision=float32,bfloat16 --json=out.json

Every repetition times the float32 matmul peak, the baseline (where a part has one) and ours one
after the other, so that a ratio compares the same moment of a noisy machine. What is given is the
median of the repetitions, and the quartiles as spread. Flop counts are those of the problem
(2 * pixel pairs * channels; for local matching the pairs inside the windows and the image), not of
the implementation. "processor" is the processor time of all threads: where other processes take
cores away, its share of the peak is the more reliable one.
"""

import dataclasses
import json
import os
import platform
import resource
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

from absl import flags
import numpy as np
import tensorflow as tf

from datasets import command_line
from feelvos_tf.matching import global_matching, local_matching, prepare_reference
from tools.reference_matching import original_global_matching, original_local_matching

CHANNELS = 100
WINDOW_RADIUS = 15
PEAK_SIZE = 2048


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
  """What to measure."""
  height: int = 480  # of the frame, in pixels
  width: int = 854
  objects: int = 3  # with background
  precision: str = 'float32'  # operand type of the products: float32 or bfloat16
  repeats: int = 5
  baseline: bool = True  # also time the original's algorithm


@dataclasses.dataclass(frozen=True)
class Case:
  """One thing to time: calls without arguments, and the flop that they are worth."""
  run: object
  baseline: object
  flop: float


def make_frames(options):
  """Two random embedding maps and labels with one blob per object.

  Returns:
    (float32 [h4, w4, 100], float32 [h4, w4, 100], int32 [h4, w4]).
  """
  h4, w4 = (options.height - 1) // 4 + 1, (options.width - 1) // 4 + 1
  random = np.random.default_rng(0)
  frames = (0.1 * random.random([2, h4, w4, CHANNELS])).astype(np.float32)
  labels = np.zeros([h4, w4], np.int32)
  for index in range(1, options.objects):
    y, x = random.integers(0, [max(1, h4 * 2 // 3), max(1, w4 * 4 // 5)])
    labels[y:y + h4 // 3, x:x + w4 // 5] = index
  return tf.constant(frames[0]), tf.constant(frames[1]), tf.constant(labels)


def global_case(options):
  """Global matching with every reference pixel, k = 1; the reference is prepared beforehand."""
  query, reference, labels = make_frames(options)
  count = tf.constant(options.objects)
  bank = prepare_reference(reference, labels, count, compute_dtype=options.precision)
  matcher = tf.function(lambda query, bank, count: global_matching(query, bank, count))
  pixels = float(np.prod(query.shape[:2]))
  return Case(lambda: matcher(query, bank, count),
              lambda: original_global_matching(query, reference, labels, count),
              2 * pixels ** 2 * CHANNELS)


def local_case(options):
  """Local matching with 31 x 31 windows."""
  query, previous, labels = make_frames(options)
  count = tf.constant(options.objects)
  matcher = tf.function(lambda *tensors: local_matching(
      *tensors, window_radius=WINDOW_RADIUS, compute_dtype=options.precision))
  pairs = 1.0
  for size in query.shape[:2]:
    place = np.arange(size)
    pairs *= np.sum(np.minimum(place + WINDOW_RADIUS, size - 1)
                    - np.maximum(place - WINDOW_RADIUS, 0) + 1)
  return Case(lambda: matcher(query, previous, labels, count),
              lambda: original_local_matching(query, previous, labels, count, WINDOW_RADIUS),
              2 * pairs * CHANNELS)


PARTS = {'global': global_case, 'local': local_case}


def timed(function):
  """(wall seconds, processor seconds) of one call."""
  wall, processor = time.perf_counter(), time.process_time()
  function()
  return time.perf_counter() - wall, time.process_time() - processor


def measure(part, options):
  """Times one part.

  Args:
    part: str, key of PARTS.
    options: BenchmarkOptions.

  Returns:
    Dict of plain numbers and strings, one row of the table.
  """
  case = PARTS[part](options)
  square = tf.random.stateless_normal([PEAK_SIZE, PEAK_SIZE], [0, 0])
  peak = lambda: tf.matmul(square, square)
  calls = [peak, case.run] + [case.baseline] * options.baseline
  for call in calls:
    call()
  times = np.array([[timed(call) for call in calls] for _ in range(options.repeats)])
  rate = case.flop / times[:, 1] / (2 * PEAK_SIZE ** 3 / times[:, 0])
  row = dict(part=part, **dataclasses.asdict(options),
             seconds=float(np.median(times[:, 1, 0])),
             quartiles=np.quantile(times[:, 1, 0], [0.25, 0.75]).tolist(),
             processor_seconds=float(np.median(times[:, 1, 1])),
             gflops=float(case.flop / np.median(times[:, 1, 0]) / 1e9),
             float32_peak_gflops=float(2 * PEAK_SIZE ** 3 / np.median(times[:, 0, 0]) / 1e9),
             share_of_peak=float(np.median(rate[:, 0])),
             processor_share_of_peak=float(np.median(rate[:, 1])),
             peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
  if options.baseline:
    row['baseline_seconds'] = float(np.median(times[:, 2, 0]))
    row['times_faster'] = float(np.median(times[:, 2, 0] / times[:, 1, 0]))
    row['processor_times_faster'] = float(np.median(times[:, 2, 1] / times[:, 1, 1]))
  return row


def machine():
  """What the figures depend on besides the code."""
  return dict(platform=platform.platform(), processor=_processor_name(), cores=os.cpu_count(),
              python=platform.python_version(), tensorflow=tf.__version__, numpy=np.__version__,
              load_average=os.getloadavg()[0],
              gpus=len(tf.config.list_physical_devices('GPU')))


def _processor_name():
  try:
    with open('/proc/cpuinfo', encoding='utf-8') as stream:
      return next(line.split(':')[1].strip() for line in stream if line.startswith('model name'))
  except (OSError, StopIteration):
    return platform.processor()


def format_row(row):
  """One line of the table."""
  text = (f'{row["part"]:8s} {row["height"]}x{row["width"]} objects {row["objects"]} '
          f'{row["precision"]:8s} {1e3 * row["seconds"]:8.1f} ms '
          f'({1e3 * row["quartiles"][0]:.1f}-{1e3 * row["quartiles"][1]:.1f}) '
          f'{row["gflops"]:6.1f} GFLOP/s, share of float32 peak '
          f'({row["float32_peak_gflops"]:.0f}): {row["share_of_peak"]:.2f} '
          f'(processor {row["processor_share_of_peak"]:.2f})')
  if 'times_faster' in row:
    text += (f', original {1e3 * row["baseline_seconds"]:.0f} ms: {row["times_faster"]:.1f} times '
             f'(processor {row["processor_times_faster"]:.1f})')
  return text


def check_choices(given, known, flag):
  """The items of a list flag; ValueError for one that is not known."""
  for item in given:
    if item not in known:
      raise ValueError(f'--{flag}: {item!r} is not known; choose from {", ".join(known)}')
  return given


FLAGS = flags.FLAGS


def define_flags():
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_list('parts', sorted(PARTS), 'Parts to measure; serving, which is not among the '
                    'defaults, is tools/benchmark_serving.py.')
  flags.DEFINE_list('precision', ['float32'], 'Operand types: float32, bfloat16.')
  flags.DEFINE_list('objects', ['3'], 'Numbers of objects, background included.')
  flags.DEFINE_integer('height', 480, 'Height of the frame in pixels.', lower_bound=1)
  flags.DEFINE_integer('width', 854, 'Width of the frame in pixels.', lower_bound=1)
  flags.DEFINE_integer('repeats', 5, 'Repetitions; the median is given.', lower_bound=1)
  flags.DEFINE_bool('baseline', True, "Also time the original's algorithm, side by side.")
  flags.DEFINE_string('json', None, 'File to write machine and rows to.')


def main():
  """Measures what the flags ask for and prints a row for each."""
  try:
    parts = check_choices(FLAGS.parts, [*sorted(PARTS), 'serving'], 'parts')
    precisions = check_choices(FLAGS.precision, ['float32', 'bfloat16'], 'precision')
    counts = [int(text) for text in FLAGS.objects]
    if min(counts) < 1:
      raise ValueError(f'--objects: {min(counts)} is too few; give at least 1')
  except ValueError as error:
    raise command_line.UsageError(error) from error
  about = machine()
  print(', '.join(f'{key} {value}' for key, value in about.items()))
  rows = []
  if 'serving' in parts:
    from tools import benchmark_serving

    rows.append(benchmark_serving.measure_overhead(
        benchmark_serving.ServingBenchmarkOptions(FLAGS.height, FLAGS.width)))
    print(benchmark_serving.format_row(rows[-1]), flush=True)
  for part in [part for part in parts if part in PARTS]:
    for objects in counts:
      for precision in precisions:
        rows.append(measure(part, BenchmarkOptions(
            FLAGS.height, FLAGS.width, objects, precision, FLAGS.repeats, FLAGS.baseline)))
        print(format_row(rows[-1]), flush=True)
  if FLAGS.json:
    temporary = f'{FLAGS.json}.tmp'
    with open(temporary, 'w', encoding='utf-8') as stream:
      json.dump(dict(machine=about, rows=rows), stream, indent=1)
    os.replace(temporary, FLAGS.json)
  return 0


if __name__ == '__main__':
  command_line.run(main, define_flags)

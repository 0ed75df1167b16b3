"""Times the parts of FEELVOS on this machine, next to its matmul peak and the original's algorithm.

  python -m tools.benchmark --parts=global,local --precision=float32,bfloat16 --json=out.json
  python -m tools.benchmark --parts=end_to_end,end_to_end_io --model_variant=xception_65
  python -m tools.benchmark --parts=input,train_step
  python -m tools.benchmark --parts=end_to_end --speed=fast,balanced --precision=auto \\
      --size=480x854,1080x1920,2160x3840 --nobaseline
  python -m tools.benchmark --parts=serving
  python -m tools.benchmark --parts= --curves=objects,pixels,length --plots_dir=plots

Every repetition times the float32 matmul peak, ours and the baseline (where a part has one), one
after the other, so that a ratio compares the same moment of a noisy machine. What is given is the
median of the repetitions, and the quartiles as spread. "processor" is the processor time of all
threads: where other processes take cores away, its share of the peak is the more reliable one.
Frames are in memory already and masks stay there, but for `end_to_end_io`. Memory is the most the
process has had so far: --isolate gives every row a process of its own. Weights are seeded, not
trained: time does not depend on them.
"""

from collections.abc import Collection
import concurrent.futures
import dataclasses
import json
import multiprocessing
import pathlib
import types
from typing import Any, TYPE_CHECKING

from absl import flags

from feelvos_tf.deeplab.options import MODEL_VARIANTS
from feelvos_tf.files import whole_file
from feelvos_tf.inference import speed
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

if TYPE_CHECKING:
  from feelvos_tf.tools.benchmarks.cases import BenchmarkOptions


PARTS = (
  'backbone',
  'global',
  'local',
  'head',
  'end_to_end',
  'end_to_end_io',
  'input',
  'train_step',
)
SERVING = 'serving'  # A server and its clients: tools/benchmark_serving.py.
CURVES = ('objects', 'pixels', 'length')
FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_list(
    'parts', ['global', 'local'], f'Parts to measure: {", ".join(PARTS)}, {SERVING}.'
  )
  flags.DEFINE_list('model_variant', ['mobilenet_v2'], 'Networks of the parts that have one.')
  flags.DEFINE_list('precision', ['float32'], 'Operand types: auto, float32, bfloat16.')
  flags.DEFINE_list('objects', ['3'], 'Numbers of objects, background included.')
  flags.DEFINE_list('size', [], 'Sizes of the frame, like 480x854; default: --height and --width.')
  flags.DEFINE_integer('height', 480, 'Height of the frame in pixels.', lower_bound=1)
  flags.DEFINE_integer('width', 854, 'Width of the frame in pixels.', lower_bound=1)
  flags.DEFINE_integer(
    'max_reference_pixels_per_object',
    None,
    'Ours matches with at most this many pixels of each object on the first frame; default: all.',
    lower_bound=1,
  )
  flags.DEFINE_integer(
    'largest_side',
    None,
    'Whole frames with a longer side of more pixels are seen at this many; default: as they are.',
    lower_bound=1,
  )
  flags.DEFINE_list(
    'speed',
    [],
    'end_to_end, end_to_end_io: whole frames of the default model with these presets of --speed of feelvos '
    f'segment ({", ".join(speed.SPEEDS)}), instead of a seeded model without one.',
  )
  flags.DEFINE_integer('crop', 257, 'input, train_step: side of a sample.', lower_bound=33)
  flags.DEFINE_integer('batch', 3, 'input, train_step: samples in a batch.', lower_bound=1)
  flags.DEFINE_integer('repeats', 5, 'Repetitions; the median is given.', lower_bound=1)
  flags.DEFINE_bool('baseline', True, "Also time the original's algorithm, side by side.")
  flags.DEFINE_bool(
    'baseline_onednn',
    True,
    "The original's algorithm also has oneDNN's kernels; "
    'False takes them away, in a process of its own: TensorFlow 1 had none.',
  )
  flags.DEFINE_bool('isolate', False, 'A process for every row, so that memory is its own.')
  flags.DEFINE_list('curves', [], f'Scaling curves to measure and draw: {", ".join(CURVES)}.')
  flags.DEFINE_string('plots_dir', None, 'Folder for the PNG of every curve.')
  flags.DEFINE_string('json', None, 'File to write machine and rows to.')


def main() -> int:
  """Measures what the flags ask for and prints a row for each."""
  jobs = _jobs()
  start_tensorflow()
  from feelvos_tf.tools.benchmarks import curves as curves_lib
  from feelvos_tf.tools.benchmarks import measure as measure_lib

  about = measure_lib.machine()
  print(', '.join(f'{key} {value}' for key, value in about.items()), flush=True)
  rows = []
  if SERVING in FLAGS.parts:
    rows.append(_serving())
  for part, values in jobs:
    rows.append(_isolated(part, values) if FLAGS.isolate else measure(part, values))
    print(measure_lib.format_row(rows[-1]), flush=True)
  curves = {}
  for name in FLAGS.curves:
    curves[name] = _curve(name, curves_lib)
  if FLAGS.json:
    whole_file.write_text(
      FLAGS.json, json.dumps(dict(machine=about, rows=rows, curves=curves), indent=1)
    )
  return 0


def measure(part: str, values: dict[str, Any]) -> dict[str, Any]:
  """Row of one part; `values` are the fields of `benchmarks.cases.BenchmarkOptions`."""
  start_tensorflow()
  from feelvos_tf.tools.benchmarks import cases
  from feelvos_tf.tools.benchmarks import measure as measure_lib

  options = _benchmark_options(values)
  if options.baseline and not options.baseline_onednn:
    return _beside_a_process(part, options)
  return measure_lib.measure(part, options, cases.PARTS[part](options))


def _benchmark_options(values: dict[str, Any]) -> 'BenchmarkOptions':
  """`cases.BenchmarkOptions` of some values; precision 'auto' becomes what it is here."""
  from feelvos_tf.model import precision
  from feelvos_tf.tools.benchmarks import cases

  options = cases.BenchmarkOptions(**values)
  return dataclasses.replace(options, precision=precision.resolve(options.precision))


def _beside_a_process(part: str, options: 'BenchmarkOptions') -> dict[str, Any]:
  """`measure` with the baseline in a process that has no oneDNN."""
  from feelvos_tf.tools.benchmarks import cases
  from feelvos_tf.tools.benchmarks import measure as measure_lib

  case = cases.PARTS[part](dataclasses.replace(options, baseline=False))
  with measure_lib.BaselineProcess(part, options) as process:
    return measure_lib.measure(part, options, case, process.time)


def _serving() -> dict[str, Any]:
  """Row of the server's overhead; prints it."""
  from feelvos_tf.tools import benchmark_serving

  row = benchmark_serving.measure_overhead(
    benchmark_serving.ServingBenchmarkOptions(height=_sizes()[0][0], width=_sizes()[0][1])
  )
  print(benchmark_serving.format_row(row), flush=True)
  return row


def _isolated(part: str, values: dict[str, Any]) -> dict[str, Any]:
  with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as executor:
    return executor.submit(measure, part, values).result()


def _curve(name: str, curves_lib: types.ModuleType) -> list[dict[str, Any]]:
  options = _benchmark_options(
    _values(FLAGS.model_variant[0], FLAGS.precision[0], int(FLAGS.objects[0]), _sizes()[0])
  )
  rows = curves_lib.CURVES[name](options)
  for row in rows:
    print(
      f'{name}: {row["height"]}x{row["width"]}, objects {row["objects"]}'
      + (f', frames {row["frames"]}' if 'frames' in row else '')
      + f': {row["seconds"]:.3f} s, memory {row["peak_memory_bytes"] / 2**30:.2f} GB',
      flush=True,
    )
  if FLAGS.plots_dir:
    folder = pathlib.Path(FLAGS.plots_dir)
    folder.mkdir(parents=True, exist_ok=True)
    curves_lib.plot(name, rows, folder / f'{name}.png')
  return rows


def _jobs() -> list[tuple[str, dict[str, Any]]]:
  """List of (part, options as a dict) that the flags ask for; UsageError for wrong ones."""
  try:
    parts = check_choices([part for part in FLAGS.parts if part], (*PARTS, SERVING), 'parts')
    check_choices(FLAGS.curves, CURVES, 'curves')
    check_choices(FLAGS.model_variant, MODEL_VARIANTS, 'model_variant')
    check_choices(FLAGS.speed, speed.SPEEDS, 'speed')
    if FLAGS.speed and set(parts) - {'end_to_end', 'end_to_end_io'}:
      raise ValueError(
        '--speed: a preset is of whole frames; give --parts=end_to_end or end_to_end_io'
      )
    check_choices(FLAGS.precision, ('auto', 'float32', 'bfloat16'), 'precision')
    counts, sizes = [int(text) for text in FLAGS.objects], _sizes()
    if min(counts) < 2 and set(parts) - {'global', 'local', 'head', 'backbone', SERVING}:
      raise ValueError(
        '--objects: whole frames and training need at least 2, the background and an object'
      )
    if min(counts) < 1:
      raise ValueError(f'--objects: {min(counts)} is too few; give at least 1')
  except ValueError as error:
    raise command_line.UsageError(error) from error
  return [
    (part, dict(_values(variant, precision, count, size), speed=preset))
    for part in parts
    if part != SERVING
    for variant in FLAGS.model_variant
    for size in sizes
    for count in counts
    for precision in FLAGS.precision
    for preset in FLAGS.speed or [None]
  ]


def _values(variant: str, precision: str, objects: int, size: tuple[int, int]) -> dict[str, Any]:
  return dict(
    model_variant=variant,
    height=size[0],
    width=size[1],
    objects=objects,
    precision=precision,
    repeats=FLAGS.repeats,
    baseline=FLAGS.baseline,
    baseline_onednn=FLAGS.baseline_onednn,
    max_reference_pixels_per_object=FLAGS.max_reference_pixels_per_object,
    largest_side=FLAGS.largest_side,
    crop=FLAGS.crop,
    batch=FLAGS.batch,
  )


def _sizes() -> list[tuple[int, int]]:
  sizes = []
  for text in FLAGS.size:
    height, _, width = text.partition('x')
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
      raise ValueError(f'--size: {text!r} is no size; give HEIGHTxWIDTH, like 480x854')
    sizes.append((int(height), int(width)))
  return sizes or [(FLAGS.height, FLAGS.width)]


def check_choices(given: list[str], known: Collection[str], flag: str) -> list[str]:
  """The items of a list flag; ValueError for one that is not known."""
  for item in given:
    if item not in known:
      raise ValueError(f'--{flag}: {item!r} is not known; choose from {", ".join(known)}')
  return given


if __name__ == '__main__':
  command_line.run(main, define_flags)

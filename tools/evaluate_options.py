r"""One table of what a model reaches with each option, next to baselines and ablations.

  python -m tools.evaluate_options --davis_root=DAVIS --year=2016 --output_dir=runs/options

runs `feelvos_tf.evaluate` once for every option, each in a folder of its own below --output_dir,
and writes table.md and table.json there: J, F, J&F and seconds per frame, with the float32 matrix
products per second that the machine reached in the same run. Run the command again after an
interruption: finished sequences are kept. The table is written after every option.

Full size takes hours on a CPU. A quick look:

  python -m tools.evaluate_options --davis_root=DAVIS --year=2016 --output_dir=runs/quick \
      --max_internal_size=320 --sequences=dog,camel --options=copy_first_mask,default,flip
"""

import json
import os
import pathlib
import platform
import signal
import sys
from typing import Any

from absl import flags

from feelvos_tf.evaluation import tables
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import model_flags
from feelvos_tf.runtime import result_folder
from feelvos_tf.tools import command_runs
from feelvos_tf.tools import davis_runs

# Name of the row: what it is, and the flags of feelvos_tf.evaluate.
OPTIONS = {
  'copy_first_mask': ('Baseline: the first mask on every frame', ['--baseline=copy_first_mask']),
  'global_matching': ('Baseline: global matching, no head', ['--baseline=global_matching']),
  'default': ('The model', []),
  'no_frame_grid': (
    'Frames as they are, not resized to the grid',
    ['--model_option=frame_grid=null'],
  ),
  'speed_fast': ('Preset fast', ['--speed=fast']),
  'speed_balanced': ('Preset balanced', ['--speed=balanced']),
  'speed_best': ('Preset best', ['--speed=best']),
  'flip': ('Flip', ['--flip']),
  'pyramid_max': ('Scales 0.75 and 1, maximum', ['--image_pyramid=0.75,1']),
  'pyramid_avg': ('Scales 0.75 and 1, mean', ['--image_pyramid=0.75,1', '--merge_method=avg']),
  'pyramid_up': ('Scales 1 and 1.25, mean', ['--image_pyramid=1,1.25', '--merge_method=avg']),
  'size_640': ('Frames of 640 pixels', ['--max_internal_size=640']),
  'size_480': ('Frames of 480 pixels', ['--max_internal_size=480']),
  'size_320': ('Frames of 320 pixels', ['--max_internal_size=320']),
  'reference_all': ('All reference pixels', ['--max_reference_pixels_per_object=0']),
  'reference_4096': (
    'At most 4,096 reference pixels an object',
    ['--max_reference_pixels_per_object=4096'],
  ),
  'reference_1024': (
    'At most 1,024 reference pixels an object',
    ['--max_reference_pixels_per_object=1024'],
  ),
  'reference_256': (
    'At most 256 reference pixels an object',
    ['--max_reference_pixels_per_object=256'],
  ),
  'float32': ('float32', ['--precision=float32']),
  'bfloat16': ('bfloat16', ['--precision=bfloat16']),
  'no_first_frame_matching': (
    'Ablation: no first-frame matching',
    ['--ablation=no_first_frame_matching'],
  ),
  'no_previous_frame_matching': (
    'Ablation: no previous-frame matching',
    ['--ablation=no_previous_frame_matching'],
  ),
  'global_previous_frame_matching': (
    'Ablation: global previous-frame matching',
    ['--ablation=global_previous_frame_matching'],
  ),
  'no_previous_prediction': (
    'Ablation: no previous prediction',
    ['--ablation=no_previous_prediction'],
  ),
}
_JOB, _FILES = 'table', ('table.json', 'table.md')
REFERENCE = 'default'  # the row that others are compared with
_COLUMNS = ('J', 'F', 'J&F', 'difference', 's/frame', 'GFLOP/s')

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_string('output_dir', None, 'Folder of the table; each option has a folder in it.')
  flags.DEFINE_list('options', list(OPTIONS), 'Rows of the table, separated by commas.')
  flags.DEFINE_string(
    'model', 'default', 'Weights file; "default" is the one that comes with the project.'
  )
  davis_runs.TRUTH.define()
  flags.DEFINE_integer(
    'max_internal_size',
    None,
    'Longer side in pixels at which frames are '
    'segmented, for the options that do not say it themselves.',
    lower_bound=32,
  )
  model_flags.define_precision()


def main() -> int:
  """Evaluates option after option; returns 1 if one failed."""
  unknown = [name for name in FLAGS.options if name not in OPTIONS]
  if unknown:
    raise command_line.UsageError(
      f'--options has {unknown[0]!r}; expected names of {", ".join(OPTIONS)}.'
    )
  for flag in ('output_dir', 'davis_root'):
    if not getattr(FLAGS, flag):
      raise command_line.UsageError(f'--{flag} is missing.')
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  result_folder.check_inputs(FLAGS.output_dir, [FLAGS.davis_root])
  with result_folder.ResultFolder(FLAGS.output_dir, 'table', overwrite=True) as output:
    output.check_free(_JOB, _FILES)
    return _evaluate_all(output)


def _evaluate_all(output: result_folder.ResultFolder) -> int:
  """Evaluates one option after another; returns the exit code."""
  names = [name for name in OPTIONS if name in FLAGS.options]
  failures, text = {}, ''
  for number, name in enumerate(names, 1):
    print(f'{number}/{len(names)} {name}', file=sys.stderr, flush=True)
    error = command_runs.run(
      'feelvos_tf.evaluate', command(name, output.path), name, ('segmenting', 'scoring')
    )
    if error:
      failures[name] = error
      print(f'{name}: {error}', file=sys.stderr, flush=True)
    rows = [read_row(one, output.path, failures.get(one)) for one in names[:number]]
    text = write_table(output, rows)
  print(text)
  return 1 if failures else 0


def command(name: str, output_dir: pathlib.Path) -> list[str]:
  """Arguments of `feelvos evaluate` for an option.

  Args:
    name: key of OPTIONS.
    output_dir: pathlib.Path of the table.

  Returns:
    list of str.
  """
  own = OPTIONS[name][1]
  arguments = [
    *own,
    *davis_runs.TRUTH.arguments(),
    f'--output_dir={output_dir / name}',
    '--nokeep_maps',
    '--noreport',
  ]
  if own != ['--baseline=copy_first_mask']:
    arguments.append(f'--model={FLAGS.model}')
    if FLAGS.precision and not any('precision' in flag for flag in own):
      arguments.append(f'--precision={FLAGS.precision}')
    if FLAGS.max_internal_size and not any('max_internal_size' in flag for flag in own):
      arguments.append(f'--max_internal_size={FLAGS.max_internal_size}')
  return arguments


def read_row(name: str, output_dir: pathlib.Path, error: str | None = None) -> dict[str, Any]:
  """A row of the table as a dict: 'option', 'error', 'J', 'F', 'J&F', 'seconds_per_frame', ..."""
  row = {'option': name, 'description': OPTIONS[name][0], 'flags': OPTIONS[name][1], 'error': error}
  if error:
    return row
  summary = tables.read_summary(output_dir / name)
  settings, numbers = summary['settings'], summary['global']
  return {
    **row,
    'J': numbers['J-Mean'],
    'F': numbers['F-Mean'],
    'J&F': numbers['J&F-Mean'],
    'precision': settings.get('precision'),
    'seconds_per_frame': settings.get('seconds_per_frame'),
    'matmul_gflops': settings.get('matmul_gflops'),
    'num_sequences': summary['num_sequences'],
    'left_out': summary['left_out'],
  }


def write_table(output: result_folder.ResultFolder, rows: list[dict[str, Any]]) -> str:
  """Writes table.json and table.md of some rows; returns the text of table.md."""
  about = {
    'model': FLAGS.model,
    **davis_runs.TRUTH.values(),
    'max_internal_size': FLAGS.max_internal_size,
    'precision': FLAGS.precision or _precision(rows),
    'cores': os.cpu_count(),
    'platform': platform.platform(),
  }
  text = markdown(rows, about)
  data = json.dumps({'about': about, 'rows': rows}, indent=1) + '\n'
  for name, content in zip(_FILES, (data, text)):
    output.write(_JOB, name, content.encode('utf-8', 'surrogateescape'))
  return text


def _precision(rows: list[dict[str, Any]]) -> str:
  """What the model computed in without a flag: `feelvos evaluate` chooses, for all rows alike."""
  found = [row['precision'] for row in rows if row.get('precision') and not row['error']]
  return found[0] if found else 'auto'


def markdown(rows: list[dict[str, Any]], about: dict[str, Any]) -> str:
  """The table as Markdown.

  Args:
    rows: dicts of `read_row`.
    about: dict with 'model', 'year', 'split', 'cores', 'max_internal_size', 'precision'.

  Returns:
    str. The difference is that of J&F with the row REFERENCE.
  """
  reference = next((row.get('J&F') for row in rows if row['option'] == REFERENCE), None)
  size = f', frames of {about["max_internal_size"]} pixels' if about['max_internal_size'] else ''
  counts = sorted({row['num_sequences'] for row in rows if not row['error']})
  lines = [
    f'Model {about["model"]}, DAVIS {about["year"]} {about["split"]}, '
    f'{" or ".join(map(str, counts)) or "no"} sequence{"" if counts == [1] else "s"}{size}, '
    f'{about["precision"]}, {about["cores"]} cores. '
    'Difference: of J&F with the model as it is. GFLOP/s: float32 matrix products in the '
    'same run.',
    '',
    f'| option | flags | {" | ".join(_COLUMNS)} |',
    '|---' * 2 + '|--:' * len(_COLUMNS) + '|',
  ]
  for row in rows:
    flags_of_row = ' '.join(f'`{flag}`' for flag in row['flags'])
    if row['error']:
      cells = [f'failed: {row["error"]}'.replace('|', '/')] + [''] * (len(_COLUMNS) - 1)
    else:
      difference = None if None in (reference, row['J&F']) else row['J&F'] - reference
      cells = [_number(row[name], '.3f') for name in ('J', 'F', 'J&F')]
      cells += [
        '' if row['option'] == REFERENCE else _number(difference, '+.3f'),
        _number(row['seconds_per_frame'], '.2f'),
        _number(row['matmul_gflops'], '.0f'),
      ]
    lines.append(f'| {row["description"]} | {flags_of_row} | {" | ".join(cells)} |')
  lines += [
    f'\n{row["description"]}: left out {name} ({reason})'
    for row in rows
    for name, reason in row.get('left_out', {}).items()
  ]
  return '\n'.join(lines) + '\n'


def _number(value: float | None, form: str) -> str:
  # Rounded first, and + 0.0: no minus zero.
  return '–' if value is None else format(round(value, 3) + 0.0, form)


if __name__ == '__main__':
  command_line.run(main, define_flags)

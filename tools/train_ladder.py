r"""What each option of the network brings: equal short trainings with several seeds, scored.

  python -m tools.train_ladder --output_dir=runs/ladder --train_flags=ladder.flags --steps=400 \
      --seeds=1,2,3 --root=2016:DAVIS --root=2017:composed --speed=fast

trains every rung with every seed from the same initial weights (`feelvos train`), scores it on the
split val of every root (`feelvos evaluate`), and writes table.md and table.json: the mean of J&F,
its standard deviation over the seeds, and the same of the difference to the rung `base`, the
default model's options, seed by seed: runs of one seed see the same samples. --train_flags names a
file with the flags of `feelvos train` that all runs share, one a line: data sets, crops, rates.
Models are scored with the initial weights' options of inference.

Run the command again after an interruption, with more seeds or more rungs: what is finished is
kept. The table is written after every run. Exit code 1: a run failed; the table says which.
"""

import hashlib
import json
import pathlib
import re
import signal
import statistics
import sys
from typing import Any, NamedTuple

from absl import flags

from feelvos_tf.evaluation import tables
from feelvos_tf.files import whole_file
from feelvos_tf.model import default_model
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import model_flags
from feelvos_tf.runtime import result_folder
from feelvos_tf.tools import command_runs

BASE = 'base'
# The default model's options of the network.
_NETWORK = ['--model_variant=mobilenet_v2', '--output_stride=16', '--other_object_distances']
# Name of the rung: what it is, and flags of feelvos_tf.train on top of those of the base.
RUNGS = {
  BASE: ("The default model's options", []),
  'no_other_object_distances': (
    'Without distances to the other objects',
    ['--noother_object_distances'],
  ),
  'soft_prediction': ('Soft previous prediction', ['--previous_prediction=probabilities']),
  'local_windows': ('Local windows of radius 4 and 8', ['--local_window_radii=4,8']),
  'distance_square': (
    'Global distances of patches of 5x5 positions',
    ['--global_distance_square=5'],
  ),
  'object_gates': ("Gates on the head's channels", ['--object_gates']),
  'joint_head': ('Head over all objects jointly', ['--joint_head']),
}
_JOB, _FILES = 'table', ('table.json', 'table.md')

FLAGS = flags.FLAGS


class Root(NamedTuple):
  """Data to score on.

  Attributes:
    year: '2016' or '2017', list of sequences and protocol.
    path: folder in DAVIS layout.
  """

  year: str
  path: str

  @property
  def title(self) -> str:
    """Name in the table."""
    return f'{pathlib.Path(self.path).name} {self.year}'

  @property
  def folder(self) -> str:
    """Name of the folder of its results."""
    place = hashlib.sha256(str(pathlib.Path(self.path).resolve()).encode()).hexdigest()[:6]
    return f'scores_{self.year}_{place}'


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_string('output_dir', None, 'Folder of the table; every run has a folder in it.')
  flags.DEFINE_string(
    'train_flags',
    None,
    'File with flags of feelvos train for all runs, one a line; # is a comment.',
  )
  flags.DEFINE_list('rungs', list(RUNGS), 'Rows of the table, separated by commas.')
  flags.DEFINE_list('seeds', ['1', '2', '3'], 'Seeds of the runs, separated by commas.')
  flags.DEFINE_integer('steps', 400, 'Steps of every training.', lower_bound=1)
  flags.DEFINE_string(
    'initial', 'default', 'Initial weights; "default": the model that comes with the project.'
  )
  flags.DEFINE_multi_string(
    'root', [], 'Year and folder in DAVIS layout to score on, as 2016:DAVIS; may be repeated.'
  )
  flags.DEFINE_string('speed', None, 'Preset of feelvos evaluate.')
  model_flags.define_precision()


def main() -> int:
  """Trains and scores run after run; returns 1 if one failed."""
  for flag in ('output_dir', 'train_flags', 'root'):
    if not getattr(FLAGS, flag):
      raise command_line.UsageError(f'--{flag} is missing.')
  _check_names()
  roots, shared = [_root(text) for text in FLAGS.root], read_flags(FLAGS.train_flags)
  initial = default_model.model_path(FLAGS.initial)
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  inputs = [initial, FLAGS.train_flags, *(root.path for root in roots)]
  result_folder.check_inputs(FLAGS.output_dir, inputs)
  with result_folder.ResultFolder(FLAGS.output_dir, 'table', overwrite=True) as output:
    output.check_free(_JOB, _FILES)
    return _run_all(output, shared, initial, roots)


def _check_names() -> None:
  unknown = [name for name in FLAGS.rungs if name not in RUNGS]
  if unknown:
    raise command_line.UsageError(
      f'--rungs has {unknown[0]!r}; expected names of {", ".join(RUNGS)}.'
    )
  if not FLAGS.seeds or not all(seed.isdecimal() for seed in FLAGS.seeds):
    raise command_line.UsageError(
      f'--seeds={",".join(FLAGS.seeds)} given; expected whole numbers separated by commas.'
    )


def _root(text: str) -> Root:
  year, _, path = text.partition(':')
  if year not in ('2016', '2017') or not path:
    raise command_line.UsageError(
      f'--root={text} given; expected a year and a folder, as 2016:DAVIS or 2017:composed.'
    )
  if not pathlib.Path(path).is_dir():
    raise FileNotFoundError(f'{path}: no such folder; check --root.')
  return Root(year, path)


def read_flags(path: str) -> list[str]:
  """Flags in a file, one a line; empty lines and those that begin with # do not count.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a line is no flag, or one that --initial takes the place of.
  """
  if not pathlib.Path(path).is_file():
    raise FileNotFoundError(f'{path}: no such file; check --train_flags.')
  lines = [line.strip() for line in pathlib.Path(path).read_text(encoding='utf-8').splitlines()]
  found = [line for line in lines if line and not line.startswith('#')]
  for line in found:
    if not line.startswith('--'):
      raise ValueError(f'{path}: the line {line!r} is no flag; expected --name=value, one a line.')
    if re.match(r'--tf_initial_checkpoint\b', line):
      raise ValueError(
        f'{path}: {line} given; remove the line, --initial names the initial weights.'
      )
  return found


def _run_all(
  output: result_folder.ResultFolder, shared: list[str], initial: pathlib.Path, roots: list[Root]
) -> int:
  """All rungs with the first seed, then with the next; returns the exit code."""
  rungs = [name for name in RUNGS if name in FLAGS.rungs]
  runs = [(name, seed) for seed in dict.fromkeys(FLAGS.seeds) for name in rungs]
  failures: dict[str, str] = {}
  scores: dict[str, dict[str, dict[str, float]]] = {name: {} for name in rungs}
  text = ''
  for number, (name, seed) in enumerate(runs, 1):
    label = f'{name}, seed {seed}'
    print(f'{number}/{len(runs)} {label}', file=sys.stderr, flush=True)
    try:
      folder = output.path / name / f'seed_{seed}'
      scores[name][seed] = run_one(
        label, folder, train_arguments(name, seed, shared), initial, roots
      )
    except RunError as error:
      failures[label] = str(error)
      print(f'{label}: {error}', file=sys.stderr, flush=True)
    text = _write_table(output, shared, roots, scores, failures)
  print(text)
  return 1 if failures else 0


class RunError(Exception):
  """A run failed; the others go on."""


def train_arguments(name: str, seed: str, shared: list[str]) -> list[str]:
  """Flags of `feelvos train` for a rung, without its folder and its initial weights.

  Args:
    name: key of RUNGS.
    seed: whole number.
    shared: flags of all runs.
  """
  own = [f'--seed={seed}', f'--training_number_of_steps={FLAGS.steps}']
  return [*_NETWORK, *shared, *RUNGS[name][1], *own]


def run_one(
  label: str, folder: pathlib.Path, arguments: list[str], initial: pathlib.Path, roots: list[Root]
) -> dict[str, float]:
  """Trains and scores; what is finished is not repeated.

  Args:
    label: for progress.
    folder: of the run.
    arguments: of `train_arguments`.
    initial: weights file.
    roots: data to score on.

  Returns:
    {folder of a root: mean of J&F}.

  Raises:
    RunError: a command failed, or the folder holds a run with other flags.
  """
  digest = hashlib.sha256(initial.read_bytes()).hexdigest()
  weights = [f'--tf_initial_checkpoint={initial}', '--initialize_last_layer']
  _check_same(folder / 'ladder.json', {'flags': arguments, 'initial': digest}, folder / 'run.json')
  if not (folder / 'final.h5').is_file():
    with open(folder / 'log.txt', 'a', encoding='utf-8') as log:
      # --export of all runs would be one file for them.
      command = [*weights, *arguments, '--export=', f'--train_logdir={folder}']
      error = command_runs.run('feelvos_tf.train', command, label, output=log)
    if error:
      raise RunError(error)
    if not (folder / 'final.h5').is_file():  # `train` ends well when it is interrupted.
      raise KeyboardInterrupt
  _take_inference_options(folder, initial)
  return {root.folder: _score(label, folder, root) for root in roots}


def _check_same(path: pathlib.Path, about: dict[str, Any], result: pathlib.Path) -> None:
  """Notes how a run is made; where it has a result, compares that with the note."""
  if not path.is_file() or not result.exists():
    path.parent.mkdir(parents=True, exist_ok=True)
    whole_file.write_text(path, json.dumps(about, indent=1) + '\n')
  elif json.loads(path.read_text(encoding='utf-8')) != about:
    raise RunError(
      f'{path.parent} holds a run with other flags or initial weights; move it away or choose another '
      '--output_dir'
    )


def _take_inference_options(folder: pathlib.Path, initial: pathlib.Path) -> None:
  """Writes model.h5: final.h5 with the options of inference that the initial weights have."""
  from feelvos_tf.deeplab import weights_file
  from feelvos_tf.training import initial_weights

  if (folder / 'model.h5').is_file():
    return
  metadata, arrays = weights_file.read(folder / 'final.h5')
  metadata['options'].update(initial_weights.inference_options(str(initial)) or {})
  weights_file.save_arrays(folder / 'model.h5', arrays, metadata)


def _score(label: str, folder: pathlib.Path, root: Root) -> float:
  arguments = [
    f'--model={folder / "model.h5"}',
    f'--davis_root={root.path}',
    f'--year={root.year}',
    '--nokeep_maps',
    '--noreport',
    *([f'--speed={FLAGS.speed}'] if FLAGS.speed else []),
    *([f'--precision={FLAGS.precision}'] if FLAGS.precision else []),
  ]
  results = folder / root.folder
  _check_same(folder / f'{root.folder}.json', {'flags': arguments}, results)
  # What is there of the same model, frames and masks is not made again.
  command = [*arguments, f'--output_dir={results}']
  shown = ('segmenting', 'scoring')
  error = command_runs.run('feelvos_tf.evaluate', command, f'{label}, {root.title}', shown)
  if error:
    raise RunError(error)
  return tables.read_summary(results)['global']['J&F-Mean']


def _write_table(
  output: result_folder.ResultFolder,
  shared: list[str],
  roots: list[Root],
  scores: dict[str, dict[str, dict[str, float]]],
  failures: dict[str, str],
) -> str:
  """Writes table.json and table.md; returns the text of table.md."""
  about = {'initial': FLAGS.initial, 'steps': FLAGS.steps, 'speed': FLAGS.speed, 'flags': shared}
  text = markdown(roots, scores, failures)
  data = {'about': about, 'roots': {r.folder: r for r in roots}, 'scores': scores}
  content = json.dumps({**data, 'failures': failures}, indent=1) + '\n'
  for name, value in zip(_FILES, (content, text)):
    output.write(_JOB, name, value.encode('utf-8', 'surrogateescape'))
  return text


def markdown(
  roots: list[Root], scores: dict[str, dict[str, dict[str, float]]], failures: dict[str, str]
) -> str:
  """The table.

  Args:
    roots: columns.
    scores: {rung: {seed: {folder of a root: mean of J&F}}}.
    failures: {run: why}.

  Returns:
    Markdown. Differences are over the seeds that the rung and the base have.
  """
  lines = [
    f'{FLAGS.steps} steps from {FLAGS.initial}. Mean of J&F ± standard deviation over the seeds '
    f'(their number), the same of the difference to {BASE} seed by seed.',
    '',
    f'| rung | flags | {" | ".join(f"{root.title} | difference" for root in roots)} |',
    '|---' * 2 + '|--:|--:' * len(roots) + '|',
  ]
  for name, by_seed in scores.items():
    description, own = RUNGS[name]
    cells = [description, ' '.join(f'`{flag}`' for flag in own)]
    for root in roots:
      found = {seed: values[root.folder] for seed, values in by_seed.items()}
      base = {s: v[root.folder] for s, v in scores.get(BASE, {}).items() if s in found}
      cells += [_mean(list(found.values())), _difference(name, found, base)]
    lines.append(f'| {" | ".join(cells)} |')
  lines += [f'\n{run}: {why}' for run, why in failures.items()]
  return '\n'.join(lines) + '\n'


def _mean(values: list[float]) -> str:
  return f'{statistics.mean(values):.3f}{_spread(values)} ({len(values)})' if values else '–'


def _difference(name: str, found: dict[str, float], base: dict[str, float]) -> str:
  if name == BASE or not base:
    return '' if name == BASE else '–'
  differences = [found[seed] - base[seed] for seed in base]
  # Rounded first, and + 0.0: no minus zero.
  return f'{round(statistics.mean(differences), 3) + 0.0:+.3f}{_spread(differences)}'


def _spread(values: list[float]) -> str:
  return f' ± {statistics.stdev(values):.3f}' if len(values) > 1 else ''


if __name__ == '__main__':
  command_line.run(main, define_flags)

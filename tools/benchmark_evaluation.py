r"""Times scoring next to the public package vos-benchmark, on the same masks.

  python -m tools.benchmark_evaluation --davis_root=DAVIS --results_dir=masks

Scores every sequence of --results_dir with both, one after the other, --repeats times, and prints
seconds (median, fastest, slowest) and J&F of each. Needs `pip install vos-benchmark`. The package
counts every id of every ground-truth frame; where objects appear late the scores differ.
"""

from collections.abc import Callable, Mapping, Sequence
import os
import pathlib
import tempfile
import time
from typing import Any

from absl import flags
import numpy as np

from feelvos_tf.evaluation import scoring
from feelvos_tf.evaluation import sequences as sequences_lib
from feelvos_tf.evaluation import summary
from feelvos_tf.evaluation import truth
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime.option_flags import OptionFlags

FLAGS = flags.FLAGS
# The sequences are those of --results_dir.
TRUTH = OptionFlags(
  truth.TruthOptions, leave_out=(*truth.BEYOND_DAVIS, 'year', 'split', 'sequences', 'protocol')
)
SCORING = OptionFlags(
  scoring.EvaluationOptions,
  leave_out=('protocol', 'on_error', 'missing_frames'),
  defaults={'num_workers': 1},
)


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  TRUTH.define()
  SCORING.define()
  flags.DEFINE_string('results_dir', None, 'Folder of masks, <sequence>/<frame>.png.')
  flags.DEFINE_integer('repeats', 3, 'Repetitions; the median is given.', lower_bound=1)


def main() -> None:
  """Checks flags and files, measures and prints a line for each."""
  for flag in ('davis_root', 'results_dir'):
    if not getattr(FLAGS, flag):
      raise command_line.UsageError(f'--{flag} is missing.')
  try:
    from vos_benchmark import benchmark
  except ImportError:
    raise ValueError('the package vos-benchmark is missing; pip install vos-benchmark') from None
  results = pathlib.Path(FLAGS.results_dir)
  if not results.is_dir():
    raise FileNotFoundError(f'{results}: no such folder of results; check --results_dir')
  names = tuple(sorted(path.name for path in results.iterdir() if path.is_dir()))
  sequences = truth.find_sequences(TRUTH.make(sequences=names), results, results)
  with tempfile.TemporaryDirectory() as folder:
    links = _link(sequences, pathlib.Path(folder))
    theirs = lambda: benchmark.benchmark(
      [str(links / 'truth')],
      [str(links / 'results')],
      num_processes=FLAGS.num_workers or os.cpu_count(),
      verbose=False,
    )[0][0]
    times = measure(
      {'vos-benchmark': theirs, 'feelvos_tf': lambda: _score(sequences)}, FLAGS.repeats
    )
  for name, (seconds, score) in times.items():
    print(
      f'{name:14s} {np.median(seconds):6.2f} s ({min(seconds):.2f} to {max(seconds):.2f})  '
      f'J&F {score:.3f}'
    )


def measure(
  functions: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, tuple[list[float], Any]]:
  """Calls functions in turn.

  Args:
    functions: dict of name to function without arguments.
    repeats: int, rounds.

  Returns:
    dict of name to (list of seconds, what the function returned last).
  """
  seconds: dict[str, list[float]] = {name: [] for name in functions}
  results = {}
  for _ in range(repeats):
    for name, function in functions.items():
      start = time.perf_counter()
      results[name] = function()
      seconds[name].append(time.perf_counter() - start)
  return {name: (seconds[name], results[name]) for name in functions}


def _score(sequences: Sequence[sequences_lib.SequenceFiles]) -> float:
  """J&F in percent."""
  outcomes = scoring.score_all(sequences, SCORING.make())
  scores = [outcome.scores for outcome in outcomes if outcome.scores]
  return 100 * summary.summarise(scores)['J&F-Mean']


def _link(sequences: Sequence[sequences_lib.SequenceFiles], folder: pathlib.Path) -> pathlib.Path:
  """Links to the masks: vos-benchmark writes its table into the folder of results."""
  for kind in ('truth', 'results'):
    (folder / kind).mkdir()
    for files in sequences:
      (folder / kind / files.name).symlink_to(getattr(files, kind).resolve())
  return folder


if __name__ == '__main__':
  command_line.run(main, define_flags)

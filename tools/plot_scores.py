"""Draws J over the frames of every sequence of an evaluation, several runs in one picture.

  feelvos evaluate --model=default --davis_root=DAVIS --output_dir=runs/now
  python -m tools.plot_scores --runs=runs/now,runs/before --output=scores.png

Where a curve falls, the object was lost. The HTML report of the evaluation shows the frames.
"""

from collections.abc import Mapping, Sequence
import os
import pathlib
from typing import Any

from absl import flags
import numpy as np

from feelvos_tf.evaluation import tables
from feelvos_tf.runtime import command_line
from feelvos_tf.tools.benchmarks import figures

COLUMNS = 5
FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_list(
    'runs',
    [],
    'Folders of evaluations (with summary.json), separated by commas; '
    'the sequences of the first are drawn.',
  )
  flags.DEFINE_string('output', None, 'PNG file to write.')
  flags.DEFINE_bool('overwrite', False, 'Replace --output.')


def main() -> None:
  """Reads the summaries and writes the picture."""
  if not FLAGS.runs or not FLAGS.output:
    raise command_line.UsageError(
      '--runs and --output are needed: folders of evaluations, and a PNG file.'
    )
  if os.path.exists(FLAGS.output) and not FLAGS.overwrite:
    raise ValueError(f'{FLAGS.output} exists; --overwrite replaces it.')
  runs = {n: curves(tables.read_summary(pathlib.Path(run))) for n, run in named(FLAGS.runs).items()}
  plot(runs, FLAGS.output)


def named(runs: Sequence[str]) -> dict[str, str]:
  """{name in the picture: folder}: the ends of the paths, or whole paths where ends are equal.

  Raises:
    UsageError: a run is given twice.
  """
  if len(set(runs)) < len(runs):
    raise command_line.UsageError(f'--runs={",".join(runs)} given; expected every run once.')
  ends = [pathlib.Path(run).name for run in runs]
  return dict(zip(ends if len(set(ends)) == len(ends) else runs, runs))


def curves(summary: dict[str, Any]) -> dict[str, np.ndarray]:
  """J of every frame, mean over the objects that are scored there.

  Args:
    summary: dict of `evaluation.tables.read_summary`.

  Returns:
    dict of sequence name to np.float64 [frames]; NaN where nothing is scored.
  """
  found = {}
  for name, sequence in summary['sequences'].items():
    scores = [object_['J']['per_frame'] for object_ in sequence['objects'].values()]
    values = np.ma.masked_invalid(np.array(scores, np.float64))  # None becomes NaN.
    found[name] = values.mean(axis=0).filled(np.nan)
  return found


def plot(runs: Mapping[str, dict[str, np.ndarray]], path: str | os.PathLike) -> None:
  """Draws one small panel for every sequence.

  Args:
    runs: dict of run name to what `curves` returned.
    path: PNG file to write.

  Raises:
    ValueError: matplotlib is not installed.
  """
  names = list(next(iter(runs.values())))
  rows = -(-len(names) // COLUMNS)
  drawing = figures.create(path, (2.4 * COLUMNS, 1.8 * rows + 0.3))
  panels = drawing.subplots(rows, COLUMNS, sharey=True, squeeze=False).ravel()
  for panel, name in zip(panels, names):
    for number, (run, sequences) in enumerate(runs.items()):
      if name in sequences:
        panel.plot(sequences[name], label=run, linewidth=1.2, color=f'C{number}')
    panel.set_title(name, fontsize=9)
    panel.set_ylim(0, 1)
    panel.grid(alpha=0.3)
    panel.tick_params(labelsize=7)
  for panel in panels[len(names) :]:
    panel.set_axis_off()
  drawing.supylabel('J', fontsize=9)
  drawing.supxlabel('frame', fontsize=9)
  if len(runs) > 1:
    # A run may lack the sequence of the first panel.
    found = [zip(*panel.get_legend_handles_labels()) for panel in panels]
    handles = {run: handle for pairs in found for handle, run in pairs}
    drawn = [run for run in runs if run in handles]
    drawing.legend(
      [handles[run] for run in drawn],
      drawn,
      loc='outside upper right',
      fontsize=8,
      ncols=len(drawn),
    )
  figures.save(drawing, path, dpi=100)


if __name__ == '__main__':
  command_line.run(main, define_flags)

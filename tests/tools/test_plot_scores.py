"""The picture of J over frames: what is drawn, and what is refused."""

import json
from unittest import mock

import numpy as np
import pytest

from feelvos_tf.runtime import command_line
from feelvos_tf.tools import plot_scores

MODULE = 'tools.plot_scores'


def summary(**sequences):
  """Summary of sequences given as lists with J of every frame for each object."""
  return {
    'settings': {},
    'global': {},
    'left_out': {},
    'sequences': {
      name: {
        'objects': {
          str(number): {'J': {'per_frame': values}} for number, values in enumerate(objects, 1)
        }
      }
      for name, objects in sequences.items()
    },
  }


def write_run(folder, content):
  folder.mkdir()
  (folder / 'summary.json').write_text(json.dumps(content))
  return folder


def test_curves_are_means_over_objects():
  """An object that appears late (None before) takes nothing from the others."""
  found = plot_scores.curves(
    summary(dog=[[1.0, 0.5, None], [None, 0.0, None]], cow=[[1.0, 0.0], [0.5, 0.5]])
  )
  np.testing.assert_array_equal(found['dog'], [1.0, 0.25, np.nan])
  np.testing.assert_array_equal(found['cow'], [0.75, 0.25])


def test_names_of_runs():
  assert plot_scores.named(['a/now', 'a/before']) == {'now': 'a/now', 'before': 'a/before'}
  assert list(plot_scores.named(['a/now', 'b/now'])) == ['a/now', 'b/now']
  with pytest.raises(command_line.UsageError, match='expected every run once'):
    plot_scores.named(['a/now', 'a/now'])


def test_a_run_has_one_colour_and_its_name(monkeypatch, tmp_path):
  """Also where it lacks the sequence of the first panel, or another run lacks one."""
  panels = [mock.Mock() for _ in range(plot_scores.COLUMNS)]
  for panel in panels:
    panel.get_legend_handles_labels = lambda panel=panel: (
      [call.kwargs['color'] for call in panel.plot.call_args_list],
      [call.kwargs['label'] for call in panel.plot.call_args_list],
    )
  drawing = mock.Mock()
  drawing.subplots.return_value = np.array([panels])
  monkeypatch.setattr(plot_scores.figures, 'create', lambda *args: drawing)
  monkeypatch.setattr(plot_scores.figures, 'save', lambda *args, **kwargs: None)
  dog, cow = {'dog': np.ones(2)}, {'cow': np.ones(2)}
  plot_scores.plot({'a': {**dog, **cow}, 'b': cow, 'c': {**dog, **cow}}, tmp_path / 'x.png')
  drawn = [
    {call.kwargs['label']: call.kwargs['color'] for call in panel.plot.call_args_list}
    for panel in panels[:2]
  ]
  assert drawn == [{'a': 'C0', 'c': 'C2'}, {'a': 'C0', 'b': 'C1', 'c': 'C2'}]
  assert drawing.legend.call_args.args == (['C0', 'C1', 'C2'], ['a', 'b', 'c'])


def test_picture_and_refusals(tmp_path, run_main):
  pytest.importorskip('matplotlib')
  runs = [
    write_run(tmp_path / 'now', summary(dog=[[1.0, 0.5]], cow=[[0.2, 0.1]])),
    write_run(tmp_path / 'before', summary(dog=[[0.9, 0.4]])),
  ]
  flags = [f'--runs={runs[0]},{runs[1]}', f'--output={tmp_path / "scores.png"}']
  process = run_main(MODULE, *flags)
  assert process.returncode == 0, process.stderr
  assert (tmp_path / 'scores.png').read_bytes()[:4] == b'\x89PNG'
  again = run_main(MODULE, *flags)
  assert (again.returncode, 'exists; --overwrite' in again.stderr) == (1, True)
  lacking = run_main(MODULE, f'--runs={tmp_path / "no"}', f'--output={tmp_path / "b.png"}')
  assert lacking.returncode == 1 and 'Traceback' not in lacking.stderr and 'no' in lacking.stderr
  assert run_main(MODULE, '--output=x.png').returncode == 2

"""Tables of an evaluation: the official CSV files, a JSON summary and lines for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
import csv
import dataclasses
import io
import json
import math
import os
import pathlib
from typing import Any

from feelvos_tf.datasets import names as names_lib
from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.evaluation import summary as summary_lib

# Columns of the two files that the DAVIS 2017 evaluation writes; three decimals, as there.
GLOBAL_COLUMNS = ('J&F-Mean', 'J-Mean', 'J-Recall', 'J-Decay', 'F-Mean', 'F-Recall', 'F-Decay')
SEQUENCE_COLUMNS = ('Sequence', 'J-Mean', 'F-Mean')
SUMMARY_NAME = 'summary.json'


def global_csv(summary: dict[str, float]) -> str:
  """The official table of global numbers, from `evaluation.summary.summarise`."""
  return _csv([GLOBAL_COLUMNS, [f'{summary[name]:.3f}' for name in GLOBAL_COLUMNS]])


def per_sequence_csv(sequences: Sequence[sequence_scores.SequenceScores]) -> str:
  """The official table with one row per object, named `<sequence>_<id>`."""
  rows = [SEQUENCE_COLUMNS]
  for scores in sequences:
    means = zip(scores.object_names, scores.statistics('J'), scores.statistics('F'))
    rows += [(name, f'{j.mean:.3f}', f'{f.mean:.3f}') for name, j, f in means]
  return _csv(rows)


def to_summary(
  sequences: Sequence[sequence_scores.SequenceScores],
  left_out: dict[str, str],
  settings: dict,
  seen_unseen: dict[str, float] | None = None,
  confidence: dict | None = None,
) -> dict:
  """Everything about a run, as written to summary.json.

  Args:
    sequences: the scored sequences.
    left_out: sequence name -> why it could not be scored.
    settings: how the run was made (protocol, folders, ...); taken over as they are.
    seen_unseen: numbers of `evaluation.summary.summarise_seen_unseen`.
    confidence: numbers of `evaluation.confidence_score.summarise`.

  Returns:
    dict that JSON can hold, NaN turned to None: 'settings', 'global', 'complete', 'left_out' and
    'sequences' with, for every object, the statistics and the scores of every frame.
  """
  return _without_nan(
    {
      'settings': settings,
      'global': summary_lib.summarise(sequences),
      'seen_unseen': seen_unseen,
      'confidence': confidence,
      'num_sequences': len(sequences),
      'num_objects': sum(len(scores.object_ids) for scores in sequences),
      'complete': not left_out,
      'left_out': left_out,
      'sequences': {scores.name: _sequence_entry(scores) for scores in sequences},
    }
  )


def table_names(split: str) -> tuple[str, str, str]:
  """Names of the files of `to_files`; `split` is the part after the hyphen."""
  return f'global_results-{split}.csv', f'per-sequence_results-{split}.csv', SUMMARY_NAME


def to_files(
  split: str, sequences: Sequence[sequence_scores.SequenceScores], summary: dict
) -> dict[str, bytes]:
  """Both CSV files and the summary: {name: content}.

  Args:
    split: see `table_names`.
    sequences: SequenceScores.
    summary: from `to_summary`.
  """
  texts = (
    global_csv(summary_lib.summarise(sequences)),
    per_sequence_csv(sequences),
    json.dumps(summary, indent=1, allow_nan=False) + '\n',
  )
  contents = (text.encode('utf-8', errors='surrogateescape') for text in texts)
  return dict(zip(table_names(split), contents))


def read_summary(path: str | os.PathLike) -> dict:
  """Reads a summary back.

  Args:
    path: summary.json or the folder that holds it.

  Returns:
    The dict of `to_summary`.

  Raises:
    FileNotFoundError: it is not there.
    ValueError: it is not a summary.
  """
  path = pathlib.Path(path)
  path = path / SUMMARY_NAME if path.is_dir() else path
  if not path.is_file():
    raise FileNotFoundError(
      f'{path}: no such file; the output folder of an earlier evaluation expected'
    )
  try:
    summary = names_lib.parse_json(path.read_text(encoding='utf-8'))
  except ValueError:
    summary = None
  if not isinstance(summary, dict) or not {'global', 'sequences', 'settings'} <= set(summary):
    raise ValueError(f'{path}: not the summary of an evaluation; run the evaluation again')
  return summary


def format_lines(summary: dict) -> list[str]:
  """The result for the terminal: global numbers, a line per object, what was left out."""
  width = max([len(name) + 4 for name in summary['sequences']], default=8)
  lines = [f'{"":{width}}  {"J&F":>6} {"J":>6} {"F":>6}']

  def row(name: str, j: float | None, f: float | None) -> str:
    mean = None if j is None or f is None else (j + f) / 2
    return f'{name:{width}}  {_number(mean):>6} {_number(j):>6} {_number(f):>6}'

  for name, entry in summary['sequences'].items():
    lines += [
      row(f'{name}_{i}', o['J']['mean'], o['F']['mean']) for i, o in entry['objects'].items()
    ]
  lines.append(row('all', summary['global']['J-Mean'], summary['global']['F-Mean']))
  if summary['seen_unseen']:
    lines.append('  '.join(f'{k} {_number(v)}' for k, v in summary['seen_unseen'].items()))
  if confidence := summary.get('confidence'):
    lines.append(
      f'confidence: AUROC {_number(confidence["auroc"])} of J below 0.5, {confidence["wrong"]} of '
      f'{confidence["masks"]} masks'
    )
  for name, entry in summary['sequences'].items():
    lines += [f'note: {name}: {note}' for note in entry['notes']]
  if summary['left_out']:
    lines.append(
      f'LEFT OUT: {len(summary["left_out"])} of '
      f'{len(summary["left_out"]) + summary["num_sequences"]} sequences; the numbers '
      'are not those of the whole split'
    )
    lines += [f'  {name}: {reason}' for name, reason in summary['left_out'].items()]
  return lines


def _sequence_entry(scores: sequence_scores.SequenceScores) -> dict[str, Any]:
  objects = {}
  for row, object_id in enumerate(scores.object_ids):
    objects[str(object_id)] = {
      measure: {
        **dataclasses.asdict(scores.statistics(measure)[row]),
        'per_frame': values[row].tolist(),
      }
      for measure, values in (('J', scores.j), ('F', scores.f))
    }
  return {'frames': list(scores.frame_names), 'notes': list(scores.notes), 'objects': objects}


def _csv(rows: Iterable[Sequence]) -> str:
  stream = io.StringIO()
  csv.writer(stream, lineterminator='\n').writerows(rows)
  return stream.getvalue()


def _number(value: float | None) -> str:
  return '-' if value is None else f'{value:.3f}'


def _without_nan(value: Any) -> Any:
  """The same structure with None for NaN, which JSON does not have."""
  if isinstance(value, dict):
    return {key: _without_nan(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [_without_nan(item) for item in value]
  if isinstance(value, float) and math.isnan(value):
    return None
  return value


def j_and_f(measures: Mapping[str, Any]) -> float | None:
  """Mean of J and F of one object in a summary; None where it has none."""
  j, f = measures['J']['mean'], measures['F']['mean']
  return None if j is None or f is None else (j + f) / 2

"""The report of an evaluation: one HTML file that needs nothing else, under 20 MB."""

from collections.abc import Sequence
import html
import math
import os
import pathlib
from typing import Any

from feelvos_tf.evaluation import report_pictures
from feelvos_tf.evaluation import sequences as sequences_lib
from feelvos_tf.evaluation import tables
from feelvos_tf.evaluation.pictures import PictureOptions

MAX_BYTES = 19_500_000  # pictures that would make the file larger are left out
_SPARK_WIDTH, _SPARK_HEIGHT, _SPARK_POINTS = 180, 30, 120

_STYLE = """
:root { color-scheme: light; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1160px; padding: 0 1em;
  color: #1c2733; background: #fff; }
h1 { font-size: 1.5em; margin-bottom: .2em; } h2 { font-size: 1.2em; margin-top: 2em; }
h3 { font-size: 1em; margin: 1.6em 0 .4em; } .quiet { color: #5b6875; }
table { border-collapse: collapse; } th, td { padding: .25em .7em; text-align: right; }
th { border-bottom: 2px solid #1c2733; background: #fff; vertical-align: bottom; }
#objects th { cursor: pointer; position: sticky; top: 0; }
td { border-bottom: 1px solid #dfe4e8; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
.worse { color: #b3261e; } .better { color: #146c2e; }
.warning { background: #fff1d6; border-left: 4px solid #e09b00; padding: .6em 1em; }
.row { display: flex; flex-wrap: wrap; gap: 8px; margin-bottom: 12px; }
figure { margin: 0; max-width: 100%; } figcaption { font-size: 12px; color: #5b6875; }
img { display: block; max-width: 100%; height: auto; }
.key { display: inline-block; width: 1em; height: 1em; vertical-align: -2px; margin: 0 .3em 0 1em;
  border: 1px solid #889; }
svg { display: block; } .ours { fill: none; stroke: #0b57a4; stroke-width: 1.5; }
.theirs { fill: none; stroke: #e09b00; stroke-width: 1.2; } .half { stroke: #ccd3d9; }
@media print { .row { break-inside: avoid; } }
"""

# Clicking a column's head sorts by it; the page says the same without.
_SCRIPT = """
document.querySelectorAll('#objects th').forEach((head, column) => head.onclick = () => {
  const body = document.querySelector('#objects tbody'), rows = [...body.rows];
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const sign = head.dataset.sign = head.dataset.sign === '1' ? -1 : 1;
  const compare = (a, b) => isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  rows.sort((a, b) => sign * compare(value(a), value(b)));
  body.append(...rows);
});
"""


def to_html(
  summary: dict,
  sequences: Sequence[sequences_lib.SequenceFiles],
  maps_dir: str | os.PathLike | None = None,
  other: dict | None = None,
  options: PictureOptions = PictureOptions(),
) -> bytes:
  """The report of a run: content of an HTML file.

  Args:
    summary: of `evaluation.tables.to_summary` or `read_summary`.
    sequences: where the masks and frames of the sequences are.
    maps_dir: output folder of an evaluation with --model, for the maps of the model.
    other: summary of another run to stand next to this one; its pictures are shown while its
      masks are where they were.
    options: pictures.
  """
  title = f'Evaluation of {_run_name(summary)}'
  head = [
    f'<h1>{_text(title)}</h1>',
    _about(summary, other),
    _left_out(summary),
    _global_table(summary, other),
    _seen_unseen(summary),
    '<h2>Objects</h2>',
    _object_table(summary, other),
  ]
  body = '\n'.join(head)
  body += report_pictures.worst_frames(
    summary,
    sequences,
    maps_dir,
    other,
    options,
    MAX_BYTES - len(body.encode(errors='surrogateescape')),
  )
  page = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>{_text(title)}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n'
    f'<script>{_SCRIPT}</script></body></html>\n'
  )
  return page.encode('utf-8', errors='surrogateescape')


def sparkline(values: Sequence[float | None], theirs: Sequence[float | None] | None = None) -> str:
  """An SVG curve of values in [0, 1] over time; None leaves a gap.

  Args:
    values: floats or None; long lists are thinned to the lowest value of each stretch, so that
      failures stay visible.
    theirs: the same of another run, drawn behind.
  """
  lines = ''.join(
    f'<path class="{name}" d="{_path(series)}"/>'
    for name, series in (('theirs', theirs), ('ours', values))
    if series
  )
  middle = _SPARK_HEIGHT / 2
  return (
    f'<svg width="{_SPARK_WIDTH}" height="{_SPARK_HEIGHT}" role="img" aria-label="J over '
    f'time"><line class="half" x1="0" x2="{_SPARK_WIDTH}" y1="{middle}" y2="{middle}"/>'
    f'{lines}</svg>'
  )


def _path(values: Sequence[float | None]) -> str:
  step = max(1, math.ceil(len(values) / _SPARK_POINTS))
  thinned = []
  for start in range(0, len(values), step):
    known = [v for v in values[start : start + step] if v is not None]
    thinned.append(min(known) if known else None)
  parts, pen_down = [], False
  for index, value in enumerate(thinned):
    if value is not None:
      x = 2 + (_SPARK_WIDTH - 4) * index / max(len(thinned) - 1, 1)
      y = 2 + (_SPARK_HEIGHT - 4) * (1 - value)
      parts.append(f'{"L" if pen_down else "M"}{x:.1f} {y:.1f}')
      if not pen_down:  # a single point is visible as a short stroke
        parts.append('h.5')
    pen_down = value is not None
  return ''.join(parts)


def _text(value: object) -> str:
  return html.escape(str(value))


def _number(value: float | None) -> str:
  return '–' if value is None else f'{round(value, 3) + 0.0:.3f}'  # + 0.0: no minus zero


def _difference(ours: float | None, theirs: float | None, less_is_better: bool = False) -> str:
  """A table cell with the sign and colour of a difference in a score."""
  if ours is None or theirs is None:
    return '<td>–</td>'
  value = ours - theirs
  gain = -value if less_is_better else value
  kind = 'better' if gain > 0.0005 else 'worse' if gain < -0.0005 else ''
  return f'<td class="{kind}" data-value="{value:.6f}">{value:+.3f}</td>'


def _run_name(summary: dict[str, Any]) -> str:
  settings = summary['settings']
  return settings.get('run') or pathlib.Path(settings.get('results_dir', 'masks')).name


def _facts(summary: dict[str, Any]) -> list[str]:
  """What a run was made with: model, time, options that are not at their defaults."""
  settings = summary['settings']
  facts = [f'model {settings["model"]}'] if settings.get('model') else []
  if settings.get('seconds_per_frame'):
    facts.append(f'{settings["seconds_per_frame"]:.3g} s per frame')
  for name, value in settings.get('options', {}).items():
    value = ', '.join(map(str, value)) if isinstance(value, list) else value
    facts.append(name if value is True else f'{name} {value}')
  return facts


def _about(summary: dict[str, Any], other: dict[str, Any] | None) -> str:
  settings = summary['settings']
  facts = [
    f'{summary["num_sequences"]} sequences, {summary["num_objects"]} objects',
    f'split {settings.get("split")}',
    f'protocol {settings.get("protocol")}',
  ]
  lines = [', '.join(_text(fact) for fact in facts + _facts(summary))]
  if other:
    made_with = ', '.join(_facts(other))
    made_with = f' ({made_with})' if made_with else ''
    lines.append(
      f'Compared with {_text(_run_name(other) + made_with)}: differences are this run '
      'minus that; its curve is orange.'
    )
    if other['settings'].get('protocol') != settings.get('protocol'):
      lines.append('<b>The two runs were scored with different protocols.</b>')
  return f'<p class="quiet">{"<br>".join(lines)}</p>'


def _left_out(summary: dict[str, Any]) -> str:
  if not summary['left_out']:
    return ''
  items = ''.join(
    f'<li><b>{_text(name)}</b>: {_text(reason)}</li>'
    for name, reason in summary['left_out'].items()
  )
  return (
    '<div class="warning">Not the whole split: these sequences could not be scored and do '
    f'not count.<ul>{items}</ul></div>'
  )


def _global_table(summary: dict[str, Any], other: dict[str, Any] | None) -> str:
  names = tables.GLOBAL_COLUMNS
  rows = [(f'this run: {_run_name(summary)}', summary['global'])]
  note = ''
  if other:
    rows.append((f'other run: {_run_name(other)}', other['global']))
    ours, theirs = summary['global'], other['global']
    if _objects(summary) != _objects(other):
      ours, theirs, count = _common(summary, other)
      rows += [
        (f'this run, {count} common objects', ours),
        (f'other run, {count} common objects', theirs),
      ]
      note = '<p class="quiet">The two runs are not over the same objects.</p>'
  body = ''.join(
    f'<tr><td>{_text(label)}</td>'
    + ''.join(f'<td>{_number(numbers[name])}</td>' for name in names)
    + '</tr>'
    for label, numbers in rows
  )
  if other:
    cells = ''.join(_difference(ours[n], theirs[n], less_is_better='Decay' in n) for n in names)
    body += f'<tr><td>difference</td>{cells}</tr>'
  head = ''.join(f'<th>{_text(name)}</th>' for name in names)
  return f'<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>{note}'


def _objects(summary: dict[str, Any]) -> set[tuple[str, str]]:
  """Set of (sequence, object id)."""
  return {(name, i) for name, entry in summary['sequences'].items() for i in entry['objects']}


def _common(summary: dict[str, Any], other: dict[str, Any]) -> tuple:
  """Global numbers of both runs over the objects that both have, and how many there are."""
  common = sorted(_objects(summary) & _objects(other))
  result = []
  for run in (summary, other):
    numbers = {}
    for name in tables.GLOBAL_COLUMNS[1:]:
      measure, statistic = name[0], name[2:].lower()
      values = [run['sequences'][s]['objects'][i][measure][statistic] for s, i in common]
      values = [value for value in values if value is not None]
      numbers[name] = sum(values) / len(values) if values else None
    j, f = numbers['J-Mean'], numbers['F-Mean']
    numbers['J&F-Mean'] = None if j is None or f is None else (j + f) / 2
    result.append(numbers)
  return (*result, len(common))


def _seen_unseen(summary: dict[str, Any]) -> str:
  found = summary.get('seen_unseen')
  if not found:
    return ''
  head = ''.join(f'<th>{_text(name)}</th>' for name in found)
  body = ''.join(f'<td>{_number(value)}</td>' for value in found.values())
  return (
    f'<h2>Seen and unseen categories</h2><table><thead><tr>{head}</tr></thead><tbody><tr>'
    f'{body}</tr></tbody></table>'
  )


def _object_table(summary: dict[str, Any], other: dict[str, Any] | None) -> str:
  columns = ['object', 'J&F', 'J', 'F', 'J recall', 'J decay', 'F recall', 'F decay']
  columns += ['other J&F', 'difference'] if other else []
  head = ''.join(f'<th>{_text(name)}</th>' for name in columns + ['J over time (line: 0.5)'])
  rows = []
  for name, entry in summary['sequences'].items():
    for object_id, measures in entry['objects'].items():
      theirs = _other_object(other, name, object_id)
      rows.append(_object_row(f'{name}_{object_id}', measures, theirs, other is not None))
  notes = ''.join(
    f'<li>{_text(name)}: {_text(note)}</li>'
    for name, entry in summary['sequences'].items()
    for note in entry['notes']
  )
  notes = f'<ul class="quiet">{notes}</ul>' if notes else ''
  return (
    f'<table id="objects"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
    f'</table>{notes}'
  )


def _other_object(other: dict[str, Any] | None, name: str, object_id: str) -> dict[str, Any] | None:
  entry = (other or {'sequences': {}})['sequences'].get(name)
  return None if entry is None else entry['objects'].get(object_id)


def _object_row(
  name: str, measures: dict[str, Any], theirs: dict[str, Any] | None, comparing: bool
) -> str:
  j, f = measures['J'], measures['F']
  score = tables.j_and_f(measures)
  cells = [f'<td>{_text(name)}</td>']
  cells += [
    f'<td>{_number(v)}</td>'
    for v in (score, j['mean'], f['mean'], j['recall'], j['decay'], f['recall'], f['decay'])
  ]
  if comparing:
    other_score = tables.j_and_f(theirs) if theirs else None
    cells += [f'<td>{_number(other_score)}</td>', _difference(score, other_score)]
  curve = sparkline(j['per_frame'], theirs['J']['per_frame'] if theirs else None)
  cells.append(f'<td data-value="{_number(j["mean"])}">{curve}</td>')
  return f'<tr>{"".join(cells)}</tr>'

"""The pictures of an evaluation's report: the worst frames, as HTML with the JPEGs in it."""

import base64
from collections.abc import Callable, Sequence
import dataclasses
import html
import os
from typing import Any

from feelvos_tf.datasets import names as names_lib
from feelvos_tf.evaluation import pictures
from feelvos_tf.evaluation import sequences as sequences_lib
from feelvos_tf.evaluation import tables
from feelvos_tf.evaluation.pictures import PictureOptions


def worst_frames(
  summary: dict[str, Any],
  sequences: Sequence[sequences_lib.SequenceFiles],
  maps_dir: str | os.PathLike | None,
  other: dict[str, Any] | None,
  options: PictureOptions,
  budget: int,
) -> str:
  """The worst frames of every sequence as HTML, the worst sequences first served.

  Args:
    summary, sequences, maps_dir, other, options: see `report.to_html`.
    budget: bytes; pictures beyond it are left out, which the page says.
  """
  files = {entry.name: entry for entry in sequences}
  order = sorted(
    (name for name in summary['sequences'] if name in files),
    key=lambda name: _worst_score(summary['sequences'][name]),
  )
  if not options.per_sequence or not order:
    return ''
  sections, left_out = {}, []
  for name in order:
    section = _sequence_pictures(name, summary, files[name], maps_dir, other, options)
    if len(section) > budget:
      left_out.append(name)
      continue
    budget -= len(section)
    sections[name] = section
  note = (
    f'<p class="warning">Pictures of {len(left_out)} sequences with better scores are left '
    'out to keep this file small.</p>'
    if left_out
    else ''
  )
  return f'<h2>Worst frames</h2>{_legend()}{note}' + ''.join(
    sections[name] for name in order if name in sections
  )


def _worst_score(entry: dict[str, Any]) -> float:
  scores = [tables.j_and_f(measures) for measures in entry['objects'].values()]
  return min((score for score in scores if score is not None), default=1.0)


def _legend() -> str:
  def key(colour: tuple[int, int, int]) -> str:
    return f'<span class="key" style="background:rgb{colour}"></span>'

  return (
    '<p class="quiet">Contours:'
    f'{key(pictures.TRUTH_COLOUR)}ground truth'
    f'{key(pictures.PREDICTION_COLOUR)}prediction. Tints, for the object named '
    f'under the picture:{key(pictures.MISSED_COLOUR)}missed'
    f'{key(pictures.WRONG_COLOUR)}wrong. Sequences with the worst object come '
    'first. Maps of the model: dark is 0, bright is 1.</p>'
  )


def _sequence_pictures(
  name: str,
  summary: dict[str, Any],
  files: sequences_lib.SequenceFiles,
  maps_dir: str | os.PathLike | None,
  other: dict[str, Any] | None,
  options: PictureOptions,
) -> str:
  entry = summary['sequences'][name]
  their_entry = (other or {'sequences': {}})['sequences'].get(name)
  protocol = summary['settings'].get('protocol', 'davis2017')
  moments = pictures.worst_moments(entry, options.per_sequence, their_entry)
  rows = []
  for moment in moments:
    label = f'frame {moment.frame}, object {moment.object_id}: J {moment.j:.3f}'
    figures = _figures(_drawn, label, files, moment, protocol, options)
    figures += _figures(_of_other, name, moment, files, protocol, other, options)
    if maps_dir is not None:
      figures += _figures(pictures.draw_maps, maps_dir, name, moment, options)
    rows.append(''.join(figures))
  # A line for each moment if there is more to see than the frame itself.
  rows = rows if other or maps_dir is not None else [''.join(rows)]
  lines = ''.join(f'<div class="row">{row}</div>' for row in rows)
  return f'<h3>{html.escape(name)}</h3>{lines}'


def _drawn(label: str, *arguments: Any) -> list[tuple[str, bytes]]:
  """(label, JPEG) of a frame; further arguments as of `pictures.draw_moment`."""
  return [(label, pictures.draw_moment(*arguments))]


def _of_other(
  name: str,
  moment: pictures.Moment,
  files: sequences_lib.SequenceFiles,
  protocol: str,
  other: dict[str, Any] | None,
  options: PictureOptions,
) -> list[tuple[str, bytes]]:
  """(label, JPEG) of the same frame of the run compared with, if its masks are still there."""
  results = (other or {'settings': {}})['settings'].get('results_dir', '')
  folder = names_lib.place_of(results, name)
  if moment.other_j is None or not folder.is_dir():
    return []
  theirs = dataclasses.replace(files, results=folder)
  return _drawn(f'other run: J {moment.other_j:.3f}', theirs, moment, protocol, options)


def _figures(draw: Callable[..., list[tuple[str, bytes]]], *arguments: Any) -> list[str]:
  """Figures of the (label, JPEG) that a function draws.

  Or what is wrong with a file that it needs: scores do without it.
  """
  try:
    return [_figure(*pair) for pair in draw(*arguments)]
  except (OSError, ValueError) as error:
    return [f'<p class="warning">{html.escape(names_lib.printable(error))}</p>']


def _figure(label: str, jpeg: bytes) -> str:
  data = base64.b64encode(jpeg).decode('ascii')
  return (
    f'<figure><img src="data:image/jpeg;base64,{data}" alt="{html.escape(label)}">'
    f'<figcaption>{html.escape(label)}</figcaption></figure>'
  )

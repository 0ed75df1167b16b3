"""J&F of the objects of composed clips by what happens to them: twins, leaving, being hidden.

  python -m tools.composed_scores --composed=composed --scores=runs/a --scores=runs/b

Prints a Markdown table with a row for each group of objects and a column for each folder of scores.
Reads composition.json of `tools.compose_clips` and per-sequence_results-*.csv, which `feelvos
evaluate` and the official tool write.
"""

from collections.abc import Mapping, Sequence
import csv
import json
import pathlib
from typing import Any

from absl import flags

from feelvos_tf.datasets import names as names_lib
from feelvos_tf.evaluation import tables
from feelvos_tf.runtime import command_line

FLAGS = flags.FLAGS
# An object of which less than this share can be seen on some frame counts as hidden.
HIDDEN_BELOW = 0.5


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_string('composed', None, 'Folder that tools.compose_clips wrote.')
  flags.DEFINE_multi_string('scores', [], 'Folder of scores of these clips; once for each.')
  flags.DEFINE_bool('objects', False, 'Also a row for each object.')


def main() -> None:
  """Reads all, prints the table."""
  if not FLAGS.composed or not FLAGS.scores:
    raise command_line.UsageError('--composed and at least one --scores expected.')
  composition = read_composition(FLAGS.composed)
  columns = [read_scores(folder) for folder in FLAGS.scores]
  groups = to_groups(composition)
  for folder, scores in zip(FLAGS.scores, columns, strict=True):
    if missing := [name for name in groups['all objects'] if name not in scores]:
      raise ValueError(
        f'{folder}: no score of {missing[0]} ({len(missing)} missing); expected scores of all objects '
        f'of {FLAGS.composed}'
      )
  if FLAGS.objects:
    groups |= {name: (name,) for name in groups['all objects']}
  print(to_table(groups, columns, FLAGS.scores))


def read_composition(folder: str) -> list[dict[str, Any]]:
  """The clips of a folder, as `ClipPlan.describe` gives them.

  Raises:
    FileNotFoundError: `tools.compose_clips` did not write this folder.
  """
  path = pathlib.Path(folder) / 'composition.json'
  if not path.is_file():
    raise FileNotFoundError(
      names_lib.missing(str(path), 'file', 'check --composed, a folder of tools.compose_clips')
    )
  return json.loads(path.read_text())


def read_scores(folder: str) -> dict[str, float]:
  """{`<clip>_<id>`: J&F, 0 to 1} of a folder of scores.

  Raises:
    ValueError: not exactly one table of objects is there.
  """
  pattern = tables.table_names('*')[1]
  found = list(pathlib.Path(folder).glob(pattern))
  if len(found) != 1:
    raise ValueError(f'{folder}: {len(found)} files {pattern}; expected one, check --scores')
  with found[0].open(newline='') as table:
    return {
      row['Sequence']: (float(row['J-Mean']) + float(row['F-Mean'])) / 2
      for row in csv.DictReader(table)
    }


def to_groups(composition: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
  """{name of the group: names of its objects, `<clip>_<id>`}.

  Objects are twins if they come from the same sequence. Of the last three groups, each object is in
  one.

  Args:
    composition: of `read_composition`.
  """
  groups: dict[str, list[str]] = {}
  for clip in composition:
    sequences = [one['sequence'] for one in clip['objects']]
    for one in clip['objects']:
      name = f'{clip["name"]}_{one["id"]}'
      has_twin = sequences.count(one['sequence']) > 1
      leaves, hidden = one.get('leaves', False), one['least_visible'] < HIDDEN_BELOW
      for group, belongs in (
        ('all objects', True),
        ('with a twin', has_twin),
        ('without a twin', not has_twin),
        ('in clips without twins', len(set(sequences)) == len(sequences)),
        ('leave and return', leaves),
        ('hidden by more than half', hidden and not leaves),
        ('never hidden by more than half', not hidden and not leaves),
      ):
        members = groups.setdefault(group, [])
        if belongs:
          members.append(name)
  return {group: tuple(names) for group, names in groups.items()}


def to_table(
  groups: Mapping[str, Sequence[str]], columns: Sequence[Mapping[str, float]], names: Sequence[str]
) -> str:
  """Markdown: the mean J&F of each group that has objects, a column for each set of scores.

  Args:
    groups: of `to_groups`.
    columns: of `read_scores`, with every object of the groups.
    names: titles of the columns.
  """
  rows = [['objects', 'number', *names], ['---', '--:', *['--:'] * len(names)]]
  for group, members in groups.items():
    if members:
      means = (sum(scores[name] for name in members) / len(members) for scores in columns)
      rows.append([group, str(len(members)), *(f'{mean:.3f}' for mean in means)])
  return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


if __name__ == '__main__':
  command_line.run(main, define_flags)

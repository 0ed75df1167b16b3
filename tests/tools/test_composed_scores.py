"""Scores of composed clips by groups of objects: which object is in which, means, wrong input."""

import json
import pathlib

import pytest

MODULE = 'tools.composed_scores'
CLIPS = [
  {
    'name': '00_dog_dog_cow',
    'objects': [
      {'id': 1, 'sequence': 'dog', 'kind': 'host', 'least_visible': 0.5},
      {'id': 2, 'sequence': 'dog', 'kind': 'mirror', 'leaves': False, 'least_visible': 0.49},
      {'id': 3, 'sequence': 'cow', 'kind': 'other', 'leaves': True, 'least_visible': 0.0},
    ],
  },
  {
    'name': '01_cow',
    'objects': [{'id': 1, 'sequence': 'cow', 'kind': 'host', 'least_visible': 1.0}],
  },
]
SCORES = {
  '00_dog_dog_cow_1': (0.5, 0.7),
  '00_dog_dog_cow_2': (0.2, 0.2),
  '00_dog_dog_cow_3': (1, 1),
  '01_cow_1': (0.9, 0.7),
}


@pytest.fixture
def folders(tmp_path):
  """Returns a function that writes scores; (folder of clips, folder of scores)."""

  def write(scores):
    for name in ('composed', 'scores'):
      (tmp_path / name).mkdir()
    (tmp_path / 'composed' / 'composition.json').write_text(json.dumps(CLIPS))
    rows = [f'{name},{j:.3f},{f:.3f}' for name, (j, f) in scores.items()]
    table = '\n'.join(['Sequence,J-Mean,F-Mean', *rows])
    (tmp_path / 'scores' / 'per-sequence_results-val.csv').write_text(f'{table}\n')
    return str(tmp_path / 'composed'), str(tmp_path / 'scores')

  return write


@pytest.fixture
def table(run_main):
  """Returns a function that runs the tool and gives {first cell: other cells}."""

  def make(composed, *scores, more=()):
    flags = [f'--composed={composed}', *(f'--scores={folder}' for folder in scores), *more]
    done = run_main(MODULE, *flags)
    assert done.returncode == 0, done.stderr
    lines = [line.strip('| ').split(' | ') for line in done.stdout.splitlines()]
    return {cells[0]: cells[1:] for cells in lines}

  return make


def test_means_of_groups(folders, table):
  composed, scores = folders(SCORES)
  assert table(composed, scores, scores) == {
    'objects': ['number', scores, scores],
    '---': ['--:', '--:', '--:'],
    'all objects': ['4', '0.650', '0.650'],
    'with a twin': ['2', '0.400', '0.400'],
    'without a twin': ['2', '0.900', '0.900'],
    'in clips without twins': ['1', '0.800', '0.800'],
    'leave and return': ['1', '1.000', '1.000'],
    'hidden by more than half': ['1', '0.200', '0.200'],
    'never hidden by more than half': ['2', '0.700', '0.700'],
  }
  assert table(composed, scores, more=['--objects'])['00_dog_dog_cow_1'] == ['1', '0.600']


def test_a_group_without_objects_has_no_row(folders, table):
  composed, scores = folders(SCORES)
  (pathlib.Path(composed) / 'composition.json').write_text(json.dumps(CLIPS[1:]))
  assert list(table(composed, scores)) == [
    'objects',
    '---',
    'all objects',
    'without a twin',
    'in clips without twins',
    'never hidden by more than half',
  ]


@pytest.mark.parametrize(
  'composed, scores, code, message',
  [
    ('composed', ['scores'], 1, 'scores: no score of 01_cow_1 (1 missing)'),
    ('composed', ['composed'], 1, '0 files per-sequence_results-'),
    ('scores', ['scores'], 1, 'composition.json: no such file; check --composed'),
    ('composed', [], 2, '--composed and at least one --scores expected'),
  ],
)
def test_wrong_input(folders, run_main, tmp_path, composed, scores, code, message):
  folders({name: values for name, values in SCORES.items() if name != '01_cow_1'})
  flags = [f'--composed={tmp_path / composed}', *(f'--scores={tmp_path / s}' for s in scores)]
  done = run_main(MODULE, *flags)
  assert done.returncode == code
  assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1

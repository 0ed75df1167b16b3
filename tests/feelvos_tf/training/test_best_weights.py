"""best.h5 and best.json of a run, also where one of them is lost or damaged."""

import json

import numpy as np
import pytest

from feelvos_tf.deeplab import weights_file
from feelvos_tf.training.best_weights import BestWeights


def export(path, notes):
  weights_file.save_arrays(path, {'value': np.zeros(9, np.float32)}, {'notes': notes})


def validated(folder, step, score, identity='ab'):
  """What is said of the folder, and at the validation; one of a run that goes on."""
  best = BestWeights(folder)
  lines = best.read()
  line = best.begin(identity)
  best.add(step, score, identity, export)
  return lines, line


def step_of(path):
  return weights_file.read_metadata(path)['notes']['step']


def noted(folder):
  return json.loads((folder / 'best.json').read_text())


@pytest.mark.parametrize('text', [None, '', '{"step": 4, "sc', '[]', '{"score": "x"}', '{"of": 1}'])
def test_without_best_json_the_weights_tell_the_score(tmp_path, text):
  validated(tmp_path, 4, 0.8)
  path = tmp_path / 'best.json'
  if text is None:
    path.unlink()
  else:
    path.write_text(text)
  lines, line = validated(tmp_path, 8, 0.5)
  assert lines[-1] == (
    f'{path}: no score of the best weights; that in {tmp_path}/best.h5 (step 4, score 0.8000) counts'
  )
  assert lines[:-1] == ([] if text is None else [f'{path}: damaged, its content does not count'])
  assert line is None and step_of(tmp_path / 'best.h5') == 4
  assert noted(tmp_path) == {'step': 4, 'score': 0.8, 'of': 'ab', 'validated': 8}
  path.unlink()
  assert 'kept as' in validated(tmp_path, 9, 0.1, 'cd')[1]  # best.h5 knows its validation, too.


@pytest.mark.parametrize('data', [None, b'', b'\x89HDF\r\n\x1a\n'])
def test_a_score_without_its_weights_does_not_count(tmp_path, data):
  validated(tmp_path, 4, 0.8)
  path = tmp_path / 'best.h5'
  if data is None:
    path.unlink()
  else:
    path.write_bytes(data)
  best = BestWeights(tmp_path)
  (line,) = best.read()
  assert line.startswith(f'{path}: ')
  assert line.endswith('; the next validation writes best weights anew')
  assert (best.score, best.validated) == (-1, 4)
  best.add(8, 0.5, 'ab', export)
  assert step_of(path) == 8 and noted(tmp_path)['score'] == 0.5


@pytest.mark.parametrize('notes', [{}, {'step': 'x', 'validation': 0.1}, {'step': 4}, 'x'])
def test_whole_weights_without_a_score_of_their_own(tmp_path, notes):
  """Somebody converted them, say: best.json has the score."""
  path = tmp_path / 'best.h5'
  validated(tmp_path, 4, 0.8)
  export(path, notes)
  before = path.read_bytes()
  assert validated(tmp_path, 8, 0.5) == ([], None)
  assert path.read_bytes() == before
  (tmp_path / 'best.json').unlink()
  (line,) = BestWeights(tmp_path).read()
  assert line == f'{path}: not of a validation; the next validation writes best weights anew'


def test_weights_that_were_set_aside_and_damaged(tmp_path):
  validated(tmp_path, 1, 0.8)
  validated(tmp_path, 2, 0.5, 'cd')
  kept = tmp_path / 'best_of_ab.h5'
  assert step_of(kept) == 1
  kept.write_bytes(kept.read_bytes()[:100])
  validated(tmp_path, 3, 0.6)
  line = validated(tmp_path, 4, 0.5, 'cd')[1]
  assert f'are kept as {kept}, in the place of a damaged file' in line
  assert step_of(kept) == 3


def test_a_run_that_starts_anew_replaces_no_better_weights(tmp_path):
  validated(tmp_path, 4, 0.8)
  best = BestWeights(tmp_path)
  assert best.read() == []
  best.start_anew()
  assert (best.score, best.validated) == (0.8, 0)
  best.add(4, 0.5, 'ab', export)
  assert step_of(tmp_path / 'best.h5') == 4 and noted(tmp_path)['score'] == 0.8


def test_a_folder_without_any(tmp_path):
  best = BestWeights(tmp_path / 'new')
  assert best.read() == [] and (best.score, best.validated) == (-1, 0)

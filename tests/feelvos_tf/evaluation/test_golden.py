"""Against the official DAVIS code and against vos-benchmark, on real masks.

Needs a DAVIS copy (DAVIS_ROOT) and FEELVOS_EVALUATION_GOLDEN: a folder with `results/` (predicted
masks) and `davis2017_scores.json` (what the official code makes of them). The masks belong to
DAVIS sequences, so they are not in this repository.
"""

import json
import os
import pathlib

import numpy as np
import pytest

from feelvos_tf.evaluation import scoring
from feelvos_tf.evaluation import sequences
from feelvos_tf.evaluation import summary as summary_lib


@pytest.fixture(scope='module')
def official(davis_root):
  """(official scores, our SequenceScores by name)."""
  folder = os.environ.get('FEELVOS_EVALUATION_GOLDEN')
  if not folder or not pathlib.Path(folder, 'davis2017_scores.json').is_file():
    pytest.skip('set FEELVOS_EVALUATION_GOLDEN to the folder with davis2017_scores.json')
  scores = json.loads(pathlib.Path(folder, 'davis2017_scores.json').read_text())
  found = {}
  for protocol, several in (('davis2017', True), ('davis2016', False)):
    names = [name for name, objects in scores['sequences'].items() if (len(objects) > 1) == several]
    files = sequences.davis_sequences(davis_root, pathlib.Path(folder, 'results'), names=names)
    options = scoring.EvaluationOptions(protocol)
    found.update({o.name: o.scores for o in scoring.score_all(files, options)})
  return scores, found


def test_every_frame_equals_the_official_code(official):
  scores, found = official
  assert len(found) == len(scores['sequences']) > 0
  for name, objects in scores['sequences'].items():
    assert found[name].object_ids == tuple(int(i) for i in objects)
    for row, expected in enumerate(objects.values()):
      np.testing.assert_allclose(found[name].j[row], expected['J_per_frame'], rtol=0, atol=1e-6)
      np.testing.assert_allclose(found[name].f[row], expected['F_per_frame'], rtol=0, atol=1e-6)


def test_statistics_equal_the_official_code(official):
  scores, found = official
  for name, objects in scores['sequences'].items():
    for measure in ('J', 'F'):
      for ours, expected in zip(found[name].statistics(measure), objects.values()):
        assert ours.mean == pytest.approx(expected[f'{measure}_mean'], abs=1e-9)
        assert ours.recall == pytest.approx(expected[f'{measure}_recall'], abs=1e-9)
        assert ours.decay == pytest.approx(expected[f'{measure}_decay'], abs=1e-9)


def test_global_numbers_equal_the_official_code(official):
  scores, found = official
  summary = summary_lib.summarise(list(found.values()))
  assert summary['J-Mean'] == pytest.approx(scores['global_']['J_mean'], abs=1e-9)
  assert summary['F-Mean'] == pytest.approx(scores['global_']['F_mean'], abs=1e-9)
  assert summary['J&F-Mean'] == pytest.approx(scores['global_']['JF'], abs=1e-9)


def test_equals_vos_benchmark(davis_root, official, tmp_path):
  """The public package vos-benchmark, where each object is in every ground-truth frame's ids."""
  benchmark = pytest.importorskip('vos_benchmark.benchmark')
  results = pathlib.Path(os.environ['FEELVOS_EVALUATION_GOLDEN'], 'results')
  names = [name for name, scores in official[1].items()]
  # It writes its table into the folder of results, so it gets a folder of links.
  for kind, folder in (('truth', davis_root / 'Annotations' / '480p'), ('results', results)):
    (tmp_path / kind).mkdir()
    for name in names:
      (tmp_path / kind / name).symlink_to((folder / name).resolve())
  _, j, f, per_object = benchmark.benchmark(
    [str(tmp_path / 'truth')], [str(tmp_path / 'results')], num_processes=1, verbose=False
  )
  for name, scores in official[1].items():
    for measure, theirs in zip('JF', per_object[0][name]):
      for row, object_id in enumerate(scores.object_ids):
        assert 100 * scores.statistics(measure)[row].mean == pytest.approx(
          theirs[object_id], abs=1e-6
        )
  summary = summary_lib.summarise(list(official[1].values()))
  assert (100 * summary['J-Mean'], 100 * summary['F-Mean']) == pytest.approx((j[0], f[0]), abs=1e-6)

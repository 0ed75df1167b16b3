"""Both scorers run on the same masks and agree; what is refused."""

import re

import numpy as np
import pytest

from feelvos_tf.datasets import masks

MODULE = 'tools.benchmark_evaluation'


def write(folder, shift=0):
  folder.mkdir(parents=True)
  for index in range(4):
    ids = np.zeros((48, 64), np.uint8)
    ids[10:30, 5 + index + shift : 25 + index] = 1
    masks.write_mask(folder / f'{index:05d}.png', ids)


def test_both_agree(tmp_path, run_main):
  pytest.importorskip('vos_benchmark')
  for name in ('cow', 'dog'):
    write(tmp_path / 'DAVIS' / 'Annotations' / '480p' / name)
    write(tmp_path / 'results' / name, shift=4)
  process = run_main(
    MODULE,
    f'--davis_root={tmp_path / "DAVIS"}',
    '--repeats=2',
    f'--results_dir={tmp_path / "results"}',
  )
  assert process.returncode == 0, process.stderr
  theirs, ours = process.stdout.splitlines()
  assert theirs.startswith('vos-benchmark') and ours.startswith('feelvos_tf')
  scores = [float(re.search(r'J&F ([\d.]+)$', line)[1]) for line in (theirs, ours)]
  assert scores[0] == scores[1] and 50 < scores[0] < 99
  assert not list((tmp_path / 'results').glob('*.csv'))


@pytest.mark.parametrize(
  'flags, code, message',
  [
    ([], 2, '--davis_root is missing'),
    (['--davis_root=x'], 2, '--results_dir is missing'),
    (['--davis_root=x', '--results_dir=/nowhere'], 1, '/nowhere: no such folder of results'),
  ],
)
def test_what_is_refused(run_main, flags, code, message):
  if code == 1:
    pytest.importorskip('vos_benchmark')
  process = run_main(MODULE, *flags)
  assert process.returncode == code and message in process.stderr.splitlines()[-1]

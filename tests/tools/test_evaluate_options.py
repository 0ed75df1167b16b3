"""The table of options: rows, resuming, failures, and what is refused. One model run, the rest is
baselines."""

import json
import os
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.tools import evaluate_options

MODULE = 'tools.evaluate_options'
SHAPE = (48, 64)
ROOT = pathlib.Path(__file__).parents[2]


def square(x):
  ids = np.zeros(SHAPE, np.uint8)
  ids[10:30, x : x + 20] = 1
  return ids


@pytest.fixture
def davis(tmp_path):
  """Two sequences of four frames in which a square moves by a pixel a frame."""
  root = tmp_path / 'DAVIS'
  for name in ('cow', 'dog'):
    for folder in ('Annotations', 'JPEGImages'):
      (root / folder / '480p' / name).mkdir(parents=True)
    for index in range(4):
      masks.write_mask(root / 'Annotations' / '480p' / name / f'{index:05d}.png', square(5 + index))
      image = np.full((*SHAPE, 3), 90, np.uint8)
      image[square(5 + index) > 0] = (40, 200, 220)
      cv2.imwrite(str(root / 'JPEGImages' / '480p' / name / f'{index:05d}.jpg'), image)
  (root / 'ImageSets' / '2017').mkdir(parents=True)
  (root / 'ImageSets' / '2017' / 'val.txt').write_text('cow\ndog\n')
  return root


def table(tmp_path):
  rows = json.loads((tmp_path / 'out' / 'table.json').read_text())['rows']
  return {row['option']: row for row in rows}


def test_baseline_and_failure(davis, tmp_path, run_main):
  """A row that fails says why, the others are there, and the exit code tells."""
  flags = [
    f'--davis_root={davis}',
    f'--output_dir={tmp_path / "out"}',
    '--options=default,copy_first_mask',
    f'--model={tmp_path / "none.h5"}',
  ]
  process = run_main(MODULE, *flags)
  assert process.returncode == 1 and 'Traceback' not in process.stderr
  rows = table(tmp_path)
  assert list(rows) == ['copy_first_mask', 'default']
  assert rows['copy_first_mask']['J'] == pytest.approx((19 / 21 + 18 / 22) / 2)
  assert rows['copy_first_mask']['num_sequences'] == 2
  assert 'none.h5: no such weights file' in rows['default']['error']
  text = (tmp_path / 'out' / 'table.md').read_text()
  assert '| Baseline: the first mask on every frame | `--baseline=copy_first_mask` | 0.861' in text
  assert 'failed: ' in text and text in process.stdout


def test_a_table_of_another_origin_is_not_replaced(davis, tmp_path, run_main):
  (tmp_path / 'out').mkdir()
  (tmp_path / 'out' / 'table.md').write_text('mine')
  process = run_main(MODULE, f'--davis_root={davis}', f'--output_dir={tmp_path / "out"}')
  assert process.returncode == 1 and 'table.md: a file that no earlier run wrote' in process.stderr
  assert [p.name for p in (tmp_path / 'out').iterdir()] == ['table.md']


def test_termination_ends_the_evaluation_in_work(davis, tmp_path, wait_for):
  """Without a terminal nobody else would tell it."""
  out = tmp_path / 'out'
  with subprocess.Popen(
    [
      sys.executable,
      '-m',
      MODULE,
      f'--davis_root={davis}',
      f'--output_dir={out}',
      '--options=default',
    ],
    cwd=ROOT,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    assert process.stderr.readline() == '1/1 default\n'
    child = wait_for(lambda: evaluations(out))[0]
    process.terminate()
    assert process.wait(timeout=60) == 130
    assert 'interrupted' in process.stderr.read()
  assert wait_for(lambda: child not in evaluations(out))


def evaluations(output_dir):
  """Numbers of the processes that evaluate a row of the table."""
  found = []
  for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
    try:
      arguments = path.read_bytes().split(b'\0')
    except OSError:  # It ended just now.
      continue
    if (
      b'feelvos_tf.evaluate' in arguments
      and os.fsencode(f'--output_dir={output_dir / "default"}') in arguments
    ):
      found.append(int(path.parent.name))
  return found


@pytest.mark.slow
def test_model_and_resuming(davis, tmp_path, run_main):
  flags = [
    f'--davis_root={davis}',
    f'--output_dir={tmp_path / "out"}',
    '--sequences=dog',
    '--max_internal_size=48',
    '--precision=bfloat16',
  ]
  process = run_main(MODULE, *flags, '--options=default')
  assert process.returncode == 0, process.stderr
  row = table(tmp_path)['default']
  settings = json.loads((tmp_path / 'out' / 'default' / 'summary.json').read_text())['settings']
  assert settings['options']['precision'] == 'bfloat16'
  assert row['seconds_per_frame'] > 0 and row['matmul_gflops'] > 0 and 0 <= row['J&F'] <= 1
  stamp = (tmp_path / 'out' / 'default' / 'masks' / 'dog' / '00003.png').stat().st_mtime_ns
  process = run_main(MODULE, *flags, '--options=default,global_matching')
  assert process.returncode == 0, process.stderr
  rows = table(tmp_path)
  assert rows['default'] == row and rows['global_matching']['J'] > 0
  assert (tmp_path / 'out' / 'default' / 'masks' / 'dog' / '00003.png').stat().st_mtime_ns == stamp


def test_markdown():
  about = dict(
    model='default', year='2016', split='val', cores=2, max_internal_size=None, precision='bfloat16'
  )
  same = dict(error=None, F=0.5, seconds_per_frame=1.234, matmul_gflops=207.6, num_sequences=10)
  rows = [
    {
      **same,
      'option': 'default',
      'description': 'The model',
      'flags': [],
      'J': 0.5,
      'J&F': 0.5,
      'left_out': {},
    },
    {
      **same,
      'option': 'flip',
      'description': 'Flip',
      'flags': ['--flip'],
      'J': 0.52,
      'J&F': 0.51,
      'left_out': {'cow': 'no mask'},
      'seconds_per_frame': None,
    },
    {
      **same,
      'option': 'size_640',
      'description': 'Small',
      'flags': ['a', 'b'],
      'J': 0.5,
      'J&F': 0.4999,
      'left_out': {},
    },
  ]
  lines = evaluate_options.markdown(rows, about).splitlines()
  assert '10 sequences, bfloat16, 2 cores' in lines[0]
  assert lines[4] == '| The model |  | 0.500 | 0.500 | 0.500 |  | 1.23 | 208 |'
  assert lines[5] == '| Flip | `--flip` | 0.520 | 0.500 | 0.510 | +0.010 | – | 208 |'
  assert lines[6] == '| Small | `a` `b` | 0.500 | 0.500 | 0.500 | +0.000 | 1.23 | 208 |'
  assert lines[8] == 'Flip: left out cow (no mask)'
  assert len({line.count('|') for line in lines[2:7]}) == 1


@pytest.mark.parametrize(
  'flags, message',
  [
    (['--options=default,flop', '--output_dir=x', '--davis_root=y'], "--options has 'flop'"),
    (['--davis_root=y'], '--output_dir is missing'),
    (['--output_dir=x'], '--davis_root is missing'),
  ],
)
def test_wrong_usage(run_main, flags, message):
  process = run_main(MODULE, *flags)
  assert process.returncode == 2 and message in process.stderr.splitlines()[-1]

"""The benchmark runs, counts what it says, and refuses what it does not know. No time is judged."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tools import benchmark


@pytest.mark.parametrize('part', ['global', 'local'])
def test_a_row_is_complete(part):
  row = benchmark.measure(part, benchmark.BenchmarkOptions(height=33, width=49, repeats=1))
  assert row['part'] == part and row['objects'] == 3
  numbers = [value for value in row.values() if isinstance(value, float)]
  assert len(numbers) >= 8 and np.all(np.isfinite(numbers)) and min(numbers) >= 0
  json.dumps(row)
  assert part in benchmark.format_row(row)


def test_both_sides_of_a_case_compute_the_same():
  options = benchmark.BenchmarkOptions(height=33, width=49)
  for make in (benchmark.global_case, benchmark.local_case):
    case = make(options)
    np.testing.assert_allclose(case.run(), case.baseline(), atol=1e-5)


def test_local_flop_counts_pairs_inside_window_and_image():
  case = benchmark.local_case(benchmark.BenchmarkOptions(height=73, width=85))  # 19 x 22
  ys, xs = np.mgrid[:19, :22].reshape(2, -1)
  pairs = np.sum((np.abs(ys[:, None] - ys) <= 15) & (np.abs(xs[:, None] - xs) <= 15))
  assert case.flop == 2 * 100 * pairs


def test_unknown_part_is_a_one_line_usage_error():
  run = subprocess.run([sys.executable, '-m', 'tools.benchmark', '--parts=locl'],
                       capture_output=True, text=True, check=False)
  assert run.returncode == 2
  assert run.stderr.strip().splitlines()[-1] == (
      "tools.benchmark: error: --parts: 'locl' is not known; choose from global, local "
      '(python -m tools.benchmark --helpshort lists the flags)')
  assert 'Traceback' not in run.stderr

"""The benchmark runs, counts what it says, and refuses what it does not know. No time is judged."""

import functools
import json

import numpy as np
import pytest

from feelvos_tf.model import precision
from feelvos_tf.model import weights
from feelvos_tf.tools import benchmark
from feelvos_tf.tools.benchmarks import cases
from feelvos_tf.tools.benchmarks import curves
from feelvos_tf.tools.benchmarks import measure

SMALL = dict(height=33, width=49, repeats=1, crop=65, batch=1)
WITH_BASELINE = ('backbone', 'global', 'local', 'head', 'end_to_end')


def test_the_flag_knows_every_part():
  assert set(benchmark.PARTS) == set(cases.PARTS)
  assert set(benchmark.CURVES) == set(curves.CURVES)


@pytest.fixture
def small_windows(monkeypatch):
  """Windows of 7x7: the original's local matching is traced for each of their positions."""
  monkeypatch.setattr(cases, 'WINDOW_RADIUS', 3)
  smaller = functools.partial(weights.seeded_model, window_radius=3)
  monkeypatch.setattr(weights, 'seeded_model', smaller)


@pytest.mark.parametrize('part', benchmark.PARTS)
def test_a_row_is_complete(part, small_windows):
  row = benchmark.measure(part, SMALL)
  assert row['part'] == part and row['objects'] == 3
  numbers = [value for value in row.values() if isinstance(value, float)]
  assert len(numbers) >= 3 and np.all(np.isfinite(numbers)) and min(numbers) >= 0
  assert ('times_faster' in row) == (part in WITH_BASELINE)
  assert ('samples_per_second' in row) == (part in ('input', 'train_step'))
  json.dumps(row)
  assert part in measure.format_row(row)


@pytest.mark.parametrize('part', ['backbone', 'global', 'local', 'head', 'end_to_end'])
def test_both_sides_of_a_case_compute_the_same(part, small_windows):
  case = cases.PARTS[part](cases.BenchmarkOptions(height=33, width=49))  # As SMALL: traced already.
  ours, original = case.run(), case.baseline()
  if part == 'end_to_end':
    assert np.mean(ours.mask == np.asarray(original)) > 0.99
    return
  if part == 'backbone':
    ours, original = ours[1], original[1]
  np.testing.assert_allclose(ours, original, atol=1e-4 * max(1, np.max(np.abs(original))))


def test_baseline_without_onednn_runs_elsewhere():
  row = benchmark.measure('global', dict(SMALL, baseline_onednn=False))
  assert row['baseline_seconds'] > 0 and row['times_faster'] > 0


def test_local_flop_counts_pairs_inside_window_and_image():
  case = cases.local_case(cases.BenchmarkOptions(height=73, width=85))  # 19 x 22
  ys, xs = np.mgrid[:19, :22].reshape(2, -1)
  pairs = np.sum((np.abs(ys[:, None] - ys) <= 15) & (np.abs(xs[:, None] - xs) <= 15))
  assert case.flop == 2 * 100 * pairs


def test_head_and_backbone_flop():
  options = cases.BenchmarkOptions(height=65, width=65, objects=2)
  per_object = 3 * (49 + 256) + 3 * 256 * (49 + 256) + 256
  assert cases.head_flop(options) == 2 * 17**2 * (256 * (49 + 256) + 2 * per_object)
  assert 1e8 < cases.backbone_flop(options) < 1e9  # 33 x 33 x 27 x 32 is the first layer.


def test_a_curve_is_a_picture(tmp_path):
  pytest.importorskip('matplotlib')
  rows = [
    dict(
      part='length',
      model_variant='mobilenet_v2',
      precision='float32',
      frames=frames,
      seconds=0.1 + frames / 1e5,
      quartiles=[0.1, 0.2],
    )
    for frames in (50, 1000)
  ]
  curves.plot('length', rows, tmp_path / 'length.png')
  assert (tmp_path / 'length.png').read_bytes()[:4] == b'\x89PNG'


@pytest.mark.parametrize(
  'flag, message',
  [
    (
      '--parts=locl',
      "--parts: 'locl' is not known; choose from backbone, global, local, head, "
      'end_to_end, end_to_end_io, input, train_step, serving',
    ),
    (
      '--speed=fast',
      '--speed: a preset is of whole frames; give --parts=end_to_end or end_to_end_io',
    ),
    ('--size=480', "--size: '480' is no size; give HEIGHTxWIDTH, like 480x854"),
  ],
)
def test_wrong_flags_are_one_line(run_main, flag, message):
  run = run_main('tools.benchmark', flag)
  assert run.returncode == 2
  assert run.stderr.strip().splitlines()[-1] == (
    f'tools.benchmark: error: {message} (python -m tools.benchmark --helpshort lists the flags)'
  )
  assert 'Traceback' not in run.stderr


def test_auto_is_the_precision_that_it_stands_for(monkeypatch):
  monkeypatch.setattr(precision, 'choose', lambda wanted: precision.Choice('bfloat16', wanted))
  assert benchmark._benchmark_options({'precision': 'auto'}).precision == 'bfloat16'
  monkeypatch.undo()
  assert benchmark._benchmark_options({'precision': 'float32'}).precision == 'float32'


def test_a_preset_is_of_the_default_model():
  row = benchmark.measure('end_to_end', dict(SMALL, objects=2, speed='fast'))
  assert row['seconds'] > 0 and 'times_faster' not in row and ' fast ' in measure.format_row(row)


def test_whole_frames_are_seen_at_the_largest_side():
  options = cases.BenchmarkOptions(height=96, width=130, objects=2, largest_side=65)
  assert cases.inference_graph(options).options.largest_side == 65

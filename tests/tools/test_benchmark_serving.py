"""The benchmark of the server: what its checks find, and a short run."""

import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import picture
from feelvos_tf.tools.benchmarks import serving_clients
from feelvos_tf.tools.benchmarks import soak_serving
from feelvos_tf.tools.benchmarks.hostile_clients import bombs


def test_a_wrong_mask_is_found():
  expected = np.zeros((40, 50), np.uint8)
  expected[10:20, 10:20] = 7
  serving_clients.check_mask(masks.encode_mask(expected), expected)
  for other in (expected[1:], np.where(expected == 7, 8, 0), np.roll(expected, 1)):
    with pytest.raises(ValueError, match='differs'):
      serving_clients.check_mask(masks.encode_mask(other), expected)


def test_videos_of_the_soak_cannot_be_taken_for_each_other():
  videos = soak_serving.soak_videos(4)
  assert len({mask.shape for _, mask, _ in videos}) == 4
  ids = [set(np.unique(mask)) | set(np.unique(correction)) for _, mask, correction in videos]
  for i, one in enumerate(ids):
    assert len(one) == 4 and all(one & other == {0} for other in ids[:i])


def test_bombs_are_refused():
  frames, _, _ = soak_serving.soak_videos(1)[0]
  pictures = {name: data for name, data, headers in bombs(frames[0]) if not headers}
  for name, reason in (('scans', 'scans'), ('surplus', 'unpacks to'), ('pixels', 'pixels')):
    with pytest.raises(ValueError, match=reason):
      picture.inspect(pictures[name], 'frame', max_pixels=2**21)


def test_times_of_frames_before_and_after_a_moment():
  client = soak_serving.SoakClient('', None, ((), None, None), (), 0.0)
  client.times = [(0.0, 1.0), (1.0, 3.0), (5.0, 4.0)]
  found = soak_serving.frame_times([client], 5.0)
  assert (found['p50_seconds'], found['p99_seconds_with_hostile']) == (2.0, 4.0)
  assert 'p50_seconds_with_hostile' in found
  assert 'p99_seconds_with_hostile' not in soak_serving.frame_times([client], 9.0)


def test_how_the_memory_went():
  """It grows for two minutes, and is flat for three."""
  memory = [(second, 1000 + 10 * min(second, 120)) for second in range(301)]
  found = soak_serving.memory_figures(memory)
  assert found['memory_minutes_bytes'] == [1295.0, 1895.0, 2200.0, 2200.0, 2200.0, 2200.0]
  assert found['memory_after_warmup_bytes'] == 1895.0
  assert found['memory_at_end_bytes'] == found['memory_peak_bytes'] == 2200.0
  assert abs(found['memory_slope_bytes_per_minute']) < 1e-6
  growing = soak_serving.memory_figures([(second, 7 * second) for second in range(301)])
  np.testing.assert_allclose(growing['memory_slope_bytes_per_minute'], 7 * 60)


@pytest.mark.slow
def test_a_short_run(run_main, tmp_path):
  export = run_main('feelvos_tf.export', f'--output_dir={tmp_path}', '--warmup_size=')
  assert export.returncode == 0, export.stderr
  done = run_main(
    'tools.benchmark_serving',
    f'--model_dir={tmp_path}',
    '--height=32',
    '--width=48',
    '--frames=3',
    '--repeats=1',
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith('serving 32x48: ')
  done = run_main(
    'tools.benchmark_serving',
    f'--model_dir={tmp_path}',
    '--soak_seconds=5',
    '--clients=3',
    '--hostile_clients=1',
  )
  assert done.returncode == 0, done.stderr
  assert ' 0 errors, 0 sessions left' in done.stdout
  assert '1 hostile clients, ' in done.stdout

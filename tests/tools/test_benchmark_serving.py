"""The benchmark of the server: what its checks find, and a short run."""

import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.tools.benchmarks import serving_clients
from feelvos_tf.tools.benchmarks import soak_serving


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
  done = run_main('tools.benchmark_serving', f'--model_dir={tmp_path}', '--soak_seconds=3')
  assert done.returncode == 0, done.stderr
  assert ' 0 errors, 0 sessions left' in done.stdout

"""Which files of tests run in one process."""

import pathlib

import pytest
import scheduling

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.mark.parametrize('path', scheduling.TOGETHER)
def test_what_runs_together_is_there(path):
  assert (ROOT / path).exists()


@pytest.mark.parametrize(
  'test, group',
  [
    ('tests/feelvos_tf/serving/test_draw.py::test_a[x/tests/b]', scheduling.SERVER),
    ('tests/deeplab/test_golden_backbones.py::test_a', scheduling.GOLDEN),
    ('tests/feelvos_tf/inference/test_views.py::test_a', scheduling.GOLDEN),
    ('tests/feelvos_tf/inference/test_specks.py::test_a', 'tests/feelvos_tf/inference/test_specks.py'),
  ],
)  # fmt: skip
def test_files_that_share_a_model_are_one_group(test, group):
  scheduler = scheduling.Scheduling.__new__(scheduling.Scheduling)
  assert scheduler._split_scope(test) == group

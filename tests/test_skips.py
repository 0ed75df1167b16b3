"""CI fails on a test that is skipped for a reason nobody foresaw."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEST = 'import pytest\n\ndef test_it():\n  pytest.skip({!r})\n'


@pytest.mark.parametrize(
  'reason, strict, workers, code',
  [
    ('needs curl', '1', '0', 0),
    ('the network is down', '1', '0', 1),
    ('the network is down', '1', '2', 1),
    ('the network is down', '', '0', 0),
  ],
)
def test_unexpected_skips_fail_in_ci_only(tmp_path, reason, strict, workers, code):
  (tmp_path / 'test_one.py').write_text(TEST.format(reason))
  (tmp_path / 'conftest.py').write_text((ROOT / 'tests' / 'conftest.py').read_text())
  process = subprocess.run(
    [sys.executable, '-m', 'pytest', '-q', '-p', 'xdist.plugin', '-n', workers, str(tmp_path)],
    cwd=tmp_path,
    env={
      **os.environ,
      'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1',  # Others take seconds to import.
      'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests' / 'support')]),
      'FEELVOS_STRICT_SKIPS': strict,
    },
    text=True,
    capture_output=True,
    timeout=120,
    check=False,
  )
  assert process.returncode == code, process.stdout + process.stderr
  assert ('unexpected skip: ' in process.stdout) == (reason == 'the network is down')

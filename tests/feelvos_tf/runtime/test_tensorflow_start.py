"""The first import of TensorFlow: quiet unless something fails or all lines are asked for."""

import os
import subprocess
import sys

import pytest

HEAD = (
  'import os\nfrom feelvos_tf.runtime.tensorflow_start import quiet_imports, start_tensorflow\n'
)


@pytest.fixture
def run():
  """Function: (Python code, variables) -> finished process; no log level is set."""

  def run(code, **variables):
    environment = {**os.environ, **variables}
    if 'TF_CPP_MIN_LOG_LEVEL' not in variables:
      environment.pop('TF_CPP_MIN_LOG_LEVEL', None)
    return subprocess.run(
      [sys.executable, '-c', HEAD + code],
      text=True,
      capture_output=True,
      timeout=120,
      check=False,
      env=environment,
    )

  return run


def test_lines_are_held_back_unless_the_block_fails(run):
  code = 'with quiet_imports():\n  os.write(2, b"noise"); {}'
  assert run(code.format('pass')).stderr == ''
  assert 'noise' in run(code.format('1 / 0')).stderr


def test_all_lines_for_those_who_ask(run):
  code = 'with quiet_imports(): os.write(2, b"noise")'
  assert run(code, TF_CPP_MIN_LOG_LEVEL='0').stderr == 'noise'


def test_tensorflow_itself_prints_nothing(run):
  process = run(
    'start_tensorflow()\nimport tensorflow as tf\nprint(float(tf.reduce_sum([1., 2.])))'
  )
  assert (process.returncode, process.stdout, process.stderr) == (0, '3.0\n', '')

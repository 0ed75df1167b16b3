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


NATIVE = 'I0000 00:00:1795844241.072620   29822 port.cc:153] oneDNN custom operations are on.\\n'


def test_native_lines_are_held_back_unless_the_block_fails(run):
  code = f'with quiet_imports():\n  os.write(2, b"{NATIVE}"); os.write(2, b"mine\\n"); {{}}'
  assert run(code.format('pass')).stderr == 'mine\n'
  assert 'oneDNN' in run(code.format('1 / 0')).stderr


def test_all_lines_for_those_who_ask(run):
  code = f'with quiet_imports(): os.write(2, b"{NATIVE}")'
  assert 'oneDNN' in run(code, TF_CPP_MIN_LOG_LEVEL='0').stderr


def test_without_standard_error(run):
  code = 'os.close(2)\nwith quiet_imports(): pass\nprint("done")'
  assert run(code).stdout == 'done\n'


@pytest.mark.parametrize(
  'first', ['start_tensorflow()', 'from feelvos_tf.inference.segmenter import VideoSegmenter']
)
def test_tensorflow_itself_prints_nothing(run, first):
  process = run(
    f'{first}\nimport tensorflow as tf\ntf.config.list_physical_devices()\n'
    'print(float(tf.reduce_sum([1., 2.])))'
  )
  assert (process.returncode, process.stdout, process.stderr) == (0, '3.0\n', '')

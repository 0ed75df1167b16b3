"""What every main shares: exit codes, one line per error, quiet imports."""

import os
import subprocess
import sys

import pytest

MAIN = """
from absl import flags
from feelvos_tf.runtime import command_line
flags.DEFINE_integer('number', 1, 'A number.', lower_bound=0)
flags.DEFINE_string('file', 'https://default.example', 'A file.')
flags.DEFINE_multi_string('files', [], 'Files.')
flags.DEFINE_string('origin', '', 'An address.')
def main():
  {body}
command_line.run(main, takes_addresses=('origin',))
"""


@pytest.fixture
def run(tmp_path):
  def run(body, *args):
    path = tmp_path / 'program.py'
    path.write_text(MAIN.format(body=body))
    return subprocess.run(
      [sys.executable, str(path), *args],
      text=True,
      capture_output=True,
      timeout=60,
      check=False,
      env={**os.environ, 'PYTHONPATH': os.getcwd()},
    )

  return run


@pytest.mark.parametrize(
  'body, args, code, start',
  [
    ('return None', [], 0, ''),
    ('return 3', [], 3, ''),
    ('raise ValueError("bad\\n  data")', [], 1, 'program.py: error: bad data\n'),
    ('raise FileNotFoundError("x: no such file")', [], 1, 'program.py: error: x: no such file\n'),
    (
      'raise command_line.UsageError("--a is missing")',
      [],
      2,
      'program.py: error: --a is missing (python -m program.py --helpshort lists the flags)\n',
    ),
    (
      'raise ValueError(f"cannot read {main}, {object()} or {__import__(\'io\').BytesIO()}")',
      [],
      1,
      'program.py: error: cannot read the given data, the given data or the given data\n',
    ),
    ('pass', ['--file=s3://b/x'], 1, 'program.py: error: --file=s3://b/x: an address (s3:) given'),
    ('pass', ['--files=a', '--files=gs://b'], 1, 'program.py: error: --files=gs://b: an address'),
    ('return 0', ['--origin=https://example.org', '--file=a:b', '--files=//x'], 0, ''),
    ('raise KeyboardInterrupt', [], 130, 'program.py: error: interrupted;'),
    ('pass', ['--nummer=1'], 2, "program.py: error: Unknown command line flag 'nummer'."),
    ('pass', ['--number=one'], 2, 'program.py: error: flag --number=one: '),
    ('pass', ['--number=-1'], 2, 'program.py: error: flag --number=-1: '),
    ('pass', ['word'], 2, "program.py: error: 'word' is not a flag; flags look like"),
  ],
)
def test_exit_code_and_line(run, body, args, code, start):
  process = run(body, *args)
  assert process.returncode == code, process.stderr
  assert process.stderr.startswith(start)
  assert process.stderr.count('\n') == bool(start)


@pytest.mark.parametrize(
  'body, line',
  [
    ('raise OSError(28, "No space left on device", "a.png")', 'a.png: the disk is full; free some'),
    (
      'raise OSError(12, "Cannot allocate memory", "a.png")',
      'a.png: the system gives no more memory',
    ),
    ('open("none.png")', 'none.png: No such file or directory\n'),
    ('raise ValueError("<_io.BytesIO object at 0x7f1>: bad")', 'the given data: bad\n'),
    ('import os; raise ValueError(os.fsdecode(b"v\\xe4d"))', 'v\\udce4d\n'),
  ],
)
def test_lines_for_people(run, body, line):
  process = run(body)
  assert process.returncode == 1
  assert process.stderr.startswith(f'program.py: error: {line}')


def test_sigterm_cleans_up(run):
  body = 'import os, signal\n  try: os.kill(os.getpid(), signal.SIGTERM)\n  finally: print("clean")'
  process = run(body)
  assert process.returncode == 143 and process.stdout == 'clean\n'
  assert process.stderr == 'program.py: error: terminated; what was written so far is valid.\n'


# Ways to run Python in which an exception is printed and gone: a destructor, and native code.
LOST = {
  'destructor': 'type("A", (), {"__del__": lambda self: exec(code)})()',
  'native code': 'ctypes.pythonapi.PyRun_SimpleString(code.encode())',
}


@pytest.mark.parametrize('how', LOST)
@pytest.mark.parametrize(
  'number, code, line', [('SIGINT', 130, 'interrupted'), ('SIGTERM', 143, 'terminated')]
)
def test_an_interruption_that_was_lost_comes_again(run, how, number, code, line):
  lines = [
    'import ctypes, time',
    f'code = "import os, signal, time; os.kill(os.getpid(), signal.{number}); time.sleep(.01)"',
    LOST[how],
    'time.sleep(20)',
  ]
  process = run('\n  '.join(lines))
  assert process.returncode == code, process.stderr
  assert process.stderr == f'program.py: error: {line}; what was written so far is valid.\n'


def test_an_interruption_that_native_code_hands_on(run):
  process = run('raise SystemError("a result with an exception set") from KeyboardInterrupt()')
  assert process.returncode == 130
  assert process.stderr.startswith('program.py: error: interrupted;')


def test_bugs_keep_their_traceback(run):
  process = run('return {}["key"]')
  assert process.returncode == 1
  assert 'Traceback' in process.stderr and 'KeyError' in process.stderr


def test_a_warning_about_data_is_one_line(run):
  process = run(
    "from feelvos_tf.datasets import data_warning; data_warning.warn('a.jpg:\\n odd'); return 0"
  )
  assert process.returncode == 0
  assert process.stderr == 'program.py: warning: a.jpg: odd\n'

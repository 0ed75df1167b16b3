"""`programs`, on which tests of commands rely: what a program prints, reads and ends with."""

import programs


def test_what_a_program_prints_and_its_exit_code(tmp_path, monkeypatch):
  monkeypatch.setenv('FEELVOS_NOTE', 'set late')
  code = (
    'import atexit, os, sys\n'
    'atexit.register(os.write, 1, b"at its end\\n")\n'
    'print(sys.argv[1:], os.getcwd(), os.environ["FEELVOS_NOTE"])\n'
    'os.write(2, b"native\\n")\n'
    'sys.exit(3)\n'
  )
  process = programs.run_code(code, 'a', 2, cwd=tmp_path)
  assert (process.returncode, process.stderr) == (3, 'native\n')
  assert process.stdout in (
    f"['a', '2'] {tmp_path} set late\nat its end\n",
    f"at its end\n['a', '2'] {tmp_path} set late\n",  # Not through a buffer.
  )


def test_a_program_that_fails():
  process = programs.run_code('raise KeyError("lost")')
  assert process.returncode == 1 and process.stderr.endswith("KeyError: 'lost'\n")
  process = programs.run_code('import os, signal; os.kill(os.getpid(), signal.SIGKILL)')
  assert process.returncode == -9
  process = programs.run('feelvos_tf.no_program')
  assert process.returncode == 1 and 'No module named feelvos_tf.no_program' in process.stderr

"""Programs of the project, run in processes that are forked when TensorFlow is imported already.

A server of `multiprocessing` imports TensorFlow, which takes five seconds, and what most programs
of the project import, once. Tests of what a program does when it starts, and of signals, start
Python instead.
"""

import atexit
import gc
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 300.0  # That a program may take.
_CONTEXT = multiprocessing.get_context('forkserver')
_CONTEXT.set_forkserver_preload(
  [
    'feelvos_tf',  # Comes first: it sets what TensorFlow and Keras read when they are imported.
    'tensorflow',
    'keras',
    'cv2',
    'absl.app',
    'PIL.Image',
    # What programs share; no module that is a program: Python warns if it is there before it runs.
    'feelvos_tf.datasets.tfrecord.conversion',
    'feelvos_tf.evaluation.run',
    'feelvos_tf.inference.segmenter',
    'feelvos_tf.model.weights',
    'feelvos_tf.runtime.many_clips',
    'feelvos_tf.runtime.preview',
    'feelvos_tf.runtime.segment_flags',
  ]
)


def run(module, *flags, cwd=ROOT):
  """The finished process of `python -m module flags`, as of `subprocess.run`, with texts.

  A module whose name ends in .py is a file, as in `python module flags`.
  """
  with tempfile.TemporaryDirectory() as folder:
    outputs = [os.path.join(folder, name) for name in ('stdout', 'stderr')]
    argv = [str(module), *map(str, flags)]
    process = _CONTEXT.Process(target=_main, args=(argv, outputs, str(cwd), dict(os.environ)))
    process.start()
    try:
      process.join(SECONDS)
      if process.exitcode is None:
        raise subprocess.TimeoutExpired(argv, SECONDS)
    finally:
      process.kill()
      process.join()
    texts = [pathlib.Path(path).read_text() for path in outputs]
  return subprocess.CompletedProcess(argv, process.exitcode, *texts)


def run_code(code, *arguments, cwd=ROOT):
  """The finished process of `python -c code arguments`."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'code.py')
    path.write_text(code)
    return run(path, *arguments, cwd=cwd)


def _main(argv, outputs, cwd, environment):
  """The program; in a process of its own."""
  # What is imported stays until the end, as in `conftest`: looking through it took half of the time
  # of a program that does nothing.
  gc.freeze()
  gc.set_threshold(20_000, 10, 10)
  for number, path in zip((1, 2), outputs):
    stream = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(stream, number)
    os.close(stream)
  os.chdir(cwd)
  os.environ.clear()
  os.environ.update(environment)
  tests = str(ROOT / 'tests')
  sys.path[:] = [cwd, str(ROOT), *(path for path in sys.path if not path.startswith(tests))]
  module, *sys.argv[1:] = argv
  try:
    if module.endswith('.py'):
      runpy.run_path(module, run_name='__main__')
    else:
      runpy.run_module(module, run_name='__main__', alter_sys=True)
  finally:
    # As Python ends: first what waits for threads, such as pools of processes, then the rest.
    threading._shutdown()
    atexit._run_exitfuncs()

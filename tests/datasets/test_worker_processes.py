"""Work spread over processes, and how it ends."""

import functools
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from feelvos_tf.datasets import worker_processes

ROOT = pathlib.Path(__file__).parents[2]
_STARTED = []


def _start(value):
  _STARTED.append(value)


def _square(item):
  return item**2, tuple(_STARTED), os.getpid()


def _fail_at_one(item):
  if item == 1:
    raise ValueError('item 1 is bad')
  return item


def _die(item):
  os.kill(os.getpid(), signal.SIGKILL)
  return item


def _sleep(path):
  with open(path, 'w', encoding='utf-8') as stream:
    stream.write(str(os.getpid()))
  time.sleep(600)


def test_results_of_all_items_from_started_processes():
  results = dict(worker_processes.finished(_square, range(5), 2, '', _start, ('once',)))
  assert {item: value[0] for item, value in results.items()} == {i: i * i for i in range(5)}
  assert all(value[1] == ('once',) for value in results.values())
  assert os.getpid() not in {value[2] for value in results.values()}


def test_errors_of_the_work_reach_the_caller():
  with pytest.raises(ValueError, match='item 1 is bad'):
    list(worker_processes.finished(_fail_at_one, [1], 1, ''))


def test_a_process_that_dies_is_named_with_advice():
  with pytest.raises(ValueError, match='one of 1 worker processes died.*take fewer'):
    list(worker_processes.finished(_die, [0], 1, 'take fewer'))


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path, wait_for, number):
  """Ctrl-C ends workers in the middle of an item; so does a kill of the parent alone."""
  program = (
    'from tests.datasets import test_worker_processes as t\n'
    'from feelvos_tf.datasets import worker_processes\n'
    "if __name__ == '__main__':\n"
    f'  list(worker_processes.finished(t._sleep, [{str(tmp_path / "pid")!r}], 1, ""))\n'
  )
  (tmp_path / 'program.py').write_text(program)
  parent = subprocess.Popen(
    [sys.executable, str(tmp_path / 'program.py')],
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    stderr=subprocess.DEVNULL,
  )
  try:
    worker = int(wait_for(lambda: (tmp_path / 'pid').is_file() and (tmp_path / 'pid').read_text()))
    parent.send_signal(number)
    parent.wait(timeout=30)
    wait_for(functools.partial(_is_gone, worker))
  finally:
    parent.kill()


def _is_gone(process):
  try:
    state = pathlib.Path(f'/proc/{process}/stat').read_text().rsplit(')', 1)[1].split()[0]
  except FileNotFoundError:
    return True
  return state == 'Z'

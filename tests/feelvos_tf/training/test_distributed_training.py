"""Two devices and two worker processes train as one; each runs `distributed_training.py`."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from feelvos_tf.training import strategy

SCRIPT = pathlib.Path(__file__).with_name('distributed_training.py')


def start(folder, name, mode, optimizer='momentum', logdir=None, **environment):
  return subprocess.Popen(
    [
      sys.executable,
      str(SCRIPT),
      mode,
      optimizer,
      str(logdir or folder / name),
      str(folder / f'{name}.npz'),
    ],
    text=True,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env={**os.environ, **environment},
  )


def finish(process):
  out, err = process.communicate(timeout=600)
  assert process.returncode == 0, err[-3000:]
  return out


def trained(folder, name):
  """(weights before, weights after) of a finished process."""
  with np.load(folder / f'{name}.npz') as arrays:
    after = {key: arrays[key] for key in arrays.files if not key.startswith('before|')}
    return {key: arrays[f'before|{key}'] for key in after}, after


def free_ports(count):
  sockets = [socket.socket() for _ in range(count)]
  for one in sockets:
    one.bind(('127.0.0.1', 0))
  ports = [one.getsockname()[1] for one in sockets]
  for one in sockets:
    one.close()
  return ports


@pytest.mark.slow
@pytest.mark.parametrize('optimizer', ['momentum', 'adam'])
def test_two_devices_equal_one(tmp_path, optimizer):
  for process in [start(tmp_path, mode, mode, optimizer) for mode in ('one', 'mirrored')]:
    finish(process)
  before, one = trained(tmp_path, 'one')
  _, mirrored = trained(tmp_path, 'mirrored')
  change = {name: np.linalg.norm(one[name] - before[name]) for name in one}
  assert sum(value > 1e-5 for value in change.values()) > 50
  for name in one:
    # Sums in another order; Adam divides by the root of squares that may be tiny.
    allowed = {'momentum': 1e-3, 'adam': 5e-2}[optimizer] * change[name]
    difference = np.linalg.norm(one[name] - mirrored[name])
    assert difference <= allowed + 1e-6 * np.linalg.norm(one[name]), (name, difference)


@pytest.mark.slow
def test_two_worker_processes_end_with_equal_weights(tmp_path):
  workers = [f'127.0.0.1:{port}' for port in free_ports(2)]
  processes = []
  for index in range(2):
    config = {'cluster': {'worker': workers}, 'task': {'type': 'worker', 'index': index}}
    processes.append(
      start(
        tmp_path,
        f'worker{index}',
        'multi_worker',
        logdir=tmp_path / 'log',
        TF_CONFIG=json.dumps(config),
      )
    )
  chief, other = [finish(process) for process in processes]
  assert 'step 3/3' in chief and 'step' not in other
  before, first = trained(tmp_path, 'worker0')
  _, second = trained(tmp_path, 'worker1')
  assert any(np.abs(first[name] - before[name]).max() > 1e-4 for name in first)
  for name in first:
    np.testing.assert_array_equal(first[name], second[name], err_msg=name)
  assert (tmp_path / 'log' / 'checkpoints' / 'train-3.index').exists()


@pytest.mark.parametrize(
  'config',
  [None, '{}', '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 4}}', 'x'],
)
def test_wrong_tf_config_is_explained(monkeypatch, config):
  if config is None:
    monkeypatch.delenv('TF_CONFIG', raising=False)
  else:
    monkeypatch.setenv('TF_CONFIG', config)
  with pytest.raises(ValueError, match='TF_CONFIG'):
    strategy.place('multi_worker')


def test_unknown_strategy_is_refused():
  with pytest.raises(ValueError, match="strategy is 'tpu'"):
    strategy.place('tpu')

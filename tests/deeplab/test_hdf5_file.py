"""Weights files of others: read by a process with limits, whatever the file does to it."""

import contextlib
import json
import pathlib
import sys

import h5py
import numpy as np
import pytest

from feelvos_tf.deeplab import hdf5_contents
from feelvos_tf.deeplab import hdf5_file
from feelvos_tf.deeplab import weights_file

READY = {'ready': True}
ROOT = {'name': '', 'attributes': {'format': weights_file.FORMAT, 'metadata': '{}'}}


@pytest.fixture
def path(tmp_path):
  """A file of four numbers that another program wrote."""
  path = tmp_path / 'strange.h5'
  with h5py.File(path, 'w') as file:
    file.attrs['format'] = weights_file.FORMAT
    file.attrs['metadata'] = '{"options": {"x": 1}}'
    file.attrs['names'] = [b'one', b'two']
    file['a/weights'] = np.array([[1.5, -2], [1e-30, 4]])
    file['a/scalar'] = np.int64(7)
    file['empty'] = np.zeros([0, 3], np.float16)
  return path


def refused(path):
  with pytest.raises(ValueError) as error:
    weights_file.read(path)
  assert '\n' not in str(error.value)
  return str(error.value)


def no_process(*_):
  raise AssertionError('a process is started')


def test_contents_are_those_that_h5py_reads(path):
  metadata, arrays = weights_file.read(path)
  assert metadata == {'options': {'x': 1}}
  assert {name: value.dtype for name, value in arrays.items()} == dict.fromkeys(
    ['a/scalar', 'a/weights', 'empty'], np.float32
  )
  assert arrays['a/scalar'] == 7 and arrays['empty'].shape == (0, 3)
  np.testing.assert_array_equal(arrays['a/weights'], np.float32([[1.5, -2], [1e-30, 4]]))
  arrays['a/weights'][0] = 0  # Arrays as any others.


def test_a_file_that_is_rewritten_has_the_same_contents(path, tmp_path):
  parts = list(hdf5_file.parts(path))
  assert dict(parts)['']['names'] == ['one', 'two']
  hdf5_file.write_parts(tmp_path / 'again.h5', parts)
  for (name, value), (_, again) in zip(parts, hdf5_file.parts(tmp_path / 'again.h5'), strict=True):
    np.testing.assert_equal(again, value, name)


def test_a_file_on_which_the_library_does_not_end(path, monkeypatch):
  """The first entry of the heap with the texts has no length: HDF5 goes from it to itself."""
  data = bytearray(path.read_bytes())
  heap = data.index(b'GCOL') + 16
  data[heap : heap + 4080] = bytes(4080)
  path.write_bytes(data)
  monkeypatch.setenv('FEELVOS_WEIGHTS_SECONDS', '1')
  message = refused(path)
  assert message.startswith(f'{path}: damaged, or made to do harm: not read after')
  assert 'FEELVOS_WEIGHTS_SECONDS' in message


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux limits the memory of a process')
def test_a_file_that_needs_more_memory_than_allowed(path, monkeypatch):
  with h5py.File(path, 'a') as file:
    file.create_dataset('zeros', (10_000, 10_000), 'f4', chunks=(100, 100))
  monkeypatch.setenv('FEELVOS_WEIGHTS_MEMORY_MB', '200')
  assert 'FEELVOS_WEIGHTS_MEMORY_MB is 200' in refused(path)


@pytest.mark.parametrize('name', ['FEELVOS_WEIGHTS_SECONDS', 'FEELVOS_WEIGHTS_MEMORY_MB'])
@pytest.mark.parametrize('value', ['', 'x', '0', '-1', '1.5'])
def test_a_limit_that_is_no_number(path, name, value, monkeypatch):
  monkeypatch.setenv(name, value)
  assert refused(path) == f'{name} is {value!r}; expected a whole number above 0.'


@pytest.mark.parametrize(
  'messages, ending, reason',
  [
    ([READY], 'os.kill(os.getpid(), 9)', 'SIGKILL'),
    ([READY, ROOT], 'os.abort()', 'SIGABRT'),
    ([READY, ROOT], 'os._exit(3)', 'exit code 3'),
    # A file that has taken the process over can send anything.
    ([READY, ROOT, {'name': 'a', 'shape': [1 << 40]}], '', 'SIGKILL'),
    ([READY, ROOT, {'name': 'a', 'shape': [-5]}], '', 'SIGKILL'),
    ([READY, ROOT, {'name': 'a', 'shape': 'x'}], '', 'SIGKILL'),
    ([READY, ROOT, ['name']], '', 'SIGKILL'),
    ([READY, {'name': 'a', 'attributes': 3}], '', 'SIGKILL'),
  ],
)
@pytest.mark.skipif(sys.platform == 'win32', reason='signals')
def test_a_process_that_breaks_off_or_sends_something_else(
  path, messages, ending, reason, monkeypatch
):
  data = b''.join(len(text).to_bytes(8, 'big') + text for text in map(encode, messages))
  code = f'import os, time; os.write(1, {data!r}); {ending or "time.sleep(60)"}'
  monkeypatch.setattr(hdf5_file, '_START', code)
  assert f'ended with {reason}' in refused(path)


def encode(message):
  return json.dumps(message).encode()


def test_a_process_that_does_not_start(path, monkeypatch):
  monkeypatch.setattr(hdf5_file, '_START', 'import package_that_is_not_there')
  with pytest.raises(OSError, match=r'does not start .*exit code 1.*is h5py there'):
    weights_file.read(path)


def test_the_clock_of_the_limit_begins_after_the_start(path, monkeypatch):
  alarms = []

  @contextlib.contextmanager
  def alarm(seconds, call):
    alarms.append(seconds)
    yield

  monkeypatch.setattr(hdf5_file, '_alarm', alarm)
  monkeypatch.setenv('FEELVOS_WEIGHTS_SECONDS', '3')
  weights_file.read(path)
  assert alarms == [120, 18]


def test_known_bytes_need_no_process(path, tmp_path, monkeypatch):
  mine = tmp_path / 'mine.h5'
  weights_file.save_arrays(mine, {'a': np.ones(3)}, {})
  monkeypatch.setattr(hdf5_file, '_start', no_process)
  assert list(weights_file.read_arrays(mine)) == ['a']
  with mine.open('ab') as file:
    file.write(b'x')
  for other in (mine, path):
    with pytest.raises(AssertionError, match='a process is started'):
      weights_file.read(other)


def test_the_program_imports_nothing_of_this_project():
  """It starts in the time that h5py needs."""
  text = pathlib.Path(hdf5_contents.__file__).read_text(encoding='utf-8')
  assert 'import feelvos' not in text and 'from feelvos' not in text

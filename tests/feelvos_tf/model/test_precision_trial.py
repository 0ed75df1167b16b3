"""The trial behind --precision=auto: what is timed, and the file that keeps it."""

import json
import math
import os
import pathlib

import pytest
import tensorflow as tf

from feelvos_tf.model import precision_trial

MADE = precision_trial.Trial(
  {
    'float32': dict.fromkeys(precision_trial.PARTS, 2.0),
    'bfloat16': dict.fromkeys(precision_trial.PARTS, 1.0),
  }
)


@pytest.fixture
def cache(monkeypatch, tmp_path):
  """Folder of the cache; `measure` returns MADE and counts in `cache.calls`."""

  class Cache:
    folder = tmp_path / 'cache'
    calls = 0

    @property
    def files(self):
      return sorted(self.folder.rglob('*.json'))

  cache = Cache()

  def measure():
    cache.calls += 1
    return MADE

  monkeypatch.setattr(precision_trial, 'measure', measure)
  monkeypatch.setenv('XDG_CACHE_HOME', str(cache.folder))
  return cache


def test_every_operation_is_timed_in_both_precisions():
  trial = precision_trial.measure(rounds=1)
  assert set(trial.milliseconds) == {'float32', 'bfloat16'}
  for times in trial.milliseconds.values():
    assert set(times) == set(precision_trial.PARTS)
    assert all(0 < value < math.inf for value in times.values())


@pytest.mark.parametrize(
  'float32, bfloat16, fastest',
  [(100.0, 50.0, 'bfloat16'), (100.0, 98.0, 'float32'), (50.0, 100.0, 'float32')],
)
def test_bfloat16_has_to_win(float32, bfloat16, fastest):
  trial = precision_trial.Trial({'float32': {'a': float32}, 'bfloat16': {'a': bfloat16}})
  assert trial.fastest == fastest


def test_least_times_count_and_the_first_call_does_not(monkeypatch):
  times = {'float32': iter([1.0, 9.0, 7.0, 8.0]), 'bfloat16': iter([0.5, 3.0, 6.0, 5.0])}
  monkeypatch.setattr(precision_trial, 'PARTS', {'matching': 10})
  monkeypatch.setattr(precision_trial, '_operations', lambda name: {'matching': name})
  monkeypatch.setattr(precision_trial, '_milliseconds', lambda name: next(times[name]))
  trial = precision_trial.measure(rounds=3)
  assert trial.milliseconds == {'float32': {'matching': 70.0}, 'bfloat16': {'matching': 30.0}}


def test_an_operation_that_is_slow_or_fails_is_not_repeated(monkeypatch):
  calls = []

  def take(name):
    calls.append(name)
    return {'float32': 1.0, 'bfloat16': math.inf}[name]

  monkeypatch.setattr(precision_trial, 'PARTS', {'matching': 1})
  monkeypatch.setattr(precision_trial, '_operations', lambda name: {'matching': name})
  monkeypatch.setattr(precision_trial, '_milliseconds', take)
  trial = precision_trial.measure(rounds=5)
  assert trial.fastest == 'float32'
  assert calls.count('float32') == 6 and calls.count('bfloat16') == 2


def test_what_this_machine_cannot_compute_takes_forever():
  def fail():
    raise tf.errors.UnimplementedError(None, None, 'no such kernel')

  assert precision_trial._milliseconds(fail) == math.inf


def test_a_trial_is_made_once_per_machine(cache):
  assert precision_trial.trial() == precision_trial.trial() == MADE
  assert cache.calls == 1
  assert [path.parent for path in cache.files] == [cache.folder / 'feelvos_tf']


@pytest.mark.parametrize('name, value', [('ONEDNN_MAX_CPU_ISA', 'AVX2'), ('OMP_NUM_THREADS', '1')])
def test_another_setting_is_another_trial(cache, monkeypatch, name, value):
  precision_trial.trial()
  monkeypatch.setenv(name, value)
  precision_trial.trial()
  assert cache.calls == len(cache.files) == 2


def foreign(text):
  values = json.loads(text)
  values['about']['machine'] = 'another'
  return json.dumps(values)


def wrong(value):
  def change(text):
    values = json.loads(text)
    values['milliseconds']['bfloat16']['head'] = value
    return json.dumps(values)

  return change


@pytest.mark.parametrize(
  'change',
  [
    lambda text: '',
    lambda text: text[: len(text) // 2],
    lambda text: '[]',
    lambda text: 'null',
    lambda text: '{"about": 1}',
    lambda text: '\ud800',
    foreign,
    wrong('fast'),
    wrong(-1),
    wrong(True),
    wrong(None),
    wrong(math.nan),
  ],
)
def test_a_file_that_is_no_trial_of_this_machine_is_replaced(cache, change):
  precision_trial.trial()
  (path,) = cache.files
  whole = path.read_text()
  path.write_bytes(change(whole).encode(errors='surrogatepass'))
  assert precision_trial.trial() == MADE
  assert cache.calls == 2 and path.read_text() == whole


def test_a_folder_that_cannot_be_written_to_is_no_error(cache):
  cache.folder.write_text('a file where the folder should be')
  assert precision_trial.trial() == precision_trial.trial() == MADE
  assert cache.calls == 2


def test_a_folder_in_place_of_the_file_is_no_error(cache):
  precision_trial.trial()
  (path,) = cache.files
  path.unlink()
  path.mkdir()
  assert precision_trial.trial() == MADE


def test_nothing_else_is_left_in_the_folder(cache):
  precision_trial.trial()
  assert [path.suffix for path in (cache.folder / 'feelvos_tf').iterdir()] == ['.json']


def test_a_relative_cache_folder_is_ignored(cache, monkeypatch, tmp_path):
  monkeypatch.setenv('XDG_CACHE_HOME', 'relative')
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  monkeypatch.chdir(tmp_path)
  precision_trial.trial()
  assert not pathlib.Path('relative').exists()
  assert os.listdir(tmp_path / 'home' / '.cache' / 'feelvos_tf')


def test_no_home_is_no_error(cache, monkeypatch):
  def no_home():
    raise RuntimeError('no home')

  monkeypatch.delenv('XDG_CACHE_HOME')
  monkeypatch.setattr(pathlib.Path, 'home', no_home)
  assert precision_trial.trial() == MADE

"""Which precision `auto` is, and what a precision makes of a model."""

import keras
import pytest
import tensorflow as tf

from feelvos_tf.model import precision
from feelvos_tf.model import precision_trial

CPU_INFO = """processor\t: 0
model name\t: flags of all: kinds
flags\t\t: fpu sse2 avx512f

processor\t: 1
flags\t\t: fpu
"""


@pytest.fixture
def cpu(monkeypatch):
  """No GPU; function: milliseconds in float32 and in bfloat16 -> this machine's trial."""
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind=None: [])

  def takes(float32, bfloat16):
    trial = precision_trial.Trial({'float32': {'all': float32}, 'bfloat16': {'all': bfloat16}})
    monkeypatch.setattr(precision_trial, 'trial', lambda: trial)

  return takes


@pytest.mark.parametrize(
  'times, expected, reason',
  [
    ((200.0, 100.0), 'bfloat16', '2.0 times as fast as float32'),
    ((100.0, 97.0), 'float32', 'bfloat16 is no faster'),
    ((100.0, 140.0), 'float32', 'bfloat16 takes 1.4 times as long'),
    ((100.0, float('inf')), 'float32', 'bfloat16 takes many times as long'),
  ],
)
def test_auto_follows_the_trial(cpu, times, expected, reason):
  cpu(*times)
  choice = precision.choose('auto')
  assert choice.name == precision.resolve('auto') == expected
  assert reason in choice.line and expected in choice.line


@pytest.mark.parametrize(
  'details, expected',
  [
    ([{'compute_capability': (9, 0)}], 'bfloat16'),
    ([{'compute_capability': (8, 0)}, {'compute_capability': (7, 5)}], 'float16'),
    ([{'compute_capability': (6, 1)}], 'float32'),
    ([{}], 'float32'),
  ],
)
def test_auto_follows_the_gpus(cpu, monkeypatch, details, expected):
  cpu(200.0, 100.0)
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: details)
  monkeypatch.setattr(tf.config.experimental, 'get_device_details', lambda gpu: gpu)
  assert precision.resolve('auto') == expected


def test_default_is_auto_for_the_model_of_the_project_only():
  assert precision.wanted(None, of_project=True) == 'auto'
  assert precision.wanted(None, of_project=False) == 'float32'
  assert precision.wanted('bfloat16', of_project=False) == 'bfloat16'


def test_cpu_info(monkeypatch, tmp_path):
  monkeypatch.setattr(precision, '_CPU_INFO', str(tmp_path / 'cpuinfo'))
  assert precision.cpu_info('model name') == ''
  (tmp_path / 'cpuinfo').write_text(CPU_INFO)
  assert precision.cpu_info('model name') == 'flags of all: kinds'
  assert precision.cpu_info('flags') == 'fpu sse2 avx512f'


def test_what_is_asked_for_is_what_comes(cpu, monkeypatch):
  cpu(200.0, 100.0)
  assert [precision.resolve(key) for key in precision.POLICIES] == list(precision.POLICIES)
  monkeypatch.setattr(precision, 'device_name', lambda: 'Xeon (2 cores)')
  assert precision.choose('bfloat16').line == 'Computes in bfloat16 on Xeon (2 cores).'


def test_policy_holds_for_the_model_alone(cpu):
  cpu(200.0, 100.0)
  before = keras.config.dtype_policy().name
  policy = precision.with_precision('auto', lambda: keras.config.dtype_policy().name)
  assert policy == 'mixed_bfloat16'
  with pytest.raises(ZeroDivisionError):
    precision.with_precision('float16', lambda: 1 / 0)
  assert keras.config.dtype_policy().name == before

"""Which precision `auto` is, and what a precision makes of a model."""

import keras
import pytest
import tensorflow as tf

from feelvos_tf.model import precision

CPU_INFO = """processor\t: 0
model name\t: flags of all: kinds
flags\t\t: fpu sse2 avx512f {}

processor\t: 1
flags\t\t: fpu
"""


@pytest.fixture
def cpu(monkeypatch, tmp_path):
  """Makes /proc/cpuinfo name a flag; no GPU, oneDNN as it is by default."""
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind=None: [])
  monkeypatch.delenv('TF_ENABLE_ONEDNN_OPTS', raising=False)
  path = tmp_path / 'cpuinfo'
  monkeypatch.setattr(precision, '_CPU_INFO', str(path))
  return lambda flag: path.write_text(CPU_INFO.format(flag))


@pytest.mark.parametrize(
  'flag, expected',
  [
    ('avx512_bf16', 'bfloat16'),
    ('amx_bf16 amx_tile', 'bfloat16'),
    ('avx512_vnni', 'float32'),
    ('', 'float32'),
  ],
)
def test_auto_follows_the_cpu(cpu, flag, expected):
  cpu(flag)
  assert precision.resolve('auto') == expected
  assert precision.cpu_info('model name') == 'flags of all: kinds'


def test_auto_without_cpu_info_or_onednn(cpu, monkeypatch):
  assert precision.resolve('auto') == 'float32'
  cpu('amx_bf16')
  monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', '0')
  assert precision.resolve('auto') == 'float32'


@pytest.mark.parametrize(
  'details, expected',
  [
    ([{'compute_capability': (9, 0)}], 'bfloat16'),
    ([{'compute_capability': (8, 0)}, {'compute_capability': (7, 5)}], 'float32'),
    ([{}], 'float32'),
  ],
)
def test_auto_follows_the_gpus(cpu, monkeypatch, details, expected):
  cpu('avx512_bf16')
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: details)
  monkeypatch.setattr(tf.config.experimental, 'get_device_details', lambda gpu: gpu)
  assert precision.resolve('auto') == expected


def test_what_is_asked_for_is_what_comes(cpu):
  cpu('avx512_bf16')
  assert [precision.resolve(key) for key in precision.POLICIES] == list(precision.POLICIES)


def test_policy_holds_for_the_model_alone(cpu):
  cpu('amx_bf16')
  before = keras.config.dtype_policy().name
  policy = precision.with_precision('auto', lambda: keras.config.dtype_policy().name)
  assert policy == 'mixed_bfloat16'
  with pytest.raises(ZeroDivisionError):
    precision.with_precision('float16', lambda: 1 / 0)
  assert keras.config.dtype_policy().name == before

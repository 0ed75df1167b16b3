"""Our weights files: round trip, half precision, and files that are something else."""

import json
import os

import h5py
import numpy as np
import pytest

from feelvos_tf.deeplab import DeepLabV3Plus
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.deeplab import weights_file


@pytest.fixture(scope='module')
def model():
  return DeepLabV3Plus(ModelOptions('mobilenet_v2', depth_multiplier=0.35))


@pytest.fixture
def path(model, tmp_path):
  weights_file.save(tmp_path / 'weights.h5', model, {'options': model.options.to_dict()})
  return tmp_path / 'weights.h5'


def test_round_trip(model, path):
  copy = DeepLabV3Plus(ModelOptions.from_dict(weights_file.read_metadata(path)['options']))
  assert weights_file.restore(path, copy).complete
  for mine, theirs in zip(model.weights, copy.weights):
    np.testing.assert_array_equal(mine, theirs)


def test_names_are_the_originals(model, path):
  assert set(weights_file.read_arrays(path)) == set(tf1_checkpoint.variables_by_name(model))


def test_nothing_else_is_left_in_the_folder(path):
  assert os.listdir(path.parent) == ['weights.h5']


def test_float16_is_smaller_and_rounds(model, path, tmp_path):
  half = tmp_path / 'half.h5'
  weights_file.save(half, model, {}, 'float16')
  assert os.path.getsize(half) < 0.7 * os.path.getsize(path)
  exact = weights_file.read_arrays(path)
  for name, value in weights_file.read_arrays(half).items():
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value, exact[name].astype(np.float16).astype(np.float32))


def test_values_that_float16_cannot_hold_are_refused_and_leave_nothing(tmp_path):
  with pytest.raises(ValueError, match='big has values that are not finite in float16'):
    weights_file.save_arrays(tmp_path / 'w.h5', {'big': np.array([1e6])}, {}, 'float16')
  assert not os.listdir(tmp_path)


def test_unknown_dtype(tmp_path):
  with pytest.raises(ValueError, match="dtype is 'int8'; expected 'float32' or 'float16'"):
    weights_file.save_arrays(tmp_path / 'w.h5', {}, {}, 'int8')


def test_a_failed_write_keeps_the_file_that_was_there(path, model):
  before = path.read_bytes()
  with pytest.raises(ValueError):
    weights_file.save_arrays(path, {'a': np.array([np.nan])}, {})
  assert path.read_bytes() == before


def test_missing_file(model, tmp_path):
  with pytest.raises(FileNotFoundError, match='no such weights file'):
    weights_file.restore(tmp_path / 'none.h5', model)


@pytest.mark.parametrize('keep', [0.0, 0.01, 0.5, 0.99])
def test_truncated_file(model, path, keep):
  before = [value.numpy() for value in model.weights]
  os.truncate(path, int(os.path.getsize(path) * keep))
  with pytest.raises(ValueError, match='truncated') as error:
    weights_file.restore(path, model)
  assert str(error.value).startswith(str(path))
  for value, variable in zip(before, model.weights):
    np.testing.assert_array_equal(value, variable)


def test_damaged_data_is_not_loaded_silently(model, path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)
  path.write_bytes(data)
  with pytest.raises(ValueError, match=str(path)):
    weights_file.restore(path, model)


def test_foreign_hdf5(model, tmp_path):
  foreign = tmp_path / 'foreign.h5'
  with h5py.File(foreign, 'w') as file:
    file['a'] = np.zeros(3)
  with pytest.raises(ValueError, match='not a weights file of this project'):
    weights_file.restore(foreign, model)


def test_another_model_is_refused(path):
  other = DeepLabV3Plus(ModelOptions('mobilenet_v2', depth_multiplier=0.5))
  with pytest.raises(ValueError, match='of the wrong shape: MobilenetV2/'):
    weights_file.restore(path, other)


def test_options_of_a_newer_version_are_named(path):
  with h5py.File(path, 'r+') as file:
    metadata = json.loads(file.attrs['metadata'])
    metadata['options']['attention'] = True
    file.attrs['metadata'] = json.dumps(metadata)
  with pytest.raises(ValueError, match='attention; the file may be from a newer version'):
    ModelOptions.from_dict(weights_file.read_metadata(path)['options'])

"""Initial weights: what is loaded of which kind of file, and what is refused."""

import numpy as np
import pytest

from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.deeplab import weights_file
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.model.weights import save_model
from feelvos_tf.training import initial_weights

SMALL = ModelOptions('mobilenet_v2', depth_multiplier=0.35)
BACKBONE = 'MobilenetV2/Conv/weights'
ASPP, EMBEDDING = (
  'aspp1_depthwise/depthwise_weights',
  ('embedding/split_separable_conv2d_pointwise/weights'),
)


def make(dimension=8, model=SMALL, **options):
  return Feelvos(
    FeelvosOptions(
      model,
      embedding_dimension=dimension,
      head_dimension=8,
      head_layers=1,
      head_kernel_size=3,
      **options,
    )
  )


@pytest.fixture(scope='module')
def trained():
  """A model all of whose weights are 0.5."""
  model = make()
  for variable in tf1_checkpoint.variables_by_name(model).values():
    variable.assign(np.full(variable.shape, 0.5, np.float32))
  return model


@pytest.fixture(scope='module')
def target():
  return make()


@pytest.fixture(autouse=True)
def reset(target):
  for variable in tf1_checkpoint.variables_by_name(target).values():
    variable.assign(np.zeros(variable.shape, np.float32))


def loaded(model):
  return {
    name: bool(np.all(variable.numpy() == 0.5))
    for name, variable in tf1_checkpoint.variables_by_name(model).items()
  }


@pytest.fixture(params=['h5', 'tf1'])
def path(request, trained, tmp_path):
  if request.param == 'h5':
    save_model(tmp_path / 'trained.h5', trained)
    return tmp_path / 'trained.h5'
  tf1_checkpoint.save(tmp_path / 'model.ckpt-7', trained, global_step=7)
  return tmp_path / 'model.ckpt-7'


def test_last_layers_start_from_scratch_unless_asked(target, path):
  text = initial_weights.initialize(target, path)
  found = loaded(target)
  assert found[BACKBONE] and found[EMBEDDING] and not found[ASPP]
  assert 'aspp' in text and '--initialize_last_layer' in text
  initial_weights.initialize(target, path, last_layers_contain_logits_only=True)
  assert loaded(target)[ASPP] and not loaded(target)['logits/semantic/weights']
  initial_weights.initialize(target, path, initialize_last_layer=True)
  assert all(loaded(target).values())


def test_backbone_alone_is_enough_and_the_rest_is_named(target, trained, tmp_path):
  arrays = {
    name: variable.numpy()
    for name, variable in tf1_checkpoint.variables_by_name(trained).items()
    if name.startswith('MobilenetV2/')
  }
  tf1_checkpoint.write_tensors(tmp_path / 'coco.ckpt', {**arrays, 'global_step': np.int64(5)})
  text = initial_weights.initialize(target, tmp_path / 'coco.ckpt')
  assert loaded(target)[BACKBONE] and not loaded(target)[EMBEDDING]
  assert 'embedding_seg' in text


def test_other_models_are_refused_and_the_model_is_untouched(target, trained, tmp_path):
  save_model(tmp_path / 'other.h5', make(dimension=12))
  with pytest.raises(ValueError, match='of another model'):
    initial_weights.initialize(target, tmp_path / 'other.h5')
  weights_file.save_arrays(tmp_path / 'strange.h5', {'conv/weights': np.zeros(3)}, {})
  with pytest.raises(ValueError, match='of another model'):
    initial_weights.initialize(target, tmp_path / 'strange.h5')
  assert not any(loaded(target).values())


def test_as_many_other_inputs_of_the_head_are_refused(tmp_path):
  save_model(tmp_path / 'no_local.h5', make(previous_frame_matching='none'))
  target = make(previous_prediction='none')
  message = (
    'no_local.h5: the head sees global_distance, previous_prediction of every object there; '
    'expected global_distance, local_distance'
  )
  with pytest.raises(ValueError, match=message):
    initial_weights.initialize(target, tmp_path / 'no_local.h5', initialize_last_layer=True)


def test_keras_file_and_missing_files(target, tmp_path):
  with pytest.raises(FileNotFoundError, match='no such weights file'):
    initial_weights.initialize(target, tmp_path / 'none.h5')
  with pytest.raises(FileNotFoundError, match='no checkpoint here'):
    initial_weights.initialize(target, tmp_path / 'model.ckpt-1')
  (tmp_path / 'keras.weights.h5').write_bytes(b'no HDF5')
  with pytest.raises(ValueError, match='keras.weights.h5'):
    initial_weights.initialize(target, tmp_path / 'keras.weights.h5')


@pytest.mark.slow
def test_keras_mobilenet_v2(tmp_path):
  import keras

  original = keras.applications.MobileNetV2(
    include_top=False, weights=None, input_shape=(None, None, 3)
  )
  original.save_weights(tmp_path / 'keras.weights.h5')
  model = make(model=ModelOptions('mobilenet_v2'))
  assert 'of the backbone loaded' in initial_weights.initialize(
    model, tmp_path / 'keras.weights.h5'
  )
  first = tf1_checkpoint.variables_by_name(model)[BACKBONE]
  np.testing.assert_array_equal(first, original.get_layer('Conv1').kernel)

"""TF1 checkpoints: every variable accounted for, both directions, and broken files."""

import os

import numpy as np
import pytest
import tensorflow as tf
import weight_recipe

from feelvos_tf.deeplab import DeepLabV3Plus
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.files import whole_file


@pytest.fixture(scope='module')
def model():
  return DeepLabV3Plus(ModelOptions('mobilenet_v2', depth_multiplier=0.35))


@pytest.fixture(scope='module')
def tensors(model):
  """A checkpoint that fits `model`, as a dict."""
  return {
    name: weight_recipe.value(name, variable.shape)
    for name, variable in tf1_checkpoint.variables_by_name(model).items()
  }


@pytest.fixture
def write(tmp_path):
  def write(tensors):
    prefix = str(tmp_path / 'model.ckpt-3')
    tf1_checkpoint.write_tensors(prefix, tensors)
    return prefix

  return write


def snapshot(model):
  return {
    name: variable.numpy() for name, variable in tf1_checkpoint.variables_by_name(model).items()
  }


def assert_untouched(model, before):
  for name, variable in tf1_checkpoint.variables_by_name(model).items():
    np.testing.assert_array_equal(variable, before[name], err_msg=name)


def test_every_value_arrives_where_its_name_says(model, tensors, write):
  report = tf1_checkpoint.restore(write(tensors), model)
  assert report.complete
  assert set(report.loaded) == set(tensors)
  assert_untouched(model, tensors)


def test_missing_left_over_and_wrong_shape_are_named(model, tensors, write):
  changed = dict(tensors)
  del changed['aspp0/weights']
  changed['aspp9/weights'] = np.zeros([1, 1, 2, 3], np.float32)
  changed['concat_projection/BatchNorm/beta'] = np.zeros([7], np.float32)
  prefix, before = write(changed), snapshot(model)
  with pytest.raises(ValueError) as error:
    tf1_checkpoint.restore(prefix, model)
  message = str(error.value)
  assert message.startswith(f'{prefix}: the checkpoint does not fit the model')
  for part in (
    '1 missing from the checkpoint: aspp0/weights.',
    '1 left over in the checkpoint: aspp9/weights.',
    'concat_projection/BatchNorm/beta: checkpoint [7], model [256].',
  ):
    assert part in message
  assert_untouched(model, before)

  report = tf1_checkpoint.restore(prefix, model, allow_incomplete=True)
  assert report.missing == ('aspp0/weights',)
  assert report.left_over == ('aspp9/weights',)
  assert report.wrong_shape == {'concat_projection/BatchNorm/beta': ((7,), (256,))}
  assert_untouched(
    model,
    {
      **tensors,
      **{name: before[name] for name in ('aspp0/weights', 'concat_projection/BatchNorm/beta')},
    },
  )


def test_training_state_of_the_original_is_recognised(golden, golden_model):
  """Momentum slots and the step are neither loaded nor left over."""
  entries = golden.json('tf1/vars/xception_65_os16_train')

  class Reader:
    def get_variable_to_shape_map(self):
      return {entry['name']: entry['shape'] for entry in entries}

  report = tf1_checkpoint.compare(Reader(), golden_model('xception_65', 16))
  assert report.complete, report.summary()
  slots = {entry['name'] for entry in entries if entry['name'].endswith('/Momentum')}
  assert set(report.training_state) == slots | {'global_step'}
  assert len(slots) == 460
  assert len(report.loaded) == 752


@pytest.mark.parametrize(
  'name',
  [
    'aspp0/weights/ExponentialMovingAverage',
    'aspp0/weights/Adam',
    'aspp0/weights/Adam_1',
    'aspp0/weights/RMSProp_1',
    'beta1_power',
    'global_step',
    'aspp0/weights/Momentum',
  ],
)
def test_other_training_state_is_recognised_too(model, tensors, write, name):
  report = tf1_checkpoint.restore(write({**tensors, name: np.zeros([1], np.float32)}), model)
  assert report.training_state == (name,)


def test_a_name_that_only_looks_like_training_state_is_left_over(model, tensors, write):
  name = 'MomentumNet/weights'
  with pytest.raises(ValueError, match=f'left over in the checkpoint: {name}'):
    tf1_checkpoint.restore(write({**tensors, name: np.zeros([1], np.float32)}), model)


def test_backbone_only(model, tensors, write):
  """A classification checkpoint: backbone, its classifier and the layer DeepLab leaves out."""
  backbone = {name: value for name, value in tensors.items() if name.startswith('MobilenetV2/')}
  prefix, before = (
    write(
      {
        **backbone,
        'MobilenetV2/Logits/Conv2d_1c_1x1/weights': np.zeros([1, 1, 3, 9], np.float32),
        'MobilenetV2/Conv_1/weights': np.zeros([1, 1, 3, 9], np.float32),
      }
    ),
    snapshot(model),
  )
  with pytest.raises(ValueError, match='missing from the checkpoint'):
    tf1_checkpoint.restore(prefix, model)
  report = tf1_checkpoint.restore(prefix, model, exclude_scopes=tf1_checkpoint.NON_BACKBONE_SCOPES)
  assert report.complete
  assert set(report.loaded) == set(backbone)
  assert len(report.ignored) == 2
  assert_untouched(model, {**before, **backbone})


def test_backbone_only_leaves_the_rest_of_a_whole_checkpoint(model, tensors, write):
  """A DeepLab checkpoint holds ASPP and decoder; with the backbone only they stay as they are."""
  report = tf1_checkpoint.restore(
    write(tensors), model, exclude_scopes=tf1_checkpoint.NON_BACKBONE_SCOPES
  )
  assert report.complete
  assert {name.split('/')[0] for name in report.loaded} == {'MobilenetV2'}


def test_scopes_pick_top_level_names(model, tensors, write):
  report = tf1_checkpoint.restore(write(tensors), model, scopes=('aspp', 'decoder'))
  assert report.complete
  assert {name.split('/')[0] for name in report.loaded} == {
    'aspp0',
    'decoder',
    *(f'aspp{i}_{kind}' for i in (1, 2, 3) for kind in ('depthwise', 'pointwise')),
  }


def test_another_variant_is_refused(golden_checkpoint, model):
  before = snapshot(model)
  with pytest.raises(ValueError, match='does not fit the model, another variant') as error:
    tf1_checkpoint.restore(golden_checkpoint('xception_41'), model)
  assert '\n' not in str(error.value).split('variables loaded')[0]
  assert_untouched(model, before)


def test_a_checkpoint_of_another_network_is_refused_though_incomplete_is_allowed(model, write):
  prefix = write({'dense/kernel': np.zeros([2, 2], np.float32)})
  with pytest.raises(ValueError, match='no variable fits the model'):
    tf1_checkpoint.restore(prefix, model, allow_incomplete=True)


@pytest.mark.parametrize('suffix', ['', '.index', '.data-00000-of-00001'])
def test_prefix_or_one_of_its_files(model, tensors, write, suffix):
  assert tf1_checkpoint.restore(write(tensors) + suffix, model).complete


def test_folder_with_a_checkpoint_file(model, tensors, write, tmp_path):
  write(tensors)
  with pytest.raises(FileNotFoundError, match='folder without a `checkpoint` file'):
    tf1_checkpoint.restore(tmp_path, model)
  (tmp_path / 'checkpoint').write_text('model_checkpoint_path: "model.ckpt-3"\n')
  assert tf1_checkpoint.restore(tmp_path, model).complete
  (tmp_path / 'checkpoint').write_text('model_checkpoint_path: "model.ckpt-4"\n')
  with pytest.raises(FileNotFoundError, match='no checkpoint here; expected model.ckpt-4.index'):
    tf1_checkpoint.restore(tmp_path, model)


@pytest.mark.parametrize('name', ['a[1]/model.ckpt-7', 'model[1].ckpt-7'])
def test_names_that_look_like_patterns(tmp_path, name):
  path = tmp_path / name
  tf1_checkpoint.write_tensors(path, {'value': np.float32([2, 3])})
  np.testing.assert_array_equal(tf1_checkpoint.read_checkpoint(path).get_tensor('value'), [2, 3])
  for known in (path.name, path):  # TF1 wrote the whole path.
    (path.parent / 'checkpoint').write_text(f'model_checkpoint_path: "{known}"')
    assert tf1_checkpoint.read_checkpoint(path.parent).get_tensor('value').shape == (2,)
  (tmp_path / f'{name}.index').write_bytes(b'')
  for given in (path, path.parent):
    with pytest.raises(ValueError, match='copy it again') as error:
      tf1_checkpoint.read_checkpoint(given)
    assert 'feelvos_links' not in str(error.value)


def test_missing_checkpoint(model, tmp_path):
  with pytest.raises(FileNotFoundError, match='no checkpoint here; expected model.ckpt.index'):
    tf1_checkpoint.restore(tmp_path / 'model.ckpt', model)


@pytest.mark.parametrize(
  'part, keep',
  [('.data-00000-of-00001', 0.5), ('.index', 0.5), ('.data-00000-of-00001', 0.0), ('.index', 0.0)],
)
def test_truncated_checkpoint(model, tensors, write, part, keep):
  prefix, before = write(tensors), snapshot(model)
  os.truncate(prefix + part, int(os.path.getsize(prefix + part) * keep))
  with pytest.raises(ValueError, match='truncated|not a readable checkpoint') as error:
    tf1_checkpoint.restore(prefix, model)
  assert str(error.value).startswith(prefix)
  assert 'copy it again' in str(error.value)
  assert_untouched(model, before)


def test_missing_data_file(model, tensors, write):
  prefix = write(tensors)
  os.remove(prefix + '.data-00000-of-00001')
  with pytest.raises(ValueError, match='copy it again'):
    tf1_checkpoint.restore(prefix, model)


def test_written_checkpoint_has_exactly_the_originals_names(golden, golden_model, tmp_path):
  """The original's saver would restore it: every name, shape and dtype of its inference graph."""
  prefix = str(tmp_path / 'sub' / 'model.ckpt-5')
  model = golden_model('mobilenet_v2', 16)
  tf1_checkpoint.save(prefix, model, global_step=5)
  reader = tf.train.load_checkpoint(prefix)
  entries = golden.json('tf1/vars/mobilenet_v2_infer')
  assert reader.get_variable_to_shape_map() == {e['name']: e['shape'] for e in entries}
  assert {name: dtype.name for name, dtype in reader.get_variable_to_dtype_map().items()} == {
    e['name']: e['dtype'] for e in entries
  }
  assert reader.get_tensor('global_step') == 5
  for entry in entries:
    if entry['name'] != 'global_step':
      np.testing.assert_array_equal(
        reader.get_tensor(entry['name']), weight_recipe.value(entry['name'], entry['shape'])
      )


def test_slots_are_written_beside_their_variables(model, tmp_path):
  prefix = str(tmp_path / 'model.ckpt-1')
  slot = np.full(model.get_layer('aspp0').kernel.shape, 0.5, np.float32)
  names = tf1_checkpoint.save(prefix, model, 1, {'aspp0/weights': slot})
  reader = tf.train.load_checkpoint(prefix)
  assert 'aspp0/weights/Momentum' in names
  np.testing.assert_array_equal(reader.get_tensor('aspp0/weights/Momentum'), slot)
  assert tf1_checkpoint.restore(prefix, model).complete


def test_a_place_that_cannot_be_written_is_an_os_error(tmp_path):
  (tmp_path / 'model.ckpt.data-00000-of-00001').mkdir()
  with pytest.raises(OSError):
    tf1_checkpoint.write_tensors(str(tmp_path / 'model.ckpt'), {'a': np.zeros([2], np.float32)})
  (tmp_path / 'file').touch()
  with pytest.raises(OSError):
    tf1_checkpoint.write_tensors(str(tmp_path / 'file' / 'model.ckpt'), {'a': np.zeros([2])})


def test_a_checkpoint_half_replaced_is_none(tmp_path, monkeypatch):
  """The index of the one before stood beside the data of the new one."""
  path = str(tmp_path / 'model.ckpt')
  tf1_checkpoint.write_tensors(path, {'value': np.float32([2, 3])})
  move = whole_file.move

  def killed_before_the_index(temporary, name):
    if str(name).endswith('.index'):
      raise KeyboardInterrupt
    move(temporary, name)

  monkeypatch.setattr(whole_file, 'move', killed_before_the_index)
  with pytest.raises(KeyboardInterrupt):
    tf1_checkpoint.write_tensors(path, {'value': np.float32([4, 5])})
  with pytest.raises(FileNotFoundError, match='no checkpoint here'):
    tf1_checkpoint.read_checkpoint(path)


def test_two_variables_of_one_name_are_refused():
  import keras

  from feelvos_tf.deeplab import layers

  one, two = (layers.Conv2D(2, 1, name='same') for _ in range(2))
  net = keras.Input([None, None, 3])
  first = keras.Model(net, one(net), name='first')
  second = keras.Model(net, two(net), name='second')
  both = keras.Model(net, keras.layers.Add()([first(net), second(net)]))
  with pytest.raises(ValueError, match='two variables are called same/weights'):
    tf1_checkpoint.variables_by_name(both)

"""The mean of weights: of files and of a training's checkpoint, its options, and wrong input."""

import numpy as np
import pytest
import small_models
import tensorflow as tf

from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.deeplab import weights_file
from feelvos_tf.model import weights

MODULE = 'tools.mean_weights'


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
  """(folder with one.h5, two.h5 and the checkpoint train-5, {name: array} of each)."""
  folder = tmp_path_factory.mktemp('weights')
  arrays = []
  for seed, name in enumerate(('one', 'two', 'train')):
    model = small_models.tiny_model(seed, frame_grid=16 if name == 'one' else None)
    variables = tf1_checkpoint.variables_by_name(model)
    arrays.append({name: variable.numpy() for name, variable in variables.items()})
    if name == 'train':  # As training/trainer.py writes it.
      values = {name: variable.value for name, variable in variables.items()}
      saved = tf.train.Checkpoint(weights=values, step=tf.Variable(5))
      manager = tf.train.CheckpointManager(saved, folder, 1, checkpoint_name='train')
      manager.save(checkpoint_number=5)
    else:
      weights.save_model(folder / f'{name}.h5', model, {'from': name})
  return folder, arrays


@pytest.mark.parametrize('second', ['two.h5', 'train-5'])
def test_mean_of_two(inputs, second, run_main, tmp_path):
  folder, (one, two, train) = inputs
  output = tmp_path / 'mean.h5'
  flags = [f'--weights={folder}/one.h5', f'--weights={folder}/{second}', f'--output={output}']
  done = run_main(MODULE, *flags, '--shares=.25', '--shares=.75')
  assert done.returncode == 0, done.stderr
  metadata, mean = weights_file.read(output)
  assert metadata['notes'] == {'from': 'one'}
  assert weights.load_model(output).options.frame_grid == 16
  other = two if second == 'two.h5' else train
  assert mean.keys() == one.keys() == other.keys()
  for name in one:
    np.testing.assert_allclose(mean[name], 0.25 * one[name] + 0.75 * other[name], atol=1e-6)
  again = run_main(MODULE, *flags)
  assert again.returncode == 2 and 'exists; --overwrite replaces it' in again.stderr


def test_weights_before_inputs_were_added(inputs, run_main, tmp_path):
  """They were refused as of another network."""
  folder, (one, _, _) = inputs
  model = small_models.tiny_model(9, other_object_distances=True, global_distance_square=3)
  weights.save_model(tmp_path / 'after.h5', model)
  flags = [f'--weights={tmp_path}/after.h5', f'--weights={folder}/one.h5']
  done = run_main(MODULE, *flags, f'--output={tmp_path}/mean.h5')
  assert done.returncode == 0, done.stderr
  assert weights.load_model(tmp_path / 'mean.h5').options == model.options
  mean = weights_file.read_arrays(tmp_path / 'mean.h5')
  after = weights_file.read_arrays(tmp_path / 'after.h5')
  name = 'embedding_seg/split_separable_conv2d_0_pointwise/weights'
  old = one[name].shape[2]
  assert after[name].shape[2] == old + 4
  np.testing.assert_allclose(mean[name][:, :, :old], (after[name][:, :, :old] + one[name]) / 2)
  np.testing.assert_allclose(mean[name][:, :, old:], after[name][:, :, old:] / 2)


@pytest.mark.parametrize(
  'options, message',
  [
    (
      {'other_object_distances': True},
      'the model does not have its inputs other_global_distance, other_local_distance',
    ),
    ({'window_radius': 4}, 'of another network: its window_radius is 4, expected 3'),
    (
      {'previous_prediction': 'probabilities'},
      'its previous_prediction is probabilities, expected',
    ),
    ({'joint_head': True}, 'the checkpoint does not fit the model'),
  ],
)
def test_another_network_is_refused(inputs, options, message, run_main, tmp_path):
  """With as many variables it was averaged with the first."""
  weights.save_model(tmp_path / 'other.h5', small_models.tiny_model(9, **options))
  flags = [f'--weights={inputs[0]}/one.h5', f'--weights={tmp_path}/other.h5']
  done = run_main(MODULE, *flags, f'--output={tmp_path}/mean.h5')
  assert done.returncode == 1 and message in done.stderr, done.stderr
  assert not (tmp_path / 'mean.h5').exists()


@pytest.mark.parametrize(
  'flags, code, expected',
  [
    (['--weights={}/one.h5'], 2, '1 --weights given; expected two or more'),
    (['--weights={}/one.h5', '--weights={}/two.h5', '--shares=1'], 2, '1 --shares and 2 --weights'),
    (
      ['--weights={}/one.h5', '--weights={}/two.h5', '--shares=.5', '--shares=.4'],
      2,
      '--shares add up to 0.9; expected 1',
    ),
    (['--weights={}/one.h5', '--weights={}/gone.h5'], 1, 'no such weights file or checkpoint'),
    (
      ['--weights={}/one.h5', '--weights={}/other'],
      1,
      'not a checkpoint of a training of this model',
    ),
    (
      ['--weights={}/one.h5', '--weights={}/larger-1'],
      1,
      'larger-1: not a checkpoint of a training of this model (it has 1 variables more)',
    ),
  ],
)
def test_wrong_input(inputs, flags, code, expected, run_main, tmp_path):
  folder, (one, _, _) = inputs
  tf.train.Checkpoint(weights={'a': tf.Variable(1.0)}).write(str(folder / 'other'))
  larger = {name: tf.Variable(value) for name, value in {**one, 'embedding_seg/gate': 1.0}.items()}
  tf.train.Checkpoint(weights=larger).save(str(folder / 'larger'))
  output = tmp_path / 'mean.h5'
  done = run_main(MODULE, *(flag.format(folder) for flag in flags), f'--output={output}')
  assert done.returncode == code and expected in done.stderr, done.stderr
  assert not output.exists()

"""feelvos convert-checkpoint: both directions, its guesses, and bad checkpoints."""

import dataclasses
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
import weight_recipe

from feelvos_tf.deeplab import DeepLabV3Plus
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.deeplab import weights_file
from feelvos_tf.model import weights
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions

MODULE = 'tools.convert_checkpoint'


@pytest.fixture
def convert(run_main):
  """Function: runs the main with flags, expects success, returns stdout."""

  def convert(*flags, **values):
    process = run_main(MODULE, *(f'--{k}={v}' for k, v in values.items()), *flags)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ''
    return process.stdout

  return convert


@pytest.fixture
def refuse(run_main):
  """Function: runs the main with flags, expects one line with these parts; returns stdout."""

  def refuse(code, *parts, extra=(), **values):
    process = run_main(MODULE, *(f'--{k}={v}' for k, v in values.items()), *extra)
    assert process.returncode == code, process.stderr
    (line,) = process.stderr.splitlines()
    assert line.startswith(f'{MODULE}: error: ')
    for part in parts:
      assert part in line
    return process.stdout

  return refuse


def test_original_to_ours_and_back(golden, golden_checkpoint, convert, tmp_path):
  """Every value of the original's checkpoint survives the way there and back."""
  ours, back = tmp_path / 'feelvos.h5', tmp_path / 'back' / 'model.ckpt-0'
  out = convert(input=golden_checkpoint('mobilenet_v2'), output=ours)
  entries = [e for e in golden.json('tf1/vars/mobilenet_v2_infer') if e['name'] != 'global_step']
  assert f'{len(entries)} variables loaded, 1 of training state recognised.' in out
  assert f'{len(entries)} variables written and read back, all equal.' in out
  model = weights.load_model(ours)
  assert model.options.model.model_variant == 'mobilenet_v2'
  assert model.options.frame_grid is None  # As the original.
  out = convert(input=ours, output=back)
  reader = tf.train.load_checkpoint(str(back))
  assert set(reader.get_variable_to_shape_map()) == {e['name'] for e in entries} | {'global_step'}
  for entry in entries:
    np.testing.assert_array_equal(
      reader.get_tensor(entry['name']), weight_recipe.value(entry['name'], entry['shape'])
    )


def test_a_frame_grid_is_recorded_and_taken_back(copying_weights, convert, tmp_path):
  convert('--frame_grid=16', input=copying_weights, output=tmp_path / 'grid.h5')
  convert('--frame_grid=0', input=tmp_path / 'grid.h5', output=tmp_path / 'none.h5')
  options = [
    weights_file.read_metadata(tmp_path / f'{name}.h5')['options'] for name in ('grid', 'none')
  ]
  assert [of['frame_grid'] for of in options] == [16, None]


def test_options_and_notes_of_ours_stay_but_for_those_of_flags(convert, refuse, tmp_path):
  """Flags on one of our files: no option is lost by one, none is left aside."""
  options = FeelvosOptions(
    ModelOptions('mobilenet_v2', depth_multiplier=0.25), crossing_radius=15, frame_grid=16
  )
  notes = {'licence': 'mine', 'steps': 3}
  weights.save_model(tmp_path / 'own.h5', Feelvos(options), notes)
  convert(
    '--model_variant=mobilenet_v2',
    '--output_stride=8',
    input=tmp_path / 'own.h5',
    output=tmp_path / 'new.h5',
  )
  metadata = weights_file.read_metadata(tmp_path / 'new.h5')
  model = dataclasses.replace(options.model, output_stride=8, atrous_rates=None)
  assert FeelvosOptions.from_dict(metadata['options']) == dataclasses.replace(options, model=model)
  assert metadata['notes'] == {**notes, 'converted_from': 'own.h5'}
  convert(
    '--network=deeplab', '--allow_incomplete', input=tmp_path / 'own.h5', output=tmp_path / 'd.h5'
  )
  found = weights_file.read_metadata(tmp_path / 'd.h5')['options']
  assert ModelOptions.from_dict(found) == options.model
  refuse(
    1,
    'own.h5 holds the variant mobilenet_v2; --model_variant=xception_65 given',
    input=tmp_path / 'own.h5',
    output=tmp_path / 'x.h5',
    model_variant='xception_65',
  )


def test_deeplab_alone(convert, refuse, tmp_path):
  """A published kind of model: no decoder, one ASPP branch, semantic logits; both ways."""
  keras.utils.set_random_seed(0)
  options = ModelOptions(
    'mobilenet_v2', atrous_rates=(), decoder_output_stride=None, num_classes=5, depth_multiplier=0.5
  )
  model = DeepLabV3Plus(options)
  prefix = tmp_path / 'model.ckpt-30000'
  tf1_checkpoint.save(prefix, model, global_step=30000)
  convert(input=prefix, output=tmp_path / 'deeplab.h5')
  metadata = weights_file.read_metadata(tmp_path / 'deeplab.h5')
  assert ModelOptions.from_dict(metadata['options']) == options
  assert metadata['notes'] == {'converted_from': 'model.ckpt-30000'}
  refuse(
    1, 'holds a DeepLab', '--frame_grid', input=prefix, output=tmp_path / 'grid.h5', frame_grid=16
  )
  convert(input=tmp_path / 'deeplab.h5', output=tmp_path / 'again' / 'model.ckpt')
  first, second = (
    tf.train.load_checkpoint(str(path)) for path in (prefix, tmp_path / 'again' / 'model.ckpt')
  )
  assert first.get_variable_to_shape_map() == second.get_variable_to_shape_map()
  np.testing.assert_array_equal(
    first.get_tensor('logits/semantic/weights'), second.get_tensor('logits/semantic/weights')
  )


def test_keras_mobilenet_as_backbone(convert, tmp_path):
  theirs = keras.applications.MobileNetV2(
    include_top=False, weights=None, input_shape=(None, None, 3)
  )
  path = tmp_path / 'mobilenet_v2.weights.h5'
  theirs.save_weights(path)
  convert('--backbone_only', input=path, output=tmp_path / 'initial.h5')
  model = weights.load_model(tmp_path / 'initial.h5')
  np.testing.assert_array_equal(
    tf1_checkpoint.variables_by_name(model)['MobilenetV2/Conv/weights'],
    theirs.get_layer('Conv1').kernel,
  )


def test_what_does_not_fit_is_listed_by_name(golden_checkpoint, refuse, convert, tmp_path):
  reader = tf.train.load_checkpoint(golden_checkpoint('mobilenet_v2'))
  tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
  removed = sorted(name for name in tensors if name.startswith('decoder/'))
  for name in removed:
    del tensors[name]
  tensors['colour/weights'] = np.zeros([2], np.float32)
  tensors['aspp0/BatchNorm/beta'] = np.zeros([9], np.float32)
  prefix, output = tmp_path / 'model.ckpt-1', tmp_path / 'out.h5'
  tf1_checkpoint.write_tensors(prefix, tensors)
  listed = refuse(
    1, f'{prefix}: the checkpoint does not fit the model', input=prefix, output=output
  )
  assert all(name in listed for name in removed)  # All of them, however many.
  assert '1 left over in the checkpoint: colour/weights.' in listed
  assert 'aspp0/BatchNorm/beta: checkpoint [9], model [256].' in listed
  assert not output.exists()
  listed = convert('--allow_incomplete', input=prefix, output=output)
  assert f'{len(removed)} missing from the checkpoint' in listed
  assert output.exists()


def test_bad_checkpoints(golden_checkpoint, refuse, tmp_path):
  output = tmp_path / 'out.h5'
  good = golden_checkpoint('mobilenet_v2')
  truncated = str(tmp_path / 'model.ckpt-9')
  for suffix in ('.index', '.data-00000-of-00001'):
    with open(good + suffix, 'rb') as source, open(truncated + suffix, 'wb') as target:
      target.write(source.read())
  os.truncate(truncated + '.data-00000-of-00001', 100_000)
  refuse(1, truncated, 'truncated', 'copy it again', input=truncated, output=output)
  refuse(
    1,
    'does not fit the model, another variant',
    input=good,
    output=output,
    model_variant='resnet_v1_50_beta',
  )
  refuse(1, 'none.h5: no such weights file', input=tmp_path / 'none.h5', output=output)
  (tmp_path / 'text.h5').write_text('text')
  refuse(1, 'text.h5: not', input=tmp_path / 'text.h5', output=output)
  tf1_checkpoint.write_tensors(tmp_path / 'dense', {'dense/kernel': np.zeros([2], np.float32)})
  refuse(
    1,
    'no variable belongs to a known backbone',
    'dense',
    '--model_variant',
    input=tmp_path / 'dense',
    output=output,
  )
  assert not output.exists()


def test_bad_outputs_and_flags(golden_checkpoint, refuse, tmp_path):
  good = golden_checkpoint('mobilenet_v2')
  (tmp_path / 'there.h5').write_text('precious')
  refuse(1, 'there.h5 exists', 'add --overwrite', input=good, output=tmp_path / 'there.h5')
  assert (tmp_path / 'there.h5').read_text() == 'precious'
  refuse(1, 'the input given as output', input=good, output=good, extra=['--overwrite'])
  refuse(1, 'there.h5', input=good, output=tmp_path / 'there.h5' / 'model.ckpt')
  refuse(2, '--input is missing', output=tmp_path / 'a.h5')
  refuse(2, '--output is missing', input=good)
  refuse(
    1,
    "model_variant is 'vgg'; expected one of",
    input=good,
    output=tmp_path / 'a.h5',
    model_variant='vgg',
  )

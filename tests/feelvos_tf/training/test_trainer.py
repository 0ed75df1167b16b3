"""The loop: exact resume, bad numbers, best weights, loss scaling. Steps run eagerly here, which
takes less time than compiling them; `test_train.py` runs compiled ones."""

import json

import numpy as np
import pytest
from small_models import tiny_model
import tensorflow as tf

from feelvos_tf.datasets.clips import video_clips
from feelvos_tf.datasets.samples.triplets import Source
from feelvos_tf.datasets.samples.triplets import TripletOptions
from feelvos_tf.datasets.samples.triplets import Triplets
from feelvos_tf.datasets.sources.synthetic import synthetic_videos
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.deeplab import weights_file
from feelvos_tf.training import distributed_step
from feelvos_tf.training import loss_scale
from feelvos_tf.training import schedule
from feelvos_tf.training import step as step_lib
from feelvos_tf.training.options import TrainerOptions
from feelvos_tf.training.trainer import Trainer


@pytest.fixture(autouse=True, scope='module')
def eager():
  tf.config.run_functions_eagerly(True)
  yield
  tf.config.run_functions_eagerly(False)


@pytest.fixture(scope='module')
def samples():
  return Triplets(
    [Source(video_clips(synthetic_videos(3, num_frames=4)))],
    TripletOptions(crop_size=(65, 65), image_dtype='uint8'),
  )


@pytest.fixture(scope='module')
def model():
  """One model for all tests; `fresh` gives it its initial weights back."""
  return tiny_model(1)


@pytest.fixture(scope='module')
def initial(model):
  return weights_of(model)


@pytest.fixture
def fresh(model, initial):
  for name, variable in tf1_checkpoint.variables_by_name(model).items():
    variable.assign(initial[name])
  return model


def weights_of(model):
  return {
    name: variable.numpy() for name, variable in tf1_checkpoint.variables_by_name(model).items()
  }


def options(folder, steps=4, **kwargs):
  defaults = dict(
    batch_size=2,
    log_steps=1,
    save_interval_steps=1,
    schedule=schedule.ScheduleOptions(training_number_of_steps=10, base_learning_rate=0.05),
    stop_at_step=steps,
  )
  return TrainerOptions(str(folder), **{**defaults, **kwargs})


def assert_equal_weights(first, second):
  assert first.keys() == second.keys()
  for name in first:
    np.testing.assert_array_equal(first[name], second[name], err_msg=name)


class Spoiled:
  """Samples with a pixel that is no number from one of them on."""

  def __init__(self, triplets, first_bad):
    self.options = TripletOptions(crop_size=(65, 65))
    self._triplets, self._first_bad = triplets, first_bad

  def sample(self, index):
    sample = self._triplets.sample(index)
    sample['images'] = sample['images'].astype(np.float32)
    if index >= self._first_bad:
      sample['images'][2, 5, 5] = np.nan
    return sample


@pytest.mark.parametrize('optimizer', ['momentum', pytest.param('adam', marks=pytest.mark.slow)])
def test_resumed_run_ends_with_the_same_weights(fresh, initial, samples, tmp_path, optimizer):
  rate = 0.05 if optimizer == 'momentum' else 1e-3
  kwargs = {
    'optimizer': optimizer,
    'schedule': schedule.ScheduleOptions(training_number_of_steps=10, base_learning_rate=rate),
  }
  Trainer(fresh, samples, options(tmp_path / 'whole', 3, **kwargs)).train()
  whole = weights_of(fresh)
  assert any(np.abs(whole[name] - initial[name]).max() > 1e-4 for name in whole)

  for name, variable in tf1_checkpoint.variables_by_name(fresh).items():
    variable.assign(initial[name])
  Trainer(fresh, samples, options(tmp_path / 'parts', 1, **kwargs)).train()
  for variable in tf1_checkpoint.variables_by_name(fresh).values():
    variable.assign(tf.zeros_like(variable))  # What comes next must come from the checkpoint.
  second = Trainer(fresh, samples, options(tmp_path / 'parts', 3, **kwargs))
  assert second.resume() == 1
  assert second.train() == 3
  assert_equal_weights(weights_of(fresh), whole)


def test_loss_that_is_not_finite_stops_and_keeps_weights(fresh, samples, tmp_path):
  trainer = Trainer(fresh, Spoiled(samples, 4), options(tmp_path))  # Samples 4, 5 are step 3.
  with pytest.raises(FloatingPointError, match='loss is not finite at step 3 .*train-2'):
    trainer.train()
  after = weights_of(fresh)
  assert all(np.all(np.isfinite(value)) for value in after.values())
  again = Trainer(fresh, samples, options(tmp_path))
  assert again.resume() == 2
  assert_equal_weights(weights_of(fresh), after)


def test_checkpoint_of_another_model_is_refused(fresh, samples, tmp_path):
  Trainer(fresh, samples, options(tmp_path, 1)).train()
  other = Trainer(tiny_model(1, embedding_dimension=12), samples, options(tmp_path, 2))
  with pytest.raises(ValueError, match='does not fit this model or is damaged'):
    other.resume()


def test_interruption_writes_a_checkpoint(fresh, samples, tmp_path, capsys):
  def interrupt(model):
    raise KeyboardInterrupt

  trainer = Trainer(fresh, samples, options(tmp_path, save_interval_steps=0, validation_steps=2))
  assert trainer.train(interrupt) == 2
  assert 'interrupted at step 2' in capsys.readouterr().out
  assert Trainer(fresh, samples, options(tmp_path)).resume() == 2


def test_an_interrupted_validation_is_made_up_for(fresh, samples, tmp_path):
  def interrupt(model):
    raise KeyboardInterrupt

  Trainer(fresh, samples, options(tmp_path, 2, validation_steps=2)).train(interrupt)
  seen = []
  for _ in range(2):  # Once: the second run knows of it.
    again = Trainer(fresh, samples, options(tmp_path, 2, validation_steps=2))
    again.resume()
    again.train(lambda model: seen.append(0) or 0.7)
  assert len(seen) == 1
  assert json.loads((tmp_path / 'best.json').read_text())['step'] == 2


def test_a_validation_without_a_number(fresh, samples, tmp_path):
  for _ in range(2):
    trainer = Trainer(fresh, samples, options(tmp_path, 1, validation_steps=1))
    trainer.resume()
    trainer.train(lambda model: float('nan'))
  assert json.loads((tmp_path / 'best.json').read_text()) == {'validated': 1}
  assert not (tmp_path / 'best.h5').exists()


def test_best_weights_are_kept(fresh, samples, tmp_path):
  scores, seen = iter([0.5, 0.9, 0.3]), []

  def validate(model):
    seen.append(weights_of(model))
    return next(scores)

  Trainer(fresh, samples, options(tmp_path, 3, validation_steps=1)).train(validate)
  known = {'step': 2, 'score': 0.9, 'validated': 3}
  assert json.loads((tmp_path / 'best.json').read_text()) == known
  assert_equal_weights(weights_file.read_arrays(tmp_path / 'best.h5'), seen[1])
  # A resumed run knows the best score of the one before.
  again = Trainer(fresh, samples, options(tmp_path, 4, validation_steps=1))
  again.resume()
  again.train(lambda model: 0.8)
  assert json.loads((tmp_path / 'best.json').read_text())['score'] == 0.9


def test_the_best_of_another_validation_does_not_count(fresh, samples, tmp_path, capsys):
  class Validate:
    def __init__(self, identity, score):
      self.identity, self.score = identity, score

    def __call__(self, model):
      return self.score

  def train(steps, identity, score):
    trainer = Trainer(fresh, samples, options(tmp_path, steps, validation_steps=1))
    trainer.resume()
    trainer.train(Validate(identity, score))
    return json.loads((tmp_path / 'best.json').read_text())

  known = train(1, 'easy', 0.9)
  assert (known['step'], known['score']) == (1, 0.9)
  easy = (tmp_path / 'best.h5').read_bytes()
  assert train(2, 'easy', 0.8) == {**known, 'validated': 2}
  hard = train(3, 'hard', 0.6)
  assert (hard['step'], hard['score']) == (3, 0.6) and hard['of'] != known['of']
  kept = tmp_path / f'best_of_{known["of"]}.h5'
  assert kept.read_bytes() == easy
  train(4, 'easy', 0.5)
  assert kept.read_bytes() == easy and (tmp_path / f'best_of_{hard["of"]}.h5').is_file()
  train(5, 'hard', 0.6)
  assert kept.read_bytes() == easy  # Not the 0.5 of step 4.
  assert 'another validation than before' in capsys.readouterr().out


def test_layers_that_died_are_told_once(fresh, samples, tmp_path, capsys):
  def kill(model):
    layer = model.deeplab.get_layer('MobilenetV2.expanded_conv_9.expand')
    layer.beta.assign(tf.fill(layer.beta.shape, -1e3))
    return 0.0

  # Nothing dies by itself. (At any other rate it does: the features of this untrained network have
  # shrunk to 1e-13 in the last blocks, and every negative offset is the end of a channel.)
  still = {
    'schedule': schedule.ScheduleOptions(training_number_of_steps=10, base_learning_rate=0.0)
  }
  Trainer(fresh, samples, options(tmp_path / 'alive', 2, **still)).train()
  assert 'warning' not in capsys.readouterr().out
  Trainer(fresh, samples, options(tmp_path / 'dead', 3, validation_steps=1, **still)).train(kill)
  text = capsys.readouterr().out
  assert text.count('warning: step 2: ') == 1 and text.count('warning') == 1
  assert 'layer_11/expansion_output 100%' in text and '--backbone_rate_multiplier' in text


def test_samples_that_cannot_be_read_end_the_run(fresh, samples, tmp_path):
  class Broken(Spoiled):
    def sample(self, index):
      raise ValueError('cow/00003.jpg: cut off; copy it again')

  with pytest.raises(ValueError, match=r'^cow/00003.jpg: cut off; copy it again$'):
    Trainer(fresh, Broken(samples, 0), options(tmp_path)).train()


def test_summaries_get_scalars_and_maps(fresh, samples, tmp_path):
  class Recorder:
    def __init__(self):
      self.calls = []

    def write(self, step, scalars, sample=None, maps=None):
      self.calls.append((step, scalars, sample, maps))

  recorder = Recorder()
  Trainer(fresh, samples, options(tmp_path, 1), summaries=recorder).train()
  ((step, scalars, sample, maps),) = recorder.calls
  assert step == 1
  assert {'loss/cross_entropy', 'loss/regularization', 'learning_rate', 'mean_iou'} <= set(scalars)
  assert 0 <= scalars['mean_iou'] <= 1
  assert sample['images'].shape == (3, 65, 65, 3)
  assert set(maps) == {'logits', 'global_distance', 'local_distance'}


def test_float16_step_that_overflows_is_left_out(fresh, initial, samples, tmp_path):
  step = distributed_step.DistributedStep(
    fresh, options(tmp_path, loss_scaling=True), tf.distribute.get_strategy()
  )
  batch = {
    key: tf.convert_to_tensor(value)[tf.newaxis]
    for key, value in samples.sample(0).items()
    if key != 'video'
  }
  step.loss_scale.scale.assign(np.inf)
  outcome = step(batch)
  assert not outcome.finite and step.may_overflow
  assert np.isfinite(outcome.losses).all()
  assert_equal_weights(weights_of(fresh), initial)
  step.loss_scale.scale.assign(1024.0)
  assert step(batch).finite
  assert int(step.step) == 2
  scaled = weights_of(fresh)
  for name, variable in tf1_checkpoint.variables_by_name(fresh).items():
    variable.assign(initial[name])
  unscaled = distributed_step.DistributedStep(
    fresh, options(tmp_path), tf.distribute.get_strategy()
  )
  unscaled.step.assign(1)
  unscaled(batch)
  for name, value in weights_of(fresh).items():
    np.testing.assert_allclose(scaled[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_loss_scale_falls_and_grows():
  scale = loss_scale.LossScale(growth_steps=3)
  start = float(scale.scale)
  for finite in (True, False, True, True):
    scale.update(tf.constant(finite))
  assert float(scale.scale) == start / 2
  scale.update(tf.constant(True))
  assert float(scale.scale) == start and int(scale.good_steps) == 0
  for _ in range(40):
    scale.update(tf.constant(False))
  assert float(scale.scale) == loss_scale.MIN_SCALE


def test_dropout_is_a_function_of_the_step(fresh, samples, tmp_path):
  batch = {
    key: tf.convert_to_tensor(value)[tf.newaxis]
    for key, value in samples.sample(0).items()
    if key != 'video'
  }
  step = distributed_step.DistributedStep(
    fresh,
    options(tmp_path, schedule=schedule.ScheduleOptions(base_learning_rate=0.0)),
    tf.distribute.get_strategy(),
  )
  found = []
  for number in (0, 1, 0):
    step.step.assign(number)
    results = step_lib.video_results(fresh, batch, 0, step_lib.LossOptions(seed=1))
    found.append(results[0].logits.numpy())
  np.testing.assert_array_equal(found[0], found[2])
  assert np.abs(found[0] - found[1]).max() > 0


@pytest.mark.parametrize(
  'wrong, match',
  [
    ({'optimizer': 'sgd'}, 'optimizer'),
    ({'batch_size': 0}, 'batch_size is 0; expected at least 1'),
    ({'log_steps': -1}, 'log_steps'),
    ({'max_to_keep': 0}, 'max_to_keep'),
  ],
)
def test_wrong_options_are_refused(wrong, match, tmp_path):
  with pytest.raises(ValueError, match=match):
    options(tmp_path, **wrong)

"""What a run takes from its initial weights besides values; whole runs are in test_train."""

import dataclasses
import types

import head_models
import pytest

from feelvos_tf.datasets.samples.options import TripletOptions
from feelvos_tf.model import weights
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.training import initial_weights
from feelvos_tf.training import run
from feelvos_tf.training.options import InitialWeights
from feelvos_tf.training.options import RunOptions
from feelvos_tf.training.options import TrainerOptions
from feelvos_tf.training.run_directory import RunDirectory

CHIEF = types.SimpleNamespace(is_chief=True)
IN_FILE = dict(crossing_radius=4, internal_scale_limits=(0.5, 2.0), internal_size=300, frame_grid=8)


@pytest.fixture
def initial(tmp_path):
  weights.save_model(tmp_path / 'initial.h5', head_models.make_model(**IN_FILE))
  return tmp_path / 'initial.h5'


def options_of(tmp_path, initial, **model):
  return RunOptions(
    FeelvosOptions(**model),
    TripletOptions(),
    TrainerOptions(train_logdir=str(tmp_path / 'run')),
    (),
    initial_weights=InitialWeights(str(initial)),
  )


def taken(options):
  model = run._with_inference_options(options, CHIEF).model
  return {name: getattr(model, name) for name in IN_FILE}


def test_options_of_inference_that_no_flag_sets_are_the_files(tmp_path, initial, capsys):
  """But `frame_grid`, which a flag always sets."""
  options = options_of(tmp_path, initial, internal_size=240, frame_grid=16)
  assert taken(options) == {**IN_FILE, 'internal_size': 240, 'frame_grid': 16}
  said = capsys.readouterr().out
  assert 'crossing_radius 4' in said and 'internal_size' not in said
  unwanted = dataclasses.replace(options.initial_weights, take_inference_options=False)
  options = dataclasses.replace(options, initial_weights=unwanted)
  assert run._with_inference_options(options, CHIEF) == options


def test_a_resumed_run_needs_no_initial_weights(tmp_path, initial):
  options = options_of(tmp_path, initial, frame_grid=16)
  expected = taken(options)
  directory = RunDirectory(tmp_path / 'run')
  with directory.locked():
    started = run._with_inference_options(options, CHIEF)
    directory.register(started.to_dict())
    initial.unlink()
    assert taken(options) == expected
    assert directory.register(options.to_dict())[0] == 'model.crossing_radius 4 -> null'


@pytest.mark.parametrize('name', ['model.ckpt-1', 'nowhere.h5'])
def test_other_initial_weights_say_nothing_of_inference(tmp_path, name):
  assert initial_weights.inference_options(str(tmp_path / name)) is None
  options = options_of(tmp_path, tmp_path / name)
  assert run._with_inference_options(options, CHIEF) == options


def test_final_weights_without_a_checkpoint_are_not_replaced(tmp_path):
  """The checkpoints of a training that ended were deleted, and the same command is given again."""
  options = dataclasses.replace(options_of(tmp_path, tmp_path / 'nowhere.h5'), initial_weights=None)
  trainer = types.SimpleNamespace(resume=lambda: None)
  run._start(trainer, None, options, CHIEF)
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / 'final.h5').touch()
  with pytest.raises(
    ValueError, match='final.h5: weights of a training that ended, and no checkpoi'
  ):
    run._start(trainer, None, options, CHIEF)
  run._start(trainer, None, dataclasses.replace(options, export='elsewhere.h5'), CHIEF)
  trainer.resume = lambda: 7
  run._start(trainer, None, options, CHIEF)

"""run.json and the lock of a training's folder."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from feelvos_tf.training.run_directory import RunDirectory

ROOT = pathlib.Path(__file__).resolve().parents[3]
OPTIONS = {
  'model': {'head_layers': 4, 'model': {'model_variant': 'xception_65'}},
  'optimizer': 'momentum',
  'loss_scaling': False,
  'trainer': {'log_steps': 10},
}


def hold(folder):
  """A process that holds the lock until it is killed."""
  code = (
    'import sys, time\nfrom feelvos_tf.training.run_directory import RunDirectory\n'
    'with RunDirectory(sys.argv[1]).locked():\n  print("held", flush=True)\n'
    '  time.sleep(60)\n'
  )
  process = subprocess.Popen(
    [sys.executable, '-c', code, str(folder)], cwd=ROOT, text=True, stdout=subprocess.PIPE
  )
  assert process.stdout.readline() == 'held\n'
  return process


def test_second_run_is_refused_and_a_killed_one_lets_go(tmp_path):
  process = hold(tmp_path)
  try:
    with (
      pytest.raises(ValueError, match=rf'another run is writing there \(process {process.pid}\)'),
      RunDirectory(tmp_path).locked(),
    ):
      pass
  finally:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
  with RunDirectory(tmp_path).locked():
    pass


def test_same_options_resume_and_others_are_reported(tmp_path):
  directory = RunDirectory(tmp_path)
  assert directory.register(OPTIONS) == []
  assert directory.register(OPTIONS) == []
  changed = {**OPTIONS, 'trainer': {'log_steps': 20}}
  assert directory.register(changed) == ['trainer.log_steps 10 -> 20']
  assert directory.register(changed) == []


def test_options_younger_than_the_run_had_their_defaults(tmp_path):
  directory = RunDirectory(tmp_path)
  directory.register(OPTIONS)
  defaults = {'model': {'neutral_inputs': []}}
  now = {**OPTIONS, 'model': {**OPTIONS['model'], 'neutral_inputs': []}}
  (tmp_path / 'checkpoints').mkdir()
  (tmp_path / 'checkpoints' / 'train-5.index').touch()
  assert directory.register(now, defaults) == []
  with pytest.raises(ValueError, match='model.neutral_inputs'):
    RunDirectory(tmp_path).register(
      {**now, 'model': {**now['model'], 'neutral_inputs': ['local']}}, defaults
    )


@pytest.mark.parametrize(
  'wrong, match',
  [
    (
      {'model': {'head_layers': 4, 'model': {'model_variant': 'mobilenet_v2'}}},
      'model.model.model_variant "xception_65" -> "mobilenet_v2"',
    ),
    ({'optimizer': 'adam'}, 'optimizer "momentum" -> "adam"'),
    ({'loss_scaling': True}, 'loss_scaling false -> true'),
  ],
)
@pytest.mark.parametrize('result', ['checkpoints/train-5.index', 'best.h5', 'final.h5'])
def test_folder_of_another_model_is_refused_and_untouched(tmp_path, wrong, match, result):
  directory = RunDirectory(tmp_path)
  directory.register(OPTIONS)
  (tmp_path / result).parent.mkdir(exist_ok=True)
  (tmp_path / result).touch()
  before = directory.options_path.read_bytes()
  with pytest.raises(ValueError, match=match):
    directory.register({**OPTIONS, **wrong})
  assert directory.options_path.read_bytes() == before


def test_a_start_that_failed_fixes_no_options(tmp_path):
  """The flags were wrong, so there is no checkpoint; the right ones are another model."""
  directory = RunDirectory(tmp_path)
  directory.register({**OPTIONS, 'optimizer': 'adam'})
  assert directory.register(OPTIONS) == ['optimizer "adam" -> "momentum"']
  assert directory.registered() == OPTIONS


def test_a_lost_run_json_is_written_once_the_checkpoint_fits(tmp_path):
  """Flags that the checkpoint refused are not those of the run: the right ones are let in."""
  directory = RunDirectory(tmp_path)
  (tmp_path / 'checkpoints').mkdir()
  (tmp_path / 'checkpoints' / 'train-5.index').touch()
  assert directory.register({**OPTIONS, 'optimizer': 'adam'}) == []
  assert directory.registered() is None
  assert directory.register(OPTIONS) == []
  assert directory.note(OPTIONS) and not directory.note(OPTIONS)
  assert directory.registered() == OPTIONS


@pytest.mark.parametrize('text', ['{', '[]', '{"format": 99, "options": {}}'])
def test_broken_run_json_is_named(tmp_path, text):
  directory = RunDirectory(tmp_path)
  directory.options_path.write_text(text)
  with pytest.raises(ValueError, match='run.json: cannot be read'):
    directory.register(OPTIONS)


def test_file_in_the_place_of_the_folder(tmp_path):
  path = tmp_path / 'file'
  path.touch()
  with pytest.raises(ValueError, match='is a file'), RunDirectory(path).locked():
    pass

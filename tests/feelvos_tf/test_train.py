"""The command: flags to options, wrong usage, and whole runs that are killed and go on."""

import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources.synthetic import synthetic_videos
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import weights_file
from feelvos_tf.model import default_model
from feelvos_tf.model import weights
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = [
  '--depth_multiplier=0.35',
  '--output_stride=16',
  '--embedding_dimension=8',
  '--embedding_seg_feature_dimension=8',
  '--embedding_seg_n_layers=1',
  '--embedding_seg_kernel_size=3',
  '--previous_frame_attention_window_size=3',
  '--train_crop_size=65',
  '--train_batch_size=2',
  '--base_learning_rate=0.05',
  '--log_steps=1',
  '--save_interval_steps=2',
  '--training_number_of_steps=6',
]

# Parses flags as the command does and prints what becomes of them, for many cases in one process.
PROBE = """
import dataclasses, json, sys
from absl import flags, logging
from feelvos_tf.runtime import command_line
from feelvos_tf import train
from feelvos_tf.training import run as training_run
captured = []
train.define_flags()
def run(options, placement):
  assert logging.get_verbosity() == logging.WARNING  # No line of TensorFlow a checkpoint.
  captured.append(options)
training_run.run = run
for case in json.load(sys.stdin):
  flags.FLAGS.unparse_flags()
  for name in flags.FLAGS.flags_by_module_dict()[train.__name__]:
    name.unparse()
  try:
    flags.FLAGS(['train', *case])
    train.main()
    print(json.dumps(captured.pop().to_dict()))
  except (command_line.UsageError, flags.Error, ValueError) as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def probe(*cases):
  """What each list of flags leads to: a dict of options, or [kind of error, message]."""
  done = subprocess.run(
    [sys.executable, '-c', PROBE],
    input=json.dumps(cases),
    cwd=ROOT,
    text=True,
    capture_output=True,
    timeout=300,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  return [json.loads(line) for line in done.stdout.splitlines()]


def train(*flags, **kwargs):
  return subprocess.Popen(
    [sys.executable, '-m', 'feelvos_tf.train', *map(str, flags)],
    cwd=ROOT,
    text=True,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    **kwargs,
  )


def finish(process):
  """(exit code, standard output, lines of error messages)."""
  out, err = process.communicate(timeout=900)
  assert 'Traceback' not in err, err[-3000:]
  return process.returncode, out, [line for line in err.splitlines() if 'train: error:' in line]


def test_defaults_are_the_originals_and_wrong_flags_are_refused():
  base = ['--train_logdir=x', '--dataset=davis_2017', '--dataset_dir=y']
  cases = [
    (base, None),
    (['--dataset=davis2017', '--dataset_dir=y'], '--train_logdir expected'),
    (['--train_logdir=x'], '--dataset expected'),
    (base + ['--data_dir=z'], 'choose one'),
    (base + ['--matching_loss_weight=1', '--nouse_first_frame_matching'], 'first frame matching'),
    (
      base + ['--matching_overlap_loss_weight=1', '--nouse_first_frame_matching'],
      '--matching_overlap_loss_weight is a loss of first frame matching',
    ),
    (base + ['--dataset=folder'], '2 --dataset and 1 folders'),
    (
      base + ['--train_crop_size=1'] * 1 + ['--train_crop_size=2', '--train_crop_size=3'],
      '3 numbers given',
    ),
    (base + ['--decoder_output_stride=8'], 'FEELVOS expects 4'),
    (base + ['--output_stride=5'], 'output_stride is 5'),
    (base + ['--validation_steps=5'], 'belong together'),
    (base + ['--train_num_frames_per_video=2'], 'FEELVOS expects 3 or more'),
    (base + ['--first_frame_finetuning=1'] * 3, '3 --first_frame_finetuning given'),
    (base + ['--optimizer=sgd'], 'optimizer'),
    (base + ['--train_batch_size=0'], '--train_batch_size is 0'),
    (base + ['--paste_probability=2'], 'paste_probability is 2'),
    (base + ['--embedding_seg_atrous_rates=1'], '--embedding_seg_atrous_rates has 1'),
    (['--train_logdir=x', '--dataset=ade20k', '--data_dir=y'], "data set 'ade20k' given"),
  ]
  found = probe(*(case for case, _ in cases))
  for (case, message), result in zip(cases[1:], found[1:], strict=True):
    assert isinstance(result, list) and message in result[1], (case, result)
  check_defaults(found[0])


def check_defaults(options):
  """Figures of the original's train.py and common.py."""
  trainer, samples, model = options['trainer'], options['samples'], options['model']
  assert trainer['schedule']['base_learning_rate'] == 0.0007
  assert trainer['schedule']['training_number_of_steps'] == 200000
  assert trainer['batch_size'] == 6 and trainer['optimizer_options']['momentum'] == 0.9
  assert trainer['loss']['mining'] == {
    'top_k_percent_pixels': 0.15,
    'hard_example_mining_step': 100000,
  }
  assert trainer['loss']['weight_decay'] == 4e-5
  assert trainer['loss']['max_neighbors_per_object'] == 1024
  assert samples['crop_size'] == (465, 465) or samples['crop_size'] == [465, 465]
  assert (samples['min_scale_factor'], samples['max_scale_factor']) == (1.0, 1.3)
  assert samples['paste_probability'] == 0 and samples['num_frames'] == 3
  assert model['model']['output_stride'] == 8 and model['window_radius'] == 15
  assert model['previous_prediction'] == 'labels'
  assert model['previous_frame_matching'] == 'local'
  assert options['data_sets'][0]['name'] == 'davis2017'


def test_flags_reach_their_options():
  base = ['--train_logdir=x', '--dataset=folder', '--data_dir=y']
  flags = {
    '--nouse_softmax_feedback': ('model.previous_prediction', 'none'),
    '--previous_prediction=probabilities': ('model.previous_prediction', 'probabilities'),
    '--noalso_attend_to_previous_frame': ('model.previous_frame_matching', 'none'),
    '--nouse_local_previous_frame_attention': ('model.previous_frame_matching', 'global'),
    '--train_crop_size=129': ('samples.crop_size', [129, 129]),
    '--train_crop_size=0': ('samples.crop_size', None),
    '--train_max_neighbors_per_object=0': ('trainer.loss.max_neighbors_per_object', None),
    '--last_layers_contain_logits_only': ('trainer.optimizer_options.last_layers', ['logits']),
    '--output_stride=16': ('model.frame_grid', 16),
    '--frame_grid=32': ('model.frame_grid', 32),
    '--frame_grid=0': ('model.frame_grid', None),
    '--max_reference_imbalance=8': ('model.max_reference_imbalance', 8),
    '--precision=float16': ('loss_scaling', True),
    '--classification_loss=softmax': ('model.num_classes', 2),
    '--color_strength=0.2': ('samples.color_strength', 0.2),
    '--look_strength=0.7': ('samples.look_strength', 0.7),
    '--train_num_frames_per_video=5': ('samples.num_frames', 5),
  }
  for (flag, (path, expected)), options in zip(
    flags.items(), probe(*(base + [flag] for flag in flags)), strict=True
  ):
    value = options
    for name in path.split('.'):
      value = value[name]
    assert value == expected, flag


@pytest.mark.slow
def test_killed_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path):
  flags = ['--dataset=synthetic', *TINY]
  code, out, errors = finish(train(f'--train_logdir={tmp_path / "whole"}', *flags))
  assert code == 0, errors
  assert 'step 6/6' in out
  killed = train(f'--train_logdir={tmp_path / "killed"}', *flags)
  for line in killed.stdout:
    if line.startswith('step 3/'):
      # Two runs in one folder: the second is refused, the first does not notice.
      if hasattr(os, 'fork'):
        os.kill(killed.pid, signal.SIGSTOP)
        code, _, errors = finish(train(f'--train_logdir={tmp_path / "killed"}', *flags))
        assert code == 1 and 'is writing there' in errors[0]
      os.kill(killed.pid, signal.SIGKILL)
      break
  killed.communicate()
  code, out, errors = finish(train(f'--train_logdir={tmp_path / "killed"}', *flags))
  assert code == 0, errors
  assert 'resumed at step 2' in out
  whole = weights_file.read_arrays(tmp_path / 'whole' / 'final.h5')
  again = weights_file.read_arrays(tmp_path / 'killed' / 'final.h5')
  for name in whole:
    np.testing.assert_array_equal(again[name], whole[name], err_msg=name)
  # Other options of the model are refused, and the run is left as it is.
  code, _, errors = finish(
    train(f'--train_logdir={tmp_path / "killed"}', *flags, '--embedding_dimension=12')
  )
  assert code == 1 and len(errors) == 1
  assert 'embedding_dimension 8 -> 12' in errors[0]


@pytest.mark.slow
def test_rate_that_explodes_stops_with_one_line(tmp_path):
  code, out, errors = finish(
    train(
      f'--train_logdir={tmp_path}',
      '--dataset=synthetic',
      *TINY,
      '--base_learning_rate=1e30',
      '--save_interval_steps=1',
    )
  )
  assert code == 1 and len(errors) == 1, out
  assert re.search(r'(the loss|a gradient) is not finite at step \d', errors[0])
  assert list((tmp_path / 'checkpoints').glob('train-*.index'))
  assert not (tmp_path / 'final.h5').exists()


@pytest.mark.slow
def test_options_of_inference_come_with_the_initial_weights(tmp_path):
  """Where no flag sets them; a run that is resumed keeps them without the file."""
  backbone = ModelOptions('mobilenet_v2', depth_multiplier=0.35, output_stride=16)
  network = dict(embedding_dimension=8, head_dimension=8, head_layers=1, head_kernel_size=3)
  inference = dict(crossing_radius=4, internal_scale_limits=(0.5, 2.0), internal_size=300)
  options = FeelvosOptions(backbone, **network, window_radius=3, **inference, frame_grid=8)
  initial = tmp_path / 'initial.h5'
  weights.save_model(initial, Feelvos(options))
  flags = ['--dataset=synthetic', '--initialize_last_layer', f'--tf_initial_checkpoint={initial}']
  flags = [*flags, '--internal_size=240', f'--train_logdir={tmp_path / "run"}', *TINY]
  flags = [*flags, '--base_learning_rate=1e-6']
  found = lambda: weights_file.read_metadata(tmp_path / 'run' / 'final.h5')['options']
  expected = dict(crossing_radius=4, internal_scale_limits=[0.5, 2.0], internal_size=240)
  code, out, errors = finish(train(*flags, '--training_number_of_steps=1'))
  assert code == 0, errors
  assert 'crossing_radius 4, ' in out or ', crossing_radius 4' in out
  assert {**found(), **expected, 'frame_grid': 16} == found()
  initial.unlink()
  code, out, errors = finish(train(*flags, '--training_number_of_steps=2'))
  assert code == 0 and 'resumed at step 1' in out and 'changed since' in out, errors
  assert 'crossing' not in out.split('changed since', 1)[1]
  assert {**found(), **expected} == found()
  code, out, errors = finish(
    train(*flags, '--training_number_of_steps=3', '--notake_inference_options')
  )
  assert code == 0 and 'model.crossing_radius 4 -> null' in out, errors
  assert found()['crossing_radius'] is None and found()['internal_size'] == 240


@pytest.mark.slow
def test_crop_larger_than_memory_and_missing_data_are_refused(tmp_path):
  for flags, message in (
    (['--dataset=synthetic', '--train_crop_size=50001'], 'GB are free; lower --train_crop_size'),
    (['--dataset=folder', f'--dataset_dir={tmp_path / "none"}', *TINY], 'no such folder'),
    (['--dataset=synthetic', *TINY, '--strategy=multi_worker'], 'TF_CONFIG'),
  ):
    code, _, errors = finish(train(f'--train_logdir={tmp_path / "run"}', *flags))
    assert code == 1 and len(errors) == 1 and message in errors[0], (flags, errors)


def write_own_videos(folder):
  """Three videos of a user: <video>/frames/*.jpg and <video>/masks/*.png."""
  for name, video in zip(
    ('cow', 'dog', 'owl'), synthetic_videos(3, num_frames=6, frame_size=(160, 200), num_objects=1)
  ):
    (folder / name / 'frames').mkdir(parents=True)
    (folder / name / 'masks').mkdir()
    for index, frame in enumerate(video.frames()):
      cv2.imwrite(str(folder / name / 'frames' / f'{index:05d}.jpg'), frame[..., ::-1])
      masks.write_mask(folder / name / 'masks' / f'{index:05d}.png', video.mask(index).ids)


def documented_commands():
  """The shell commands of the first block of docs/training.md."""
  text = (ROOT / 'docs' / 'training.md').read_text(encoding='utf-8')
  block = re.search(r'```sh\n(.*?)```', text, re.DOTALL)[1]
  return block.replace('\\\n', '').splitlines()


@pytest.mark.slow
def test_own_folder_trains_with_the_documented_commands(tmp_path):
  write_own_videos(tmp_path / 'my_videos')
  commands = documented_commands()
  assert len(commands) == 4 and commands[0] == 'python -m pip install -e .'
  pretrained = default_model.DEFAULT_MODEL
  for command in commands[1:]:
    command = command.replace('feelvos_tf/pretrained/mobilenet_v2.h5', str(pretrained))
    done = subprocess.run(
      [sys.executable, '-m', 'feelvos_tf', *shlex.split(command)[1:]],
      cwd=tmp_path,
      text=True,
      capture_output=True,
      timeout=900,
      check=False,
      env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 0, (command, done.stderr[-2000:])
  assert len(list((tmp_path / 'result' / 'masks').glob('*.png'))) == 6
  run = json.loads((tmp_path / 'runs' / 'mine' / 'run.json').read_text())
  assert run['options']['trainer']['schedule']['training_number_of_steps'] == 20
  options = weights_file.read_metadata(tmp_path / 'runs' / 'mine' / 'final.h5')['options']
  expected = weights_file.read_metadata(pretrained)['options']
  assert {name: options[name] for name in expected} == expected

"""The ladder: rows, what is not repeated, failures, what is refused; a run of a tiny model."""

import json

import pytest
import small_models

from feelvos_tf.deeplab import weights_file
from feelvos_tf.model import weights
from feelvos_tf.tools import command_runs
from feelvos_tf.tools import train_ladder

MODULE = 'tools.train_ladder'
TINY = """
# A tiny network on made-up videos.
--dataset=synthetic
--depth_multiplier=0.35

--embedding_dimension=8
--embedding_seg_feature_dimension=8
--embedding_seg_n_layers=1
--embedding_seg_kernel_size=3
--train_crop_size=65
--train_batch_size=1
--log_steps=1
"""


@pytest.fixture
def given(tmp_path, davis):
  """Arguments of the command; the initial weights are those of a tiny model."""
  model = small_models.tiny_model(0, other_object_distances=True, window_radius=15, largest_side=64)
  weights.save_model(tmp_path / 'initial.h5', model)
  (tmp_path / 'flags.txt').write_text(TINY)
  return [
    f'--output_dir={tmp_path / "out"}',
    f'--train_flags={tmp_path / "flags.txt"}',
    f'--initial={tmp_path / "initial.h5"}',
    f'--root=2016:{davis}',
    '--steps=1',
  ]


@pytest.fixture
def flags():
  """Function: arguments -> FLAGS of the command with these values."""
  before = set(train_ladder.FLAGS)
  train_ladder.define_flags()

  def parse(*arguments):
    train_ladder.FLAGS.unparse_flags()
    train_ladder.FLAGS(['train_ladder', *arguments])
    return train_ladder.FLAGS

  yield parse
  for name in set(train_ladder.FLAGS) - before:
    delattr(train_ladder.FLAGS, name)


@pytest.fixture
def commands(monkeypatch):
  """Commands that were run; training writes the initial weights, the score is .5 + seed / 100.

  Without a tenth of the seed, if the previous prediction is soft.
  """
  found = []

  def run(module, arguments, label, shown=(), output=None):
    values = dict(argument[2:].partition('=')[::2] for argument in arguments)
    found.append((module, arguments))
    if 'gates' in label:
      return 'no gates today'
    if module == 'feelvos_tf.train':
      metadata, arrays = weights_file.read(values['tf_initial_checkpoint'])
      metadata['options']['largest_side'] = None
      path = values['export'] or f'{values["train_logdir"]}/final.h5'
      weights_file.save_arrays(path, arrays, metadata)
      train_ladder.pathlib.Path(values['train_logdir'], 'run.json').touch()
    else:
      assert weights_file.read_metadata(values['model'])['options']['largest_side'] == 64
      seed = int(label.partition('seed ')[2][0])
      score = 0.5 + seed / 100 - seed / 10 * label.startswith('soft')
      train_ladder.pathlib.Path(values['output_dir']).mkdir(exist_ok=True)
      text = json.dumps({'global': {'J&F-Mean': score}, 'sequences': [], 'settings': {}})
      train_ladder.pathlib.Path(values['output_dir'], 'summary.json').write_text(text)
    return None

  monkeypatch.setattr(command_runs, 'run', run)
  return found


def test_runs_are_not_repeated_and_a_failure_does_not_end_the_others(
  given, flags, commands, tmp_path
):
  flags(*given, '--seeds=1,2', '--rungs=soft_prediction,base,object_gates')
  assert train_ladder.main() == 1
  of_a_seed = ['train', 'evaluate', 'train', 'evaluate', 'train']
  assert [module[11:] for module, _ in commands] == of_a_seed * 2
  lines = (tmp_path / 'out' / 'table.md').read_text().splitlines()
  assert lines[2] == '| rung | flags | davis 2016 | difference |'
  assert lines[4] == "| The default model's options |  | 0.515 ± 0.007 (2) |  |"
  row = '| Soft previous prediction | `--previous_prediction=probabilities` | 0.365 ± 0.064 (2)'
  assert lines[5] == f'{row} | -0.150 ± 0.071 |'
  assert lines[6] == "| Gates on the head's channels | `--object_gates` | – | – |"
  assert 'object_gates, seed 1: no gates today' in lines
  del commands[:]
  flags(*given, '--seeds=1,3', '--rungs=base')
  assert train_ladder.main() == 0
  assert [arguments[-1][-7:] for module, arguments in commands if 'train' in module] == ['/seed_3']
  assert '0.520 ± 0.014 (2)' in (tmp_path / 'out' / 'table.md').read_text()


def test_export_of_all_runs_is_left_aside(given, flags, commands, tmp_path):
  (tmp_path / 'export.flags').write_text(f'--export={tmp_path / "one.h5"}\n')
  flags(*given, f'--train_flags={tmp_path / "export.flags"}', '--seeds=1', '--rungs=base')
  assert train_ladder.main() == 0
  assert not (tmp_path / 'one.h5').exists()


def test_a_run_with_other_flags_is_not_taken_for_this_one(given, flags, commands, tmp_path):
  flags(*given, '--seeds=1', '--rungs=base')
  assert train_ladder.main() == 0
  flags(*given, '--seeds=1', '--rungs=base', '--steps=2')
  assert train_ladder.main() == 1
  assert 'holds a run with other flags' in (tmp_path / 'out' / 'table.md').read_text()
  assert len(commands) == 2
  # One that did not begin is.
  (tmp_path / 'out' / 'base' / 'seed_1' / 'run.json').unlink()
  assert train_ladder.main() == 0


def test_the_rungs_flags_come_after_those_of_all(flags, tmp_path):
  flags('--steps=7')
  assert train_ladder.train_arguments('local_windows', '4', ['--a', '--b=1']) == [
    '--model_variant=mobilenet_v2',
    '--output_stride=16',
    '--other_object_distances',
    '--a',
    '--b=1',
    '--local_window_radii=4,8',
    '--seed=4',
    '--training_number_of_steps=7',
  ]


def test_initial_weights_among_the_flags_are_refused(tmp_path):
  """They were trained from, and the table named those of --initial."""
  (tmp_path / 'some.flags').write_text('--train_batch_size=1\n--tf_initial_checkpoint=other.h5\n')
  with pytest.raises(ValueError, match='other.h5 given; remove the line, --initial names'):
    train_ladder.read_flags(tmp_path / 'some.flags')


@pytest.mark.slow
def test_two_rungs_of_a_tiny_model(given, run_main, tmp_path):
  rungs = ['no_other_object_distances', 'local_windows']
  process = run_main(MODULE, *given, '--seeds=1', f'--rungs={",".join(rungs)}')
  assert process.returncode == 0, process.stderr
  rows = json.loads((tmp_path / 'out' / 'table.json').read_text())['scores']
  assert list(rows) == rungs
  assert all(0 <= score <= 1 for row in rows.values() for score in row['1'].values())
  runs = [tmp_path / 'out' / name / 'seed_1' for name in rungs]
  logs = [(run / 'log.txt').read_text() for run in runs]
  assert ['left out: other_global_distance, other_local' in log for log in logs] == [True, False]
  options = [weights_file.read_metadata(run / 'model.h5')['options'] for run in runs]
  assert [one['largest_side'] for one in options] == [64, 64]
  assert [one['local_window_radii'] for one in options] == [[], [4, 8]]


@pytest.mark.parametrize(
  'flags, message',
  [
    (['--root=2016:x', '--output_dir=x'], '--train_flags is missing'),
    (['--train_flags=x', '--output_dir=x'], '--root is missing'),
    (['--rungs=top'], "--rungs has 'top'; expected names of base, no_other"),
    (['--seeds=a'], '--seeds=a given; expected whole numbers'),
    (['--root=davis'], '--root=davis given; expected a year and a folder'),
  ],
)
def test_wrong_usage(run_main, tmp_path, flags, message):
  if '--seeds' in flags[0] or '--rungs' in flags[0] or flags == ['--root=davis']:
    flags = [f'--root=2016:{tmp_path}', '--train_flags=x', '--output_dir=x', *flags]
  process = run_main(MODULE, *flags)
  assert process.returncode == 2 and message in process.stderr.splitlines()[-1]


def test_what_is_no_flag_is_refused(tmp_path):
  (tmp_path / 'flags.txt').write_text('--a=1\nb=2\n')
  with pytest.raises(ValueError, match="the line 'b=2' is no flag"):
    train_ladder.read_flags(str(tmp_path / 'flags.txt'))
  with pytest.raises(FileNotFoundError, match='no such file; check --train_flags'):
    train_ladder.read_flags(str(tmp_path / 'none.txt'))

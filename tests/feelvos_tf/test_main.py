"""The console command `feelvos`: it finds the programs and costs nothing itself."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import programs
import pytest

import feelvos_tf
from feelvos_tf import __main__ as command

ROOT = pathlib.Path(feelvos_tf.__file__).resolve().parent.parent


def feelvos(*arguments, cwd=ROOT):
  return subprocess.run(
    [sys.executable, '-m', 'feelvos_tf', *map(str, arguments)],
    cwd=cwd,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    text=True,
    capture_output=True,
    timeout=300,
    check=False,
  )


@pytest.mark.parametrize('arguments', [[], ['--help'], ['-h'], ['help']])
def test_help_lists_the_commands(arguments):
  process = feelvos(*arguments)
  assert (process.returncode, process.stderr) == (0, '')
  lines = process.stdout.splitlines()
  for name in command.COMMANDS:
    assert any(line.startswith(f'  {name} ') for line in lines), name


def test_help_imports_nothing_heavy():
  code = (
    'import sys; sys.argv = ["feelvos", "--help"]; from feelvos_tf import __main__; '
    '__main__.main(); print([m for m in ("tensorflow", "numpy", "cv2", "absl") if m in sys.modules])'
  )
  process = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, text=True, capture_output=True, timeout=60, check=True
  )
  assert process.stdout.splitlines()[-1] == '[]'


def test_version():
  assert feelvos('--version').stdout == f'feelvos-tf {feelvos_tf.__version__}\n'


def test_unknown_command():
  process = feelvos('segmnet', '--input=a.mp4')
  assert process.returncode == 2
  assert process.stderr.startswith(
    "feelvos: error: 'segmnet' is no command; expected one of segment"
  )
  assert process.stderr.count('\n') == 1


@pytest.mark.parametrize('name', list(command.COMMANDS))
def test_every_command_is_a_program(name):
  module, _ = command.COMMANDS[name]
  assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize(
  'name, flag',
  [('segment', '--overwrite'), ('convert-checkpoint', '--backbone_only'), ('serve', '--model_dir')],
)
def test_help_of_a_command_lists_its_flags(name, flag):
  process = programs.run('feelvos_tf', name, '--help')
  assert flag.removeprefix('--') in process.stdout, process.stdout + process.stderr
  assert f'feelvos {name} ' in process.stdout


def test_errors_carry_the_name_of_the_command(tmp_path):
  process = feelvos('segment', '--input=nowhere.mp4')
  assert process.returncode == 2
  assert process.stderr == (
    'feelvos segment: error: --output is missing. (feelvos segment --helpshort lists the flags)\n'
  )


def test_conversion_of_data_from_another_folder(tmp_path):
  """Its worker processes find the program that started them."""
  (tmp_path / 'datasets').mkdir()  # A user's own folders of these names do not matter.
  (tmp_path / 'datasets' / '__init__.py').write_text('raise RuntimeError("not mine")')
  (tmp_path / 'tools').mkdir()
  process = feelvos(
    'convert-data',
    '--dataset=synthetic',
    '--num_videos=2',
    '--num_workers=2',
    '--num_frames=2',
    '--frame_size=32,48',
    '--output_dir=data',
    cwd=tmp_path,
  )
  assert process.returncode == 0, process.stderr
  assert '2 videos, 4 frames' in process.stdout
  assert all('/2 videos' in line for line in process.stderr.splitlines()), process.stderr
  assert (tmp_path / 'data' / 'manifest.json').is_file()


def test_demo(tmp_path, copying_weights):
  flags = (f'--model={copying_weights}', '--max_internal_size=64')
  process = programs.run('feelvos_tf', 'demo', *flags, cwd=tmp_path)
  assert process.returncode == 0, process.stderr
  assert 'Computes in float32 on ' in process.stdout
  written = sorted(p.name for p in (tmp_path / 'demo_output' / 'masks').iterdir())
  assert len(written) > 20 and written[0] == '00000.png'
  assert (tmp_path / 'demo_output' / 'overview.png').is_file()
  goes_on = re.compile(r'(loading the model|clip: \d+/56 frames).*')
  assert [line for line in process.stderr.splitlines() if not goes_on.fullmatch(line)] == []

"""The command that measures the repair list: what it prints, that it goes on, wrong usage."""

import json

import pytest

from feelvos_tf.runtime import result_folder

MODULE = 'tools.measure_repairs'


def test_it_measures_and_goes_on(davis, tmp_path, run_main, copying_weights):
  arguments = [f'--davis_root={davis}', '--year=2016', f'--output_dir={tmp_path / "out"}']
  arguments += [f'--model={copying_weights}', '--precision=float32']
  done = run_main(MODULE, *arguments)
  assert done.returncode == 0, done.stderr
  # The model repeats the first mask: J is .43, .11 and 0.
  assert 'one: 3 wrong masks; ' in done.stdout
  assert 'videos with such a mask: 1; ' in done.stdout and 'mean J&F 0.' in done.stdout
  path = tmp_path / 'out' / 'repairs.json'
  data = json.loads(path.read_text())
  data['videos'][0]['before'] = 0.125  # Read back, not computed again.
  path.write_text(json.dumps(data))
  again = run_main(MODULE, *arguments)
  assert 'one: 3 wrong masks; 0.125 -> ' in again.stdout


@pytest.mark.parametrize(
  'prepare, message',
  [
    (
      lambda folder: result_folder.ResultFolder(folder, 'other', True),
      'another run is writing there',
    ),
    (
      lambda folder: (folder / 'repairs.json').write_text('mine'),
      'a file that no earlier run wrote as it is lies where a result has to go',
    ),
  ],
)
def test_files_of_others_stay(prepare, message, davis, tmp_path, run_main, copying_weights):
  folder = tmp_path / 'out'
  folder.mkdir()
  held = prepare(folder)
  before = {p.name: p.read_bytes() for p in folder.iterdir()}
  arguments = [f'--davis_root={davis}', '--year=2016', f'--output_dir={folder}']
  done = run_main(MODULE, *arguments, f'--model={copying_weights}', '--precision=float32')
  assert done.returncode == 1 and message in done.stderr
  assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
  del held


def test_wrong_usage(davis, tmp_path, run_main):
  done = run_main(MODULE, f'--davis_root={davis}')
  assert done.returncode == 2 and '--output_dir is missing' in done.stderr

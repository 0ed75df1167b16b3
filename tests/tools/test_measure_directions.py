"""The command that measures both directions: its gaps, what it keeps, what it prints."""

import json

import numpy as np
import pytest

from feelvos_tf.evaluation import directions

MODULE = 'tools.measure_directions'


@pytest.mark.parametrize(
  'num_frames, every, expected',
  [
    (50, 0, [(0, 49)]),
    (50, 20, [(0, 20), (20, 40)]),
    (51, 20, [(0, 20), (20, 40), (40, 50)]),
    (41, 20, [(0, 20), (20, 40)]),
  ],
)
def test_gaps(num_frames, every, expected):
  assert directions.ends(num_frames, every) == expected


def test_gaps_are_kept_as_a_file_of_what_made_them():
  logits = np.arange(2 * 2 * 3 * 4, dtype=np.float16).reshape(2, 2, 3, 4)
  gaps = [
    directions.Gap(0, 2, (0, 7), logits, -logits),
    directions.Gap(2, 4, (0, 7), -logits, logits),
  ]
  data = directions.to_bytes(gaps, 'this run')
  found = directions.from_bytes(data, 'this run')
  assert [(g.before, g.behind, g.ids) for g in found] == [(0, 2, (0, 7)), (2, 4, (0, 7))]
  np.testing.assert_array_equal(found[1].backward, logits)
  encrypted = bytearray(data)
  encrypted[data.index(b'PK\1\2') + 8] |= 1
  for other in (
    directions.from_bytes(data, 'another run'),
    directions.from_bytes(data[:-9], 'this run'),
    directions.from_bytes(bytes(encrypted), 'this run'),
  ):
    assert other is None


def test_it_measures_and_scores_again_without_the_model(davis, tmp_path, run_main, copying_weights):
  arguments = [f'--davis_root={davis}', '--year=2016', f'--output_dir={tmp_path / "out"}']
  arguments += ['--precision=float32', f'--model={copying_weights}']
  done = run_main(MODULE, *arguments)
  assert done.returncode == 0, done.stderr
  scores = json.loads((tmp_path / 'out' / 'directions.json').read_text())
  forward, backward, both = scores['one'][0]
  # The model repeats the mask it comes from, and the object moves on: the nearer mask is better.
  assert forward[0] > backward[0] and forward[1] < backward[1]
  assert both[0] > backward[0] and both[1] > forward[1]
  assert '| at a quarter | 0.' in done.stdout and 'one: 1 gaps; middle: forward 0.' in done.stdout
  kept = (tmp_path / 'out' / 'one.npz').read_bytes()
  again = run_main(MODULE, *arguments)
  assert again.stdout.splitlines()[-5:] == done.stdout.splitlines()[-5:]
  assert (tmp_path / 'out' / 'one.npz').read_bytes() == kept


def test_wrong_usage(davis, run_main):
  done = run_main(MODULE, f'--davis_root={davis}')
  assert done.returncode == 2 and '--output_dir is missing' in done.stderr

"""The page on reliability out of the notes of soak runs."""

import json

import pytest

from feelvos_tf.tools import reliability_report

KILL = {'SIGKILL': 3, 'SIGTERM': 4, 'SIGINT': 5, 'ended_early': 11, 'bad': 0}


def test_lines_of_a_kind_are_added_up():
  notes = [
    {'part': 'kills', 'what': 'train', **KILL},
    {'part': 'frames', 'what': 'in one piece', 'frames': 50, 'memory_percent': 0.1, 'seconds': 2},
    {'part': 'kills', 'what': 'train', **KILL, 'bad': 1},
    {'part': 'kills', 'what': 'export', **KILL},
    {'part': 'film', 'what': 'decoding', 'frames_per_second': 90, 'opencv_frames_per_second': 80},
    {'part': 'film', 'what': 'segment', 'frames': 9, 'memory_percent': 0.2, 'highest_mb': 950},
  ]
  page = reliability_report.to_markdown(notes)
  assert '| train | 6 | 8 | 10 | 22 | 1 |\n| export | 3 | 4 | 5 | 11 | 0 |\n' in page
  assert '| decoding |  | 90 | 80 |  |  |  |\n| segment | 9 |  |  | 0.2 | 950 |  |\n' in page
  assert '| in one piece | 50 | 0.1 |  | 2 |\n' in page


def test_notes_that_are_none(run_main, tmp_path):
  path = tmp_path / 'soak.jsonl'
  path.write_text(f'{json.dumps({"part": "kills", "what": "train", **KILL})}\n[1]\n')
  with pytest.raises(ValueError, match='line 2 is no note of a soak run'):
    reliability_report.read_notes(path)
  process = run_main('tools.reliability_report', f'--notes={tmp_path / "none"}')
  assert process.returncode == 1 and 'none' in process.stderr

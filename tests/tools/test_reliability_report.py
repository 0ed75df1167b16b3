"""The page on reliability out of the notes of soak runs."""

import json
import pathlib

import pytest

from feelvos_tf.tools import reliability_report

ROOT = pathlib.Path(__file__).resolve().parents[2]
KILL = {'SIGKILL': 3, 'SIGTERM': 4, 'SIGINT': 5, 'ended_early': 11, 'bad': 0}


def test_lines_of_a_kind_are_added_up():
  notes = [
    {'part': 'kills', 'what': 'train', **KILL},
    {'part': 'frames', 'what': 'in one piece', 'frames': 50, 'memory_percent': 0.1, 'seconds': 2},
    {'part': 'kills', 'what': 'train', **KILL, 'bad': 1},
    {'part': 'kills', 'what': 'export', **KILL},
    {'part': 'faults', 'what': 'full disk', 'run': 'train', 'tried': 2, 'bad': 0},
    {'part': 'faults', 'what': 'full disk', 'run': 'export', 'tried': 3, 'bad': 0},
    {'part': 'inputs', 'what': 'YOLO', 'tool': 'atheris', 'inputs': 900, 'bad': 1, 'seconds': 358},
    {'part': 'inputs', 'what': 'YOLO', 'tool': 'atheris', 'inputs': 100, 'bad': 0, 'seconds': 0},
    {'part': 'film', 'what': 'decoding', 'frames_per_second': 90, 'opencv_frames_per_second': 80},
    {'part': 'film', 'what': 'segment', 'frames': 9, 'memory_percent': 0.2, 'highest_mb': 950},
  ]
  page = reliability_report.to_markdown(notes)
  assert '| train | 6 | 8 | 10 | 22 | 1 |\n| export | 3 | 4 | 5 | 11 | 0 |\n' in page
  assert '| decoding |  | 90 | 80 |  |  |  |\n| segment | 9 |  |  | 0.2 | 950 |  |\n' in page
  assert '| full disk | 5 | 0 |\n' in page
  assert '| YOLO, atheris | 1000 | 1 |\n\nIn all 1,000 inputs, 1 bad ones.\n' in page
  assert 'All of these runs together: 0.1 hours.\n' in page
  assert '| in one piece | 50 | 0.1 |  | 2 |\n' in page


def test_the_page_is_made_of_the_notes_that_are_kept():
  kept = reliability_report.read_notes(ROOT / 'docs' / 'reliability.jsonl')
  page = (ROOT / 'docs' / 'reliability.md').read_text()
  assert page == reliability_report.to_markdown(kept), 'run python -m tools.reliability_report'


def test_further_notes(run_main, tmp_path):
  kept, added, page = (tmp_path / name for name in ('kept.jsonl', 'added.jsonl', 'page.md'))
  line = json.dumps({'part': 'kills', 'what': 'train', **KILL})
  added.write_text(f'{line}\n{line}\n')
  for count in (2, 4):
    process = run_main(
      'tools.reliability_report', f'--notes={kept}', f'--add={added}', f'--output={page}'
    )
    assert process.returncode == 0, process.stderr
    assert kept.read_text() == f'{line}\n' * count
    assert f'| train | {3 * count} | {4 * count} |' in page.read_text()


def test_notes_that_are_none(run_main, tmp_path):
  path = tmp_path / 'soak.jsonl'
  path.write_text(f'{json.dumps({"part": "kills", "what": "train", **KILL})}\n[1]\n')
  with pytest.raises(ValueError, match='line 2 is no note of a soak run'):
    reliability_report.read_notes(path)
  process = run_main('tools.reliability_report', f'--notes={tmp_path / "none"}')
  assert process.returncode == 1 and 'none' in process.stderr

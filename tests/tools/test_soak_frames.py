"""The long video of `make soak`, short."""

import json

import pytest

from feelvos_tf.tools import soak_frames


@pytest.mark.slow
def test_a_short_video(run_main, tmp_path):
  notes = tmp_path / 'soak.jsonl'
  process = run_main('tools.soak_frames', '--frames=60', f'--notes={notes}')
  assert process.returncode == 0, process.stderr
  assert '0000 00:00' not in process.stderr  # What TensorFlow logs of devices.
  found = [json.loads(line) for line in notes.read_text().splitlines()]
  assert [note.get('bad') for note in found] == [None, 0, 0, None]
  assert found[0]['frames'] == 60 and found[3]['what'] == '200 objects'


def test_an_interruption_from_outside_ends_it(monkeypatch):
  def interrupted(*_, **__):
    raise KeyboardInterrupt

  monkeypatch.setattr(soak_frames.segment_run, 'segment', interrupted)
  with pytest.raises(KeyboardInterrupt):
    soak_frames.run_folder(None, 50, 1)

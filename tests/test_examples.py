"""The examples run: the camera's with the demo clip, the notebook's cells one after another."""

import importlib.util
import json
import pathlib
import types

import cv2
import numpy as np
import pytest

from feelvos_tf.runtime import packaged_files

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / 'examples'


@pytest.fixture
def camera():
  spec = importlib.util.spec_from_file_location('camera', EXAMPLES / 'stream_from_camera.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_stream_from_camera(camera, monkeypatch):
  shown = []
  keys = iter([-1, -1, 27])  # Escape on the third frame.
  monkeypatch.setattr(cv2, 'waitKey', lambda delay: next(keys))
  count = camera.main(
    str(packaged_files.DEMO_CLIP),
    select_box=lambda title, frame: (200, 100, 150, 200),
    show=lambda title, frame: shown.append(frame),
  )
  assert count == 3 and len(shown) == 3
  red = [np.mean(frame[..., 2] == 255) for frame in shown]
  assert red[0] >= 150 * 200 / (640 * 360) and all(share > 0.01 for share in red)


def test_camera_without_a_frame_or_a_box(camera, monkeypatch):
  opened = []
  empty = types.SimpleNamespace(read=lambda: (False, None))
  monkeypatch.setattr(cv2, 'VideoCapture', lambda source: opened.append(source) or empty)
  for given, source, name in (
    (0, 0, 'camera 0'),
    ('1', 1, 'camera 1'),
    ('a.mp4', 'a.mp4', 'a.mp4'),
  ):
    with pytest.raises(SystemExit, match=f'^{name}: no frame can be read'):
      camera.main(given)
    assert opened[-1:] == [source]
  monkeypatch.undo()
  with pytest.raises(SystemExit, match='no box was drawn'):  # As after Escape.
    camera.main(str(packaged_files.DEMO_CLIP), select_box=lambda title, frame: (0, 0, 0, 0))


@pytest.mark.slow
def test_notebook(capsys):
  cells = json.loads((EXAMPLES / 'first_steps.ipynb').read_text(encoding='utf-8'))['cells']
  names = {}
  for cell in cells:
    assert not cell.get('outputs'), 'the notebook is stored without outputs'
    if cell['cell_type'] == 'code':
      exec(compile(''.join(cell['source']), cell['id'], 'exec'), names)
  assert names['results'][-1].mask.shape == (360, 640)
  assert set(np.unique(names['results'][-1].mask)) == {0, 1, 2}
  assert '6 (360, 640, 3) uint8 [0 1 2]' in capsys.readouterr().out

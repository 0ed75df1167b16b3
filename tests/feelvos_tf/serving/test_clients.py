"""The clients of docs/serving.md, as they stand there."""

import pathlib
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks

from .conftest import ids_of

DOCS = pathlib.Path(__file__).resolve().parents[3] / 'docs' / 'serving.md'


def clients(language):
  return re.findall(rf'```{language}\n(.*?)```', DOCS.read_text(), re.S)


@pytest.fixture
def run_client(client, server, video, tmp_path, monkeypatch):
  """Function: runs a command in a folder with frames and a mask; returns the folder."""
  monkeypatch.setattr(server.services.models, 'names', lambda: {'small': 1})
  (tmp_path / 'frames').mkdir()
  for index, frame in enumerate(video[0]):
    cv2.imwrite(str(tmp_path / 'frames' / f'{index:05d}.jpg'), frame[..., ::-1])
  masks.write_mask(tmp_path / 'first.png', video[1])

  def run(*command):
    text = command[-1]
    assert 'http://127.0.0.1:8501' in text
    text = text.replace('http://127.0.0.1:8501', server.url)
    text = text.replace('ws://127.0.0.1:8501', server.websocket_url)
    done = subprocess.run(
      [*command[:-1], text], cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

  return run


def written(folder):
  return [ids_of((folder / f'{index:05d}.png').read_bytes()) for index in range(1, 6)]


def test_clients_agree(run_client, server, tmp_path):
  short, stream = clients('python')
  run_client(sys.executable, '-c', short)
  by_python = written(tmp_path)
  assert all(set(np.unique(ids)) <= {0, 3, 200} for ids in by_python)
  assert any(ids.any() for ids in by_python)
  assert len(server.services.sessions) == 0  # It closed its session.
  count = run_client(
    sys.executable,
    '-c',
    stream
    + """
for index, mask in enumerate(masks, 1):
  pathlib.Path(f'{index:05d}.png').write_bytes(mask)
print(len(masks))""",
  )
  assert count == '5\n'
  for one, other in zip(written(tmp_path), by_python):
    np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(not shutil.which('curl'), reason='needs curl')
def test_the_curl_client(run_client, server, tmp_path):
  (text,) = clients('sh')
  run_client('bash', '-euc', text)
  assert len(written(tmp_path)) == 5
  assert len(server.services.sessions) == 0

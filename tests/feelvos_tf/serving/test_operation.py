"""What operators rely on: health while models run, bounded waiting, metrics, new versions."""

import asyncio
import json
import os
import re
import shutil
import threading
import time

import cv2
import httpx
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.serving import errors
from feelvos_tf.serving import model_store
from feelvos_tf.serving import worker_pool
from feelvos_tf.serving.options import ServingOptions

from .conftest import ids_of
from .conftest import png
from .conftest import running
from .conftest import SessionClient
from .test_bad_input import error_of


def test_the_server_answers_while_models_run(client, server, open_session, video, held):
  begun, go_on = held
  session, other = open_session(), open_session()
  go_on.clear()
  begun.clear()
  replies = []
  threads = [
    threading.Thread(target=lambda: replies.append(session.send(video[0][1]))) for _ in range(3)
  ]
  for thread in threads:
    thread.start()
  assert begun.wait(60)
  assert client.get('/healthz').json() == {'status': 'ok'}
  assert client.get('/readyz').json() == {'status': 'ready'}
  assert client.get(other.url).status_code == 200
  assert not replies
  assert server.services.sessions.evict_idle() == 0
  server.clock.advance(101)
  server.services.sessions.evict_idle()  # Not the one that is used.
  go_on.set()
  for thread in threads:
    thread.join(60)
  assert sorted(reply.headers['x-frame-index'] for reply in replies) == ['1', '2', '3']
  error_of(other.send(video[0][1]), 410)


def test_closing_waits_for_the_running_frame(client, open_session, video, held):
  begun, go_on = held
  session = open_session()
  go_on.clear()
  begun.clear()
  replies = []
  sender = threading.Thread(target=lambda: replies.append(session.send(video[0][1])))
  sender.start()
  assert begun.wait(60)
  closer = threading.Thread(target=lambda: replies.append(client.delete(session.url)))
  closer.start()
  go_on.set()
  sender.join(60)
  closer.join(60)
  assert sorted(reply.status_code for reply in replies) == [200, 204]


def test_waiting_is_bounded():
  pool = worker_pool.WorkerPool(1, 1)
  go_on = threading.Event()
  threads = [threading.Thread(target=pool.run_blocking, args=(go_on.wait, 60)) for _ in range(2)]
  for thread in threads:
    thread.start()
  while pool.pending < 2:
    time.sleep(0.001)
  with pytest.raises(errors.RequestError, match='2 requests are running or waiting') as refused:
    pool.run_blocking(lambda: None)
  assert refused.value.status == 429
  go_on.set()
  for thread in threads:
    thread.join(60)
  assert pool.run_blocking(lambda: 7) == 7 and pool.pending == 0
  with pytest.raises(ZeroDivisionError):
    pool.run_blocking(lambda: 1 / 0)
  with pytest.raises(RuntimeError, match='StopIteration'):  # asyncio would wait for ever.
    asyncio.run(asyncio.wait_for(pool.run(lambda: next(iter(()))), 60))
  assert pool.pending == 0
  pool.close()
  with pytest.raises(errors.RequestError, match='stopping'):
    pool.run_blocking(lambda: None)


def value(text, name):
  """Value of a metric; 0 for labels that nothing was counted for yet."""
  found = re.search(rf'^{re.escape(name)} (\S+)$', text, re.M)
  return float(found.group(1)) if found else 0.0


def test_metrics(client, open_session, video):
  session = open_session()
  before = client.get('/metrics')
  assert before.headers['content-type'].startswith('text/plain')
  session.mask_of(video[0][1])
  client.request('PROPFIND', '/v1/limits')
  client.post('/v1/models/half:predict', json={'instances': [1.0]})
  after = client.get('/metrics').text
  for name, change in (
    ('feelvos_frame_seconds_count', 1),
    ('feelvos_sessions', 0),
    ('feelvos_requests_total{code="200",method="POST",protocol="http"}', 2),
  ):
    assert value(after, name) - value(before.text, name) == change, name
  assert value(after, 'feelvos_requests_total{code="405",method="other",protocol="http"}') >= 1
  assert value(after, 'feelvos_model_version{model="small"}') == 1
  assert value(after, 'feelvos_session_bytes') > 10000
  assert (
    value(after, 'feelvos_predict_seconds_count{model="half",signature="serving_default"}') >= 1
  )


def test_a_bug_is_answered_counted_and_logged(tmp_path, monkeypatch, caplog):
  """Such answers were in no metric and no line of the access log, and had no id."""
  log, origin = tmp_path / 'log', 'https://page.example.org'
  options = ServingOptions(access_log=str(log), allowed_origins=(origin,))
  models = model_store.ModelStore(None)  # Of none.
  with running(options, models) as server, httpx.Client(base_url=server.url, timeout=60) as client:
    monkeypatch.setattr(server.services.sessions, 'get', lambda session_id: {}['bug'])
    headers = {'X-Request-Id': 'my-3', 'Origin': origin}
    reply = client.post('/v1/sessions/secret/frames', content=b'frame', headers=headers)
    text = client.get('/metrics').text
  assert error_of(reply, 500) == "internal error; see the server's log."
  assert reply.headers['x-request-id'] == 'my-3'
  assert reply.headers['access-control-allow-origin'] == origin
  assert value(text, 'feelvos_requests_total{code="500",method="POST",protocol="http"}') == 1
  line = json.loads(log.read_text().splitlines()[0])
  assert (line['status'], line['request_id']) == (500, 'my-3')
  (record,) = [record for record in caplog.records if record.levelname == 'ERROR']
  # Who has the id of a session has the session.
  assert record.getMessage() == 'POST /v1/sessions/ID/frames (my-3) failed'
  assert record.exc_info[0] is KeyError


def test_limits_and_demo(client):
  limits = client.get('/v1/limits').json()
  assert limits == {
    'max_pixels': 4096,
    'max_objects': 6,
    'max_body_bytes': 2**20,
    'max_sessions': 12,
    'idle_seconds': 100.0,
    'needs_token': False,
    'models': [
      {'name': 'half', 'versions': [3], 'speed': None},
      {'name': 'small', 'versions': [1], 'speed': 'balanced'},
    ],
  }
  reply = client.get('/v1/demo/mask.png')
  assert reply.headers['content-type'] == 'image/png' and ids_of(reply.content).any()


@pytest.mark.parametrize('path', ['/', '/static/main.js', '/static/theme.css', '/v1/demo/mask.png'])
def test_browsers_ask_for_files_of_the_page_again(client, path):
  """Old modules next to new ones would break the page after an update of the server."""
  reply = client.get(path)
  assert reply.status_code == 200 and reply.headers['cache-control'] == 'no-cache'
  if path.startswith('/static/'):
    again = client.get(path, headers={'If-None-Match': reply.headers['etag']})
    assert again.status_code == 304 and again.headers['cache-control'] == 'no-cache'


def test_overlay(client, video, tmp_path):
  frames, mask = video
  files = [('frames', png(frame)) for frame in frames]
  files += [('masks', masks.encode_mask(mask))] * len(frames)
  reply = client.post('/v1/overlay', data={'frames_per_second': 12}, files=files)
  assert (reply.status_code, reply.headers['content-type']) == (200, 'video/mp4')
  path = tmp_path / 'overlay.mp4'
  path.write_bytes(reply.content)
  capture = cv2.VideoCapture(str(path))
  shown = []
  while (result := capture.read())[0]:
    shown.append(result[1][:33, :49, ::-1])
  assert len(shown) == len(frames)
  expected = masks.overlay(frames[0], mask, void_id=None)
  assert np.abs(shown[0].astype(int) - expected).mean() < 20  # It is compressed.


def test_a_new_version_takes_over_and_sessions_go_on(model_root, tmp_path, video):
  exported = model_root / 'small' / '1'
  shutil.copytree(exported, tmp_path / 'small' / '1')
  options = ServingOptions(
    str(tmp_path), max_pixels=64 * 64, enable_model_warmup=False, file_system_poll_wait_seconds=0.05
  )
  with running(options) as server, httpx.Client(base_url=server.url, timeout=60) as client:
    old = SessionClient(client, video[0][0], video[1])
    shutil.copytree(exported, tmp_path / '.2.tmp')
    os.rename(tmp_path / '.2.tmp', tmp_path / 'small' / '2')
    while client.get('/v1/limits').json()['models'][0]['versions'] != [2]:
      time.sleep(0.05)
      old_mask = old.mask_of(video[0][1])  # While the new one is loaded, too.
    new = SessionClient(client, video[0][0], video[1])
    assert (old.info['version'], new.info['version']) == (1, 2)
    np.testing.assert_array_equal(new.mask_of(video[0][1]).shape, old_mask.shape)
    assert old.send(video[0][2]).status_code == 200
    states = lambda: {
      item['version']: item['state']
      for item in client.get('/v1/models/small').json()['model_version_status']
    }
    assert states() == {'2': 'AVAILABLE', '1': 'UNLOADING'}
    client.delete(old.url)
    assert states() == {'2': 'AVAILABLE', '1': 'END'}
    assert new.send(video[0][2]).status_code == 200

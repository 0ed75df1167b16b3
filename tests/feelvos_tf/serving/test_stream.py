"""Sessions over a WebSocket: answers in order, errors as text, an orderly end."""

import json
import socket
import threading
import time

import httpx
import numpy as np
import pytest
from websockets import exceptions
from websockets.sync import client as websockets

from feelvos_tf.serving.options import ServingOptions

from .conftest import ids_of
from .conftest import png
from .conftest import running
from .conftest import SessionClient


def connect(server, session, query='', **kwargs):
  return websockets.connect(f'{server.websocket_url}{session.url}/stream{query}', **kwargs)


def test_masks_are_those_of_http(server, open_session, video):
  frames = video[0][1:]
  expected = [
    open_session_mask
    for session in [open_session()]
    for open_session_mask in map(session.mask_of, frames)
  ]
  session = open_session()
  with connect(server, session) as stream:
    for frame in frames:  # All of them before the first answer.
      stream.send(png(frame))
    for mask in expected:
      np.testing.assert_array_equal(ids_of(stream.recv(timeout=60)), mask)
  info = session.client.get(session.url).json()
  assert info['frame_index'] == len(frames)


def test_confidence_comes_before_the_mask(server, open_session, video):
  one, other = open_session(), open_session()
  with connect(server, one, query='?confidence=1') as stream:
    for index, frame in enumerate(video[0][1:3], 1):
      expected = other.send(frame)
      stream.send(png(frame))
      told = json.loads(stream.recv(timeout=60))
      np.testing.assert_array_equal(ids_of(stream.recv(timeout=60)), ids_of(expected.content))
      assert told['frame_index'] == index
      assert ','.join(map(str, told['object_ids'])) == expected.headers['x-object-ids']
      values = [float(value) for value in expected.headers['x-confidence'].split(',')]
      np.testing.assert_allclose(told['confidence'], values, atol=2e-3)


def test_the_session_goes_on_after_an_error(server, open_session, video):
  session = open_session()
  with connect(server, session) as stream:
    for wrong, message in (
      (b'hello', 'not a JPEG or PNG'),
      ('text', 'one binary message'),
      (png(np.zeros((9, 9, 3), np.uint8)), 'the first frame was 49x33'),
    ):
      stream.send(wrong)
      assert message in json.loads(stream.recv(timeout=60))['error']
    stream.send(png(video[0][1]))
    assert ids_of(stream.recv(timeout=60)).shape == video[1].shape


def test_a_disconnected_stream_leaves_its_session(server, open_session, video):
  session = open_session()
  for _ in range(2):
    with connect(server, session) as stream:
      stream.send(png(video[0][1]))
      stream.socket.shutdown(socket.SHUT_RDWR)  # No closing handshake; the frame is segmented.
  assert session.send(video[0][2]).status_code == 200


def test_a_session_that_is_closed_ends_its_stream(server, client, open_session, video):
  session = open_session()
  with connect(server, session) as stream:
    client.delete(session.url)
    stream.send(png(video[0][1]))
    assert 'no such session' in json.loads(stream.recv(timeout=60))['error']
    with pytest.raises(exceptions.ConnectionClosed) as closed:
      stream.recv(timeout=60)
  assert closed.value.rcvd.code == 4410


def refusal(server, path, **kwargs):
  with (
    pytest.raises(exceptions.InvalidStatus) as refused,
    websockets.connect(f'{server.websocket_url}{path}', **kwargs),
  ):
    pass
  response = refused.value.response
  return response.status_code, json.loads(response.body)['error']


def test_unknown_session_and_wrong_token(server, video):
  assert refusal(server, '/v1/sessions/nobody/stream') == (
    404,
    'no such session; it was closed, or the id is wrong.',
  )
  options = ServingOptions(token='sesame', max_pixels=64 * 64)
  with running(options, server.services.models) as guarded:
    path = '/v1/sessions/nobody/stream'
    assert refusal(guarded, path)[0] == 401
    assert refusal(guarded, path, subprotocols=['bearer.wrong']) == (401, 'wrong token.')
    assert refusal(guarded, path, subprotocols=['bearer.sesame'])[0] == 404
    assert refusal(guarded, path, additional_headers={'Authorization': 'Bearer sesame'})[0] == 404
    with httpx.Client(
      base_url=guarded.url, timeout=60, headers={'Authorization': 'Bearer sesame'}
    ) as client:
      session = SessionClient(client, video[0][0], video[1])
      with connect(guarded, session, subprotocols=['bearer.sesame']) as stream:
        assert stream.subprotocol == 'bearer.sesame'
        stream.send(png(video[0][1]))
        assert ids_of(stream.recv(timeout=60)).shape == video[1].shape


def test_a_message_too_large_closes_the_stream(server, open_session, video):
  session = open_session()
  with connect(server, session) as stream:
    # More than the buffers of a socket hold: the answer comes while this is being sent.
    stream.send(bytes(2**25))
    with pytest.raises(exceptions.ConnectionClosed) as closed:
      stream.recv(timeout=60)
  assert closed.value.rcvd.code == 1009
  assert session.send(video[0][1]).status_code == 200


def test_a_stopping_server_answers_what_it_has_taken(server, video, monkeypatch):
  with running(ServingOptions(max_pixels=64 * 64), server.services.models) as stopping:  # noqa: SIM117
    with httpx.Client(base_url=stopping.url, timeout=60) as client:
      session = SessionClient(client, video[0][0], video[1])
      with connect(stopping, session) as stream, monkeypatch.context() as patch:
        go_on = threading.Event()
        decode = stopping.services.decoder.frame
        patch.setattr(
          stopping.services.decoder, 'frame', lambda data: go_on.wait(60) and decode(data)
        )
        stream.send(png(video[0][1]))
        while stopping.services.workers.pending == 0:
          time.sleep(0.001)
        stopping._server.should_exit = True
        while not stopping.services.stopping:
          time.sleep(0.001)
        go_on.set()
        answers = []
        with pytest.raises(exceptions.ConnectionClosed) as closed:
          while True:
            answers.append(ids_of(stream.recv(timeout=60)))
      assert len(answers) == 1 and closed.value.rcvd.code == 1012

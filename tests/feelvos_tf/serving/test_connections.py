"""Connections that do nothing, or little, are closed; there is a limit of them."""

import contextlib
import json
import socket

import httpx
import pytest
from websockets import exceptions
from websockets.sync import client as websockets

from feelvos_tf.serving.options import ServingOptions

from .conftest import png
from .conftest import running
from .conftest import SessionClient
from .test_going_away import wait_until

PREDICT = b'POST /v1/models/half:predict HTTP/1.1\r\nHost: localhost\r\n'


@pytest.fixture(scope='module')
def hasty(server):
  """A server with little patience."""
  options = ServingOptions(
    max_pixels=64 * 64, max_connections=5, header_seconds=0.4, body_seconds=0.4, idle_seconds=1.0
  )
  with running(options, server.services.models) as hasty:
    yield hasty


@pytest.fixture
def connect(hasty):
  """Function that opens a connection and sends some bytes."""
  with contextlib.ExitStack() as stack:

    def connect(data=b''):
      host, port = hasty.url.removeprefix('http://').split(':')
      connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
      connection.sendall(data)
      return connection

    yield connect
  wait_until(lambda: not hasty._server.server_state.connections)


def answer(connection):
  """(status, body) that come until the server closes; None if nothing does."""
  data = b''
  while piece := connection.recv(10000):
    data += piece
  if not data:
    return None
  head, _, body = data.partition(b'\r\n\r\n')
  return int(head.split()[1]), body


def test_connections_that_send_nothing_are_closed(connect):
  assert [answer(connection) for connection in [connect() for _ in range(4)]] == [None] * 4


@pytest.mark.parametrize(
  'part, data',
  [
    ('headers', b'GET /heal'),
    ('headers', b'GET /healthz HTTP/1.1\r\nHost: localhost\r\n'),
    ('body', PREDICT + b'Content-Length: 9\r\n\r\nabc'),
  ],
)
def test_half_a_request_is_refused_after_some_time(connect, part, data):
  status, body = answer(connect(data))
  assert status == 408
  message = f'the {part} of a request did not come within 0.4 seconds.'
  assert json.loads(body) == {'error': message}


def test_headers_that_trickle_do_not_last(connect):
  connection = connect(b'GET /healthz HTTP/1.1\r\n')
  with pytest.raises(OSError):
    for i in range(1000):
      connection.sendall(b'X-%d: y\r\n' % i)
      connection.settimeout(0.1)
      with contextlib.suppress(TimeoutError):
        while connection.recv(1000):
          pass
        raise ConnectionResetError
      connection.settimeout(60)


def test_a_slow_body_has_time_for_its_size(connect):
  """1000 bytes give one second more."""
  connection = connect(PREDICT + b'Connection: close\r\nContent-Length: 3000\r\n\r\n' + b' ' * 2000)
  with pytest.raises(TimeoutError):
    connection.settimeout(1.2)
    connection.recv(1)
  connection.settimeout(60)
  connection.sendall(b' ' * 1000)
  status, body = answer(connection)
  assert status == 400 and b'JSON Parse error' in body


def test_one_connection_too_many(connect, hasty):
  held = [connect() for _ in range(5)]
  wait_until(lambda: len(hasty._server.server_state.connections) == 5)
  status, body = answer(connect())
  assert status == 503
  assert json.loads(body) == {'error': '5 connections are open, no more are allowed.'}
  for connection in held:
    connection.close()
  wait_until(lambda: not hasty._server.server_state.connections)
  assert httpx.get(f'{hasty.url}/healthz').status_code == 200


def test_a_stream_without_frames_is_closed(hasty, video):
  with httpx.Client(base_url=hasty.url, timeout=60) as client:
    session = SessionClient(client, video[0][0], video[1])
    with websockets.connect(f'{hasty.websocket_url}{session.url}/stream') as stream:
      stream.send(png(video[0][1]))
      assert isinstance(stream.recv(timeout=60), bytes)
      with pytest.raises(exceptions.ConnectionClosed) as closed:
        stream.recv(timeout=60)
  assert closed.value.rcvd.code == 4410

"""Wrong input: the documented code and one line of JSON; the server and other sessions go on."""

import base64
import http.client
import json
import re
import socket
import struct

import httpx
import numpy as np
import png_files
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.saved_model import state_bytes
from feelvos_tf.serving import errors
from feelvos_tf.serving import images
from feelvos_tf.serving.options import ServingOptions

from .conftest import png
from .conftest import running
from .conftest import SIZE


def error_of(reply, status):
  """The one line that a reply says."""
  assert reply.status_code == status, reply.text
  assert reply.headers['content-type'] == 'application/json'
  document = reply.json()
  assert list(document) == ['error'] and document['error']
  assert '\n' not in document['error'] and 'Traceback' not in document['error']
  return document['error']


def png_header(width, height, bit_depth=8, colour_type=2):
  """A PNG that says it is that large; its pixels are zeros, of which it has few."""
  return png_files.assemble(width, height, bytes(1000), bit_depth, colour_type)


BOMB = png_header(20000, 20000)
BOMB_MASK = png_header(20000, 20000, colour_type=0)


def ids_png(ids):
  return masks.encode_mask(np.asarray(ids, np.uint8))


def one_object(size=SIZE):
  ids = np.zeros(size, np.uint8)
  ids[4:20, 4:20] = 1
  return ids


@pytest.fixture
def frame(video):
  return png(video[0][0])


@pytest.fixture
def goes_on(open_session, video):
  """A session opened before the test that has to work after it."""
  session = open_session()
  yield session
  assert session.send(video[0][1]).status_code == 200


@pytest.mark.parametrize(
  'files, message',
  [
    ({'frame': b'hello', 'mask': ids_png(one_object())}, 'not a JPEG or PNG image given'),
    ({'frame': b'', 'mask': ids_png(one_object())}, 'not a JPEG or PNG image given'),
    (
      {'frame': BOMB, 'mask': ids_png(one_object())},
      r'20000x20000 \(height x width\), expected 1 to 4096 pixels',
    ),
    ({'mask': b'\xff\xd8hello'}, 'a JPEG image given, expected a palette or grey PNG'),
    ({'mask': BOMB_MASK}, 'mask: unreadable picture .20000x20000'),
    ({'mask': BOMB}, 'mask: unreadable picture .20000x20000'),
    ({'mask': png(np.zeros((33, 49, 3), np.uint8))}, r'background \(0\) only'),
    (
      {'mask': png(np.arange(33 * 49 * 3).reshape(33, 49, 3).astype(np.uint8))},
      'colours given, expected a mask of few exact colours|smoothed colours given',
    ),
    ({'mask': ids_png(np.zeros(SIZE))}, r'background \(0\) only; mark at least one object'),
    ({'mask': ids_png(one_object((30, 49)))}, 'the mask is 49x30, the frame is 49x33'),
    (
      {'mask': ids_png(np.repeat(np.arange(33), 49).reshape(SIZE) % 8)},
      '7 objects given, at most 6',
    ),
    ({}, 'mask: missing; send multipart/form-data'),
    ({'mask': ids_png(one_object()), 'state': b'x'}, 'give either state, or frame and mask'),
  ],
)
def test_what_opens_no_session(client, goes_on, frame, files, message):
  reply = client.post('/v1/sessions', data={'model': 'small'}, files={'frame': frame, **files})
  assert re.search(message, error_of(reply, 400))


@pytest.mark.parametrize(
  'data, status, message',
  [
    ({'speed': 'fast'}, 400, 'speed: no model of this server was exported for fast; its'),
    ({'model': 'nobody'}, 404, 'Servable not found for request: Latest(nobody)'),
    ({'model': 'small', 'version': '7'}, 404, 'Servable not found for request: Specific(small, 7)'),
    ({'model': 'small', 'version': 'x'}, 400, 'version: expected a number'),
    ({'model': 'small', 'version': '\u0661'}, 400, 'version: expected a number'),
    ({'model': 'half'}, 400, 'model half has no signatures for sessions'),
  ],
)
def test_models_that_open_no_session(client, frame, data, status, message):
  reply = client.post(
    '/v1/sessions', data=data, files={'frame': frame, 'mask': ids_png(one_object())}
  )
  assert message in error_of(reply, status)


def test_a_body_that_is_no_form(client, goes_on):
  url = f'{goes_on.url}/mask'
  assert 'frame: missing' in error_of(client.post(url, content=b'hello'), 400)
  for kind in ('multipart/form-data', 'multipart/form-data; boundary=x'):
    error_of(client.post(url, content=b'hello', headers={'Content-Type': kind}), 400)


@pytest.mark.parametrize(
  'body, message',
  [
    (b'hello', 'not a JPEG or PNG image given'),
    (b'', 'the body is empty'),
    (BOMB, '20000x20000 (height x width), expected 1 to 4096 pixels'),
    (png(np.zeros((30, 49, 3), np.uint8)), 'the frame is 49x30, the first frame was 49x33'),
    (png(np.zeros((33, 49, 3), np.uint8))[:-30], 'the PNG is cut off'),
  ],
)
def test_wrong_frames(client, open_session, video, body, message):
  session = open_session()
  assert message in error_of(client.post(f'{session.url}/frames', content=body), 400)
  reply = session.send(video[0][1])  # It goes on, and the wrong one is not counted.
  assert (reply.status_code, reply.headers['x-frame-index']) == (200, '1')


def test_wrong_corrections(client, open_session, video):
  frames, mask = video
  session = open_session()
  reply = session.correct(frames[1], mask[:20])
  assert 'the mask is 49x20' in error_of(reply, 400)
  many = np.repeat(np.arange(11, dtype=np.uint8), 3)[:, np.newaxis].repeat(49, axis=1)
  assert 'at most 6' in error_of(session.correct(frames[1], many), 400)
  two_more = [np.where(mask == 3, i, 0).astype(np.uint8) for i in range(20, 25)]
  replies = [session.correct(frames[1], one) for one in two_more]
  assert [reply.status_code for reply in replies] == [200] * 4 + [400]
  assert '7 objects with those of all masks, at most 6' in error_of(replies[-1], 400)
  assert session.send(frames[1]).headers['x-object-ids'] == '0,3,20,21,22,23,200'


def test_unknown_session(client, goes_on):
  for method, path in (
    ('GET', ''),
    ('DELETE', ''),
    ('POST', '/frames'),
    ('POST', '/mask'),
    ('GET', '/state'),
  ):
    reply = client.request(method, f'/v1/sessions/nobody{path}', content=b'x')
    assert 'no such session' in error_of(reply, 404)


def test_expired_session(client, server, open_session, video):
  session, other = open_session(), open_session()
  server.clock.advance(60)
  other.mask_of(video[0][1])
  server.clock.advance(60)  # 100 seconds are allowed.
  server.services.sessions.evict_idle()
  reply = session.send(video[0][1])
  assert 'the session expired after 100 seconds without a request' in error_of(reply, 410)
  assert other.send(video[0][2]).status_code == 200


@pytest.fixture(scope='module')
def token_server(server):
  options = ServingOptions(token='sesame', max_pixels=64 * 64)
  with running(options, server.services.models) as with_token:
    yield with_token


@pytest.mark.parametrize(
  'headers, message',
  [
    ({}, 'this server needs a token'),
    ({'Authorization': 'Bearer sesam'}, 'wrong token'),
    ({'Authorization': 'Basic sesame'}, 'this server needs a token'),
    ({'Authorization': 'Bearer'}, 'wrong token'),
    ({'Authorization': b'Bearer \xff'}, 'wrong token'),
  ],
)
def test_wrong_token(token_server, headers, message):
  with httpx.Client(base_url=token_server.url, headers=headers) as client:
    for method, path in (
      ('POST', '/v1/sessions'),
      ('GET', '/v1/sessions/x'),
      ('GET', '/metrics'),
      ('POST', '/v1/models/small:predict'),
      ('GET', '/v1/models/small'),
      ('POST', '/v1/overlay'),
    ):
      reply = client.request(method, path)
      assert message in error_of(reply, 401)
      assert reply.headers['www-authenticate'] == 'Bearer'
    assert client.get('/v1/limits').json()['needs_token'] is True
    assert client.get('/healthz').status_code == client.get('/readyz').status_code == 200


def test_right_token(token_server):
  headers = {'Authorization': 'Bearer sesame'}
  assert httpx.get(f'{token_server.url}/v1/models/small', headers=headers).status_code == 200


def test_a_body_too_large(client, goes_on):
  """The length is refused before anything is read; without a length it is counted."""
  for path in (f'{goes_on.url}/frames', '/v1/models/small:predict'):
    for body in (bytes(2**20 + 1), iter([bytes(2**19)] * 3)):  # An iterator has no length.
      try:
        reply = client.post(path, content=body)
      except (httpx.WriteError, httpx.ReadError):
        continue  # The server closed while the client was still sending.
      assert 'larger than 1048576 bytes' in error_of(reply, 413)


@pytest.mark.parametrize(
  'head, message',
  [
    (b'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 'Invalid HTTP request'),
    (bytes(100), 'Invalid HTTP request'),
    (
      b'POST /v1/draw HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n'
      b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      'Content-Length and Transfer-Encoding given',
    ),
  ],
)
def test_bytes_that_are_no_request(server, capfd, head, message):
  host, port = server.url.removeprefix('http://').split(':')
  with socket.create_connection((host, int(port)), timeout=60) as connection:
    connection.sendall(head)
    reply = b''
    while piece := connection.recv(10000):
      reply += piece
  answer, _, body = reply.partition(b'\r\n\r\n')
  assert answer.startswith(b'HTTP/1.1 400 ') and message in json.loads(body)['error']
  assert not capfd.readouterr().err  # Else anybody could fill the log.


def test_the_answer_to_a_large_length_comes_before_the_body(server):
  connection = http.client.HTTPConnection(server.url.removeprefix('http://'), timeout=20)
  connection.putrequest('POST', '/v1/sessions')
  connection.putheader('Content-Length', str(2**40))
  connection.endheaders()
  reply = connection.getresponse()
  assert reply.status == 413
  assert 'larger than 1048576 bytes' in json.loads(reply.read())['error']
  connection.close()


def test_a_client_that_disconnects_mid_frame(client, server, open_session, video):
  session = open_session()
  body = png(video[0][1])
  host, port = server.url.removeprefix('http://').split(':')
  for half in (len(body) // 2, len(body)):  # In the middle of sending, and of waiting.
    connection = socket.create_connection((host, int(port)))
    connection.sendall(
      f'POST {session.url}/frames HTTP/1.1\r\nHost: localhost\r\n'
      f'Content-Length: {len(body)}\r\n\r\n'.encode()
      + body[:half]
    )
    connection.close()
  reply = session.send(video[0][2])
  assert reply.status_code == 200
  assert reply.headers['x-frame-index'] in ('1', '2')  # The whole frame may have been taken.


def test_a_hundred_opened_and_abandoned_sessions(client, server, open_session, video):
  before = len(server.services.sessions)
  body = {
    'data': {'model': 'small'},
    'files': {'frame': png(video[0][0]), 'mask': masks.encode_mask(video[1])},
  }
  replies = [client.post('/v1/sessions', **body) for _ in range(100)]
  opened = [reply for reply in replies if reply.status_code == 201]
  assert len(opened) == 12 - before
  assert all(
    '12 sessions are open, no more are allowed' in error_of(reply, 429)
    for reply in replies
    if reply.status_code != 201
  )
  held = server.services.sessions.memory_bytes()
  server.clock.advance(101)
  assert open_session().send(video[0][1]).status_code == 200
  assert len(server.services.sessions) == 1
  assert 0 < server.services.sessions.memory_bytes() < held / 10
  with server.services.models.leased('small') as version:
    assert version.leases == 2  # That of the session, and this one.


def test_memory_of_states_is_limited(server, video):
  models = server.services.models
  options = ServingOptions(max_pixels=64 * 64, max_state_bytes=250_000)
  body = {
    'data': {'model': 'small'},
    'files': {'frame': png(video[0][0]), 'mask': masks.encode_mask(video[1])},
  }
  with running(options, models) as small, httpx.Client(base_url=small.url, timeout=60) as client:
    replies = [client.post('/v1/sessions', **body) for _ in range(20)]
    codes = [reply.status_code for reply in replies]
    assert codes == sorted(codes) and set(codes) == {201, 429}
    assert 'close one, or send smaller frames' in error_of(replies[-1], 429)
    assert small.services.sessions.memory_bytes() <= 250_000


def test_memory_of_corrections_is_limited(server, video):
  """A correction keeps a further reference frame; one that is refused changes nothing."""
  files = {'frame': png(video[0][0]), 'mask': masks.encode_mask(video[1])}
  post = lambda client, path, **body: client.post(f'/v1/sessions{path}', **body)
  models, limits = server.services.models, {'max_pixels': 64 * 64}
  connect = lambda running_server: httpx.Client(base_url=running_server.url, timeout=60)
  with running(ServingOptions(**limits), models) as large, connect(large) as client:
    post(client, '', data={'model': 'small'}, files=files)
    one = large.services.sessions.memory_bytes()
  limits['max_state_bytes'] = 2 * one
  with running(ServingOptions(**limits), models) as small, connect(small) as client:
    name, other = (
      post(client, '', data={'model': 'small'}, files=files).json()['session_id'] for _ in range(2)
    )
    correction = {'frame': png(video[0][1]), 'mask': masks.encode_mask(video[1])}
    reply = post(client, f'/{name}/mask', files=correction, data={'frame_index': 7})
    assert 'close one, or send smaller frames' in error_of(reply, 429)
    assert small.services.sessions.memory_bytes() == 2 * one
    assert client.get(f'/v1/sessions/{name}').json()['frame_index'] == 0
    client.delete(f'/v1/sessions/{other}')
    reply = post(client, f'/{name}/mask', files=correction, data={'frame_index': 7})
    assert reply.status_code == 200 and reply.json()['frame_index'] == 7
    assert one < small.services.sessions.memory_bytes() <= 2 * one


def changed(state, position, value):
  return state[:position] + value + state[position + len(value) :]


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda state: b'', 'not the state of a video'),
    (lambda state: b'hello', 'not the state of a video'),
    (lambda state: changed(state, 16, struct.pack('<i', 1)), 'another version given'),
    (lambda state: changed(state, 8, b'otherkey'), 'damaged or changed'),
    (lambda state: changed(state, len(state) // 2, b'\x01\x02\x03'), 'damaged or changed'),
    (lambda state: state[:-9], 'damaged or changed'),
  ],
)
def test_wrong_states(client, goes_on, change, message):
  state = client.get(f'{goes_on.url}/state').content
  reply = client.post('/v1/sessions', data={'model': 'small'}, files={'state': change(state)})
  assert message in error_of(reply, 400)


def test_a_state_of_larger_frames_than_allowed(server, client, open_session):
  state = client.get(f'{open_session().url}/state').content
  with running(ServingOptions(max_pixels=100), server.services.models) as small:
    reply = httpx.post(f'{small.url}/v1/sessions', data={'model': 'small'}, files={'state': state})
  assert 'state: 33x49 pixels given, at most 100 are taken' in error_of(reply, 400)


def test_a_state_of_more_than_is_allowed_in_any_request(server, client, open_session, video):
  """States went past --max_objects, and those of `track_resume` past --max_pixels."""
  state = client.get(f'{open_session().url}/state').content  # Of two objects on 33x49 pixels.
  assert state_bytes.size_and_objects(state) == (SIZE, 2)
  inputs = {'image_bytes': [png(video[0][1])], 'mask_bytes': b'', 'state_bytes': state}
  encode = lambda data: {'b64': base64.b64encode(data).decode()}
  images = [encode(data) for data in inputs['image_bytes']]
  inputs = {'image_bytes': images, **{k: encode(inputs[k]) for k in ('mask_bytes', 'state_bytes')}}
  resume = {'json': {'signature_name': 'track_resume', 'inputs': inputs}}
  open_it = {'data': {'model': 'small'}, 'files': {'state': state}}
  requests = {'sessions': open_it, 'models/small:predict': resume}
  for limits, message in (
    ({'max_objects': 1}, 'state: 2 objects given, at most 1 are taken'),
    ({'max_pixels': 100}, 'at most 100'),  # The frame may be refused before the state.
    ({}, None),
  ):
    with running(ServingOptions(**limits), server.services.models) as other:
      for path, body in requests.items():
        reply = httpx.post(f'{other.url}/v1/{path}', timeout=60, **body)
        if message is None:
          assert reply.status_code in (200, 201)
        else:
          assert message in error_of(reply, 400)


@pytest.mark.parametrize(
  'limits, message',
  [({'max_pixels': 100}, 'state: 33x49 pixels given'), ({'max_objects': 1}, '2 objects')],
)
def test_a_state_that_only_its_model_reads(
  server, client, open_session, monkeypatch, limits, message
):
  """Models and server may know different versions of states: sessions look at what was read."""
  state = client.get(f'{open_session().url}/state').content
  monkeypatch.setattr(state_bytes, 'size_and_objects', lambda data: None)
  with running(ServingOptions(**limits), server.services.models) as other:
    reply = httpx.post(
      f'{other.url}/v1/sessions', data={'model': 'small'}, files={'state': state}, timeout=60
    )
  assert message in error_of(reply, 400)


@pytest.mark.parametrize(
  'numbers, message',
  [
    ((2, 30, 40, 8, 10, 100, 7, 780, 0, 1), None),
    ((2, 30, 40, 8, 10, 100, 8, 780, 0, 1), 'state: 7 objects given, at most 6 are taken'),
    ((2, 30, 41, 8, 11, 100, 7, 780, 0, 1), 'state: 30x41 pixels given, at most 1200 are taken'),
    ((1, 9000, 9000, 1, 1, 1, 200, 1, 0, 1), None),  # Of another version: the graph says so.
  ],
)
def test_what_a_state_says_is_checked_before_it_is_read(numbers, message):
  decoder = images.ImageDecoder(max_pixels=1200, max_objects=6)
  data = b'FEELVOS\0' + b'somekey.' + struct.pack('<10i', *numbers)
  for other in (b'', data[:-1], b'x' + data[1:]):  # No state.
    decoder.check_state(other)
  if message is None:
    decoder.check_state(data)
  else:
    with pytest.raises(errors.RequestError, match=message) as refused:
      decoder.check_state(data)
    assert refused.value.status == 400


def test_unknown_paths_and_methods(client):
  assert error_of(client.get('/nowhere'), 404) == 'Not Found'
  assert error_of(client.put('/v1/sessions'), 405) == 'Method Not Allowed'
  assert 'the demo has' in error_of(client.get('/v1/demo/secret'), 404)


@pytest.mark.parametrize(
  'files, rate, message',
  [
    ([], None, '0 frames and 0 masks given'),
    ([('frames', b'x')], None, '1 frames and 0 masks given'),
    ([('frames', b'x'), ('masks', ids_png(one_object()))], None, 'not a JPEG or PNG'),
    (
      [('frames', png(np.zeros((9, 9, 3), np.uint8))), ('masks', ids_png(one_object()))],
      None,
      'pixels given for a frame of',
    ),
    ([('frames', b'x'), ('masks', b'x')], 'nan', 'frames_per_second: expected a number from 0.1'),
    ([('frames', b'x'), ('masks', b'x')], '1e-300', 'frames_per_second: expected a number from'),
  ],
)
def test_wrong_overlays(client, files, rate, message):
  data = {'frames_per_second': rate} if rate else {'other': 'field'}
  reply = client.post('/v1/overlay', data=data, files=files)
  assert message in error_of(reply, 400)

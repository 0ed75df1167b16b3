"""Clients that go: what waits for them is dropped, what runs stops, sessions are closed."""

import asyncio
import gc
import json
import socket
import threading
import time
import weakref

import cv2
import grpc
import httpx
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from feelvos_tf.datasets import masks
from feelvos_tf.serving import calls
from feelvos_tf.serving import errors
from feelvos_tf.serving import stoppable
from feelvos_tf.serving import worker_pool
from feelvos_tf.serving.options import ServingOptions

from .conftest import png
from .conftest import running
from .test_bad_input import error_of
from .test_stream import connect

FOREVER = 2**31 - 1  # Steps of the model `counter`: hours.


def save_counter(path):
  """Writes a model that counts to `n`."""

  def count(n):
    body = lambda i, total: (i + 1, total + tf.linalg.trace(tf.ones([50, 50]) * total) * 0 + 1)
    return {'y': tf.while_loop(lambda i, _: i < n, body, [0, 0.0], parallel_iterations=1)[1]}

  function = tf.function(count, autograph=False)
  signature = function.get_concrete_function(tf.TensorSpec([], tf.int32, 'n'))
  tf.saved_model.save(tf.Module(), str(path), {'serving_default': signature})


@pytest.fixture(scope='module')
def counting(tmp_path_factory):
  """A server of the model `counter`."""
  root = tmp_path_factory.mktemp('counter')
  save_counter(root / 'counter' / '1')
  with running(ServingOptions(str(root), workers=2)) as server:
    yield server


def wait_until(condition):
  for _ in range(6000):
    if condition():
      return
    time.sleep(0.01)
  raise AssertionError(condition)


def count_request(n):
  request = predict_pb2.PredictRequest()
  request.model_spec.name = 'counter'
  request.inputs['n'].CopyFrom(tf.make_tensor_proto(n, tf.int32))
  return request


def test_calls_whose_deadline_has_passed_make_room(counting):
  channel = grpc.insecure_channel(counting.grpc_address)
  stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
  dead = [stub.Predict.future(count_request(FOREVER), timeout=0.5) for _ in range(8)]
  for call in dead:
    assert call.exception().code() == grpc.StatusCode.DEADLINE_EXCEEDED
  alive = stub.Predict(count_request(7), timeout=60)  # Both workers were taken.
  assert alive.outputs['y'].float_val == [7.0]
  wait_until(lambda: counting.services.workers.pending == 0)


def test_a_cancelled_call_stops(counting):
  channel = grpc.insecure_channel(counting.grpc_address)
  stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
  call = stub.Predict.future(count_request(FOREVER))
  wait_until(lambda: counting.services.workers.pending == 1)
  call.cancel()
  wait_until(lambda: counting.services.workers.pending == 0)


def wait_until_closed(server, client):
  """Waits until the server has seen that no client is connected any more."""
  client._transport.close()  # Its idle connections; it opens others when it needs them.
  wait_until(lambda: not server._server.server_state.connections)


def post(server, path, body, kind='application/json'):
  """A connection that has sent a request and does not read."""
  host, port = server.url.removeprefix('http://').split(':')
  connection = socket.create_connection((host, int(port)))
  connection.sendall(
    f'POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n'
    f'Content-Length: {len(body)}\r\n\r\n'.encode()
    + body
  )
  return connection


def test_a_rest_client_that_disconnects(counting):
  body = json.dumps({'inputs': FOREVER}).encode()
  gone = [post(counting, '/v1/models/counter:predict', body) for _ in range(3)]
  wait_until(lambda: counting.services.workers.pending == 3)
  for connection in gone:
    connection.close()
  wait_until(lambda: counting.services.workers.pending == 0)


def test_the_time_for_rest(counting):
  options = ServingOptions(counting.services.options.model_dir, rest_api_timeout_in_ms=300)
  with running(options, counting.services.models) as hasty:
    url = f'{hasty.url}/v1/models/counter:predict'
    reply = httpx.post(url, json={'inputs': FOREVER}, timeout=60)
    assert error_of(reply, 504) == 'the time allowed for this request has passed.'
    wait_until(lambda: hasty.services.workers.pending == 0)
    assert httpx.post(url, json={'inputs': 7}, timeout=60).json() == {'outputs': 7.0}


def test_a_video_stops_between_two_frames(server, video):
  """`track` of a video that is long: its result would come if it were not stopped."""
  frames, mask = video
  call = calls.Call()
  timer = threading.Timer(1.0, lambda: call.end(calls.cancelled()))
  jpeg = cv2.imencode('.jpg', frames[0])[1].tobytes()
  inputs = {
    'image_bytes': tf.constant([jpeg] * 20000),
    'mask_bytes': tf.constant(masks.encode_mask(mask)),
  }
  with server.services.models.leased('small') as version:
    timer.start()
    with pytest.raises(errors.RequestError, match='the client went away'):
      stoppable.run(version.model.signatures['track'], call, inputs)


def test_only_the_call_that_is_over_is_stopped(counting):
  count, call = counting.services.models.lease('counter').version.model.signatures, calls.Call()
  count, stopped = count['serving_default'], []

  def forever():
    with pytest.raises(errors.RequestError) as error:
      stoppable.run(count, call, {'n': tf.constant(FOREVER)})
    stopped.append(error.value.code)

  thread = threading.Thread(target=forever)
  thread.start()
  others = [stoppable.run(count, calls.Call(), {'n': tf.constant(2000)}) for _ in range(20)]
  assert not stopped
  call.end(calls.cancelled())
  thread.join(60)
  assert stopped == [grpc.StatusCode.CANCELLED]
  assert [float(result['y']) for result in others] == [2000.0] * 20
  assert float(stoppable.run(count, None, {'n': tf.constant(3)})['y']) == 3.0


def test_a_function_that_fails_stops_no_other():
  fails = tf.function(lambda x: {'y': tf.gather(tf.range(3), x)}, autograph=False)
  works = tf.function(lambda x: {'y': x + 1}, autograph=False)
  for call in (None, calls.Call(), None):
    with pytest.raises(tf.errors.InvalidArgumentError):
      stoppable.run(fails, call, {'x': tf.constant(-2)})
    assert int(works(tf.constant(1))['y']) == 2


class Answer:
  """What weak references may point to."""


def test_a_call_that_lasts_keeps_no_answers():
  """A stream is one call: it kept the masks of all its frames until it ended."""
  pool, call, kept = worker_pool.WorkerPool(1, 1), calls.Call(), weakref.WeakSet()
  for _ in range(3):
    kept.add(pool.run_blocking(Answer, call=call))
    kept.add(asyncio.run(pool.run(Answer, call=call)))
    kept.add(stoppable.run(Answer, call, {}))
    kept.add(asyncio.run(calls.unless_over(call, asyncio.sleep(0, Answer()))))
  pool.close()
  gc.collect()
  assert not len(kept) and not call._callbacks
  call.end(calls.cancelled())


def test_frames_of_a_client_that_has_gone_are_not_taken(server, client, open_session, video, held):
  begun, go_on = held
  session = open_session()
  go_on.clear()
  begun.clear()
  body = png(video[0][1])
  connections = [post(server, f'{session.url}/frames', body, 'image/png') for _ in range(3)]
  assert begun.wait(60)  # The first one runs, two wait for it.
  waiting = lambda: server.services.metrics.requests.labels('http', 'POST', '499')._value.get()
  before = waiting()
  for connection in connections:
    connection.close()
  wait_until_closed(server, client)
  go_on.set()
  wait_until(lambda: not server.services.sessions._running)
  assert waiting() - before == 2
  reply = session.send(video[0][2])
  assert reply.headers['x-frame-index'] == '2'


def test_frames_of_a_stream_that_has_gone_are_not_taken(server, client, open_session, video, held):
  begun, go_on = held
  session = open_session()
  go_on.clear()
  begun.clear()
  with connect(server, session) as stream:
    for frame in video[0][1:4]:
      stream.send(png(frame))
    assert begun.wait(60)
    stream.socket.shutdown(socket.SHUT_RDWR)
    wait_until_closed(server, client)
    go_on.set()
  wait_until(lambda: not server.services.streams._open)
  reply = session.send(video[0][4])
  assert reply.headers['x-frame-index'] == '2'


def test_no_session_is_left_by_a_client_that_dies_while_it_is_opened(server, client, video, held):
  begun, go_on = held
  form = httpx.Request(
    'POST',
    server.url,
    data={'model': 'small'},
    files={'frame': png(video[0][0]), 'mask': masks.encode_mask(video[1])},
  )
  before = len(server.services.sessions)
  go_on.clear()
  connection = post(server, '/v1/sessions', form.read(), form.headers['content-type'])
  assert begun.wait(60)
  connection.close()
  wait_until_closed(server, client)
  go_on.set()
  wait_until(lambda: not server.services.sessions._running)
  assert len(server.services.sessions) == before
  with server.services.models.leased('small') as version:
    assert version.leases == before + 1


def test_an_overlay_stops_between_two_frames(server, client, video, held):
  begun, go_on = held
  go_on.clear()
  files = [('frames', ('f', png(video[0][0])))] * 3
  files += [('masks', ('m', masks.encode_mask(video[1])))] * 3
  form = httpx.Request('POST', server.url, files=files)
  connection = post(server, '/v1/overlay', form.read(), form.headers['content-type'])
  assert begun.wait(60)
  begun.clear()
  connection.close()
  wait_until_closed(server, client)
  go_on.set()
  wait_until(lambda: server.services.workers.pending == 0)
  assert not begun.is_set()

"""Made-up requests to every entry of the server: refused in one line, and it goes on.

`make fuzz` tries more of them (FEELVOS_FUZZ_EXAMPLES).
"""

import contextlib
import json
import os
import time

import grpc
import httpx
from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import settings
from hypothesis import strategies
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2
from websockets import exceptions
from websockets.sync import client as websockets

from feelvos_tf.datasets import masks
from feelvos_tf.files import whole_file

from .conftest import png

EXAMPLES = int(os.environ.get('FEELVOS_FUZZ_EXAMPLES', '6'))
SECONDS = 60  # After which a request hangs.
# Fields of forms that take files.
PICTURES = ('frame', 'mask', 'frames', 'masks', 'state', 'before', 'behind')
# Routes that the description leaves out, as their paths have colons: TensorFlow Serving's.
PREDICT = [
  f'/v1/models/{name}' for name in ('small', 'half', 'half/versions/3', 'half/labels/a', 'none')
]
PREDICT_BODIES = [
  b'{"instances": [1.0, 2.0]}',
  b'{"inputs": {"a": [[1, 2]], "b": [[3, 4]]}, "signature_name": "two"}',
  b'{"inputs": {"image_bytes": [{"b64": "aGk="}], "mask_bytes": {"b64": "aGk="}}}',
]


def tried(count):
  """Settings for so many inputs: the same ones in every run of the suite, others with more."""
  return settings(
    max_examples=count,
    derandomize='FEELVOS_FUZZ_EXAMPLES' not in os.environ,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
  )


def note(what, tool, inputs, begun):
  if path := os.environ.get('FEELVOS_SOAK_NOTES'):
    values = {'what': what, 'tool': tool, 'inputs': inputs, 'bad': 0}
    values |= {'seed': int(seed)} if (seed := os.environ.get('FEELVOS_SEED')) else {}
    line = {'part': 'inputs', **values, 'seconds': round(time.monotonic() - begun)}
    whole_file.append_line(path, json.dumps(line))


def check(status, content, headers):
  """No fault of the server's, and one line where something was refused."""
  assert status < 500 or status in (501, 503), (status, content[:500])
  if status >= 400 and headers.get('content-type') == 'application/json' and content:
    error = json.loads(content)['error']
    assert error and '\n' not in error and 'Traceback' not in error and ' at 0x' not in error


@pytest.fixture
def goes_on(client, open_session, video):
  """After a test: the server is ready, and a session gives masks."""
  yield
  assert client.get('/readyz').status_code == 200
  assert open_session().send(video[0][1]).status_code == 200


def pictures(video):
  """A frame, a mask and what is neither, whole or damaged."""
  frames, ids = video
  known = [png(frames[0]), masks.encode_mask(ids), png(np.zeros((5, 7, 3), np.uint8)), b'', b'x']

  @strategies.composite
  def damaged(draw):
    data = bytearray(draw(strategies.sampled_from(known)))
    for _ in range(draw(strategies.integers(0, 3))):
      start = draw(strategies.integers(0, len(data)))
      data[start : start + draw(strategies.integers(0, 5))] = draw(strategies.binary(max_size=6))
    return bytes(data)

  return damaged()


def operations(url):
  """The operations of the server's own description."""
  schemathesis = pytest.importorskip('schemathesis')
  schema = schemathesis.openapi.from_url(f'{url}/openapi.json')
  return [result.ok() for result in schema.get_all_operations()]


def cases(operation):
  """Requests as described, and others where something can be wrong."""
  from schemathesis import GenerationMode

  right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
  if operation.path_parameters or operation.body:
    return right | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
  return right


def test_every_route_of_the_description(server, client, goes_on, open_session, video):
  """In half of the requests a session that exists and pictures take the place of made-up text."""
  kept = set(server.services.sessions._sessions)  # Not for these requests.
  held = [open_session()]

  def adapt(case, draw):
    if case.path_parameters.get('session_id') is not None and draw(strategies.booleans()):
      if client.get(held[-1].url).status_code != 200:
        held.append(open_session())
      case.path_parameters['session_id'] = held[-1].url.rsplit('/', 1)[1]
    if isinstance(case.body, dict):
      for name in case.body:
        if name.removeprefix('other_') in PICTURES:
          case.body[name] = draw(pictures(video))
    elif isinstance(case.body, bytes) and draw(strategies.booleans()):
      case.body = draw(pictures(video))

  begun, count = time.monotonic(), 0
  found = operations(server.url)
  assert {operation.path for operation in found} >= {'/v1/sessions', '/v1/overlay', '/v1/draw'}
  for operation in found:

    @tried(EXAMPLES)
    @given(cases(operation), strategies.data())
    def request(case, data):
      nonlocal count
      count += 1
      if data.draw(strategies.booleans()):
        adapt(case, data.draw)
      reply = case.call(base_url=server.url, timeout=SECONDS)
      check(reply.status_code, reply.content, {k.lower(): v[0] for k, v in reply.headers.items()})

    request()
    for session_id in set(server.services.sessions._sessions) - kept:  # Of right requests.
      if session_id not in held[-1].url:
        client.delete(f'/v1/sessions/{session_id}')
  note('server, REST', 'schemathesis', count, begun)


def test_predict(client, goes_on):
  begun, count = time.monotonic(), 0

  @tried(4 * EXAMPLES)
  @given(
    strategies.sampled_from(PREDICT),
    strategies.sampled_from(
      [':predict', ':classify', '/metadata', '', ':x', '/versions/9:predict']
    ),
    strategies.sampled_from(PREDICT_BODIES),
    strategies.lists(
      strategies.tuples(strategies.integers(0, 90), strategies.binary(max_size=4)), max_size=3
    ),
  )
  def request(path, verb, body, changes):
    nonlocal count
    count += 1
    for place, data in changes:
      body = body[:place] + data + body[place + len(data) :]
    reply = client.post(f'{path}{verb}', content=body, timeout=SECONDS)
    check(reply.status_code, reply.content, reply.headers)

  request()
  note('server, predict', 'Hypothesis', count, begun)


GRPC_METHODS = [
  '/tensorflow.serving.PredictionService/Predict',
  '/tensorflow.serving.PredictionService/GetModelMetadata',
  '/tensorflow.serving.PredictionService/Classify',
  '/tensorflow.serving.ModelService/GetModelStatus',
  '/tensorflow.serving.ModelService/HandleReloadConfigRequest',
  '/grpc.health.v1.Health/Check',
  '/inference.GRPCInferenceService/ModelInfer',
  '/inference.GRPCInferenceService/ModelMetadata',
]


def predict_requests():
  """Right requests to predict, in bytes."""
  one = predict_pb2.PredictRequest()
  one.model_spec.name = 'half'
  one.inputs['x'].CopyFrom(tensor(np.array([1, 2], np.float32)))
  track = predict_pb2.PredictRequest()
  track.model_spec.name, track.model_spec.signature_name = 'small', 'embed'
  track.inputs['image_bytes'].CopyFrom(tensor(np.array(b'hello', object)))
  return [one.SerializeToString(), track.SerializeToString()]


def tensor(values):
  import tensorflow as tf

  return tf.make_tensor_proto(values)


def test_grpc(server, goes_on):
  """Bytes that may be no message: what the library cannot read, it answers by itself."""
  begun, count = time.monotonic(), 0
  with grpc.insecure_channel(server.grpc_address) as channel:
    calls = [channel.unary_unary(name, None, None) for name in GRPC_METHODS]

    @tried(8 * EXAMPLES)
    @given(
      strategies.sampled_from([*calls, calls[0]]),
      strategies.sampled_from(predict_requests()) | strategies.binary(max_size=40),
      strategies.lists(
        strategies.tuples(strategies.integers(0, 60), strategies.binary(max_size=4)), max_size=3
      ),
    )
    def request(call, body, changes):
      nonlocal count
      count += 1
      for place, data in changes:
        body = body[:place] + data + body[place + len(data) :]
      try:
        call(body, timeout=SECONDS)
      except grpc.RpcError as error:
        ours = error.details() != 'Exception deserializing request!'
        bad = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL)
        assert not (ours and error.code() in bad), (error.code(), error.details())
        assert '\n' not in error.details()

    request()
  note('server, gRPC', 'Hypothesis', count, begun)


@pytest.mark.parametrize('path', ['session', '/v1/overlay/stream'])
def test_streams(server, goes_on, open_session, video, path):
  begun, count = time.monotonic(), 0
  texts = strategies.text(max_size=20) | strategies.sampled_from(
    ['{}', '{"end": true}', '{"frames_per_second": 1e999}', '{"frames_per_second": []}', '[[[']
  )

  @tried(2 * EXAMPLES)
  @given(strategies.lists(texts | pictures(video), min_size=1, max_size=4))
  def talk(messages):
    nonlocal count
    session = open_session() if path == 'session' else None
    url = f'{server.websocket_url}{f"{session.url}/stream" if session else path}'
    with (
      contextlib.suppress(exceptions.ConnectionClosed),
      websockets.connect(url, max_size=None) as stream,
    ):
      for message in messages:
        count += 1
        stream.send(message)
        with contextlib.suppress(TimeoutError):  # Some wait for the next message.
          answer = stream.recv(timeout=0.2)
          if isinstance(answer, str) and 'error' in json.loads(answer):
            assert '\n' not in json.loads(answer)['error']
    if session:
      assert session.client.delete(session.url).status_code in (204, 404)

  talk()
  assert httpx.get(f'{server.url}/readyz').status_code == 200
  note('server, WebSocket', 'Hypothesis', count, begun)

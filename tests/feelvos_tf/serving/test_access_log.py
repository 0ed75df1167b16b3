"""The access log, request ids and traces."""

import functools
import json
import pathlib
import time

import grpc
import httpx
from opentelemetry import trace
from opentelemetry.sdk.trace.export import in_memory_span_exporter
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc
from websockets.sync.client import connect

from feelvos_tf.serving import access_log
from feelvos_tf.serving import tracing
from feelvos_tf.serving.options import ServingOptions

from .conftest import png
from .conftest import running
from .conftest import SessionClient
from .test_tf_serving import request_of

PARENT = '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01'


@pytest.fixture(scope='module')
def exporter():
  return in_memory_span_exporter.InMemorySpanExporter()


@pytest.fixture(scope='module')
def logged(model_root, tmp_path_factory, exporter):
  """(server that logs and traces, function that waits for a line of its log with some fields)."""
  path = tmp_path_factory.mktemp('log') / 'access.log'
  options = ServingOptions(str(model_root), enable_model_warmup=False, access_log=str(path))
  with running(options) as server:
    server.services.tracing = tracing.Tracing(True, exporter)
    yield server, functools.partial(wait_for_line, path)


def wait_for_line(log, **fields):
  """The last line with these fields; it is written after the answer has been sent."""
  for _ in range(600):
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    found = [line for line in lines if fields.items() <= line.items()]
    if found:
      return found[-1]
    time.sleep(0.05)
  raise AssertionError(f'no line with {fields} in {lines}')


def test_a_session_in_the_log(logged, video):
  server, line_with = logged
  with httpx.Client(base_url=server.url, timeout=60) as client:
    session = SessionClient(client, video[0][0], video[1])
    reply = client.post(
      f'{session.url}/frames', content=png(video[0][1]), headers={'X-Request-Id': 'my-1'}
    )
    assert reply.headers['X-Request-Id'] == 'my-1'
    with connect(f'{server.websocket_url}{session.url}/stream') as stream:
      stream.send(png(video[0][2]))
      stream.recv()
    refused = client.get('/readyz?secret=1', headers={'Host': 'other', 'X-Request-Id': 'a b'})
  opened = line_with(path='/v1/sessions', status=201)
  sent = line_with(path='/v1/sessions/ID/frames')
  assert len(opened['request_id']) == 32 and sent['request_id'] == 'my-1'
  assert sent['request_bytes'] == len(png(video[0][1]))
  assert sent['response_bytes'] == len(reply.content)
  streamed = line_with(protocol='websocket')
  assert streamed['session'] == sent['session'] and streamed['status'] == 1000
  line = line_with(path='/readyz')
  assert line['status'] == 403 and line['request_id'] == refused.headers['X-Request-Id'] != 'a b'
  text = pathlib.Path(server.services.options.access_log).read_text()
  assert session.info['session_id'] not in text and 'secret' not in text


def test_calls_in_the_log(logged):
  server, line_with = logged
  with grpc.insecure_channel(server.grpc_address) as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    metadata = (('x-request-id', 'my-2'),)
    _, call = stub.Predict.with_call(request_of('half', x=[2.0]), metadata=metadata)
    assert ('x-request-id', 'my-2') in [tuple(item) for item in call.initial_metadata()]
    with pytest.raises(grpc.RpcError):
      stub.Predict(request_of('nobody', x=[2.0]))
  line = line_with(request_id='my-2')
  assert (line['protocol'], line['status']) == ('grpc', 'OK')
  assert line['path'] == '/tensorflow.serving.PredictionService/Predict'
  assert line_with(protocol='grpc', status='NOT_FOUND')


def test_spans_of_requests(logged, exporter, video):
  server, line_with = logged
  server.services.tracing._provider.force_flush()
  exporter.clear()
  with httpx.Client(base_url=server.url, timeout=60) as client:
    session = SessionClient(client, video[0][0], video[1])
    client.post(f'{session.url}/frames', content=png(video[0][1]), headers={'traceparent': PARENT})
    client.post('/v1/models/half:predict', json={'inputs': [2.0]})
  assert line_with(trace_id=PARENT[3:35])['path'] == '/v1/sessions/ID/frames'
  for _ in range(600):  # A span ends after its answer has been sent.
    server.services.tracing._provider.force_flush()
    spans = exporter.get_finished_spans()
    if sum(span.kind == trace.SpanKind.SERVER for span in spans) == 3:
      break
    time.sleep(0.05)
  for name, parts in (
    ('POST /v1/sessions', ['wait', 'decode', 'model']),
    ('POST /v1/sessions/ID/frames', ['wait', 'decode', 'model', 'encode']),
    ('POST /v1/models/half:predict', ['wait', 'model', 'encode']),
  ):
    (root,) = [span for span in spans if span.name == name]
    inside = [span for span in spans if span.parent and span.parent.span_id == root.context.span_id]
    assert [span.name for span in sorted(inside, key=lambda span: span.start_time)] == parts
    assert root.attributes['http.response.status_code'] in (200, 201)


def test_the_span_of_a_bug_says_so(logged, exporter, monkeypatch):
  """Nothing that is raised gets out to the span: bugs are answered further inside."""
  server, line_with = logged
  monkeypatch.setattr(server.services.sessions, 'get', lambda session_id: {}['bug'])
  with httpx.Client(base_url=server.url, timeout=60) as client:
    reply = client.post('/v1/sessions/s/frames', content=b'frame', headers={'X-Request-Id': 'my-4'})
  assert reply.status_code == 500
  trace_id = line_with(request_id='my-4')['trace_id']
  root = None
  for _ in range(600):  # A span ends after its answer has been sent.
    server.services.tracing._provider.force_flush()
    spans = exporter.get_finished_spans()
    root = next((s for s in spans if f'{s.context.trace_id:032x}' == trace_id), None)
    if root is not None:
      break
    time.sleep(0.05)
  assert root.attributes['http.response.status_code'] == 500
  assert (root.status.status_code, root.status.description) == (
    trace.StatusCode.ERROR,
    "KeyError: 'bug'",
  )
  (event,) = root.events
  assert (event.name, event.attributes['exception.type']) == ('exception', 'KeyError')


def test_a_log_file_is_moved_away_or_cannot_be_written(tmp_path):
  path = tmp_path / 'log'
  log = access_log.AccessLog(str(path))
  log.write(status=1, path='')
  path.rename(tmp_path / 'old')
  log.write(status=2)
  log.close()
  first, second = (json.loads((tmp_path / name).read_text()) for name in ('old', 'log'))
  assert first.keys() == {'time', 'status'} and (first['status'], second['status']) == (1, 2)
  with pytest.raises(ValueError, match='the access log cannot be written there'):
    access_log.AccessLog(str(tmp_path / 'none' / 'log'))


def test_nothing_is_traced_outside_of_a_request():
  with tracing.span('decode') as span, tracing.Tracing(False).request('GET /', {}) as request:
    assert span is None and request.trace_id == ''
  tracing.begin('wait')()
  tracing.failed(ValueError())

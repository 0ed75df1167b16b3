"""Health over gRPC, reflection, packed bodies, HEAD, the list of models, numbers in JSON."""

import gzip
import itertools
import json
import pathlib
import platform
import threading
import tracemalloc
import types
import zlib

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha import reflection_pb2_grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from feelvos_tf.serving import bodies
from feelvos_tf.serving import errors
from feelvos_tf.serving import grpc_health
from feelvos_tf.serving import memory
from feelvos_tf.serving import metrics
from feelvos_tf.serving import tensor_json
from feelvos_tf.serving.options import ServingOptions

from .conftest import running
from .test_bad_input import error_of
from .test_going_away import wait_until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def test_health_and_reflection_over_grpc(server):
  options = ServingOptions(token='sesame', max_pixels=64 * 64)
  with running(options, server.services.models) as other:
    channel = grpc.insecure_channel(other.grpc_address)
    stub = health_pb2_grpc.HealthStub(channel)
    check = lambda name: stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=60).status
    for name in ('', 'small', 'tensorflow.serving.PredictionService'):
      assert check(name) == SERVING
    with pytest.raises(grpc.RpcError) as unknown:
      check('nobody')
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
    other.services.stopping = True
    assert check('') == check('small') == NOT_SERVING

    reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    request = reflection_pb2.ServerReflectionRequest(list_services='')
    metadata = [('authorization', 'Bearer sesame')]
    (reply,) = reflect(iter([request]), metadata=metadata, timeout=60)
    names = {service.name for service in reply.list_services_response.service}
    assert {'tensorflow.serving.PredictionService', 'grpc.health.v1.Health'} <= names
    channel.close()


@pytest.fixture
def few_places(server, monkeypatch):
  """(server with places for two watchers and one stream of reflection, channel to it)."""
  monkeypatch.setattr(grpc_health, 'MOST_WATCHERS', 2)
  monkeypatch.setattr(grpc_health, 'MOST_REFLECTIONS', 1)
  options = ServingOptions(max_pixels=64 * 64)
  with (
    running(options, server.services.models) as other,
    grpc.insecure_channel(other.grpc_address) as channel,
  ):
    yield other, channel


def test_calls_that_last_are_bounded(few_places):
  server, channel = few_places
  health = health_pb2_grpc.HealthStub(channel)
  reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
  watch = lambda name: health.Watch(health_pb2.HealthCheckRequest(service=name))
  watches = [watch('half'), watch('')]
  assert [next(call).status for call in watches] == [SERVING] * 2
  more = threading.Event()
  request = reflection_pb2.ServerReflectionRequest(list_services='')
  lasting = reflect(itertools.chain([request], iter(lambda: more.wait(60), True)))
  assert next(lasting).list_services_response.service
  for refused in (watch('half'), reflect(iter([request]))):
    with pytest.raises(grpc.RpcError) as error:
      next(refused)
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
  lasting.cancel()
  more.set()
  server.services.stopping = True
  assert [next(call).status for call in watches] == [NOT_SERVING] * 2
  assert [list(call) for call in watches] == [[], []]  # They end.


def test_health_is_answered_while_calls_wait(few_places):
  server, channel = few_places
  workers, held = server.services.workers, threading.Event()
  holding = [threading.Thread(target=workers.run_blocking, args=(held.wait, 60)) for _ in range(2)]
  for thread in holding:
    thread.start()
  request = predict_pb2.PredictRequest()
  request.model_spec.name = 'half'
  request.inputs['x'].CopyFrom(tf.make_tensor_proto([1.0]))
  predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
  waiting = [predict.future(request, timeout=60) for _ in range(20)]
  wait_until(lambda: workers.pending >= 16)
  check = health_pb2_grpc.HealthStub(channel).Check
  assert check(health_pb2.HealthCheckRequest(), timeout=30).status == SERVING
  held.set()
  assert [call.result().outputs['y'].float_val[:] for call in waiting] == [[2.5]] * 20
  for thread in holding:
    thread.join(60)


def test_packed_bodies(client):
  body = gzip.compress(json.dumps({'instances': [1.0]}).encode())
  post = lambda content, packing='gzip': client.post(
    '/v1/models/half:predict', content=content, headers={'Content-Encoding': packing}
  )
  assert post(body).json() == {'predictions': [2.5]}
  members = gzip.compress(b'{"instances":') + gzip.compress(b' [1.0]}')
  assert post(members).json() == {'predictions': [2.5]}
  assert 'no gzip data' in error_of(post(b'{}'), 400)
  assert 'no gzip data' in error_of(post(body + b'junk'), 400)
  assert 'cut off' in error_of(post(body[:-9]), 400)
  assert 'expected gzip' in error_of(post(body, 'br'), 415)
  bomb = gzip.compress(bytes(2**21))
  assert 'unpacks to more than 1048576 bytes' in error_of(post(bomb), 413)
  bombs = gzip.compress(bytes(2**19)) * 3
  assert 'unpacks to more than 1048576 bytes' in error_of(post(bombs), 413)


def test_many_empty_members_are_read_once(monkeypatch):
  """Each copied all behind it: 32 MB of them kept the server from answering for half an hour."""
  read = 0

  class Counting:
    def __init__(self, wbits):
      self._unpacker = zlib.decompressobj(wbits)

    def __getattr__(self, name):
      return getattr(self._unpacker, name)

    def decompress(self, data, most):
      nonlocal read
      read += len(data)
      return self._unpacker.decompress(data, most)

  monkeypatch.setattr(
    bodies, 'zlib', types.SimpleNamespace(decompressobj=Counting, error=zlib.error)
  )
  body = gzip.compress(b'') * 2000 + gzip.compress(b'{}')
  assert bodies._unpack(body, 2) == b'{}'
  assert read < 200 * len(body)


def test_head_and_the_list_of_models(client):
  for path in ('/healthz', '/readyz', '/v1/limits', '/'):
    reply = client.head(path)
    assert reply.status_code == 200 and not reply.content, path
  expected = {'models': [{'name': 'half', 'versions': [3]}, {'name': 'small', 'versions': [1]}]}
  assert client.get('/v1/models').json() == client.get('/v1/models/').json() == expected
  error_of(client.get('/v1/sessions/'), 404)


def test_a_model_that_is_served_no_longer_has_no_version_in_the_metrics():
  """A reload of the configuration can take models away."""
  found = metrics.Metrics()
  found.set_versions({'a': 1, 'b': 2})
  found.set_versions({'b': 3})
  text = found.page()[0].decode()
  assert 'feelvos_model_version{model="b"} 3.0' in text and 'model="a"' not in text


def test_numbers_in_json():
  value = np.array([0.1, 1 / 3, 1e-30, -2.0, 3e38], np.float32)
  text = tensor_json.answer({'y': value}, rows=False)
  assert text == '{"outputs": [0.1, 0.33333334, 1e-30, -2.0, 3e+38]}'
  np.testing.assert_array_equal(np.float32(json.loads(text)['outputs']), value)
  doubles = np.array([0.1, 1 / 3])
  assert json.loads(tensor_json.answer({'y': doubles}, rows=False))['outputs'] == doubles.tolist()
  with pytest.raises(errors.RequestError, match='no complex numbers') as refused:
    tensor_json.answer({'y': np.array([1j])}, rows=False)
  assert refused.value.status == 501


@pytest.mark.parametrize('dtype, least, most', [(tf.int8, -128, 127), (tf.uint64, 0, 2**64 - 1)])
def test_numbers_that_are_too_large_are_refused_with_every_numpy(dtype, least, most):
  """NumPy 1.26 made 0 of 256 as uint8."""
  found = tensor_json.array_of_numbers([least, most], dtype)
  assert found.tolist() == [least, most] and found.dtype == dtype.as_numpy_dtype
  assert tensor_json.array_of_numbers([], dtype).shape == (0,)
  for number in (least - 1, most + 1):
    with pytest.raises(OverflowError, match=f'{dtype.name} does not hold'):
      tensor_json.array_of_numbers([0, number], dtype)


def test_many_numbers_take_little_memory(monkeypatch):
  monkeypatch.setattr(tensor_json, '_NUMBERS_AT_ONCE', 1000)
  numbers = np.arange(2**16) / 2
  expected = numbers.reshape(2, -1).tolist()
  tracemalloc.start()
  assert tensor_json.numbers(numbers.astype(np.float32).reshape(2, -1), 'y') == expected
  assert tracemalloc.get_traced_memory()[1] < 6 * 2**20  # Text of all takes 8 MB.
  tracemalloc.stop()


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='other C libraries have no such call')
def test_free_memory_goes_back_to_the_system():
  """Small blocks that lie between used ones stay with the allocator otherwise."""
  resident = lambda: int(pathlib.Path('/proc/self/statm').read_text().split()[1]) * 4096
  blocks = [np.ones(8000, np.uint8) for _ in range(8000)]
  del blocks[: len(blocks) - 1]
  before = resident()
  assert memory.hand_back()
  assert before - resident() > 30 * 2**20

"""Health over gRPC, reflection, packed bodies, HEAD, the list of models, numbers in JSON."""

import gzip
import json

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha import reflection_pb2_grpc
import numpy as np
import pytest

from feelvos_tf.serving import errors
from feelvos_tf.serving import tensor_json
from feelvos_tf.serving.options import ServingOptions

from .conftest import running
from .test_bad_input import error_of

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


def test_packed_bodies(client):
  body = gzip.compress(json.dumps({'instances': [1.0]}).encode())
  post = lambda content, packing='gzip': client.post(
    '/v1/models/half:predict', content=content, headers={'Content-Encoding': packing}
  )
  assert post(body).json() == {'predictions': [2.5]}
  assert 'no gzip data' in error_of(post(b'{}'), 400)
  assert 'cut off' in error_of(post(body[:-9]), 400)
  assert 'expected gzip' in error_of(post(body, 'br'), 415)
  bomb = gzip.compress(bytes(2**21))
  assert 'unpacks to more than 1048576 bytes' in error_of(post(bomb), 413)


def test_head_and_the_list_of_models(client):
  for path in ('/healthz', '/readyz', '/v1/limits', '/'):
    reply = client.head(path)
    assert reply.status_code == 200 and not reply.content, path
  expected = {'models': [{'name': 'half', 'versions': [3]}, {'name': 'small', 'versions': [1]}]}
  assert client.get('/v1/models').json() == client.get('/v1/models/').json() == expected
  error_of(client.get('/v1/sessions/'), 404)


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

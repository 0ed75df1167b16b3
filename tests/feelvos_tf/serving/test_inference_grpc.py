"""The Open Inference Protocol over gRPC: by hand, and by Triton's client if it is installed."""

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc
import httpx
import numpy as np
import pytest

from feelvos_tf.serving import inference_grpc
from feelvos_tf.serving.options import ServingOptions

from .conftest import ids_of
from .conftest import of_triton
from .conftest import running

MESSAGES = inference_grpc.MESSAGES


@pytest.fixture(scope='module')
def channel(server):
  with grpc.insecure_channel(server.grpc_address) as channel:
    yield channel


def call(channel, method, metadata=(), **fields):
  function = channel.unary_unary(
    f'/{inference_grpc.SERVICE}/{method}',
    MESSAGES[f'{method}Request'].SerializeToString,
    MESSAGES[f'{method}Response'].FromString,
  )
  return function(MESSAGES[f'{method}Request'](**fields), timeout=60, metadata=metadata)


def tensor(**change):
  return {'name': 'x', 'datatype': 'FP32', 'shape': [2], **change}


def test_numbers_and_metadata(channel):
  assert call(channel, 'ServerLive').live and call(channel, 'ServerReady').ready
  assert call(channel, 'ServerMetadata').name == 'feelvos'
  ready = lambda name, version='': call(channel, 'ModelReady', name=name, version=version).ready
  assert [ready('half'), ready('half', '3'), ready('half', '4'), ready('no')] == [1, 1, 0, 0]
  metadata = call(channel, 'ModelMetadata', name='half')
  assert (metadata.versions, metadata.platform) == (['3'], 'tensorflow_savedmodel')
  (given,) = metadata.inputs
  assert (given.name, given.datatype, given.shape) == ('x', 'FP32', [-1])
  answer = call(
    channel,
    'ModelInfer',
    model_name='half',
    model_version='3',
    id='a',
    inputs=[tensor(contents={'fp32_contents': [1.0, 2.0]})],
  )
  assert (answer.model_name, answer.model_version, answer.id) == ('half', '3', 'a')
  (output,) = answer.outputs
  assert (output.name, output.datatype, output.shape) == ('y', 'FP32', [2])
  assert output.contents.fp32_contents == [2.5, 3.0] and not answer.raw_output_contents
  raw = np.float32([1, 2]).tobytes()
  answer = call(
    channel, 'ModelInfer', model_name='half', inputs=[tensor()], raw_input_contents=[raw]
  )
  assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [2.5, 3.0]


@pytest.mark.parametrize(
  'message, change, raw',
  [
    ('datatype has to be one of BOOL', {'datatype': 'FP8'}, []),
    ('data do not fit shape and datatype', {'contents': {'fp32_contents': [1.0]}}, []),
    ('uint8 does not hold one', {'datatype': 'UINT8', 'contents': {'uint_contents': [1, 256]}}, []),
    ('data do not fit shape and datatype', {}, [b'123']),
    ('element is longer than', {'datatype': 'BYTES', 'shape': [1]}, [b'\x05\0\0\0a']),
    ('data do not fit shape', {'datatype': 'BYTES', 'shape': [1]}, [b'\x05\0']),
    ('1 elements', {'datatype': 'BYTES', 'shape': [10**5]}, [b'\1\0\0\0a']),
    ('FP16 has to be in raw_input_contents', {'datatype': 'FP16'}, []),
    ('2 given, expected one for each of 1 inputs', {}, [b'', b'']),
    ('at most 1048576 bytes are taken', {'shape': [10**9]}, []),
    ('Missing but required: {x}', {'name': 'z', 'contents': {'fp32_contents': [1, 2]}}, []),
  ],
)
def test_wrong_requests(channel, message, change, raw):
  with pytest.raises(grpc.RpcError) as caught:
    call(
      channel, 'ModelInfer', model_name='half', inputs=[tensor(**change)], raw_input_contents=raw
    )
  assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
  assert message in caught.value.details()


def test_versions_that_are_none(channel):
  for version, code in (('x', grpc.StatusCode.INVALID_ARGUMENT), ('4', grpc.StatusCode.NOT_FOUND)):
    with pytest.raises(grpc.RpcError) as caught:
      call(channel, 'ModelMetadata', name='half', version=version)
    assert caught.value.code() == code


def test_a_track_by_tritons_client(server, video):
  triton = pytest.importorskip('tritonclient.grpc')
  frames, mask = video
  given, inputs = of_triton(triton, frames[:3], mask)
  client = triton.InferenceServerClient(server.grpc_address)
  assert client.is_server_live() and client.is_server_ready() and client.is_model_ready('small')
  assert client.get_model_metadata('half').inputs[0].name == 'x'
  result = client.infer('small', inputs, parameters={'signature_name': 'track'}, request_id='7')
  assert result.get_response().id == '7'
  np.testing.assert_array_equal(result.as_numpy('object_ids'), [0, 3, 200])
  assert result.as_numpy('confidence').shape == (3, 3)
  found = result.as_numpy('masks_bytes')
  np.testing.assert_array_equal(ids_of(found[0]), mask)
  session_id = httpx.post(
    f'{server.url}/v1/sessions',
    data={'model': 'small'},
    files={'frame': given['image_bytes'][0], 'mask': given['mask_bytes'][0]},
  ).json()['session_id']
  url = f'{server.url}/v1/sessions/{session_id}'
  for index in (1, 2):
    reply = httpx.post(f'{url}/frames', content=given['image_bytes'][index], timeout=60)
    np.testing.assert_array_equal(ids_of(found[index]), ids_of(reply.content))
  httpx.delete(url)
  with pytest.raises(Exception, match='Servable not found'):
    client.infer('nobody', inputs)
  client.close()


def test_probes_need_no_token(model_root):
  options = ServingOptions(str(model_root / 'half'), token='sesame', enable_model_warmup=False)
  with running(options) as server, grpc.insecure_channel(server.grpc_address) as channel:
    assert call(channel, 'ServerReady').ready
    request = health_pb2.HealthCheckRequest(service=inference_grpc.SERVICE)
    assert health_pb2_grpc.HealthStub(channel).Check(request).status == 1
    with pytest.raises(grpc.RpcError) as caught:
      call(channel, 'ModelMetadata', name='half')
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    token = (('authorization', 'Bearer sesame'),)
    assert call(channel, 'ModelMetadata', token, name='half').name == 'half'

"""What TensorFlow Serving's clients expect: REST, gRPC, an independent client, other models."""

import base64
import json
import subprocess
import sys
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from feelvos_tf.datasets import masks
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.saved_model import state_bytes
from feelvos_tf.serving import inference_protocol
from feelvos_tf.serving import predict
from feelvos_tf.serving.inference_rest import JSON_LENGTH
from feelvos_tf.serving.options import ServingOptions

from .conftest import ids_of
from .conftest import png
from .conftest import running
from .test_bad_input import BOMB
from .test_bad_input import error_of


def b64(data):
  return {'b64': base64.b64encode(data).decode()}


@pytest.fixture
def expected(small_graph, video):
  segmenter = VideoSegmenter(small_graph)
  first = segmenter.start(video[0][0], video[1]).mask
  return [first] + [segmenter.step(frame).mask for frame in video[0][1:]]


def assert_masks(found, expected):
  for data, mask in zip(found, expected, strict=True):
    assert np.mean(ids_of(data) == mask) >= 0.9999


@pytest.mark.parametrize('path', ['small', 'small/versions/1'])
def test_track_over_rest(client, video, expected, path):
  reply = client.post(
    f'/v1/models/{path}:predict',
    json={
      'signature_name': 'track',
      'inputs': {
        'image_bytes': [b64(png(frame)) for frame in video[0]],
        'mask_bytes': b64(masks.encode_mask(video[1])),
      },
    },
  )
  assert reply.status_code == 200 and reply.headers['content-type'] == 'application/json'
  outputs = reply.json()['outputs']
  assert_masks([base64.b64decode(item['b64']) for item in outputs['masks_bytes']], expected)
  assert outputs['object_ids'] == [0, 3, 200]
  assert np.shape(outputs['confidence']) == (6, 3)


def test_instances_reach_every_signature(client, video, expected):
  """A signature without a batch dimension runs once for every instance."""
  frames = [b64(png(frame)) for frame in video[0]]
  mask = b64(masks.encode_mask(video[1]))
  instances = [{'image_bytes': frames[:n], 'mask_bytes': mask} for n in (6, 2)]
  reply = client.post('/v1/models/small:predict', json={'instances': instances})
  assert reply.status_code == 200, reply.text
  for answer, count in zip(reply.json()['predictions'], (6, 2)):
    found = [base64.b64decode(item['b64']) for item in answer['masks_bytes']]
    assert_masks(found, expected[:count])
    assert answer['object_ids'] == [0, 3, 200]
  body = {'signature_name': 'embed', 'instances': [frames[0], frames[1]]}
  embeddings = client.post('/v1/models/small:predict', json=body).json()['predictions']
  assert np.shape(embeddings) == (2, 9, 13, 16)


def test_a_batch_of_videos(client, video, expected):
  frames, mask = video
  files = [png(frame) for frame in frames]
  one = np.where(mask == 3, 7, 0).astype(np.uint8)
  rows = [files, [*files[:2], *[b''] * 4]]
  given = [masks.encode_mask(mask), masks.encode_mask(one)]
  instances = [
    {'image_bytes': [b64(data) for data in row], 'mask_bytes': b64(data)}
    for row, data in zip(rows, given)
  ]
  body = {'signature_name': 'track_batch', 'instances': instances}
  reply = client.post('/v1/models/small:predict', json=body)
  assert reply.status_code == 200, reply.text
  long, short = reply.json()['predictions']
  assert_masks([base64.b64decode(item['b64']) for item in long['masks_bytes']], expected)
  assert long['object_ids'] == [0, 3, 200] and short['object_ids'] == [0, 7, -1]
  found = [base64.b64decode(item['b64']) for item in short['masks_bytes']]
  assert found[2:] == [b''] * 4 and set(np.unique(ids_of(found[1]))) <= {0, 7}
  assert np.shape(short['confidence']) == (6, 3) and not np.any(short['confidence'][2:])
  uneven = {'image_bytes': [[b64(files[0])]], 'mask_bytes': [b64(given[0])] * 2}
  reply = client.post(
    '/v1/models/small:predict', json={'signature_name': 'track_batch', 'inputs': uneven}
  )
  assert 'have to be of as many videos' in error_of(reply, 400)


def test_one_value_where_a_scalar_is_meant(client, video, expected):
  inputs = {
    'image_bytes': [b64(png(frame)) for frame in video[0]],
    'mask_bytes': [b64(masks.encode_mask(video[1]))],
  }
  outputs = client.post('/v1/models/small:predict', json={'inputs': inputs}).json()['outputs']
  assert_masks([base64.b64decode(item['b64']) for item in outputs['masks_bytes']], expected)


def test_rows_and_columns_of_another_model(client):
  url = '/v1/models/half:predict'
  for body, answer in (
    ({'instances': [1.0, 2, 5.0]}, {'predictions': [2.5, 3.0, 4.5]}),
    ({'instances': [{'x': 1.0}, {'x': 2.0}]}, {'predictions': [2.5, 3.0]}),
    ({'inputs': [1.0]}, {'outputs': [2.5]}),
    ({'inputs': {'x': [1.0]}}, {'outputs': [2.5]}),
    (
      {'signature_name': 'two', 'instances': [{'a': [1, 2], 'b': [3, 4]}]},
      {'predictions': [{'sum': [4, 6], 'text_bytes': [b64(b'1'), b64(b'2')]}]},
    ),
    (
      {'signature_name': 'two', 'inputs': {'a': [[1, 2]], 'b': [[3, 4]]}},
      {'outputs': {'sum': [[4, 6]], 'text_bytes': [[b64(b'1'), b64(b'2')]]}},
    ),
  ):
    reply = client.post(url, json=body)
    assert (reply.status_code, reply.json()) == (200, answer), body


TRACK = {'image_bytes': [b64(BOMB)], 'mask_bytes': b64(masks.encode_mask(np.ones((9, 9), int)))}


def test_shapes_of_other_models_are_left_to_their_graphs(client, stub):
  """As in TensorFlow Serving: signatures are often narrower than what graphs take."""
  reply = client.post('/v1/models/half:predict', json={'instances': [[1.0], [4.0]]})
  assert reply.json() == {'predictions': [[2.5], [4.0]]}
  assert stub.Predict(request_of('half', x=6.0)).outputs['y'].float_val == [5.0]


@pytest.mark.parametrize(
  'path, body, status, message',
  [
    ('half', b'', 400, 'JSON Parse error: The document is empty'),
    ('half', b'{', 400, 'JSON Parse error: '),
    ('half', b'[' * 100000, 400, 'JSON Parse error: '),
    ('half', b'[1]', 400, 'Is not object'),
    ('half', b'{"instances": [%s]}' % (b'9' * 5000), 400, 'a number of too many digits'),
    ('half', b'{"instances": ["\xff"]}', 400, 'the text is not UTF-8'),
    ('half', b'{"signature_name": "nothing", "inputs": 1}', 400, 'a signature without inputs'),
    ('half', b'{"signature_name": "nothing", "instances": [1]}', 400, 'a signature without inputs'),
    ('half', {}, 400, "Missing 'inputs' or 'instances' key"),
    ('half', {'inputs': 1, 'instances': 1}, 400, "only one of 'inputs' or 'instances'"),
    ('half', {'instances': 1}, 400, "Excepting 'instances' to be an list/array"),
    ('half', {'instances': []}, 400, "No values in 'instances' array"),
    (
      'small',
      {'signature_name': 'embed', 'inputs': [[b64(b'')]]},
      400,
      'a tensor of shape [1, 1] given',
    ),
    ('half', {'instances': [1.0, [2.0]]}, 400, 'Encountered list at unexpected level'),
    ('half', {'instances': [{'x': 1.0}, 2.0]}, 400, 'Expecting object but got list at item 1'),
    ('half', {'instances': [{'y': 1.0}]}, 400, 'keys must be equal to: x'),
    ('half', {'instances': ['a']}, 400, 'is not of expected type: float32'),
    ('half', {'instances': [None]}, 400, 'is not of expected type: float32'),
    ('half', {'inputs': {'y': [1.0]}}, 400, 'Missing named input: x'),
    ('half', {'inputs': [[1.0], [1.0, 2.0]]}, 400, 'Encountered list at unexpected size: 2'),
    ('half', {'signature_name': 3}, 400, "'signature_name' key must be a string value"),
    (
      'half',
      {'signature_name': 'x', 'inputs': 1},
      400,
      'Serving signature name: "x" not found in signature def',
    ),
    ('half', {'signature_name': 'two', 'inputs': [1]}, 400, 'inputs is a plain value/list'),
    (
      'half',
      {'signature_name': 'two', 'inputs': {'a': [[1.5, 2]], 'b': [[1, 2]]}},
      400,
      'is not of expected type: int32',
    ),
    (
      'half',
      {'signature_name': 'two', 'inputs': {'a': [[2**40, 2]], 'b': [[1, 2]]}},
      400,
      'is not of expected type: int32',
    ),
    ('nobody', {}, 404, 'Servable not found for request: Latest(nobody)'),
    ('half/versions/7', {}, 404, 'Servable not found for request: Specific(half, 7)'),
    ('half/versions/99999999999999999999', {}, 400, 'Failed to convert version'),
    ('half/versions/' + '9' * 5000, {}, 400, 'Failed to convert version: 9999'),
    ('half/versions/\u0663', {}, 400, 'Malformed request'),
    ('half/labels/stable', {}, 400, 'Unrecognized servable version label: stable'),
    ('small', {'inputs': TRACK}, 400, 'image_bytes: '),
    (
      'small',
      {'inputs': {**TRACK, 'image_bytes': ['hello']}},
      400,
      'not a JPEG or PNG image given',
    ),
    ('small', {'inputs': {**TRACK, 'image_bytes': []}}, 400, 'image_bytes is empty'),
    ('small', {'inputs': {**TRACK, 'image_bytes': [{'b64': '!'}]}}, 400, 'Unable to base64 decode'),
    ('small', {'inputs': {**TRACK, 'image_bytes': [{'b65': ''}]}}, 400, 'not formatted correctly'),
  ],
)
def test_wrong_requests_over_rest(client, path, body, status, message):
  content = body if isinstance(body, bytes) else json.dumps(body).encode()
  reply = client.post(f'/v1/models/{path}:predict', content=content)
  assert message in error_of(reply, status)


def test_malformed_paths(client):
  for method, path in (
    ('POST', '/v1/models/half'),
    ('POST', '/v1/models/half:predict/x'),
    ('GET', '/v1/models/half:predict'),
    ('GET', '/v1/models/half/versions/x'),
  ):
    assert error_of(client.request(method, path), 400) == f'Malformed request: {method} {path}'
  assert 'use predict' in error_of(client.post('/v1/models/half:classify'), 501)


def test_status_and_metadata_over_rest(client):
  status = {
    'model_version_status': [
      {'version': '1', 'state': 'AVAILABLE', 'status': {'error_code': 'OK', 'error_message': ''}}
    ]
  }
  for path in ('/v1/models/small', '/v1/models/small/versions/1'):
    assert client.get(path).json() == status
  reply = client.get('/v1/models/small/versions/9')
  assert error_of(reply, 404) == 'Could not find version 9 of model small'
  reply = client.get('/v1/models/nobody')
  assert error_of(reply, 404) == 'Could not find any versions of model nobody'
  metadata = client.get('/v1/models/half/metadata').json()
  assert metadata['model_spec'] == {'name': 'half', 'version': '3', 'signature_name': ''}
  definition = metadata['metadata']['signature_def']['signature_def']['serving_default']
  assert definition['method_name'] == 'tensorflow/serving/predict'
  assert definition['inputs']['x']['dtype'] == 'DT_FLOAT'
  assert definition['inputs']['x']['tensor_shape'] == {
    'dim': [{'size': '-1', 'name': ''}],
    'unknown_rank': False,
  }


@pytest.fixture(scope='module')
def channel(server):
  with grpc.insecure_channel(server.grpc_address) as channel:
    yield channel


@pytest.fixture
def stub(channel):
  return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request_of(name, signature='', **inputs):
  request = predict_pb2.PredictRequest()
  request.model_spec.name, request.model_spec.signature_name = name, signature
  for key, value in inputs.items():
    request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
  return request


def track_request(video):
  return request_of(
    'small', image_bytes=[png(frame) for frame in video[0]], mask_bytes=masks.encode_mask(video[1])
  )


def test_one_string_is_the_same_over_every_way(client, stub, video):
  """Over REST the state of `track_resume` was an error (500), over KServe v2 not what was meant."""
  given = {
    'image_bytes': [png(frame) for frame in video[0][:2]],
    'mask_bytes': masks.encode_mask(video[1]),
    'state_bytes': b'',
  }
  outputs = stub.Predict(request_of('small', 'track_resume', **given), timeout=60).outputs
  (state,) = outputs['state_bytes'].string_val
  assert state_bytes.size_and_objects(state) == (video[1].shape, 2)
  encoded = {name: [*map(b64, value)] for name, value in given.items() if name == 'image_bytes'}
  encoded.update({name: b64(value) for name, value in given.items() if name != 'image_bytes'})
  body = {'signature_name': 'track_resume', 'inputs': encoded}
  outputs = client.post('/v1/models/small:predict', json=body).json()['outputs']
  assert base64.b64decode(outputs['state_bytes']['b64']) == state
  tensors = [
    {'name': name, 'datatype': 'BYTES', 'shape': [2] if name == 'image_bytes' else []}
    for name in given
  ]
  for tensor, values in zip(tensors, given.values()):
    items = values if isinstance(values, list) else [values]
    tensor['data'] = [base64.b64encode(item).decode() for item in items]
  for is_raw in (False, True):
    wanted = [{'name': 'state_bytes', 'parameters': {'binary_data': is_raw}}]
    body = {'inputs': tensors, 'outputs': wanted, 'parameters': {'signature_name': 'track_resume'}}
    reply = client.post('/v2/models/small/infer', json=body)
    document = json.loads(reply.content[: int(reply.headers.get(JSON_LENGTH, len(reply.content)))])
    (output,) = document['outputs']
    assert (output['datatype'], output['shape']) == ('BYTES', [])
    if is_raw:
      assert reply.content.endswith(len(state).to_bytes(4, 'little') + state)
    else:
      assert base64.b64decode(output['data'][0]) == state


def test_one_string_keeps_its_zeros():
  for text in (b'', b'a\0', b'\xff\0\0'):
    array = predict.as_array(tf.constant(text))
    assert (array.dtype, array.shape, array.item()) == (np.dtype(object), (), text)
    assert inference_protocol.to_raw(array) == len(text).to_bytes(4, 'little') + text
    (copied,) = tf.make_tensor_proto(array).string_val
    assert copied == text
  numbers = predict.as_array(tf.constant([[1, 2]], tf.int32))
  assert numbers.dtype == np.int32 and numbers.tolist() == [[1, 2]]


def test_track_over_grpc(stub, video, expected):
  response = stub.Predict(track_request(video), timeout=60)
  assert (
    response.model_spec.name,
    response.model_spec.version.value,
    response.model_spec.signature_name,
  ) == ('small', 1, 'serving_default')
  assert_masks(tf.make_ndarray(response.outputs['masks_bytes']), expected)
  np.testing.assert_array_equal(tf.make_ndarray(response.outputs['object_ids']), [0, 3, 200])
  request = track_request(video)
  request.output_filter.append('confidence')
  response = stub.Predict(request, timeout=60)
  assert list(response.outputs) == ['confidence']


def huge():
  request = request_of('half', x=[1.0])
  request.inputs['x'].tensor_shape.dim[0].size = 10**12
  return request


def repeated():
  """100,000 frames in a message of a few bytes: the last of too few strings is repeated."""
  request = request_of('small', image_bytes=[png(np.zeros((9, 9, 3), np.uint8))], mask_bytes=b'')
  request.inputs['image_bytes'].tensor_shape.dim[0].size = 100000
  return request


def odd(proto_change):
  request = request_of('half', x=[1.0])
  proto_change(request.inputs['x'])
  return request


@pytest.mark.parametrize(
  'make, code, message',
  [
    (lambda: request_of('nobody'), 'NOT_FOUND', 'Servable not found for request: Latest(nobody)'),
    (lambda: request_of('half', 'x'), 'FAILED_PRECONDITION', 'Serving signature key "x" not found'),
    (lambda: request_of('half'), 'INVALID_ARGUMENT', 'Missing but required: {x}'),
    (lambda: request_of('half', x=[1.0], z=1), 'INVALID_ARGUMENT', 'Sent extra: {z}'),
    (lambda: request_of('half', x=[1]), 'INVALID_ARGUMENT', 'expects to be float32 but int32'),
    (huge, 'INVALID_ARGUMENT', 'a tensor of shape [1000000000000] given'),
    (
      lambda: odd(lambda proto: proto.tensor_shape.dim.add(size=-1)),
      'INVALID_ARGUMENT',
      'a tensor of shape [1, -1] given',
    ),
    (lambda: odd(lambda proto: setattr(proto, 'dtype', 77)), 'INVALID_ARGUMENT', 'input x'),
    (
      lambda: odd(lambda proto: setattr(proto, 'dtype', tf.variant.as_datatype_enum)),
      'INVALID_ARGUMENT',
      'variant has no values',
    ),
    (repeated, 'INVALID_ARGUMENT', 'a tensor of shape [100000] given'),
    (lambda: odd(lambda proto: setattr(proto, 'tensor_content', b'abc')), 'INVALID_ARGUMENT', 'x'),
    (lambda: predict_pb2.PredictRequest(), 'INVALID_ARGUMENT', 'Missing ModelSpec'),
    (
      lambda: request_of('small', image_bytes=[BOMB], mask_bytes=b''),
      'INVALID_ARGUMENT',
      'image_bytes: ',
    ),
    (
      lambda: request_of(
        'small',
        'initialize',
        image=np.zeros((99, 99, 3), np.uint8),
        labels=np.zeros((99, 99), np.int32),
        num_objects=np.int32(2),
      ),
      'INVALID_ARGUMENT',
      'image: 99x99 pixels given, at most 4096',
    ),
    (
      lambda: request_of(
        'small',
        'initialize',
        image=np.zeros((9, 9, 3), np.uint8),
        labels=np.zeros((9, 9), np.int32),
        num_objects=np.int32(2**30),
      ),
      'INVALID_ARGUMENT',
      'num_objects: 1073741824 given, expected 1 to 7',
    ),
    (lambda: request_of('half', x=np.zeros(2**19, np.float32)), 'RESOURCE_EXHAUSTED', 'larger'),
  ],
)
def test_wrong_requests_over_grpc(stub, make, code, message):
  with pytest.raises(grpc.RpcError) as error:
    stub.Predict(make(), timeout=60)
  assert error.value.code().name == code
  assert message in error.value.details() and '\n' not in error.value.details()


def test_metadata_status_and_what_is_not_there_over_grpc(channel, stub):
  request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=['signature_def'])
  request.model_spec.name = 'small'
  response = stub.GetModelMetadata(request, timeout=60)
  signatures = get_model_metadata_pb2.SignatureDefMap()
  response.metadata['signature_def'].Unpack(signatures)
  assert {'track', 'track_resume', 'step', 'correct'} <= set(signatures.signature_def)
  request.metadata_field[:] = ['other']
  with pytest.raises(grpc.RpcError, match='Metadata field other is not supported'):
    stub.GetModelMetadata(request, timeout=60)
  models = model_service_pb2_grpc.ModelServiceStub(channel)
  request = get_model_status_pb2.GetModelStatusRequest()
  request.model_spec.name = 'half'
  (status,) = models.GetModelStatus(request, timeout=60).model_version_status
  assert (status.version, status.state) == (
    3,
    get_model_status_pb2.ModelVersionStatus.State.AVAILABLE,
  )
  with pytest.raises(grpc.RpcError) as error:
    stub.Classify(classification_pb2.ClassificationRequest(), timeout=60)
  assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_token_over_grpc(server, video):
  options = ServingOptions(token='sesame', max_pixels=64 * 64)
  with (
    running(options, server.services.models) as guarded,
    grpc.insecure_channel(guarded.grpc_address) as channel,
  ):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    for metadata, message in (
      ([], 'needs a token'),
      ([('authorization', 'Bearer x')], 'wrong token'),
    ):
      with pytest.raises(grpc.RpcError) as error:
        stub.Predict(track_request(video), metadata=metadata, timeout=60)
      assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
      assert message in error.value.details()
    response = stub.Predict(
      track_request(video), timeout=60, metadata=[('authorization', 'Bearer sesame')]
    )
    assert len(response.outputs['masks_bytes'].string_val) == 6


def test_a_stopping_server_answers_running_calls(server, video):
  answers = []
  with running(ServingOptions(max_pixels=64 * 64), server.services.models) as stopping:
    channel = grpc.insecure_channel(stopping.grpc_address)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    thread = threading.Thread(
      target=lambda: answers.append(stub.Predict(track_request(video), timeout=60))
    )
    thread.start()
    while not stopping.services.workers.pending:
      pass
  thread.join()
  assert len(answers[0].outputs['masks_bytes'].string_val) == 6
  channel.close()


# Its protos have the names of those of tensorflow-serving-api: no process can have both.
OVMSCLIENT = """
import base64
import sys
import numpy as np
import ovmsclient
grpc, http, *files = sys.argv[1:]
frames = np.array([open(name, 'rb').read() for name in files[1:]])
mask = open(files[0], 'rb').read()  # It makes this a tensor of shape [1].
for client in (ovmsclient.make_grpc_client(grpc), ovmsclient.make_http_client(http)):
  assert client.get_model_status('small')[1]['state'] == 'AVAILABLE'
# Over HTTP it reads OpenVINO's spelling of metadata, which is not TensorFlow Serving's.
inputs = ovmsclient.make_grpc_client(grpc).get_model_metadata('small')['inputs']
assert inputs['image_bytes']['dtype'] == 'DT_STRING', inputs
result = ovmsclient.make_grpc_client(grpc).predict(
    {'image_bytes': frames, 'mask_bytes': mask}, 'small', timeout=100)
assert result['object_ids'].tolist() == [0, 3, 200]
assert result['masks_bytes'].shape == (len(frames),)
assert bytes(result['masks_bytes'][0])[:4] == b'\\x89PNG'
over_rest = ovmsclient.make_http_client(http).predict(
    {'image_bytes': frames, 'mask_bytes': mask}, 'small', timeout=100)
assert over_rest['object_ids'].tolist() == [0, 3, 200]
for one, other in zip(result['masks_bytes'], over_rest['masks_bytes'], strict=True):
  # It leaves bytes over HTTP as they stand in JSON.
  other = base64.b64decode(other['b64']) if isinstance(other, dict) else bytes(other)
  assert bytes(one) == other
x = ovmsclient.make_http_client(http).predict(
    {'x': np.array([1, 2], np.float32)}, 'half', timeout=100)
assert x.tolist() == [2.5, 3.0]
print('fine')
"""


def test_an_independent_client(server, video, tmp_path):
  pytest.importorskip('ovmsclient')
  paths = [tmp_path / 'mask.png']
  paths[0].write_bytes(masks.encode_mask(video[1]))
  for index, frame in enumerate(video[0]):
    paths.append(tmp_path / f'{index}.png')
    paths[-1].write_bytes(png(frame))
  command = [
    sys.executable,
    '-c',
    OVMSCLIENT,
    server.grpc_address,
    server.url.removeprefix('http://'),
    *map(str, paths),
  ]
  done = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)
  assert done.stdout == 'fine\n', done.stderr

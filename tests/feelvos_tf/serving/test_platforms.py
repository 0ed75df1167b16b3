"""Routes of KServe v2, Vertex AI and SageMaker."""

import base64
import json

import httpx
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.serving.options import ServingOptions

from .conftest import ids_of
from .conftest import png
from .conftest import running
from .test_bad_input import error_of
from .test_tf_serving import b64


def text(data):
  return base64.b64encode(data).decode()


def test_a_track_over_the_open_inference_protocol(client, video):
  frames, mask = video
  tensor = lambda name, shape, data: {
    'name': name, 'shape': shape, 'datatype': 'BYTES', 'data': data,
  }  # fmt: skip
  body = {
    'id': 'a',
    'parameters': {'signature_name': 'track'},
    'inputs': [
      tensor('image_bytes', [3], [text(png(frame)) for frame in frames[:3]]),
      tensor('mask_bytes', [1], [text(masks.encode_mask(mask))]),
    ],
  }
  reply = client.post('/v2/models/small/versions/1/infer', json=body)
  assert reply.status_code == 200, reply.text
  answer = reply.json()
  assert (answer['model_name'], answer['model_version'], answer['id']) == ('small', '1', 'a')
  outputs = {item['name']: item for item in answer['outputs']}
  assert outputs['object_ids']['data'] == [0, 3, 200]
  assert outputs['confidence']['shape'] == [3, 3]
  first = base64.b64decode(outputs['masks_bytes']['data'][0])
  np.testing.assert_array_equal(ids_of(first), mask)
  body['outputs'] = [{'name': 'object_ids'}]
  reply = client.post('/v2/models/small/infer', json=body)
  assert [item['name'] for item in reply.json()['outputs']] == ['object_ids']


def test_numbers_and_metadata_of_the_open_inference_protocol(client):
  tensor = {'name': 'x', 'shape': [2], 'datatype': 'FP32', 'data': [1.0, 2.0]}
  answer = client.post('/v2/models/half/infer', json={'inputs': [tensor]}).json()
  (output,) = answer['outputs']
  assert output == {'name': 'y', 'shape': [2], 'datatype': 'FP32', 'data': [2.5, 3.0]}
  assert client.get('/v2/models/half').json() == {
    'name': 'half',
    'versions': ['3'],
    'platform': 'tensorflow_savedmodel',
    'inputs': [{'name': 'x', 'datatype': 'FP32', 'shape': [-1]}],
    'outputs': [{'name': 'y', 'datatype': 'FP32', 'shape': [-1]}],
  }
  for path in ('/v2', '/v2/health/live', '/v2/health/ready', '/v2/models/half/ready', '/ping'):
    assert client.get(path).status_code == 200, path
  error_of(client.get('/v2/models/nobody/ready'), 404)


@pytest.mark.parametrize(
  'message, change',
  [
    ('datatype has to be one of BOOL', {'datatype': 'FP8'}),
    ('shape has to be a list of numbers', {'shape': '2'}),
    ('data do not fit shape and datatype', {'data': [1.0]}),
    ('data do not fit shape and datatype', {'data': ['x', 'y']}),
    ('data have to be a list', {'data': 'x'}),
    ('data have to be a list', {'data': None}),
    ('datatype has to be one of BOOL', {'datatype': []}),
    ('Missing but required: {x}', {'name': 'z'}),
    ('at most 1048576 bytes are taken', {'shape': [10**9]}),
  ],
)
def test_wrong_requests_of_the_open_inference_protocol(client, message, change):
  tensor = {'name': 'x', 'shape': [2], 'datatype': 'FP32', 'data': [1.0, 2.0], **change}
  reply = client.post('/v2/models/half/infer', json={'inputs': [tensor]})
  assert message in error_of(reply, 400)


@pytest.mark.parametrize(
  'datatype, data',
  [
    ('UINT8', [0.5, 0.9]), ('UINT8', [1, 256]), ('INT32', [1, 2.5]), ('INT32', ['1', '2']),
    ('INT64', [1, True]), ('INT64', [float('nan'), 1]), ('FP32', [None, 1.0]),
    ('FP32', [True, 1.0]), ('FP64', ['1.5', '2']), ('BOOL', ['False', 'True']), ('BOOL', [0, 2]),
  ],
)  # fmt: skip
def test_data_of_another_type_are_refused(client, datatype, data):
  tensor = {'name': 'x', 'shape': [2], 'datatype': datatype, 'data': data}
  body = json.dumps({'inputs': [tensor]})
  message = error_of(client.post('/v2/models/half/infer', content=body), 400)
  assert 'input x: data do not fit shape and datatype' in message


def test_whole_numbers_may_have_a_point_and_data_may_be_nested(client):
  tensor = lambda name: {
    'name': name, 'shape': [2, 2], 'datatype': 'INT32', 'data': [[1.0, 2], [3, -4.0]],
  }  # fmt: skip
  body = {'inputs': [tensor('a'), tensor('b')], 'parameters': {'signature_name': 'two'}}
  answer = client.post('/v2/models/half/infer', json=body).json()
  outputs = {item['name']: item['data'] for item in answer['outputs']}
  assert outputs['sum'] == [2, 4, 6, -8]


@pytest.mark.parametrize('outputs', [5, [1], {'name': 'y'}])
def test_wrong_outputs_of_the_open_inference_protocol(client, outputs):
  tensor = {'name': 'x', 'shape': [1], 'datatype': 'FP32', 'data': [1.0]}
  reply = client.post('/v2/models/half/infer', json={'inputs': [tensor], 'outputs': outputs})
  assert 'outputs: expected a list of objects' in error_of(reply, 400)


def test_vertex_and_sagemaker(server, model_root, video, monkeypatch):
  monkeypatch.setenv('AIP_HEALTH_ROUTE', '/health-of-vertex')
  monkeypatch.setenv('AIP_PREDICT_ROUTE', '/predict-of-vertex')
  options = ServingOptions(str(model_root / 'small'), token='sesame', enable_model_warmup=False)
  instance = {
    'image_bytes': [b64(png(frame)) for frame in video[0][:2]],
    'mask_bytes': b64(masks.encode_mask(video[1])),
  }
  headers = {'Authorization': 'Bearer sesame'}
  with running(options) as only, httpx.Client(base_url=only.url, timeout=60) as client:
    assert client.get('/health-of-vertex').status_code == 200
    for path in ('/predict-of-vertex', '/invocations'):
      error_of(client.post(path, json={'instances': [instance]}), 401)
      reply = client.post(path, json={'instances': [instance]}, headers=headers)
      assert reply.json()['predictions'][0]['object_ids'] == [0, 3, 200]
  with httpx.Client(base_url=server.url, timeout=60) as client:
    reply = client.post('/invocations', json={'instances': [instance]})
    assert 'for servers of one model' in error_of(reply, 400)

"""Raw tensors behind the JSON of the Open Inference Protocol, by hand and by Triton's client."""

import contextlib
import json
import tracemalloc
import types

import numpy as np
import pytest

from feelvos_tf.serving import inference_rest

from .conftest import ids_of
from .conftest import of_triton
from .test_bad_input import error_of

LENGTH = 'Inference-Header-Content-Length'
X = np.array([1, 2], '<f4').tobytes()


def post(client, document, raw, length=None, path='/v2/models/half/infer'):
  text = json.dumps(document).encode()
  headers = {LENGTH: str(len(text) if length is None else length)}
  return client.post(path, content=text + raw, headers=headers)


def raw_tensor(name='x', shape=(2,), datatype='FP32', size=8, **more):
  parameters = {'binary_data_size': size}
  return {'name': name, 'shape': shape, 'datatype': datatype, 'parameters': parameters, **more}


def split(reply):
  """(JSON of an answer, the bytes behind it)."""
  assert reply.status_code == 200, reply.text
  assert reply.headers['content-type'] == 'application/octet-stream'
  length = int(reply.headers[LENGTH])
  return json.loads(reply.content[:length]), reply.content[length:]


def test_raw_inputs_and_outputs(client):
  assert client.get('/v2').json()['extensions'] == ['binary_tensor_data']
  answer = post(client, {'inputs': [raw_tensor()]}, X).json()
  assert answer['outputs'] == [{'name': 'y', 'shape': [2], 'datatype': 'FP32', 'data': [2.5, 3.0]}]
  wanted = {'name': 'y', 'parameters': {'binary_data': True}}
  for more in ({'outputs': [wanted]}, {'parameters': {'binary_data_output': True}}):
    document, raw = split(post(client, {'id': 'a', 'inputs': [raw_tensor()], **more}, X))
    assert document['id'] == 'a' and document['outputs'] == [
      {'name': 'y', 'shape': [2], 'datatype': 'FP32', 'parameters': {'binary_data_size': 8}}
    ]
    np.testing.assert_array_equal(np.frombuffer(raw, '<f4'), [2.5, 3.0])
  # What an output asks for counts more.
  wanted['parameters']['binary_data'] = False
  body = {'inputs': [raw_tensor()], 'outputs': [wanted], 'parameters': {'binary_data_output': True}}
  assert post(client, body, X).json()['outputs'][0]['data'] == [2.5, 3.0]


def test_raw_inputs_beside_numbers(client):
  """Each raw input takes its bytes from where the one before ended."""
  a = raw_tensor('a', [2], 'INT32', 8)
  b = {'name': 'b', 'shape': [2], 'datatype': 'INT32', 'data': [10, 20]}
  four, five = (np.array(values, '<i4').tobytes() for values in ([4, 5], [6, 7]))
  for inputs, raw, expected in (
    ([b, a], four, [14, 25]),
    ([a, raw_tensor('b', [2], 'INT32', 8)], four + five, [10, 12]),
  ):
    body = {'inputs': inputs, 'parameters': {'signature_name': 'two'}}
    outputs = {item['name']: item['data'] for item in post(client, body, raw).json()['outputs']}
    assert outputs['sum'] == expected


@pytest.mark.parametrize(
  'message, inputs, raw, length',
  [
    ("Inference-Header-Content-Length: '99999' given", [raw_tensor()], X, 99999),
    ("Inference-Header-Content-Length: 'x' given", [raw_tensor()], X, 'x'),
    ("Inference-Header-Content-Length: '-1' given", [raw_tensor()], X, -1),
    ('binary_data_size is 8, and 7 bytes are left', [raw_tensor()], X[:7], None),
    ('binary_data_size is -8, and 8 bytes are left', [raw_tensor(size=-8)], X, None),
    ("binary_data_size is '8', and 8 bytes are left", [raw_tensor(size='8')], X, None),
    ('1 bytes behind the JSON belong to no input', [raw_tensor()], X + b'x', None),
    ('data do not fit shape and datatype', [raw_tensor(shape=[3])], X, None),
    ('data do not fit shape and datatype', [raw_tensor(datatype='BYTES')], X, None),
    ('data do not fit shape and datatype', [raw_tensor(datatype='BYTES', size=3)], X[:3], None),
    ('at most 1048576 bytes are taken', [raw_tensor(shape=[10**9])], X, None),
  ],
)
def test_wrong_raw_tensors(client, message, inputs, raw, length):
  assert message in error_of(post(client, {'inputs': inputs}, raw, length), 400)


def test_raw_tensors_are_copied_once():
  size = 2**20
  text = json.dumps({'inputs': [raw_tensor(shape=[size // 4], size=size)]}).encode()
  body, given = text + bytes(size), []

  class Ends(Exception):
    pass

  def run(version, signature, tensors, wanted, call):
    given.append(tensors['x'])
    raise Ends

  predictor = types.SimpleNamespace(check_size=lambda *size: None, run=run)
  models = types.SimpleNamespace(leased=lambda *name: contextlib.nullcontext())
  services = types.SimpleNamespace(predictor=predictor, models=models)
  tracemalloc.start()
  try:
    with pytest.raises(Ends):
      inference_rest.infer(services, 'm', None, body, str(len(text)), None)
    assert tracemalloc.get_traced_memory()[1] < 1.5 * size
  finally:
    tracemalloc.stop()
  assert given[0].shape == (size // 4,)


def test_a_track_by_tritons_client(server, video):
  triton = pytest.importorskip('tritonclient.http')
  frames, mask = video
  _, inputs = of_triton(triton, frames[:3], mask)
  with triton.InferenceServerClient(server.url.removeprefix('http://')) as client:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready('small')
    result = client.infer('small', inputs, parameters={'signature_name': 'track'}, request_id='7')
    np.testing.assert_array_equal(result.as_numpy('object_ids'), [0, 3, 200])
    np.testing.assert_array_equal(ids_of(result.as_numpy('masks_bytes')[0]), mask)
    wanted = [triton.InferRequestedOutput('object_ids', binary_data=False)]
    result = client.infer(
      'small', inputs, outputs=wanted, parameters={'signature_name': 'track'},
      request_compression_algorithm='gzip',
    )  # fmt: skip
    np.testing.assert_array_equal(result.as_numpy('object_ids'), [0, 3, 200])

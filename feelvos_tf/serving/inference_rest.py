"""Inference requests of the Open Inference Protocol (KServe v2) over REST.

Tensors are numbers in JSON, or follow the JSON as raw bytes, as Triton's clients send them unless
told otherwise: a header has the length of the JSON, and each such tensor the number of its bytes.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md
and extension_binary_data.md of Triton Inference Server.
"""

import base64
import binascii
import json
import struct
from typing import Any, TYPE_CHECKING

import fastapi
import numpy as np
import tensorflow as tf

from feelvos_tf.serving import errors
from feelvos_tf.serving import inference_protocol
from feelvos_tf.serving import tensor_json

if TYPE_CHECKING:
  from feelvos_tf.serving import calls
  from feelvos_tf.serving.services import Services


BINARY = 'binary_tensor_data'  # The extension's name.
JSON_LENGTH = 'Inference-Header-Content-Length'
_SIZE = 'binary_data_size'


def infer(
  services: 'Services',
  name: str,
  number: int | None,
  body: bytes,
  json_length: str | None,
  call: 'calls.Call',
) -> fastapi.Response:
  """The answer to an inference request; runs in a worker.

  Args:
    services: the server's `Services`.
    name: of the model.
    number: its version; None for the newest.
    body: of the request.
    json_length: header of the request with the number of bytes of JSON at the body's start; None:
      all of them.
    call: `Call`.

  Raises:
    RequestError: the request cannot be answered.
  """
  text, raw = _split(body, json_length)
  document = tensor_json.parse(text)
  inputs = document.get('inputs')
  if not isinstance(inputs, list) or not all(isinstance(item, dict) for item in inputs):
    raise errors.invalid('inputs: expected a list of tensors with name, shape, datatype and data.')
  raw_of = _raw_inputs(inputs, raw)
  tensors = {
    str(item.get('name')): _to_array(services, item, part) for item, part in zip(inputs, raw_of)
  }
  outputs = document.get('outputs') or []
  if not isinstance(outputs, list) or not all(isinstance(item, dict) for item in outputs):
    raise errors.invalid('outputs: expected a list of objects with a name.')
  parameters = _parameters(document)
  signature = str(parameters.get(inference_protocol.SIGNATURE, ''))
  wanted = [str(item.get('name')) for item in outputs]
  with services.models.leased(name, number) as version:
    arrays = services.predictor.run(version, signature, tensors, wanted, call)
    number = version.number
  is_binary = bool(parameters.get('binary_data_output', False))
  asked = {
    str(item.get('name')): bool(_parameters(item).get('binary_data', is_binary)) for item in outputs
  }
  answer = {'model_name': name, 'model_version': str(number)}
  if 'id' in document:
    answer['id'] = document['id']
  return _answer(answer, arrays, {key: asked.get(key, is_binary) for key in arrays})


def _split(body: bytes, json_length: str | None) -> tuple[bytes, memoryview]:
  """(JSON, raw bytes behind it, which are not copied) of a body."""
  if json_length is None:
    return body, memoryview(b'')
  is_number = json_length.isascii() and json_length.isdecimal() and len(json_length) < 19
  if not is_number or int(json_length) > len(body):
    raise errors.invalid(
      f'{JSON_LENGTH}: {json_length!r} given, expected the bytes of JSON at the start of a body of '
      f'{len(body)}.'
    )
  return body[: int(json_length)], memoryview(body)[int(json_length) :]


def _raw_inputs(inputs: list[dict[str, Any]], raw: memoryview) -> list[memoryview | None]:
  """The raw bytes of every input; None for one whose data are in the JSON."""
  found: list[memoryview | None] = []
  at = 0
  for item in inputs:
    size = _parameters(item).get(_SIZE)
    if size is None:
      found.append(None)
      continue
    if type(size) is not int or not 0 <= size <= len(raw) - at:
      raise errors.invalid(
        f'input {item.get("name")}: {_SIZE} is {size!r}, and {len(raw) - at} bytes are left behind the '
        f'JSON, whose length {JSON_LENGTH} has to say.'
      )
    found.append(raw[at : at + size])
    at += size
  if at < len(raw):
    raise errors.invalid(f'{len(raw) - at} bytes behind the JSON belong to no input ({_SIZE}).')
  return found


def _parameters(item: dict[str, Any]) -> dict[str, Any]:
  found = item.get('parameters')
  return found if isinstance(found, dict) else {}


def _to_array(services: 'Services', item: dict[str, Any], raw: memoryview | None) -> np.ndarray:
  """np array of a tensor; `raw` as of `_raw_inputs`."""
  name, shape, data = str(item.get('name')), item.get('shape'), item.get('data')
  dtype = inference_protocol.check_type(name, str(item.get('datatype')))
  if not isinstance(shape, list) or not all(type(side) is int for side in shape):
    raise errors.invalid(f'input {name}: shape has to be a list of numbers.')
  if raw is None and not isinstance(data, list):
    raise errors.invalid(f'input {name}: data have to be a list.')
  services.predictor.check_size(shape, dtype.size or 1)
  try:
    if raw is not None:
      return inference_protocol.from_raw(raw, dtype, shape)
    flat = np.ravel(np.array(data, object)).tolist()
    if dtype != tf.string:
      return tensor_json.array_of_numbers(_numbers(flat, dtype), dtype).reshape(shape)
    values = [_to_bytes(value) for value in flat]
    return inference_protocol.array_of_bytes(values, shape)
  except (TypeError, ValueError, OverflowError, binascii.Error, struct.error) as error:
    raise errors.invalid(f'input {name}: data do not fit shape and datatype ({error}).') from error


def _numbers(values: list[Any], dtype: tf.DType) -> list[Any]:
  """The values themselves, if a type holds them as they are; NumPy would cut off and convert."""
  allowed: set[type] = {bool, int} if dtype == tf.bool else {int, float}
  kinds = set(map(type, values))
  for kind in kinds - allowed:
    raise TypeError(f'{kind.__name__} given')
  if dtype == tf.bool and not {*values} <= {False, True}:
    raise ValueError('a number that is neither 0 nor 1')
  if not dtype.is_integer or float not in kinds:
    return values
  if not all(value == int(value) for value in values):
    raise ValueError('a fraction given')
  return [int(value) for value in values]


def _to_bytes(value: Any) -> bytes:
  """Bytes of a BYTES element: base64, as clients of the protocol send binary data in JSON."""
  if not isinstance(value, str):
    raise TypeError('a BYTES element has to be text in base64')
  return base64.b64decode(value, validate=True)


def _answer(
  answer: dict[str, Any], arrays: dict[str, np.ndarray], is_raw: dict[str, bool]
) -> fastapi.Response:
  """The response with some outputs.

  Args:
    answer: of the response, without outputs.
    arrays: the outputs.
    is_raw: of every output, whether it follows the JSON as raw bytes.
  """
  raw = {name: inference_protocol.to_raw(arrays[name]) for name in arrays if is_raw[name]}
  outputs = []
  for name, value in arrays.items():
    datatype = inference_protocol.type_name(value.dtype)
    tensor: dict[str, Any] = {'name': name, 'shape': list(value.shape), 'datatype': datatype}
    if name in raw:
      tensor['parameters'] = {_SIZE: len(raw[name])}
    else:
      tensor['data'] = _to_json(name, value)
    outputs.append(tensor)
  text = json.dumps({**answer, 'outputs': outputs}).encode()
  if not raw:
    return fastapi.Response(text, media_type='application/json')
  return fastapi.Response(
    b''.join([text, *raw.values()]),
    media_type='application/octet-stream',
    headers={JSON_LENGTH: str(len(text))},
  )


def _to_json(name: str, value: np.ndarray) -> list[Any] | float | int:
  if value.dtype == object:
    return [base64.b64encode(item).decode() for item in value.ravel()]
  return tensor_json.numbers(value.ravel(), name)

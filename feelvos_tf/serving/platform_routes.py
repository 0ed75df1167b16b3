"""Contracts of platforms over HTTP: Open Inference Protocol (KServe v2), Vertex AI, SageMaker.

Vertex AI names its routes by environment variables (`AIP_HEALTH_ROUTE`, `AIP_PREDICT_ROUTE`;
`AIP_HTTP_PORT` is read by the command); SageMaker asks `/ping` and `/invocations`. Both send what
TensorFlow Serving's REST takes to the only model. The v2 protocol has tensors with explicit types.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md;
the custom container requirements of Vertex AI; SageMaker's inference toolkit contract.
"""

import base64
import binascii
from collections.abc import Callable
import json
import os
from typing import Any, TYPE_CHECKING

import fastapi
from fastapi import responses
import numpy as np
import tensorflow as tf

from feelvos_tf.serving import bodies
from feelvos_tf.serving import calls
from feelvos_tf.serving import errors
from feelvos_tf.serving import inference_protocol
from feelvos_tf.serving import tensor_json

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


_VERSION = '/versions/{version}'


def build_health_router(services: 'Services') -> fastapi.APIRouter:
  """Health routes, which need no token; `services` is the server's `Services`."""
  router = fastapi.APIRouter(include_in_schema=False)

  async def ready() -> fastapi.Response:
    is_ready = inference_protocol.is_ready(services)
    return responses.JSONResponse({'ready': is_ready}, 200 if is_ready else 503)

  async def live() -> dict[str, Any]:
    return {'live': True}

  router.get('/v2/health/live', response_model=None)(live)
  for path in ('/v2/health/ready', '/ping', os.environ.get('AIP_HEALTH_ROUTE')):
    if path:
      router.get(path)(ready)
  return router


def build_router(services: 'Services', predict: Callable) -> fastapi.APIRouter:
  """The other routes.

  Args:
    services: the server's `Services`.
    predict: function of (services, model name, version or None, body, `Call`) that answers a
      predict request of TensorFlow Serving with JSON text; runs in a worker.
  """
  router = fastapi.APIRouter(include_in_schema=False)

  async def invoke(request: fastapi.Request) -> fastapi.Response:
    body = await bodies.read(request, services.options.max_body_bytes)
    names = list(services.models.names())
    if len(names) != 1:
      raise errors.invalid(f'this route is for servers of one model; here are {", ".join(names)}.')
    return await _run(services, request, predict, services, names[0], None, body)

  for path in ('/invocations', os.environ.get('AIP_PREDICT_ROUTE')):
    if path:
      router.post(path)(invoke)
  _add_v2(router, services)
  return router


def _add_v2(router: fastapi.APIRouter, services: 'Services') -> None:
  """The routes of the Open Inference Protocol."""

  @router.get('/v2', response_model=None)
  async def server() -> dict[str, Any]:
    names = {'name': inference_protocol.NAME, 'version': inference_protocol.VERSION}
    return {**names, 'extensions': []}

  @router.get('/v2/models/{name}', response_model=None)
  @router.get('/v2/models/{name}' + _VERSION, response_model=None)
  async def metadata(name: str, version: int | None = None) -> dict[str, Any]:
    with services.models.leased(name, version) as leased:
      signature = services.predictor.signature(leased, '')
      return {
        'name': name,
        'versions': [str(number) for number in services.models.served()[name]],
        'platform': inference_protocol.PLATFORM,
        'inputs': inference_protocol.describe(signature.inputs),
        'outputs': inference_protocol.describe(signature.outputs),
      }

  @router.get('/v2/models/{name}/ready', response_model=None)
  @router.get('/v2/models/{name}' + _VERSION + '/ready', response_model=None)
  async def ready(name: str, version: int | None = None) -> dict[str, Any]:
    services.models.lease(name, version).release()
    return {'name': name, 'ready': True}

  @router.post('/v2/models/{name}/infer')
  @router.post('/v2/models/{name}' + _VERSION + '/infer')
  async def infer(
    request: fastapi.Request, name: str, version: int | None = None
  ) -> fastapi.Response:
    body = await bodies.read(request, services.options.max_body_bytes)
    return await _run(services, request, _infer, services, name, version, body)


async def _run(
  services: 'Services', request: fastapi.Request, function: Callable, *args: Any
) -> fastapi.Response:
  """The JSON answer of a function that runs in a worker and takes the `Call` as its last."""
  seconds = services.options.rest_api_timeout_in_ms / 1000
  async with calls.of_http(request, seconds) as call:
    text = await calls.unless_over(call, services.workers.run(function, *args, call, call=call))
  return fastapi.Response(text, media_type='application/json')


def _infer(
  services: 'Services', name: str, number: int | None, body: bytes, call: calls.Call
) -> str:
  """JSON text of the answer to a v2 inference request."""
  document = tensor_json.parse(body)
  parameters = document.get('parameters') or {}
  signature = (
    parameters.get(inference_protocol.SIGNATURE, '') if isinstance(parameters, dict) else ''
  )
  inputs = document.get('inputs')
  if not isinstance(inputs, list) or not all(isinstance(item, dict) for item in inputs):
    raise errors.invalid('inputs: expected a list of tensors with name, shape, datatype and data.')
  tensors = {str(item.get('name')): _to_array(services, item) for item in inputs}
  outputs = document.get('outputs') or []
  if not isinstance(outputs, list) or not all(isinstance(item, dict) for item in outputs):
    raise errors.invalid('outputs: expected a list of objects with a name.')
  wanted = [str(item.get('name')) for item in outputs]
  with services.models.leased(name, number) as version:
    outputs = services.predictor.run(version, str(signature), tensors, wanted, call)
    number = version.number
  answer = {
    'model_name': name,
    'model_version': str(number),
    'outputs': [_to_json(key, value) for key, value in outputs.items()],
  }
  return json.dumps({**answer, 'id': document['id']} if 'id' in document else answer)


def _to_array(services: 'Services', item: dict[str, Any]) -> np.ndarray:
  """np array of a tensor of the protocol."""
  name, shape, data = str(item.get('name')), item.get('shape'), item.get('data')
  dtype = inference_protocol.check_type(name, str(item.get('datatype')))
  if not isinstance(shape, list) or not all(type(side) is int for side in shape):
    raise errors.invalid(f'input {name}: shape has to be a list of numbers.')
  if not isinstance(data, list):
    raise errors.invalid(f'input {name}: data have to be a list.')
  services.predictor.check_size(shape, dtype.size or 1)
  try:
    flat = np.ravel(np.array(data, object)).tolist()
    if dtype != tf.string:
      return np.array(_numbers(flat, dtype), dtype.as_numpy_dtype).reshape(shape)
    values = [_to_bytes(value) for value in flat]
    return inference_protocol.array_of_bytes(values, shape)
  except (TypeError, ValueError, OverflowError, binascii.Error) as error:
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
  return [int(value) for value in values]  # NumPy refuses what is too large for the type.


def _to_bytes(value: Any) -> bytes:
  """Bytes of a BYTES element: base64, as clients of the protocol send binary data in JSON."""
  if not isinstance(value, str):
    raise TypeError('a BYTES element has to be text in base64')
  return base64.b64decode(value, validate=True)


def _to_json(name: str, value: Any) -> dict[str, Any]:
  value = np.asarray(value)
  datatype = inference_protocol.type_name(value.dtype)
  data: list[Any] | float | int
  if value.dtype == object:
    data = [base64.b64encode(item).decode() for item in value.ravel()]
  else:
    data = tensor_json.numbers(value.ravel(), name)
  return {'name': name, 'shape': list(value.shape), 'datatype': datatype, 'data': data}

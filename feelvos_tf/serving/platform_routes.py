"""Contracts of platforms over HTTP: Open Inference Protocol (KServe v2), Vertex AI, SageMaker.

Vertex AI names its routes by environment variables (`AIP_HEALTH_ROUTE`, `AIP_PREDICT_ROUTE`;
`AIP_HTTP_PORT` is read by the command); SageMaker asks `/ping` and `/invocations`. Both send what
TensorFlow Serving's REST takes to the only model. The v2 protocol has tensors with explicit types.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md;
the custom container requirements of Vertex AI; SageMaker's inference toolkit contract.
"""

from collections.abc import Callable
import os
from typing import Any, TYPE_CHECKING

import fastapi
from fastapi import responses

from feelvos_tf.serving import bodies
from feelvos_tf.serving import calls
from feelvos_tf.serving import errors
from feelvos_tf.serving import inference_protocol
from feelvos_tf.serving import inference_rest

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
    return {**names, 'extensions': [inference_rest.BINARY]}

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
    length = request.headers.get(inference_rest.JSON_LENGTH)
    return await _run(
      services, request, inference_rest.infer, services, name, version, body, length
    )


async def _run(
  services: 'Services', request: fastapi.Request, function: Callable, *args: Any
) -> fastapi.Response:
  """The answer, or its JSON, of a function that runs in a worker; its last argument is a `Call`."""
  seconds = services.options.rest_api_timeout_in_ms / 1000
  async with calls.of_http(request, seconds) as call:
    answer = await calls.unless_over(call, services.workers.run(function, *args, call, call=call))
  if isinstance(answer, fastapi.Response):
    return answer
  return fastapi.Response(answer, media_type='application/json')

"""TensorFlow Serving's REST API under /v1/models."""

import json
import re
from typing import Any, TYPE_CHECKING
import urllib.parse

import fastapi
from google.protobuf import json_format
import grpc
from tensorflow_serving.apis import get_model_metadata_pb2

from feelvos_tf.serving import bodies
from feelvos_tf.serving import calls
from feelvos_tf.serving import errors
from feelvos_tf.serving import grpc_service
from feelvos_tf.serving import predict
from feelvos_tf.serving import tensor_json
from feelvos_tf.serving import tracing

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


_MODEL = (
  r'(?i:/v1/models)/(?P<name>[^/:]+)'
  r'(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?'
)
_ACTION = re.compile(_MODEL + r':(?P<method>classify|regress|predict)')
_QUERY = re.compile(_MODEL + r'(?P<metadata>/metadata)?')
_LARGEST_VERSION = 2**63 - 1
_MOST_DIGITS = 100  # Leading zeros are fine.


def build_router(services: 'Services') -> fastapi.APIRouter:
  """The routes; `services` is the server's `Services`."""
  router = fastapi.APIRouter()

  @router.get('/v1/models', include_in_schema=False, response_model=None)
  @router.get('/v1/models/', include_in_schema=False, response_model=None)
  async def models() -> dict[str, Any]:
    found = services.models.served()
    return {'models': [{'name': name, 'versions': numbers} for name, numbers in found.items()]}

  @router.get('/v1/models/{rest:path}', include_in_schema=False)
  async def query(request: fastapi.Request) -> fastapi.Response:
    match = _match(_QUERY, request)
    return _json(_describe(services, match))

  @router.post('/v1/models/{rest:path}', include_in_schema=False)
  async def act(request: fastapi.Request) -> fastapi.Response:
    match = _match(_ACTION, request)
    if match['method'] != 'predict':
      raise errors.RequestError(
        grpc.StatusCode.UNIMPLEMENTED, f'{match["method"]} is not there; use predict.'
      )
    spec = _spec(services, match)
    body = await bodies.read(request, services.options.max_body_bytes)
    seconds = services.options.rest_api_timeout_in_ms / 1000
    counted = services.metrics.tf_serving.request(spec[0], 'Predict', 'REST')
    async with calls.of_http(request, seconds) as call:
      answer = services.workers.run(predict_text, services, *spec, body, call, call=call)
      with counted:
        return _json(await calls.unless_over(call, answer))

  return router


def _match(pattern: re.Pattern[str], request: fastapi.Request) -> re.Match[str]:
  path = request.url.path
  match = pattern.fullmatch(path)
  if match is None:
    raise errors.invalid(f'Malformed request: {request.method} {path}')
  return match


def _spec(services: 'Services', match: re.Match[str]) -> tuple[str, int | None]:
  """(name, version or None) of a path; version 0 is how ovmsclient says "latest"."""
  name, number = urllib.parse.unquote(match['name']), match['version']
  if match['label']:
    return name, services.models.labelled(name, urllib.parse.unquote(match['label']))
  if number is not None and (len(number) > _MOST_DIGITS or int(number) > _LARGEST_VERSION):
    raise errors.invalid(f'Failed to convert version: {number} to numeric.')
  return name, int(number or 0) or None


def _describe(services: 'Services', match: re.Match[str]) -> str:
  """JSON text of a model's status or metadata."""
  if not match['metadata']:
    return json_format.MessageToJson(
      grpc_service.status(services, *_spec(services, match)),
      preserving_proto_field_name=True,
      always_print_fields_with_no_presence=True,
    )
  response = grpc_service.metadata(services, *_spec(services, match))
  signatures = get_model_metadata_pb2.SignatureDefMap()
  response.metadata['signature_def'].Unpack(signatures)
  to_dict = lambda message: json_format.MessageToDict(
    message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
  )
  return json.dumps(
    {
      'model_spec': to_dict(response.model_spec),
      'metadata': {'signature_def': to_dict(signatures)},
    },
    indent=1,
  )


def predict_text(
  services: 'Services', name: str, number: int | None, body: bytes, call: calls.Call
) -> str:
  """JSON text of the answer to a predict request; runs in a worker.

  Args:
    services: the server's `Services`.
    name: name of the model.
    number: version; None takes the latest.
    body: JSON text of the request.
    call: `Call`; the graph stops when that is over.

  Raises:
    RequestError: no such model, version or signature, or inputs that do not fit.
    tf.errors.InvalidArgumentError: the graph refuses the values.
  """
  document = tensor_json.parse(body)
  signature_name = document.get('signature_name', '') or predict.DEFAULT_SIGNATURE
  with services.models.leased(name, number) as version:
    definition = version.loaded.signature_defs.get(signature_name)
    if definition is None:
      raise errors.invalid(f'Serving signature name: "{signature_name}" not found in signature def')
    infos, check_size = dict(definition.inputs), services.predictor.check_size

    def run(document: dict[str, Any]) -> tuple[dict[str, Any], bool]:
      inputs, rows = tensor_json.inputs_of(document, infos, check_size)
      return services.predictor.run(version, signature_name, inputs, call=call), rows

    single = tensor_json.single_requests(document, infos)
    if single is not None:  # No batch dimension: every instance is a request of its own.
      results = [run(request)[0] for request in single]
      with tracing.span('encode'):
        return tensor_json.answer_rows(results)
    result = run(document)
    with tracing.span('encode'):
      return tensor_json.answer(*result)


def _json(text: str) -> fastapi.Response:
  return fastapi.Response(text, media_type='application/json')

"""Health and reflection over gRPC: grpc.health.v1 for probes, descriptors for grpcurl.

Both have calls that last, and health needs no token: few of them at a time, so that they leave
room for the others.
"""

from collections.abc import Iterable, Iterator
import contextlib
import threading
import time
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha import reflection_pb2_grpc
from tensorflow_serving.apis import model_service_pb2
from tensorflow_serving.apis import prediction_service_pb2

from feelvos_tf.serving import inference_grpc

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


MOST_WATCHERS, MOST_REFLECTIONS = 64, 4
_LOOK_SECONDS = 1.0
_SERVICES = (
  prediction_service_pb2.DESCRIPTOR.services_by_name['PredictionService'].full_name,
  model_service_pb2.DESCRIPTOR.services_by_name['ModelService'].full_name,
)
_Status = health_pb2.HealthCheckResponse.ServingStatus


class Health(health_pb2_grpc.HealthServicer):
  """The state of the server, of its services, and of every model by its name."""

  def __init__(self, services: 'Services') -> None:
    """Args: `Services`."""
    self._services = services
    self._places = _Places(MOST_WATCHERS)

  def Check(
    self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
  ) -> health_pb2.HealthCheckResponse:
    """See grpc/health/v1/health.proto; also what /readyz says."""
    status = self._status(request.service)
    if status == _Status.Value('SERVICE_UNKNOWN'):
      context.abort(grpc.StatusCode.NOT_FOUND, 'no service or model of that name is here.')
    return health_pb2.HealthCheckResponse(status=status)

  def Watch(
    self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
  ) -> Iterator[health_pb2.HealthCheckResponse]:
    """See grpc/health/v1/health.proto; ends when the server does."""
    said = None
    with self._places.one(context):
      while context.is_active():
        status = self._status(request.service)
        if status != said:
          yield health_pb2.HealthCheckResponse(status=status)
        said = status
        if self._services.stopping:
          return
        time.sleep(_LOOK_SECONDS)

  def _status(self, name: str) -> int:
    models = self._services.models.names()
    if self._services.stopping or not models:
      return _Status.Value('NOT_SERVING')
    is_known = name in ('', *_SERVICES, inference_grpc.SERVICE, *models)
    return _Status.Value('SERVING' if is_known else 'SERVICE_UNKNOWN')


class Reflection(reflection.ReflectionServicer):
  """Descriptors of the services, for few clients at a time."""

  def __init__(self, names: Iterable[str]) -> None:
    """Args: full names of services."""
    super().__init__(names)
    self._places = _Places(MOST_REFLECTIONS)

  def ServerReflectionInfo(
    self,
    request_iterator: Iterator[reflection_pb2.ServerReflectionRequest],
    context: grpc.ServicerContext,
  ) -> Iterator[reflection_pb2.ServerReflectionResponse]:
    """See grpc/reflection/v1alpha/reflection.proto."""
    with self._places.one(context):
      yield from super().ServerReflectionInfo(request_iterator, context)


class _Places:
  """Places for calls that last."""

  def __init__(self, count: int) -> None:
    self._free = threading.Semaphore(count)
    self._count = count

  @contextlib.contextmanager
  def one(self, context: grpc.ServicerContext) -> Iterator[None]:
    """Takes a place for a block, or refuses the call."""
    if not self._free.acquire(blocking=False):
      message = f'{self._count} such calls are open, no more are taken.'
      context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
    try:
      yield
    finally:
      self._free.release()


def add(server: grpc.Server, services: 'Services') -> None:
  """Adds both to a server."""
  health_pb2_grpc.add_HealthServicer_to_server(Health(services), server)
  names = (*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
  reflection_pb2_grpc.add_ServerReflectionServicer_to_server(Reflection(names), server)

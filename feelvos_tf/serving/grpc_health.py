"""Health and reflection over gRPC: grpc.health.v1 for probes, descriptors for grpcurl."""

from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import model_service_pb2
from tensorflow_serving.apis import prediction_service_pb2

from feelvos_tf.serving import inference_grpc

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


_SERVICES = (
  prediction_service_pb2.DESCRIPTOR.services_by_name['PredictionService'].full_name,
  model_service_pb2.DESCRIPTOR.services_by_name['ModelService'].full_name,
)


class Health(health.HealthServicer):
  """The state of the server, of its services, and of every model by its name."""

  def __init__(self, services: 'Services') -> None:
    """Args: `Services`."""
    super().__init__()
    self._services = services
    for name in ('', *_SERVICES, inference_grpc.SERVICE):
      self.set(name, health_pb2.HealthCheckResponse.SERVING)

  def Check(
    self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
  ) -> health_pb2.HealthCheckResponse:
    """See grpc/health/v1/health.proto; also what /readyz says."""
    names = self._services.models.names()
    if self._services.stopping or not names:
      return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)
    if request.service in names:
      return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    return super().Check(request, context)


def add(server: grpc.Server, services: 'Services') -> None:
  """Adds both to a server."""
  health_pb2_grpc.add_HealthServicer_to_server(Health(services), server)
  names = (*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
  reflection.enable_server_reflection(names, server)

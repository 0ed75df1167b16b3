"""TensorFlow Serving's gRPC services."""

from concurrent import futures
import logging
import math
from typing import Any, TYPE_CHECKING

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from feelvos_tf.serving import access_log
from feelvos_tf.serving import auth
from feelvos_tf.serving import errors
from feelvos_tf.serving import grpc_health
from feelvos_tf.serving import inference_grpc
from feelvos_tf.serving import predict
from feelvos_tf.serving import tracing
from feelvos_tf.serving.calls import Call
from feelvos_tf.serving.grpc_answers import answers
from feelvos_tf.serving.model_store import Version
from feelvos_tf.serving.tls import Tls

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


_SIGNATURE_DEF = 'signature_def'
_POINTER_BYTES = 8
# Calls that need no worker, as status and metadata, are answered while all others wait.
_QUICK_CALLS = 16
# Connections that say nothing are closed, and clients that have vanished are noticed.
_CONNECTIONS = (
  ('grpc.server_handshake_timeout_ms', 20_000),
  ('grpc.max_connection_idle_ms', 600_000),
  ('grpc.keepalive_time_ms', 30_000),
  ('grpc.keepalive_timeout_ms', 20_000),
  ('grpc.http2.min_recv_ping_interval_without_data_ms', 10_000),
)


def build_server(
  services: 'Services', address: str, tls: Tls | None = None, socket_path: str = ''
) -> tuple[grpc.Server, int]:
  """A gRPC server that is bound and has to be started.

  Args:
    services: `Services`.
    address: 'host:port'; port 0 takes a free one.
    tls: `Tls`; None has no encryption.
    socket_path: of a Unix socket to listen on in addition, without TLS; '' has none.

  Returns:
    (`grpc.Server`, port).

  Raises:
    ValueError: the address cannot be bound.
  """
  limit = services.options.max_body_bytes
  # A thread for every call, so that none that waits keeps another from being answered.
  most = (
    services.options.workers
    + services.options.max_waiting
    + _QUICK_CALLS
    + grpc_health.MOST_WATCHERS
    + grpc_health.MOST_REFLECTIONS
  )
  # Bytes that are no message are the client's fault: it gets an error, the log gets no line.
  logging.getLogger('grpc._common').addFilter(_is_no_bad_message)
  server = grpc.server(
    futures.ThreadPoolExecutor(most, thread_name_prefix='grpc'),
    interceptors=[
      access_log.Interceptor(services.access_log, services.tracing),
      auth.TokenInterceptor(services.token),
    ],
    options=[
      ('grpc.max_receive_message_length', limit),
      ('grpc.max_send_message_length', -1),
      ('grpc.so_reuseport', 0),
      *_CONNECTIONS,
    ],
    maximum_concurrent_rpcs=most,
  )
  prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
    PredictionService(services), server
  )
  model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(services), server)
  inference_grpc.add(server, services)
  grpc_health.add(server, services)
  try:
    if socket_path:
      server.add_insecure_port(f'unix:{socket_path}')
  except RuntimeError as error:
    raise ValueError(
      f'{socket_path}: gRPC cannot listen there; choose another --grpc_socket_path.'
    ) from error
  try:
    if tls is None:
      return server, server.add_insecure_port(address)
    return server, server.add_secure_port(address, tls.credentials())
  except RuntimeError as error:
    raise ValueError(f'{address}: gRPC cannot listen there; choose another --grpc_port.') from error


def _is_no_bad_message(record: logging.LogRecord) -> bool:
  return 'deserializing' not in record.getMessage()


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
  """Predict and GetModelMetadata; Classify, Regress and MultiInference are UNIMPLEMENTED."""

  def __init__(self, services: 'Services') -> None:
    self.services = services

  @answers
  def Predict(self, request: predict_pb2.PredictRequest, call: Call) -> predict_pb2.PredictResponse:
    """See tensorflow_serving/apis/prediction_service.proto."""
    services = self.services
    with (
      services.metrics.tf_serving.request(request.model_spec.name, 'Predict', 'GRPC'),
      services.models.leased(*_spec(services, request)) as version,
    ):
      outputs = services.workers.run_blocking(self._run, version, request, call, call=call)
      response = predict_pb2.PredictResponse()
      response.model_spec.name = version.name
      response.model_spec.version.value = version.number
      response.model_spec.signature_name = (
        request.model_spec.signature_name or predict.DEFAULT_SIGNATURE
      )
      with tracing.span('encode'):
        for name, value in outputs.items():
          response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
      return response

  def _run(
    self, version: Version, request: predict_pb2.PredictRequest, call: Call
  ) -> dict[str, np.ndarray]:
    predictor = self.services.predictor
    inputs = {name: self._to_array(name, proto) for name, proto in request.inputs.items()}
    return predictor.run(
      version, request.model_spec.signature_name, inputs, request.output_filter, call
    )

  def _to_array(self, name: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
    try:
      dtype = tf.as_dtype(proto.dtype)
      if not dtype.is_numpy_compatible:
        raise ValueError(f'{dtype.name} has no values')
      shape = [dim.size for dim in proto.tensor_shape.dim]
      self.services.predictor.check_size(shape, _bytes_of_item(proto, dtype, math.prod(shape)))
      return np.asarray(tf.make_ndarray(proto))
    except (TypeError, ValueError) as error:
      raise errors.invalid(f'input {name}: not a tensor that can be read ({error}).') from error

  @answers
  def GetModelMetadata(
    self, request: get_model_metadata_pb2.GetModelMetadataRequest, call: Call
  ) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """See tensorflow_serving/apis/get_model_metadata.proto.

    Raises:
      RequestError: INVALID_ARGUMENT, another field than `signature_def`.
    """
    del call
    if not request.metadata_field:
      raise errors.invalid('GetModelMetadataRequest must specify at least one metadata_field')
    for field in request.metadata_field:
      if field != _SIGNATURE_DEF:
        raise errors.invalid(f'Metadata field {field} is not supported')
    return metadata(self.services, *_spec(self.services, request))


def _bytes_of_item(proto: tensor_pb2.TensorProto, dtype: tf.DType, count: int) -> int:
  """Bytes that one of `count` items takes here; the last string of too few is repeated."""
  if dtype != tf.string:
    return dtype.size
  is_repeated = 0 < len(proto.string_val) < count
  return _POINTER_BYTES + (len(proto.string_val[-1]) if is_repeated else 0)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
  """GetModelStatus and HandleReloadConfigRequest."""

  def __init__(self, services: 'Services') -> None:
    self.services = services

  @answers
  def GetModelStatus(
    self, request: get_model_status_pb2.GetModelStatusRequest, call: Call
  ) -> get_model_status_pb2.GetModelStatusResponse:
    """See tensorflow_serving/apis/get_model_status.proto."""
    del call
    return status(self.services, *_spec(self.services, request))

  @answers
  def HandleReloadConfigRequest(
    self, request: model_management_pb2.ReloadConfigRequest, call: Call
  ) -> model_management_pb2.ReloadConfigResponse:
    """See tensorflow_serving/apis/model_service.proto; answers when the models are loaded."""
    del call
    self.services.reload_models(request.config)
    response = model_management_pb2.ReloadConfigResponse()
    response.status.SetInParent()
    return response


def metadata(
  services: 'Services', name: str, number: int | None
) -> get_model_metadata_pb2.GetModelMetadataResponse:
  """The signatures of a version, for gRPC and REST; `number` None takes the latest.

  Raises:
    RequestError: NOT_FOUND, no such model or version.
  """
  with services.models.leased(name, number) as version:
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = version.name
    response.model_spec.version.value = version.number
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key, definition in version.loaded.signature_defs.items():
      signatures.signature_def[key].CopyFrom(definition)
    response.metadata[_SIGNATURE_DEF].Pack(signatures)
    return response


def status(
  services: 'Services', name: str, number: int | None
) -> get_model_status_pb2.GetModelStatusResponse:
  """The state of a model's versions, for gRPC and REST; `number` None takes all.

  Raises:
    RequestError: NOT_FOUND, no such model or version.
  """
  response = get_model_status_pb2.GetModelStatusResponse()
  for version in services.models.status(name, number):
    entry = response.model_version_status.add()
    entry.version = version.number
    entry.state = get_model_status_pb2.ModelVersionStatus.State.Value(version.state)
    entry.status.SetInParent()  # TensorFlow Serving always gives it.
    if version.error:
      entry.status.error_code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
      entry.status.error_message = version.error
  return response


def _spec(services: 'Services', request: Any) -> tuple[str, int | None]:
  """(name, version or None) of a request's ModelSpec; version 0 is how ovmsclient says "latest"."""
  if not request.HasField('model_spec'):
    raise errors.invalid('Missing ModelSpec')
  spec = request.model_spec
  if spec.version_label:
    return spec.name, services.models.labelled(spec.name, spec.version_label)
  return spec.name, spec.version.value or None

"""The Open Inference Protocol (KServe v2) over gRPC.

Source: https://github.com/kserve/open-inference-protocol, open_inference_grpc.proto.
"""

import struct
from typing import Any, TYPE_CHECKING

from google.protobuf.message import Message
import grpc
import numpy as np
import tensorflow as tf

from feelvos_tf.serving import errors
from feelvos_tf.serving import inference_protocol
from feelvos_tf.serving import messages
from feelvos_tf.serving import tensor_json
from feelvos_tf.serving import tracing
from feelvos_tf.serving.calls import Call
from feelvos_tf.serving.grpc_answers import answers
from feelvos_tf.serving.model_store import Version

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


SERVICE = 'inference.GRPCInferenceService'
_NAME_AND_VERSION = 'string name; string version'
_TENSOR = 'string name; string datatype; int64* shape'
_TENSOR_WITH_CONTENTS = f'{_TENSOR}; Parameter* parameters; InferTensorContents contents'
_CONTENTS = {
  'bool_contents': ('bool', ('BOOL',)),
  'int_contents': ('int32', ('INT8', 'INT16', 'INT32')),
  'int64_contents': ('int64', ('INT64',)),
  'uint_contents': ('uint32', ('UINT8', 'UINT16', 'UINT32')),
  'uint64_contents': ('uint64', ('UINT64',)),
  'fp32_contents': ('float', ('FP32',)),
  'fp64_contents': ('double', ('FP64',)),
  'bytes_contents': ('bytes', ('BYTES',)),
}
_FIELD_OF = {name: field for field, (_, names) in _CONTENTS.items() for name in names}
MESSAGES = messages.build(
  'inference',
  {
    'ServerLiveRequest': '',
    'ServerLiveResponse': 'bool live',
    'ServerReadyRequest': '',
    'ServerReadyResponse': 'bool ready',
    'ModelReadyRequest': _NAME_AND_VERSION,
    'ModelReadyResponse': 'bool ready',
    'ServerMetadataRequest': '',
    'ServerMetadataResponse': 'string name; string version; string* extensions',
    'ModelMetadataRequest': _NAME_AND_VERSION,
    'TensorMetadata': _TENSOR,
    'ModelMetadataResponse': 'string name; string* versions; string platform; '
    'TensorMetadata* inputs; TensorMetadata* outputs',
    'InferParameter': 'bool bool_param; int64 int64_param; string string_param',
    'Parameter': 'string key; InferParameter value',
    'InferTensorContents': ';'.join(f'{kind}* {name}' for name, (kind, _) in _CONTENTS.items()),
    'InferInputTensor': _TENSOR_WITH_CONTENTS,
    'InferRequestedOutputTensor': 'string name; Parameter* parameters',
    'ModelInferRequest': 'string model_name; string model_version; string id; '
    'Parameter* parameters; InferInputTensor* inputs; InferRequestedOutputTensor* outputs; '
    'bytes* raw_input_contents',
    'InferOutputTensor': _TENSOR_WITH_CONTENTS,
    'ModelInferResponse': 'string model_name; string model_version; string id; '
    'Parameter* parameters; InferOutputTensor* outputs; bytes* raw_output_contents',
  },
)


def add(server: grpc.Server, services: 'Services') -> None:
  """Adds the service to a server; `services` is the server's `Services`."""
  service = InferenceService(services)
  methods = {
    name: grpc.unary_unary_rpc_method_handler(
      getattr(service, name),
      MESSAGES[f'{name}Request'].FromString,
      MESSAGES[f'{name}Response'].SerializeToString,
    )
    for name in (
      'ServerLive', 'ServerReady', 'ModelReady', 'ServerMetadata', 'ModelMetadata', 'ModelInfer',
    )
  }  # fmt: skip
  server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))


class InferenceService:
  """The methods of the protocol, for signatures without sessions."""

  def __init__(self, services: 'Services') -> None:
    self.services = services

  @answers
  def ServerLive(self, request: Any, call: Call) -> Message:
    """Whether the process answers."""
    del request, call
    return MESSAGES['ServerLiveResponse'](live=True)

  @answers
  def ServerReady(self, request: Any, call: Call) -> Message:
    """Whether requests should be sent here."""
    del request, call
    return MESSAGES['ServerReadyResponse'](ready=inference_protocol.is_ready(self.services))

  @answers
  def ModelReady(self, request: Any, call: Call) -> Message:
    """Whether a model is served."""
    del call
    name, number = request.name, _number(request.version)
    served = self.services.models.served().get(name, ())
    ready = bool(served) if number is None else number in served
    return MESSAGES['ModelReadyResponse'](ready=ready)

  @answers
  def ServerMetadata(self, request: Any, call: Call) -> Message:
    """What this server is."""
    del request, call
    return MESSAGES['ServerMetadataResponse'](
      name=inference_protocol.NAME, version=inference_protocol.VERSION
    )

  @answers
  def ModelMetadata(self, request: Any, call: Call) -> Message:
    """Inputs and outputs of a model's default signature."""
    del call
    services = self.services
    with services.models.leased(request.name, _number(request.version)) as version:
      signature = services.predictor.signature(version, '')
      return MESSAGES['ModelMetadataResponse'](
        name=request.name,
        versions=[str(number) for number in services.models.served()[request.name]],
        platform=inference_protocol.PLATFORM,
        inputs=inference_protocol.describe(signature.inputs),
        outputs=inference_protocol.describe(signature.outputs),
      )

  @answers
  def ModelInfer(self, request: Any, call: Call) -> Message:
    """Runs a signature; the parameter `signature_name` says which."""
    services = self.services
    with services.models.leased(request.model_name, _number(request.model_version)) as version:
      outputs = services.workers.run_blocking(self._run, version, request, call, call=call)
      response = MESSAGES['ModelInferResponse'](
        model_name=version.name, model_version=str(version.number), id=request.id
      )
    with tracing.span('encode'):
      raw = bool(request.raw_input_contents) or any(v.dtype == np.half for v in outputs.values())
      for name, value in outputs.items():
        _add_output(response, name, value, raw)
    return response

  def _run(self, version: Version, request: Any, call: Call) -> dict[str, np.ndarray]:
    parameters = {item.key: item.value.string_param for item in request.parameters}
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
      raise errors.invalid(
        f'raw_input_contents: {len(raw)} given, expected one for each of {len(request.inputs)} '
        'inputs.'
      )
    tensors = {
      item.name: self._to_array(item, raw[index] if raw else None)
      for index, item in enumerate(request.inputs)
    }
    wanted = [item.name for item in request.outputs]
    signature = parameters.get(inference_protocol.SIGNATURE, '')
    return self.services.predictor.run(version, signature, tensors, wanted, call)

  def _to_array(self, item: Any, raw: bytes | None) -> np.ndarray:
    """np array of an input; `raw` are its bytes, None if its contents are in the message."""
    dtype, shape = inference_protocol.check_type(item.name, item.datatype), list(item.shape)
    self.services.predictor.check_size(shape, dtype.size or 1)
    try:
      if raw is None and dtype == tf.float16:
        raise ValueError('FP16 has to be in raw_input_contents')
      if raw is not None:
        return inference_protocol.from_raw(raw, dtype, shape)
      if dtype == tf.string:
        return inference_protocol.array_of_bytes(list(item.contents.bytes_contents), shape)
      values = getattr(item.contents, _FIELD_OF[item.datatype])
      return tensor_json.array_of_numbers(values, dtype).reshape(shape)
    except (ValueError, OverflowError, struct.error) as error:
      raise errors.invalid(
        f'input {item.name}: data do not fit shape and datatype ({error}).'
      ) from error


def _number(version: str) -> int | None:
  """Version of a request; None if it names none."""
  if version and not (version.isascii() and version.isdecimal() and len(version) < 19):
    raise errors.invalid(f'version {version!r} given, expected a number or nothing.')
  return int(version) if version else None


def _add_output(response: Any, name: str, value: np.ndarray, raw: bool) -> None:
  datatype = inference_protocol.type_name(value.dtype)
  output = response.outputs.add(name=name, datatype=datatype, shape=value.shape)
  if not raw:
    getattr(output.contents, _FIELD_OF[datatype]).extend(value.ravel().tolist())
  else:
    response.raw_output_contents.append(inference_protocol.to_raw(value))

"""All ways to get the masks of a clip from a server: encoded frames and a mask in, masks out."""

import base64
from collections.abc import Callable, Sequence
import contextlib
from typing import Any, TYPE_CHECKING

import httpx
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.tools.benchmarks.serving_clients import HttpSession
from feelvos_tf.tools.benchmarks.serving_clients import track_grpc
from feelvos_tf.tools.benchmarks.serving_clients import track_rest
from feelvos_tf.tools.benchmarks.serving_clients import WebSocketSession

if TYPE_CHECKING:
  from numpy.typing import NDArray

_SECONDS = 600
_UNLIMITED = [('grpc.max_receive_message_length', -1), ('grpc.max_send_message_length', -1)]
# (HTTP address, gRPC address, frames, mask, model): PNGs of all frames but the first.
Way = Callable[[str, str, Sequence[bytes], 'NDArray[np.uint8]', str], list[bytes]]


def _session(kind: type[HttpSession]) -> Way:
  def run(
    http: str, grpc: str, frames: Sequence[bytes], mask: 'NDArray[np.uint8]', model: str
  ) -> list[bytes]:
    del grpc
    with contextlib.closing(kind(http, frames[0], mask, model)) as session:
      return [session.step(frame) for frame in frames[1:]]

  return run


def _over_grpc(
  http: str, grpc: str, frames: Sequence[bytes], mask: 'NDArray[np.uint8]', model: str
) -> list[bytes]:
  del http
  return track_grpc(grpc, frames, mask, model)[1:]


def _over_rest(
  http: str, grpc: str, frames: Sequence[bytes], mask: 'NDArray[np.uint8]', model: str
) -> list[bytes]:
  del grpc
  return track_rest(http, frames, mask, model)[1:]


def _as_instances(signature: str) -> Way:
  """`instances` of TensorFlow Serving's REST API: one video."""

  def run(
    http: str, grpc: str, frames: Sequence[bytes], mask: 'NDArray[np.uint8]', model: str
  ) -> list[bytes]:
    del grpc
    pack = lambda data: {'b64': _text(data)}
    instance = {
      'image_bytes': [pack(data) for data in frames],
      'mask_bytes': pack(masks.encode_mask(mask)),
    }
    body = {'signature_name': signature, 'instances': [instance]}
    answer = _post(f'http://{http}/v1/models/{model}:predict', body)
    return [base64.b64decode(item['b64']) for item in answer['predictions'][0]['masks_bytes']][1:]

  return run


def _over_v2_rest(
  http: str, grpc: str, frames: Sequence[bytes], mask: 'NDArray[np.uint8]', model: str
) -> list[bytes]:
  del grpc
  tensor = lambda name, values: {
    'name': name,
    'shape': [len(values)],
    'datatype': 'BYTES',
    'data': [_text(value) for value in values],
  }
  body = {
    'parameters': {'signature_name': 'track'},
    'inputs': [tensor('image_bytes', frames), tensor('mask_bytes', [masks.encode_mask(mask)])],
    'outputs': [{'name': 'masks_bytes'}],
  }
  (output,) = _post(f'http://{http}/v2/models/{model}/infer', body)['outputs']
  return [base64.b64decode(item) for item in output['data']][1:]


def _over_v2_grpc(
  http: str, grpc: str, frames: Sequence[bytes], mask: 'NDArray[np.uint8]', model: str
) -> list[bytes]:
  del http
  import grpc as grpc_lib

  from feelvos_tf.serving import inference_grpc

  messages = inference_grpc.MESSAGES
  request = messages['ModelInferRequest'](model_name=model)
  request.parameters.add(key='signature_name').value.string_param = 'track'
  for name, values in (('image_bytes', frames), ('mask_bytes', [masks.encode_mask(mask)])):
    item = request.inputs.add(name=name, datatype='BYTES', shape=[len(values)])
    item.contents.bytes_contents.extend(values)
  request.outputs.add(name='masks_bytes')
  with grpc_lib.insecure_channel(grpc, _UNLIMITED) as channel:
    infer = channel.unary_unary(
      f'/{inference_grpc.SERVICE}/ModelInfer',
      messages['ModelInferRequest'].SerializeToString,
      messages['ModelInferResponse'].FromString,
    )
    (output,) = infer(request, timeout=_SECONDS).outputs
  return list(output.contents.bytes_contents)[1:]


WAYS: dict[str, Way] = {
  'session over HTTP': _session(HttpSession),
  'session over a WebSocket': _session(WebSocketSession),
  'track over gRPC': _over_grpc,
  'track over REST': _over_rest,
  'track over REST as instances': _as_instances('track'),
  'track_batch over REST': _as_instances('track_batch'),
  'KServe v2 over REST': _over_v2_rest,
  'KServe v2 over gRPC': _over_v2_grpc,
}


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
  reply = httpx.post(url, json=body, timeout=_SECONDS)
  reply.raise_for_status()
  return reply.json()


def _text(data: bytes) -> str:
  return base64.b64encode(data).decode()

"""A server in a process of its own, and clients of it, for measuring."""

import base64
from collections.abc import Iterator, Sequence
import contextlib
import os
import re
import subprocess
import sys
import tempfile

import cv2
import httpx
import numpy as np
from websockets.sync import client as websockets

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import picture
from feelvos_tf.datasets.sources import folder
from feelvos_tf.runtime import packaged_files

LEAST_EQUAL = 0.999  # Of the pixels of a mask; threads add floats in another order now and then.
MODEL = 'feelvos'  # Name of the default model's export.
_START_SECONDS = 600


def demo_clip(height: int, width: int, count: int) -> tuple[list[np.ndarray], np.ndarray]:
  """(`count` frames uint8 [height, width, 3] RGB, mask uint8 [height, width]) of the demo clip."""
  frames = [
    cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    for _, frame in zip(range(count), folder.open_video(packaged_files.DEMO_CLIP).frames())
  ]
  ids = masks.read_mask(packaged_files.DEMO_MASK, void=False).ids
  return frames, cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)


def jpeg(frame: np.ndarray) -> bytes:
  """JPEG bytes of a frame, uint8 [height, width, 3] RGB, as a client sends it."""
  return cv2.imencode('.jpg', frame[..., ::-1])[1].tobytes()


def decoded(data: bytes) -> np.ndarray:
  """The frame, uint8 [height, width, 3] RGB, that a server sees of these bytes."""
  return picture.pixels(picture.inspect(data, 'frame', max_pixels=2**24), 'frame')


@contextlib.contextmanager
def exported(model_dir: str | os.PathLike | None) -> Iterator[str | os.PathLike]:
  """The folder given; or, if it is None, one with an export of the default model."""
  if model_dir is not None:
    yield model_dir
    return
  with tempfile.TemporaryDirectory() as output:
    subprocess.run(
      [sys.executable, '-m', 'feelvos_tf.export', f'--output_dir={output}'], check=True
    )
    yield output


@contextlib.contextmanager
def served(
  model_dir: str | os.PathLike, *arguments: str
) -> Iterator[tuple[subprocess.Popen, str, str]]:
  """Runs a server; yields (process, HTTP address, gRPC address)."""
  command = [
    sys.executable,
    '-m',
    'feelvos_tf.serve',
    f'--model_dir={model_dir}',
    '--port=0',
    '--grpc_port=0',
    *arguments,
  ]
  process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  try:
    line = process.stdout.readline() if process.stdout else ''
    match = re.search(r'http://(\S+) and gRPC at (\S+)', line)
    if not match:
      raise ValueError(f'the server did not start: {line or "no output"}')
    yield process, match[1], match[2]
  finally:
    process.terminate()
    process.wait(_START_SECONDS)


class HttpSession:
  """A session over HTTP."""

  def __init__(self, address: str, frame: bytes, mask: np.ndarray, model: str = MODEL) -> None:
    self._client = httpx.Client(base_url=f'http://{address}', timeout=600)
    reply = self._client.post(
      '/v1/sessions', data={'model': model}, files={'frame': frame, 'mask': masks.encode_mask(mask)}
    )
    reply.raise_for_status()
    self.url = f'/v1/sessions/{reply.json()["session_id"]}'

  def step(self, frame: bytes) -> bytes:
    """Bytes of a frame to bytes of its mask."""
    reply = self._client.post(f'{self.url}/frames', content=frame)
    reply.raise_for_status()
    return reply.content

  def correct(self, frame: bytes, mask: np.ndarray) -> None:
    """Gives the right mask of a frame."""
    self._client.post(
      f'{self.url}/mask', files={'frame': frame, 'mask': masks.encode_mask(mask)}
    ).raise_for_status()

  def close(self) -> None:
    """Ends the session."""
    self._client.delete(self.url).raise_for_status()
    self._client.close()


class WebSocketSession(HttpSession):
  """A session whose frames go over a WebSocket."""

  def __init__(self, address: str, frame: bytes, mask: np.ndarray, model: str = MODEL) -> None:
    super().__init__(address, frame, mask, model)
    self._open = contextlib.ExitStack()
    self._stream = self._open.enter_context(
      websockets.connect(f'ws://{address}{self.url}/stream', compression=None)
    )

  def step(self, frame: bytes) -> bytes:
    self._stream.send(frame)
    answer = self._stream.recv(timeout=600)
    if isinstance(answer, str):
      raise ValueError(answer)
    return answer

  def close(self) -> None:
    self._open.close()
    super().close()


def track_grpc(
  address: str, encoded: Sequence[bytes], mask: np.ndarray, model: str = MODEL
) -> list[bytes]:
  """Masks of a clip by `track` over gRPC."""
  import grpc
  import tensorflow as tf
  from tensorflow_serving.apis import predict_pb2
  from tensorflow_serving.apis import prediction_service_pb2_grpc

  request = predict_pb2.PredictRequest()
  request.model_spec.name = model
  request.inputs['image_bytes'].CopyFrom(tf.make_tensor_proto(encoded))
  request.inputs['mask_bytes'].CopyFrom(tf.make_tensor_proto(masks.encode_mask(mask)))
  options = [('grpc.max_receive_message_length', -1), ('grpc.max_send_message_length', -1)]
  with grpc.insecure_channel(address, options) as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return list(stub.Predict(request, timeout=600).outputs['masks_bytes'].string_val)


def track_rest(
  address: str, encoded: Sequence[bytes], mask: np.ndarray, model: str = MODEL
) -> list[bytes]:
  """Masks of a clip by `track` over REST."""
  pack = lambda data: {'b64': base64.b64encode(data).decode()}
  reply = httpx.post(
    f'http://{address}/v1/models/{model}:predict',
    timeout=600,
    json={
      'inputs': {
        'image_bytes': [pack(data) for data in encoded],
        'mask_bytes': pack(masks.encode_mask(mask)),
      }
    },
  )
  reply.raise_for_status()
  return [base64.b64decode(item['b64']) for item in reply.json()['outputs']['masks_bytes']]


def metric(text: str, name: str) -> float:
  """A number of what `/metrics` answers.

  Raises:
    ValueError: the server has no such metric.
  """
  match = re.search(rf'^{name} (\S+)$', text, re.M)
  if not match:
    raise ValueError(f'/metrics without {name} given, expected a server of this version.')
  return float(match[1])


def check_mask(data: bytes, expected: np.ndarray) -> None:
  """Raises ValueError unless a mask PNG is the one expected."""
  found = masks.decode_mask(data, 'answer', void=False).ids
  if found.shape != expected.shape or np.mean(found == expected) < LEAST_EQUAL:
    raise ValueError('a mask differs from the one computed in process.')

"""Frames and their masks to a video for people: over HTTP, and over a WebSocket for longer clips.

POST /v1/overlay takes a form. Over /v1/overlay/stream the client sends `{"frames_per_second": 25}`,
then a frame and its mask as two binary messages, again and again; each pair is answered with
`{"frames": n}`. After `{"end": true}` the server sends the mp4 in binary messages and
`{"done": true}`. What goes wrong is sent as `{"error": "..."}`, then the connection ends. The video
is a temporary file that lives as long as the connection.
"""

import asyncio
from collections.abc import Sequence
import contextlib
import pathlib
import tempfile
from typing import Any, TYPE_CHECKING

import fastapi
import grpc
from starlette.datastructures import UploadFile

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets import writers
from feelvos_tf.serving import calls
from feelvos_tf.serving import described
from feelvos_tf.serving import errors
from feelvos_tf.serving import forms
from feelvos_tf.serving.images import ImageDecoder

if TYPE_CHECKING:
  import numpy as np
  from numpy.typing import NDArray

  from feelvos_tf.serving.services import Services


_MOST_FRAMES = 10000
_MOST_FIELD_BYTES = 4096
_LEAST_FRAMES_PER_SECOND, _MOST_FRAMES_PER_SECOND = 0.1, 240.0
_MOST_AT_ONCE = 8  # Each one has an encoder.
_MOST_VIDEO_BYTES = 2 * 2**30
_PIECE_BYTES = 2**20
_POLICY_VIOLATION, _INTERNAL_ERROR = 1008, 1011
_FORM = described.form(
  ['frames', 'masks'],
  {'frames_per_second': {'type': 'number'}},
  ['frames', 'masks'],
  ['frames', 'masks'],
)


def build_router(services: 'Services') -> fastapi.APIRouter:
  """The route for forms; `services` is the server's `Services`."""
  router = fastapi.APIRouter()

  @router.post('/v1/overlay', openapi_extra=_FORM)
  async def overlay(request: fastapi.Request) -> fastapi.Response:
    """Form with `frames` and `masks`, as many of one as of the other: an mp4 with H.264 or VP9."""
    async with request.form(
      max_files=2 * _MOST_FRAMES, max_fields=8, max_part_size=_MOST_FIELD_BYTES
    ) as form:
      key, problem = 'frames_per_second', 'frames and masks have to be files.'
      rate = read_rate(forms.text(form, key, f'{key}: a file given, expected a number.'))
      frames, given = (forms.files(form, name, problem) for name in ('frames', 'masks'))
      if not frames or len(frames) != len(given):
        raise errors.invalid(
          f'{len(frames)} frames and {len(given)} masks given; expected one mask for every frame.'
        )
      async with calls.of_http(request) as call:
        video = await services.workers.run(
          _write, services.decoder, frames, given, rate, call, call=call
        )
    return fastapi.Response(video, media_type='video/mp4')

  return router


def read_rate(value: float | str | None) -> float:
  """Frames per second of a request: a number, its text, or None for the default.

  Raises:
    RequestError: no number, or none that makes sense.
  """
  with contextlib.suppress(OverflowError, TypeError, ValueError):
    rate = float(value) if value else writers.DEFAULT_FPS
    if _LEAST_FRAMES_PER_SECOND <= rate <= _MOST_FRAMES_PER_SECOND:
      return rate
  raise errors.invalid(
    f'frames_per_second: expected a number from {_LEAST_FRAMES_PER_SECOND:g} to '
    f'{_MOST_FRAMES_PER_SECOND:g}.'
  )


def draw(decoder: ImageDecoder, frame: bytes, mask: bytes) -> 'NDArray[np.uint8]':
  """Draws a mask over its frame.

  Args:
    decoder: `ImageDecoder`.
    frame: bytes of a JPEG or PNG.
    mask: bytes of a palette or grey PNG of the same size.

  Returns:
    uint8 [height, width, 3] RGB.

  Raises:
    RequestError, ValueError, tf.errors.InvalidArgumentError: wrong input.
  """
  decoded = decoder.mask(mask, own=True)
  image = decoder.frame(frame)
  if image.shape[:2] != decoded.ids.shape:
    raise errors.invalid(
      f'mask: {decoded.ids.shape} pixels given for a frame of {image.shape[:2]}.'
    )
  palette = decoded.palette if decoded.palette is not None else masks.DAVIS_PALETTE
  return masks.overlay(image, decoded.ids, palette, void_id=None)


def _write(
  decoder: ImageDecoder,
  frames: Sequence[UploadFile],
  given: Sequence[UploadFile],
  rate: float,
  call: calls.Call,
) -> bytes:
  """Bytes of the video; runs in a worker, which reads the spooled files directly."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'overlay.mp4'
    with writers.OverlayVideoWriter(path, rate) as writer:
      for frame, mask in zip(frames, given):
        call.check()
        writer.write_picture(draw(decoder, frame.file.read(), mask.file.read()))
    return path.read_bytes()


def build_stream_router(services: 'Services') -> fastapi.APIRouter:
  """The route /v1/overlay/stream; `services` is the server's `Services`."""
  router = fastapi.APIRouter()
  running: set[fastapi.WebSocket] = set()

  @router.websocket('/v1/overlay/stream')
  async def stream(websocket: fastapi.WebSocket) -> None:
    try:
      subprotocol = services.token.check_websocket(
        websocket.headers.get('authorization'), websocket.scope.get('subprotocols', [])
      )
      if len(running) >= _MOST_AT_ONCE:
        raise errors.RequestError(
          grpc.StatusCode.RESOURCE_EXHAUSTED,
          f'{_MOST_AT_ONCE} videos are being made; try again later.',
        )
    except errors.RequestError as error:
      await websocket.send_denial_response(
        fastapi.responses.JSONResponse({'error': str(error)}, error.status)
      )
      return
    running.add(websocket)
    try:
      await websocket.accept(subprotocol)
      await _serve(services, websocket)
    finally:
      running.discard(websocket)

  return router


async def _serve(services: 'Services', websocket: fastapi.WebSocket) -> None:
  """Makes one video; tells the client what is wrong if something is."""
  try:
    with tempfile.TemporaryDirectory() as folder:
      await _make_video(services, websocket, pathlib.Path(folder) / 'overlay.mp4')
  except fastapi.WebSocketDisconnect:
    pass  # Nobody wants the video any more.
  except TimeoutError:
    await _refuse(websocket, f'nothing came for {services.options.idle_seconds:g} seconds.')
  except Exception as error:
    known = errors.of_exception(error)
    if known is None:
      await _refuse(websocket, "internal error; see the server's log.", _INTERNAL_ERROR)
      raise
    await _refuse(websocket, str(known))


async def _make_video(
  services: 'Services', websocket: fastapi.WebSocket, path: pathlib.Path
) -> None:
  rate = _fields(await _receive(services, websocket)).get('frames_per_second')
  writer = writers.OverlayVideoWriter(path, read_rate(rate))

  def write(frame: bytes, mask: bytes) -> None:
    writer.write_picture(draw(services.decoder, frame, mask))

  try:
    while isinstance(frame := await _receive(services, websocket), bytes):
      mask = await _receive(services, websocket)
      if not isinstance(mask, bytes):
        raise errors.invalid('a frame without its mask given; send both as binary messages.')
      await services.workers.run(write, frame, mask, goes_on=writer.num_frames > 0)
      await websocket.send_json({'frames': writer.num_frames})
      _check_size(path.parent)
    if not _fields(frame).get('end'):
      raise errors.invalid('a text message given that is not {"end": true}.')
    if not writer.num_frames:
      raise errors.invalid('no frame given; send frames and masks before {"end": true}.')
  finally:
    await asyncio.shield(services.workers.run(writer.close, goes_on=True))
  with path.open('rb') as video:
    while piece := video.read(_PIECE_BYTES):
      await websocket.send_bytes(piece)
  await websocket.send_json({'done': True})
  await websocket.close()


async def _receive(services: 'Services', websocket: fastapi.WebSocket) -> bytes | str:
  """The next message: bytes or str."""
  message = await asyncio.wait_for(websocket.receive(), services.options.idle_seconds)
  if message['type'] == 'websocket.disconnect':
    raise fastapi.WebSocketDisconnect(message.get('code', 1006))
  return message['text'] if message.get('text') is not None else message['bytes']


def _fields(message: bytes | str) -> dict[str, Any]:
  """The dict in a text message."""
  try:
    fields = names_lib.parse_json(message) if isinstance(message, str) else None
  except ValueError:
    fields = None
  if not isinstance(fields, dict):
    raise errors.invalid(
      'expected a JSON object as a text message, such as {"frames_per_second": 25}.'
    )
  return fields


def _check_size(folder: pathlib.Path) -> None:
  size = sum(path.stat().st_size for path in folder.iterdir())
  if size > _MOST_VIDEO_BYTES:
    raise errors.invalid(f'the video is larger than {_MOST_VIDEO_BYTES} bytes.')


async def _refuse(
  websocket: fastapi.WebSocket, message: str, code: int = _POLICY_VIOLATION
) -> None:
  try:
    await websocket.send_json({'error': message})
    await websocket.close(code)
  except (fastapi.WebSocketDisconnect, RuntimeError):
    pass  # It went away.

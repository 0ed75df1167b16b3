"""Sessions over a WebSocket: one message per frame in, one mask per message out, in order.

With `?confidence=1` a text message with the confidences comes before each mask.
"""

import asyncio
from collections.abc import Mapping
import logging
from typing import Any, TYPE_CHECKING

import fastapi

from feelvos_tf.serving import calls
from feelvos_tf.serving import errors
from feelvos_tf.serving import tracing
from feelvos_tf.serving.session import Session

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


_INTERNAL_ERROR, _GONE, _RESTARTING = 1011, 4410, 1012
_log = logging.getLogger(__name__)


class Streams:
  """The open streams of a server, so that it can stop after what they have taken in."""

  def __init__(self) -> None:
    self._open: set[asyncio.Future] = set()
    self.stopping = asyncio.Event()

  def __len__(self) -> int:
    return len(self._open)

  async def drain(self, timeout: float) -> None:
    """Lets the streams answer what they have taken, then closes them; waits for that."""
    self.stopping.set()
    if self._open:
      await asyncio.wait(set(self._open), timeout=timeout)

  def watch(self, task: asyncio.Future) -> None:
    """Keeps a stream's task in mind until it is done."""
    self._open.add(task)
    task.add_done_callback(self._open.discard)


def build_router(services: 'Services') -> fastapi.APIRouter:
  """The route /v1/sessions/{id}/stream; `services` is the server's `Services`."""
  router = fastapi.APIRouter()

  @router.websocket('/v1/sessions/{session_id}/stream')
  async def stream(websocket: fastapi.WebSocket, session_id: str) -> None:
    try:
      subprotocol = services.token.check_websocket(
        websocket.headers.get('authorization'), websocket.scope.get('subprotocols', [])
      )
      session = services.sessions.get(session_id)
    except errors.RequestError as error:
      await websocket.send_denial_response(
        fastapi.responses.JSONResponse({'error': str(error)}, error.status)
      )
      return
    await websocket.accept(subprotocol)
    task = asyncio.ensure_future(_Stream(services, session, websocket).run())
    services.streams.watch(task)
    await task

  return router


class _Stream:
  """One connection: a reader that takes a bounded number of frames, a writer that answers."""

  def __init__(self, services: 'Services', session: Session, websocket: fastapi.WebSocket) -> None:
    self._services, self._session, self._websocket = services, session, websocket
    self._queue: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue(
      services.options.stream_queue
    )
    self._call = calls.Call()
    self._tells_confidence = websocket.query_params.get('confidence') == '1'
    self._idle_seconds = services.options.idle_seconds

  async def run(self) -> None:
    reader = asyncio.ensure_future(self._read())
    try:
      await self._answer()
    finally:
      reader.cancel()
      await asyncio.gather(reader, return_exceptions=True)

  async def _read(self) -> None:
    """Puts messages into the queue; None at the end of the connection, or of the server."""
    stop = asyncio.ensure_future(self._services.streams.stopping.wait())
    try:
      await self._take_until(stop)
    except Exception:  # The answers have to end then, whatever it was.
      _log.exception('reading a stream failed')
    finally:
      stop.cancel()
    await self._queue.put(None)

  async def _take_until(self, stop: asyncio.Future) -> None:
    while True:
      receive = asyncio.ensure_future(self._websocket.receive())
      try:
        await asyncio.wait(
          {receive, stop}, timeout=self._idle_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if stop.done() and not receive.done():
          return
        if not receive.done():
          if self._session.lock.locked() or not self._queue.empty():
            continue  # The client waits for answers.
          await self._websocket.close(_GONE, f'no frame for {self._idle_seconds:g} seconds')
          return
      finally:
        receive.cancel()
      message = receive.result()
      if message['type'] == 'websocket.disconnect':
        self._call.end(calls.cancelled())
        return
      await self._queue.put(message)

  async def _answer(self) -> None:
    try:
      while (message := await self._queue.get()) is not None and not self._call.over:
        if not await self._answer_one(message):
          return
      if self._services.streams.stopping.is_set():
        await self._websocket.close(_RESTARTING, 'the server is stopping')
    except (fastapi.WebSocketDisconnect, RuntimeError):
      pass  # The client went away before its answer; the session waits for another one.

  async def _answer_one(self, message: Mapping[str, Any]) -> bool:
    """Answers a message; False if that was the last one."""
    frame = message.get('bytes')
    try:
      if not frame:
        raise errors.invalid(
          'an empty or a text message given; send one encoded frame as one binary message.'
        )
      with tracing.span('frame'):
        reply = await self._services.sessions.step(self._session, frame, self._call)
    except Exception as error:
      known = errors.of_exception(error)
      code = known.status if known else 500
      self._count(code)
      await self._websocket.send_json(
        {'error': str(known) if known else "internal error; see the server's log."}
      )
      if known is None:
        await self._websocket.close(_INTERNAL_ERROR)
        raise
      if not self._session.open:
        await self._websocket.close(_GONE, 'the session is closed')
        return False
      return True
    self._count(200)
    if self._tells_confidence:
      await self._websocket.send_json(reply.describe())
    await self._websocket.send_bytes(reply.png)
    return True

  def _count(self, code: int) -> None:
    self._services.metrics.requests.labels('websocket', 'frame', str(code)).inc()

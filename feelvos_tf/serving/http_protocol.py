"""HTTP/1.1 connections that do not last for ever: time to send a request, and a limit of them.

uvicorn waits for the rest of a request as long as the connection lives. Here its headers have to
come within some seconds, its body within some seconds and one more for every 1000 bytes, and
answers have to be read. Idle connections between requests are closed by uvicorn.
"""

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http import h11_impl

from feelvos_tf.serving import options as options_lib

_LEAST_BYTES_PER_SECOND = 1000.0
_SECONDS_TO_READ = 60.0  # Without a byte of an answer being read.
_HEADERS, _BODY, _ANSWER = 'headers', 'body', 'answer'


class BoundedProtocol(h11_impl.H11Protocol):
  """uvicorn's protocol for one connection, with limits."""

  def __init__(self, *args: Any, options: options_lib.ServingOptions, **kwargs: Any) -> None:
    """Args: those of uvicorn's protocol; the options with the limits."""
    super().__init__(*args, **kwargs)
    self._most = options.max_connections
    self._seconds = {_HEADERS: options.header_seconds, _BODY: options.body_seconds}
    self._every = min(1.0, min(self._seconds.values()) / 4)
    self._timer: asyncio.TimerHandle | None = None
    self._state, self._deadline = _HEADERS, 0.0
    self._received = self._unread = 0

  def connection_made(  # type: ignore[override]  # As uvicorn's protocol narrows it.
    self, transport: asyncio.Transport
  ) -> None:
    """Takes a connection, or refuses one above the limit."""
    if len(self.connections) >= self._most:
      self.transport = transport
      self._refuse(503, f'{self._most} connections are open, no more are allowed.')
      return
    super().connection_made(transport)
    self._timer = self.loop.call_later(self._every, self._look)
    self._begin(_HEADERS)

  def connection_lost(self, exc: Exception | None) -> None:
    """Lets go of the connection."""
    if self._timer is not None:
      self._timer.cancel()
    super().connection_lost(exc)

  def data_received(self, data: bytes) -> None:
    """Takes a piece of a request."""
    self._received += len(data)
    super().data_received(data)

  def handle_websocket_upgrade(self, event: h11.Request) -> None:
    """Hands the connection over to the protocol of WebSockets, which uvicorn pings."""
    if self._timer is not None:
      self._timer.cancel()
    super().handle_websocket_upgrade(event)

  def send_400_response(self, msg: str) -> None:
    """Answers bytes that are no request, in JSON like every other error."""
    self._refuse(400, msg)

  def on_response_complete(self) -> None:
    """Gets ready for the next request of the connection."""
    self._received = 0
    super().on_response_complete()

  def _begin(self, state: str) -> None:
    self._state = state
    self._deadline = self.loop.time() + self._seconds.get(state, _SECONDS_TO_READ)

  def _look(self) -> None:
    """Looks, every second, what the connection waits for, and whether for too long."""
    self._timer = self.loop.call_later(self._every, self._look)
    unread = self.transport.get_write_buffer_size()
    state = {h11.IDLE: _HEADERS, h11.SEND_BODY: _BODY}.get(self.conn.their_state, _ANSWER)
    if unread:
      state = _ANSWER
    is_read = state == _ANSWER and (not unread or unread != self._unread)
    self._unread = unread
    if state != self._state or is_read:
      self._begin(state)
    elif self.loop.time() > self._deadline + self._time_for_size():
      self._give_up()

  def _time_for_size(self) -> float:
    return self._received / _LEAST_BYTES_PER_SECOND if self._state == _BODY else 0.0

  def _give_up(self) -> None:
    """Closes a connection that has taken too long."""
    if self._state == _ANSWER:
      self.transport.abort()
    elif not self._received or (self.cycle and self.cycle.response_started):
      self.transport.close()
    else:
      seconds = self._seconds[self._state]
      self._refuse(408, f'the {self._state} of a request did not come within {seconds:g} seconds.')

  def _refuse(self, status: int, message: str) -> None:
    """Answers outside of a request, as no application does it, and closes."""
    body = json.dumps({'error': message}).encode()
    reason = h11_impl.STATUS_PHRASES[status]
    self.transport.write(
      b'HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nConnection: close\r\n'
      b'Content-Length: %d\r\n\r\n%b' % (status, reason, len(body), body)
    )
    self.transport.close()


def bounded_by(options: options_lib.ServingOptions) -> type[BoundedProtocol]:
  """`BoundedProtocol` with these limits, as uvicorn wants it: a class."""

  class Bounded(BoundedProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
      super().__init__(*args, options=options, **kwargs)

  return Bounded

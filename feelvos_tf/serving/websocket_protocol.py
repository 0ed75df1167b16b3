"""WebSockets of the server."""

import asyncio
from typing import TYPE_CHECKING

from uvicorn.protocols.websockets import websockets_sansio_impl

if TYPE_CHECKING:
  from uvicorn._types import ASGISendEvent


class WebSocketProtocol(websockets_sansio_impl.WebSocketsSansIOProtocol):
  """uvicorn's protocol for one WebSocket.

  uvicorn takes one that was refused with an answer of HTTP for one that was forgotten, and writes a
  line about it into the log of errors: whoever sends a wrong token could fill the disk.

  uvicorn also closes the socket right after it has said why a message cannot be read (it is too
  large, say). What the client is still sending then meets a closed socket; the client is told
  "connection reset", and the reason is lost. This one reads on, into nothing, until the client
  closes or `close_timeout` (10 s) is over.
  """

  # Known without uvicorn, too: `make lint` runs where only the light core is installed.
  close_timer: asyncio.TimerHandle | None

  def data_received(self, data: bytes) -> None:
    """Takes bytes of the client; after the stream was failed they are dropped."""
    if self.conn.parser_exc is None:
      super().data_received(data)

  def handle_parser_exception(self) -> None:
    """Says why the stream cannot be read, and waits for the client to close."""
    closed = self.conn.close_sent
    assert closed is not None  # A parser that fails sends it.
    self.queue.put_nowait(
      {'type': 'websocket.disconnect', 'code': closed.code, 'reason': closed.reason}
    )
    self.stop_keepalive()
    self.transport.write(b''.join(self.conn.data_to_send()))
    self.close_sent = True
    if self.close_timer is None:
      self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)
    if self.transport.can_write_eof():
      self.transport.write_eof()

  async def send(self, message: 'ASGISendEvent') -> None:
    """Sends an ASGI message."""
    await super().send(message)
    if message['type'] == 'websocket.http.response.body' and not message.get('more_body'):
      self.handshake_complete = True

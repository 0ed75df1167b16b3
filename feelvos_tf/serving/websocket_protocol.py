"""WebSockets of the server."""

from typing import TYPE_CHECKING

from uvicorn.protocols.websockets import websockets_sansio_impl

if TYPE_CHECKING:
  from uvicorn._types import ASGISendEvent


class WebSocketProtocol(websockets_sansio_impl.WebSocketsSansIOProtocol):
  """uvicorn's protocol for one WebSocket.

  uvicorn takes one that was refused with an answer of HTTP for one that was forgotten, and writes a
  line about it into the log of errors: whoever sends a wrong token could fill the disk.
  """

  async def send(self, message: 'ASGISendEvent') -> None:
    """Sends an ASGI message."""
    await super().send(message)
    if message['type'] == 'websocket.http.response.body' and not message.get('more_body'):
      self.handshake_complete = True

"""Runs the application: sockets, uvicorn, gRPC, and an orderly end."""

import socket

import uvicorn

from feelvos_tf.serving import app as app_lib
from feelvos_tf.serving import grpc_service
from feelvos_tf.serving import http_protocol
from feelvos_tf.serving import websocket_protocol
from feelvos_tf.serving.services import Services
from feelvos_tf.serving.tls import Tls

_BACKLOG = 2048


class Server(uvicorn.Server):
  """uvicorn's server; streams answer what they have taken before their connections are closed.

  On SIGTERM uvicorn ends running HTTP requests by itself, but closes WebSockets at once. After
  its end it raises the signal again, so nothing after `run` is sure to happen: gRPC stops in the
  application's lifespan.
  """

  def __init__(self, config: uvicorn.Config, services: Services, grace: float) -> None:
    """Args: `uvicorn.Config`, `Services`, seconds that streams get."""
    super().__init__(config)
    self._services, self._grace = services, grace

  async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
    """Drains streams, then does what uvicorn does."""
    self._services.stopping = True
    await self._services.streams.drain(self._grace)
    await super().shutdown(sockets)


def bind(host: str, port: int) -> socket.socket:
  """A listening socket.

  Raises:
    ValueError: the address cannot be bound.
  """
  try:
    family, kind, _, _, address = socket.getaddrinfo(
      host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )[0]
    # The protocol has to be named: asyncio turns Nagle's algorithm off only where it is. With it
    # every answer takes 40 ms.
    listening = socket.socket(family, kind, socket.IPPROTO_TCP)
  except OSError as error:
    raise _cannot_listen(host, port, error) from error
  try:
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
    listening.listen(_BACKLOG)
  except OSError as error:
    listening.close()
    raise _cannot_listen(host, port, error) from error
  return listening


def _cannot_listen(host: str, port: int, error: OSError) -> ValueError:
  return ValueError(
    f'{host}:{port}: cannot listen there ({error.strerror or error}); choose '
    'another --host or --port.'
  )


def build_server(
  services: Services,
  port: int = 8501,
  grpc_port: int | None = 8500,
  grace: float = 30.0,
  tls: Tls | None = None,
  grpc_socket_path: str = '',
) -> tuple[Server, list[socket.socket], int, int | None]:
  """A server that is bound and has to be run.

  Args:
    services: `Services`; listens on `options.host`.
    port, grpc_port: 0 takes a free one; grpc_port None has no gRPC.
    grace: seconds that running requests get when the server stops.
    tls: `Tls` for both; None has no encryption.
    grpc_socket_path: of a Unix socket for gRPC in addition, without TLS; '' has none.

  Returns:
    (`Server`, list of sockets for its `run`, HTTP port, gRPC port or None).

  Raises:
    ValueError: an address cannot be bound.
  """
  host = services.options.host
  http_socket = bind(host, port)
  grpc_server = None
  if grpc_port is not None:
    name = f'[{host}]' if ':' in host else host
    try:
      grpc_server, grpc_port = grpc_service.build_server(
        services, f'{name}:{grpc_port}', tls, grpc_socket_path
      )
    except ValueError:
      http_socket.close()
      raise
  app = app_lib.create_app(services, grpc_server, grace)
  config = uvicorn.Config(
    # Not 'auto': then packages that happen to be installed would change the server.
    app,
    http=http_protocol.bounded_by(services.options),
    ws=websocket_protocol.WebSocketProtocol,
    loop='asyncio',
    log_level='error',  # A warning says what a client did, and anybody could fill the log.
    access_log=False,
    ws_max_size=services.options.max_body_bytes,
    ws_max_queue=services.options.stream_queue,
    ws_per_message_deflate=False,
    timeout_graceful_shutdown=max(1, round(grace)),
    ssl_context_factory=None if tls is None else lambda *_: tls.context(),
  )
  return (Server(config, services, grace), [http_socket], http_socket.getsockname()[1], grpc_port)

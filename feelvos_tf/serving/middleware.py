"""Around every request over HTTP: who may send it, what it is called, counted and logged as."""

from collections.abc import Awaitable, Callable, Mapping
import re
import time
from typing import TYPE_CHECKING
import urllib.parse

from fastapi import responses
from starlette.datastructures import Headers
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp
from starlette.types import Message
from starlette.types import Receive
from starlette.types import Scope
from starlette.types import Send
from starlette.websockets import WebSocket

from feelvos_tf.serving import access
from feelvos_tf.serving import access_log
from feelvos_tf.serving import errors
from feelvos_tf.serving import tracing

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


_ABSOLUTE = re.compile(r'https?://(?P<authority>[^/]*)(?P<path>/.*)?', re.IGNORECASE | re.DOTALL)
_METHODS = ('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH')


class Outermost:
  """Counts, logs and traces answers; refuses what is refused before anything is read.

  That is: requests to another name, of another page, and with two lengths.
  """

  def __init__(self, app: ASGIApp, services: 'Services') -> None:
    """Args: the ASGI application inside; `Services`."""
    self._app, self._services = app, services
    options = services.options
    self._access = access.AccessCheck(options.host, options.allowed_hosts, options.allowed_origins)
    self._headers = {
      'Content-Security-Policy': ' '.join(("frame-ancestors 'self'", *options.allowed_origins)),
      'Cross-Origin-Resource-Policy': 'cross-origin' if options.allowed_origins else 'same-origin',
      'X-Content-Type-Options': 'nosniff',
    }

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request; see the ASGI specification."""
    if scope['type'] == 'lifespan':
      await self._app(scope, receive, send)
      return
    scope = _with_path(scope)
    headers = Headers(scope=scope)
    record = _Record(scope, headers, self._services)
    with self._services.tracing.request(record.name, headers) as span:
      try:
        await self._answer(scope, headers, record.receive(receive), self._sender(record, send))
      finally:
        record.write(span)

  async def _answer(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
    refusal = self._access.refusal(headers.getlist('host'), headers.getlist('origin'))
    if refusal and scope['type'] == 'websocket':
      await WebSocket(scope, receive, send).send_denial_response(error_answer(refusal, 403))
    elif refusal:
      await error_answer(refusal, 403)(scope, receive, send)
    elif 'content-length' in headers and 'transfer-encoding' in headers:
      # A proxy in front may take the other one, and see other requests than this server.
      message = 'Content-Length and Transfer-Encoding given; send one of them.'
      await error_answer(message, 400, {'Connection': 'close'})(scope, receive, send)
    else:
      await self._app(scope, receive, send)

  def _sender(self, record: '_Record', send: Send) -> Send:
    async def counting_send(message: Message) -> None:
      if message['type'] == 'http.response.start':
        # Any word may stand where the method does; labels have to be few.
        method = record.method if record.method in _METHODS else 'other'
        self._services.metrics.requests.labels('http', method, str(message['status'])).inc()
        MutableHeaders(scope=message).update(
          {**self._headers, access_log.HEADER: record.request_id}
        )
      record.sent(message)
      await send(message)

    return counting_send


class LengthLimit:
  """Refuses bodies that say they are too large, before anything of them is read.

  Inside the headers of CORS, so that an allowed page can read why.
  """

  def __init__(self, app: ASGIApp, services: 'Services') -> None:
    """Args: the ASGI application inside; `Services`."""
    self._app, self._services = app, services

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request; see the ASGI specification."""
    length = Headers(scope=scope).get('content-length', '') if scope['type'] == 'http' else ''
    if length.isdecimal() and int(length) > self._services.options.max_body_bytes:
      await error_answer(too_large(self._services), 413)(scope, receive, send)
    else:
      await self._app(scope, receive, send)


class Unexpected:
  """Answers what nothing inside has answered, so that a bug is counted and logged as all else.

  The framework's own place for that lies around all middleware: its answers are in no metric and
  no line of the access log, and have neither request id nor the headers of CORS.
  """

  def __init__(
    self, app: ASGIApp, answer: Callable[[Request, Exception], Awaitable[ASGIApp]]
  ) -> None:
    """Args: the ASGI application inside; the response for a request and its exception."""
    self._app, self._answer = app, answer

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request; see the ASGI specification."""
    if scope['type'] != 'http':
      await self._app(scope, receive, send)
      return
    begun = False

    async def watched(message: Message) -> None:
      nonlocal begun
      begun = True
      await send(message)

    try:
      await self._app(scope, receive, watched)
    except Exception as error:
      if begun:
        raise
      response = await self._answer(Request(scope), error)
      await response(scope, receive, send)


def _with_path(scope: Scope) -> Scope:
  """A scope whose target is a path; of a whole URL the authority stands for Host.

  Source: RFC 9112 section 3.2.2.
  """
  match = _ABSOLUTE.fullmatch(scope['path'])
  if match is None:
    return scope
  others = [(name, value) for name, value in scope['headers'] if name != b'host']
  host = (b'host', match['authority'].encode('utf-8', 'replace'))
  path = match['path'] or '/'
  return {
    **scope,
    'path': path,
    'raw_path': urllib.parse.quote(path).encode(),
    'headers': [host, *others],
  }


class _Record:
  """What the access log says of a request.

  Attributes:
    request_id, method, name: str; the name is that of its span.
  """

  def __init__(self, scope: Scope, headers: Headers, services: 'Services') -> None:
    self.request_id = access_log.request_id(headers.get(access_log.HEADER))
    scope['request_id'] = self.request_id
    self.method = scope.get('method', 'GET')
    self._path, self._session = access_log.without_session(scope['path'])
    self.name = f'{self.method} {self._path}'
    self._protocol, self._client = scope['type'], (scope.get('client') or ('',))[0]
    self._log, self._begun = services.access_log, time.perf_counter()
    self._status, self._bytes_in, self._bytes_out = None, 0, 0

  def receive(self, receive: Receive) -> Receive:
    """The function `receive` of ASGI, watched."""

    async def watched() -> Message:
      message = await receive()
      self._bytes_in += _size(message)
      if message['type'] == 'websocket.disconnect':
        self._status = self._status or message.get('code')
      return message

    return watched

  def sent(self, message: Message) -> None:
    """Takes a message of the answer."""
    self._bytes_out += _size(message)
    if message['type'] in ('http.response.start', 'websocket.http.response.start'):
      self._status = message['status']
    elif message['type'] == 'websocket.close':
      self._status = message.get('code')

  def write(self, span: tracing.Span) -> None:
    """Writes the line, and gives the span its attributes."""
    span.set(http__request__method=self.method, url__path=self._path)
    if self._status is not None:
      span.set(http__response__status_code=self._status)
    self._log.write(
      request_id=self.request_id,
      trace_id=span.trace_id,
      protocol=self._protocol,
      client=self._client,
      method=self.method,
      path=self._path,
      session=self._session,
      status=self._status,
      seconds=round(time.perf_counter() - self._begun, 6),
      request_bytes=self._bytes_in,
      response_bytes=self._bytes_out,
    )


def _size(message: Message) -> int:
  return len(message.get('body') or message.get('bytes') or message.get('text') or b'')


def too_large(services: 'Services') -> str:
  """The message for a client whose body is larger than `max_body_bytes`."""
  return (
    f'the body is larger than {services.options.max_body_bytes} bytes; send less at a time, '
    'or start the server with a higher --max_body_bytes.'
  )


def error_answer(
  message: object, status: int, headers: Mapping[str, str] | None = None
) -> responses.JSONResponse:
  """`Response` with one line of JSON."""
  return responses.JSONResponse({'error': errors.one_line(message)}, status, headers)

"""The HTTP application: routes, errors as one line of JSON, limits, and what runs beside them."""

import asyncio
import contextlib
import logging

import fastapi
from fastapi import exceptions
from fastapi import responses
from starlette import exceptions as starlette_exceptions
from starlette.datastructures import Headers
from starlette.datastructures import MutableHeaders
from starlette.middleware import body_limit
from starlette.middleware import cors
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocket

from feelvos_tf.serving import access
from feelvos_tf.serving import errors
from feelvos_tf.serving import overlay_route
from feelvos_tf.serving import overlay_stream_route
from feelvos_tf.serving import page_routes
from feelvos_tf.serving import platform_routes
from feelvos_tf.serving import rest_routes
from feelvos_tf.serving import session_routes
from feelvos_tf.serving import stream_route

_CLIENT_WENT_AWAY = 499
_EVICTION_SECONDS = 5.0
# Headers of answers that pages of allowed origins may read.
_EXPOSED_HEADERS = ('X-Frame-Index', 'X-Object-Ids', 'X-Confidence')
_METHODS = ('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH')
_log = logging.getLogger(__name__)


def create_app(services, grpc_server=None, grpc_grace=30.0):
  """Builds the application.

  Args:
    services: `Services`.
    grpc_server: bound `grpc.Server`; started and stopped with the application.
    grpc_grace: seconds that running gRPC calls get to finish when the application stops.

  Returns:
    `fastapi.FastAPI`.
  """
  # The documentation pages of FastAPI load scripts from elsewhere. The description needs the token.
  app = fastapi.FastAPI(
    title='FEELVOS',
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    redirect_slashes=False,
    lifespan=_lifespan(services, grpc_server, grpc_grace),
  )
  app.state.services = services
  app.add_middleware(
    body_limit.RequestBodyLimitMiddleware, max_body_size=services.options.max_body_bytes
  )
  options = services.options
  if options.allowed_origins:
    app.add_middleware(
      cors.CORSMiddleware,
      allow_origins=options.allowed_origins,
      allow_methods=['*'],
      allow_headers=['*'],
      expose_headers=_EXPOSED_HEADERS,
    )
  app.add_middleware(_Outermost, services=services)
  _add_error_handlers(app)
  app.include_router(page_routes.build_open_router(services))
  app.include_router(platform_routes.build_health_router(services))
  page_routes.mount_static(app)

  def need_token(request: fastapi.Request):
    services.token.check(request.headers.get('authorization'))

  for router in (
    session_routes.build_router(services),
    overlay_route.build_router(services),
    rest_routes.build_router(services),
    platform_routes.build_router(services, rest_routes.predict_text),
    page_routes.build_metrics_router(services),
    page_routes.build_description_router(app),
  ):
    app.include_router(router, dependencies=[fastapi.Depends(need_token)])
  for router in (
    stream_route.build_router(services),
    overlay_stream_route.build_router(services),
  ):  # They check the token themselves.
    app.include_router(router)
  return app


def _lifespan(services, grpc_server, grpc_grace):
  """What runs beside the routes, and the order in which everything ends."""

  @contextlib.asynccontextmanager
  async def lifespan(app):
    del app
    tasks = [
      asyncio.ensure_future(_watch_models(services)),
      asyncio.ensure_future(_watch_model_config(services)),
      asyncio.ensure_future(_evict(services)),
    ]
    if grpc_server is not None:
      grpc_server.start()
    try:
      yield
    finally:
      services.stopping = True
      for task in tasks:
        task.cancel()
      if grpc_server is not None:
        await asyncio.to_thread(grpc_server.stop(grpc_grace).wait)
      await services.sessions.close_all()
      await asyncio.to_thread(services.workers.close)

  return lifespan


class _Outermost:
  """Counts answers, and refuses what is refused before anything is read.

  That is: requests to another name, of another page, and bodies that say they are too large.
  """

  def __init__(self, app, services):
    self._app, self._services = app, services
    options = services.options
    self._access = access.AccessCheck(options.host, options.allowed_hosts, options.allowed_origins)
    self._headers = {
      'Content-Security-Policy': ' '.join(("frame-ancestors 'self'", *options.allowed_origins)),
      'Cross-Origin-Resource-Policy': 'cross-origin' if options.allowed_origins else 'same-origin',
      'X-Content-Type-Options': 'nosniff',
    }

  async def __call__(self, scope, receive, send):
    if scope['type'] == 'lifespan':
      await self._app(scope, receive, send)
      return

    async def counting_send(message):
      if message['type'] == 'http.response.start':
        # Any word may stand where the method does; labels have to be few.
        method = scope['method'] if scope['method'] in _METHODS else 'other'
        self._services.metrics.requests.labels('http', method, str(message['status'])).inc()
        MutableHeaders(scope=message).update(self._headers)
      await send(message)

    headers = Headers(scope=scope)
    refusal = self._access.refusal(headers.getlist('host'), headers.getlist('origin'))
    if refusal and scope['type'] == 'websocket':
      await WebSocket(scope, receive, send).send_denial_response(_error(refusal, 403))
    elif refusal:
      await _error(refusal, 403)(scope, receive, counting_send)
    elif scope['type'] == 'http' and self._is_too_large(headers.get('content-length', '')):
      await _error(_too_large(self._services), 413)(scope, receive, counting_send)
    else:
      await self._app(scope, receive, counting_send)

  def _is_too_large(self, length):
    return length.isdecimal() and int(length) > self._services.options.max_body_bytes


def _too_large(services):
  return (
    f'the body is larger than {services.options.max_body_bytes} bytes; send less at a time, '
    'or start the server with a higher --max_body_bytes.'
  )


def _error(message, status, headers=None):
  return responses.JSONResponse({'error': errors.one_line(message)}, status, headers)


def _add_error_handlers(app):
  services = app.state.services

  async def on_http_exception(request, error):
    del request
    message = _too_large(services) if error.status_code == 413 else error.detail
    return _error(message, error.status_code, getattr(error, 'headers', None))

  async def on_invalid_request(request, error):
    del request
    return _error(
      '; '.join(
        f'{".".join(map(str, problem["loc"]))}: {problem["msg"]}' for problem in error.errors()
      ),
      400,
    )

  async def on_disconnect(request, error):
    del request, error
    return fastapi.Response(status_code=_CLIENT_WENT_AWAY)  # Nobody reads it; it is counted.

  async def on_exception(request, error):
    known = errors.of_exception(error)
    if known is None:
      _log.error('%s %s failed', request.method, request.url.path, exc_info=error)
      return _error("internal error; see the server's log.", 500)
    headers = {'WWW-Authenticate': 'Bearer'} if known.status == 401 else None
    return _error(known, known.status, headers)

  app.add_exception_handler(starlette_exceptions.HTTPException, on_http_exception)
  app.add_exception_handler(exceptions.RequestValidationError, on_invalid_request)
  app.add_exception_handler(ClientDisconnect, on_disconnect)
  for kind in (errors.RequestError, ValueError, *errors.OF_TENSORFLOW, MemoryError, Exception):
    app.add_exception_handler(kind, on_exception)


async def _watch_models(services):
  """Loads new versions as they appear, in a thread."""
  while True:
    await asyncio.sleep(services.options.file_system_poll_wait_seconds)
    try:
      await asyncio.to_thread(services.models.refresh)
    except Exception:
      _log.exception('looking for new versions failed')


async def _watch_model_config(services):
  """Serves what the file with the models says, whenever it has changed."""
  seconds = services.options.model_config_file_poll_wait_seconds
  said = ''
  while seconds and services.options.model_config_file:
    await asyncio.sleep(seconds)
    try:
      await asyncio.to_thread(services.read_model_config)
      said = ''
    except (OSError, ValueError) as error:
      if str(error) != said:
        _log.warning('the models stay as they are: %s', error)
      said = str(error)
    except Exception:
      _log.exception('looking at the models failed')


async def _evict(services):
  """Closes sessions that nobody uses."""
  while True:
    await asyncio.sleep(min(_EVICTION_SECONDS, services.options.idle_seconds / 4))
    services.sessions.evict_idle()

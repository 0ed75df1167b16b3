"""The HTTP application: routes, errors as one line of JSON, limits, and background tasks."""

import asyncio
from collections.abc import AsyncIterator, Callable
import contextlib
import logging
from typing import TYPE_CHECKING

import fastapi
from fastapi import exceptions
import grpc
from starlette import exceptions as starlette_exceptions
from starlette.middleware import body_limit
from starlette.middleware import cors
from starlette.requests import ClientDisconnect

from feelvos_tf.serving import access_log
from feelvos_tf.serving import draw_route
from feelvos_tf.serving import errors
from feelvos_tf.serving import memory
from feelvos_tf.serving import middleware
from feelvos_tf.serving import overlay_routes
from feelvos_tf.serving import page_routes
from feelvos_tf.serving import platform_routes
from feelvos_tf.serving import rest_routes
from feelvos_tf.serving import results_route
from feelvos_tf.serving import session_routes
from feelvos_tf.serving import stream_route
from feelvos_tf.serving import tracing

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


_CLIENT_WENT_AWAY = 499
_EVICTION_SECONDS = 5.0
_MEMORY_SECONDS = 30.0
# Headers of answers that pages of allowed origins may read.
_EXPOSED_HEADERS = ('X-Frame-Index', 'X-Object-Ids', 'X-Confidence', 'X-Request-Id')
_log = logging.getLogger(__name__)


def create_app(
  services: 'Services', grpc_server: grpc.Server | None = None, grpc_grace: float = 30.0
) -> fastapi.FastAPI:
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
  _add_error_handlers(app)
  _add_middleware(app, services)
  app.include_router(page_routes.build_open_router(services))
  app.include_router(platform_routes.build_health_router(services))
  page_routes.mount_static(app)

  def need_token(request: fastapi.Request) -> None:
    services.token.check(request.headers.get('authorization'))

  for router in (
    session_routes.build_router(services),
    overlay_routes.build_router(services),
    draw_route.build_router(services),
    results_route.build_router(services),
    rest_routes.build_router(services),
    platform_routes.build_router(services, rest_routes.predict_text),
    page_routes.build_metrics_router(services),
    page_routes.build_description_router(app),
  ):
    app.include_router(router, dependencies=[fastapi.Depends(need_token)])
  for router in (
    stream_route.build_router(services),
    overlay_routes.build_stream_router(services),
  ):  # They check the token themselves.
    app.include_router(router)
  return app


def _add_middleware(app: fastapi.FastAPI, services: 'Services') -> None:
  options = services.options
  app.add_middleware(body_limit.RequestBodyLimitMiddleware, max_body_size=options.max_body_bytes)
  app.add_middleware(middleware.LengthLimit, services=services)
  if options.allowed_origins:
    app.add_middleware(
      cors.CORSMiddleware,
      # As browsers write them; `AccessCheck` takes any case.
      allow_origins=[origin.lower() for origin in options.allowed_origins],
      allow_methods=['*'],
      allow_headers=['*'],
      expose_headers=_EXPOSED_HEADERS,
    )
  app.add_middleware(middleware.Outermost, services=services)


def _lifespan(services: 'Services', grpc_server: grpc.Server | None, grpc_grace: float) -> Callable:
  """Starts the background tasks of the server, and ends everything in order."""

  @contextlib.asynccontextmanager
  async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
    del app
    tasks = [
      asyncio.ensure_future(_watch_models(services)),
      asyncio.ensure_future(_watch_model_config(services)),
      asyncio.ensure_future(_evict(services)),
      asyncio.ensure_future(_hand_back_memory()),
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
      await asyncio.to_thread(services.tracing.close)

  return lifespan


def _add_error_handlers(app: fastapi.FastAPI) -> None:
  services = app.state.services

  @app.exception_handler(starlette_exceptions.HTTPException)
  async def on_http_exception(
    request: fastapi.Request, error: starlette_exceptions.HTTPException
  ) -> fastapi.Response:
    del request
    message = middleware.too_large(services) if error.status_code == 413 else error.detail
    return middleware.error_answer(message, error.status_code, getattr(error, 'headers', None))

  @app.exception_handler(exceptions.RequestValidationError)
  async def on_invalid_request(
    request: fastapi.Request, error: exceptions.RequestValidationError
  ) -> fastapi.Response:
    del request
    return middleware.error_answer(
      '; '.join(
        f'{".".join(map(str, problem["loc"]))}: {problem["msg"]}' for problem in error.errors()
      ),
      400,
    )

  @app.exception_handler(ClientDisconnect)
  async def on_disconnect(request: fastapi.Request, error: ClientDisconnect) -> fastapi.Response:
    del request, error
    return fastapi.Response(status_code=_CLIENT_WENT_AWAY)  # Nobody reads it; it is counted.

  async def on_exception(request: fastapi.Request, error: Exception) -> fastapi.Response:
    known = errors.of_exception(error)
    if known is None:
      name = request.scope.get('request_id')
      path, _ = access_log.without_session(request.url.path)
      _log.error('%s %s (%s) failed', request.method, path, name, exc_info=error)
      tracing.failed(error)
      return middleware.error_answer("internal error; see the server's log.", 500)
    headers = {'WWW-Authenticate': 'Bearer'} if known.status == 401 else None
    return middleware.error_answer(known, known.status, headers)

  for kind in (errors.RequestError, ValueError, *errors.OF_TENSORFLOW, MemoryError, Exception):
    app.add_exception_handler(kind, on_exception)
  app.add_middleware(middleware.Unexpected, answer=on_exception)


async def _watch_models(services: 'Services') -> None:
  """Loads new versions as they appear."""
  seconds = services.options.file_system_poll_wait_seconds
  await _every(seconds, services.models.refresh, 'looking for new versions failed')


async def _watch_model_config(services: 'Services') -> None:
  """Serves what the file with the models says, whenever it has changed."""
  seconds = services.options.model_config_file_poll_wait_seconds
  if seconds and services.options.model_config_file:
    await _every(seconds, services.read_model_config, 'the models stay as they are')


async def _every(seconds: float, look: Callable[[], object], failed: str) -> None:
  """Calls a function again and again, in a thread, whatever it raises.

  What it raises may last: a line at every call would fill the disk, so it is logged once.
  """
  said = ''
  while True:
    await asyncio.sleep(seconds)
    try:
      await asyncio.to_thread(look)
      said = ''
    except Exception as error:
      if repr(error) != said:
        is_bug = not isinstance(error, (OSError, ValueError))
        level = logging.ERROR if is_bug else logging.WARNING
        _log.log(level, '%s: %s', failed, str(error) or repr(error), exc_info=is_bug)
      said = repr(error)


async def _evict(services: 'Services') -> None:
  """Closes sessions that nobody uses."""
  while True:
    await asyncio.sleep(min(_EVICTION_SECONDS, services.options.idle_seconds / 4))
    services.sessions.evict_idle()


async def _hand_back_memory() -> None:
  """Returns free memory to the system from time to time, in a thread."""
  while True:
    await asyncio.sleep(_MEMORY_SECONDS)
    await asyncio.to_thread(memory.hand_back)

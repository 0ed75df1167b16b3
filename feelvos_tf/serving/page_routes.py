"""What needs no token: the page with its demo clip, limits, health and readiness. And metrics."""

import pathlib
from typing import Any, TYPE_CHECKING

import fastapi
from fastapi import responses
from starlette.staticfiles import StaticFiles

from feelvos_tf.runtime import packaged_files

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


_DEMO = {path.name: path for path in (packaged_files.DEMO_CLIP, packaged_files.DEMO_MASK)}
_READ = ['GET', 'HEAD']
# Browsers keep files for days without asking; after an update, old modules do not fit new ones.
_ASK_AGAIN = {'Cache-Control': 'no-cache'}


def build_open_router(services: 'Services') -> fastapi.APIRouter:
  """Routes for everybody; `services` is the server's `Services`."""
  router = fastapi.APIRouter()
  options = services.options

  @router.api_route('/healthz', methods=_READ, response_model=None)
  async def health() -> dict[str, Any]:
    """Whether the process answers."""
    return {'status': 'ok'}

  @router.api_route('/readyz', methods=_READ, response_model=None)
  async def ready() -> responses.JSONResponse | dict[str, str]:
    """Whether requests should be sent here: models are loaded and the server is not stopping."""
    if services.stopping or not services.models.names():
      return responses.JSONResponse(
        {'error': 'stopping' if services.stopping else 'no model is loaded'}, 503
      )
    return {'status': 'ready'}

  @router.api_route('/v1/limits', methods=_READ, response_model=None)
  async def limits() -> dict[str, Any]:
    """What the server takes and what it has."""
    speeds = services.models.speeds()
    return {
      'max_pixels': options.max_pixels,
      'max_objects': options.max_objects,
      'max_body_bytes': options.max_body_bytes,
      'max_sessions': options.max_sessions,
      'idle_seconds': options.idle_seconds,
      'models': [
        {'name': name, 'versions': numbers, 'speed': speeds.get(name)}
        for name, numbers in services.models.served().items()
      ],
      'needs_token': services.token.needed,
    }

  @router.api_route('/', methods=_READ, include_in_schema=False)
  async def page() -> fastapi.Response:
    return _file(packaged_files.SERVER_PAGE / 'index.html')

  @router.get('/v1/demo/{name}', include_in_schema=False)
  async def demo(name: str) -> fastapi.Response:
    if name not in _DEMO:
      raise fastapi.HTTPException(404, 'the demo has clip.mp4 and mask.png.')
    return _file(_DEMO[name])

  return router


class _PageFiles(StaticFiles):
  """The page's files, which browsers ask for every time: answered by 304 if they are the same."""

  def file_response(self, *args: Any, **kwargs: Any) -> fastapi.Response:
    response = super().file_response(*args, **kwargs)
    response.headers.update(_ASK_AGAIN)
    return response


def mount_static(app: fastapi.FastAPI) -> None:
  """Serves the page's files under /static, if they are there."""
  if packaged_files.SERVER_PAGE.is_dir():
    app.mount('/static', _PageFiles(directory=packaged_files.SERVER_PAGE), 'static')


def build_metrics_router(services: 'Services') -> fastapi.APIRouter:
  """The route for Prometheus."""
  router = fastapi.APIRouter()

  async def metrics() -> fastapi.Response:
    """Metrics in Prometheus's text format."""
    services.metrics.set_versions(services.models.names())
    body, content_type = services.metrics.page()
    return fastapi.Response(body, headers={'Content-Type': content_type})

  for path in {'/metrics', services.options.metrics_path} - {''}:
    router.get(path, include_in_schema=path == '/metrics')(metrics)
  return router


def build_description_router(app: fastapi.FastAPI) -> fastapi.APIRouter:
  """The route for the description of the API by OpenAPI; `app` is the `fastapi.FastAPI`."""
  router = fastapi.APIRouter()

  @router.get('/openapi.json', include_in_schema=False, response_model=None)
  async def describe() -> dict[str, Any]:
    return app.openapi()

  return router


def _file(path: pathlib.Path) -> fastapi.Response:
  if not path.is_file():
    raise fastapi.HTTPException(404, f'{path.name} is not installed with this server.')
  return responses.FileResponse(path, headers=_ASK_AGAIN)

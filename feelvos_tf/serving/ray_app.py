"""The server as a Ray Serve deployment: several replicas, each with sessions of its own."""

from collections.abc import Iterator
import contextlib
import dataclasses
import logging
import os
import socket
from typing import Any, TYPE_CHECKING

from feelvos_tf.serving.options import ServingOptions

# Read when ray is imported: nothing is sent to anybody.
os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')

import ray
from ray import serve
from ray.serve import config

from feelvos_tf.serving import options as options_lib
from feelvos_tf.serving import ray_router
from feelvos_tf.serving import version_folders

if TYPE_CHECKING:
  import fastapi


NAME = 'feelvos'
_QUIET = {'log_level': 'WARNING', 'enable_access_log': False}
_OBJECT_STORE_BYTES = 100 * 2**20  # Requests and answers do not go through it.


def deployment(
  options: ServingOptions, replicas: int = 2, grace: float = 30.0, cpus: float = 1.0
) -> serve.Application:
  """The application of `app.create_app` in a number of replicas.

  Args:
    options: `ServingOptions`; limits are those of every replica.
    replicas: number of replicas.
    grace: seconds that running requests get when a replica stops.
    cpus: CPUs that Ray sets aside for a replica.

  Returns:
    `ray.serve.Application`.
  """

  def build() -> 'fastapi.FastAPI':
    from feelvos_tf.serving import app as app_lib
    from feelvos_tf.serving import services as services_lib

    name = serve.get_replica_context().replica_id.unique_id
    return app_lib.create_app(services_lib.Services(dataclasses.replace(options, replica=name)))

  return serve.deployment(
    serve.ingress(build)(),
    name=NAME,
    num_replicas=replicas,
    # The application refuses what is too much itself, and says so. A stream is one request.
    max_ongoing_requests=options.max_sessions + options.workers + options.max_waiting,
    graceful_shutdown_timeout_s=grace,
    max_constructor_retry_count=1,
    health_check_period_s=2.0,
    ray_actor_options={'num_cpus': cpus},
    request_router_config=config.RequestRouterConfig(
      request_router_class=ray_router.SessionRouter,
      request_router_kwargs={'num_fallback_replicas': 0},
    ),
  ).bind()


def build(arguments: dict[str, Any]) -> serve.Application:
  """Builder for `serve run feelvos_tf.serving.ray_app:build model_dir=... replicas=2`.

  Args:
    arguments: dict of fields of `ServingOptions`, `replicas`, `grace_seconds`, `cpus_per_replica`;
      strings are converted. The token comes from the environment variable FEELVOS_TOKEN.

  Raises:
    ValueError: an unknown name or a wrong value.
  """
  values = dict(arguments)
  take = lambda name, kind, default: _convert(name, values.pop(name, default), kind)
  replicas = take('replicas', int, 2)
  grace = take('grace_seconds', float, 30.0)
  cpus = take('cpus_per_replica', float, 1.0)
  kinds = {
    field.name: type(field.default)
    for field in dataclasses.fields(options_lib.ServingOptions)
    if field.name not in ('token', 'replica')
  }
  unknown = sorted(set(values) - set(kinds))
  if unknown:
    raise ValueError(
      f'{", ".join(unknown)}: unknown; expected replicas, grace_seconds, '
      f'cpus_per_replica, {", ".join(kinds)}.'
    )
  options = options_lib.ServingOptions(
    token=options_lib.token_of_environment(),
    **{name: _convert(name, value, kinds[name]) for name, value in values.items()},
  )
  if not options.model_config_file:
    version_folders.find_models(options.model_dir)
  return deployment(with_absolute_folder(options), replicas, grace, cpus)


def _convert(name: str, value: Any, kind: type) -> Any:
  if kind is tuple:
    return tuple(str(value).split(',')) if isinstance(value, str) else tuple(value)
  if kind is bool and str(value).lower() in ('true', 'false'):
    return str(value).lower() == 'true'
  try:
    if kind is bool:
      raise ValueError
    return kind(value)
  except (TypeError, ValueError) as error:
    raise ValueError(f'{name}: {value!r} given, expected a {kind.__name__}.') from error


def with_absolute_folder(options: ServingOptions) -> ServingOptions:
  """The options for processes that have another working directory."""
  absolute = {
    name: os.path.abspath(value)
    for name in ('model_dir', 'model_config_file')
    if (value := getattr(options, name))
  }
  return dataclasses.replace(options, **absolute)


@contextlib.contextmanager
def running(application: serve.Application, host: str, port: int, cpus: float) -> Iterator[int]:
  """Ray on this machine with an application; both end with the block.

  Args:
    application: `ray.serve.Application`.
    host, port: where to listen; port 0 takes a free one. cpus: that Ray may set aside.

  Yields:
    The port.

  Raises:
    ValueError: the address cannot be bound, or the replicas do not start.
  """
  port = _free_port(host, port)
  logging.getLogger('ray.serve').setLevel(logging.WARNING)
  ray.init(
    address='local',
    num_cpus=cpus,
    object_store_memory=_OBJECT_STORE_BYTES,
    include_dashboard=False,
    log_to_driver=False,
    logging_level='ERROR',
    _node_ip_address='127.0.0.1',
  )
  try:
    serve.start(
      proxy_location='HeadOnly', http_options={'host': host, 'port': port}, logging_config=_QUIET
    )
    try:
      serve.run(application, name=NAME, route_prefix='/', logging_config=_QUIET)
    except RuntimeError as error:
      raise ValueError(f'the replicas did not start: {error}') from error
    try:
      yield port
    finally:
      serve.delete(NAME)  # Running requests end; `shutdown` alone ends Ray's proxy first.
  finally:
    serve.shutdown()
    ray.shutdown()


def _free_port(host: str, port: int) -> int:
  """A port that can be bound; Ray's proxy binds it later."""
  try:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    with socket.create_server((host, port), family=family) as listening:
      return listening.getsockname()[1]
  except OSError as error:
    raise ValueError(
      f'{host}:{port}: cannot listen there ({error.strerror or error}); choose '
      'another --host or --port.'
    ) from error

"""Options of the server."""

import dataclasses
import os

from feelvos_tf.datasets import object_ids
from feelvos_tf.inference.speed import DEFAULT_SPEED
from feelvos_tf.inference.speed import SPEEDS
from feelvos_tf.serving import access

TOKEN_VARIABLE = 'FEELVOS_TOKEN'


@dataclasses.dataclass(frozen=True)
class ServingOptions:
  """What a server serves and what it refuses.

  Raises:
    ValueError: a limit below its least sensible value, or a name or an origin that is none.
  """

  # Folder of <name>/<version>/ exports, or one <name> folder.
  model_dir: str = 'models'
  # File with the models to serve, in the text format of TensorFlow Serving; instead of --model_dir.
  #
  # A flag of TensorFlow Serving, as the next one.
  model_config_file: str = ''
  # Seconds between two looks at that file; 0 looks once.
  model_config_file_poll_wait_seconds: float = 0.0
  # Address or name to listen on; 0.0.0.0 for all.
  #
  # Requests have to name it, or a loopback name, in their Host.
  host: str = '127.0.0.1'
  # A further name of this server that requests may have in their Host header; *.example.org for all
  # below it, * for all. May be given several times.
  #
  # See `access.AccessCheck`.
  allowed_hosts: tuple[str, ...] = ()
  # An origin, as in https://video.example.org, whose pages may use this server; * for all. May be
  # given several times.
  allowed_origins: tuple[str, ...] = ()
  # Bearer token that requests have to bring; None lets everybody in.
  token: str | None = None
  # Largest body of a request, message of a WebSocket and gRPC message, in bytes.
  max_body_bytes: int = 64 * 2**20
  # Largest frame, in pixels. 2^21 takes 1920x1080; memory and time grow with it.
  max_pixels: int = 2**21
  # Most objects of a video, background not counted.
  max_objects: int = 32
  # Most sessions at a time.
  max_sessions: int = 64
  # Most memory of the sessions' states together, in bytes. One of 480x854 takes 34 MB, 21 MB more
  # for every correction kept.
  max_state_bytes: int = 2 * 2**30
  # A session that is not used for this many seconds is closed.
  idle_seconds: float = 600.0
  # Most connections over HTTP at a time, WebSockets among them.
  max_connections: int = 512
  # Seconds for the headers of a request.
  header_seconds: float = 20.0
  # Seconds for the body of a request, which gets one more for every 1000 bytes.
  body_seconds: float = 30.0
  # Threads that run models. TensorFlow spreads every one over all cores.
  workers: int = 2
  # Most requests that wait for a worker; more are refused.
  max_waiting: int = 64
  # Milliseconds until a predict request over REST is given up; 0 waits as long as it takes.
  #
  # A flag of TensorFlow Serving, whose default is 30000.
  rest_api_timeout_in_ms: int = 0
  # Seconds between two looks at --model_dir for new versions.
  #
  # A flag of TensorFlow Serving, as the next three.
  file_system_poll_wait_seconds: float = 1.0
  # How often loading a version is tried again.
  max_num_load_retries: int = 5
  # Microseconds between two tries.
  load_retry_interval_micros: int = 60_000_000
  # Replay the warm-up requests of an export before it is used.
  enable_model_warmup: bool = True
  # Of several models, sessions that name neither a model nor a speed get the one exported for this.
  speed: str = DEFAULT_SPEED
  # Frames of one stream that are taken before the answer of the first.
  stream_queue: int = 4
  # A further path for the metrics; '' has none.
  metrics_path: str = ''
  # File for a line of JSON for every request; - is standard output.
  access_log: str = ''
  # Send traces by OpenTelemetry; the variables OTEL_* say where to.
  tracing: bool = False
  # Name of this server among several behind one router; the ids of its sessions begin with it.
  replica: str = ''

  def __post_init__(self) -> None:
    for name in (
      'max_body_bytes',
      'max_pixels',
      'max_objects',
      'max_sessions',
      'max_state_bytes',
      'max_connections',
      'workers',
      'max_waiting',
      'stream_queue',
    ):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} is {getattr(self, name)}; expected at least 1.')
    for name in (
      'rest_api_timeout_in_ms',
      'max_num_load_retries',
      'load_retry_interval_micros',
      'model_config_file_poll_wait_seconds',
    ):
      if getattr(self, name) < 0:
        raise ValueError(f'{name} is {getattr(self, name)}; expected at least 0.')
    for name in ('idle_seconds', 'header_seconds', 'body_seconds', 'file_system_poll_wait_seconds'):
      if not getattr(self, name) > 0:
        raise ValueError(f'{name} is {getattr(self, name)}; expected more than 0.')
    if self.speed not in SPEEDS:
      raise ValueError(f'speed is {self.speed!r}; expected one of {", ".join(SPEEDS)}.')
    access.AccessCheck(self.host, self.allowed_hosts, self.allowed_origins)
    if self.max_objects > object_ids.LAST_ID:
      raise ValueError(
        f'max_objects is {self.max_objects}; expected at most {object_ids.LAST_ID} ({object_ids.GIVEN_IDS}).'
      )


def token_of_environment() -> str | None:
  """The token in the variable `TOKEN_VARIABLE`, without the line's end that secrets leave.

  Spaces inside of it and letters beyond ASCII stay allowed: clients over HTTP can send them.

  Returns:
    The token; None without one.

  Raises:
    ValueError: nothing but spaces and line ends, or several lines.
  """
  text = os.environ.get(TOKEN_VARIABLE)
  if not text:
    return None
  token = text.strip()
  if len(token.splitlines()) != 1:
    raise ValueError(f'{TOKEN_VARIABLE}: expected one line with a token.')
  return token

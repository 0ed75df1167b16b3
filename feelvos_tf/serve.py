r"""Serves exported models: TensorFlow Serving's REST and gRPC, sessions, and a page to try them.

  feelvos export --output_dir=models
  feelvos serve --model_dir=models

listens on 127.0.0.1, port 8501 for HTTP and 8500 for gRPC. docs/serving.md describes the API.
"""

import importlib
import ipaddress
import logging as logging_of_python
import os
import pathlib
import types
from typing import TYPE_CHECKING
import warnings

from absl import flags
from absl import logging

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.inference import speed
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime.option_flags import OptionFlags
from feelvos_tf.runtime.tensorflow_start import start_tensorflow
from feelvos_tf.serving import options as options_lib
from feelvos_tf.serving import version_folders

if TYPE_CHECKING:
  from feelvos_tf.serving.model_store import ModelStore
  from feelvos_tf.serving.tls import Tls


FLAGS = flags.FLAGS
TOKEN_VARIABLE = options_lib.TOKEN_VARIABLE
# The flags that are fields of ServingOptions.
SERVING = OptionFlags(
  options_lib.ServingOptions,
  leave_out=('token', 'speed', 'metrics_path', 'replica'),
  names={'allowed_hosts': 'allowed_host', 'allowed_origins': 'allowed_origin'},
  defaults={'model_dir': None},
)


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  SERVING.define()
  flags.DEFINE_string(
    'monitoring_config_file',
    None,
    'File that gives a further path for metrics, in the text format of TensorFlow Serving.',
  )
  flags.DEFINE_integer('port', 8501, 'Port for HTTP; 0 takes a free one.', 0, 65535)
  flags.DEFINE_integer(
    'grpc_port', 8500, 'Port for gRPC; 0 takes a free one, -1 has no gRPC.', -1, 65535
  )
  flags.DEFINE_string('grpc_socket_path', '', 'Unix socket for gRPC, in addition to the port.')
  flags.DEFINE_string('tls_cert', None, 'Certificate, PEM: HTTPS, and gRPC with TLS.')
  flags.DEFINE_string('tls_key', None, 'Its private key, PEM.')
  flags.DEFINE_string(
    'tls_client_ca', None, 'Authority, PEM, that the certificates of clients have to come from.'
  )
  flags.DEFINE_string(
    'ssl_config_file',
    None,
    'File with all of these instead, in the text format of TensorFlow Serving.',
  )
  flags.DEFINE_string(
    'token_file',
    None,
    'File with the bearer token that requests have to bring; '
    f'default: the environment variable {TOKEN_VARIABLE}, or no token.',
  )
  flags.DEFINE_enum(
    'speed',
    speed.DEFAULT_SPEED,
    list(speed.SPEEDS),
    'Where several models are served: sessions that name neither a model nor a speed get the one '
    'that was exported with this --speed.',
  )
  flags.DEFINE_float('grace_seconds', 30.0, 'Time that running requests get after SIGTERM.', 0.0)


def main() -> None:
  """Checks flags, loads models, serves until SIGTERM or SIGINT."""
  try:
    _serve()
  except KeyboardInterrupt:  # While models load, or after an orderly end; it wrote nothing.
    raise SystemExit(130) from None


def _serve() -> None:
  options = read_options()
  models_to_serve(options)
  encryption = read_tls()
  logging.set_verbosity(logging.WARNING)  # Before Keras imports what has news of its own.
  # TensorFlow takes seconds to import; wrong flags and folders are reported before.
  start_tensorflow()
  run, services_lib = _imported('run'), _imported('services')

  logging_of_python.getLogger('tensorflow').setLevel('ERROR')  # It warns about graphs of TF1.
  # What is unusual about a request's files is no news to the operator.
  warnings.simplefilter('ignore', data_warning.DataWarning)
  services = services_lib.Services(options)
  server, sockets, http_port, grpc_port = run.build_server(
    services,
    port(),
    None if FLAGS.grpc_port < 0 else FLAGS.grpc_port,
    FLAGS.grace_seconds,
    encryption,
    FLAGS.grpc_socket_path,
  )
  names = ', '.join(f'{name} {number}' for name, number in services.models.names().items())
  host = f'[{FLAGS.host}]' if ':' in FLAGS.host else FLAGS.host
  scheme = 'https' if encryption else 'http'
  print(
    f'Serving {names} at {scheme}://{host}:{http_port}'
    + (f' and gRPC at {host}:{grpc_port}' if grpc_port else ''),
    flush=True,
  )
  if not options.token and not is_loopback(FLAGS.host):
    print(
      f'Everybody who reaches {FLAGS.host} may use this server: it has no token (--token_file).',
      flush=True,
    )
  print(device_line(services.models), flush=True)
  for line in precision_notes(services.models):
    print(line, flush=True)
  server.run(sockets)


def device_line(models: 'ModelStore') -> str:
  """On what device and in what precisions the served models compute.

  Args:
    models: `model_store.ModelStore`, loaded.
  """
  from feelvos_tf.model import precision

  used: set[str] = set()
  for name in models.names():
    with models.leased(name) as version:
      used |= {_precision_of(version.folder) or ''}
  names = ', '.join(sorted(used - {''})) or 'what the exports say'
  return f'Computes in {names} on {precision.device_name()}.'


def precision_notes(models: 'ModelStore') -> list[str]:
  """A line for every served model that would be faster here in another precision.

  Args:
    models: `model_store.ModelStore`, loaded.
  """
  from feelvos_tf.model import precision

  lines = []
  for name in models.names():
    with models.leased(name) as version:
      used = _precision_of(version.folder)
    choice = precision.choose(precision.AUTO) if used else None
    if choice and used != choice.name:
      lines.append(
        f'{name} computes in {used}; on this machine {choice.name} is faster: export it with '
        f'--precision={choice.name}.'
      )
  return lines


def _precision_of(folder: pathlib.Path) -> str | None:
  """Precision of an exported version; None if it does not say."""
  from feelvos_tf.saved_model import version_folder

  return version_folder.read_description(folder).get('precision')


def read_options() -> options_lib.ServingOptions:
  """`ServingOptions` of the flags.

  Raises:
    UsageError, ValueError, FileNotFoundError: a flag or the token file is wrong.
  """
  if not FLAGS.model_dir and not FLAGS.model_config_file:
    raise command_line.UsageError('--model_dir is missing.')
  if FLAGS.model_dir and FLAGS.model_config_file:
    raise command_line.UsageError('give --model_dir or --model_config_file, not both.')
  others = {'model_dir': FLAGS.model_dir or '', 'token': _token(), 'speed': FLAGS.speed}
  if FLAGS.monitoring_config_file:
    others['metrics_path'] = _config_files().read_metrics_path(FLAGS.monitoring_config_file)
  return SERVING.make(**others)


def models_to_serve(options: options_lib.ServingOptions) -> list[version_folders.ServedModel]:
  """List of `ServedModel` of `ServingOptions`.

  Raises:
    FileNotFoundError, ValueError: the folder or the file with models is missing or wrong.
  """
  if options.model_config_file:
    return _config_files().read_models(options.model_config_file)
  return version_folders.find_models(options.model_dir)


def read_tls() -> 'Tls | None':
  """`Tls` of the flags; None if there are none.

  Raises:
    UsageError, FileNotFoundError, ValueError: flags or files are missing or wrong.
  """
  given = FLAGS.tls_cert, FLAGS.tls_key
  if FLAGS.ssl_config_file:
    if any(given) or FLAGS.tls_client_ca:
      raise command_line.UsageError('--ssl_config_file has what the --tls flags say; give one.')
    return _config_files().read_tls(FLAGS.ssl_config_file)
  if not any(given) and not FLAGS.tls_client_ca:
    return None
  if not all(given):
    raise command_line.UsageError('--tls_cert and --tls_key belong together.')
  return _imported('tls').read(*given, FLAGS.tls_client_ca or '')


def _config_files() -> types.ModuleType:
  return _imported('config_files')


def _imported(name: str) -> types.ModuleType:
  """A module of the server.

  Raises:
    ValueError: its packages are missing.
  """
  try:
    return importlib.import_module(f'feelvos_tf.serving.{name}')
  except ImportError as error:
    raise ValueError(
      f"{error.name} is missing; install it with pip install 'feelvos-tf[serving]'."
    ) from error


def port() -> int:
  """The port for HTTP: the flag, else Vertex AI's variable `AIP_HTTP_PORT`, else the default.

  Raises:
    ValueError: the variable is no port.
  """
  text = os.environ.get('AIP_HTTP_PORT')
  if not text or FLAGS['port'].present:
    return FLAGS.port
  if not text.isdecimal() or int(text) > 65535:
    raise ValueError(f'AIP_HTTP_PORT is {text!r}; expected a port, 0 to 65535.')
  return int(text)


def _token() -> str | None:
  if FLAGS.token_file is None:
    return options_lib.token_of_environment()
  path = pathlib.Path(FLAGS.token_file)
  if not path.is_file():
    raise FileNotFoundError(names_lib.missing(path, 'token file', 'check --token_file'))
  token = path.read_text(errors='replace').strip()
  if not token or not token.isascii() or any(c.isspace() for c in token):
    raise ValueError(f'{path}: expected one line with a token of ASCII letters and digits.')
  return token


def is_loopback(host: str) -> bool:
  """Whether an address or name is reached from this machine only."""
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == 'localhost'


if __name__ == '__main__':
  command_line.run(
    main, define_flags, end_on_sigterm=False, takes_addresses=('allowed_host', 'allowed_origin')
  )

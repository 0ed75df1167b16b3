"""TensorFlow Serving's configuration files, in protobuf's text format: models, TLS, metrics.

The messages are those of tensorflow_serving/config: model_server_config.proto, ssl_config.proto and
monitoring_config.proto. The last two are in no package, so their fields stand here.
"""

import os
import pathlib
from typing import Any
import urllib.parse

from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow_serving.config import model_server_config_pb2

from feelvos_tf.datasets import names as names_lib
from feelvos_tf.serving import messages
from feelvos_tf.serving import tls
from feelvos_tf.serving import version_folders

METRICS_PATH = '/monitoring/prometheus/metrics'
_MODEL = 'name and base_path of a model'
_MESSAGES = messages.build(
  'tensorflow.serving',
  {
    'SSLConfig': 'string server_key; string server_cert; string custom_ca; bool client_verify',
    'PrometheusConfig': 'bool enable; string path',
    'MonitoringConfig': 'PrometheusConfig prometheus_config',
  },
)


def read_models(path: str) -> list[version_folders.ServedModel]:
  """Models of a `ModelServerConfig`; relative base paths are below the file's folder.

  Raises:
    FileNotFoundError: no such file.
    ValueError: another format, or a model that cannot be served.
  """
  config = _parse(path, model_server_config_pb2.ModelServerConfig())
  return models_of(config, pathlib.Path(path).resolve().parent)


def models_of(
  config: model_server_config_pb2.ModelServerConfig, folder: pathlib.Path | None = None
) -> list[version_folders.ServedModel]:
  """Models of a `ModelServerConfig` message.

  Args:
    config: the message.
    folder: where relative base paths begin; None refuses them.

  Raises:
    ValueError: a model that cannot be served, or none.
  """
  if config.WhichOneof('config') != 'model_config_list' or not config.model_config_list.config:
    raise ValueError('the model configuration has no model_config_list with models.')
  models = [_model_of(model, folder) for model in config.model_config_list.config]
  names = [model.name for model in models]
  twice = sorted({name for name in names if names.count(name) > 1})
  if twice:
    raise ValueError(f'the model configuration has {", ".join(twice)} more than once.')
  return models


def read_tls(path: str) -> tls.Tls:
  """Key and certificates of an `SSLConfig`, which holds them as PEM text.

  Raises:
    FileNotFoundError, ValueError: no such file, or another format.
  """
  config = _parse(path, _MESSAGES['SSLConfig']())
  return tls.Tls(
    config.server_key.encode(),
    config.server_cert.encode(),
    config.custom_ca.encode(),
    config.client_verify,
  )


def read_metrics_path(path: str) -> str:
  """The path for metrics of a `MonitoringConfig`; '' if they are not enabled.

  Raises:
    FileNotFoundError, ValueError: no such file, another format, or a path that is none.
  """
  config = _parse(path, _MESSAGES['MonitoringConfig']()).prometheus_config
  if not config.enable:
    return ''
  found = config.path or METRICS_PATH
  if not found.startswith('/') or any(letter in found for letter in '{}?# '):
    raise ValueError(f'{path}: path {found!r} given, expected one such as {METRICS_PATH}.')
  return found


def _parse(path: str | os.PathLike, message: Message) -> Any:
  file = pathlib.Path(path)
  if not file.is_file():
    raise FileNotFoundError(names_lib.missing(path, 'file', 'check the flag that names it'))
  try:
    return text_format.Parse(file.read_text(encoding='utf-8'), message)
  except (text_format.ParseError, UnicodeDecodeError) as error:
    name = message.DESCRIPTOR.full_name
    raise ValueError(f'{path}: Error parsing text-format {name}: {error}') from error


def _model_of(
  model: model_server_config_pb2.ModelConfig, folder: pathlib.Path | None
) -> version_folders.ServedModel:
  if not model.name or not model.base_path:
    raise ValueError(f'the model configuration lacks {_MODEL}: {_line(model)}.')
  if '/' in model.name or ':' in model.name:
    raise ValueError(f'model name {model.name!r}: it stands in URLs, / and : are not allowed.')
  if (model.model_platform or 'tensorflow') != 'tensorflow':
    raise ValueError(
      f'model {model.name}: model_platform {model.model_platform!r} given, expected tensorflow.'
    )
  return version_folders.ServedModel(
    model.name,
    _folder_of(model, folder),
    *_versions_of(model),
    labels=tuple(sorted(model.version_labels.items())),
  )


def _folder_of(
  model: model_server_config_pb2.ModelConfig, folder: pathlib.Path | None
) -> pathlib.Path:
  if len(urllib.parse.urlparse(model.base_path).scheme) > 1:
    raise ValueError(
      f'model {model.name}: base_path {model.base_path!r} given, expected a folder of this machine; '
      'copy the model there.'
    )
  path = pathlib.Path(model.base_path)
  if not path.is_absolute() and folder is None:
    raise ValueError(f'model {model.name}: base_path {model.base_path!r} has to be absolute.')
  return folder / path if folder else path


def _versions_of(model: model_server_config_pb2.ModelConfig) -> tuple[int, tuple[int, ...]]:
  """(latest, versions) of `ServedModel`."""
  policy = model.model_version_policy
  choice = policy.WhichOneof('policy_choice')
  if choice == 'all':
    return 0, ()
  if choice == 'specific':
    if not policy.specific.versions:
      raise ValueError(f'model {model.name}: the policy specific has no versions.')
    return 0, tuple(policy.specific.versions)
  return max(1, policy.latest.num_versions), ()


def _line(message: Message) -> str:
  return text_format.MessageToString(message, as_one_line=True) or 'an empty one'

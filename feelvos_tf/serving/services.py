"""The parts of a server, made once and handed to every route."""

from collections.abc import Callable
import time

import grpc
from tensorflow_serving.config import model_server_config_pb2

from feelvos_tf.serving import access_log
from feelvos_tf.serving import auth
from feelvos_tf.serving import config_files
from feelvos_tf.serving import errors
from feelvos_tf.serving import images
from feelvos_tf.serving import metrics as metrics_lib
from feelvos_tf.serving import model_store
from feelvos_tf.serving import predict
from feelvos_tf.serving import sessions as sessions_lib
from feelvos_tf.serving import stream_route
from feelvos_tf.serving import tracing
from feelvos_tf.serving import worker_pool
from feelvos_tf.serving.options import ServingOptions


class Services:
  """Everything that routes share.

  Attributes:
    options: `ServingOptions`.
    models: `ModelStore`. workers: `WorkerPool`. decoder: `ImageDecoder`. metrics: `Metrics`.
    predictor: `Predictor`. sessions: `SessionStore`. streams: `Streams`. token: `TokenCheck`.
    access_log: `AccessLog`. tracing: `Tracing`.
    stopping: bool, the server finishes what it has and takes nothing new.
  """

  def __init__(
    self,
    options: ServingOptions,
    clock: Callable[[], float] = time.monotonic,
    models: model_store.ModelStore | None = None,
  ) -> None:
    """Loads the models.

    Args:
      options: `ServingOptions`.
      clock: function that gives seconds, for idle times.
      models: a loaded `ModelStore` to use instead of loading one.

    Raises:
      ValueError: there is no model, or one cannot be loaded.
    """
    self.options = options
    self.access_log = access_log.AccessLog(options.access_log)
    self.tracing = tracing.Tracing(options.tracing)
    self._configured = None
    if models is None:
      if options.model_config_file:
        self._configured = config_files.read_models(options.model_config_file)
      models = model_store.ModelStore(
        options.model_dir,
        options.enable_model_warmup,
        options.max_num_load_retries,
        options.load_retry_interval_micros / 1e6,
        models=self._configured,
      )
      models.load()
    self.models = models
    self.workers = worker_pool.WorkerPool(options.workers, options.max_waiting)
    self.decoder = images.ImageDecoder(options.max_pixels, options.max_objects)
    self.metrics = metrics_lib.Metrics()
    self.metrics.watch_workers(self.workers)
    self.metrics.tf_serving.watch_models(models)
    self.predictor = predict.Predictor(options, self.models, self.decoder, self.metrics)
    self.sessions = sessions_lib.SessionStore(
      options, self.models, self.workers, self.decoder, self.metrics, clock
    )
    self.streams = stream_route.Streams()
    self.token = auth.TokenCheck(options.token)
    self.stopping = False

  def read_model_config(self) -> None:
    """Looks at the file with the models, and serves what it has if that is something new.

    Raises:
      FileNotFoundError, ValueError: the file is gone or wrong; what is served goes on.
    """
    wanted = config_files.read_models(self.options.model_config_file)
    if wanted != self._configured:
      self._configured = wanted
      self.models.configure(wanted)

  def reload_models(self, config: model_server_config_pb2.ModelServerConfig) -> None:
    """Serves the models of a `ModelServerConfig` message.

    Raises:
      RequestError: the server was not started with such a file: then nobody may say what it loads.
      ValueError: the message is wrong.
    """
    if not self.options.model_config_file:
      raise errors.RequestError(
        grpc.StatusCode.FAILED_PRECONDITION,
        'this server serves a folder; start it with --model_config_file to change models.',
      )
    self.models.configure(config_files.models_of(config))

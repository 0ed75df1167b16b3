"""The parts of a server, made once and handed to every route."""

import time

from feelvos_tf.serving import auth
from feelvos_tf.serving import images
from feelvos_tf.serving import metrics as metrics_lib
from feelvos_tf.serving import model_store
from feelvos_tf.serving import predict
from feelvos_tf.serving import sessions as sessions_lib
from feelvos_tf.serving import stream_route
from feelvos_tf.serving import worker_pool


class Services:
  """Everything that routes share.

  Attributes:
    options: `ServingOptions`.
    models: `ModelStore`. workers: `WorkerPool`. decoder: `ImageDecoder`. metrics: `Metrics`.
    predictor: `Predictor`. sessions: `SessionStore`. streams: `Streams`. token: `TokenCheck`.
    stopping: bool, the server finishes what it has and takes nothing new.
  """

  def __init__(self, options, clock=time.monotonic, models=None):
    """Loads the models.

    Args:
      options: `ServingOptions`.
      clock: function that gives seconds, for idle times.
      models: a loaded `ModelStore` to use instead of loading one.

    Raises:
      ValueError: there is no model, or one cannot be loaded.
    """
    self.options = options
    if models is None:
      models = model_store.ModelStore(
        options.model_dir,
        options.enable_model_warmup,
        options.max_num_load_retries,
        options.load_retry_interval_micros / 1e6,
      )
      models.load()
    self.models = models
    self.workers = worker_pool.WorkerPool(options.workers, options.max_waiting)
    self.decoder = images.ImageDecoder(options.max_pixels, options.max_objects)
    self.metrics = metrics_lib.Metrics()
    self.metrics.watch_workers(self.workers)
    self.predictor = predict.Predictor(options, self.models, self.decoder, self.metrics)
    self.sessions = sessions_lib.SessionStore(
      options, self.models, self.workers, self.decoder, self.metrics, clock
    )
    self.streams = stream_route.Streams()
    self.token = auth.TokenCheck(options.token)
    self.stopping = False

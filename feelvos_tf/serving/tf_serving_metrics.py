"""Metrics under the names that TensorFlow Serving's exporter gives them, for boards made for it.

Source: tensorflow_serving/servables/tensorflow/util.cc, tensorflow/cc/saved_model/loader.cc; / in a
name becomes : in Prometheus.
"""

import collections
from collections.abc import Iterator
import contextlib
import time
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client import core

from feelvos_tf.serving import errors

if TYPE_CHECKING:
  from feelvos_tf.serving.model_store import ModelStore


_PREFIX = ':tensorflow:serving:'
_LOAD_PREFIX = ':tensorflow:cc:saved_model:'
_UNKNOWN = 'unknown'
_MICROSECONDS = 1e6
_BUCKETS = tuple(10 * 1.8**i for i in range(33))


class TfServingMetrics:
  """Loading of models, and predictions: how many, and how many microseconds they take."""

  def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
    """Args: where the metrics are registered."""
    self._models: ModelStore | None = None
    self._counts: collections.Counter[tuple[str, str]] = collections.Counter()
    self._latency = self._histogram('request_latency', 'of a request', 'entrypoint', registry)
    self._runtime = self._histogram('runtime_latency', 'of the graph', 'runtime', registry)
    registry.register(self)

  def watch_models(self, models: 'ModelStore') -> None:
    """Takes the `ModelStore`; names of models that it does not serve get no label."""
    self._models = models

  @contextlib.contextmanager
  def request(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
    """Counts a request that is answered in a block, and measures it if it succeeds.

    Args:
      model: its name. api: Predict. entrypoint: GRPC or REST.
    """
    name = model if self._models and model in self._models.names() else _UNKNOWN
    begun, status = time.perf_counter(), 'OK'
    try:
      yield
      self._latency.labels(name, api, entrypoint).observe(_since(begun))
    except BaseException as error:
      known = errors.of_exception(error)
      status = known.code.name if known else 'INTERNAL'
      raise
    finally:
      self._counts[name, status] += 1

  @contextlib.contextmanager
  def runtime(self, model: str) -> Iterator[None]:
    """Measures a graph that runs in a block."""
    begun = time.perf_counter()
    yield
    self._runtime.labels(model, 'Predict', 'TF').observe(_since(begun))

  def collect(self) -> Iterator[core.Metric]:
    """The counters; prometheus_client would add _total to their names."""
    metric = core.Metric(f'{_PREFIX}request_count', 'The total number of requests.', 'unknown')
    for (name, status), count in list(self._counts.items()):
      metric.add_sample(metric.name, {'model_name': name, 'status': status}, count)
    yield metric
    attempts = core.Metric(f'{_LOAD_PREFIX}load_attempt_count', 'Tries to load a model.', 'unknown')
    latency = core.Metric(
      f'{_LOAD_PREFIX}load_latency', 'Wall time of loading (in microseconds).', 'unknown'
    )
    if self._models is not None:
      for (path, is_read), count in list(self._models.load_attempts.items()):
        labels = {'model_path': path, 'status': 'success' if is_read else 'fail'}
        attempts.add_sample(attempts.name, labels, count)
      for path, seconds in list(self._models.load_seconds.items()):
        latency.add_sample(latency.name, {'model_path': path}, round(seconds * _MICROSECONDS))
    yield attempts
    yield latency

  @staticmethod
  def _histogram(
    name: str, what: str, last_label: str, registry: prometheus_client.CollectorRegistry
  ) -> prometheus_client.Histogram:
    return prometheus_client.Histogram(
      _PREFIX + name,
      f'Distribution of wall time (in microseconds) {what}.',
      ['model_name', 'API', last_label],
      buckets=_BUCKETS,
      registry=registry,
    )


def _since(begun: float) -> float:
  return (time.perf_counter() - begun) * _MICROSECONDS

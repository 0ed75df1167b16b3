"""Prometheus metrics of one server."""

from collections.abc import Callable, Mapping

import prometheus_client

from feelvos_tf.serving import tf_serving_metrics
from feelvos_tf.serving.worker_pool import WorkerPool


class Metrics:
  """Counters, gauges and histograms in a registry of their own.

  Attributes:
    registry: `prometheus_client.CollectorRegistry`.
    requests: counter by protocol, method and code.
    frame_seconds: histogram, time a frame of a session takes in a worker.
    segment_seconds: histogram, the model's part of it.
    predict_seconds: histogram by model and signature.
    sessions_opened, sessions_expired: counters.
    tf_serving: `TfServingMetrics`.
  """

  def __init__(self) -> None:
    self.registry = registry = prometheus_client.CollectorRegistry()
    for collector in (prometheus_client.ProcessCollector, prometheus_client.PlatformCollector):
      collector(registry=registry)
    buckets = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
    self.requests = prometheus_client.Counter(
      'feelvos_requests', 'Requests answered.', ['protocol', 'method', 'code'], registry=registry
    )
    self.frame_seconds = prometheus_client.Histogram(
      'feelvos_frame_seconds',
      'Seconds from encoded frame to encoded mask, without waiting.',
      buckets=buckets,
      registry=registry,
    )
    self.segment_seconds = prometheus_client.Histogram(
      'feelvos_segment_seconds',
      "The model's part of feelvos_frame_seconds.",
      buckets=buckets,
      registry=registry,
    )
    self.predict_seconds = prometheus_client.Histogram(
      'feelvos_predict_seconds',
      'Seconds a stateless request runs.',
      ['model', 'signature'],
      buckets=buckets,
      registry=registry,
    )
    self.sessions_opened = prometheus_client.Counter(
      'feelvos_sessions_opened', 'Sessions opened.', registry=registry
    )
    self.sessions_expired = prometheus_client.Counter(
      'feelvos_sessions_expired', 'Sessions closed because nobody used them.', registry=registry
    )
    self.tf_serving = tf_serving_metrics.TfServingMetrics(registry)
    self._sessions = prometheus_client.Gauge(
      'feelvos_sessions', 'Sessions open now.', registry=registry
    )
    self._session_bytes = prometheus_client.Gauge(
      'feelvos_session_bytes', 'Bytes of the states of all sessions.', registry=registry
    )
    self._pending = prometheus_client.Gauge(
      'feelvos_pending_requests', 'Requests that run or wait for a worker.', registry=registry
    )
    self._versions = prometheus_client.Gauge(
      'feelvos_model_version', 'Version of a model that is served.', ['model'], registry=registry
    )

  def watch_sessions(self, count: Callable[[], float], memory: Callable[[], float]) -> None:
    """Functions that give the number of sessions and the bytes they take."""
    self._sessions.set_function(count)
    self._session_bytes.set_function(memory)

  def watch_workers(self, workers: WorkerPool) -> None:
    """The `WorkerPool`."""
    self._pending.set_function(lambda: workers.pending)

  def set_versions(self, names: Mapping[str, int]) -> None:
    """dict of model name to version number; models that are not in it have none any more."""
    self._versions.clear()
    for name, number in names.items():
      self._versions.labels(name).set(number)

  def page(self) -> tuple[bytes, str]:
    """(bytes, content type) for a scraper."""
    return (prometheus_client.generate_latest(self.registry), prometheus_client.CONTENT_TYPE_LATEST)

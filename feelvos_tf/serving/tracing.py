"""Traces by OpenTelemetry: a span for every request, and in it decode, wait, model and encode.

Python's contexts carry the request that a piece of work belongs to, also into workers.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import contextvars
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
  from opentelemetry.trace import Span as OpenSpan
  from opentelemetry.trace import Tracer

_SERVICE = 'feelvos'
_TRACER: contextvars.ContextVar['Tracer | None'] = contextvars.ContextVar(
  'tracer of the current request', default=None
)


class Tracing:
  """Makes spans, or nothing at all."""

  def __init__(self, enabled: bool, exporter: Any = None) -> None:
    """Starts the exporter, which reads the variables OTEL_EXPORTER_OTLP_* and OTEL_SERVICE_NAME.

    Args:
      enabled: whether to make spans.
      exporter: `SpanExporter`; None sends over OTLP and HTTP.

    Raises:
      ValueError: OpenTelemetry is not installed.
    """
    self._provider = self._tracer = None
    if not enabled:
      return
    try:
      from opentelemetry.sdk import resources
      from opentelemetry.sdk import trace as sdk_trace
      from opentelemetry.sdk.trace import export

      if exporter is None:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter

        exporter = trace_exporter.OTLPSpanExporter()
    except ImportError as error:
      raise ValueError(
        f"{error.name} is missing; install it with pip install '.[otel]'."
      ) from error
    # The variables win over this name.
    service = resources.Resource({'service.name': _SERVICE}).merge(
      resources.OTELResourceDetector().detect()
    )
    self._provider = sdk_trace.TracerProvider(resource=service)
    self._provider.add_span_processor(export.BatchSpanProcessor(exporter))
    self._tracer = self._provider.get_tracer('feelvos_tf.serving')

  @contextlib.contextmanager
  def request(self, name: str, headers: Mapping[str, str]) -> Iterator['Span']:
    """The span of a request that is answered in a block; goes on with the trace of its headers."""
    if self._tracer is None:
      yield Span(None)
      return
    from opentelemetry import propagate
    from opentelemetry import trace

    span = self._tracer.start_as_current_span(
      name, propagate.extract(headers), kind=trace.SpanKind.SERVER
    )
    token = _TRACER.set(self._tracer)
    try:
      with span as current:
        yield Span(current)
    finally:
      _TRACER.reset(token)

  def close(self) -> None:
    """Sends what has not been sent."""
    if self._provider is not None:
      self._provider.shutdown()


class Span:
  """The span of a request, which may be none.

  Attributes:
    trace_id: 32 hexadecimal digits, '' without a span.
  """

  def __init__(self, span: Any) -> None:
    self._span = span
    self.trace_id = f'{span.get_span_context().trace_id:032x}' if span else ''

  def set(self, **attributes: object) -> None:
    """Gives it attributes; __ in a name stands for a point."""
    if self._span is not None:
      for name, value in attributes.items():
        self._span.set_attribute(name.replace('__', '.'), value)


def span(name: str) -> contextlib.AbstractContextManager:
  """A span for a block, in the current request; nothing outside of one."""
  tracer = _TRACER.get()
  return contextlib.nullcontext() if tracer is None else tracer.start_as_current_span(name)


def failed(error: BaseException) -> None:
  """Says in the current request's span that a bug ended it; nothing outside of one."""
  if _TRACER.get() is None:
    return
  from opentelemetry import trace

  current = trace.get_current_span()
  current.record_exception(error)
  current.set_status(trace.Status(trace.StatusCode.ERROR, f'{type(error).__name__}: {error}'))


def begin(name: str) -> Callable[[], None]:
  """Begins a span of the current request; returns the function that ends it, once."""
  tracer = _TRACER.get()
  begun: list[OpenSpan] = [] if tracer is None else [tracer.start_span(name)]

  def end() -> None:
    while begun:
      begun.pop().end()

  return end

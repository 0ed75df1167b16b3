"""Methods of gRPC services: exceptions become statuses, calls are counted."""

from collections.abc import Callable
import functools
import logging
from typing import Any

import grpc

from feelvos_tf.serving import calls
from feelvos_tf.serving import errors

_log = logging.getLogger(__name__)


def answers(method: Callable) -> Callable:
  """Wraps a method of (self, request, `Call`) into one of (self, request, context).

  `self.services` has the metrics.
  """

  @functools.wraps(method)
  def call(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
    code, message = grpc.StatusCode.OK, ''
    try:
      return method(self, request, calls.of_grpc(context))
    except Exception as error:
      known = errors.of_exception(error)
      if known is None:
        _log.exception('%s failed', method.__name__)
        known = errors.RequestError(grpc.StatusCode.INTERNAL, "see the server's log.")
      code, message = known.code, str(known)
    finally:
      self.services.metrics.requests.labels('grpc', method.__name__, code.name).inc()
    return context.abort(code, message)  # Raises.

  return call

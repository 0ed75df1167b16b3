"""The access log: a line of JSON for every request, with the id that the answer has."""

from collections.abc import Callable
import datetime
import hashlib
import json
import logging
from logging import handlers
import re
import secrets
import sys
import time

from google.protobuf.message import Message
import grpc

from feelvos_tf.serving import tracing as tracing_lib

HEADER = 'x-request-id'
STANDARD_OUTPUT = '-'
_ID = re.compile(r'[A-Za-z0-9._:-]{1,128}')
_SESSION = re.compile(r'(?<=^/v1/sessions/)[^/]+')


class AccessLog:
  """Where the lines go. A file that is moved away is written anew."""

  def __init__(self, path: str = '') -> None:
    """Args: file; `-` is standard output, '' writes nothing.

    Raises:
      ValueError: the file cannot be written.
    """
    self._logger = logging.Logger('access')
    try:
      if path == STANDARD_OUTPUT:
        self._logger.addHandler(logging.StreamHandler(sys.stdout))
      elif path:
        self._logger.addHandler(handlers.WatchedFileHandler(path, encoding='utf-8'))
    except OSError as error:
      raise ValueError(f'{path}: the access log cannot be written there ({error}).') from error

  def write(self, **fields: object) -> None:
    """Writes a line with the time and these fields; those that are '' or None are left out."""
    if self._logger.handlers:
      now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='milliseconds')
      known = {key: value for key, value in fields.items() if value not in ('', None)}
      self._logger.info(json.dumps({'time': now, **known}))

  def close(self) -> None:
    """Closes the file."""
    for handler in list(self._logger.handlers):
      self._logger.removeHandler(handler)
      handler.close()


def request_id(given: str | None) -> str:
  """The id of a request: what its header says if that is one, else a new one."""
  return given if given and _ID.fullmatch(given) else secrets.token_hex(16)


def without_session(path: str) -> tuple[str, str]:
  """(path without the session's id, a name for the session): who has the id has the session."""
  found = _SESSION.search(path)
  if found is None:
    return path, ''
  name = hashlib.sha256(found[0].encode()).hexdigest()[:12]
  return _SESSION.sub('ID', path), name


class Interceptor(grpc.ServerInterceptor):
  """Writes lines for gRPC, where the id is the metadata `x-request-id`, and makes spans."""

  def __init__(self, log: AccessLog, tracing: tracing_lib.Tracing) -> None:
    """Args: `AccessLog`; `Tracing`."""
    self._log, self._tracing = log, tracing

  def intercept_service(
    self, continuation: Callable, handler_call_details: grpc.HandlerCallDetails
  ) -> grpc.RpcMethodHandler | None:
    """Passes the call on to a handler that is watched."""
    handler = continuation(handler_call_details)
    if handler is None or not handler.unary_unary:
      return handler
    metadata = dict(handler_call_details.invocation_metadata)
    path, begun = handler_call_details.method, time.perf_counter()

    def answer(request: Message, context: grpc.ServicerContext) -> Message:
      name = request_id(metadata.get(HEADER))
      context.send_initial_metadata(((HEADER, name),))
      with self._tracing.request(path, metadata) as span:
        try:
          return handler.unary_unary(request, context)
        finally:
          code = context.code() or grpc.StatusCode.OK
          span.set(rpc__grpc__status_code=code.value[0])
          self._log.write(
            request_id=name,
            trace_id=span.trace_id,
            protocol='grpc',
            client=context.peer(),
            path=path,
            status=code.name,
            seconds=round(time.perf_counter() - begun, 6),
            request_bytes=request.ByteSize(),
          )

    return grpc.unary_unary_rpc_method_handler(
      answer, handler.request_deserializer, handler.response_serializer
    )

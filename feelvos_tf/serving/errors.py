"""What can go wrong with a request: one line, an HTTP status and a gRPC status."""

import re

import grpc
import tensorflow as tf

from feelvos_tf.datasets import names

# The HTTP status of a gRPC status, as TensorFlow Serving maps them.
HTTP_STATUS = {
  grpc.StatusCode.INVALID_ARGUMENT: 400,
  grpc.StatusCode.FAILED_PRECONDITION: 400,
  grpc.StatusCode.OUT_OF_RANGE: 400,
  grpc.StatusCode.UNAUTHENTICATED: 401,
  grpc.StatusCode.NOT_FOUND: 404,
  grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
  grpc.StatusCode.CANCELLED: 499,
  grpc.StatusCode.UNIMPLEMENTED: 501,
  grpc.StatusCode.UNAVAILABLE: 503,
  grpc.StatusCode.DEADLINE_EXCEEDED: 504,
  grpc.StatusCode.INTERNAL: 500,
}
# What a graph raises because of its inputs.
OF_TENSORFLOW = (
  tf.errors.InvalidArgumentError,
  tf.errors.OutOfRangeError,
  tf.errors.ResourceExhaustedError,
)
_ASSERTION = re.compile(r'assertion failed: \[(.*?)\]((?: \[[^\]]*\])*)')


class RequestError(Exception):
  """A request that is refused.

  Attributes:
    code: `grpc.StatusCode`.
    status: HTTP status; follows from the code if it is not given.
  """

  def __init__(self, code: grpc.StatusCode, message: object, status: int | None = None) -> None:
    super().__init__(one_line(message))
    self.code = code
    self.status = status or HTTP_STATUS[code]


def invalid(message: object, status: int | None = None) -> RequestError:
  """The usual `RequestError`: INVALID_ARGUMENT, 400."""
  return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message, status)


def one_line(message: object) -> str:
  """A message without line breaks, cut where it gets longer than people read."""
  text = names.one_line(message)
  return text if len(text) <= 500 else f'{text[:497]}...'


def of_exception(error: BaseException) -> RequestError | None:
  """The `RequestError` for an exception of the segmenter, the masks or a graph.

  Returns:
    `RequestError`, or None for what is no fault of the request.
  """
  if isinstance(error, RequestError):
    return error
  if isinstance(error, ValueError):
    return invalid(error)
  if isinstance(error, (tf.errors.ResourceExhaustedError, MemoryError)):
    return RequestError(
      grpc.StatusCode.RESOURCE_EXHAUSTED,
      'not enough memory for this request; send smaller frames or fewer objects.',
    )
  if isinstance(error, OF_TENSORFLOW):
    return invalid(_without_nodes(error.message))
  return None


def _without_nodes(message: str) -> str:
  """The sentence in a message of TensorFlow's runtime, without names of nodes."""
  assertion = _ASSERTION.search(message)
  if assertion:
    values = assertion.group(2).replace('[', '').replace(']', '')
    return assertion.group(1) + values
  text = re.sub(r'\{\{.*?\}\}', '', message.split('\n')[0])
  return re.sub(r'\[Op:.*?\]', '', text).strip()

"""Requests whose clients may go: what waits is dropped, what can be stopped is stopped."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
import contextlib
import threading
from typing import TypeVar

import grpc
from starlette.requests import Request

from feelvos_tf.serving import errors

_Result = TypeVar('_Result')


class Call:
  """A request that somebody waits for, until its client goes or its time is up.

  For all threads.
  """

  def __init__(self) -> None:
    self._lock = threading.Lock()
    self._reason: errors.RequestError | None = None
    self._callbacks: dict[object, Callable[[], object]] = {}

  @property
  def over(self) -> bool:
    """Whether nobody waits any more."""
    return self._reason is not None

  def end(self, reason: errors.RequestError) -> None:
    """Says that nobody waits any more, and why; the first reason stays."""
    with self._lock:
      if self.over:
        return
      self._reason, callbacks = reason, list(self._callbacks.values())
      self._callbacks.clear()
    for callback in callbacks:
      callback()

  def check(self) -> None:
    """Raises the reason if nobody waits any more.

    Raises:
      RequestError: CANCELLED or DEADLINE_EXCEEDED.
    """
    if self._reason is not None:
      raise self._reason

  def add_callback(self, callback: Callable[[], object]) -> Callable[[], None]:
    """Calls a function when nobody waits any more; at once if that is so already.

    Returns:
      Function that forgets it: the call of a stream lasts longer than the work for a frame.
    """
    place = object()
    with self._lock:
      if not self.over:
        self._callbacks[place] = callback
        return lambda: self._forget(place)
    callback()
    return lambda: None

  def _forget(self, place: object) -> None:
    with self._lock:
      self._callbacks.pop(place, None)


def cancelled() -> errors.RequestError:
  """The reason of a call whose client went away."""
  return errors.RequestError(grpc.StatusCode.CANCELLED, 'the client went away.')


def of_grpc(context: grpc.ServicerContext) -> Call:
  """The `Call` of a gRPC call: over when it is cancelled, or its deadline has passed."""
  call = Call()

  def end() -> None:
    remaining = context.time_remaining()
    late = remaining is not None and remaining <= 0
    call.end(_too_late() if late else cancelled())

  if not context.add_callback(end):
    end()
  return call


@contextlib.asynccontextmanager
async def of_http(request: Request, seconds: float = 0.0) -> AsyncIterator[Call]:
  """The `Call` of an HTTP request, for a block that begins when its body has been read.

  Args:
    request: the request.
    seconds: time for an answer; 0 has no limit.

  Yields:
    `Call`: over when the client disconnects, the time is up or the block is cancelled.
  """
  call = Call()
  watcher = asyncio.ensure_future(_watch(request, call))
  timer = None
  if seconds:
    timer = asyncio.get_running_loop().call_later(seconds, lambda: call.end(_too_late()))
  try:
    yield call
  except asyncio.CancelledError:
    call.end(cancelled())
    raise
  finally:
    watcher.cancel()
    if timer is not None:
      timer.cancel()


async def unless_over(call: Call, result: Awaitable[_Result]) -> _Result:
  """Awaits a result, but not longer than somebody waits for it. The work itself is not cancelled.

  Raises:
    RequestError: nobody waits any more.
  """
  loop = asyncio.get_running_loop()
  over = loop.create_future()

  def settle() -> None:
    if not over.done():
      over.set_result(None)

  forget = call.add_callback(lambda: loop.call_soon_threadsafe(settle))
  task = asyncio.ensure_future(result)
  await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
  forget()
  if not task.done():
    task.add_done_callback(lambda task: task.cancelled() or task.exception())  # Nobody reads it.
    call.check()
  over.cancel()
  return task.result()


async def _watch(request: Request, call: Call) -> None:
  while (await request.receive())['type'] != 'http.disconnect':
    pass
  call.end(cancelled())


def _too_late() -> errors.RequestError:
  return errors.RequestError(
    grpc.StatusCode.DEADLINE_EXCEEDED, 'the time allowed for this request has passed.'
  )

"""A bounded pool of threads for models, so that the event loop only waits."""

import asyncio
from collections.abc import Callable
from concurrent import futures
import contextvars
import threading
from typing import Any

import grpc

from feelvos_tf.serving import errors
from feelvos_tf.serving import tracing
from feelvos_tf.serving.calls import Call


class WorkerPool:
  """Runs functions in a fixed number of threads; refuses more than may wait.

  Attributes:
    pending: number of functions that run or wait.
  """

  def __init__(self, workers: int, max_waiting: int) -> None:
    """Args: number of threads; number of functions that may wait for one."""
    self._executor = futures.ThreadPoolExecutor(workers, thread_name_prefix='model')
    self._most = workers + max_waiting
    self._lock = threading.Lock()
    self.pending = 0

  async def run(
    self, function: Callable, *args: Any, call: Call | None = None, goes_on: bool = False
  ) -> Any:
    """Awaits `function(*args)` of a worker.

    A function that has begun ends even if the caller is cancelled meanwhile.

    Args:
      function, *args: what to run.
      call: `Call`; the function is dropped if that is over before it begins.
      goes_on: it goes on with work that a refusal would lose: it waits, however many do.

    Raises:
      RequestError: RESOURCE_EXHAUSTED, too many wait; or why the call is over.
    """
    future = self._submit(function, args, call, goes_on)
    try:
      return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
      self._check_dropped(future, call)
      raise

  def run_blocking(self, function: Callable, *args: Any, call: Call | None = None) -> Any:
    """`run` for threads: blocks until the result is there; the same arguments and errors."""
    future = self._submit(function, args, call)
    try:
      return future.result()
    except futures.CancelledError:
      self._check_dropped(future, call)
      raise

  def close(self) -> None:
    """Waits for what runs and waits; nothing can be run after that."""
    self._executor.shutdown(wait=True)

  @staticmethod
  def _check_dropped(future: futures.Future, call: Call | None) -> None:
    if call is not None and future.cancelled():
      call.check()

  def _submit(
    self, function: Callable, args: tuple, call: Call | None, goes_on: bool = False
  ) -> futures.Future:
    if call is not None:
      call.check()
    with self._lock:
      if self.pending >= self._most and not goes_on:
        raise errors.RequestError(
          grpc.StatusCode.RESOURCE_EXHAUSTED,
          f'{self.pending} requests are running or waiting; try again later.',
        )
      self.pending += 1

    waited = tracing.begin('wait')

    def run(*args: Any) -> Any:
      waited()
      try:
        return function(*args)
      except StopIteration as error:  # A future cannot hold one: its caller would wait for ever.
        raise RuntimeError(f'{function} raised StopIteration') from error

    try:
      future = self._executor.submit(contextvars.copy_context().run, run, *args)
    except RuntimeError as error:  # Closed.
      self._done()
      raise errors.RequestError(
        grpc.StatusCode.UNAVAILABLE, 'the server is stopping; ask another one.'
      ) from error
    future.add_done_callback(lambda _: waited())
    future.add_done_callback(lambda _: self._done())  # Also of one that is cancelled.
    if call is not None:
      forget = call.add_callback(future.cancel)  # Does nothing to a function that has begun.
      future.add_done_callback(lambda _: forget())  # The call may be that of a long stream.
    return future

  def _done(self) -> None:
    with self._lock:
      self.pending -= 1

"""A bounded pool of threads for models, so that the event loop only waits."""

import asyncio
from concurrent import futures
import threading

import grpc

from feelvos_tf.serving import errors


class WorkerPool:
  """Runs functions in a fixed number of threads; refuses more than may wait.

  Attributes:
    pending: number of functions that run or wait.
  """

  def __init__(self, workers, max_waiting):
    """Args: number of threads; number of functions that may wait for one."""
    self._executor = futures.ThreadPoolExecutor(workers, thread_name_prefix='model')
    self._most = workers + max_waiting
    self._lock = threading.Lock()
    self.pending = 0

  async def run(self, function, *args):
    """Awaits `function(*args)` of a worker.

    A function that has begun ends even if the caller is cancelled meanwhile.

    Raises:
      RequestError: RESOURCE_EXHAUSTED, too many wait.
    """
    return await asyncio.wrap_future(self._submit(function, *args))

  def run_blocking(self, function, *args):
    """`run` for threads: blocks until the result is there."""
    return self._submit(function, *args).result()

  def close(self):
    """Waits for what runs and waits; nothing can be run after that."""
    self._executor.shutdown(wait=True)

  def _submit(self, function, *args):
    with self._lock:
      if self.pending >= self._most:
        raise errors.RequestError(
          grpc.StatusCode.RESOURCE_EXHAUSTED,
          f'{self.pending} requests are running or waiting; try again later.',
        )
      self.pending += 1

    try:
      future = self._executor.submit(function, *args)
    except RuntimeError as error:  # Closed.
      self._done()
      raise errors.RequestError(
        grpc.StatusCode.UNAVAILABLE, 'the server is stopping; ask another one.'
      ) from error
    future.add_done_callback(lambda _: self._done())  # Also of one that is cancelled.
    return future

  def _done(self):
    with self._lock:
      self.pending -= 1

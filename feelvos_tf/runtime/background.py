"""Reading ahead and writing behind in threads, with bounded queues.

Decoding frames and encoding masks release the interpreter's lock, so they overlap with the
model; the queues bound the memory to a few frames.
"""

from collections.abc import Callable, Iterable, Iterator
import queue
import threading
import types
from typing import Any, TypeVar

Item = TypeVar('Item')

_END = object()


def prefetch(iterable: Iterable[Item], size: int = 2) -> Iterator[Item]:
  """Yields the items of an iterable, which a thread fetches up to `size` items ahead.

  Args:
    iterable: any; it is consumed in another thread.
    size: int, items held at most.

  Yields:
    The items, in order.

  Raises:
    What the iterable raises, after the items before it.
  """
  items: queue.Queue = queue.Queue(maxsize=size)
  stopped = threading.Event()

  def put(item: Any) -> bool:
    while not stopped.is_set():
      try:
        items.put(item, timeout=0.1)
        return True
      except queue.Full:
        continue
    return False

  def fetch() -> None:
    try:
      for item in iterable:
        if not put((item, None)):
          return
      put((_END, None))
    except BaseException as error:  # Handed to the consumer, whatever it is.
      put((_END, error))

  thread = threading.Thread(target=fetch, daemon=True, name='prefetch')
  thread.start()
  try:
    while True:
      item, error = items.get()
      if error is not None:
        raise error
      if item is _END:
        return
      yield item
  finally:
    stopped.set()
    thread.join()


def with_next(iterable: Iterable[Item]) -> Iterator[tuple[Item, Item | None]]:
  """Yields (item, the one after it or None): for work that can begin before its turn.

  Raises:
    What the iterable raises, after the items before it.
  """
  items = iter(iterable)
  try:
    item = next(items)
  except StopIteration:
    return
  while True:
    try:
      following = next(items)
    except StopIteration:
      yield item, None
      return
    except BaseException:  # Also an interruption comes after the items before it.
      yield item, None
      raise
    yield item, following
    item = following


class BackgroundCalls:
  """Runs calls of one function in a thread, in order; `close` waits and raises what went wrong.

  >>> with BackgroundCalls(write_mask) as write:
  ...   write(path, ids, palette)
  """

  def __init__(self, function: Callable, size: int = 4) -> None:
    """Starts the thread.

    Args:
      function: called with the arguments of each call.
      size: int, calls waiting at most; a further one blocks.
    """
    self._function = function
    self._calls: queue.Queue = queue.Queue(maxsize=size)
    self._error: BaseException | None = None
    self._thread = threading.Thread(target=self._run, daemon=True, name='background calls')
    self._thread.start()

  def __call__(self, *args: Any, **kwargs: Any) -> None:
    """Queues a call.

    Raises:
      What an earlier call raised.
    """
    self._raise_error()
    self._calls.put((args, kwargs))

  def close(self) -> None:
    """Waits for the queued calls.

    Raises:
      What a call raised; calls after it were dropped.
    """
    if self._thread.is_alive():
      self._calls.put(None)
      self._thread.join()
    self._raise_error()

  def _run(self) -> None:
    while (call := self._calls.get()) is not None:
      if self._error is None:
        try:
          self._function(*call[0], **call[1])
        except BaseException as error:  # Handed to the caller, whatever it is.
          self._error = error

  def _raise_error(self) -> None:
    if self._error is not None:
      error, self._error = self._error, None
      raise error

  def __enter__(self) -> 'BackgroundCalls':
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: types.TracebackType | None,
  ) -> None:
    try:
      self.close()
    except BaseException:
      if kind is None:  # Else the first error is the one to report.
        raise

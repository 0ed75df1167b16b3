"""Work spread over processes: results as they finish, and an end that leaves none behind."""

from collections.abc import Callable, Iterable, Iterator
import concurrent.futures
from concurrent.futures.process import BrokenProcessPool
import multiprocessing
import os
import signal
import threading

# Spawned, not forked: a fork would copy whatever threads the caller runs (TensorFlow's, for one)
# half way.
CONTEXT = multiprocessing.get_context('spawn')


def finished(
  work: Callable,
  items: Iterable,
  workers: int,
  advice: str,
  start: Callable | None = None,
  start_args: tuple = (),
) -> Iterator[tuple]:
  """Yields (item, work(item)) as items finish.

  If `work` raises or the caller stops asking, items in work are finished and the others dropped;
  after Ctrl-C (KeyboardInterrupt) the processes are ended at once.

  Args:
    work: function of one item; it, the items and the results can be pickled.
    items: what to work on.
    workers: number of processes, at least 1.
    advice: what to do if a process dies, the end of a sentence; it is mostly memory.
    start: function called once in each process, before its first item.
    start_args: its arguments.

  Raises:
    ValueError: a process died.
    Exception: what `work` raised.
  """
  others = set(multiprocessing.active_children())
  executor = concurrent.futures.ProcessPoolExecutor(workers, CONTEXT, _start, (start, start_args))
  try:
    futures = {executor.submit(work, item): item for item in items}
    for future in concurrent.futures.as_completed(futures):
      yield futures[future], future.result()
  except KeyboardInterrupt:
    for worker in set(multiprocessing.active_children()) - others:
      worker.terminate()
    raise
  except BrokenProcessPool:
    raise ValueError(
      f'one of {workers} worker processes died, probably for lack of memory; {advice}'
    ) from None
  finally:
    executor.shutdown(wait=True, cancel_futures=True)


def _start(start: Callable[..., None] | None, start_args: tuple) -> None:
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent decides about Ctrl-C.
  threading.Thread(target=_end_with_parent, daemon=True).start()
  if start is not None:
    start(*start_args)


def _end_with_parent() -> None:
  """A worker whose parent was killed would wait for work forever."""
  parent = multiprocessing.parent_process()
  if parent is not None:
    parent.join()
  os._exit(1)

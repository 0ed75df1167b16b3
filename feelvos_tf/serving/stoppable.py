"""Graphs that stop when nobody waits for their results any more.

TensorFlow stops a cancelled function before its next step; in a loop over frames that is the next
frame. But its cancellation context is one for the whole process, so that one thread's call would
be stopped in the name of another. The context that is set here is that of the thread that asks.
"""

from collections.abc import Callable
import threading
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import cancellation

from feelvos_tf.serving import calls


class _ContextOfThread(threading.local):
  """What TensorFlow takes for a `CancellationManager`: another one in every thread.

  Attributes:
    manager: the `CancellationManager` of this thread's functions; None if they are not stopped.
  """

  manager = None

  @property
  def _impl(self) -> Any:
    # A new one for every function: one that fails cancels its manager, and would stop all after it.
    return (self.manager or cancellation.CancellationManager())._impl


_CONTEXT = _ContextOfThread()
cancellation.CancellationManagerContext(_CONTEXT).__enter__()  # For good.


def run(function: Callable, call: calls.Call | None, tensors: dict[str, tf.Tensor]) -> dict:
  """Calls a function of a graph; stops it when the call is over.

  Args:
    function: takes tensors by name and returns a dict of them.
    call: whose result it is; None does not stop.
    tensors: {name: tensor}, as the function takes them.

  Returns:
    {name: tensor}, what the function returns.

  Raises:
    RequestError: the call is over.
  """
  if call is None:
    return function(**tensors)
  _CONTEXT.manager = manager = cancellation.CancellationManager()
  forget = call.add_callback(manager.start_cancel)
  try:
    return function(**tensors)
  except tf.errors.CancelledError:
    call.check()
    raise
  finally:
    forget()
    _CONTEXT.manager = None

"""Many clips in one run: several at once, and one that goes wrong does not end the others.

One clip does not keep two cores busy; two at once take 0.9 of the time (docs/benchmarks.md).
"""

from collections.abc import Callable, Iterable, Iterator
import queue
import sys
import threading
from typing import Any

import numpy as np

from feelvos_tf.datasets import names
from feelvos_tf.datasets.sources.part import Part
from feelvos_tf.datasets.video import Video
from feelvos_tf.files import whole_file
from feelvos_tf.runtime import command_line


class Stopped(Exception):
  """The run was interrupted; the clip can be resumed."""


class StoppableVideo(Part):
  """A video whose frames end with `Stopped` once an event is set."""

  def __init__(self, video: Video, stop: threading.Event) -> None:
    """Args: the video; the event."""
    super().__init__(video)
    self._stop = stop

  def frames(self, start: int = 0) -> Iterator[np.ndarray]:
    for frame in super().frames(start):
      if self._stop.is_set():
        raise Stopped
      yield frame


def run_all(
  clips: Iterable[Any],
  run: Callable[[Any, Any, threading.Event], None],
  new_segmenter: Callable[[], Any],
  at_once: int = 1,
) -> list[str]:
  """Runs clips in their order; those that go wrong are told on standard error and left out.

  Args:
    clips: have a `name`.
    run: called with a clip, a segmenter and the event that asks it to stop, in one of `at_once`
      threads.
    new_segmenter: makes a segmenter for each of the threads.
    at_once: number of clips that run at a time.

  Returns:
    Names of the clips that went wrong.

  Raises:
    KeyboardInterrupt: and whatever else ends the program, after all clips have stopped.
    OSError, ValueError: a full or read-only disk, or a limit of the machine, which is no fault of a
      clip; see `whole_file.is_no_room`.
  """
  waiting: queue.SimpleQueue = queue.SimpleQueue()
  for clip in clips:
    waiting.put(clip)
  stop, failed, broken = threading.Event(), [], []

  def work() -> None:
    try:
      segmenter = new_segmenter()
      while not stop.is_set():
        clip = waiting.get_nowait()
        try:
          run(clip, segmenter, stop)
        except (OSError, ValueError) as error:
          if whole_file.is_no_room(error):
            raise
          failed.append(clip.name)
          print(
            f'{clip.name}: error: {names.one_line(command_line.describe(error))}',
            file=sys.stderr,
            flush=True,
          )
    except (queue.Empty, Stopped):
      pass
    except Exception as error:  # Of this program or of the machine: the run ends with it.
      broken.append(error)
      stop.set()

  threads = [threading.Thread(target=work) for _ in range(max(1, at_once))]
  try:
    for thread in threads:
      thread.start()
    for thread in threads:
      while thread.is_alive():  # In pieces, so that signals get through.
        thread.join(0.2)
  except BaseException:
    stop.set()
    for thread in threads:
      if thread.ident is not None:
        thread.join()
    raise
  if broken:
    raise broken[0]
  return sorted(failed)

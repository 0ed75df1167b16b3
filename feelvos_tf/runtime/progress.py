"""A line for long work, on standard error: that it goes on, or count, rate and time left.

A thread prints it every few seconds, also while one piece of the work takes long.
"""

from collections.abc import Callable
import sys
import threading
import time
from typing import TextIO, TypeVar

_Self = TypeVar('_Self', bound='Waiting')
# Seconds between lines: on a terminal one line is rewritten, elsewhere each one stays.
_ON_TERMINAL, _ELSEWHERE = 0.2, 5.0
_LOOK = 1.0  # Seconds after which the thread looks whether it is time.


class Waiting:
  """Says what is waited for, and how long it has taken: `loading the model, 10 s`.

  >>> with Waiting('loading the model'):
  ...   model = load_model()
  """

  def __init__(
    self,
    text: str,
    at_once: bool = True,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
  ) -> None:
    """Starts the clock.

    Args:
      text: what is waited for.
      at_once: print a line before the work; else only where it takes long.
      stream: text stream; None takes sys.stderr.
      clock: function that returns seconds.
    """
    self._text, self._at_once = text, at_once
    self._stream = stream or sys.stderr
    self._clock = clock
    self._terminal = self._stream.isatty()
    self._start = self._printed = clock()
    self._width = 0
    self._has_printed = False
    self._lock, self._ended = threading.Lock(), threading.Event()
    self._thread: threading.Thread | None = None

  def line(self, note: str = '') -> str:
    """The line as text."""
    seconds = self._clock() - self._start
    text = f'{self._text}, {duration(seconds)}' if seconds >= 1 else self._text
    return text + (f', {note}' if note else '')

  def tick(self, note: str = '') -> None:
    """Prints the line when it is time to; `note` goes to its end."""
    with self._lock:
      now = self._clock()
      if now - self._printed >= (_ON_TERMINAL if self._terminal else _ELSEWHERE):
        self._printed = now
        self._print(self.line(note), end='\r' if self._terminal else '\n')

  def __enter__(self: _Self) -> _Self:
    if self._at_once:
      self._print(self.line(), end='\r' if self._terminal else '\n')
    self._thread = threading.Thread(target=self._run, daemon=True, name='progress')
    self._thread.start()
    return self

  def __exit__(self, *error: object) -> None:
    self._ended.set()
    if self._thread is not None:
      self._thread.join()
    self._end()

  def _end(self) -> None:
    if self._has_printed and self._terminal:
      self._print(self.line(), end='\n')

  def _run(self) -> None:
    while not self._ended.wait(_LOOK):
      self.tick()

  def _print(self, text: str, end: str) -> None:
    padding = ' ' * max(0, self._width - len(text)) if self._terminal else ''
    self._width, self._has_printed = len(text), True
    print(text + padding, end=end, file=self._stream, flush=True)


class Progress(Waiting):
  """Prints how far work has come.

  >>> with Progress(total=82, unit='frames', title='bear') as progress:
  ...   for frame in frames:
  ...     progress.advance()
  """

  def __init__(
    self,
    total: int | None = None,
    unit: str = 'items',
    title: str = '',
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
    steps: int | None = None,
  ) -> None:
    """Starts the clock.

    Args:
      total: number of units to come; None if unknown.
      unit: str, what is counted.
      title: str, what it is about.
      stream, clock: see `Waiting`.
      steps: of the work, by which the time left is told; default: a unit is a step.
    """
    super().__init__(title, True, stream, clock)
    self._total, self._unit = total, unit
    self._steps = total if steps is None else steps
    self.count = self._steps_done = 0

  def advance(self, units: int = 1, note: str = '', steps: int | None = None) -> None:
    """Counts finished units and steps (as many, if None); prints when it is time to."""
    self.count += units
    self._steps_done += units if steps is None else steps
    self.tick(note)

  @property
  def steps_left(self) -> int | None:
    """Steps to come; None if unknown."""
    return None if self._steps is None else max(0, self._steps - self._steps_done)

  def line(self, note: str = '') -> str:
    """The line as text: `bear: 41/82 frames, 1.9 frames/s, 22 s left`."""
    seconds = self._clock() - self._start
    total = '' if self._total is None else f'/{self._total}'
    text = f'{self._text}: ' if self._text else ''
    text += f'{self.count}{total} {self._unit}'
    if self.count:
      # Significant digits: a slow rate must not read as 0.0.
      text += f', {self.count / max(seconds, 1e-9):.3g} {self._unit}/s'
    if self._steps_done and self.steps_left:
      text += f', {duration(seconds * self.steps_left / self._steps_done)} left'
    elif not self.count and seconds >= 1:
      text += f', {duration(seconds)}'
    return text + (f', {note}' if note else '')

  def _end(self) -> None:
    self._print(self.line(), end='\n')


def duration(seconds: float) -> str:
  """Seconds as `45 s`, `12 min` or `3.5 h`."""
  if seconds < 120:
    return f'{seconds:.0f} s'
  if seconds < 7200:
    return f'{seconds / 60:.0f} min'
  return f'{seconds / 3600:.1f} h'

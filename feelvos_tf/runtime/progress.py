"""A progress line for long work: count, rate and time left, on standard error."""

from collections.abc import Callable
import sys
import time
from typing import TextIO


class Progress:
  """Prints how far work has come: rewriting one line on a terminal, a line every 10 s elsewhere.

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
  ) -> None:
    """Starts the clock.

    Args:
      total: number of units to come; None if unknown.
      unit: str, what is counted.
      title: str, what it is about.
      stream: text stream; None takes sys.stderr.
      clock: function that returns seconds.
    """
    self._total, self._unit, self._title = total, unit, title
    self._stream = stream or sys.stderr
    self._clock = clock
    self._terminal = self._stream.isatty()
    self._start = self._printed = clock()
    self._width = 0
    self.count = 0

  def advance(self, units: int = 1, note: str = '') -> None:
    """Counts finished units; prints when it is time to."""
    self.count += units
    now = self._clock()
    if now - self._printed >= (0.2 if self._terminal else 10.0):
      self._printed = now
      self._print(self.line(note), end='\r' if self._terminal else '\n')

  def line(self, note: str = '') -> str:
    """The line as text: `bear: 41/82 frames, 1.9 frames/s, 22 s left`."""
    rate = self.count / max(self._clock() - self._start, 1e-9)
    total = '' if self._total is None else f'/{self._total}'
    text = f'{self._title}: ' if self._title else ''
    # Significant digits: a slow rate must not read as 0.0.
    text += f'{self.count}{total} {self._unit}, {rate:.3g} {self._unit}/s'
    if self._total is not None and self.count < self._total and rate > 0:
      text += f', {duration((self._total - self.count) / rate)} left'
    return text + (f', {note}' if note else '')

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *error: object) -> None:
    if self.count or self._printed != self._start:
      self._print(self.line(), end='\n')

  def _print(self, text: str, end: str) -> None:
    padding = ' ' * max(0, self._width - len(text)) if self._terminal else ''
    self._width = len(text)
    print(text + padding, end=end, file=self._stream, flush=True)


def duration(seconds: float) -> str:
  """Seconds as `45 s`, `12 min` or `3.5 h`."""
  if seconds < 120:
    return f'{seconds:.0f} s'
  if seconds < 7200:
    return f'{seconds / 60:.0f} min'
  return f'{seconds / 3600:.1f} h'

"""Live sources: a camera, a network stream, a pipe. Read once, forward, while they go on.

A camera does not wait: of the frames that come while one is being segmented the latest is taken
('latest'). A pipe waits, so every frame of it is taken ('every'). Either can be asked for.
"""

from collections.abc import Iterator
import contextlib
from fractions import Fraction
import queue
import re
import sys
import threading
from typing import Any

import av
import numpy as np

from feelvos_tf.datasets import streams
from feelvos_tf.datasets.film import display
from feelvos_tf.datasets.video import NumberedNames
from feelvos_tf.datasets.video import Video

TAKES = ('auto', 'latest', 'every')
_PROTOCOLS = ('rtsp', 'rtsps', 'rtmp', 'rtmps', 'srt', 'udp', 'tcp', 'rtp')
_SECONDS = 15.0  # that a stream may keep silent
_END = object()


def is_live(source: object) -> bool:
  """Whether `--input` means a live source: `-`, the number of a camera, or a stream's address."""
  text = str(source)
  protocol = text.partition('://')[0]
  return text == '-' or text.isdecimal() or ('://' in text and protocol.lower() in _PROTOCOLS)


class LiveVideo(Video):
  """Frames of a live source. `frames` may be called once.

  Attributes:
    live: True.
    left_out_frames: number of frames that came while others were being worked on.
  """

  live = True

  def __init__(self, source: str, take: str = 'auto') -> None:
    """Opens the source and waits for its first frame.

    Args:
      source: `-` for standard input, the number of a camera, or an address.
      take: 'latest', 'every', or 'auto': every frame of a pipe, the latest of others.

    Raises:
      ValueError: it cannot be opened, or shows no frame.
    """
    if take not in TAKES:
      raise ValueError(f'take is {take!r}; expected one of {", ".join(TAKES)}.')
    self.source, self.name = str(source), _name_of(str(source))
    self._latest = take == 'latest' or (take == 'auto' and self.source != '-')
    self.left_out_frames, self._begun = 0, False
    self._times: dict[int, Fraction | None] = {}
    self._items: queue.Queue[tuple[Any, Any]] | None = None
    try:
      self._container = _open(self.source)
      tracks = self._container.streams.video
      if not tracks:
        raise ValueError(f'{self.name}: a source without pictures given, expected video')
      self._track = tracks[0]
      self._track.thread_type = 'SLICE'  # Threads for frames would hold several of them back.
      self._decoded = self._container.decode(self._track)
      first = next(self._decoded, None)
    except av.error.FFmpegError as error:
      raise ValueError(f'{self.name}: {_reason(error)}') from error
    if first is None:
      raise ValueError(f'{self.name}: a source that ended before its first frame given')
    self._origin = first.pts
    rate = self._track.average_rate or self._track.guessed_rate
    self.fps = float(rate) if rate and 0 < rate < 1000 else None
    square = display.square_size(first.width, first.height, self._track.sample_aspect_ratio)
    turn = display.turning(first)
    self._painter = display.Painter(square, turn, self._track.time_base)
    self._first = self._painted(first)
    self.num_frames, self.frame_names = None, NumberedNames(None)
    self.frame_size = self._first[0].shape[:2]
    stored = (first.width, first.height) if turn[0] else (first.height, first.width)
    self.stored_size = stored if stored != self.frame_size else None

  def frame(self, index: int) -> np.ndarray:
    """The first frame, uint8 [height, width, 3] RGB; others have not come yet or are gone.

    Raises:
      IndexError: another index.
    """
    if index:
      raise IndexError(f'{self.name}: a live source has frame 0 only before it is read')
    return self._first[0]

  def frames(self, start: int = 0) -> Iterator[np.ndarray]:
    if self._begun:
      raise ValueError(f'{self.name}: a live source can be read once; start the run again')
    self._begun = True
    items: queue.Queue[tuple[Any, Any]] = queue.Queue(maxsize=1 if self._latest else 2)
    self._items = items
    stopped = threading.Event()
    thread = threading.Thread(target=self._read, args=(items, stopped), daemon=True, name='live')
    thread.start()
    try:
      yield from self._taken(items, start)
    finally:
      stopped.set()

  def waiting(self) -> np.ndarray | None:
    """The frame that `frames` gives next, uint8 [height, width, 3], if it has come.

    None if it has not, and where the latest is taken: then another one may come before it.
    """
    if self._latest or self._items is None:
      return None
    with self._items.mutex:
      image = self._items.queue[0][0] if self._items.queue else None
    return None if image is _END else image

  def _taken(self, items: queue.Queue, start: int) -> Iterator[np.ndarray]:
    index = 0
    image, time = self._first
    while image is not _END:
      self._times[index] = time
      if index >= start:
        yield image
      index += 1
      image, time = items.get()
    if isinstance(time, Exception):
      raise ValueError(f'{self.name}: {_reason(time)}') from time

  def _read(self, items: queue.Queue, stopped: threading.Event) -> None:
    """Reads as frames come, in a thread of its own."""
    error: Exception | None = None
    try:
      for frame in self._decoded:
        if stopped.is_set():
          return
        self._put(items, self._painted(frame), stopped)
    except (av.error.FFmpegError, OSError, ValueError) as caught:
      error = caught
    # What came last is still to be taken: the end waits behind it.
    while not stopped.is_set():
      try:
        items.put((_END, error), timeout=0.1)
        return
      except queue.Full:
        continue

  def _put(self, items: queue.Queue, item: tuple[Any, Any], stopped: threading.Event) -> None:
    while not stopped.is_set():
      try:
        items.put(item, block=not self._latest, timeout=0.1)
        return
      except queue.Full:
        if self._latest:
          with contextlib.suppress(queue.Empty):
            items.get_nowait()
            self.left_out_frames += 1

  def _painted(self, frame: av.VideoFrame) -> tuple[np.ndarray, Fraction | None]:
    ticks = None if frame.pts is None or self._origin is None else frame.pts - self._origin
    return self._painter.paint(frame), streams.seconds(ticks, self._track.time_base)

  def frame_time(self, index: int) -> Fraction | None:
    return self._times.get(index)

  def mask(self, index: int) -> None:
    return None


def _open(source: str) -> av.container.InputContainer:
  if source == '-':
    return av.open(sys.stdin.buffer, 'r')
  if source.isdecimal():
    return av.open(f'/dev/video{source}', format='v4l2', timeout=_SECONDS)
  options = {'rtsp_transport': 'tcp'} if source.startswith('rtsp') else {}
  return av.open(source, options=options, timeout=_SECONDS)


def _name_of(source: str) -> str:
  """A name for messages, without the password an address may hold."""
  if source == '-':
    return 'pipe'
  if source.isdecimal():
    return f'camera{source}'
  return re.sub(r'.*[@/]', '', source.partition('://')[2].rstrip('/')) or 'stream'


def _reason(error: Exception) -> str:
  text = getattr(error, 'strerror', None) or str(error)
  return f'cannot be read ({text}); expected a camera, a stream or a pipe that sends video'

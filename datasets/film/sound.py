"""The sound of a video file, copied into the video that is written from its frames."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
from fractions import Fraction
import math
import os
from typing import TypeAlias

import av

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import streams
from feelvos_tf.datasets.film import clock
from feelvos_tf.datasets.film import reader
from feelvos_tf.files import whole_file

# Codecs that players expect in mp4; sound of others is encoded as AAC.
_COPIED = frozenset(['aac', 'mp3', 'ac3', 'eac3', 'alac', 'opus'])

# Samples a second that AAC has; what has others is encoded at 48,000.
_AAC_RATES = frozenset(
  [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350]
)

_TOLERANCE = Fraction(1, 100000)  # Seconds by which roundings of two clocks may differ.


class Sound:
  """The first sound track of a video file, written packet by packet while frames are written.

  Use `add_to` before the first frame is written, `write_until` with each one, `finish` behind the
  last one, `close` at the end.
  Trouble with the sound never ends the video: what cannot be read is left out.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    start: Callable[[], Fraction],
    passed: Callable[[], clock.Passed] = clock.Passed,
  ) -> None:
    """Opens the file.

    Args:
      path: a video file.
      start: function: seconds of the file at which the written video starts. It is called by
        `add_to`, when the first frame has been read, whose time no one knows before.
      passed: function: what the frames have passed.
    """
    self._path, self._passed = path, passed
    self._start_of_video, self._start = start, Fraction(0)
    self._source = reader.opened(path)
    self._container = self._source.__enter__()
    tracks = [t for t in self._container.streams.audio if t.codec_context is not None]
    self._track = tracks[0] if tracks else None
    self._begins_anew = clock.begins_anew(self._container)
    self._items: Iterator[_Item] = iter(())
    self._next: _Item | None = None
    self._output: _Copy | _Encoding | None = None
    self._joins_behind = 0  # Joins before the last sound that was written.
    self._ended = False
    self._last_stamp: Fraction | None = None

  def add_to(self, output: av.container.OutputContainer) -> None:
    """Adds a stream to an `av.container.OutputContainer`; nothing if there is no sound."""
    track = self._track
    if track is None:
      return
    self._start = self._start_of_video()
    context = track.codec_context  # A decoder of mp3 is called mp3float.
    # The rate is unknown where joined recordings begin with one without sound.
    if context.codec.canonical_name in _COPIED and context.sample_rate:
      self._output = _Copy(output, track)
      self._items = _packets(self._container, track)
    else:
      self._output = _Encoding(output, track)
      self._items = _frames(self._container, track)
    self._next = next(self._items, None)

  def write_until(self, seconds: Fraction) -> None:
    """Writes what starts up to that time of the written video."""
    while self._output is not None and self._next is not None:
      stamp, place, item = self._next
      time = self._time(stamp, place if self._begins_anew else None)
      if time is None or time > seconds:
        return
      with self._optional(seconds):
        if time > -_TOLERANCE:
          self._output.write(item, max(time, Fraction(0)))
        self._last_stamp, self._next = stamp, next(self._items, None)

  def finish(self, seconds: Fraction) -> None:
    """Writes what starts up to that time, the end of the written video."""
    self._ended = True
    self.write_until(seconds)
    if self._output is not None:
      with self._optional(seconds):
        self._output.finish()

  def close(self) -> None:
    """Closes the source."""
    self._items, self._next = iter(()), None
    self._source.__exit__(None, None, None)

  def _time(self, stamp: Fraction, place: int | None) -> Fraction | None:
    """Seconds of the written video; None: maybe behind a join that the frames have not passed."""
    joins, film = self._passed()
    while self._joins_behind < len(joins) and self._is_behind(
      joins[self._joins_behind], stamp, place
    ):
      self._joins_behind, self._last_stamp = self._joins_behind + 1, None
    if place is None or film is None:
      if self._steps(stamp) and stamp < (self._last_stamp or 0):
        return None  # A step forward without a join is a pause of the sound.
    elif place > film and not (self._ended and self._is_in_recording(stamp)):
      return None
    shift = joins[self._joins_behind - 1].shift if self._joins_behind else Fraction(0)
    return stamp + shift - self._start

  def _is_behind(self, join: clock.Join, stamp: Fraction, place: int | None) -> bool:
    """Whether sound is behind a join: its place says so, or, near the join, its stamp."""
    if place is None or join.before is None or join.behind is None:
      return self._steps(stamp)
    if join.before < place < join.behind:
      return self._last_stamp is None or self._steps(stamp)
    return place >= join.behind

  def _is_in_recording(self, stamp: Fraction) -> bool:
    """Whether sound that comes behind the last frame in the file belongs to its recording."""
    return not self._joins_behind if self._last_stamp is None else not self._steps(stamp)

  def _steps(self, stamp: Fraction) -> bool:
    last = self._last_stamp
    return last is not None and clock.is_join(stamp - last, self._begins_anew)

  @contextlib.contextmanager
  def _optional(self, seconds: Fraction) -> Iterator[None]:
    """Gives the sound up with a warning if it cannot be written."""
    try:
      yield
    except (av.error.FFmpegError, ValueError) as error:
      if whole_file.is_of_disk(error):
        raise
      data_warning.warn(
        f'{self._path}: the sound cannot be written behind {float(seconds):.1f} s; the overlay '
        'video has none from there on'
      )
      self._output = None


# Seconds of the file's clock, place in the file in bytes if it is known, and what starts there.
_Item: TypeAlias = tuple[Fraction, int | None, av.Packet | av.AudioFrame]


class _Copy:
  """A stream of sound whose packets are those of a track."""

  def __init__(self, output: av.container.OutputContainer, track: av.AudioStream) -> None:
    """Adds it to the file that is written."""
    self._output, self._stream = output, output.add_stream_from_template(track)
    self._base = Fraction(track.time_base or 1)
    self._last = -1

  def write(self, item: av.Packet | av.AudioFrame, time: Fraction) -> None:
    """Writes a packet that starts at a time in seconds; one that starts before the last is lost."""
    # Halves always go down. `round` takes them to even numbers, and a tick of AVI is a packet.
    ticks = math.ceil(time / self._base - Fraction(1, 2))
    if isinstance(item, av.Packet) and ticks > self._last:
      item.pts = item.dts = self._last = ticks
      item.stream = self._stream
      self._output.mux(item)

  def finish(self) -> None:
    """Nothing is held back."""


class _Encoding:
  """A stream of sound that is encoded as AAC."""

  def __init__(self, output: av.container.OutputContainer, track: av.AudioStream) -> None:
    """Adds it to the file that is written."""
    rate = track.codec_context.sample_rate
    self._rate = rate if rate in _AAC_RATES else 48000
    self._layout = 'mono' if track.codec_context.layout.nb_channels == 1 else 'stereo'
    self._output = output
    self._stream = output.add_stream('aac', rate=self._rate, layout=self._layout)
    self._resampler = av.AudioResampler('fltp', self._layout, self._rate)
    self._kind: tuple[str, str, int] | None = None
    self._last = Fraction(0)

  def write(self, item: av.Packet | av.AudioFrame, time: Fraction) -> None:
    """Writes a frame that starts at a time in seconds; one that starts before the last is lost."""
    if not isinstance(item, av.AudioFrame) or time < self._last:
      return
    kind = item.format.name, item.layout.name, item.sample_rate
    if kind != self._kind and self._kind is not None:  # As between programmes of a broadcast.
      self._encode(self._resampler.resample(None))
      self._resampler = av.AudioResampler('fltp', self._layout, self._rate)
    self._kind, self._last = kind, time
    item.time_base = Fraction(1, item.sample_rate)
    item.pts = round(time * item.sample_rate)
    self._encode(self._resampler.resample(item))

  def finish(self) -> None:
    """Writes what resampler and encoder hold back."""
    self._encode(self._resampler.resample(None))
    self._output.mux(self._stream.encode(None))

  def _encode(self, frames: Sequence[av.AudioFrame]) -> None:
    for frame in frames:
      self._output.mux(self._stream.encode(frame))


def _packets(container: av.container.InputContainer, track: av.AudioStream) -> Iterator[_Item]:
  """The packets of a track up to the first that cannot be read."""
  place = None
  try:
    for packet in container.demux(track):
      stamp = streams.seconds(packet.pts, packet.time_base)
      place = place if packet.pos is None else packet.pos
      if stamp is not None:
        yield stamp, place, packet
  except av.error.FFmpegError:
    return


def _frames(container: av.container.InputContainer, track: av.AudioStream) -> Iterator[_Item]:
  """The decoded sound of a track, without what is damaged."""
  places, place = clock.Places(), None
  try:
    for packet in container.demux(track):
      places.add(packet)
      try:
        frames = packet.decode()
      except av.error.FFmpegError:
        continue
      for frame in frames:
        stamp = streams.seconds(frame.pts, frame.time_base)
        found = places.take(frame.pts) if frame.time_base == track.time_base else packet.pos
        place = place if found is None else found
        if isinstance(frame, av.AudioFrame) and stamp is not None:
          yield stamp, place, frame
  except av.error.FFmpegError:
    return

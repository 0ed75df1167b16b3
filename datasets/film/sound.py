"""The sound of a video file, copied into the video that is written from its frames."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
import os
from typing import TypeVar

import av

from feelvos_tf.datasets import streams
from feelvos_tf.datasets.film import reader

# Codecs that players expect in mp4; sound of others is encoded as AAC.
_COPIED = frozenset(['aac', 'mp3', 'ac3', 'eac3', 'alac', 'opus'])

# Samples a second that AAC has; what has others is encoded at 48,000.
_AAC_RATES = frozenset(
  [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350]
)

Item = TypeVar('Item')


class Sound:
  """The first sound track of a video file, written packet by packet while frames are written.

  Use `add_to` before the first frame is written, `write_until` with each one, `close` at the end.
  """

  def __init__(self, path: str | os.PathLike, start: Callable[[], Fraction]) -> None:
    """Opens the file.

    Args:
      path: a video file.
      start: function: seconds of the file at which the written video starts. It is called by
        `add_to`, when the first frame has been read, whose time no one knows before.
    """
    self._start_of_video, self._start = start, Fraction(0)
    self._source = reader.opened(path)
    self._container = self._source.__enter__()
    tracks = [t for t in self._container.streams.audio if t.codec_context is not None]
    self._track = tracks[0] if tracks else None
    self._packets: Iterator[tuple[Fraction, av.Packet]] = iter(())
    self._next: tuple[Fraction, av.Packet] | None = None
    self._output: av.container.OutputContainer | None = None

  def add_to(self, output: av.container.OutputContainer) -> None:
    """Adds a stream to an `av.container.OutputContainer`; nothing if there is no sound."""
    track = self._track
    if track is None:
      return
    self._output, self._start = output, self._start_of_video()
    if track.codec_context.name in _COPIED:
      self._packets = self._copied(track, output.add_stream_from_template(track))
    else:
      rate = track.codec_context.sample_rate
      if rate not in _AAC_RATES:
        rate = 48000
      stream = output.add_stream('aac', rate=rate, layout=_layout(track))
      self._packets = self._encoded(track, stream, av.AudioResampler('fltp', _layout(track), rate))
    self._next = next(self._packets, None)

  def write_until(self, seconds: Fraction) -> None:
    """Writes what starts up to that time of the written video."""
    while self._output and self._next is not None and self._next[0] <= seconds:
      self._output.mux(self._next[1])
      self._next = next(self._packets, None)

  def close(self) -> None:
    """Closes the source."""
    self._packets, self._next = iter(()), None
    self._source.__exit__(None, None, None)

  def _copied(
    self, track: av.AudioStream, copy: av.AudioStream
  ) -> Iterator[tuple[Fraction, av.Packet]]:
    """(seconds, packet) of the written video."""
    base = Fraction(track.time_base or 1)
    shift = round(self._start / base)
    for packet in _readable(self._container.demux(track)):
      if packet.pts is None or packet.pts < shift:
        continue
      packet.pts -= shift
      packet.dts = packet.pts
      packet.stream = copy
      yield packet.pts * base, packet

  def _encoded(
    self, track: av.AudioStream, stream: av.AudioStream, resampler: av.AudioResampler
  ) -> Iterator[tuple[Fraction, av.Packet]]:
    """The same, of sound that is decoded and encoded again."""
    for packet in _readable(self._container.demux(track)):
      for frame in _readable(iter(packet.decode())):
        if not isinstance(frame, av.AudioFrame) or frame.pts is None or not frame.time_base:
          continue
        base = frame.time_base
        if frame.pts * base < self._start:
          continue
        frame.pts = round((frame.pts * base - self._start) / base)
        for resampled in resampler.resample(frame):
          yield from self._timed(stream.encode(resampled))
    yield from self._timed(stream.encode(None))

  def _timed(self, packets: Iterable[av.Packet]) -> Iterator[tuple[Fraction, av.Packet]]:
    for packet in packets:
      yield streams.seconds(packet.pts, packet.time_base) or Fraction(0), packet


def _layout(track: av.AudioStream) -> str:
  return 'mono' if track.codec_context.layout.nb_channels == 1 else 'stereo'


def _readable(items: Iterable[Item]) -> Iterator[Item]:
  """The items up to the first that cannot be read: a break in the sound is no reason to stop."""
  try:
    yield from items
  except av.error.FFmpegError:
    return

"""What PyAV leaves open about streams: times in seconds, and a track that is one of video."""

from collections.abc import Mapping
from fractions import Fraction

import av


def seconds(ticks: int | None, time_base: Fraction | None) -> Fraction | None:
  """A time in seconds; None if it, or the length of a tick, is unknown.

  Args:
    ticks: of a stream's clock.
    time_base: seconds of a tick.
  """
  return None if ticks is None or time_base is None else ticks * Fraction(time_base)


def add_video(
  container: av.container.OutputContainer, encoder: str, rate: Fraction, options: Mapping[str, str]
) -> av.VideoStream:
  """Adds a track to a film that is being written.

  Args:
    container: the film.
    encoder: FFmpeg's name of it.
    rate: frames per second.
    options: of the encoder.

  Raises:
    ValueError: PyAV has no such encoder, or it is not one of video.
  """
  stream = container.add_stream(encoder, rate=rate, options=dict(options))
  if not isinstance(stream, av.VideoStream):
    raise ValueError(f'{encoder}: an encoder of {stream.type} given, expected one of video')
  return stream

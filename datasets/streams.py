"""What PyAV leaves open about streams: times in seconds, and a track of video with its colours."""

from collections.abc import Mapping
from fractions import Fraction

import av

# The matrix that `add_video` names; pictures have to be converted to it.
COLOURS = 'ITU709'
_BT709 = 1  # FFmpeg's number of it, of its primaries and of its curve.


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
  """Adds a track to a film that is being written; its colours are those of HD video.

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
  context = stream.codec_context
  # Players guess colours that have no name by the size of the frames.
  context.colorspace = context.color_primaries = context.color_trc = _BT709
  return stream

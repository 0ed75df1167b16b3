"""When the frames of a film are shown: one clock for the whole file, whatever its stamps do.

Recordings that were joined byte by byte (transport streams, DVDs) begin their stamps anew at each
join; frames and sound go on there without a gap. AVI has no times but the order in which frames
are stored, which is another one than that in which they are shown.
"""

from fractions import Fraction

import av

from feelvos_tf.datasets import streams

# A step of the stamps that no film makes by itself, in seconds: back, and (in formats whose stamps
# may begin anew) forward.
_BACK, _FORWARD = Fraction(1, 10), Fraction(10)
_PART = 2  # Seconds; in every part of this length sound that goes on has a packet.
_BEGIN_ANEW = frozenset(['mpegts', 'mpeg'])


class Clock:
  """The times of frames, one after the other.

  Attributes:
    joins: what is to be added to the stamps behind the first, second, ... join, in seconds.
    sounds: the tracks whose packets have to be shown to `sound`.
  """

  def __init__(self, container: av.container.InputContainer, track: av.VideoStream) -> None:
    """Args: the open file; the track whose frames come."""
    self.joins: list[Fraction] = []
    self._in_order_of_storage = 'avi' in container.format.name.split(',')
    self._begins_anew = begins_anew(container)
    self.sounds = container.streams.audio if self._begins_anew else ()
    self._time_base = track.time_base
    self._interval = 1 / Fraction(track.average_rate or track.guessed_rate or 25)
    self._shift = Fraction(0)
    self._first: Fraction | None = None
    self._last = Fraction(0)
    self._heard: set[int] = set()  # Parts of this recording in which there is sound.

  def sound(self, packet: av.Packet) -> None:
    """Notes a packet of sound: where that goes on, pictures pause and there is no join."""
    stamp = streams.seconds(packet.pts, packet.time_base)
    if stamp is not None:
      self._heard.add(stamp // _PART)

  def time(self, frame: av.VideoFrame) -> Fraction | None:
    """Seconds from the first frame to this one, the next in the order they are shown in."""
    ticks = frame.dts if self._in_order_of_storage else frame.pts
    stamp = streams.seconds(ticks, self._time_base)
    if stamp is None:
      if not self._in_order_of_storage or self._first is None:
        return None
      stamp = self._last + self._interval  # The decoder holds back frames without a packet's stamp.
    if self._first is None:
      self._first = stamp
    elif is_join(stamp - self._last, self._begins_anew) and not self._is_pause(stamp):
      self._shift += self._last + self._interval - stamp
      self.joins.append(self._shift)
      self._heard.clear()
    self._last = stamp
    return stamp + self._shift - self._first

  def _is_pause(self, stamp: Fraction) -> bool:
    """Whether sound goes on between the last frame and that one."""
    return stamp > self._last and (self._last + stamp) / 2 // _PART in self._heard


def begins_anew(container: av.container.InputContainer) -> bool:
  """Whether stamps of a file's format may jump, as those of transport streams."""
  return bool(_BEGIN_ANEW & frozenset(container.format.name.split(',')))


def is_join(step: Fraction, begins_anew: bool) -> bool:
  """Whether a step of stamps, in seconds, is from one recording to the next.

  Args:
    step: from a frame or packet to the next one.
    begins_anew: see `begins_anew`.
  """
  return step < -_BACK or (begins_anew and step > _FORWARD)

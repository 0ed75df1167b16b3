"""When the frames of a film are shown: one clock for the whole file, whatever its stamps do.

Recordings that were joined byte by byte (transport streams, DVDs) begin their stamps anew at each
join; frames and sound go on there without a gap. AVI has no times but the order in which frames
are stored, which is another one than that in which they are shown.
"""

from collections.abc import Sequence
from fractions import Fraction
import os
from typing import NamedTuple

import av

from feelvos_tf.datasets import streams
from feelvos_tf.datasets.film import file_end

# A step of the stamps that no film makes by itself, in seconds: back, and (in formats whose stamps
# may begin anew) forward.
_BACK, _FORWARD = Fraction(1, 10), Fraction(10)
_PART = 2  # Seconds; in every part of this length sound that goes on has a packet.
_BEGIN_ANEW = frozenset(['mpegts', 'mpeg'])
_MOST_PLACES = 256  # Packets that a decoder may hold back.


class Join(NamedTuple):
  """Where a recording ends and the next one begins.

  Attributes:
    shift: what is to be added to the stamps behind it, in seconds.
    before: place in the file, in bytes, of the last frame before it; None if unknown.
    behind: place of a frame behind it.
  """

  shift: Fraction
  before: int | None
  behind: int | None


class Passed(NamedTuple):
  """What the frames of a film have passed: joins, and places in the file up to `place`."""

  joins: Sequence[Join] = ()
  place: int | None = None

  def with_those_of(self, times: 'Clock') -> 'Passed':
    """What these frames and those of a clock have passed, which may have begun anew.

    Both parts together: another thread that writes the sound must not see a place without the
    joins before it.
    """
    joins = times.joins[:] if len(times.joins) > len(self.joins) else self.joins
    return Passed(joins, max((p for p in (self.place, times.place) if p is not None), default=None))


class Places:
  """Where in the file the packets of a track begin, by their stamps."""

  def __init__(self) -> None:
    """None."""
    self._places: dict[int, int] = {}

  def add(self, packet: av.Packet) -> None:
    """Notes a packet. Of several that begin together, the first alone has a place."""
    if packet.pts is not None and packet.pos is not None:
      self._places[packet.pts] = packet.pos
      if len(self._places) > _MOST_PLACES:
        del self._places[next(iter(self._places))]

  def take(self, ticks: int | None) -> int | None:
    """The place of a packet that was noted, once; None if it is unknown."""
    return None if ticks is None else self._places.pop(ticks, None)


class Clock:
  """The times of frames, one after the other.

  Attributes:
    joins: `Join` each.
    place: farthest place in the file at which a frame of those so far begins; None if unknown.
    sounds: the tracks whose packets have to be shown to `sound`.
  """

  def __init__(
    self, container: av.container.InputContainer, track: av.VideoStream, path: str | os.PathLike
  ) -> None:
    """Args: the open file; the track whose frames come; the file's name."""
    self._path = path
    self._is_transport_stream = 'mpegts' in container.format.name.split(',')
    self._places = Places()
    self.place: int | None = None
    self.joins: list[Join] = []
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

  def packet(self, packet: av.Packet) -> None:
    """Notes a packet of the track before it is decoded."""
    self._places.add(packet)

  def time(self, frame: av.VideoFrame) -> Fraction | None:
    """Seconds from the first frame to this one, the next in the order they are shown in."""
    ticks = frame.dts if self._in_order_of_storage else frame.pts
    stamp = streams.seconds(ticks, self._time_base)
    if stamp is None:
      if not self._in_order_of_storage or self._first is None:
        return None
      stamp = self._last + self._interval  # The decoder holds back frames without a packet's stamp.
    place = self._places.take(frame.pts)
    if self._first is None:
      self._first = stamp
    elif is_join(stamp - self._last, self._begins_anew) and not self._is_pause(stamp, place):
      self._shift += self._last + self._interval - stamp
      self.joins.append(Join(self._shift, self.place, place))
      self._heard.clear()
    self._last = stamp
    if place is not None:
      self.place = place if self.place is None else max(place, self.place)
    return stamp + self._shift - self._first

  def _is_pause(self, stamp: Fraction, place: int | None) -> bool:
    """Whether sound goes on between the last frame and that one, or, without sound, packets do."""
    if stamp < self._last:
      return False
    if self._heard:
      return (self._last + stamp) / 2 // _PART in self._heard
    if not self._is_transport_stream or self.place is None or place is None:
      return False
    since = self.joins[-1].behind if self.joins else None
    return file_end.continues(self._path, self.place, place, since or 0)


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

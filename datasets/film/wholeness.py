"""Whether a video is all there: what was decoded against what the file says it shows.

What files say differs. The index of mp4, mov and 3gp lists every sample, shown or not (edit lists
hide some); avi, wmv and flv give a length; Matroska and WebM give a length, and their structure
shows where they should end (`file_end`); transport streams and raw streams say nothing, but a torn
last frame shows.
"""

from fractions import Fraction
import os
import pathlib

import av

from feelvos_tf.datasets import streams
from feelvos_tf.datasets.film import file_end

_TICKS = 1000000  # Of a second, in what a container says.
# Formats whose length comes from a header. For others FFmpeg derives it from what is there.
_LENGTH_OF_TRACK = frozenset(['mov', 'avi', 'mxf', 'gxf', 'ivf'])
_LENGTH_OF_FILE = frozenset(['asf', 'flv', 'matroska'])
# Of decoded frames; the last ones in the file need not be the last ones shown.
_REORDERED = 8


class Wholeness:
  """Watches packets and frames go by; says at the end what is missing.

  Attributes:
    count: frames decoded so far.
    num_frames: frames that the file says it shows; None if it does not say.
    watched: the streams whose packets have to be shown to `packet`; None for all.
  """

  def __init__(
    self, path: str | os.PathLike, container: av.container.InputContainer, track: av.VideoStream
  ) -> None:
    """Reads what the file says.

    Args:
      path: the file.
      container: `av.container.InputContainer`.
      track: the `av.VideoStream` that is read.
    """
    self._path = pathlib.Path(path)
    self._formats = frozenset(container.format.name.split(','))
    self._track = track
    self._id, self._number = track.id, track.index  # Gone once the file is closed.
    self._samples = track.frames or 0
    self._in_fragments = 'mov' in self._formats and not self._samples
    self._interval = 1 / Fraction(track.average_rate or track.guessed_rate or 25)
    self._start = streams.seconds(track.start_time, track.time_base) or Fraction(0)
    self._claimed = self._claimed_length(container)
    by_file = self._formats & _LENGTH_OF_FILE and not self._tag_length()
    self.watched = None if by_file else [track]
    self.num_frames = self._claimed_count()
    self.count = 0
    self._packets = 0
    self._end = self._end_of_all = self._start
    self._last_packet_torn = False
    self._torn_frames: list[int] = []
    self._failures: list[int] = []

  def packet(self, packet: av.Packet) -> None:
    """Notes an `av.Packet` of any stream."""
    if packet.stream.index == self._track.index and packet.size:
      self._packets += 1
      self._last_packet_torn = packet.is_corrupt
    end = streams.seconds(packet.pts, packet.stream.time_base)
    if end is not None:
      end += streams.seconds(packet.duration, packet.stream.time_base) or 0
      self._end_of_all = max(self._end_of_all, end)

  def frame(self, frame: av.VideoFrame) -> None:
    """Notes a decoded `av.VideoFrame`."""
    if frame.is_corrupt:
      self._torn_frames.append(self.count)
    self.count += 1
    start = streams.seconds(frame.pts, self._track.time_base)
    if start is not None:
      duration = (
        streams.seconds(getattr(frame, 'duration', 0), self._track.time_base) or self._interval
      )
      self._end = max(self._end, start + duration)

  def failure(self) -> None:
    """Notes data that could not be read or decoded."""
    self._failures.append(self.count)

  def error(self) -> str | None:
    """What is wrong with the file, without its name; None if no frame is missing."""
    if self._breaks_off():
      total = self.num_frames
      of = f' of {total}' if total and total > self.count else ''
      return (
        f'the video breaks off after {self.count}{of} frames; '
        'the file is cut off or damaged behind them'
      )
    if self._failures:
      return (
        f'damaged in {len(self._failures)} places, the first after {self._failures[0]} frames; '
        f'{self.count} frames could be decoded'
      )
    return None

  def warning(self) -> str | None:
    """What deserves a look although no frame is missing, without the file's name."""
    if self._torn_frames:
      return (
        f'{len(self._torn_frames)} of {self.count} frames are damaged, the first is frame '
        f'{self._torn_frames[0]}'
      )
    if file_end.torn(self._path, self._formats):
      return 'the end of the file is missing; all frames are there'
    if 'mov' in self._formats and not self._in_fragments and file_end.holds_another(self._path):
      return 'another film follows in the file and is not read; join films with ffmpeg'
    if 'mpegts' in self._formats and file_end.in_unit(self._path, self._id):
      return f'the file may break off inside the last of its {self.count} frames'
    if 'nut' in self._formats and file_end.lacks_index(self._path):
      return f'the file has no index; it may break off after its {self.count} frames'
    return None

  def _breaks_off(self) -> bool:
    if self._last_packet_torn or self.count in self._failures:
      return True
    if 'mov' in self._formats and 0 < self._samples <= self._packets:
      return False  # All samples of the index were there.
    torn = file_end.torn(self._path, self._formats)
    if torn is False:
      return False
    if torn and self.num_frames and self.count < self.num_frames:
      return True
    if self._claimed is None or (torn and not self.num_frames) or self._in_fragments:
      late = [i for i in self._torn_frames if i >= self.count - _REORDERED]
      return bool(torn or late)
    if self.watched is None:  # A length of the file counts from the zero of its clock.
      return self._claimed - self._end_of_all > self._tolerance(torn)
    missing = self._start + self._claimed - self._end
    if 'avi' in self._formats and missing > self._tolerance(torn):
      missing -= self._interval * file_end.repeats_at_end(self._path, self._number)
    return missing > self._tolerance(torn)

  def _tolerance(self, torn: bool | None) -> Fraction:
    if self.watched is None:  # Packets of sound are longer than frames.
      return max(2 * self._interval, Fraction(1, 10))
    return self._interval * (Fraction(1, 2) if torn else Fraction(3, 2))

  def _claimed_count(self) -> int | None:
    if self._claimed is None:
      return self._samples or None
    shown = round(self._claimed / self._interval)
    # A count of samples is exact where no edit list hides some.
    return self._samples if abs(shown - self._samples) <= 1 else shown or None

  def _claimed_length(self, container: av.container.InputContainer) -> Fraction | None:
    """Seconds from the track's start to its end; None if the file does not say."""
    if tag := self._tag_length():
      length = tag - self._start
      if container.duration:  # A tag may be left over from before the file was cut on purpose.
        length = min(length, Fraction(container.duration, _TICKS))
      return length
    if self._formats & _LENGTH_OF_TRACK:
      return streams.seconds(self._track.duration, self._track.time_base)
    if self._formats & _LENGTH_OF_FILE and container.duration:
      return Fraction(container.duration, _TICKS)
    return None

  def _tag_length(self) -> Fraction | None:
    """Length that Matroska's tag DURATION, such as 00:00:02.240000000, gives for the track."""
    tags = {key.upper(): value for key, value in self._track.metadata.items()}
    if 'matroska' not in self._formats or 'DURATION' not in tags:
      return None
    try:
      hours, minutes, seconds = tags['DURATION'].split(':')
      return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    except ValueError:
      return None

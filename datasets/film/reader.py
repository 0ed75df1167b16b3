"""One pass over the frames of a video file, as FFmpeg's own programs decode them.

The only place that opens video files. Frames stream through: one is held at a time, whatever the
length of the file. What the file hides (edit lists, samples for decoding only) is left out, frames
come in the order they are shown in, each once, at whatever times they have.
"""

from collections.abc import Iterator
import contextlib
from fractions import Fraction
import io
import os
import pathlib
from typing import NamedTuple

import av
import numpy as np

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import streams
from feelvos_tf.datasets.film import clock
from feelvos_tf.datasets.film import display
from feelvos_tf.datasets.film import file_end
from feelvos_tf.datasets.film import wholeness
from feelvos_tf.files import whole_file

# Demuxers of FFmpeg that take a text for a video, and those for single pictures (and all *_pipe).
_TEXTS = frozenset(['tty', 'ass', 'srt', 'webvtt', 'lavfi'])
_LISTS = frozenset(['concat', 'hls', 'dash', 'imf', 'sdp', 'rtsp'])  # Texts that name other files.
_PICTURES = frozenset(['image2', 'ico'])
_ENCRYPTED = 'the film is encrypted; export it without protection'
_SINGLE_IMAGE = 'a single image given, expected a video file or a folder of frames'
_ADVICE = 'expected a video file that FFmpeg reads, for example H.264 in mp4, or a folder of frames'


class FilmFrame(NamedTuple):
  """A frame: uint8 [height, width, 3] RGB, and the seconds from the first frame to it."""

  image: np.ndarray
  time: Fraction | None


class Film:
  """A video file of which one track is read.

  Attributes:
    frame_size: (height, width) of the upright frames with square pixels.
    stored_size: (height, width) of the upright frames with pixels as stored.
    num_frames: frames that the file says it shows; None if it does not say.
    fps: frames per second on average; None if unknown.
    codec: FFmpeg's name of the codec.
    start: seconds of the file's clock at which the first frame is shown.
    passed: of the part that `frames` has yielded, see `clock.Passed`.
  """

  def __init__(self, path: str | os.PathLike) -> None:
    """Opens the file and decodes its first frame, so that a bad one is refused at once.

    Args:
      path: the file.

    Raises:
      ValueError: no film, or no frame of it can be decoded; one line that names the file.
    """
    self.path = pathlib.Path(path)
    with opened(self.path) as container:
      track = _choose_track(container, self.path)
      self.codec = track.codec_context.name
      watch = wholeness.Wholeness(self.path, container, track)
      times = clock.Clock(container, track, self.path)
      first = next(_decoded(container, track, watch, times), None)
      if first is None:
        raise ValueError(
          f'{self.path}: no decodable video stream (none of the frames, codec {self.codec}); the '
          f'file is cut off or damaged; {_ADVICE}'
        )
      self.start = streams.seconds(first.pts, track.time_base) or Fraction(0)
      self.passed = clock.Passed()
      rate = track.average_rate or track.guessed_rate
      self.num_frames = watch.num_frames
      self.fps = float(rate) if rate and 0 < rate < 1000 else None
      self._square = display.square_size(first.width, first.height, track.sample_aspect_ratio)
      self._turn = display.turning(first)
      sizes = (self._square, (first.height, first.width))
      self.frame_size, self.stored_size = (s[::-1] if self._turn[0] else s for s in sizes)

  def frames(self, start: int = 0) -> Iterator[FilmFrame]:
    """Yields the frames from number `start` on.

    Frames whose size differs from the first one's are scaled to it, as FFmpeg does.

    Raises:
      ValueError: after the last frame, if the file breaks off or is damaged. One line.
    """
    with opened(self.path) as container:
      track = _choose_track(container, self.path)
      watch = wholeness.Wholeness(self.path, container, track)
      painter = display.Painter(self._square, self._turn, track.time_base)
      times = clock.Clock(container, track, self.path)
      for index, frame in enumerate(_decoded(container, track, watch, times)):
        time = times.time(frame)
        self.passed = self.passed.with_those_of(times)
        if index >= start:
          yield FilmFrame(painter.paint(frame), time)
    if found := watch.error():
      raise ValueError(f'{self.path}: {found}')
    if found := watch.warning():
      data_warning.warn(f'{self.path}: {found}')


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[av.container.InputContainer]:
  """Opens a video file for a `with` block.

  Raises:
    ValueError: the file is no video; one line that names it.
    OSError: too many files are open, or another limit of the machine.
  """
  with contextlib.ExitStack() as stack:
    try:
      container = stack.enter_context(_open(path, stack))
    except av.error.FFmpegError as error:
      if whole_file.is_no_room(error):
        raise OSError(error.errno, error.strerror, str(path)) from error
      what = 'the file is no video, or cut off or damaged'
      if os.path.isfile(path) and file_end.is_encrypted(path):
        what = _ENCRYPTED
      raise ValueError(
        f'{path}: no decodable video stream ({error.strerror}); {what}; {_ADVICE}'
      ) from error
    names = frozenset(container.format.name.split(','))
    if names & _PICTURES or any(name.endswith('_pipe') for name in names):
      raise ValueError(f'{path}: {_SINGLE_IMAGE}')
    if names & _LISTS:
      raise ValueError(f'{path}: a list of other files given; {_ADVICE}')
    # Now and then bytes of a cipher are a frame, of noise.
    if 'mp4' in names and file_end.is_encrypted(path):
      raise ValueError(f'{path}: no decodable video stream; {_ENCRYPTED}; {_ADVICE}')
    if names & _TEXTS:
      raise ValueError(f'{path}: no decodable video stream (a text); {_ADVICE}')
    yield container


def _open(path: str | os.PathLike, stack: contextlib.ExitStack) -> av.container.InputContainer:
  # An absolute path cannot be taken for a protocol (take:1.mp4) or an option (-1.mp4).
  name = os.path.abspath(path)
  options = {'protocol_whitelist': 'file'}
  try:
    name.encode()
  except UnicodeEncodeError:  # FFmpeg takes UTF-8 only.
    stream = stack.enter_context(_Nameless(name, 'rb'))  # PyAV leaves it open.
    return av.open(stream, 'r', options=options)
  return av.open(f'file:{name}', options=options, metadata_errors='replace')


class _Nameless(io.FileIO):
  """A file that does not show its name."""

  name = 'film'


def _choose_track(
  container: av.container.InputContainer, path: str | os.PathLike
) -> av.VideoStream:
  """The default video track, the largest of several; no cover pictures, no stills of AVIF."""
  films = [t for t in container.streams.video if not _is_still(t)]
  if not films and container.streams.video:
    raise ValueError(f'{path}: {_SINGLE_IMAGE}')
  tracks = [t for t in films if not _is_cover(t)]
  if not tracks:
    what = 'sound with a cover picture' if container.streams.video else 'a file without pictures'
    raise ValueError(f'{path}: no decodable video stream ({what}); {_ADVICE}')
  # `max` takes the first of equals.
  track = max(tracks, key=lambda t: (_is_default(t), _area(t)))
  if track.codec_context is None:
    raise ValueError(
      f'{path}: no decodable video stream (a codec that this FFmpeg does not know); convert the '
      f'file; {_ADVICE}'
    )
  # With threads for frames, damage shows late, and PyAV loses it, with frames that are whole, where
  # the last ones come out.
  track.thread_type = 'SLICE'
  if track.codec_context.codec.name == 'libdav1d':  # It has threads of its own.
    track.codec_context.flags |= av.codec.context.Flags.low_delay
  return track


def _area(track: av.VideoStream) -> int:
  context = track.codec_context  # None if there is no decoder.
  return 0 if context is None else (context.width or 0) * (context.height or 0)


def _is_cover(track: av.VideoStream) -> bool:
  return bool(track.disposition & av.stream.Disposition.attached_pic)


def _is_still(track: av.VideoStream) -> bool:
  """Whether it is a picture of HEIF or AVIF, which has no place in time, and no track of a film."""
  return track.frames == 1 and track.duration is None


def _is_default(track: av.VideoStream) -> bool:
  return bool(track.disposition & av.stream.Disposition.default)


def _decoded(
  container: av.container.InputContainer,
  track: av.VideoStream,
  watch: wholeness.Wholeness,
  times: clock.Clock,
) -> Iterator[av.VideoFrame]:
  """Yields the frames of a track; what cannot be decoded is noted and left out, as by FFmpeg."""
  packets = container.demux([*watch.watched, *times.sounds] if watch.watched else ())
  while True:
    try:
      packet = next(packets, None)
    except av.error.FFmpegError:
      watch.failure()
      packet = None
    if packet is None:
      return
    watch.packet(packet)
    if packet.stream.index != track.index:
      if packet.stream in times.sounds:
        times.sound(packet)
      continue
    times.packet(packet)
    try:
      frames = [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
    except av.error.FFmpegError:
      if packet.size:  # An empty one stands for the frame before.
        watch.failure()
      continue
    for frame in frames:
      watch.frame(frame)
      yield frame

"""Pictures for people: the overlay video and the contact sheet, written frame by frame.

Both hold a bounded number of frames however long the video is, and both write to a temporary name
that is renamed at the end.

Which codec: browsers play H.264 and VP9 in mp4, not MPEG-4 part 2. The wheels of PyAV carry
FFmpeg's libraries with libx264 (GPL) and libvpx; where a build has no libx264, 'auto' takes VP9,
then MPEG-4.
"""

from collections.abc import Sequence
from fractions import Fraction
import os
import pathlib
from typing import BinaryIO, TYPE_CHECKING

import av
import cv2
import numpy as np

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names
from feelvos_tf.datasets import streams
from feelvos_tf.files import whole_file

if TYPE_CHECKING:
  from feelvos_tf.datasets.film.sound import Sound

DEFAULT_FPS = 24.0
# Option value -> encoders to try in turn, by FFmpeg's names.
CODECS = {
  'auto': ('libx264', 'libvpx-vp9', 'mpeg4'),
  'h264': ('libx264',),
  'vp9': ('libvpx-vp9',),
  'mpeg4': ('mpeg4',),
}
_ENCODERS = {
  'libx264': {'preset': 'veryfast', 'crf': '20'},
  'libvpx-vp9': {'deadline': 'realtime', 'cpu-used': '8', 'crf': '30', 'b': '0', 'row-mt': '1'},
  'mpeg4': {'qmin': '2', 'qmax': '5', 'b': '4000000'},
}
# Whole ticks at 24, 25, 30, 50, 60 and 29.97 frames/s; MPEG-4 part 2 takes at most 65535 a second.
_TIME_BASE = Fraction(1, 60000)


class OverlayVideoWriter:
  """Writes frames with their masks drawn over them to an mp4 file.

  Use as a context manager: the file gets its name when the block ends, also when it ends by an
  exception, since the frames up to there are a valid video.

    with OverlayVideoWriter('overlay.mp4', fps=video.fps) as writer:
      writer.write(frame, mask.ids, mask.palette)
  """

  def __init__(
    self,
    path: str | os.PathLike,
    fps: float | None = None,
    codec: str = 'auto',
    alpha: float = 0.45,
    sound: 'Sound | None' = None,
  ) -> None:
    """Remembers what to write; the file is opened by the first frame, which fixes the size.

    Args:
      path: the mp4 file.
      fps: frames per second; None for 24.
      codec: auto, h264, vp9 or mpeg4 (see the module's docstring). mpeg4 is the fast one that
        browsers do not play.
      alpha: weight of the tint, see `masks.overlay`.
      sound: sound to go with the frames; it is closed with the writer.

    Raises:
      ValueError: unknown codec.
    """
    if codec not in CODECS:
      raise ValueError(f'codec: {codec!r} given, expected one of {", ".join(CODECS)}')
    self.path = pathlib.Path(path)
    self.codec_used: str | None = None
    self.num_frames = 0
    self._temporary = whole_file.temporary_name(self.path.with_suffix('.mp4'))
    self._fps, self._codec, self._alpha = fps or DEFAULT_FPS, codec, alpha
    self._sound = sound
    self._encoder: _Encoder | None = None
    self._size: tuple[int, int] | None = None

  def write(
    self,
    image: np.ndarray,
    ids: np.ndarray,
    palette: np.ndarray | None = None,
    time: Fraction | None = None,
  ) -> np.ndarray:
    """Appends one frame; returns the drawn picture, uint8 [height, width, 3] RGB.

    Args:
      image: uint8 [height, width, 3] RGB.
      ids: uint8 [height, width].
      palette: uint8 [256, 3] or None for the DAVIS palette.
      time: seconds from the first frame to this one; None: frames follow at the rate `fps`.

    Raises:
      ValueError: a frame of another size, or no encoder could be opened.
    """
    picture = masks.overlay(image, ids, palette, self._alpha)
    self.write_picture(picture, time)
    return picture

  def write_picture(self, picture: np.ndarray, time: Fraction | None = None) -> None:
    """Appends uint8 [height, width, 3] RGB as it is; see `write`.

    Raises:
      OSError: it cannot be written; the error has the name of the file.
    """
    with whole_file.named_errors(self.path):
      self._write_picture(picture, time)

  def _write_picture(self, picture: np.ndarray, time: Fraction | None) -> None:
    size = picture.shape[:2]
    if self._encoder is None:
      self._size = size
      self.codec_used, self._encoder = _open_encoder(
        self._temporary, CODECS[self._codec], self._fps, _even(size), self._sound
      )
    if size != self._size:
      raise ValueError(
        f'{self.path}: a frame of {size} given, expected {self._size} like the first one'
      )
    height, width = _even(size)
    # 4:2:0 video has even sides: the last row or column is repeated, not cut.
    padded = cv2.copyMakeBorder(
      picture, 0, height - size[0], 0, width - size[1], cv2.BORDER_REPLICATE
    )
    if time is None:
      time = self.num_frames / Fraction(self._fps).limit_denominator(1001 * 240)
    self._encoder.write(padded, time)
    self.num_frames += 1

  def close(self) -> None:
    """Finishes the file and gives it its name. Nothing is written if there was no frame.

    Raises:
      OSError: it cannot be written; the error has the name of the file.
    """
    if self._encoder is None:
      self._close_sound()
      return
    encoder, self._encoder = self._encoder, None
    try:
      with whole_file.named_errors(self.path):
        try:
          encoder.finish()
        finally:
          encoder.close()
          self._close_sound()
        whole_file.move(self._temporary, self.path)
    finally:
      whole_file.remove(self._temporary)

  def _close_sound(self) -> None:
    if self._sound is not None:
      self._sound.close()

  def __enter__(self) -> 'OverlayVideoWriter':
    return self

  def __exit__(self, *unused_exception: object) -> None:
    self.close()


class ContactSheet:
  """A picture of at most `max_tiles` evenly spaced frames of a video of unknown length.

  Thumbnails are kept at a stride that doubles whenever four times as many as needed are held; the
  last frame is always held. `write` then picks evenly among them.
  """

  def __init__(
    self, path: str | os.PathLike, max_tiles: int = 12, tile_width: int = 320, columns: int = 4
  ) -> None:
    """Begins an empty sheet.

    Args:
      path: PNG to write.
      max_tiles: most frames shown.
      tile_width: width of each in pixels.
      columns: tiles in a row.

    Raises:
      ValueError: a number below 1.
    """
    if min(max_tiles, tile_width, columns) < 1:
      raise ValueError(
        f'max_tiles {max_tiles}, tile_width {tile_width}, columns {columns} given, '
        'expected at least 1 each'
      )
    self.path = pathlib.Path(path)
    self._max_tiles, self._tile_width, self._columns = max_tiles, tile_width, columns
    self._stride, self._count = 1, 0
    self._tiles: list[tuple[int, np.ndarray]] = []  # Frame index, thumbnail.
    self._last: tuple[int, np.ndarray, str] | None = None  # Index, picture, text.

  def add(self, picture: np.ndarray, label: str = '') -> None:
    """Offers the next frame: uint8 [height, width, 3] RGB, and a text to write on it."""
    index, self._count = self._count, self._count + 1
    label = label.encode(errors='replace').decode()  # OpenCV crashes on names that are not UTF-8.
    self._last = (index, picture, label)
    if index % self._stride:
      return
    self._tiles.append((index, self._thumbnail(picture, label)))
    if len(self._tiles) > 4 * self._max_tiles:
      self._tiles = self._tiles[::2]
      self._stride *= 2

  def write(self) -> None:
    """Writes the PNG; nothing if no frame was added.

    Raises:
      ValueError: OpenCV cannot encode a sheet of this size.
      OSError: the file cannot be written.
    """
    if self._last is None:
      return
    tiles = self._choose(*self._last)
    height = max(t.shape[0] for t in tiles)
    columns = min(self._columns, len(tiles))
    rows = -(-len(tiles) // columns)
    gap = 4
    sheet = np.full(
      (rows * (height + gap) + gap, columns * (self._tile_width + gap) + gap, 3), 32, np.uint8
    )
    for i, tile in enumerate(tiles):
      y = gap + i // columns * (height + gap)
      x = gap + i % columns * (self._tile_width + gap)
      sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    good, data = cv2.imencode('.png', cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not good:
      raise ValueError(f'{self.path}: a sheet of {sheet.shape} could not be encoded as PNG')
    whole_file.write_bytes(self.path, data.tobytes())

  def frame_indices(self) -> list[int]:
    """Indices of the frames that `write` would show now."""
    held = [i for i, _ in self._tiles]
    if self._last is not None and self._last[0] not in held:
      held.append(self._last[0])
    if len(held) <= self._max_tiles:
      return held
    targets = np.linspace(0, self._count - 1, self._max_tiles)
    return [held[np.abs(np.array(held) - t).argmin()] for t in targets]

  def _choose(self, index: int, picture: np.ndarray, label: str) -> list[np.ndarray]:
    """The thumbnails to show; the arguments are those of the last frame."""
    tiles = dict(self._tiles)
    if index not in tiles:
      tiles[index] = self._thumbnail(picture, label)
    return [tiles[i] for i in self.frame_indices()]

  def _thumbnail(self, picture: np.ndarray, label: str) -> np.ndarray:
    label = names.printable(label)  # OpenCV crashes on bytes that are not UTF-8.
    height = max(1, round(picture.shape[0] * self._tile_width / picture.shape[1]))
    tile = cv2.resize(picture, (self._tile_width, height), interpolation=cv2.INTER_AREA)
    # White on black edges. Not a thicker text below: OpenCV 5 spaces its letters wider.
    offsets = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
    for colour, places in (((0, 0, 0), offsets), ((255, 255, 255), [(0, 0)])):
      for x, y in places:
        cv2.putText(
          tile,
          label,
          (6 + x, height - 8 + y),
          cv2.FONT_HERSHEY_SIMPLEX,
          0.45,
          colour,
          1,
          cv2.LINE_AA,
        )
    return tile


class _Encoder:
  """An mp4 file that is being written: one video stream, perhaps one of sound."""

  def __init__(
    self,
    path: str | os.PathLike,
    name: str,
    fps: float,
    size: tuple[int, int],
    sound: 'Sound | None',
  ) -> None:
    """Args: file; FFmpeg's name of the encoder; frames per second; (height, width); Sound."""
    self._sound, self._last = sound, -1
    self._container, self._file = _open_mp4(path)
    try:
      self._rate = Fraction(fps).limit_denominator(1001 * 240)
      self._stream = streams.add_video(self._container, name, self._rate, _ENCODERS[name])
      self._stream.width, self._stream.height = size[1], size[0]
      self._stream.pix_fmt = 'yuv420p'
      self._stream.codec_context.time_base = _TIME_BASE
      self._stream.codec_context.open()
      if sound is not None:
        sound.add_to(self._container)
    except BaseException:
      self.close()
      raise

  def write(self, picture: np.ndarray, seconds: Fraction) -> None:
    """Appends uint8 [height, width, 3] RGB that is shown from `seconds` on."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format='rgb24')
    frame = frame.reformat(format='yuv420p', dst_colorspace=streams.COLOURS)
    # Times that do not increase, as damaged files have them, are moved on.
    self._last = max(self._last + 1, round(seconds / _TIME_BASE))
    frame.pts, frame.time_base = self._last, _TIME_BASE
    self._container.mux(self._stream.encode(frame))
    if self._sound is not None:
      self._sound.write_until(self._last * _TIME_BASE)

  def finish(self) -> None:
    """Writes what the encoder holds back."""
    self._container.mux(self._stream.encode(None))
    if self._sound is not None:
      self._sound.finish(self._last * _TIME_BASE + 1 / self._rate)

  def close(self) -> None:
    """Closes the file."""
    try:
      self._container.close()
    finally:
      if self._file is not None:
        self._file.close()


def _open_mp4(path: str | os.PathLike) -> tuple[av.container.OutputContainer, BinaryIO | None]:
  """(container, Python file or None); the index goes to the front, for players on the web."""
  name = os.path.abspath(path)
  try:
    name.encode()
  except UnicodeEncodeError:  # FFmpeg takes UTF-8 only; the index stays at the end then.
    file = open(name, 'w+b')  # noqa: SIM115 - closed with the container.
    return av.open(file, 'w', format='mp4'), file
  return av.open(f'file:{name}', 'w', format='mp4', options={'movflags': 'faststart'}), None


def _even(size: tuple[int, int]) -> tuple[int, int]:
  return size[0] + size[0] % 2, size[1] + size[1] % 2


def _open_encoder(
  path: pathlib.Path, names: Sequence[str], fps: float, size: tuple[int, int], sound: 'Sound | None'
) -> tuple[str, _Encoder]:
  """Returns (encoder name, _Encoder) of the first encoder that opens."""
  if not path.parent.is_dir():
    raise FileNotFoundError(f'{path.parent}: no such folder; create it for the overlay video')
  for name in names:
    try:
      av.codec.Codec(name, 'w')
    except ValueError:  # UnknownCodecError: not in this build of FFmpeg's libraries.
      continue
    for its_sound in (sound, None) if sound is not None else (None,):
      try:
        encoder = _Encoder(path, name, fps, size, its_sound)
      except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, IsADirectoryError) or whole_file.is_of_disk(error):
          raise
        continue
      if its_sound is not sound:
        data_warning.warn('the sound cannot be encoded; the overlay video has none')
      return name, encoder
  raise ValueError(
    f'{path}: no encoder of {", ".join(names)} could be opened; choose another '
    "codec ('mpeg4' is in every FFmpeg) or check that the folder can be written"
  )

"""Pictures for people: the overlay video and the contact sheet, written frame by frame.

Both hold a bounded number of frames however long the video is, and both write to a temporary name
that is renamed at the end.

Which codec: browsers play H.264 and VP9 in mp4, not MPEG-4 part 2. The OpenCV wheels of PyPI carry
no H.264 encoder (its licence), but a VP9 one whose speed cannot be set: about 0.3 s for a 480p
frame of natural video, where `mp4v` takes 4 ms. An ffmpeg program with libx264 (on the PATH, or the
one of the package imageio-ffmpeg) takes about 10 ms, so 'auto' tries, in this order: ffmpeg,
OpenCV's avc1, OpenCV's vp09, mp4v.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile

# FFmpeg inside OpenCV complains on stderr about each codec it lacks; read when cv2 first uses it.
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')

import contextlib

import cv2
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import whole_file

DEFAULT_FPS = 24.0
# Option value -> encoders to try in turn; a name is 'ffmpeg' or a fourcc for OpenCV.
CODECS = {
  'auto': ('ffmpeg', 'avc1', 'vp09', 'mp4v'),
  'h264': ('ffmpeg', 'avc1'),
  'vp9': ('vp09',),
  'mpeg4': ('mp4v',),
}


class OverlayVideoWriter:
  """Writes frames with their masks drawn over them to an mp4 file.

  Use as a context manager: the file gets its name when the block ends, also when it ends by an
  exception, since the frames up to there are a valid video.

    with OverlayVideoWriter('overlay.mp4', fps=video.fps) as writer:
      writer.write(frame, mask.ids, mask.palette)
  """

  def __init__(self, path, fps: float | None = None, codec: str = 'auto', alpha: float = 0.45):
    """Remembers what to write; the file is opened by the first frame, which fixes the size.

    Args:
      path: the mp4 file.
      fps: frames per second; None for 24.
      codec: auto, h264, vp9 or mpeg4 (see the module's docstring). mpeg4 is the fast one that
        browsers do not play.
      alpha: weight of the tint, see `masks.overlay`.

    Raises:
      ValueError: unknown codec.
    """
    if codec not in CODECS:
      raise ValueError(f'codec: {codec!r} given, expected one of {", ".join(CODECS)}')
    self.path = pathlib.Path(path)
    self.codec_used = None
    self.num_frames = 0
    self._temporary = self.path.with_name(f'.{self.path.stem}.{os.getpid()}.tmp.mp4')
    self._fps, self._codec, self._alpha = fps or DEFAULT_FPS, codec, alpha
    self._sink = self._size = None

  def write(self, image: np.ndarray, ids: np.ndarray, palette: np.ndarray | None = None):
    """Appends one frame; returns the drawn picture, uint8 [height, width, 3] RGB.

    Args:
      image: uint8 [height, width, 3] RGB.
      ids: uint8 [height, width].
      palette: uint8 [256, 3] or None for the DAVIS palette.

    Raises:
      ValueError: a frame of another size, or no encoder could be opened.
    """
    picture = masks.overlay(image, ids, palette, self._alpha)
    self.write_picture(picture)
    return picture

  def write_picture(self, picture: np.ndarray) -> None:
    """Appends uint8 [height, width, 3] RGB as it is; see `write`."""
    if self._sink is None:
      self._size = picture.shape[:2]
      self.codec_used, self._sink = _open_sink(
        self._temporary, CODECS[self._codec], self._fps, _even(self._size)
      )
    if picture.shape[:2] != self._size:
      raise ValueError(
        f'{self.path}: a frame of {picture.shape[:2]} given, expected {self._size} '
        'like the first one'
      )
    height, width = _even(self._size)
    # 4:2:0 video has even sides: the last row or column is repeated, not cut.
    padded = cv2.copyMakeBorder(
      picture, 0, height - self._size[0], 0, width - self._size[1], cv2.BORDER_REPLICATE
    )
    self._sink.write(padded)
    self.num_frames += 1

  def close(self) -> None:
    """Finishes the file and gives it its name. Nothing is written if there was no frame."""
    if self._sink is None:
      return
    sink, self._sink = self._sink, None
    try:
      sink.close()
      os.replace(self._temporary, self.path)
    finally:
      self._temporary.unlink(missing_ok=True)

  def __enter__(self):
    return self

  def __exit__(self, *unused_exception):
    self.close()


class ContactSheet:
  """A picture of at most `max_tiles` evenly spaced frames of a video of unknown length.

  Thumbnails are kept at a stride that doubles whenever four times as many as needed are held; the
  last frame is always held. `write` then picks evenly among them.
  """

  def __init__(self, path, max_tiles: int = 12, tile_width: int = 320, columns: int = 4):
    """Args: path of the PNG, number of tiles, their width in pixels, tiles in a row."""
    if min(max_tiles, tile_width, columns) < 1:
      raise ValueError(
        f'max_tiles {max_tiles}, tile_width {tile_width}, columns {columns} given, '
        'expected at least 1 each'
      )
    self.path = pathlib.Path(path)
    self._max_tiles, self._tile_width, self._columns = max_tiles, tile_width, columns
    self._stride, self._count = 1, 0
    self._tiles, self._last = [], None  # Entries: (frame index, thumbnail).

  def add(self, picture: np.ndarray, label: str = '') -> None:
    """Offers the next frame: uint8 [height, width, 3] RGB, and a text to write on it."""
    index, self._count = self._count, self._count + 1
    self._last = (index, picture, label)
    if index % self._stride:
      return
    self._tiles.append((index, self._thumbnail(picture, label)))
    if len(self._tiles) > 4 * self._max_tiles:
      self._tiles = self._tiles[::2]
      self._stride *= 2

  def write(self) -> None:
    """Writes the PNG; nothing if no frame was added."""
    if self._last is None:
      return
    tiles = self._choose()
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

  def _choose(self):
    tiles = dict(self._tiles)
    index, picture, label = self._last
    if index not in tiles:
      tiles[index] = self._thumbnail(picture, label)
    return [tiles[i] for i in self.frame_indices()]

  def _thumbnail(self, picture, label):
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


class _FfmpegSink:
  """Pipes raw frames into an ffmpeg program that writes H.264."""

  def __init__(self, program, path, fps, size):
    self._path = path
    self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
    self._process = subprocess.Popen(
      [
        program,
        '-loglevel',
        'error',
        '-y',
        '-f',
        'rawvideo',
        '-pix_fmt',
        'rgb24',
        '-s',
        f'{size[1]}x{size[0]}',
        '-r',
        f'{fps:g}',
        '-i',
        '-',
        '-an',
        '-c:v',
        'libx264',
        '-preset',
        'veryfast',
        '-crf',
        '20',
        '-pix_fmt',
        'yuv420p',
        '-movflags',
        '+faststart',
        str(path),
      ],
      stdin=subprocess.PIPE,
      stdout=subprocess.DEVNULL,
      stderr=self._errors,
      # Ctrl-C goes to a terminal's whole process group; ffmpeg has to live to finish its file.
      start_new_session=True,
    )

  def write(self, picture):
    try:
      self._process.stdin.write(np.ascontiguousarray(picture).data)
    except BrokenPipeError:
      self.close()

  def close(self):
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()
    if self._process.wait():
      self._errors.seek(0)
      message = self._errors.read().decode(errors='replace').strip().splitlines()
      raise ValueError(
        f'{self._path}: ffmpeg failed ({message[-1] if message else "no message"}); '
        "choose codec 'vp9' or 'mpeg4'"
      )
    self._errors.close()


class _OpenCvSink:
  """cv2.VideoWriter, which wants BGR."""

  def __init__(self, writer):
    self._writer = writer

  def write(self, picture):
    self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

  def close(self):
    self._writer.release()


def _even(size):
  return size[0] + size[0] % 2, size[1] + size[1] % 2


def _open_sink(path, encoders, fps, size):
  """Returns (encoder name, sink) of the first encoder that opens."""
  if not path.parent.is_dir():
    raise FileNotFoundError(f'{path.parent}: no such folder; create it for the overlay video')
  for name in encoders:
    if name == 'ffmpeg':
      program = _ffmpeg_with_x264()
      if program:
        return 'h264 (ffmpeg)', _FfmpegSink(program, path, fps, size)
      continue
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
      writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*name), fps, (size[1], size[0])
      )
    finally:
      cv2.utils.logging.setLogLevel(level)
    if writer.isOpened():
      return name, _OpenCvSink(writer)
  raise ValueError(
    f'{path}: no encoder of {", ".join(encoders)} could be opened; choose another '
    "codec ('mpeg4' is in every OpenCV) or check that the folder can be written"
  )


def _ffmpeg_with_x264():
  """Path of an ffmpeg program that has libx264, or None."""
  program = shutil.which('ffmpeg')
  if program is None:
    try:
      import imageio_ffmpeg  # Optional; a package that carries the program.

      program = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
      return None
  try:
    listing = subprocess.run(
      [program, '-hide_banner', '-encoders'],
      capture_output=True,
      text=True,
      timeout=30,
      check=False,
    ).stdout
  except (OSError, subprocess.TimeoutExpired):
    return None
  return program if 'libx264' in listing else None

"""Frames of a video from the last to the first, in bounded space whatever the video is."""

from collections.abc import Iterator
import os
import shutil
import tempfile

import numpy as np

from feelvos_tf.datasets.video import Video
from feelvos_tf.files import whole_file

# Bytes on disk. A source that only reads forward is decoded anew for every stretch of this size:
# 1,700 frames of 854x480, 340 of 1080p.
CACHE_BYTES = 1 << 31


class Tape:
  """Frames of one size in a temporary file, read in any order; a context manager."""

  def __init__(self, folder: str | os.PathLike | None = None) -> None:
    """Opens a file that has no name.

    Args:
      folder: where; None takes the system's folder for temporary files.
    """
    self._folder = os.fspath(folder or tempfile.gettempdir())
    self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (closed by __exit__)
    self._layout: tuple[tuple[int, ...], np.dtype, int] | None = None
    self._count = 0

  def __len__(self) -> int:
    return self._count

  def append(self, array: np.ndarray) -> None:
    """Adds an array of the shape and dtype of the first one.

    Raises:
      OSError: the disk is full; the error has the name of the folder.
    """
    if self._layout is None:
      self._layout = array.shape, array.dtype, array.nbytes
    size = self._layout[2]
    with whole_file.named_errors(self._folder):
      self._file.seek(self._count * size)
      self._file.write(np.ascontiguousarray(array).data)
    self._count += 1

  def __getitem__(self, index: int) -> np.ndarray:
    if self._layout is None or not 0 <= index < self._count:
      raise IndexError(f'no array {index} on a tape of {self._count}')
    shape, dtype, size = self._layout
    self._file.seek(index * size)
    return np.frombuffer(bytearray(self._file.read(size)), dtype).reshape(shape)

  def __enter__(self) -> 'Tape':
    return self

  def __exit__(self, *unused_exception: object) -> None:
    self._file.close()


def stretch_of(video: Video, folder: str | os.PathLike | None = None) -> int:
  """How many frames `frames_backwards` keeps on disk at once."""
  height, width = video.frame_size
  room = min(CACHE_BYTES, shutil.disk_usage(folder or tempfile.gettempdir()).free // 2)
  return max(1, room // (3 * height * width))


def frames_backwards(
  video: Video, first: int, last: int, folder: str | os.PathLike | None = None
) -> Iterator[tuple[int, np.ndarray]]:
  """Yields frames from `last` down to `first`.

  Args:
    video: the video. One that `seeks` is read frame by frame; others are read forward in
      stretches, which are kept in a temporary file.
    first: index of the frame that comes last.
    last: index of the frame that comes first.
    folder: where the temporary file lies.

  Yields:
    (index, frame uint8 [height, width, 3] RGB).

  Raises:
    ValueError: a frame cannot be read, or there are fewer.
  """
  if video.seeks:
    for index in range(last, first - 1, -1):
      yield index, video.frame(index)
    return
  stretch = stretch_of(video, folder)
  for high in range(last + 1, first, -stretch):
    low = max(first, high - stretch)
    with Tape(folder) as tape:
      for image in video.frames(low):
        tape.append(image)
        if len(tape) == high - low:
          break
      if len(tape) < high - low:
        raise ValueError(
          f'{video.name}: a video of {low + len(tape)} frames given, expected at least {high}: a '
          'mask or the end was asked for there'
        )
      for index in range(high - 1, low - 1, -1):
        yield index, tape[index - low]

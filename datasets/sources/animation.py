"""An animated WebP as a source of frames. FFmpeg's libraries decode GIF and PNG animations only."""

from collections.abc import Iterator
from fractions import Fraction
import os
import pathlib

import numpy as np
from PIL import Image

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import picture
from feelvos_tf.datasets.video import NumberedNames
from feelvos_tf.datasets.video import Video

_UNTIMED = 100  # Milliseconds for which browsers show a frame of 0.


class Animation(Video):
  """An animated WebP, decoded frame by frame; transparent pixels lie on black."""

  num_frames: int

  def __init__(self, path: str | os.PathLike, mask_path: str | os.PathLike | None = None) -> None:
    """Reads the header.

    Args:
      path: the WebP file.
      mask_path: mask of the first frame, or None.

    Raises:
      ValueError: a single image, or no WebP.
    """
    self.path = pathlib.Path(path)
    self.name = self.path.stem
    self.mask_path = None if mask_path is None else pathlib.Path(mask_path)
    self.masked_frames = () if mask_path is None else (0,)
    try:
      with Image.open(self.path, formats=['WEBP']) as image:
        self.num_frames = getattr(image, 'n_frames', 1)
        self.frame_size = image.size[::-1]
        image.load()
        duration = _milliseconds(image)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
      raise ValueError(
        f'{self.path}: unreadable picture ({error}); expected a video file or a folder of frames'
      ) from error
    if self.num_frames == 1:
      raise ValueError(
        f'{self.path}: a single image given, expected a video file or a folder of frames'
      )
    self.frame_names = NumberedNames(self.num_frames)
    self.fps = 1000 / duration
    self._times: dict[int, Fraction] = {}

  @property
  def files(self) -> tuple[pathlib.Path, ...]:
    return (self.path,)

  def frames(self, start: int = 0) -> Iterator[np.ndarray]:
    time = Fraction(0)
    with Image.open(self.path, formats=['WEBP']) as image:
      for index in range(self.num_frames):
        try:
          image.seek(index)
          rgba = np.asarray(image.convert('RGBA'))
        except (OSError, SyntaxError, ValueError, EOFError) as error:
          raise ValueError(
            f'{self.path}: the video breaks off after {index} of {self.num_frames} frames; '
            'the file is cut off or damaged behind them'
          ) from error
        self._times[index] = time
        time += Fraction(_milliseconds(image), 1000)
        if index >= start:
          yield picture.on_black(rgba)

  def frame_time(self, index: int) -> Fraction | None:
    return self._times.get(index)

  def mask(self, index: int) -> masks.Mask | None:
    if self.mask_path is None or index != 0:
      return None
    return self.check_mask_size(masks.read_mask(self.mask_path), str(self.mask_path))


def _milliseconds(image: Image.Image) -> int:
  return int(image.info.get('duration') or 0) or _UNTIMED


def is_webp(path: str | os.PathLike) -> bool:
  """Whether a file is a WebP picture or animation."""
  with open(path, 'rb') as stream:
    head = stream.read(12)
  return head[:4] == b'RIFF' and head[8:] == b'WEBP'

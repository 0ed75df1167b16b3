"""A video file as a source of frames, with the mask of its first frame."""

from collections.abc import Iterator
import dataclasses
from fractions import Fraction
import os
import pathlib
from typing import TYPE_CHECKING

import cv2

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names
from feelvos_tf.datasets.film import reader
from feelvos_tf.datasets.film.sound import Sound
from feelvos_tf.datasets.video import NumberedNames
from feelvos_tf.datasets.video import Video

if TYPE_CHECKING:
  import numpy as np


class VideoFile(Video):
  """A video file decoded frame by frame, see `datasets.film`. Only reads forward.

  Frames are what a player shows: upright, with square pixels. A mask may also have the size of the
  stored pixels, as programs extract frames that do not stretch them; it is stretched then.
  """

  def __init__(self, path: str | os.PathLike, mask_path: str | os.PathLike | None = None) -> None:
    """Opens the file and decodes its first frame, so that a bad one is refused at once.

    Args:
      path: the video file.
      mask_path: mask of the first frame, or None.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: no video stream that can be decoded.
    """
    self.path = pathlib.Path(path)
    if not self.path.is_file():
      raise FileNotFoundError(
        names.missing(path, 'video file', 'give a video or a folder of frames')
      )
    self._film = reader.Film(self.path)
    self.name = self.path.stem
    self.mask_path = None if mask_path is None else pathlib.Path(mask_path)
    self.masked_frames = () if mask_path is None else (0,)
    self.frame_size = self._film.frame_size
    self.num_frames = self._film.num_frames
    self.frame_names = NumberedNames(self.num_frames)
    self.fps = self._film.fps
    if self._film.stored_size != self.frame_size:
      self.stored_size = self._film.stored_size
    self._times: dict[int, Fraction | None] = {}

  @property
  def files(self) -> tuple[pathlib.Path, ...]:
    return (self.path,)

  def frames(self, start: int = 0) -> 'Iterator[np.ndarray]':
    for index, frame in enumerate(self._film.frames(start), start):
      self._times[index] = frame.time
      yield frame.image

  def frame_time(self, index: int) -> Fraction | None:
    return self._times.get(index)

  def sound(self, first: int = 0) -> Sound:
    def start() -> Fraction:
      time = self.frame_time(first)
      return self._film.start + (Fraction(first / (self.fps or 25)) if time is None else time)

    return Sound(self.path, start, lambda: self._film.passed)

  def mask(self, index: int) -> masks.Mask | None:
    if self.mask_path is None or index != 0:
      return None
    return self.check_mask_size(masks.read_mask(self.mask_path), str(self.mask_path))

  def check_mask_size(self, mask: masks.Mask, where: str) -> masks.Mask:
    height, width = self.frame_size
    if mask.ids.shape == self.stored_size:
      ids = cv2.resize(mask.ids, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
      mask = dataclasses.replace(mask, ids=ids)
    return super().check_mask_size(mask, where)

"""Clips: random access to single frames of a training set, on disk or in memory.

Training takes three frames of a video at a time, in random order. With random access, sampling is a
pure function of a counter (see `samples.triplets`), needs no shuffle buffer and never touches a
frame that is not used. `tfrecord.clips` has the clips of records.

A clip is made of the frames that have a mask: with masks on every fifth frame (YouTube-VOS),
neighbours in a clip are five frames apart in the video.
"""

import abc
from collections.abc import Iterable
import functools

import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets.video import Video
from feelvos_tf.datasets.video import VideoSource

_OPEN_VIDEOS = 8  # Stills that are in memory; a sample takes few at a time.


class Clip(abc.ABC):
  """Frames of one video that have a mask.

  Attributes:
    name: str.
    num_frames: int, 1 or more.
  """

  name: str
  num_frames: int

  @abc.abstractmethod
  def image(self, index: int) -> NDArray[np.uint8]:
    """uint8 [height, width, 3] RGB of frame `index`; ValueError if it cannot be read."""

  @abc.abstractmethod
  def labels(self, index: int) -> NDArray[np.uint8]:
    """uint8 [height, width] object ids of frame `index` (255 is void); ValueError likewise."""


class VideoClip(Clip):
  """A clip over any `feelvos_tf.datasets.video.Video` with masks."""

  def __init__(self, video: Video) -> None:
    """Takes the frames with masks.

    Args:
      video: Video with random access to frames.

    Raises:
      ValueError: if no frame has a mask.
    """
    if not video.masked_frames:
      raise ValueError(f'{video.name}: a video without masks given; training needs at least one')
    self.name = video.name
    self.num_frames = len(video.masked_frames)
    self._video = video

  def image(self, index: int) -> NDArray[np.uint8]:
    return self._video.frame(self._video.masked_frames[index])

  def labels(self, index: int) -> NDArray[np.uint8]:
    return self._video.needed_mask(self._video.masked_frames[index]).ids


class SourceClip(Clip):
  """A clip over a source that is decoded as a whole, as stills are: few are kept open.

  The video is opened once to check it, and again when a frame of it is asked for.
  """

  def __init__(self, source: VideoSource) -> None:
    """Opens the video; raises the errors of `opener`, and ValueError if no frame has a mask."""
    clip = VideoClip(source.opener())
    self.name, self.num_frames = clip.name, clip.num_frames
    self._source = source

  def image(self, index: int) -> NDArray[np.uint8]:
    return _opened(self._source).image(index)

  def labels(self, index: int) -> NDArray[np.uint8]:
    return _opened(self._source).labels(index)


@functools.lru_cache(maxsize=_OPEN_VIDEOS)
def _opened(source: VideoSource) -> VideoClip:
  return VideoClip(source.opener())


def source_clips(sources: Iterable[VideoSource]) -> list[VideoClip | SourceClip]:
  """Clips of a list of `feelvos_tf.datasets.video.VideoSource`; ValueError if there are none."""
  clips = [SourceClip(source) if source.files else VideoClip(source.opener()) for source in sources]
  if not clips:
    raise ValueError('no video given; training needs at least one')
  return clips


def video_clips(videos: Iterable[Video]) -> list[VideoClip]:
  """Clips of a list of `feelvos_tf.datasets.video.Video`; ValueError if there are none."""
  clips = [VideoClip(video) for video in videos]
  if not clips:
    raise ValueError('no video given; training needs at least one')
  return clips

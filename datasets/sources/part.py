"""A part of a video, from one frame to another, as a video of its own."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
import pathlib
from typing import overload, TYPE_CHECKING

from feelvos_tf.datasets.masks import Mask
from feelvos_tf.datasets.video import Video

if TYPE_CHECKING:
  import numpy as np

  from feelvos_tf.datasets.film.sound import Sound


class Part(Video):
  """Frames `first` to `last` of another video; keeps their names, times and sound."""

  def __init__(self, video: Video, first: int = 0, last: int | None = None) -> None:
    """Reads nothing.

    Args:
      video: the whole.
      first: index of the first frame.
      last: index of the last frame; None: to the end.

    Raises:
      ValueError: the video is known to have no such frame, or `last` lies before `first`.
    """
    for index in (first, last):
      if index is not None:
        _check_has(video, index)
    if last is not None and last < first:
      raise ValueError(
        f'{video.name}: frames {first} to {last} given, expected a start before the end'
      )
    self._video, self._first, self._last = video, first, last
    self._coming = first  # Index of the frame that `frames` gives next.
    self.name, self.fps = video.name, video.fps
    self.frame_size, self.stored_size = video.frame_size, video.stored_size
    self.seeks, self.live = video.seeks, video.live
    rest = None if video.num_frames is None else max(0, video.num_frames - first)
    wanted = None if last is None else last - first + 1
    self.num_frames = min((n for n in (rest, wanted) if n is not None), default=None)
    self.frame_names = _ShiftedNames(video.frame_names, first, self.num_frames)
    self.masked_frames = tuple(
      i - first for i in video.masked_frames if first <= i and (last is None or i <= last)
    )

  @property
  def files(self) -> Sequence[pathlib.Path]:
    return self._video.files

  @property
  def frame_suffixes(self) -> Mapping[str, str]:
    return self._video.frame_suffixes

  @property
  def first_index(self) -> int:
    return self._video.first_index + self._first

  def goes_on(self) -> bool:
    if self._last is None or self.live:
      return self._video.goes_on()
    behind = self._last + 1
    if self.seeks and self._video.num_frames is not None:
      return behind < self._video.num_frames or self._video.goes_on()
    try:
      return any(True for _ in self._video.frames(behind)) or self._video.goes_on()
    except ValueError:  # Nothing but damage there.
      return False

  def frames(self, start: int = 0) -> 'Iterator[np.ndarray]':
    index = self._coming = self._first + start
    if self._last is not None and index > self._last:
      return
    for image in self._video.frames(index):
      index = self._coming = index + 1
      yield image
      if self._last is not None and index > self._last:
        return
    if self._last is not None:
      raise ValueError(
        f'{self.name}: a video of {index} frames given, expected at least {self._last + 1}: a mask '
        'or the end was asked for there'
      )

  def waiting(self) -> 'np.ndarray | None':
    is_over = self._last is not None and self._coming > self._last
    return None if is_over else self._video.waiting()

  def frame(self, index: int) -> 'np.ndarray':
    return self._video.frame(self._first + index)

  def mask(self, index: int) -> Mask | None:
    return self._video.mask(self._first + index)

  def frame_time(self, index: int) -> Fraction | None:
    time, start = (self._video.frame_time(self._first + i) for i in (index, 0))
    return None if time is None or start is None else time - start

  def sound(self, first: int = 0) -> 'Sound | None':
    return self._video.sound(self._first + first)


class _ShiftedNames(Sequence[str]):
  """Names of the frames of a part."""

  def __init__(self, names: Sequence[str], first: int, length: int | None) -> None:
    self._names, self._first, self._length = names, first, length

  def __len__(self) -> int:
    return self._length or 0

  @overload
  def __getitem__(self, index: int) -> str: ...

  @overload
  def __getitem__(self, index: slice) -> list[str]: ...

  def __getitem__(self, index: int | slice) -> str | list[str]:
    if isinstance(index, slice):
      return [self[i] for i in range(*index.indices(len(self)))]
    return self._names[self._first + (index if index >= 0 else index + len(self))]

  def __iter__(self) -> Iterator[str]:
    return (self[i] for i in range(len(self)))


def _check_has(video: Video, index: int) -> None:
  """Refuses a frame that a video is known not to have."""
  # What a container claims is no reason to refuse.
  count = video.num_frames if video.seeks else None
  if index < 0 or (count is not None and index >= count):
    expected = '0 or more' if count is None else f'0..{count - 1}'
    raise ValueError(
      f'{video.name}: frame {index} given, expected {expected}, counted from 0, or the name of a '
      'frame'
    )

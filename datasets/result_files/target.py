"""The video and its frames as every form of results needs them, and the interface of a writer."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from fractions import Fraction
import pathlib
from typing import NamedTuple, Protocol

import numpy as np


@dataclasses.dataclass(frozen=True)
class Target:
  """Where results go and what they belong to.

  Attributes:
    folder: folder for the files of one form; it exists.
    video_name: name of the video.
    size: (height, width) of frames and masks.
    fps: frames per second or None.
    labels: {object id: name of its class}; an object without one is a class of its own.
    frame_suffix: of the names of frames in annotations, '.jpg', where `suffixes` has none.
    suffixes: {name of a frame: suffix of its file}.
    goes_on: whether the video has frames behind the last one that is written.
  """

  folder: pathlib.Path
  video_name: str
  size: tuple[int, int]
  fps: float | None = None
  labels: dict[int, str] = dataclasses.field(default_factory=dict)
  frame_suffix: str = '.jpg'
  suffixes: Mapping[str, str] = dataclasses.field(default_factory=dict)
  goes_on: bool = False

  def file_name(self, name: str) -> str:
    """Name of a frame's file in annotations."""
    return name + self.suffixes.get(name, self.frame_suffix)

  def label(self, object_id: int) -> str:
    """Name of the class of an object."""
    return self.labels.get(object_id, f'object {object_id}')


@dataclasses.dataclass(frozen=True)
class ResultFrame:
  """A frame with its mask.

  Attributes:
    name: without suffix.
    index: in the whole video; indices ascend.
    ids: uint8 [height, width].
    image: uint8 [height, width, 3], RGB; None: not for forms that show it.
    time: seconds at which it is shown; None: it follows the one before it at the rate of the video.
  """

  name: str
  index: int
  ids: np.ndarray
  image: np.ndarray | None = None
  time: Fraction | None = None

  def needed_image(self) -> np.ndarray:
    """`image`, for a form that shows it.

    Raises:
      ValueError: it was not given.
    """
    if self.image is None:
      raise ValueError(f'{self.name}: a mask without its frame given, expected both for this form')
    return self.image


class Files(NamedTuple):
  """What names of files are made of.

  Attributes:
    video_name: name of the video.
    frame_names: of its frames, without suffix.
    object_ids: of all objects.
  """

  video_name: str
  frame_names: Sequence[str]
  object_ids: Iterable[int]


class Classes:
  """Numbers classes from 0 in the order in which their objects appear, smaller ids first.

  Attributes:
    names: of the classes so far.
  """

  def __init__(self, target: Target) -> None:
    """Classes of labelled objects come first, in the order of their ids."""
    self._target = target
    self.names = list(dict.fromkeys(target.labels[i] for i in sorted(target.labels)))

  def number(self, object_id: int) -> int:
    """Number of the class of an object."""
    name = self._target.label(object_id)
    if name not in self.names:
      self.names.append(name)
    return self.names.index(name)


class Writer(Protocol):
  """Writes the results of a video in one form, frame by frame."""

  needs_frames: bool  # whether `write` has to get the images of frames

  def __init__(self, target: Target) -> None:
    """Args: Target."""

  @classmethod
  def file_names(cls, files: Files) -> list[str]:
    """Files that are written for `Files`, relative to `Target.folder`."""

  def write(self, frame: ResultFrame) -> None:
    """Adds a frame."""

  def close(self) -> None:
    """Finishes the files."""


def objects(ids: np.ndarray) -> list[tuple[int, np.ndarray]]:
  """(id, bool [height, width]) of the objects of a mask, ids ascending."""
  return [(int(i), ids == i) for i in np.flatnonzero(np.bincount(ids.ravel(), minlength=256)) if i]

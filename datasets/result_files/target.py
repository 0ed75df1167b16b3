"""The video as every form of results needs it, and the interface of a writer."""

from collections.abc import Mapping
import dataclasses
from fractions import Fraction
import pathlib
from typing import Protocol

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
    frame_suffix: of the names of frames in annotations: '.jpg'.
    first_frame: index in the whole video of the first frame that is written.
    indices: {name of a frame: index in the whole video}; one without follows the one before it.
    times: {name of a frame: seconds at which it is shown} of frames that have come; a frame without
      one follows the one before it at the rate `fps`.
  """

  folder: pathlib.Path
  video_name: str
  size: tuple[int, int]
  fps: float | None = None
  labels: dict[int, str] = dataclasses.field(default_factory=dict)
  frame_suffix: str = '.jpg'
  first_frame: int = 0
  indices: Mapping[str, int] = dataclasses.field(default_factory=dict)
  times: Mapping[str, Fraction | None] = dataclasses.field(default_factory=dict)

  def label(self, object_id: int) -> str:
    """Name of the class of an object."""
    return self.labels.get(object_id, f'object {object_id}')


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


class Numbers:
  """Numbers frames by their index in the whole video.

  Attributes:
    next: index of the frame behind the last one.
  """

  def __init__(self, target: Target) -> None:
    """Args: Target."""
    self._target, self.next = target, target.first_frame

  def take(self, name: str) -> int:
    """Index of the next frame, which has this name."""
    index = self._target.indices.get(name, self.next)
    self.next = index + 1
    return index


class Writer(Protocol):
  """Writes the results of a video in one form, frame by frame."""

  needs_frames: bool  # whether `write` has to get the frame

  def __init__(self, target: Target) -> None:
    """Args: Target."""

  def write(self, name: str, ids: np.ndarray, frame: np.ndarray | None) -> None:
    """Adds a frame.

    Args:
      name: of the frame, without suffix.
      ids: uint8 [height, width].
      frame: uint8 [height, width, 3], RGB, or None.
    """

  def close(self) -> None:
    """Finishes the files."""


def needed_frame(frame: np.ndarray | None, name: str) -> np.ndarray:
  """The frame, uint8 [height, width, 3], RGB, of a form that shows it.

  Raises:
    ValueError: it was not given.
  """
  if frame is None:
    raise ValueError(f'{name}: a mask without its frame given, expected both for this form')
  return frame


def objects(ids: np.ndarray) -> list[tuple[int, np.ndarray]]:
  """(id, bool [height, width]) of the objects of a mask, ids ascending."""
  return [(int(i), ids == i) for i in np.flatnonzero(np.bincount(ids.ravel(), minlength=256)) if i]

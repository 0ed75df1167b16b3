"""The repair list: the frames of a segmented video that a person should look at first."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LENGTH = 5  # entries, at most
# Share of the video that lies between two entries at least: neighbours of a bad frame are bad for
# the same reason, and one correction mends them.
APART = 0.1
# Frames with a higher confidence are not listed: 97 % of such masks have a J of .5 or more
# (docs/notes/confidence.md).
DOUBTFUL = 0.9


class Entry(NamedTuple):
  """A frame to look at.

  Attributes:
    frame: its index in the video, from 0.
    object_id: the object with the lowest confidence there.
    confidence: of that object, 0 to 1.
  """

  frame: int
  object_id: int
  confidence: float


def frames_to_check(
  confidences: np.ndarray, object_ids: Sequence[int], length: int = LENGTH
) -> list[Entry]:
  """Frames with the lowest confidence, the lowest first, spread over the video.

  Args:
    confidences: float [frames, objects]; NaN where a frame lacks an object, 1 where a mask was
      given.
    object_ids: ids of the columns.
    length: number of entries, at most.

  Returns:
    List of `Entry`; empty if no confidence is below DOUBTFUL.
  """
  left = np.where(np.isnan(confidences), 1.0, confidences)
  frames = len(left)
  apart = max(1, int(APART * frames + 0.5))
  entries: list[Entry] = []
  while left.size and len(entries) < length:
    index, column = divmod(int(left.argmin()), left.shape[1])
    if left[index, column] >= DOUBTFUL:
      break
    entries.append(Entry(index, int(object_ids[column]), float(left[index, column])))
    left[max(0, index - apart) : index + apart + 1] = 1.0
  return entries


def to_line(entries: Sequence[Entry], frame_names: Sequence[str]) -> str:
  """The list as text: `look first at 00067 (object 2, confidence 0.14), ...`."""
  if not entries:
    return f'no object has a confidence below {DOUBTFUL:g} on any frame'
  listed = ', '.join(
    f'{frame_names[entry.frame]} (object {entry.object_id}, confidence {entry.confidence:.2f})'
    for entry in entries
  )
  return f'look first at {listed}'

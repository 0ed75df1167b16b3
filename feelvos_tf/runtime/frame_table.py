"""frames.csv: where every object is on every frame, and how sure the model is of its mask."""

import csv
import io
from typing import TYPE_CHECKING

import numpy as np

from feelvos_tf.datasets.result_files import outline

if TYPE_CHECKING:
  from feelvos_tf.inference.segmenter import SegmentedFrame


# `left`, `top`, `width`, `height`: the smallest box around the object, in pixels; empty cells
# where it is not visible. `area`: pixels. `confidence`: 0 to 1, see `inference.confidence`.
COLUMNS = ('frame', 'object', 'area', 'left', 'top', 'width', 'height', 'confidence')
_DECIMALS = 4  # of the confidence


def rows_of(result: 'SegmentedFrame') -> list[list]:
  """What the table says about one frame.

  Args:
    result: `SegmentedFrame`.

  Returns:
    A list [object id, area, left, top, width, height, confidence] for every object but the
    background, ids ascending; None for the four numbers of the box of an object that is not
    visible. Ready for JSON.
  """
  areas = np.bincount(result.mask.ravel(), minlength=256)
  rows = []
  for object_id, confidence in zip(result.object_ids[1:], result.confidence[1:]):
    area = int(areas[object_id])
    box = outline.box(result.mask == object_id) if area else [None] * 4
    rows.append([int(object_id), area, *box, round(float(confidence), _DECIMALS)])
  return rows


class FrameTable:
  """The rows of a video's frames; a few numbers an object and frame are kept in memory."""

  def __init__(self) -> None:
    """An empty table."""
    self._frames: list[tuple[str, list[list]]] = []

  def __len__(self) -> int:
    return len(self._frames)

  def add(self, frame_name: str, rows: list[list]) -> None:
    """Adds the rows of the next frame, as of `rows_of`."""
    self._frames.append((frame_name, rows))

  def to_csv(self) -> bytes:
    """The file: a header, then a line for each frame and object."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(COLUMNS)
    for name, rows in self._frames:
      writer.writerows([name, *row] for row in rows)
    return stream.getvalue().encode('utf-8', 'surrogateescape')

  def confidences(self) -> tuple[list[str], np.ndarray, list[int]]:
    """The last column as an array.

    Returns:
      (names of the frames, float64 [frames, objects] with NaN where a frame lacks an object,
      object ids).
    """
    ids = sorted({row[0] for _, rows in self._frames for row in rows})
    values = np.full((len(self._frames), len(ids)), np.nan)
    for index, (_, rows) in enumerate(self._frames):
      for row in rows:
        values[index, ids.index(row[0])] = row[-1]
    return [name for name, _ in self._frames], values, ids

"""Results as CVAT's XML: "CVAT for video 1.1" and "CVAT for images 1.1".

Format: https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/. Masks are run lengths along
the rows of the object's box.
"""

from collections.abc import Collection
from xml.sax.saxutils import escape
from xml.sax.saxutils import quoteattr

import numpy as np

from feelvos_tf.datasets.result_files import outline
from feelvos_tf.datasets.result_files.target import Classes
from feelvos_tf.datasets.result_files.target import Files
from feelvos_tf.datasets.result_files.target import objects
from feelvos_tf.datasets.result_files.target import ResultFrame
from feelvos_tf.datasets.result_files.target import Target
from feelvos_tf.files import whole_file

FILE = 'annotations.xml'


class Cvat:
  """annotations.xml of a video: a track an object, a mask on every frame."""

  needs_frames = False

  def __init__(self, target: Target) -> None:
    """Args: Target."""
    self._target, self._classes = target, Classes(target)
    self._end = 0  # Index of the frame behind the last one.
    self._tracks: dict[int, list[str]] = {}
    self._last: dict[int, tuple[int, np.ndarray]] = {}

  @classmethod
  def file_names(cls, unused_files: Files) -> list[str]:
    """See `Writer`."""
    return [FILE]

  def write(self, frame: ResultFrame) -> None:
    """See `Writer`."""
    behind, index, shown = self._end, frame.index, dict(objects(frame.ids))
    self._end = index + 1
    self._end_tracks(behind, shown if index == behind else {})
    for object_id, where in shown.items():
      self._classes.number(object_id)
      mask = self._mask(where, index, outside=False)
      self._tracks.setdefault(object_id, []).append(mask)
      self._last[object_id] = index, where

  def _end_tracks(self, frame: int, shown: Collection[int]) -> None:
    """Ends tracks of objects that the frame before shows and this one does not, or is left out."""
    for object_id, (at, where) in self._last.items():
      if at == frame - 1 and object_id not in shown:
        self._tracks[object_id].append(self._mask(where, frame, outside=True))

  def _mask(self, where: np.ndarray, frame: int, outside: bool) -> str:
    return (
      f'    <mask frame="{frame}" keyframe="1" outside="{int(outside)}" occluded="0" '
      f'{_runs(where)} z_order="0"></mask>\n'
    )

  def close(self) -> None:
    """See `Writer`."""
    count = self._end
    if self._target.goes_on:
      self._end_tracks(count, {})
      count += 1
    tracks = []
    for number, (object_id, shapes) in enumerate(sorted(self._tracks.items())):
      label = quoteattr(self._target.label(object_id))
      tracks.append(f'  <track id="{number}" label={label} source="auto">\n')
      tracks.extend([*shapes, '  </track>\n'])
    height, width = self._target.size
    size = f'      <original_size><width>{width}</width><height>{height}</height></original_size>\n'
    _write(self._target, self._classes, count, 'interpolation', size, tracks)


class CvatImages:
  """annotations.xml of images: the masks of each, with the object's id as attribute `track_id`."""

  needs_frames = False

  def __init__(self, target: Target) -> None:
    """Args: Target."""
    self._target, self._classes = target, Classes(target)
    self._end = 0  # Index of the frame behind the last one.
    self._images: list[str] = []

  @classmethod
  def file_names(cls, unused_files: Files) -> list[str]:
    """See `Writer`."""
    return [FILE]

  def write(self, frame: ResultFrame) -> None:
    """See `Writer`."""
    file_name = quoteattr(self._target.file_name(frame.name))
    height, width = frame.ids.shape
    self._end = frame.index + 1
    lines = [f'  <image id="{frame.index}" name={file_name} width="{width}" height="{height}">\n']
    for object_id, where in objects(frame.ids):
      self._classes.number(object_id)
      lines.append(
        f'    <mask label={quoteattr(self._target.label(object_id))} source="auto" occluded="0" '
        f'{_runs(where)} z_order="0">\n'
        f'      <attribute name="track_id">{object_id}</attribute>\n    </mask>\n'
      )
    self._images.append(''.join([*lines, '  </image>\n']))

  def close(self) -> None:
    """See `Writer`."""
    attribute = (
      '<attribute><name>track_id</name><mutable>False</mutable><input_type>number</input_type>'
      '<default_value>1</default_value><values>1;255;1</values></attribute>'
    )
    _write(self._target, self._classes, self._end, 'annotation', '', self._images, attribute)


def row_runs(where: np.ndarray) -> list[int]:
  """Run lengths along the rows, background first; bool [height, width]."""
  flat = where.ravel()
  edges = np.flatnonzero(np.diff(flat)) + 1
  runs = np.diff([0, *edges, flat.size]).tolist()
  return [0, *runs] if flat.size and flat[0] else runs


def _runs(where: np.ndarray) -> str:
  """Attributes of a mask: run lengths and box."""
  left, top, width, height = outline.box(where)
  runs = ', '.join(map(str, row_runs(where[top : top + height, left : left + width])))
  return f'rle="{runs}" left="{left}" top="{top}" width="{width}" height="{height}"'


def _write(
  target: Target,
  classes: Classes,
  count: int,
  mode: str,
  size: str,
  elements: list[str],
  attribute: str = '',
) -> None:
  """Writes the file: the task with its labels, then the tracks or images."""
  labels = ''.join(
    f'        <label><name>{escape(name)}</name><attributes>{attribute}</attributes></label>\n'
    for name in classes.names
  )
  head = (
    '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
    f'  <meta>\n    <task>\n      <name>{escape(target.video_name)}</name>\n'
    f'      <size>{count}</size>\n      <mode>{mode}</mode>\n'
    f'      <start_frame>0</start_frame>\n      <stop_frame>{max(0, count - 1)}</stop_frame>\n'
    f'      <labels>\n{labels}      </labels>\n{size}    </task>\n  </meta>\n'
  )
  whole_file.write_text(target.folder / FILE, ''.join([head, *elements, '</annotations>\n']))

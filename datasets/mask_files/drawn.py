"""What a person draws instead of a mask: boxes, points, polygons and scribbles, as text.

`[FRAME:]NUMBERS[,id=N]`: a box is `x,y,width,height`; the others are `x,y;x,y;...`. A `-` before a
point, or before a scribble, says that it lies on background. Shapes with one id belong to one
object; without `id=` each is an object of its own, also on another frame and next to masks.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import re
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets.mask_files import shapes

KINDS = ('box', 'points', 'polygon', 'scribble')
_EXAMPLES = {
  'box': '40,30,120,90 (x, y, width, height)',
  'points': '80,60;90,70;-10,10',
  'polygon': '40,30;160,30;100,120',
  'scribble': '60,50;80,60;120,80',
}
_WIDTH = 1 / 60  # of the shorter side: how thick points and scribbles are


@dataclasses.dataclass(frozen=True)
class Drawing:
  """One shape.

  Attributes:
    kind: one of KINDS.
    points: float64 [n, 2], x and y in pixels; of a box its two corners.
    positive: bool [n], False for points on background.
    object_id: the id that was asked for, or None.
    frame: text before the colon, or None.
  """

  kind: str
  points: np.ndarray
  positive: np.ndarray
  object_id: int | None = None
  frame: str | None = None


@dataclasses.dataclass
class Hints:
  """What the shapes of one object say about a frame.

  Attributes:
    object_id: its id.
    inside: bool [height, width], surely the object.
    outside: bool [height, width], surely not.
    box: bool [height, width], where the object may be; None: anywhere.
    exact: bool [height, width], a polygon: the object as it was drawn.
  """

  object_id: int
  inside: np.ndarray
  outside: np.ndarray
  box: np.ndarray | None = None
  exact: np.ndarray | None = None


def parse(kind: str, text: str) -> Drawing:
  """Takes the text of a flag apart.

  Raises:
    ValueError: something else than the module says; one line with an example.
  """
  if kind not in _EXAMPLES:
    raise ValueError(f'a drawing of kind {kind!r} given, expected one of {", ".join(_EXAMPLES)}')
  problem = ValueError(
    f'--{kind}={text} given, expected [FRAME:]NUMBERS[,id=N], for example {_EXAMPLES[kind]}'
  )
  match = re.fullmatch(r'(?:(.+):)?([-\d.,; ]+?)(?:[,;]id=(\d+))?', text)
  if not match:
    raise problem
  frame, numbers, object_id = match[1], match[2].replace(' ', ''), match[3]
  if object_id is not None and not object_ids.is_object_id(int(object_id)):
    raise ValueError(f'--{kind}={text}: id={object_id} given, expected {object_ids.GIVEN_IDS}')
  object_id = None if object_id is None else int(object_id)
  try:
    if kind == 'box':
      x, y, width, height = (float(number) for number in numbers.split(','))
      if min(x, y) < 0 or min(width, height) <= 0:
        raise problem
      points, positive = [[x, y], [x + width, y + height]], [True, True]
    else:
      parts = [part for part in numbers.split(';') if part]
      if kind == 'polygon':  # It may reach beyond the frame; there is none of background.
        positive = [True] * len(parts)
      else:
        positive = [not part.startswith('-') for part in parts]
        parts = [part.removeprefix('-') for part in parts]
      points = [[float(n) for n in part.split(',')] for part in parts]
  except ValueError:
    raise problem from None
  least = {'box': 2, 'points': 1, 'polygon': 3, 'scribble': 2}[kind]
  if len(points) < least or any(len(point) != 2 for point in points):
    raise problem
  if kind == 'scribble':
    positive = [positive[0]] * len(points)
  return Drawing(kind, np.array(points), np.array(positive), object_id, frame)


def with_ids(
  drawings: Mapping[int, Sequence[Drawing]],
  of_masks: Mapping[int, Iterable[int]],
  backward: bool = False,
) -> dict[int, list[Drawing]]:
  """Gives each shape without an id one that no object before it has, in the direction of the run.

  Masks behind it may have the id: they correct the object.

  Args:
    drawings: {index of the frame: its shapes}.
    of_masks: {index of the frame: ids of its mask}.
    backward: frames with a higher index come before.

  Raises:
    ValueError: there are more objects than ids.
  """
  used = {one.object_id for on_frame in drawings.values() for one in on_frame}
  found: dict[int, list[Drawing]] = {}
  for index in sorted(drawings, reverse=backward):
    before = (ids for i, ids in of_masks.items() if (i > index if backward else i < index))
    used = used.union(*before)
    found[index] = []
    for one in drawings[index]:
      if one.object_id is None:
        if (object_id := object_ids.free_id(used)) is None:
          raise ValueError(f'--{one.kind}: more objects than ids given; give one of them by id=N')
        one = dataclasses.replace(one, object_id=object_id)
        used.add(object_id)
      found[index].append(one)
  return found


def hints_of(drawings: Sequence[Drawing], size: tuple[int, int]) -> list[Hints]:
  """What shapes on one frame say, object by object, ids ascending.

  Args:
    drawings: shapes of the frame.
    size: (height, width) of it.

  Raises:
    ValueError: a shape outside of the frame, or an object without anything on it.
  """
  found: dict[int, Hints] = {}
  for drawing in with_ids({0: drawings}, {})[0]:
    object_id = cast(int, drawing.object_id)  # `with_ids` gave it one.
    empty = lambda: np.zeros(size, bool)
    hints = found.setdefault(object_id, Hints(object_id, empty(), empty()))
    _check_inside(drawing, size)
    _add(hints, drawing, size)
  for hints in found.values():
    if hints.exact is None and hints.box is None and not hints.inside.any():
      raise ValueError(f'object {hints.object_id} has marks on background only; mark the object')
  return [found[i] for i in sorted(found)]


def _check_inside(drawing: Drawing, size: tuple[int, int]) -> None:
  x, y = drawing.points.max(axis=0)
  least = drawing.points.min(axis=0)
  if (drawing.kind not in ('box', 'polygon') and (x > size[1] or y > size[0])) or (
    least[0] >= size[1] or least[1] >= size[0]
  ):
    raise ValueError(
      f'--{drawing.kind}: a shape that reaches x={x:g}, y={y:g} given, expected one on the frame, '
      f'which has {size[1]}x{size[0]} pixels'
    )


def _add(hints: Hints, drawing: Drawing, size: tuple[int, int]) -> None:
  if drawing.kind == 'box':
    box = shapes.rectangle(drawing.points[0], drawing.points[1], size)
    hints.box = box if hints.box is None else hints.box | box
  elif drawing.kind == 'polygon':
    drawn = shapes.polygon(drawing.points, size)
    hints.exact = drawn if hints.exact is None else hints.exact | drawn
  else:
    for positive in (True, False):
      marks = _marks(drawing, positive, size)
      target = hints.inside if positive else hints.outside
      target |= marks


def _marks(drawing: Drawing, positive: bool, size: tuple[int, int]) -> NDArray[np.bool_]:
  """bool [height, width]: the points or the scribble, as thick as a hand draws."""
  canvas = np.zeros(size, np.uint8)
  width = max(3, round(min(size) * _WIDTH))
  points = np.floor(drawing.points[drawing.positive == positive]).astype(int)
  if drawing.kind == 'scribble' and len(points):
    cv2.polylines(canvas, [points.reshape(-1, 1, 2)], False, 1, width)
  else:
    for point in points:
      cv2.circle(canvas, tuple(int(v) for v in point), width // 2, 1, -1)
  return canvas.astype(bool)

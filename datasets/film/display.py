"""From a decoded frame to the picture a viewer sees: upright, square pixels, RGB.

The same three steps as FFmpeg's programs and browsers take: pixels that are not square are
stretched (the side that has to grow grows, as the HTML standard asks), then the picture is turned
and mirrored by the display matrix, and transparent pixels lie on black.
"""

from fractions import Fraction
import itertools
import struct

import av
from av.buffer import Buffer
import numpy as np

from feelvos_tf.datasets import picture

# A ratio beyond these is an error of the file, not a shape that a picture is shown in.
_MOST_STRETCH = 8


def square_size(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
  """(height, width) with square pixels, before turning.

  Args:
    width, height: stored pixels.
    pixel_aspect: width of a pixel by its height; None or 0 if unknown.
  """
  ratio = pixel_aspect or Fraction(1)
  if not Fraction(1, _MOST_STRETCH) <= ratio <= _MOST_STRETCH:
    return height, width
  if ratio >= 1:
    return height, round(width * ratio)
  return round(height / ratio), width


def turning(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
  """(swap rows and columns, then flip rows, flip columns) that the display matrix asks for.

  Angles between quarter turns go to the nearest one.

  Args:
    frame: `av.VideoFrame`.
  """
  try:
    matrix = frame.side_data.get('DISPLAYMATRIX')
  except ValueError:  # PyAV does not know every kind of side data there is.
    return _turning_of_angle(frame.rotation)
  if not isinstance(matrix, Buffer):
    return False, False, False
  # Row vectors times the matrix: x' = a x + c y, y' = b x + d y, the last column is not for 2-D.
  a, b, _, c, d = struct.unpack('=5i', bytes(matrix)[:20])
  if abs(a) + abs(d) >= abs(b) + abs(c):
    return False, d < 0, a < 0
  return True, b < 0, c < 0


class Painter:
  """Turns decoded frames into pictures, with the filters of FFmpeg that its programs use."""

  def __init__(
    self, size: tuple[int, int], turn: tuple[bool, bool, bool], time_base: Fraction | None
  ) -> None:
    """Args: (height, width) before turning, what `turning` returned, time base of the track."""
    self._size, self._turn, self._time_base = size, turn, time_base
    self._graph: av.filter.Graph | None = None
    self._made_for: tuple[int, int, str] | None = None

  def paint(self, frame: av.VideoFrame) -> np.ndarray:
    """The picture of an `av.VideoFrame`.

    Returns:
      uint8 [height, width, 3] RGB, scaled (bicubic) to the size, then turned.
    """
    transparent = frame.format.has_palette or any(c.is_alpha for c in frame.format.components)
    made_for = (frame.width, frame.height, frame.format.name)
    if self._graph is None or made_for != self._made_for:
      self._graph = self._new_graph(frame, 'rgba' if transparent else 'rgb24')
      self._made_for = made_for
    self._graph.push(frame)
    image = self._graph.pull().to_ndarray()
    if transparent:
      image = picture.on_black(image)
    swap, flip_rows, flip_columns = self._turn
    if swap:
      image = image.swapaxes(0, 1)
    if flip_rows:
      image = image[::-1]
    if flip_columns:
      image = image[:, ::-1]
    return np.ascontiguousarray(image)

  def _new_graph(self, frame: av.VideoFrame, pixels: str) -> av.filter.Graph:
    graph = av.filter.Graph()
    steps = [
      graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=self._time_base
      ),
      graph.add('scale', f'{self._size[1]}:{self._size[0]}:flags=bicubic'),
      graph.add('format', pixels),
      graph.add('buffersink'),
    ]
    for one, following in itertools.pairwise(steps):
      one.link_to(following)
    graph.configure()
    return graph


def _turning_of_angle(degrees: float) -> tuple[bool, bool, bool]:
  """What `turning` returns for a turn counterclockwise, without mirroring."""
  return {
    0: (False, False, False),
    90: (True, True, False),
    180: (False, True, True),
    270: (True, False, True),
  }[round(degrees / 90) % 4 * 90]

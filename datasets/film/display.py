"""From a decoded frame to the picture a viewer sees: upright, square pixels, RGB.

The same three steps as FFmpeg's programs and browsers take: pixels that are not square are
stretched (the side that has to grow grows, as the HTML standard asks), then the picture is turned
and mirrored by the display matrix, and transparent pixels lie on black.
"""

from fractions import Fraction
import struct

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


def turning(frame) -> tuple[bool, bool, bool]:
  """(swap rows and columns, then flip rows, flip columns) that the display matrix asks for.

  Angles between quarter turns go to the nearest one.

  Args:
    frame: `av.VideoFrame`.
  """
  try:
    matrix = frame.side_data.get('DISPLAYMATRIX')
  except ValueError:  # PyAV does not know every kind of side data there is.
    return _turning_of_angle(frame.rotation)
  if matrix is None:
    return False, False, False
  # Row vectors times the matrix: x' = a x + c y, y' = b x + d y, the last column is not for 2-D.
  a, b, _, c, d = struct.unpack('=5i', bytes(matrix)[:20])
  if abs(a) + abs(d) >= abs(b) + abs(c):
    return False, d < 0, a < 0
  return True, b < 0, c < 0


def rgb(frame, size: tuple[int, int], turn: tuple[bool, bool, bool]) -> np.ndarray:
  """The picture of a frame.

  Args:
    frame: `av.VideoFrame`.
    size: (height, width) before turning; a frame of another size is scaled to it, bicubic.
    turn: what `turning` returned.

  Returns:
    uint8 [height, width, 3] RGB; sides swapped if `turn` says so.
  """
  transparent = frame.format.has_palette or any(c.is_alpha for c in frame.format.components)
  image = frame.reformat(
    width=size[1],
    height=size[0],
    format='rgba' if transparent else 'rgb24',
    interpolation='BICUBIC',
  ).to_ndarray()
  if transparent:
    image = picture.on_black(image)
  swap, flip_rows, flip_columns = turn
  if swap:
    image = image.swapaxes(0, 1)
  if flip_rows:
    image = image[::-1]
  if flip_columns:
    image = image[:, ::-1]
  return np.ascontiguousarray(image)


def _turning_of_angle(degrees):
  """What `turning` returns for a turn counterclockwise, without mirroring."""
  return {
    0: (False, False, False),
    90: (True, True, False),
    180: (False, True, True),
    270: (True, False, True),
  }[round(degrees / 90) % 4 * 90]

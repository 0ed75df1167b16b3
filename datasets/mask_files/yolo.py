"""Masks out of YOLO's segmentation labels: one file an image, one polygon a line.

A line is a class and x y pairs, as parts of the width and height. Format:
https://docs.ultralytics.com/datasets/segment/.
"""

import numpy as np

from feelvos_tf.datasets.mask_files import shapes


def read(text: str, name: str, size: tuple[int, int]) -> list[shapes.Instance]:
  """The objects of a label file.

  Args:
    text: its content.
    name: what messages call it.
    size: (height, width) of the frame.

  Returns:
    Instances in the order of the lines.

  Raises:
    ValueError: a line that is no polygon.
  """
  found = []
  for number, line in enumerate(text.splitlines(), 1):
    words = line.split()
    if not words:
      continue
    try:
      values = [float(word) for word in words[1:]]
      label = int(words[0])
    except ValueError:
      values, label = [], None
    if label is None or len(values) < 6 or len(values) % 2:
      what = 'a box' if len(values) == 4 else repr(line[:40])
      raise ValueError(
        f'{name}: line {number}: {what} given, expected a class and the x y pairs of a polygon'
      )
    points = np.reshape(values, (-1, 2))
    if points.min() < -0.01 or points.max() > 1.01:
      raise ValueError(
        f'{name}: line {number}: coordinates {points.min():g}..{points.max():g} given, expected '
        'parts of the width and height, 0..1'
      )
    found.append(
      shapes.Instance(f'class {label}', shapes.polygon(points * [size[1], size[0]], size))
    )
  return found

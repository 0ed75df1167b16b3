"""Follows what you draw a box around, live: frames of a camera (or a video file) one at a time.

python examples/stream_from_camera.py          # camera 0; needs opencv-python with windows
python examples/stream_from_camera.py 1        # camera 1
python examples/stream_from_camera.py clip.mp4
"""

from collections.abc import Callable
import sys

import cv2
import numpy as np

import feelvos_tf


def main(
  source: int | str = 0, select_box: Callable = cv2.selectROI, show: Callable = cv2.imshow
) -> int:
  """Segments frames until the source ends or a key is pressed; returns their number."""
  number = str(source)
  capture = cv2.VideoCapture(int(number) if number.isdecimal() else source)
  count, (good, frame) = 0, capture.read()
  if not good:
    what = f'camera {number}' if number.isdecimal() else number
    sys.exit(f'{what}: no frame can be read; give the number of a camera or a video file')
  x, y, width, height = select_box('Draw a box, press Enter', frame)
  if not (width and height):
    sys.exit('no box was drawn; draw one around an object, then press Enter')
  mask = np.zeros(frame.shape[:2], np.uint8)
  mask[y : y + height, x : x + width] = 1
  segmenter = feelvos_tf.VideoSegmenter(feelvos_tf.load_model(), max_internal_size=320)
  while good:
    rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    result = segmenter.step(rgb) if count else segmenter.start(rgb, mask)
    frame[result.mask == 1, 2] = 255  # What is followed is red.
    show('FEELVOS', frame)
    count += 1
    if cv2.waitKey(1) != -1:
      break
    good, frame = capture.read()
  return count


if __name__ == '__main__':
  main(*sys.argv[1:])

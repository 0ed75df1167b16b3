"""frames.csv: areas, boxes, objects that are not there, objects that come later."""

import numpy as np

from feelvos_tf.inference.segmented_frame import SegmentedFrame
from feelvos_tf.runtime import frame_table


def test_rows_and_file():
  mask = np.zeros((6, 9), np.uint8)
  mask[1:3, 2:6] = 7
  mask[2, 5] = 0
  confidence = np.array([0.9, 0.25, 0.123456], np.float32)
  rows = frame_table.rows_of(SegmentedFrame(mask, (0, 7, 200), confidence=confidence))
  assert rows == [[7, 7, 2, 1, 4, 2, 0.25], [200, 0, None, None, None, None, 0.1235]]
  table = frame_table.FrameTable()
  table.add('a', rows[1:])
  table.add('b', rows)
  assert table.to_csv().decode().splitlines() == [
    'frame,object,area,left,top,width,height,confidence',
    'a,200,0,,,,,0.1235',
    'b,7,7,2,1,4,2,0.25',
    'b,200,0,,,,,0.1235',
  ]
  names, values, ids = table.confidences()
  assert (names, ids) == (['a', 'b'], [7, 200])
  np.testing.assert_array_equal(values, [[np.nan, 0.1235], [0.25, 0.1235]])

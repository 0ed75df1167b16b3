"""The repair list: order, distance between entries, objects, videos without a doubtful frame."""

import numpy as np

from feelvos_tf.runtime import repair_list


def test_the_lowest_first_and_no_neighbours():
  values = np.ones((40, 2))
  values[10:14, 0] = [0.3, 0.2, 0.1, 0.25]  # One failure: one entry.
  values[30, 1] = 0.05
  values[16, 1] = 0.6  # Within 4 frames of frame 12.
  values[17, 1] = 0.7
  values[0, 0] = np.nan
  entries = repair_list.frames_to_check(values, [3, 9])
  assert entries == [(30, 9, 0.05), (12, 3, 0.1), (17, 9, 0.7)]
  assert repair_list.frames_to_check(values, [3, 9], length=1) == entries[:1]
  names = [f'{i:05d}' for i in range(40)]
  assert repair_list.to_line(entries[:2], names) == (
    'look first at 00030 (object 9, confidence 0.05), 00012 (object 3, confidence 0.10)'
  )


def test_without_doubtful_frames():
  for values in (
    np.full((5, 1), 0.95),
    np.zeros((0, 1)),
    np.zeros((4, 0)),
    np.full((3, 1), np.nan),
  ):
    assert repair_list.frames_to_check(values, list(range(values.shape[1]))) == []
  assert repair_list.to_line([], []) == 'no object has a confidence below 0.9 on any frame'


def test_a_bad_video_gives_a_short_list():
  entries = repair_list.frames_to_check(np.linspace(0.5, 0.1, 100)[:, np.newaxis], [1])
  assert [entry.frame for entry in entries] == [99, 88, 77, 66, 55]

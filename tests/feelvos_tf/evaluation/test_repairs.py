"""One correction on the frame at the top of the repair list: which frame, and what it gains."""

import numpy as np
import pytest

from feelvos_tf.datasets.masks import Mask
from feelvos_tf.datasets.video import NumberedNames
from feelvos_tf.datasets.video import Video
from feelvos_tf.evaluation import repairs
from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.inference.segmented_frame import SegmentedFrame

COUNT, WORST = 12, 7


def square(index):
  ids = np.zeros((40, 60), np.uint8)
  ids[10:22, 5 + 3 * index : 17 + 3 * index] = 2
  return ids


class Moving(Video):
  """A square that moves by a quarter of its width a frame."""

  def __init__(self):
    self.name, self.num_frames, self.frame_size = 'moving', COUNT, (40, 60)
    self.frame_names = NumberedNames(COUNT)

  def frames(self, start=0):
    return (np.full((40, 60, 3), index, np.uint8) for index in range(start, COUNT))

  def mask(self, index):
    return Mask(square(index))


class Copying:
  """A segmenter that repeats the last given mask, unsure of one frame."""

  object_ids = (0, 2)

  def start(self, frame, mask):
    self._mask = mask
    return SegmentedFrame(mask.copy(), self.object_ids)

  correct = start

  def step(self, frame):
    confidence = np.array([1.0, 0.1 if frame[0, 0, 0] == WORST else 0.8], np.float32)
    return SegmentedFrame(self._mask.copy(), self.object_ids, confidence=confidence)

  def snapshot(self):
    return self._mask

  def restore(self, snapshot):
    self._mask = snapshot


def test_the_frames_behind_the_correction_gain():
  result = repairs.measure(Moving(), Copying(), sequence_scores.PROTOCOLS['davis2017'])
  overlap = lambda moved: max(0, 12 - 3 * moved) / (12 + min(12, 3 * moved))
  np.testing.assert_allclose(
    [row[0] for row in result.j], [overlap(index) for index in range(1, COUNT)]
  )
  assert result.entries[0] == (WORST, 2, pytest.approx(0.1), 0.0)
  assert len(result.confidences) == len(result.j) == COUNT - 1
  assert result.has_wrong and result.is_found
  assert result.before < result.before_of_others < result.after_of_others < result.after


def test_a_sure_video_is_left_as_it_is():
  sure = Copying()
  sure.step = lambda frame: SegmentedFrame(square(int(frame[0, 0, 0])), (0, 2))
  result = repairs.measure(Moving(), sure, sequence_scores.PROTOCOLS['davis2017'])
  assert result.entries == [] and result.before == result.after == 1.0
  assert not result.has_wrong and not result.is_found

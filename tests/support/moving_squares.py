"""Videos with squares for objects, and a made-up segmenter that moves them to the right."""

from typing import ClassVar

import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import folder

SHAPE = (16, 24)


class FakeFrame:
  """What SegmentedFrame offers."""

  def __init__(self, mask, object_ids, probabilities, logits):
    self.mask, self.object_ids = mask, object_ids
    self.confidence = np.full(len(object_ids), 0.75)
    self.probabilities, self.stride4_logits = probabilities, logits
    self.predicted_logits = logits
    self.global_distance = None if logits is None else np.full(logits.shape, 0.2, np.float32)
    self.local_distance = None


class FakeSegmenter:
  """Moves the given mask a pixel to the right on every step; sure of objects by `certainty`."""

  made: ClassVar = []

  def __init__(self, certainty=0.9):
    self.certainty, self.steps = certainty, 0
    FakeSegmenter.made.append(self)

  def start(self, frame, mask):
    assert frame.shape == (*SHAPE, 3) and mask.dtype == np.uint8
    self.mask = mask
    self.object_ids = (0,) + tuple(int(i) for i in np.unique(mask) if i)
    return self._result(None)

  def step(self, frame):
    self.steps += 1
    self.mask = np.roll(self.mask, 1, axis=1)
    return self._result(np.stack([np.full((4, 6), float(i)) for i in range(len(self.object_ids))]))

  def _result(self, logits):
    is_here = [self.mask == i for i in self.object_ids]
    rest = (1 - self.certainty) / max(len(is_here) - 1, 1)
    probabilities = np.where(np.stack(is_here), self.certainty, rest).astype(np.float32)
    return FakeFrame(self.mask, self.object_ids, probabilities, logits)


def squares(places):
  ids = np.zeros(SHAPE, np.uint8)
  for object_id, (y, x) in places.items():
    ids[y : y + 3, x : x + 3] = object_id
  return ids


def make_video(place, name, given, count=4):
  """A video of black frames with the masks `given` {index: {id: (y, x)}}, 3x3 pixels each.

  Its files lie in `place`/frames.
  """
  frames = place / 'frames' / name
  frames.mkdir(parents=True)
  paths = {}
  for index in range(count):
    masks.write_mask(frames / f'{index:05d}.png', np.zeros(SHAPE, np.uint8))
    if index in given:
      paths[index] = frames.parent / f'{name}_{index}.png'
      masks.write_mask(paths[index], squares(given[index]))
  return folder.FolderVideo(name, sorted(frames.iterdir()), paths)

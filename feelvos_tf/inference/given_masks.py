"""Masks that are given on any frames of a video, and how a segmenter takes them.

The first mask in the direction of the run begins it. A later one is one of two things: a mask
that holds only ids that were not there before adds objects, and the others stay as predicted; any
other mask is right for the whole frame, so an object that is missing from it is not visible there.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from feelvos_tf.datasets import masks as masks_lib
from feelvos_tf.datasets.masks import Mask

if TYPE_CHECKING:
  from feelvos_tf.inference.segmenter import SegmentedFrame
  from feelvos_tf.inference.segmenter import VideoSegmenter


DIRECTIONS = ('forward', 'backward', 'both')


class GivenMasks:
  """Masks by frame, and the frames from which on objects are removed.

  Masks are kept as compressed pictures: a mask on every frame of a long video fits.

  Attributes:
    frames: sorted indices of the frames with a mask.
    palette: uint8 [256, 3] of the first mask that has one, or None.
    direction: 'forward', 'backward' or 'both'.
    removals: ((object id, index), ...), sorted: from that frame on no mask holds the object, until
      a given mask holds it again.
    first: frame of the whole video that index 0 stands for.
  """

  def __init__(
    self,
    masks: Mapping[int, Mask],
    removals: Iterable[tuple[int, int]] = (),
    direction: str = 'forward',
  ) -> None:
    """Checks what belongs together.

    Args:
      masks: {index of the frame: `feelvos_tf.datasets.masks.Mask`}, of one size.
      removals: (object id, index of the frame).
      direction: one of DIRECTIONS.

    Raises:
      ValueError: no masks, an unknown direction, no object on the first one in the direction, or
        the removal of an object that no mask holds.
    """
    if direction not in DIRECTIONS:
      raise ValueError(f'direction is {direction!r}; expected one of {", ".join(DIRECTIONS)}.')
    if not masks:
      raise ValueError('0 masks given; expected one on at least one frame')
    self.frames = tuple(sorted(masks))
    self.direction = direction
    self.first = 0
    self.removals = tuple(sorted(set(removals)))
    self.palette = next(
      (masks[i].palette for i in self.frames if masks[i].palette is not None), None
    )
    self._encoded = {i: masks_lib.encode_mask(m.ids, compress_level=1) for i, m in masks.items()}
    self._ids = {i: frozenset(np.unique(m.ids).tolist()) - {0} for i, m in masks.items()}
    begins = self.frames[-1 if direction == 'backward' else 0]
    if not self._ids[begins]:
      raise ValueError(
        f'the mask of frame {begins}, the first in the direction {direction}, has no object; '
        'leave it out'
      )
    for object_id, index in self.removals:
      if not any(object_id in ids for ids in self._ids.values()):
        known = sorted(frozenset().union(*self._ids.values()))
        raise ValueError(
          f'object {object_id} is to be removed at frame {index}; expected one of '
          f'{", ".join(map(str, known))}'
        )

  def ids(self, index: int) -> np.ndarray | None:
    """uint8 [height, width] of a frame's mask; None if it has none."""
    return self.mask(index) if index in self._encoded else None

  def mask(self, index: int) -> np.ndarray:
    """uint8 [height, width] of the mask of a frame of `frames`."""
    return masks_lib.decode_mask(self._encoded[index], 'a given mask', void=False, own=True).ids

  def object_ids(self, index: int) -> frozenset[int]:
    """Ids of the mask of a frame."""
    return self._ids[index]

  @property
  def num_ids(self) -> int:
    """Number of ids that any of the masks holds."""
    return len(frozenset().union(*self._ids.values()))

  def adds_only(self, index: int, known: Iterable[int]) -> bool:
    """Whether a frame's mask holds new ids and none of the known ones."""
    ids = self._ids[index]
    return bool(ids) and not ids & frozenset(known)

  def gone(self, index: int) -> tuple[int, ...]:
    """Ids that masks of a frame do not hold because they were removed at it or before."""
    found = []
    for object_id in sorted({i for i, _ in self.removals}):
      removed = max((at for i, at in self.removals if i == object_id and at <= index), default=None)
      if removed is None:
        continue
      back = any(removed <= at <= index and object_id in self._ids[at] for at in self.frames)
      if not back:
        found.append(object_id)
    return tuple(found)

  def show(self, result: 'SegmentedFrame', index: int) -> None:
    """Takes what is `gone` on a frame out of its `SegmentedFrame`; that it is gone is given."""
    gone = self.gone(index)
    if gone:
      result.mask = np.where(np.isin(result.mask, gone), 0, result.mask).astype(np.uint8)
      result.confidence = np.where(np.isin(result.object_ids, gone), 1.0, result.confidence)

  def starting_at(self, first: int) -> 'GivenMasks':
    """The same with indices counted from frame `first` on."""
    moved = object.__new__(GivenMasks)
    moved.direction, moved.palette = self.direction, self.palette
    moved.first = self.first + first
    moved.frames = tuple(i - first for i in self.frames)
    moved.removals = tuple((object_id, max(0, i - first)) for object_id, i in self.removals)
    moved._encoded = {i - first: data for i, data in self._encoded.items()}
    moved._ids = {i - first: ids for i, ids in self._ids.items()}
    return moved


def of(masks: GivenMasks | Mask) -> GivenMasks:
  """`GivenMasks` of themselves, or of the mask of the first frame alone."""
  return masks if isinstance(masks, GivenMasks) else GivenMasks({0: masks})


def take(
  segmenter: 'VideoSegmenter', frame: np.ndarray, index: int, given: GivenMasks
) -> 'SegmentedFrame':
  """Takes the mask of a frame in the middle of a run.

  Args:
    segmenter: `VideoSegmenter` after the frame before.
    frame: uint8 [height, width, 3].
    index: of the frame, which has a mask.
    given: `GivenMasks`.

  Returns:
    `SegmentedFrame` with the mask, completed by the prediction if it only adds objects.
  """
  ids = given.mask(index)
  if not given.adds_only(index, segmenter.object_ids or ()):
    return segmenter.correct(frame, ids)
  predicted = segmenter.step(frame)
  completed = np.where(ids == 0, predicted.mask, ids)
  result = segmenter.correct(frame, completed, only_adds=True)
  result.confidence[np.isin(result.object_ids, predicted.object_ids)] = predicted.confidence
  return result

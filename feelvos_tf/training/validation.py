"""Validation during a training: J of a few clips, segmented as at inference."""

from collections.abc import Sequence
import functools
import hashlib

import numpy as np

from feelvos_tf.datasets.object_ids import VOID_ID
from feelvos_tf.datasets.video import Video
from feelvos_tf.evaluation import measures
from feelvos_tf.inference import graph
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model.feelvos import Feelvos


class Validation:
  """Mean region similarity J of the first frames of some videos.

  Called with the model whose weights are trained; it sees their values of the moment.
  """

  def __init__(
    self, videos: Sequence[Video], num_frames: int = 16, max_internal_size: int | None = None
  ) -> None:
    """Checks that the videos can be scored.

    Args:
      videos: `feelvos_tf.datasets.video.Video`s; each is segmented from its first mask with an
        object on, which others follow.
      num_frames: int, frames of a video that are segmented, the first one included.
      max_internal_size: see `VideoSegmenter`.

    Raises:
      ValueError: a video has fewer than two frames with masks among those that are segmented, or
        a mask cannot be read.
    """
    starts = [_start(video) for video in videos]
    for video, start in zip(videos, starts):
      gap = next(index for index in video.masked_frames if index > start) - start
      if gap >= num_frames:
        raise ValueError(
          f'{video.name}: its second mask comes {gap} frames behind the first, and {num_frames} frames '
          f'are segmented; give --validation_frames={gap + 1} or more.'
        )
    if not videos:
      raise ValueError('no video to validate on given; expected at least one.')
    self._videos, self._starts = videos, starts
    self._num_frames = num_frames
    self._max_internal_size = max_internal_size
    self._graph: graph.InferenceGraph | None = None

  @functools.cached_property
  def identity(self) -> str:
    """Hash of the videos' names and masks, and of how they are segmented: scores of one compare.

    Frames are not read; those of one name and mask are taken for the same.
    """
    digest = hashlib.sha256(f'{self._num_frames} {self._max_internal_size}'.encode())
    for video, first in zip(self._videos, self._starts):
      digest.update(f'\n{video.name} {video.masked_frames}'.encode(errors='surrogateescape'))
      for index in video.masked_frames:
        if first <= index < first + self._num_frames:
          digest.update(video.needed_mask(index).ids.tobytes())
    return digest.hexdigest()

  def __call__(self, model: Feelvos) -> float:
    """Mean over videos of the mean J over objects and frames; float in [0, 1]."""
    if self._graph is None:
      # Not frozen: the graph is traced once and reads the weights as they change.
      self._graph = graph.InferenceGraph(model, freeze=False)
    segmenter = VideoSegmenter(self._graph, self._max_internal_size)
    pairs = zip(self._videos, self._starts)
    return float(np.mean([self._score(segmenter, video, first) for video, first in pairs]))

  def _score(self, segmenter: VideoSegmenter, video: Video, first: int) -> float:
    scores: list[float] = []
    ids: tuple[int, ...] = ()
    for index, frame in enumerate(video.frames(first), first):
      if index >= first + self._num_frames:
        break
      if index == first:
        mask = video.needed_mask(index)
        ids = mask.object_ids
        segmenter.start(frame, np.where(np.isin(mask.ids, ids), mask.ids, 0).astype(np.uint8))
        continue
      predicted = segmenter.step(frame).mask
      truth = video.mask(index) if index in video.masked_frames else None
      if truth is not None:
        void = truth.ids == VOID_ID
        scores += [measures.region_similarity(predicted == i, truth.ids == i, void) for i in ids]
    return float(np.mean(scores)) if scores else 0.0


def _start(video: Video) -> int:
  """Index of the first frame whose mask has an object.

  Raises:
    ValueError: there is none with a mask behind it, or a mask cannot be read.
  """
  if len(video.masked_frames) < 2:
    raise ValueError(
      f'{video.name}: validation needs at least two frames with masks, '
      f'{len(video.masked_frames)} given; choose other videos.'
    )
  for index in video.masked_frames[:-1]:
    if video.needed_mask(index).object_ids:
      return index
  raise ValueError(
    f'{video.name}: no mask before the last one has an object; validation needs one to start from. '
    'Choose other videos.'
  )

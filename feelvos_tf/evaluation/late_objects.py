"""One video, segmented from its own annotations, objects that come late included.

Objects that are annotated for the first time after the first frame (YouTube-VOS) get a segmenter
of their own from there on; the groups are merged as independent opinions on each pixel.
"""

from collections.abc import Callable, Iterator, Sequence
import time
from typing import Any, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets import video as video_lib
from feelvos_tf.runtime import background

if TYPE_CHECKING:
  from feelvos_tf.inference.segmenter import SegmentedFrame


def segment_video(
  video: video_lib.Video, new_segmenter: Callable, late_objects: bool = False
) -> Iterator:
  """Segments a video from its own annotations.

  Args:
    video: `feelvos_tf.datasets.video.Video` with at least one mask.
    new_segmenter: returns an object with the `start` and `step` of `VideoSegmenter`.
    late_objects: also take up objects whose first mask is on a later frame.

  Yields:
    (frame name, ids uint8 [height, width], SegmentedFrame or None, seconds) for every frame;
    empty ids before the first mask. The SegmentedFrame is there while there is one group.

  Raises:
    ValueError: no mask with an object, or an unreadable frame or mask.
  """
  given = beginnings(video, late_objects)
  groups: list[Any] = []
  for index, frame in enumerate(background.prefetch(video.frames())):
    start = time.perf_counter()
    results = [segmenter.step(frame) for segmenter in groups]
    merged = _merge(results) if len(results) > 1 else None
    begins = given.get(index)
    if begins is not None:
      groups.append(new_segmenter())
      results.append(groups[-1].start(frame, begins))
    seconds = time.perf_counter() - start
    if not results:
      ids = np.zeros(frame.shape[:2], np.uint8)
    else:
      ids = (results[0].mask if merged is None else merged).copy()
      if begins is not None:
        ids[begins != 0] = begins[begins != 0]
    yield video.frame_names[index], ids, results[0] if len(groups) == 1 else None, seconds


def beginnings(video: video_lib.Video, late_objects: bool) -> dict[int, np.ndarray]:
  """What `segment_video` gives to segmenters: the objects first annotated on a frame.

  Args:
    video: `feelvos_tf.datasets.video.Video`.
    late_objects: also those whose first mask is on a later frame than that of the first object.

  Returns:
    {frame index: uint8 [height, width] ids}.

  Raises:
    ValueError: no mask with an object, or an unreadable mask.
  """
  known, found = set(), {}
  for index in video.masked_frames:
    mask = video.needed_mask(index)
    new = [i for i in mask.object_ids if i not in known]
    if new:
      known.update(new)
      found[index] = np.where(np.isin(mask.ids, new), mask.ids, 0).astype(np.uint8)
    if found and not late_objects:
      break
  if not found:
    raise ValueError(
      f'{video.name}: no mask with an object, at least one annotated frame '
      'expected; leave the video out or annotate its first frame'
    )
  return found


def _merge(results: 'Sequence[SegmentedFrame]') -> NDArray[np.uint8]:
  """ids of several groups' SegmentedFrames: the likeliest object, each pixel having one.

  Groups are taken as independent: an object's probability is its group's times that every other
  group sees background.
  """
  backgrounds = [result.probabilities[0] for result in results]
  best = np.prod(backgrounds, axis=0)
  ids = np.zeros(best.shape, np.uint8)
  for number, result in enumerate(results):
    others = np.prod(backgrounds[:number] + backgrounds[number + 1 :], axis=0)
    for channel, object_id in enumerate(result.object_ids[1:], 1):
      likelihood = result.probabilities[channel] * others
      better = likelihood > best
      ids[better] = object_id
      best = np.maximum(best, likelihood)
  return ids

"""Goes on from results that are there: after an interruption, or when only later masks changed."""

import bisect
from collections.abc import Callable, Mapping, Sequence
import itertools
import operator
from typing import Any, TYPE_CHECKING

from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets.names import natural_key
from feelvos_tf.datasets.video import Video
from feelvos_tf.inference import given_masks
from feelvos_tf.runtime import background
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime.results import frame_digest
from feelvos_tf.runtime.results import mask_name
from feelvos_tf.runtime.results import OtherFrames

if TYPE_CHECKING:
  import numpy as np

  from feelvos_tf.inference.segmenter import SegmentedFrame
  from feelvos_tf.inference.segmenter import VideoSegmenter


def is_of(video: Video, known: Mapping[str, str], name: str, given: given_masks.GivenMasks) -> bool:
  """Whether finished results are those of a video's frames, of all of them and no others.

  Args:
    video: `Video`, whose frames are read.
    known: {name of a mask: hash of its frame}, see `result_folder.Job.frames`.
    name: '' or the name of the video, which sorts its files.
    given: `GivenMasks` of the results.
  """
  end = given.frames[-1] + 1 if given.direction == 'backward' else None
  count = 0
  for index, frame in enumerate(background.prefetch(itertools.islice(video.frames(), end))):
    if known.get(mask_name(name, video.frame_names[index])) != frame_digest(frame):
      return False
    count += 1
  return count == len(known)


def still_known(video: Video, known: Mapping[str, str], name: str) -> dict[str, str]:
  """The masks that are there, without those behind a frame that is gone since.

  They depend on it: each frame is segmented by what the model remembers of the one before.

  Args:
    video: `Video`.
    known: {name of a mask: hash of its frame}, see `result_folder.Job.frames`.
    name: '' or the name of the video, which sorts its files.
  """
  names = [mask_name(name, frame_name) for frame_name in video.frame_names] if video.seeks else []
  gone = known.keys() - set(names)
  if not names or not gone:
    return dict(known)
  # Frames of a folder are in natural order; those behind --end have none behind them.
  first = min(map(natural_key, gone))
  behind = {mask for mask in names if natural_key(mask) > first}
  return {mask: digest for mask, digest in known.items() if mask not in behind}


def keep_unchanged(video: Video, job: result_folder.Job, name: str) -> bool:
  """Removes what a job's earlier run wrote, except for masks that do not depend on what changed.

  The frames of these masks are read and compared first. Masks behind a frame that is gone do not
  stay.

  Args:
    video: `Video`.
    job: `result_folder.Job` whose plan changed.
    name: '' or the name of the video, which sorts its files.

  Returns:
    False if there are masks and all of them depend on what changed. Nothing was removed then.

  Raises:
    OtherFrames: the results are of other frames. Nothing was removed then.
    ValueError: a result was changed since.
  """
  ranges = job.kept_ranges or []
  known = dict(job.frames())
  still = still_known(video, known, name)
  kept, left = [], set(known)
  for index, frame in enumerate(video.frames()):
    path = mask_name(name, video.frame_names[index])
    left.discard(path)
    if path in still and any(a <= index and (b is None or index <= b) for a, b in ranges):
      if known[path] != frame_digest(frame):
        raise OtherFrames
      kept.append(path)
    if not left or not ranges or (ranges[-1][1] is not None and index >= ranges[-1][1]):
      break
  if known and not kept:
    if known.keys().isdisjoint(mask_name(name, frame_name) for frame_name in video.frame_names):
      raise OtherFrames
    return False
  job.keep(kept)
  if kept:
    names_lib.tell(f'{video.name}: {len(kept)} masks do not depend on what changed and stay')
  return True


def result_of(
  segmenter: 'VideoSegmenter',
  position: int,
  index: int,
  frame: 'np.ndarray',
  given: given_masks.GivenMasks,
) -> 'SegmentedFrame':
  """Segments a frame of a run in one direction, or takes the mask that is given for it.

  Args:
    segmenter: `VideoSegmenter`.
    position: place in the run; 0 is its first frame, whose mask is given.
    index: index of the frame in the video.
    frame: uint8 [height, width, 3], RGB.
    given: `GivenMasks`.
  """
  if position == 0:
    return segmenter.start(frame, given.mask(index))
  if given.ids(index) is not None:
    return given_masks.take(segmenter, frame, index, given)
  return segmenter.step(frame)


def after_known(
  segmenter: 'VideoSegmenter',
  job: result_folder.Job,
  known: Sequence[tuple[str, str]],
  given: given_masks.GivenMasks,
  order: Callable,
  read_mask: Callable,
) -> tuple[int, Callable]:
  """Where a run in one direction goes on.

  Args:
    segmenter: `VideoSegmenter`.
    job: `result_folder.Job`.
    known: (name, hash of the frame) of the masks that are there, in the order of the run.
    given: `GivenMasks`.
    order: function: position in the run -> index of the frame.
    read_mask: function: index of a frame -> ids of the mask that is there.

  Returns:
    (number of frames that need not be segmented, function (position, frame) that brings the
    segmenter to where it was and returns `remembered` of a frame whose mask was given, or None).
  """
  by_state, restore = _from_state(segmenter, job, known, given, order)
  by_masks = _recoverable(segmenter, len(known), given, order)
  if by_masks < by_state or not by_masks:
    return by_state, restore

  def replay(position: int, frame: 'np.ndarray') -> Any:
    index = order(position)
    if index in given.frames:
      result = result_of(segmenter, position, index, frame, given)
      return segmenter.remembered(result.mask) if position else None
    if position == by_masks - 1 or order(position + 1) in given.frames:
      segmenter.remember(frame, read_mask(index))
    return None

  return by_masks, replay


def _recoverable(
  segmenter: 'VideoSegmenter', most: int, given: given_masks.GivenMasks, order: Callable[[int], int]
) -> int:
  """After how many frames, at most, their masks hold all that the model remembered."""
  positions = [p for p in range(most) if order(p) in given.frames]
  ids = [given.object_ids(order(p)) for p in positions]
  followed = list(itertools.accumulate(ids, operator.or_))  # From each of these masks on.

  def is_known(position: int) -> bool:
    place = bisect.bisect_right(positions, position) - 1
    if positions[place] == position:
      return True
    following = order(position + 1)
    # A mask that adds objects leaves the others as predicted; any other is compared with that.
    is_needed = following not in given.frames or given.adds_only(following, followed[place])
    is_told = segmenter.is_told_by_masks(len(followed[place]), is_needed)
    return is_told and not given.gone(order(position))

  # The frame before a given mask has to be known too: the mask is compared with its prediction.
  gaps = [p for p in positions if p and not is_known(p - 1)]
  count = min([most, *gaps])
  while count and not is_known(count - 1):
    count -= 1
  return count


def _from_state(
  segmenter: 'VideoSegmenter',
  job: result_folder.Job,
  known: Sequence[tuple[str, str]],
  given: given_masks.GivenMasks,
  order: Callable[[int], int],
) -> tuple[int, Callable]:
  """The same from what the model remembered when it was saved.

  A frame whose mask was given makes the model forget nothing but the frame before, so the last
  one and what the model remembered of the last frame are all there is to restore. A disk may have
  had no room for the former; then the latter is of no use.
  """
  count, state = job.load_state() or (0, None)
  begin, arrays = job.load_state(result_folder.BEGIN) or (1, None)
  if any(order(position) in given.frames for position in range(begin, count)):
    count, state = 0, None
  elif count < begin:
    # What the model remembered of that frame was not saved: a mask of the whole frame says it all.
    is_told = arrays is not None and _tells_all(segmenter, begin - 1, given, order)
    count, state = (begin, None) if is_told else (0, None)

  def restore(position: int, frame: 'np.ndarray') -> None:
    if position == begin - 1:
      if arrays is None:
        segmenter.start(frame, given.mask(order(position)))
      else:
        segmenter.start_as_before(frame, arrays)
    if position == count - 1 and state is not None:
      segmenter.restore_previous(state)

  return count if 0 < count <= len(known) else 0, restore


def _tells_all(
  segmenter: 'VideoSegmenter', position: int, given: given_masks.GivenMasks, order: Callable
) -> bool:
  """Whether the mask of a frame leaves nothing to the model that objects cover of each other."""
  before = {order(p) for p in range(position)} & set(given.frames)
  ids = frozenset[int]().union(*(given.object_ids(index) for index in before))
  is_whole = not given.adds_only(order(position), ids)
  return is_whole or segmenter.is_told_by_masks(len(ids))

"""Segments a video from its masks in both directions, stretch by stretch.

Before the first mask frames are segmented backwards, behind the last one forward. Between two masks
both runs pass, each with the mask it comes from as its reference frame, and their results are
merged (`inference.merging`). So a stretch depends on the masks at its ends, and on further ones
only for objects that these do not show.

Space: the results of both runs over the longest stretch lie in temporary files in the output
folder, and the frames of at most `backwards.CACHE_BYTES`.
"""

from collections.abc import Iterable, Iterator, Mapping
import itertools
from typing import TYPE_CHECKING

import numpy as np

from feelvos_tf.datasets import backwards
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets.video import Video
from feelvos_tf.inference import given_frames
from feelvos_tf.inference import merging
from feelvos_tf.inference.kept_references import MAX_REFERENCES
from feelvos_tf.inference.segmented_frame import SegmentedFrame
from feelvos_tf.runtime import background
from feelvos_tf.runtime import progress
from feelvos_tf.runtime.estimate import Estimate

if TYPE_CHECKING:
  from feelvos_tf.inference.given_masks import GivenMasks
  from feelvos_tf.inference.segmenter import VideoSegmenter
  from feelvos_tf.runtime.result_folder import Job
  from feelvos_tf.runtime.results import Results


def segment(
  segmenter: 'VideoSegmenter',
  video: Video,
  given: 'GivenMasks',
  job: 'Job',
  results: 'Results',
  known: Mapping[str, str],
) -> int:
  """Writes the masks of all frames.

  Args:
    segmenter: `VideoSegmenter`.
    video: `Video`.
    given: `GivenMasks`.
    job: `result_folder.Job`.
    results: `Results`, whose `write_mask` gets every frame.
    known: {name of a mask: hash of its frame} that are there; stretches of them are left out.

  Returns:
    Number of frames of the video.

  Raises:
    ValueError: a frame cannot be read, or there are fewer than masks ask for.
  """
  total, frames = video.num_frames, given.frames
  # Twice from the first mask to the last, once elsewhere.
  steps = None if total is None else total - 1 + frames[-1] - frames[0]
  with progress.Progress(total, 'frames', video.name, steps=steps) as bar:
    return _Run(segmenter, video, given, job, results, known, bar).segment()


class _Run:
  """One run; `_masks` are the given masks, completed where they only add objects."""

  def __init__(
    self,
    segmenter: 'VideoSegmenter',
    video: Video,
    given: 'GivenMasks',
    job: 'Job',
    results: 'Results',
    known: Mapping[str, str],
    bar: progress.Progress,
  ) -> None:
    self._segmenter, self._video, self._given, self._job = segmenter, video, given, job
    self._results, self._known, self._bar = results, known, bar
    self._masks: dict[int, np.ndarray] = {}
    self._predicted: dict[int, float] = {}  # Confidences where a mask was completed.
    self._estimate = Estimate(video, segmenter.options)

  def segment(self) -> int:
    with backwards.Tape(self._job.folder) as tape:
      self._read_given_frames(tape)
      frames = self._given.frames
      self._masks[frames[0]] = self._given.mask(frames[0])
      self._write_given(frames[0])
      for before, behind in itertools.pairwise(frames):
        self._between(before, behind)
      self._before_first(frames[0])
      return self._behind_last(frames[-1])

  def _read_given_frames(self, tape: backwards.Tape) -> None:
    """Puts the frames that have masks onto a tape."""
    wanted, self._tape, count = list(self._given.frames), tape, 0
    for index, frame in enumerate(self._video.frames()):
      count = index + 1
      if index == wanted[len(tape)]:
        tape.append(frame)
        if len(tape) == len(wanted):
          return
    self._video.check_has_mask_frame(wanted[len(tape)], count)

  def _frame(self, index: int) -> np.ndarray:
    return self._tape[self._given.frames.index(index)]

  def _others(self, end: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(frame, mask) of the nearest masks with objects that the mask of a frame does not show."""
    chosen: list[tuple[np.ndarray, np.ndarray]] = []
    covered = set(given_frames.ids_of(self._masks[end]))  # And background, which is no object.
    rest = [i for i in self._given.frames if i != end]
    for index in sorted(rest, key=lambda i: abs(i - end)):
      mask = self._masks.get(index)
      if mask is None and not self._adds_only(index):
        mask = self._given.ids(index)
      if mask is not None and len(chosen) < MAX_REFERENCES - 1 and set(np.unique(mask)) - covered:
        chosen.append((self._frame(index), mask))
        covered |= set(np.unique(mask))
    return chosen

  def _adds_only(self, index: int) -> bool:
    earlier = (self._given.object_ids(i) for i in self._given.frames if i < index)
    return self._given.adds_only(index, set().union(*earlier))

  def _start(self, end: int) -> None:
    self._segmenter.start(self._frame(end), self._masks[end], self._others(end))

  def _between(self, before: int, behind: int) -> None:
    adds, self._predicted = self._adds_only(behind), {}
    if not adds:
      self._masks[behind] = self._given.mask(behind)
    # A mask that is there lacks removed objects, which the run goes on following.
    is_whole = not (adds and self._given.gone(behind))
    if is_whole and self._is_known(before + 1, behind):
      self._masks[behind] = self._results.read_mask(self._video.frame_names[behind])
      self._bar.advance(behind - before, steps=2 * (behind - before))
      return
    if behind == before + 1 and not adds:
      self._bar.advance(0, steps=2)
      self._write_given(behind)
      return
    with backwards.Tape(self._job.folder) as there, backwards.Tape(self._job.folder) as back:
      self._start(before)
      met = self._see(self._forward(before + 1, behind), behind, there, adds)
      ids = self._segmenter.object_ids or ()
      self._start(behind)
      stretch = backwards.frames_backwards(self._video, before, behind - 1, self._job.folder)
      met_back = self._see(background.prefetch(stretch), before, back, counts=True)
      other_ids = self._segmenter.object_ids or ()
      opinions = lambda place: (
        merging.Opinion(ids, there[place]),
        merging.Opinion(other_ids, back[len(back) - 1 - place]),
      )
      between = [merging.agreement(*opinions(place)) for place in range(len(there))]
      trusts = merging.trusts([met_back, *between, met])
      for place, (index, frame) in enumerate(self._forward(before + 1, behind - 1)):
        share = (index - before) / (behind - before)
        result = merging.merge(frame.shape[:2], *opinions(place), share, trusts[place])
        self._write(index, frame, result, counts=False)
    self._write_given(behind)

  def _step(self, frame: np.ndarray) -> SegmentedFrame:
    result = self._segmenter.step(frame)
    self._bar.advance(0, steps=1)
    if line := self._estimate.frame_done(self._bar.steps_left):
      names_lib.tell(line)
    return result

  def _see(
    self,
    frames: Iterable[tuple[int, np.ndarray]],
    end: int,
    tape: backwards.Tape,
    adds: bool = False,
    counts: bool = False,
  ) -> dict[int, float]:
    """Puts what a run says of the frames of a gap onto a tape.

    Args:
      frames: (index, frame); the last one is `end`.
      end: index of the frame with the mask at the other end.
      tape: gets the logs of `merging.Opinion`.
      adds: that mask is completed by what the run predicts there.
      counts: the frames before count as done.

    Returns:
      `merging.arrival` at the other mask.
    """
    for index, frame in frames:
      result = self._step(frame)
      if index != end:
        tape.append(merging.opinion_of(result).logs)
        self._bar.advance(int(counts), steps=0)
    if adds:
      given = self._given.mask(end)
      self._masks[end] = np.where(given == 0, result.mask, given)
      self._predicted = dict(zip(result.object_ids, result.confidence))
      self._predicted |= dict.fromkeys(self._given.object_ids(end), 1.0)
    return merging.arrival(result.mask, self._masks[end], result.object_ids)

  def _before_first(self, first: int) -> None:
    if first == 0 or self._is_known(0, first - 1):
      self._bar.advance(first)
      return
    self._start(first)
    stretch = backwards.frames_backwards(self._video, 0, first - 1, self._job.folder)
    for index, frame in background.prefetch(stretch):
      self._write(index, frame, self._step(frame))

  def _behind_last(self, last: int) -> int:
    self._start(last)
    index, known = last, self._known_behind(last)
    for index, frame in self._forward(last + 1, None):
      if index > known:
        self._write(index, frame, self._step(frame))
        continue
      if index == known:
        self._segmenter.remember(frame, self._results.read_mask(self._video.frame_names[index]))
      self._bar.advance()
    return index + 1

  def _known_behind(self, last: int) -> int:
    """Index of the last frame behind the masks after which the run can go on; `last` if none."""
    end, index = self._video.num_frames, last
    while (end is None or index + 1 < end) and self._is_known(index + 1, index + 1):
      index += 1
    is_told = self._segmenter.is_told_by_masks(self._given.num_ids, goes_on=index + 1 != end)
    return index if is_told and not self._given.gone(index) else last

  def _forward(self, first: int, last: int | None) -> Iterator[tuple[int, np.ndarray]]:
    """(index, frame) from one frame to another; None: to the end."""
    count = None if last is None else max(0, last - first + 1)
    frames = itertools.islice(self._video.frames(first), count) if count != 0 else ()
    return background.prefetch(enumerate(frames, first))

  def _is_known(self, first: int, last: int) -> bool:
    names = (self._results.mask_name(self._video.frame_names[i]) for i in range(first, last + 1))
    return all(name in self._known for name in names)

  def _write_given(self, index: int) -> None:
    mask = self._masks[index]
    ids = tuple(sorted({*given_frames.ids_of(mask), *self._predicted}))
    sure = np.array([self._predicted.get(object_id, 1.0) for object_id in ids], np.float32)
    self._write(index, self._frame(index), SegmentedFrame(mask.copy(), ids, confidence=sure))

  def _write(
    self, index: int, frame: np.ndarray, result: SegmentedFrame, counts: bool = True
  ) -> None:
    self._given.show(result, index)
    self._results.write_mask(self._video.frame_names[index], frame, result)
    self._bar.advance(int(counts), steps=0)

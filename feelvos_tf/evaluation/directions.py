"""What two masks give the frames between them: forward, backward, and both merged.

The runs of both directions over a gap are made once and kept as a file; rules of merging
(`inference.merging`) are then scored without the model.
"""

from collections.abc import Sequence
import dataclasses
import io
import itertools
from typing import Any, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets.video import Video
from feelvos_tf.evaluation import measures
from feelvos_tf.evaluation import truth
from feelvos_tf.inference import merging
from feelvos_tf.inference.segmented_frame import to_full_probabilities

if TYPE_CHECKING:
  from feelvos_tf.inference.segmenter import VideoSegmenter


WAYS = ('forward', 'backward', 'both')


@dataclasses.dataclass(frozen=True)
class Gap:
  """The frames between two masks, as the runs from both of them see them.

  Attributes:
    before: index of the frame with the earlier mask.
    behind: index of the frame with the later mask.
    ids: object ids of both runs, background first.
    forward: float16 [frames, objects, h4, w4], logits of the frames before + 1 to behind.
    backward: the same of the frames before to behind - 1, in the order of time.
  """

  before: int
  behind: int
  ids: tuple[int, ...]
  forward: NDArray[np.float16]
  backward: NDArray[np.float16]


def ends(num_frames: int, every: int) -> list[tuple[int, int]]:
  """(before, behind) of the gaps of a video.

  Args:
    num_frames: of the video.
    every: frames from a mask to the next; 0: only the first and the last frame have one. A last
      gap of less than half of that is left out.
  """
  if not every:
    return [(0, num_frames - 1)]
  indices = [*range(0, num_frames, every)]
  if num_frames - 1 - indices[-1] >= every / 2:
    indices.append(num_frames - 1)
  return list(itertools.pairwise(indices))


def run(video: Video, segmenter: 'VideoSegmenter', before: int, behind: int) -> Gap:
  """Segments a gap from both of its ends, the frame at the other end included.

  Args:
    video: `Video` with masks on both frames.
    segmenter: `VideoSegmenter`.
    before: index of the frame with the earlier mask.
    behind: index of the frame with the later mask.

  Raises:
    ValueError: a frame or mask cannot be read, or both masks are empty.
  """
  frames = list(itertools.islice(video.frames(before), behind - before + 1))
  masks = [truth.to_give(video, index) for index in (before, behind)]
  ids = np.union1d(*masks).tolist()
  found = []
  for order in (frames, frames[::-1]):
    mask, other = masks if order is frames else masks[::-1]
    others = [(order[-1], other)] if set(ids) - {0, *np.unique(mask).tolist()} else []
    segmenter.start(order[0], mask, others)
    logits = [np.asarray(segmenter.step(f).stride4_logits, np.float16) for f in order[1:]]
    found.append(np.stack(logits))
  return Gap(before, behind, tuple(segmenter.object_ids or ()), found[0], found[1][::-1])


def to_bytes(gaps: Sequence[Gap], fingerprint: str) -> bytes:
  """A file of the gaps of a video, which `from_bytes` reads; `fingerprint` says what made them."""
  arrays: dict[str, Any] = {
    f'{i}_{field.name}': np.asarray(getattr(gap, field.name))
    for i, gap in enumerate(gaps)
    for field in dataclasses.fields(gap)
  }
  file = io.BytesIO()
  arrays['fingerprint'] = np.asarray(fingerprint)
  np.savez(file, **arrays)
  return file.getvalue()


def from_bytes(data: bytes, fingerprint: str) -> list[Gap] | None:
  """The gaps of a file of `to_bytes`; None if something else made it, or it is damaged."""
  try:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
      if str(arrays['fingerprint']) != fingerprint:
        return None
      count = sum(name.endswith('_ids') for name in arrays.files)
      return [
        Gap(
          int(arrays[f'{i}_before']),
          int(arrays[f'{i}_behind']),
          tuple(arrays[f'{i}_ids'].tolist()),
          arrays[f'{i}_forward'],
          arrays[f'{i}_backward'],
        )
        for i in range(count)
      ]
  except Exception:  # zipfile and NumPy raise a dozen kinds for what is damaged or no archive.
    return None


def score(video: Video, gap: Gap) -> NDArray[np.float64]:
  """J&F of every way on the frames between the masks, mean over objects.

  Args:
    video: `Video` with a mask on every frame.
    gap: `Gap` of it.

  Returns:
    float64 [WAYS, frames].

  Raises:
    ValueError: a mask cannot be read.
  """
  ends = [truth.to_give(video, index) for index in (gap.before, gap.behind)]
  ids = np.asarray(gap.ids, np.uint8)
  mask_of = lambda logits: ids[_full(logits, ends[0].shape).argmax(axis=0)]
  arrivals = (
    merging.arrival(mask_of(gap.forward[-1]), ends[1], gap.ids),
    merging.arrival(mask_of(gap.backward[0]), ends[0], gap.ids),
  )
  steps = gap.behind - gap.before
  opinions = [
    (
      merging.from_logits(gap.ids, gap.forward[place - 1]),
      merging.from_logits(gap.ids, gap.backward[place]),
    )
    for place in range(1, steps)
  ]
  between = [merging.agreement(*pair) for pair in opinions]
  trusts = merging.trusts([arrivals[1], *between, arrivals[0]])
  found = []
  for place, (pair, trust) in enumerate(zip(opinions, trusts), 1):
    both = merging.merge(ends[0].shape, *pair, place / steps, trust)
    logits = gap.forward[place - 1], gap.backward[place]
    predicted = [*map(mask_of, logits), both.mask]
    true = video.needed_mask(gap.before + place).ids
    found.append([np.mean(measures.score_frame(m, true, gap.ids[1:])) for m in predicted])
  return np.array(found, np.float64).T


def _full(logits: np.ndarray, size: tuple[int, ...]) -> NDArray[np.float32]:
  return to_full_probabilities(logits.astype(np.float32), size)

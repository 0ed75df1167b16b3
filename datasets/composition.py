"""Clips with several objects, composed of sequences with one object each: plans and frames.

A host sequence keeps its frames. Objects of other sequences (donors) are cut out, frame by frame in
their order, and pasted into the host's frames, in front of its object or behind it, with soft
outlines. The masks are exact. `composition_plan.plan_clip` decides what goes where.
"""

from collections.abc import Iterator
import dataclasses

import cv2
import numpy as np

from feelvos_tf.datasets.masks import VOID_ID
from feelvos_tf.datasets.video import Video

SHRINK = 4  # Plans are checked on masks of 1 / SHRINK of the size.
_SMOOTHING = 9  # Frames over which the centre of an object is averaged.
_EDGE = 1.0  # Standard deviation of the soft outline, pixels.


class Track:
  """A sequence with one object, and where the object is.

  Attributes:
    video: the `Video`.
    masks: bool [frames, height / SHRINK, width / SHRINK], the object.
    centers: float64 [frames, 2], (x, y) of the object in pixels, averaged over neighbouring frames.
    areas: int [frames], pixels of the object at the small size.
    touches: bool [frames], the object touches the border of the frame.
  """

  def __init__(self, video: Video) -> None:
    """Reads all masks of a video.

    Raises:
      ValueError: a frame has no mask, or no frame shows an object.
    """
    self.video = video
    if len(video.masked_frames) != video.num_frames:
      raise ValueError(
        f'{video.name}: {len(video.masked_frames)} masks for {video.num_frames} frames; a clip is '
        'composed of sequences with a mask on every frame.'
      )
    half = SHRINK // 2
    self.masks = np.stack(
      [
        object_of(video.needed_mask(i).ids)[half::SHRINK, half::SHRINK]
        for i in range(video.num_frames)
      ]
    )
    self.areas = self.masks.sum(axis=(1, 2))
    if not self.areas.any():
      raise ValueError(f'{video.name}: no mask shows an object; leave the sequence out.')
    border = self.masks.copy()
    border[:, 1:-1, 1:-1] = False
    self.touches = border.any(axis=(1, 2))
    self.centers = self._smooth_centers()

  def __len__(self) -> int:
    return len(self.masks)

  @property
  def size(self) -> float:
    """Median root of the object's area, pixels."""
    return float(np.sqrt(np.median(self.areas[self.areas > 0])) * SHRINK)

  def _smooth_centers(self) -> np.ndarray:
    seen = np.flatnonzero(self.areas)
    centers = np.array([np.argwhere(self.masks[i]).mean(axis=0)[::-1] for i in seen])
    centers = (centers + 0.5) * SHRINK - 0.5
    every = np.arange(len(self))
    centers = np.stack([np.interp(every, seen, column) for column in centers.T], axis=1)
    padded = np.pad(centers, ((_SMOOTHING // 2, _SMOOTHING // 2), (0, 0)), mode='edge')
    window = np.ones(_SMOOTHING) / _SMOOTHING
    return np.stack([np.convolve(column, window, 'valid') for column in padded.T], axis=1)


@dataclasses.dataclass(frozen=True)
class Layer:
  """One pasted object.

  Attributes:
    track: the donor.
    kind: one of KINDS: of another sequence, the host's own, or a donor's second copy.
    indices: int [frames], the donor's frame for every frame of the clip.
    scale: float, size relative to the donor's frames.
    mirrored: bool, left and right exchanged.
    centers: float64 [frames, 2], where the object's centre is in the clip, (x, y) in pixels.
    in_front: bool [frames], whether it is in front of the host's object.
    leaves: bool, its path leads out of the picture and back.
  """

  track: Track
  kind: str
  indices: np.ndarray
  scale: float
  mirrored: bool
  centers: np.ndarray
  in_front: np.ndarray
  leaves: bool

  def matrix(self, t: int, shrink: int = 1) -> np.ndarray:
    """Affine matrix float64 [2, 3] from pixels of the donor to pixels of the clip's frame t."""
    linear = np.diag([-self.scale if self.mirrored else self.scale, self.scale])
    # Pixel centres: full = (small + 0.5) * shrink - 0.5.
    source = (self.track.centers[self.indices[t]] + 0.5) / shrink - 0.5
    target = (self.centers[t] + 0.5) / shrink - 0.5
    return np.c_[linear, target - linear @ source]

  def small_masks(self, num_frames: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """What the object covers in a clip, at 1 / SHRINK of the size.

    Args:
      num_frames: int, frames of the clip.
      size: (height, width) of the host's small masks; the donor's frames may have another one.

    Returns:
      (bool [frames, *size], float64 [frames], area of the whole object there, also of what is
      outside of the picture).
    """
    masks = self.track.masks
    found = [
      cv2.warpAffine(
        masks[self.indices[t]].astype(np.uint8),
        self.matrix(t, SHRINK),
        size[::-1],
        flags=cv2.INTER_NEAREST,
      )
      for t in range(num_frames)
    ]
    return np.stack(found) > 0, self.track.areas[self.indices[:num_frames]] * self.scale**2


@dataclasses.dataclass(frozen=True)
class ClipPlan:
  """A clip to compose.

  Attributes:
    name: str.
    host: `Track`.
    layers: tuple of `Layer`; layer i has the object id i + 2, the host's object is 1.
    num_frames: int.
    visible: float64 [objects, frames], visible part of each object's whole area; 1 is all of it.
    overlap: float64 [objects], largest overlap with another object, relative to the smaller one.
  """

  name: str
  host: Track
  layers: tuple[Layer, ...]
  num_frames: int
  visible: np.ndarray
  overlap: np.ndarray

  def describe(self) -> dict:
    """What the clip is made of, JSON-ready."""
    objects = [{'id': 1, 'sequence': self.host.video.name, 'kind': 'host'}]
    for number, layer in enumerate(self.layers, 2):
      objects.append(
        {
          'id': number,
          'sequence': layer.track.video.name,
          'kind': layer.kind,
          'mirrored': layer.mirrored,
          'scale': round(layer.scale, 4),
          'leaves': layer.leaves,
          'frames_in_front': int(layer.in_front.sum()),
        }
      )
    for entry, visible, overlap in zip(objects, self.visible, self.overlap, strict=True):
      entry['frames_visible'] = int((visible > 0.01).sum())
      entry['least_visible'] = round(float(visible.min()), 3)
      entry['largest_overlap'] = round(float(overlap), 3)
    return {'name': self.name, 'frames': self.num_frames, 'objects': objects}


def compose(plan: ClipPlan) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Makes the frames of a plan, one at a time.

  Yields:
    (uint8 [height, width, 3] RGB, uint8 [height, width] object ids, 255 for void) for every frame.
  """
  host = plan.host.video
  for t, frame in zip(range(plan.num_frames), host.frames(), strict=False):
    given = host.needed_mask(t).ids
    own = object_of(given)
    image, ids = frame.astype(np.float32), np.where(given == VOID_ID, VOID_ID, 0).astype(np.uint8)
    behind = [i for i, layer in enumerate(plan.layers) if not layer.in_front[t]]
    front = [i for i, layer in enumerate(plan.layers) if layer.in_front[t]]
    for i in behind:
      _paste(image, ids, *_cut_out(plan.layers[i], t, own.shape), i + 2)
    _paste(image, ids, frame, own.astype(np.float32), 1)
    for i in front:
      _paste(image, ids, *_cut_out(plan.layers[i], t, own.shape), i + 2)
    yield np.rint(image).astype(np.uint8), ids


def object_of(ids: np.ndarray) -> np.ndarray:
  """Where any object is, bool [height, width]: ids that are neither background nor void."""
  return (ids != 0) & (ids != VOID_ID)


def _cut_out(layer: Layer, t: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
  """(colours uint8 [*shape, 3], weight float32 [*shape]) of a pasted object."""
  size = shape[::-1]
  index = int(layer.indices[t])
  weight = object_of(layer.track.video.needed_mask(index).ids).astype(np.float32)
  matrix = layer.matrix(t)
  colours = layer.track.video.frame(index)
  if layer.scale < 0.7:
    # Less detail before it is sampled, or it flickers.
    sigma = 0.4 / layer.scale
    colours = cv2.GaussianBlur(colours, (0, 0), sigma)
    weight = np.asarray(cv2.GaussianBlur(weight, (0, 0), sigma), np.float32)
  colours = cv2.warpAffine(
    colours, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
  )
  return colours, cv2.warpAffine(weight, matrix, size, flags=cv2.INTER_LINEAR)


def _paste(
  image: np.ndarray, ids: np.ndarray, colours: np.ndarray, weight: np.ndarray, object_id: int
) -> None:
  """Puts an object over `image` (float32) and `ids`, in place, with a soft outline."""
  weight = np.clip(cv2.GaussianBlur(weight, (0, 0), _EDGE), 0.0, 1.0)
  image += weight[..., np.newaxis] * (colours - image)
  ids[weight > 0.5] = object_id

"""Decides what composed clips are made of: objects, paths, who is in front.

Pasted objects move on paths that pass the host's object. Some leave the picture and come back. In
some clips two objects look the same: the host's object, mirrored, is pasted once more, or a donor's
object is pasted twice. A plan is drawn until it keeps the limits of the options, which are checked
on masks at 1 / SHRINK of the size.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from feelvos_tf.datasets.composition import ClipPlan
from feelvos_tf.datasets.composition import Layer
from feelvos_tf.datasets.composition import SHRINK
from feelvos_tf.datasets.composition import Track

KINDS = ('other', 'mirror', 'twin')
ATTEMPTS = 300  # For one host.
_MOST_HOSTS = 3  # Sequences that are tried as the host of one clip.
_SAME_STRUCTURE = 60  # Attempts with the same number of objects, before another is drawn.
_FEWEST_PIXELS = 400  # Visible pixels of every object on the first frame.


@dataclasses.dataclass(frozen=True)
class CompositionOptions:
  """What is composed.

  Raises:
    ValueError: a value that cannot be.
  """

  # Frames of a clip, at most; the host may have fewer.
  frames: int = 60
  # Fewest and most objects of a clip, the host's included.
  objects: tuple[int, int] = (2, 4)
  # Share of the clips in which two objects look the same.
  same_look: float = 0.5
  # Probability that a pasted object leaves the picture and comes back.
  leave: float = 0.35
  # Size (root of the area) of a pasted object, relative to the host's: from, to.
  size: tuple[float, float] = (0.5, 1.0)
  # The same, limits relative to the root of the frame's area.
  size_limits: tuple[float, float] = (0.1, 0.35)
  # Largest step of a pasted object between two frames, relative to the shorter side.
  max_step: float = 0.08
  # Part of a pasted object that is visible on the first frame, at least.
  min_visible: float = 0.6
  # Part of the smaller of two objects that overlap once, at least.
  min_overlap: float = 0.25

  def __post_init__(self) -> None:
    fewest, most = self.objects
    if not 2 <= fewest <= most <= 8:
      raise ValueError(f'objects is {fewest} to {most}; expected 2 to 8, the smaller number first.')
    if self.frames < 8:
      raise ValueError(f'frames is {self.frames}; expected at least 8.')
    for name in ('same_look', 'leave', 'min_visible', 'min_overlap'):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(f'{name} is {getattr(self, name)}; expected 0 to 1.')


def plan_clip(
  tracks: list[Track], index: int, options: CompositionOptions = CompositionOptions(), seed: int = 0
) -> ClipPlan:
  """Decides what clip `index` is made of; a function of its arguments alone.

  Args:
    tracks: sequences with one object; every one is host before one is host again, unless no
      arrangement around it is found: then the next one in order is the host.
    index: int, number of the clip.
    options: `CompositionOptions`.
    seed: int.

  Returns:
    `ClipPlan`.

  Raises:
    ValueError: too few sequences, or no arrangement found that keeps the limits.
  """
  most = options.objects[1]
  needed = max(2, most if options.same_look < 1 else most - 1)
  if len(tracks) < needed:
    raise ValueError(
      f'{len(tracks)} sequences given; expected at least {needed} to compose clips of up to {most} '
      'objects.'
    )
  order = np.random.default_rng([seed, index // len(tracks)]).permutation(len(tracks))
  same_look = int((index + 1) * options.same_look) > int(index * options.same_look)
  turns = range(index, index + min(_MOST_HOSTS, len(tracks)))
  hosts = [tracks[order[turn % len(tracks)]] for turn in turns]
  for host in hosts:
    for attempt in range(ATTEMPTS):
      drawn_by = np.random.default_rng([seed, index, attempt // _SAME_STRUCTURE])
      structure = _Structure.draw(drawn_by, same_look, options)
      rng = np.random.default_rng([seed, index, _SAME_STRUCTURE + attempt])
      plan = _draw(rng, tracks, host, index, structure, options)
      if _is_good(plan, options):
        return plan
  names = ', '.join(host.video.name for host in hosts)
  raise ValueError(
    f'clip {index}: around each of {names} {ATTEMPTS} arrangements of other objects were tried, '
    'and none keeps the limits; allow fewer objects or other sequences.'
  )


@dataclasses.dataclass(frozen=True)
class _Structure:
  """What several attempts to place objects have in common."""

  count: int  # Pasted objects.
  look: str  # One of KINDS: which object looks like another one, 'other' for none.
  leaves: tuple[bool, ...]

  @classmethod
  def draw(
    cls, rng: np.random.Generator, same_look: bool, options: CompositionOptions
  ) -> '_Structure':
    """Draws the structure of a clip."""
    count = int(rng.integers(options.objects[0], options.objects[1] + 1)) - 1
    twin = count > 1 and bool(rng.random() < 0.5)
    look = ('twin' if twin else 'mirror') if same_look else 'other'
    return cls(count, look, tuple(bool(x) for x in rng.random(count) < options.leave))


def _draw(
  rng: np.random.Generator,
  tracks: list[Track],
  host: Track,
  index: int,
  structure: _Structure,
  options: CompositionOptions,
) -> ClipPlan:
  """A `ClipPlan` that may break the limits."""
  num_frames = min(options.frames, len(host))
  others = [track for track in tracks if track is not host]
  distinct = structure.count - (structure.look != 'other')
  chosen = [(others[i], 'other') for i in rng.permutation(len(others))[:distinct]]
  if structure.look == 'twin':
    chosen.append((chosen[0][0], 'twin'))
  elif structure.look == 'mirror':
    chosen.insert(0, (host, 'mirror'))
  layers = tuple(
    _draw_layer(rng, host, donor, kind, num_frames, leaves, options)
    for (donor, kind), leaves in zip(chosen, structure.leaves, strict=True)
  )
  names = '_'.join([host.video.name, *(layer.track.video.name for layer in layers)])
  visible, overlap = _measure(host, layers, num_frames)
  return ClipPlan(f'{index:02d}_{names}', host, layers, num_frames, visible, overlap)


def _draw_layer(
  rng: np.random.Generator,
  host: Track,
  donor: Track,
  kind: str,
  num_frames: int,
  leaves: bool,
  options: CompositionOptions,
) -> Layer:
  height, width = host.video.frame_size
  low, high = np.array(options.size_limits) * np.sqrt(height * width)
  wanted = np.clip(host.size * rng.uniform(*options.size), low, high)
  scale = float(wanted / donor.size)
  indices = _donor_frames(rng, donor, num_frames)
  half_widths = 0.5 * scale * _median_width(donor), 0.5 * _median_width(host)
  centers, in_front = _path(rng, host.centers[:num_frames], (height, width), half_widths, leaves)
  mirrored = kind == 'mirror' or bool(rng.random() < 0.5)
  return Layer(donor, kind, indices, scale, mirrored, centers, in_front, leaves)


def _median_width(track: Track) -> float:
  columns = track.masks.any(axis=1)
  return SHRINK * float(np.median(columns.sum(axis=1)[track.areas > 0]))


def _donor_frames(rng: np.random.Generator, donor: Track, num_frames: int) -> np.ndarray:
  """Frames in order, back and forth if there are too few; the start whose object is cut least."""
  period = np.concatenate([np.arange(len(donor)), np.arange(len(donor) - 2, 0, -1)])
  slack = max(len(donor) - num_frames, 0)
  starts = rng.integers(0, slack + 1, size=4)
  runs = [np.resize(np.roll(period, -start), num_frames) for start in starts]
  return min(runs, key=lambda run: donor.touches[run].mean() + (donor.areas[run] == 0).mean())


def _path(
  rng: np.random.Generator,
  centers: np.ndarray,
  size: tuple[int, int],
  half_widths: tuple[float, float],
  leaves: bool,
) -> tuple[np.ndarray, np.ndarray]:
  """Centres [frames, 2] of a pasted object, and whether it is in front [frames].

  The path leads from one side of the host's object to the other one, and maybe back. A path that
  leaves the picture does so on the near side before, or on the far side in between.
  """
  height, width = size
  own, num_frames = half_widths[0], len(centers)
  side = 1 if rng.random() < 0.5 else -1
  rooms = {1: width - centers[0, 0], -1: centers[0, 0]}
  if rooms[side] < 0.7 * rooms[-side]:
    side = -side
  near = max(rooms[side] - own, 0.0) * rng.uniform(0.7, 1.0)
  far = max(rooms[-side] - own, 0.0) * rng.uniform(0.4, 0.9)
  if leaves and rng.random() < 0.5:
    stations = [near, rooms[side] + 1.5 * own, near, -far]
  elif leaves:
    stations = [near, -rooms[-side] - 1.5 * own, near]
  else:
    stations = [near, -far] if rng.random() < 0.5 else [near, -far, near]
  along, passed = _travel(np.array(stations), num_frames)
  # It changes sides, front and back, only next to the host's object.
  changes = len(stations) == 3 and -stations[1] > sum(half_widths)
  in_front = np.full(num_frames, bool(rng.random() < 0.5)) ^ (changes & (passed >= 1))
  across = np.sin(np.linspace(0, np.pi, num_frames))
  across = height * (rng.uniform(-0.12, 0.12) + rng.uniform(-0.12, 0.12) * across)
  return centers + np.stack([side * along, across], axis=1), in_front


def _travel(stations: np.ndarray, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
  """Places [frames] on a way through the stations, slow near them; stations passed [frames]."""
  times = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(stations)) + 1.0)])
  now = np.linspace(0.0, times[-1], num_frames)
  passed = np.clip(np.searchsorted(times, now, side='right') - 1, 0, len(stations) - 2)
  part = (now - times[passed]) / np.diff(times)[passed]
  eased = 0.5 - 0.5 * np.cos(np.pi * part)
  return stations[passed] + eased * np.diff(stations)[passed], passed


def _measure(
  host: Track, layers: Sequence[Layer], num_frames: int
) -> tuple[np.ndarray, np.ndarray]:
  """(visible part [objects, frames], largest overlap [objects]); see `ClipPlan`."""
  pieces = [(host.masks[:num_frames], host.areas[:num_frames].astype(np.float64))]
  pieces += [layer.small_masks(num_frames, host.masks.shape[1:]) for layer in layers]
  ids = np.zeros((num_frames, *host.masks.shape[1:]), np.int32)
  in_front = np.array([layer.in_front for layer in layers])
  for front in (False, None, True):
    for i, (mask, _) in enumerate(pieces):
      if (front is None) == (i == 0):
        there = np.ones(num_frames, bool) if i == 0 else in_front[i - 1] == front
        ids[mask & there[:, np.newaxis, np.newaxis]] = i + 1
  visible = np.stack(
    [(ids == i + 1).sum(axis=(1, 2)) / np.maximum(whole, 1) for i, (_, whole) in enumerate(pieces)]
  )
  overlap = np.zeros(len(pieces))
  for i, (mine, my_area) in enumerate(pieces):
    for theirs, their_area in pieces[:i] + pieces[i + 1 :]:
      both = (mine & theirs).sum(axis=(1, 2)) / np.maximum(np.minimum(my_area, their_area), 1)
      overlap[i] = max(overlap[i], both.max())
  return visible, overlap


def _is_good(plan: ClipPlan, options: CompositionOptions) -> bool:
  """Whether a plan keeps the limits of the options."""
  fewest = _FEWEST_PIXELS / SHRINK**2
  if plan.visible[0, 0] < options.min_visible or plan.overlap.min() < options.min_overlap:
    return False
  limit = options.max_step * min(plan.host.video.frame_size)
  for layer, visible in zip(plan.layers, plan.visible[1:], strict=True):
    own = np.diff(plan.host.centers[: plan.num_frames], axis=0)
    steps = np.linalg.norm(np.diff(layer.centers, axis=0) - own, axis=1)
    area = layer.track.areas[layer.indices[0]] * layer.scale**2
    out = visible < 0.01
    if (
      visible[0] < options.min_visible
      or visible[0] * area < fewest
      or steps.max() > limit
      or out.mean() > 0.5
      or (layer.leaves and (out.sum() < 3 or visible[-1] < 0.2))
    ):
      return False
  return True

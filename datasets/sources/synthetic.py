"""Made-up videos: textured shapes that move, turn and hide each other, the same for every seed.

For tests, benchmarks and trying things out without a download. Object ids have gaps on purpose.
"""

from collections.abc import Iterator, Sequence
import functools
from typing import Any

import cv2
import numpy as np

from feelvos_tf.datasets.masks import DAVIS_PALETTE
from feelvos_tf.datasets.masks import Mask
from feelvos_tf.datasets.sources.last_frame import LastFrame
from feelvos_tf.datasets.video import NumberedNames
from feelvos_tf.datasets.video import Video
from feelvos_tf.datasets.video import VideoSource

_ID_STEP = 3  # Ids 1, 4, 7, ...: whoever takes an id for an index is found out.
MAX_OBJECTS = 254 // _ID_STEP


class SyntheticVideo(Video):
  """A video that is drawn frame by frame when asked; every frame has a mask."""

  num_frames: int

  def __init__(
    self,
    seed: int,
    num_frames: int = 12,
    frame_size: tuple[int, int] = (120, 214),
    num_objects: int = 2,
    name: str | None = None,
  ) -> None:
    """Args: seed, 0 or more; frames; (height, width), 16 or more each; objects 1..84; name.

    Raises:
      ValueError: a number is out of its range.
    """
    if seed < 0 or num_frames < 1 or min(frame_size) < 16 or not 1 <= num_objects <= MAX_OBJECTS:
      raise ValueError(
        f'seed {seed}, num_frames {num_frames}, frame_size {tuple(frame_size)}, '
        f'num_objects {num_objects} given, expected 0 or more, 1 or more, 16x16 or '
        f'more, 1..{MAX_OBJECTS}'
      )
    self.name = name or f'synthetic_{seed:05d}'
    self.num_frames, self.fps = num_frames, 24.0
    self.frame_size = (frame_size[0], frame_size[1])
    self.frame_names = NumberedNames(num_frames)
    self.masked_frames = tuple(range(num_frames))
    self._seed, self._num_objects = seed, num_objects
    self._last_frame = LastFrame()

  def frame(self, index: int) -> np.ndarray:
    return self._last_frame.get(index, self._draw)[0].copy()

  def frames(self, start: int = 0) -> Iterator[np.ndarray]:
    for index in range(start, self.num_frames):
      yield self.frame(index)

  def mask(self, index: int) -> Mask:
    return Mask(self._last_frame.get(index, self._draw)[1].copy(), DAVIS_PALETTE)

  @functools.cached_property
  def _scene(self) -> tuple[np.ndarray, list[dict[str, Any]], np.ndarray]:
    """(background texture, objects); each object: texture, outline, start, speed, turn, phase."""
    rng = np.random.default_rng([self._seed, 20190225])
    height, width = self.frame_size
    background = _texture(rng, height + 2 * height // 4, width + 2 * width // 4, contrast=70)
    objects = []
    for _ in range(self._num_objects):
      corners = int(rng.integers(3, 9))
      angles = (
        np.sort(rng.uniform(0, 2 * np.pi, corners))
        if rng.random() < 0.5
        else (np.arange(corners) * 2 * np.pi / corners)
      )
      radius = min(height, width) * rng.uniform(0.12, 0.22)
      radii = radius * rng.uniform(0.7, 1.3, corners)
      objects.append(
        {
          'texture': _texture(rng, height, width, contrast=120),
          'outline': np.stack([np.cos(angles) * radii, np.sin(angles) * radii], -1),
          'start': rng.uniform(0.25, 0.75, 2) * (width, height),
          'speed': rng.normal(0, 0.012, 2) * (width, height),
          'turn': rng.normal(0, 0.06),
          'pulse': rng.uniform(0, 0.2),
          'phase': rng.uniform(0, 2 * np.pi),
        }
      )
    return background, objects, rng.uniform(-1, 1, 2)

  def _draw(self, index: int) -> tuple[np.ndarray, np.ndarray]:
    """(image uint8 [height, width, 3], ids uint8 [height, width]) of a frame."""
    if not 0 <= index < self.num_frames:
      raise IndexError(f'{self.name}: no frame {index}, expected 0..{self.num_frames - 1}')
    height, width = self.frame_size
    background, objects, pan = self._scene
    # A slow sway of the camera that never leaves the background.
    shift = np.sin(index * 0.05) * pan * (height // 4, width // 4)
    top, left = np.round(shift).astype(int) + (height // 4, width // 4)
    image = background[top : top + height, left : left + width].copy()
    ids = np.zeros((height, width), np.uint8)
    for number, item in enumerate(objects):
      centre = _bounce(item['start'] + index * item['speed'], (width, height))
      angle = item['turn'] * index + item['phase']
      turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
      scale = 1 + item['pulse'] * np.sin(0.3 * index + item['phase'])
      outline = np.round(item['outline'] @ turn.T * scale + centre).astype(np.int32)
      shape = np.zeros((height, width), np.uint8)
      cv2.fillPoly(shape, [cv2.convexHull(outline)], 1)
      offset = np.round(centre - item['start']).astype(int)
      texture = np.roll(item['texture'], (offset[1], offset[0]), (0, 1))
      image[shape > 0] = texture[shape > 0]
      ids[shape > 0] = 1 + _ID_STEP * number
    return image, ids


def synthetic_videos(num_videos: int, seed: int = 0, **options: Any) -> list[Video]:
  """`num_videos` different videos with seeds from `seed` on; options as for SyntheticVideo."""
  return [s.opener() for s in synthetic_sources(num_videos, seed, **options)]


def synthetic_sources(num_videos: int, seed: int = 0, **options: Any) -> list[VideoSource]:
  """`synthetic_videos` before anything is drawn; raises ValueError if `num_videos` is below 1."""
  if num_videos < 1:
    raise ValueError(f'num_videos: {num_videos} given, expected at least 1')
  return [
    VideoSource(f'synthetic_{s:05d}', functools.partial(SyntheticVideo, s, **options))
    for s in range(seed, seed + num_videos)
  ]


def _texture(rng: np.random.Generator, height: int, width: int, contrast: float) -> np.ndarray:
  """Smooth coloured noise of two scales around a random colour: uint8 [height, width, 3]."""
  base = rng.uniform(60, 195, 3)
  result = np.zeros((height, width, 3), np.float32)
  for cells, weight in ((6, 0.6), (24, 0.4)):
    noise = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
    result += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
  return np.clip(base + contrast * result, 0, 255).astype(np.uint8)


def _bounce(point: np.ndarray, size: Sequence[float]) -> np.ndarray:
  """Reflects a point (x, y) at the edges of the frame."""
  far = np.asarray(size, np.float64)
  return far - np.abs(np.mod(point, 2 * far) - far)

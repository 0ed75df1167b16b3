"""Still images with masks as pseudo videos: the data on which such models are pre-trained.

The scene and every object in it move on their own by smooth paths of affine and thin-plate
transforms. Where an object was, the background is filled in from around it. Paper: "Video Object
Segmentation using Space-Time Memory Networks" pre-trains on stills by random affine transforms;
the thin-plate part follows "Lucid Data Dreaming".

Layout: `<root>/images/<name>.jpg` with `<root>/masks/<name>.png`, or the same below
`<root>/<split>/`.
"""

from collections.abc import Iterator
import dataclasses
import functools
import os
import pathlib
import zlib

import cv2
import numpy as np

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets.masks import list_masks
from feelvos_tf.datasets.masks import Mask
from feelvos_tf.datasets.masks import read_mask
from feelvos_tf.datasets.masks import VOID_ID
from feelvos_tf.datasets.names import paired
from feelvos_tf.datasets.sources.last_frame import LastFrame
from feelvos_tf.datasets.video import list_images
from feelvos_tf.datasets.video import NumberedNames
from feelvos_tf.datasets.video import read_image
from feelvos_tf.datasets.video import Video
from feelvos_tf.datasets.video import VideoSource


@dataclasses.dataclass(frozen=True)
class MotionOptions:
  """How far things have moved at the end of a pseudo video.

  Raises:
    ValueError: a field is negative.
  """

  rotation: float = 15.0  # Degrees.
  scale: float = 0.15  # Relative change.
  shear: float = 0.08
  shift: float = 0.12  # Of the size of the frame.
  bend: float = 0.05  # Of the size of the frame: thin-plate shifts of a grid of control points.
  scene: float = 0.3  # Share of all this that the whole scene moves by.

  def __post_init__(self) -> None:
    negative = [f.name for f in dataclasses.fields(self) if getattr(self, f.name) < 0]
    if negative:
      raise ValueError(f'{negative[0]}: {getattr(self, negative[0])} given, expected 0 or more')


_GRID = 4  # Control points in a row and in a column.
_FIELD_STEP = 8  # A thin-plate field is smooth: it is evaluated on every eighth pixel.


class StillVideo(Video):
  """A pseudo video out of one image and its mask; frame 0 is the still itself."""

  num_frames: int

  def __init__(
    self,
    name: str,
    image: np.ndarray,
    mask: Mask,
    num_frames: int = 8,
    seed: int = 0,
    motion: MotionOptions = MotionOptions(),
  ) -> None:
    """Takes the still.

    Args:
      name: name of the video; the motion depends on it and on the seed.
      image: uint8 [height, width, 3] RGB.
      mask: Mask of the same size.
      num_frames: frames, 1 or more.
      seed: 0 or more.
      motion: MotionOptions.

    Raises:
      ValueError: no frames, or a mask of another size.
    """
    if num_frames < 1 or seed < 0:
      raise ValueError(
        f'{name}: num_frames {num_frames}, seed {seed} given, expected 1 or more and 0 or more'
      )
    self.name, self.num_frames, self.frame_size = name, num_frames, image.shape[:2]
    self.frame_names = NumberedNames(num_frames)
    self.masked_frames = tuple(range(num_frames))
    self._image, self._mask = image, self.check_mask_size(mask, name)
    self._seed, self._motion = seed, motion
    self._last_frame = LastFrame()

  def frame(self, index: int) -> np.ndarray:
    return self._draw(index)[0]

  def frames(self, start: int = 0) -> Iterator[np.ndarray]:
    for index in range(start, self.num_frames):
      yield self.frame(index)

  def mask(self, index: int) -> Mask:
    return Mask(self._draw(index)[1], self._mask.palette)

  @functools.cached_property
  def _plan(self) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """(background, random end points of the scene and of each object)."""
    name = self.name.encode(errors='surrogateescape')
    rng = np.random.default_rng([self._seed, zlib.crc32(name)])
    ends = [_random_motion(rng, self._motion) for _ in range(1 + len(self._mask.object_ids))]
    return _fill_objects(self._image, self._mask.ids), ends

  def _draw(self, index: int) -> tuple[np.ndarray, np.ndarray]:
    """(image, ids) of a frame; kept for the second of `frame` and `mask`."""
    if not 0 <= index < self.num_frames:
      raise IndexError(f'{self.name}: no frame {index}, expected 0..{self.num_frames - 1}')
    if index == 0:
      return self._image.copy(), self._mask.ids.copy()
    image, ids = self._last_frame.get(index, self._render)
    return image.copy(), ids.copy()

  def _render(self, index: int) -> tuple[np.ndarray, np.ndarray]:
    background, ends = self._plan
    progress = index / max(1, self.num_frames - 1)
    scene = _field(self.frame_size, ends[0], progress * self._motion.scene)
    image = _remap(background, scene, cv2.INTER_LINEAR)
    # Void stays where the scene carries it.
    void = (self._mask.ids == VOID_ID).astype(np.uint8) * VOID_ID
    ids = _remap(void, scene, cv2.INTER_NEAREST)
    for object_id, end in zip(self._mask.object_ids, ends[1:], strict=True):
      shape = (self._mask.ids == object_id).astype(np.float32)
      field = scene + _field(self.frame_size, end, progress, _centre(shape))
      moved = _remap(shape, field, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
      colours = _remap(self._image, field, cv2.INTER_LINEAR)
      weight = moved[..., None]
      image = np.round(image * (1 - weight) + colours * weight).astype(np.uint8)
      ids[moved >= 0.5] = object_id
    return image, ids


def static_image_sources(
  root: str | os.PathLike,
  split: str = 'train',
  num_frames: int = 8,
  seed: int = 0,
  motion: MotionOptions = MotionOptions(),
) -> list[VideoSource]:
  """One pseudo video for each image of a folder.

  Args:
    root: folder with `images` and `masks`, or with `<split>/images` and `<split>/masks`.
    split: name of the split; without a folder of that name, all of `root`.
    num_frames: frames of a pseudo video.
    seed: of the motion.
    motion: MotionOptions.

  Returns:
    A list of VideoSource in natural order of the images.

  Raises:
    FileNotFoundError: no such folders.
    ValueError: no images.
  """
  root = pathlib.Path(root)
  base = root / split if (root / split).is_dir() else root
  if not (base / 'images').is_dir() or not (base / 'masks').is_dir():
    raise FileNotFoundError(
      f'{base}: no folders images and masks; expected images/<name>.jpg with masks/<name>.png'
    )
  images = list_images(base / 'images')
  if not images:
    raise ValueError(f'{base / "images"}: an empty split given, expected images')
  masks = list_masks(base / 'masks')
  files = paired((path.stem for path in images), masks)
  used = set(files.values())
  if lost := [path for path in masks.values() if path not in used]:
    data_warning.warn(
      f'{lost[0]}: left out, as images has no picture of this name ({len(lost)} such masks)'
    )
  pairs = [(path, files.get(path.stem, base / 'masks' / f'{path.stem}.png')) for path in images]
  return [
    VideoSource(
      image.stem,
      functools.partial(_open_still, image, mask, num_frames, seed, motion),
      files=(image, mask),
    )
    for image, mask in pairs
  ]


def _open_still(
  image_path: pathlib.Path,
  mask_path: pathlib.Path,
  num_frames: int,
  seed: int,
  motion: MotionOptions,
) -> StillVideo:
  return StillVideo(
    image_path.stem,
    read_image(image_path),
    read_mask(mask_path, require_object=True),
    num_frames,
    seed,
    motion,
  )


def _random_motion(
  rng: np.random.Generator, options: MotionOptions
) -> tuple[np.ndarray, np.ndarray]:
  """Where a thing ends: (affine part [2, 3] of x - centre, thin-plate shifts [16, 2])."""
  angle = np.deg2rad(options.rotation) * rng.uniform(-1, 1)
  scale = 1 + options.scale * rng.uniform(-1, 1)
  shear = options.shear * rng.uniform(-1, 1)
  linear = scale * np.array(
    [[np.cos(angle), -np.sin(angle) + shear], [np.sin(angle), np.cos(angle)]]
  ) - np.eye(2)
  shift = options.shift * rng.uniform(-1, 1, (2, 1))
  bends = options.bend * rng.uniform(-1, 1, (_GRID * _GRID, 2))
  return np.concatenate([linear, shift], 1), bends


def _field(
  size: tuple[int, int],
  motion: tuple[np.ndarray, np.ndarray],
  progress: float,
  centre: tuple[float, float] = (0.5, 0.5),
) -> np.ndarray:
  """Displacements float32 [height, width, 2] (x, y) in pixels: where a pixel's content is from."""
  height, width = size
  rows, columns = -(-height // _FIELD_STEP) + 1, -(-width // _FIELD_STEP) + 1
  y, x = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing='ij')
  points = np.stack([x.ravel(), y.ravel()], -1)
  affine, bends = motion
  aspect = np.array([width, height], np.float64)
  # Rotation and shear act on pixels, not on the unit square.
  local = (points - centre) * aspect
  moved = (local @ affine[:, :2].T) / aspect + affine[:, 2]
  moved = progress * (moved + _thin_plate(points, bends))
  coarse = (moved * aspect).reshape(rows, columns, 2).astype(np.float32)
  # Nodes sit on the corners of the frame: a size with align_corners, done by remap.
  grid_x, grid_y = np.meshgrid(
    np.linspace(0, columns - 1, width, dtype=np.float32),
    np.linspace(0, rows - 1, height, dtype=np.float32),
  )
  return cv2.remap(coarse, grid_x, grid_y, cv2.INTER_LINEAR)


@functools.cache
def _thin_plate_solver() -> tuple[np.ndarray, np.ndarray]:
  """(control points [16, 2], inverse [19, 19] of the thin-plate system)."""
  axis = np.linspace(0, 1, _GRID)
  controls = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
  count = len(controls)
  system = np.zeros((count + 3, count + 3))
  system[:count, :count] = _thin_plate_kernel(controls, controls)
  system[:count, count:] = np.c_[np.ones(count), controls]
  system[count:, :count] = system[:count, count:].T
  return controls, np.linalg.inv(system)


def _thin_plate_kernel(points: np.ndarray, controls: np.ndarray) -> np.ndarray:
  squares = ((points[:, None] - controls[None]) ** 2).sum(-1)
  return squares * np.log(np.maximum(squares, 1e-12))


def _thin_plate(points: np.ndarray, shifts: np.ndarray) -> np.ndarray:
  """Interpolates shifts [16, 2] of the control grid at points [n, 2] of the unit square."""
  controls, inverse = _thin_plate_solver()
  weights = inverse @ np.concatenate([shifts, np.zeros((3, 2))])
  basis = np.concatenate(
    [_thin_plate_kernel(points, controls), np.ones((len(points), 1)), points], axis=1
  )
  return basis @ weights


def _remap(
  image: np.ndarray, field: np.ndarray, interpolation: int, border: int = cv2.BORDER_REFLECT_101
) -> np.ndarray:
  height, width = field.shape[:2]
  x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
  return cv2.remap(image, x + field[..., 0], y + field[..., 1], interpolation, borderMode=border)


def _centre(shape: np.ndarray) -> tuple[float, float]:
  """Centre of mass (x, y) of a weight map, in 0..1."""
  y, x = np.nonzero(shape)
  return (x.mean() + 0.5) / shape.shape[1], (y.mean() + 0.5) / shape.shape[0]


def _fill_objects(image: np.ndarray, ids: np.ndarray) -> np.ndarray:
  """The image with its objects replaced by what is around them."""
  hole = ((ids != 0) & (ids != VOID_ID)).astype(np.uint8)
  hole = cv2.dilate(hole, np.ones((5, 5), np.uint8))  # The rim also has the object's colours.
  # A hole is filled with blurred surroundings; a quarter of the size is enough and quick.
  size = max(1, image.shape[1] // 4), max(1, image.shape[0] // 4)
  small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
  small_hole = cv2.resize(hole, size, interpolation=cv2.INTER_NEAREST)
  small_hole = cv2.dilate(small_hole, np.ones((3, 3), np.uint8))
  filled = cv2.inpaint(small, small_hole, 3, cv2.INPAINT_TELEA)
  filled = cv2.resize(filled, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
  return np.where(hole[..., None] > 0, filled, image)

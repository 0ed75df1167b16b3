"""Videos of a user: a folder of images or a video file, with masks for some frames.

`open_video` is what a command line calls; `FolderVideo` also carries DAVIS and YouTube-VOS, whose
sequences are folders of images with folders of masks.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import functools
import os
import pathlib
from typing import TYPE_CHECKING

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets import picture
from feelvos_tf.datasets import png_file
from feelvos_tf.datasets.sources import animation
from feelvos_tf.datasets.sources.video_file import VideoFile
from feelvos_tf.datasets.video import IMAGE_SUFFIXES
from feelvos_tf.datasets.video import list_images
from feelvos_tf.datasets.video import natural_key
from feelvos_tf.datasets.video import read_image
from feelvos_tf.datasets.video import Video
from feelvos_tf.datasets.video import VideoSource

if TYPE_CHECKING:
  import numpy as np

_NEARLY_BLACK = 16  # Of 255: values of 12 bits in 16 stay below.
_SPLITS = {'train', 'val', 'test'}  # Folders of these names alone are no videos.


class FolderVideo(Video):
  """A video that is a list of image files, with mask files for some of them.

  Files are opened when they are asked for; only their names are kept.

  Attributes:
    left_out: names of images of the folder that are no frames.
  """

  seeks = True
  num_frames: int
  left_out: tuple[str, ...] = ()

  def __init__(
    self,
    name: str,
    frame_paths: Iterable[str | os.PathLike],
    mask_paths: Mapping[int, str | os.PathLike] | None = None,
    *,
    single_object: bool = False,
    fps: float | None = None,
    own_masks: bool = False,
  ) -> None:
    """Names the files.

    Args:
      name: name of the video.
      frame_paths: image files in the order of time.
      mask_paths: dict from frame index to mask file.
      single_object: read every object as object 1 (the DAVIS 2016 protocol); void stays void.
      fps: frames per second if known.
      own_masks: this program wrote the mask files, see `own` of `masks.read_mask`.

    Raises:
      ValueError: no frames, or a mask for a frame that does not exist.
    """
    self.name = name
    self.frame_paths = tuple(pathlib.Path(p) for p in frame_paths)
    self.mask_paths = {int(i): pathlib.Path(p) for i, p in (mask_paths or {}).items()}
    if not self.frame_paths:
      raise ValueError(f'{name}: a video of 0 frames given, expected at least one image')
    self.num_frames = len(self.frame_paths)
    self.masked_frames = tuple(sorted(self.mask_paths))
    if self.masked_frames and not 0 <= self.masked_frames[-1] < self.num_frames:
      raise ValueError(
        f'{name}: a mask for frame {self.masked_frames[-1]} given, '
        f'expected frames 0..{self.num_frames - 1}'
      )
    self.frame_names = tuple(p.stem for p in self.frame_paths)
    self.single_object = single_object
    self.fps = fps
    self._own_masks = own_masks

  @property
  def files(self) -> tuple[pathlib.Path, ...]:
    return self.frame_paths

  @property
  def frame_suffixes(self) -> Mapping[str, str]:
    return {path.stem: path.suffix for path in self.frame_paths}

  @functools.cached_property
  def frame_size(self) -> tuple[int, int]:  # type: ignore[override]  # Read when it is asked for.
    """(height, width) of the first frame, which all others must have."""
    path = self.frame_paths[0]
    image = read_image(path)
    if image.max() < _NEARLY_BLACK and picture.has_deep_values(path.read_bytes()):
      data_warning.warn(
        f'{path}: nearly black, with values up to {image.max()} of 255; pictures of 16 bits for each '
        'value have to use them all: scale their values if these have fewer bits'
      )
    return image.shape[:2]

  def frame(self, index: int) -> 'np.ndarray':
    if not 0 <= index < self.num_frames:
      raise IndexError(f'{self.name}: no frame {index}, expected 0..{self.num_frames - 1}')
    path = self.frame_paths[index]
    image = read_image(path)
    if index and image.shape[:2] != self.frame_size:
      raise ValueError(
        f'{path}: a frame of {image.shape[0]}x{image.shape[1]} (height x width) given, expected '
        f'{self.frame_size[0]}x{self.frame_size[1]} like the first frame; '
        'give frames of one size'
      )
    return image

  def frames(self, start: int = 0) -> 'Iterator[np.ndarray]':
    for index in range(start, self.num_frames):
      yield self.frame(index)

  def encoded_frame(self, index: int) -> tuple[bytes, str] | None:
    path = self.frame_paths[index]
    found = picture.inspect(path.read_bytes(), str(path), trusted=True)
    # Decoders of TensorFlow neither turn a picture nor know what transparent pixels lie on.
    eight_bit = found.kind == 'JPEG' or (
      found.data[:8] == png_file.SIGNATURE and found.data[24] == 8
    )
    return (found.data, found.kind) if found.plain and eight_bit else None

  def mask(self, index: int) -> masks.Mask | None:
    path = self.mask_paths.get(index)
    if path is None:
      return None
    mask = masks.read_mask(path, grey_255=self._grey_255(index), own=self._own_masks)
    self.check_mask_size(mask, str(path))
    if self.single_object:
      ids = mask.ids
      ids[(ids != 0) & (ids != masks.VOID_ID)] = 1
    return mask

  def _grey_255(self, index: int) -> str:
    """What 255 means in a grey mask: the first mask with an object decides for all of them."""
    if index == self.masked_frames[0]:
      return 'auto'
    return self._meaning_of_255

  @functools.cached_property
  def _meaning_of_255(self) -> str:
    found = (masks.read_mask(self.mask_paths[i], own=self._own_masks) for i in self.masked_frames)
    return masks.meaning_of_255(found)


def open_video(
  path: str | os.PathLike,
  mask_path: str | os.PathLike | None = None,
  leave_out: Iterable[str | os.PathLike] = (),
) -> Video:
  """Opens what a user has: a folder of images or a video file.

  Args:
    path: a folder of images (natural order: frame2 before frame10) or a video file.
    mask_path: None, the mask of the first frame, or (for a folder of images) a folder of masks
      that have the names of the frames they belong to.
    leave_out: mask files that may lie among the frames of a folder and are none.

  Returns:
    A Video; that of a folder has the names of what was left out in `left_out`. Nothing but the
    first frame of a video file has been decoded.

  Raises:
    FileNotFoundError: a path does not exist.
    ValueError: no frames, no decodable stream, or masks that belong to no frame.
  """
  path = pathlib.Path(path)
  if mask_path is not None and not pathlib.Path(mask_path).exists():
    raise FileNotFoundError(f'{mask_path}: no such mask; give a palette or grey PNG')
  if path.is_dir():
    leave_out = [*leave_out, *([mask_path] if mask_path is not None else [])]
    frames = list_images(path, leave_out)
    if not frames:
      raise ValueError(
        f'{path}: a folder with 0 frames given, expected images '
        f'({", ".join(IMAGE_SUFFIXES)}); give the folder that holds the frames'
      )
    _warn_of_masks_among(frames)
    video = FolderVideo(path.resolve().name, frames, _masks_by_frame(frames, mask_path))
    video.left_out = tuple(sorted(_image_names(path) - {p.name for p in frames}))
    return video
  if mask_path is not None and pathlib.Path(mask_path).is_dir():
    raise ValueError(f'{mask_path}: a folder given, expected the mask of the first frame as a PNG')
  if path.is_file() and animation.is_webp(path):
    return animation.Animation(path, mask_path)
  return VideoFile(path, mask_path)


def _warn_of_masks_among(frames: Sequence[pathlib.Path]) -> None:
  """Warns of a few palette pictures among others: masks that were put next to the frames."""
  indexed = [p for p in frames if _is_indexed_png(p)]
  if 0 < 2 * len(indexed) <= len(frames):
    data_warning.warn(
      f'{indexed[0].parent}: {len(indexed)} of {len(frames)} frames are palette pictures, as masks '
      f'are (the first: {indexed[0].name}); taken as frames; move them away if they are masks'
    )


def _is_indexed_png(path: pathlib.Path) -> bool:
  if path.suffix.lower() != '.png':
    return False
  with path.open('rb') as file:
    header = file.read(26)
  return header[:8] == b'\x89PNG\r\n\x1a\n' and header[25:] == b'\x03'


def _image_names(folder: pathlib.Path) -> set[str]:
  """Names of the image files of a folder."""
  return {
    p.name
    for p in folder.iterdir()
    if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith('.') and not p.is_dir()
  }


def folder_sources(
  root: str | os.PathLike, split: str = 'all', sparse_masks: bool = False
) -> list[VideoSource]:
  """A data set of a user's own: `<video>/frames/*.jpg` with `<video>/masks/*.png`.

  Masks have the names of their frames. Which videos belong to a split: those that
  `<root>/<split>.txt` names, one a line; else those in the folder `<root>/<split>`; else, where
  there is neither a list nor a folder for any split, all folders of `root`.

  Args:
    root: the folder of videos.
    split: name of the split.
    sparse_masks: only some frames need masks; else all do.

  Returns:
    A list of VideoSource in natural order, or in the order of the list.

  Raises:
    FileNotFoundError: no such folder.
    ValueError: no such split, or it is empty.
  """
  root = pathlib.Path(root)
  if not root.is_dir():
    raise FileNotFoundError(
      names_lib.missing(root, 'folder', 'it has to hold <video>/frames and <video>/masks')
    )
  names, base = _split_names(root, split)
  if not names:
    raise ValueError(
      f'{base}: an empty split {split!r} given, expected folders <video>/frames and <video>/masks'
    )
  required = 'some' if sparse_masks else 'every'
  return [
    VideoSource(
      name,
      functools.partial(_open_data_folder, base / name),
      required,
      base / name / 'frames',
      base / name / 'masks',
    )
    for name in names
  ]


def _split_names(root: pathlib.Path, split: str) -> tuple[list[str], pathlib.Path]:
  """(names of the videos, folder they are in)."""
  listing = root / f'{split}.txt'
  if listing.is_file():
    found = names_lib.read_names(listing, lambda name: (root / name / 'frames').is_dir())
    return [names_lib.check_name(name, str(listing)) for name in found], root
  base, names = root, _names_of_videos(root)
  # A video among others may be called train, as one of DAVIS is.
  is_video = split in names and not {*names} <= _SPLITS
  if (root / split).is_dir() and not is_video:
    base, names = root / split, _names_of_videos(root / split)
  lists = sorted(p.stem for p in root.glob('*.txt'))
  if base == root and split != 'all' and (lists or not names):
    raise ValueError(
      f'{root}: no split {split!r}, expected a list {split}.txt, a folder {split}/ '
      f'or folders <video>/frames; lists found: {", ".join(lists) or "none"}'
    )
  if names:
    _warn_of_masks_without_frames(base)
  return names, base


def _names_of_videos(folder: pathlib.Path) -> list[str]:
  found = [p.name for p in folder.iterdir() if (p / 'frames').is_dir() and p.name[0] != '.']
  return sorted(found, key=natural_key)


def _warn_of_masks_without_frames(folder: pathlib.Path) -> None:
  """Warns of what would be a video next to others, were its frames where they have to be."""
  is_lost = lambda p: (p / 'masks').is_dir() and not (p / 'frames').is_dir()
  lost = sorted(p.name for p in folder.iterdir() if p.name[0] != '.' and is_lost(p))
  if lost:
    data_warning.warn(
      f'{folder / lost[0]}: left out, as it has a folder masks and none called frames ({len(lost)} '
      'such folders); if it is a video, give the folder of its frames that name'
    )


def _open_data_folder(path: pathlib.Path) -> FolderVideo:
  frames = list_images(path / 'frames')
  if not frames:
    raise ValueError(f'{path / "frames"}: a video of 0 frames given, expected images')
  if not (path / 'masks').is_dir():
    raise FileNotFoundError(f'{path / "masks"}: no such folder; expected the masks of {path.name}')
  return FolderVideo(path.name, frames, masks_of_data_set(frames, path / 'masks'))


def masks_of_data_set(
  frames: Sequence[pathlib.Path], mask_folder: str | os.PathLike
) -> dict[int, pathlib.Path]:
  """Masks of a data set by frame; none of them may be left over.

  Args:
    frames: image files in the order of time.
    mask_folder: the folder of masks that have their names; one that does not exist has no masks.

  Returns:
    {index of the frame: PNG file}.

  Raises:
    ValueError: a mask without a frame: the frame is missing, and the video would be another one.
  """
  files = masks.list_masks(mask_folder)
  found = _by_frame(frames, files)
  paired = set(found.values())
  stray = [path for path in files.values() if path not in paired]
  if stray:
    example = f', for example {frames[0].stem}.png' if frames else ''
    raise ValueError(
      f'{stray[0]}: a mask without a frame given, expected the name of a frame{example}; '
      'check that the frames are complete'
    )
  return found


def _by_frame(
  frames: Sequence[pathlib.Path], files: Mapping[str, pathlib.Path]
) -> dict[int, pathlib.Path]:
  """{index of the frame: mask} of `list_masks`, for the frames that have one."""
  of_frames = names_lib.paired((p.stem for p in frames), files)
  return {i: of_frames[p.stem] for i, p in enumerate(frames) if p.stem in of_frames}


def _masks_by_frame(
  frames: Sequence[pathlib.Path], mask_path: str | os.PathLike | None
) -> dict[int, pathlib.Path]:
  """Dict from frame index to mask file."""
  if mask_path is None:
    return {}
  mask_path = pathlib.Path(mask_path)
  if mask_path.is_file():
    return {0: mask_path}
  files = masks.list_masks(mask_path)
  found = _by_frame(frames, files)
  if not found:
    raise ValueError(
      f'{mask_path}: {len(files)} masks given, none named like a frame '
      f'(for example {frames[0].stem}.png); rename them'
    )
  return found

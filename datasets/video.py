"""Video: the frames of a clip and the masks that exist for it, read lazily.

Every source of data (a folder, a video file, DAVIS, YouTube-VOS, stills, made-up clips) yields
objects of this class; segmentation, evaluation and conversion know nothing else.
"""

import abc
import collections.abc
from collections.abc import Iterator, Sequence
import dataclasses
from fractions import Fraction
import os
import pathlib
from typing import overload, TYPE_CHECKING

import numpy as np

from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets import picture
from feelvos_tf.datasets.masks import Mask
from feelvos_tf.datasets.names import IMAGE_SUFFIXES
from feelvos_tf.datasets.names import natural_key
from feelvos_tf.files import whole_file

if TYPE_CHECKING:
  from feelvos_tf.datasets.film.sound import Sound


class Video(abc.ABC):
  """A clip with masks on none, some or all of its frames.

  Attributes:
    name: used in messages and for output folders.
    num_frames: number of frames; None if the source does not say. Exact for images on disk; what
      the container claims for a video file.
    frame_size: (height, width) of every frame in pixels.
    frame_names: names for output files, one per frame, without a suffix. Those of a video file
      go on beyond its claimed length.
    masked_frames: sorted indices of the frames that have a mask.
    fps: frames per second, or None for a source without time.
    stored_size: (height, width) of the frames before they are stretched to square pixels; None
      where they are square.
    seeks: `frame` costs as much as a step of `frames`; False for sources that only read forward.
    live: frames come while they are made and can be read once.
    object_first_frames: dict from object id to the frame where the object is given, if the data
      set says so (YouTube-VOS); None: the masks decide.
  """

  name: str
  num_frames: int | None
  frame_size: tuple[int, int]
  frame_names: collections.abc.Sequence[str]
  masked_frames: tuple[int, ...] = ()
  fps: float | None = None
  stored_size: tuple[int, int] | None = None
  seeks: bool = False
  live: bool = False
  object_first_frames: dict[int, int] | None = None

  @property
  def files(self) -> collections.abc.Sequence[pathlib.Path]:
    """The files that the frames are read from; empty for a source without files."""
    return ()

  @property
  def frame_suffixes(self) -> collections.abc.Mapping[str, str]:
    """{name of a frame: suffix of its file, '.png'}; empty where frames are no files."""
    return {}

  @property
  def first_index(self) -> int:
    """Index of the first frame in the whole source; 0 unless this is a part of it."""
    return 0

  def goes_on(self) -> bool:
    """Whether the whole source has a frame behind the last one; False unless this is a part of it.

    A film is decoded up to there: what its file claims may be wrong.
    """
    return False

  def waiting(self) -> np.ndarray | None:
    """Of a live source: the frame that `frames` gives next, if it has come. Others: None."""
    return None

  @abc.abstractmethod
  def frames(self, start: int = 0) -> collections.abc.Iterator[np.ndarray]:
    """Yields frames `start`, start + 1, ... one at a time: uint8 [height, width, 3] RGB.

    Raises:
      ValueError: a frame cannot be read or has another size. The message names the file, and the
        frames before it have been yielded.
    """

  def frame(self, index: int) -> np.ndarray:
    """Frame `index`, uint8 [height, width, 3] RGB; costly for sources that only read forward.

    Raises:
      IndexError: the video has no such frame.
      ValueError: the frame cannot be read.
    """
    for image in self.frames(index):
      return image
    raise IndexError(f'{self.name}: no frame {index}')

  @abc.abstractmethod
  def mask(self, index: int) -> Mask | None:
    """The Mask of frame `index`, of the size of the frames; None if it has none.

    Raises:
      ValueError: the file is not a mask, or its size is not that of the frames.
    """

  def needed_mask(self, index: int) -> Mask:
    """`mask` of a frame that has one.

    Raises:
      ValueError: it has none, or the file is not a mask, see `mask`.
    """
    mask = self.mask(index)
    if mask is None:
      raise ValueError(f'{self.name}: no mask for frame {index}, expected one')
    return mask

  def frame_time(self, index: int) -> Fraction | None:
    """Seconds from frame 0 to a frame that `frames` has yielded; None without times."""
    del index
    return None

  def sound(self, first: int = 0) -> 'Sound | None':
    """The `film.sound.Sound` from frame `first` on, for writers; None for a source without."""
    del first
    return None

  def encoded_frame(self, index: int) -> tuple[bytes, str] | None:
    """(file content, 'JPEG' or 'PNG') of a frame that may be copied as it is; else None."""
    del index
    return None

  def check_has_mask_frame(self, index: int, count: int) -> None:
    """Refuses a mask for a frame that did not come.

    Args:
      index: of the frame.
      count: number of frames that came. Messages count from the first frame of the whole source.

    Raises:
      ValueError: there are fewer frames.
    """
    first = self.first_index
    if index >= count > 0:
      raise ValueError(
        f'{self.name}: a mask for frame {first + index} given, expected frames '
        f'0..{first + count - 1}'
      )
    if index >= count:
      raise ValueError(
        f'{self.name}: frame {first} given as the first one, expected an earlier one: the video ends '
        'before it'
      )

  def check_mask_size(self, mask: Mask, where: str) -> Mask:
    """Returns `mask` if it has the size of the frames, else raises a ValueError about `where`."""
    if mask.ids.shape != tuple(self.frame_size):
      raise ValueError(
        f'{where}: a mask of {_size(mask.ids.shape)} (height x width) given, '
        f'expected {_size(self.frame_size)} like the frames of {self.name}; '
        'draw the mask on a frame of this video'
      )
    return mask


@dataclasses.dataclass(frozen=True)
class VideoSource:
  """A video that has not been looked at yet, so that a bad one fails alone and in its own process.

  Attributes:
    name: name of the video.
    opener: function without arguments that returns the Video; can be pickled.
    required_masks: which frames must have a mask: 'every', 'first' or 'some' (at least one).
    frames: the folder of its frames, if they are image files in a folder of their own.
    masks: the folder of its masks, if they are files that have the names of their frames.
    files: further files that it is read from.
    listed: what a list of the data set says of it, where that decides what a record holds.
  """

  name: str
  opener: collections.abc.Callable[[], Video]
  required_masks: str = 'every'
  frames: pathlib.Path | None = None
  masks: pathlib.Path | None = None
  files: tuple[pathlib.Path, ...] = ()
  listed: str = ''


class NumberedNames(collections.abc.Sequence[str]):
  """Frame names 00000, 00001, ... of a source whose frames have no names of their own.

  Any index from 0 on has a name; the length is the claimed one (0 if nothing is claimed).
  """

  def __init__(self, length: int | None) -> None:
    self._length = length or 0

  def __len__(self) -> int:
    return self._length

  @overload
  def __getitem__(self, index: int) -> str: ...

  @overload
  def __getitem__(self, index: slice) -> list[str]: ...

  def __getitem__(self, index: int | slice) -> str | list[str]:
    if isinstance(index, slice):
      return [self[i] for i in range(*index.indices(self._length))]
    if index < 0:
      index += self._length
    if index < 0:
      raise IndexError('frame name out of range')
    return f'{index:05d}'

  def __iter__(self) -> Iterator[str]:
    return (self[i] for i in range(self._length))


def read_image(path: str | os.PathLike) -> np.ndarray:
  """Reads an image file as uint8 [height, width, 3] RGB, upright, see `picture`.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not an image or is cut off.
  """
  path = pathlib.Path(path)
  try:
    data = path.read_bytes()
  except FileNotFoundError:
    what = 'a link to a file that is not there' if path.is_symlink() else 'no such image'
    raise FileNotFoundError(f'{path}: {what}') from None
  except OSError as error:
    if whole_file.is_no_room(error):
      raise  # No fault of the picture; worker processes hand on no cause.
    raise ValueError(f'{path}: unreadable picture ({error.strerror}); check the file') from error
  return decode_image(data, str(path))


def decode_image(data: bytes, name: str) -> np.ndarray:
  """Decodes an image file's content.

  Args:
    data: the content.
    name: what messages call it.

  Returns:
    uint8 [height, width, 3] RGB, upright, see `picture`.

  Raises:
    ValueError: not an image, or cut off.
  """
  return picture.decode(data, name, trusted=True)


def list_images(
  folder: str | os.PathLike, leave_out: collections.abc.Iterable = ()
) -> list[pathlib.Path]:
  """Image files of a folder in natural order; hidden files and those of no picture are left out.

  Args:
    folder: the folder.
    leave_out: files that are no frames although they may lie there (masks), or copies or links of
      them.

  Raises:
    FileNotFoundError: there is no such folder.
    ValueError: two files differ in the suffix only, so their masks would have one name; or a
      picture of a kind that is not read.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise FileNotFoundError(names_lib.missing(folder, 'folder of frames', 'check the path'))
  files = [p for p in folder.iterdir() if not p.name.startswith('.') and not p.is_dir()]
  others = sorted(p.name for p in files if p.suffix.lower() in names_lib.OTHER_IMAGE_SUFFIXES)
  if others:
    raise ValueError(
      f'{folder / others[0]}: a picture of another kind than {", ".join(IMAGE_SUFFIXES)} among '
      'frames given; convert it, or move it away'
    )
  files = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES]
  for other in leave_out:
    files = [p for p in files if not _is_same(p, other)]
  files.sort(key=lambda p: natural_key(p.name))
  stems: dict[str, str] = {}
  for path in files:
    if path.stem in stems:
      raise ValueError(
        f'{folder}: both {stems[path.stem]} and {path.name} given, expected one '
        'frame of a name; move one of them away'
      )
    stems[path.stem] = path.name
  return files


def _is_same(path: pathlib.Path, other: str | os.PathLike) -> bool:
  """Whether two files are one, or have the same content."""
  if not (os.path.isfile(path) and os.path.isfile(other)):
    return False
  if os.path.samefile(path, other):
    return True
  same_size = os.path.getsize(path) == os.path.getsize(other)
  return same_size and path.read_bytes() == pathlib.Path(other).read_bytes()


def _size(shape: Sequence[int]) -> str:
  return f'{shape[0]}x{shape[1]}'

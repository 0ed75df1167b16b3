"""What `VideoSegmenter` takes: frames and masks of the right kind and of one size."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets import object_ids


def check_frame(frame: np.ndarray) -> np.ndarray:
  """Returns a frame as an array.

  Args:
    frame: uint8 [height, width, 3], RGB.

  Raises:
    ValueError: another dtype or shape, or no pixel.
  """
  frame = np.asarray(frame)
  if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
    raise ValueError(
      f'the frame is {frame.dtype} of shape {list(frame.shape)}; expected uint8 '
      '[height, width, 3] in RGB order.'
    )
  return frame


def check_like(other: np.ndarray, frame: np.ndarray) -> np.ndarray:
  """Returns a further reference frame as an array.

  Args:
    other: uint8 [height, width, 3], RGB.
    frame: uint8 [height, width, 3], the frame whose size it has to have.

  Raises:
    ValueError: `other` is no frame, or has another size.
  """
  other = check_frame(other)
  if other.shape != frame.shape:
    raise ValueError(
      f'a further reference frame is {other.shape[1]}x{other.shape[0]}, the frame is '
      f'{frame.shape[1]}x{frame.shape[0]}; both have to be of the same size.'
    )
  return other


def check_next(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Returns a frame of a video that has begun as an array.

  Args:
    frame: uint8 [height, width, 3], RGB.
    size: (height, width) of the first frame.

  Raises:
    ValueError: `frame` is no frame, or has another size.
  """
  frame = check_frame(frame)
  if frame.shape[:2] != tuple(size):
    raise ValueError(
      f'the frame is {frame.shape[1]}x{frame.shape[0]}, the first frame was {size[1]}x{size[0]}; '
      'frames of a video may not change size. Resize them, or start again with a mask.'
    )
  return frame


def check_mask(mask: np.ndarray, frame: np.ndarray) -> NDArray[np.uint8]:
  """Returns a mask as uint8 [height, width].

  Args:
    mask: integers 0..255 [height, width], object ids; 0 is background.
    frame: uint8 [height, width, 3], the frame whose size it has to have.

  Raises:
    ValueError: another dtype, shape, size or range.
  """
  mask = np.asarray(mask)
  if mask.ndim != 2 or mask.dtype.kind not in 'ui':
    raise ValueError(
      f'the mask is {mask.dtype} of shape {list(mask.shape)}; expected uint8 '
      '[height, width] with object ids.'
    )
  if mask.shape != frame.shape[:2]:
    raise ValueError(
      f'the mask is {mask.shape[1]}x{mask.shape[0]}, the frame is '
      f'{frame.shape[1]}x{frame.shape[0]}; both have to be of the same size.'
    )
  if mask.size and (mask.min() < 0 or mask.max() > 255):
    raise ValueError(
      f'the mask has ids {mask.min()} to {mask.max()}; expected {object_ids.GIVEN_IDS}; 0 is '
      'background.'
    )
  return mask.astype(np.uint8)


def ids_of(*masks: np.ndarray) -> tuple[int, ...]:
  """Ids of masks uint8 [height, width], ascending; 0 first, whether or not there is background."""
  return tuple(sorted({0, *(int(i) for mask in masks for i in np.unique(mask))}))


def check_removed(remove: Iterable[int], mask: np.ndarray, known: tuple[int, ...]) -> set[int]:
  """Ids to remove as a set; ValueError for what is no id of an object, or for one in the mask.

  Args:
    remove: the ids.
    mask: uint8 [height, width], ids on the frame from which on they are removed.
    known: ids of the video, background 0 first.
  """
  remove = list(remove)
  for given in remove:
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)):
      raise ValueError(f'{given!r} is to be removed; expected the id of an object, an integer.')
  remove = {int(i) for i in remove}
  unknown = sorted(remove - set(known[1:]))
  if unknown:
    raise ValueError(
      f'object {unknown[0]} is to be removed; expected one of {", ".join(map(str, known[1:]))}.'
    )
  if np.isin(mask, list(remove)).any():
    raise ValueError('the mask holds an object that is to be removed; paint it as background, 0.')
  return remove


def check_known(mask: np.ndarray, known: tuple[int, ...]) -> None:
  """ValueError if a mask uint8 [height, width] holds an id that is not among the known ones."""
  unknown = sorted(set(ids_of(mask)) - set(known))
  if unknown:
    raise ValueError(
      f'the mask holds object {unknown[0]}; expected what was predicted: some of '
      f'{", ".join(map(str, known))}.'
    )

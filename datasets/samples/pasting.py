"""Objects of one clip pasted into another: who hides whom, outlines, and paths that cross.

Pasted objects teach identity: objects of the same looks (twins), things that hide an object, and
paths that lead across one. Nothing of it is in the original.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets.object_ids import VOID_ID

# Steps of an aimed path between two frames, relative to the shorter side: from, to.
SLOWEST, FASTEST = 0.06, 0.4
# Share of the aimed paths that stop at the object and go back.
RETURNING = 0.3


def paste(
  images: Sequence[np.ndarray],
  labels: Sequence[NDArray[np.uint8]],
  pieces: list[tuple[np.ndarray, np.ndarray]],
  new_id: int,
  *,
  behind: bool = False,
  occluder: bool = False,
  soft: bool = False,
) -> list[NDArray[np.bool_]]:
  """Pastes an object into all frames of a clip, in place.

  Args:
    images: list of float32 or uint8 [height, width, 3], the reference frame first.
    labels: list of uint8 [height, width] ids, 255 is ignored and stays.
    pieces: list of (image like those, bool [height, width] where the object is), one a frame.
    new_id: int, id of the object in `labels`.
    behind: bool, only the background is covered; False covers objects.
    occluder: bool, the thing is no object: its pixels become background. It covers objects, but
      none in the reference frame, which has to show them.
    soft: bool, blend over the outline; False cuts hard.

  Returns:
    list of bool [height, width], the pixels that show it, one a frame.
  """
  shown = []
  for t, (image, ids, (colours, where)) in enumerate(zip(images, labels, pieces, strict=True)):
    free = ids == 0 if (behind and not occluder) or (occluder and t == 0) else ids != VOID_ID
    where = where & free
    if soft:
      weight = cv2.GaussianBlur(where.astype(np.float32), (3, 3), 0)[..., np.newaxis]
      blended = image + weight * (colours.astype(np.float32) - image)
      image[:] = np.rint(blended) if image.dtype == np.uint8 else blended
    else:
      cv2.copyTo(colours, where.astype(np.uint8), image)
    ids[where] = 0 if occluder else new_id
    shown.append(where)
  return shown


def aim(
  rng: np.random.RandomState,
  pieces: list[tuple[np.ndarray, np.ndarray]],
  labels: Sequence[NDArray[np.uint8]],
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Moves a pasted object so that it crosses an object of the clip.

  The path is straight and passes the centre of a random object at a random time between the
  previous frame and the last one; or it leads there and back. The reference frame stays.

  Args:
    rng: numpy RandomState.
    pieces: for every frame (image uint8 or float32 [height, width, 3], where the object is, bool
      [height, width]), see `paste`.
    labels: for every frame uint8 [height, width], ids of the clip.

  Returns:
    List like `pieces`; the same one if no object is there to cross.
  """
  meeting = rng.uniform(1, len(pieces) - 1)
  angle = rng.uniform(0, 2 * np.pi)
  shorter = min(labels[0].shape)
  speed = shorter * np.exp(rng.uniform(np.log(SLOWEST), np.log(FASTEST)))
  returns = rng.uniform() < RETURNING
  there = labels[round(meeting)]
  ids = np.setdiff1d(np.unique(there), [0, VOID_ID])
  if not ids.size:
    return pieces
  target = _center(there == rng.choice(ids))
  velocity = speed * np.array([np.sin(angle), np.cos(angle)])
  moved = [pieces[0]]
  for t, (colours, where) in enumerate(pieces[1:], 1):
    if where.any():
      along = abs(t - meeting) if returns else t - meeting
      shift = np.rint(target + velocity * along - _center(where)).astype(int)
      colours, where = _shifted(colours, shift), _shifted(where.astype(np.uint8), shift) > 0
    moved.append((colours, where))
  return moved


def _center(mask: np.ndarray) -> np.ndarray:
  """(row, column) of a mask that is not empty."""
  return np.argwhere(mask).mean(axis=0)


def _shifted(array: np.ndarray, shift: Sequence[float]) -> np.ndarray:
  """The array moved by whole pixels (rows, columns); 0 comes in."""
  matrix = np.array([[1.0, 0.0, shift[1]], [0.0, 1.0, shift[0]]])
  return cv2.warpAffine(array, matrix, array.shape[1::-1], flags=cv2.INTER_NEAREST)

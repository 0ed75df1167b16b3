"""A mask out of a box, points or scribbles: the model's embeddings first, then `cv2.grabCut`.

Pixels are compared with what is surely background (outside of the box, or the frame's edge) and
with what is surely the object (marks; in a box, the half of it that looks least like the
background), by their nearest embeddings as in matching. What is clear then is fixed, and grabCut
decides about the rest by colour, down to single pixels. The paper takes masks as given; this is
ours.
"""

from collections.abc import Callable, Sequence
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from feelvos_tf.datasets.mask_files import drawn

if TYPE_CHECKING:
  from feelvos_tf.inference.contract import Graph
  from feelvos_tf.inference.segmenter import VideoSegmenter


_NEAREST = 3  # embeddings that a pixel is compared with are averaged over this many
_MOST_SAMPLES = 600  # pixels of the object or the background that are compared with
_ROUNDS = 3
_CLEAR = 0.2  # probabilities below this, and above 1 - this, are fixed
_UNCLEAR = 0.6  # probability of all that may be the object, where only colours are known
_CORE = 9  # pixels, width of the margin within which nothing is fixed as object
_LEAST = 1 / 50  # of a box: an object that has less of it was not found
_REACH = 1 / 8  # of the longer side: how far around what it found an object without a box may go


def masks_of(
  frame: np.ndarray, hints: Sequence[drawn.Hints], embedding: np.ndarray | None = None
) -> np.ndarray:
  """Draws the masks of several objects; later ones over earlier ones.

  Args:
    frame: uint8 [height, width, 3], RGB.
    hints: what was drawn of each object.
    embedding: float32 [h4, w4, channels] of the frame, see `drawer`; None: colours
      decide alone.

  Returns:
    uint8 [height, width], object ids.

  Raises:
    ValueError: nothing was found for an object.
  """
  ids = np.zeros(frame.shape[:2], np.uint8)
  for one in hints:
    where = one.exact if one.exact is not None else _refined(frame, one, embedding)
    where = (where | one.inside) & ~one.outside
    if one.box is not None and where.sum() < _LEAST * one.box.sum():
      where = one.box & ~one.outside  # It looks like its surroundings; the box is all there is.
    if not where.any():
      raise ValueError(f'nothing of object {one.object_id} was found; draw more of it')
    ids[where] = one.object_id
  return ids


def drawer(segmenter: 'VideoSegmenter') -> Callable:
  """Function: (frame, hints) -> ids, with the embeddings of a `VideoSegmenter`'s model."""

  return lambda frame, hints: masks_of(
    frame, hints, embedding_of(segmenter.graph, frame, segmenter.options.max_internal_size)
  )


def embedding_of(
  graph: 'Graph', frame: np.ndarray, max_internal_size: int | None = None
) -> np.ndarray:
  """float32 [h4, w4, channels] of a frame.

  Args:
    graph: `contract.Graph`.
    frame: uint8 [height, width, 3], RGB.
    max_internal_size: see `VideoSegmenter`.
  """
  sizes = graph.frame_geometry(frame.shape[:2], max_internal_size)
  background = np.zeros(sizes.internal, np.int32)
  state = graph.begin(sizes.shrink_frame(frame), background, 1, sizes)
  return np.asarray(state.previous.embedding, np.float32)


def _refined(frame: np.ndarray, hints: drawn.Hints, embedding: np.ndarray | None) -> np.ndarray:
  """bool [height, width] of one object."""
  box = hints.box if hints.box is not None else np.ones(frame.shape[:2], bool)
  if embedding is None:
    return _grab_cut(frame, np.where(box, _UNCLEAR, 0.0), hints, box)
  size = embedding.shape[:2]
  share = _share(box, size)
  inside = share > min(0.5, 0.99 * float(share.max()))  # A box may be smaller than a position.
  marks, others = _share(hints.inside, size) > 0.25, _share(hints.outside, size) > 0.25
  if hints.inside.any() and not marks.any():  # A single small point.
    marks = _share(hints.inside, size) > 0
  outside = (_share(box, size) < 0.01) | others
  if hints.box is None or not outside.any():
    outside |= _edge(size) & ~marks
  probability = _probability(embedding, inside, outside, marks, hints.box is not None)
  probability = cv2.resize(probability, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR)
  return _grab_cut(frame, np.where(box, probability, 0.0), hints, box)


def _probability(
  embedding: np.ndarray, inside: np.ndarray, outside: np.ndarray, marks: np.ndarray, has_box: bool
) -> np.ndarray:
  """float32 [h4, w4]: how likely a position is the object's, by nearest embeddings."""
  rows = embedding.reshape(-1, embedding.shape[-1])
  to_background = _distance(rows, outside)
  found = marks
  if not marks.any():
    found = inside & (to_background >= np.median(to_background[inside.ravel()])).reshape(
      inside.shape
    )
  for _ in range(_ROUNDS if has_box else 1):
    to_object = _distance(rows, found)
    difference = np.clip(to_object - to_background, -30.0, 30.0)
    probability = (1.0 / (1.0 + np.exp(difference))).reshape(inside.shape).astype(np.float32)
    found = (inside & (probability > 0.5)) | marks
    if not found.any():
      found = inside
  return probability


def _distance(rows: np.ndarray, where: np.ndarray) -> np.ndarray:
  """float32 [n]: squared distance of rows [n, channels] to the nearest rows of a set, averaged."""
  chosen = np.flatnonzero(where.ravel())
  chosen = chosen[np.linspace(0, chosen.size - 1, min(_MOST_SAMPLES, chosen.size)).astype(int)]
  others = rows[chosen]
  squares = (rows**2).sum(axis=1)[:, np.newaxis] + (others**2).sum(axis=1) - 2.0 * rows @ others.T
  count = min(_NEAREST, squares.shape[1])
  return np.partition(squares, count - 1, axis=1)[:, :count].mean(axis=1)


def _grab_cut(
  frame: np.ndarray, probability: np.ndarray, hints: drawn.Hints, box: np.ndarray
) -> np.ndarray:
  labels = np.where(probability > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
  clear = cv2.erode((probability > 1 - _CLEAR).astype(np.uint8), np.ones((_CORE, _CORE)))
  labels[clear > 0] = cv2.GC_FGD
  likely = (probability > 0.5).astype(np.uint8)
  if hints.box is None:
    likely = _touching(likely, hints.inside)
    labels[(likely == 0) & (labels == cv2.GC_FGD)] = cv2.GC_PR_BGD
    reach = 2 * round(max(box.shape) * _REACH) + 1
    box = cv2.dilate(likely | hints.inside.astype(np.uint8), np.ones((reach, reach))) > 0
  labels[(probability < _CLEAR) | ~box | hints.outside] = cv2.GC_BGD
  labels[hints.inside] = cv2.GC_FGD
  if not (labels & 1).any() or (labels & 1).all():
    return probability > 0.5
  cv2.setRNGSeed(0)  # grabCut begins with k-means.
  background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
  bgr = np.ascontiguousarray(frame[..., ::-1])
  # OpenCV's stubs do not know that there need be no rectangle.
  rectangle: Any = None
  cv2.grabCut(bgr, labels, rectangle, background, foreground, 2, cv2.GC_INIT_WITH_MASK)
  found = (labels & 1).astype(np.uint8)
  return (found if hints.inside.sum() == 0 else _touching(found, hints.inside)) > 0


def _touching(found: np.ndarray, marks: np.ndarray) -> np.ndarray:
  """uint8 0 or 1: the connected parts that hold a mark."""
  parts = cv2.connectedComponents(found)[1]
  wanted = np.unique(parts[marks & (found > 0)])
  return (np.isin(parts, wanted) & (found > 0)).astype(np.uint8)


def _share(where: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """float32 [h4, w4]: the share of each position that a bool mask covers."""
  return cv2.resize(where.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)


def _edge(size: tuple[int, int]) -> np.ndarray:
  edge = np.ones(size, bool)
  edge[1:-1, 1:-1] = False
  return edge

"""VideoSegmenter: frames in, masks out, one at a time, with a state of fixed size."""

from collections.abc import Sequence
import dataclasses
import os
from typing import Any, cast

import numpy as np
import tensorflow as tf

from feelvos_tf.inference import contradiction
from feelvos_tf.inference import crossing
from feelvos_tf.inference import given_frames
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference import kept_references
from feelvos_tf.inference import look_ahead
from feelvos_tf.inference import state_arrays
from feelvos_tf.inference import views
from feelvos_tf.inference.contract import Graph
from feelvos_tf.inference.contract import References
from feelvos_tf.inference.contract import Snapshot
from feelvos_tf.inference.contract import Step
from feelvos_tf.inference.options import SegmenterOptions
from feelvos_tf.inference.segmented_frame import SegmentedFrame
from feelvos_tf.model import feelvos
from feelvos_tf.model import geometry
from feelvos_tf.model.feelvos import Feelvos


class VideoSegmenter:
  """Segments a video frame by frame, given the masks of its objects on one frame.

  Object ids: the masks of `start` and `correct` decide which objects there are. Ids may be any
  uint8 values with gaps; id 0 is background, always has a channel and always is the first;
  channels ascend with ids. An id that was given keeps its object for the rest of the video,
  whether or not it is visible, and every mask that comes out holds those ids and no others.

  Memory: the state is the embeddings of the reference frames (at most MAX_REFERENCES, one as
  long as nothing is corrected) and of the previous frame, whatever the number of frames.

  Attributes:
    options: `SegmenterOptions` that hold, the model's `largest_side` included.

  >>> segmenter = VideoSegmenter(load_model('feelvos_tf/pretrained/mobilenet_v2.h5'))
  >>> segmenter.start(frames[0], mask)
  >>> masks = [segmenter.step(frame).mask for frame in frames[1:]]
  """

  def __init__(
    self,
    model: Feelvos | Graph,
    max_internal_size: int | None = None,
    image_pyramid: Sequence[float] = (1.0,),
    merge_method: str = 'max',
    flip: bool = False,
  ) -> None:
    """Prepares a segmenter; takes seconds, once per model.

    Args:
      model: `Feelvos`, or a `contract.Graph`, which several segmenters can share.
      max_internal_size: longer side in pixels at which frames are segmented; larger frames
        are scaled down and masks come out at full size. None: the model's option `largest_side`.
      image_pyramid: scales at which every frame is segmented.
      merge_method: 'max' or 'avg', how the logits of the scales are merged.
      flip: bool, also segment every frame mirrored. See `views` for all three.

    Raises:
      ValueError: `SegmenterOptions` refuses a value, or the model is a path.
    """
    if model is None or isinstance(model, (str, os.PathLike)):
      raise ValueError(
        f'model is {model!r}; expected what load_model returns, or the graph of another segmenter.'
      )
    options = SegmenterOptions(max_internal_size, tuple(image_pyramid), merge_method, flip)
    self._graph = graph_lib.InferenceGraph(model) if isinstance(model, Feelvos) else model
    self._shown_to = self._graph
    if not options.shows_once:
      self._shown_to = views.Views(self._graph, options.image_pyramid, merge_method, flip)
    limit = max_internal_size or _largest_side(self._graph)
    self.options = dataclasses.replace(options, max_internal_size=limit)
    self._state: Any = None
    self._geometry: Any = None
    self._object_ids: Any = None
    self._references: kept_references.KeptReferences = []
    self._corrected: kept_references.BeforeCorrection | None = None
    self._ahead: look_ahead.LookAhead | None = None

  @property
  def graph(self) -> Graph:
    """The graph, to make further segmenters of the same model."""
    return self._graph

  @property
  def size(self) -> tuple[int, int] | None:
    """(height, width) of the video's frames; None before `start`."""
    return None if self._geometry is None else self._geometry.frame

  @property
  def object_ids(self) -> tuple[int, ...] | None:
    """Ids of the objects with a channel, background 0 first; None before `start`."""
    return self._object_ids

  @property
  def memory_bytes(self) -> int:
    """Bytes of the state between two frames."""
    if self._state is None:
      return 0
    before = self._corrected[1:] if self._corrected else ()
    return state_arrays.num_bytes((self._state, self._references, before))

  def start(
    self, frame: np.ndarray, mask: np.ndarray, others: Sequence[tuple[np.ndarray, np.ndarray]] = ()
  ) -> SegmentedFrame:
    """Begins a video (or begins again) with the frame whose masks are given.

    Args:
      frame: uint8 [height, width, 3], RGB.
      mask: uint8 [height, width], object ids.
      others: (frame, mask), of shape and dtype as these, of further reference frames of the same
        video, before or after this one, MAX_REFERENCES - 1 (3) at most; they may hold further
        objects. Each takes the time of matching once more.

    Returns:
      `SegmentedFrame` with the given mask.

    Raises:
      ValueError: a wrong shape or dtype, different sizes, too many others, or a mask without an
        object.
    """
    if len(others) >= kept_references.MAX_REFERENCES:
      raise ValueError(
        f'{len(others)} further reference frames given, expected at most '
        f'{kept_references.MAX_REFERENCES - 1}.'
      )
    frame = given_frames.check_frame(frame)
    mask = given_frames.check_mask(mask, frame)
    others = [
      (given_frames.check_like(other, frame), given_frames.check_mask(ids, frame))
      for other, ids in others
    ]
    ids = given_frames.ids_of(mask, *(ids for _, ids in others))
    if len(ids) == 1:
      raise ValueError('the mask holds background (0) only; mark at least one object.')
    references = []
    for other, other_mask in others:
      previous = self._begin_state(other, other_mask, ids, []).previous
      references.append((previous.embedding, np.asarray(previous.labels)))
    return self._begin(frame, mask, ids, references)

  def correct(
    self, frame: np.ndarray, mask: np.ndarray, remove: Sequence[int] = (), only_adds: bool = False
  ) -> SegmentedFrame:
    """Takes the right mask of a frame in the middle of a video, usually the last one's.

    The frame becomes the previous frame of the next `step` and one more reference frame. What it
    contradicts goes from older reference frames (`contradiction`); an older one of the same frame
    goes as a whole, and what it contradicted comes back if it was the latest one, unless `restore`
    or `start_as_before` lies between. At most MAX_REFERENCES are kept: the first one and the
    latest. The oldest correction goes whose objects are all on another reference frame, or the
    oldest if there is none.

    Args:
      frame: uint8 [height, width, 3], RGB, of the size of the first.
      mask: uint8 [height, width], the right ids of all objects. An id that was not there before
        is a new object; one that is missing is not visible in this frame.
      remove: ids of objects that are followed no longer: what they were is background, and no
        mask holds them. They may not be in the mask.
      only_adds: the mask is what `step` just gave of this frame, with new objects in it: what the
        others cover of each other is remembered.

    Returns:
      `SegmentedFrame` with the given mask.

    Raises:
      RuntimeError: `start` was not called.
      ValueError: a wrong shape or dtype, another size than the first frame's, or an id to remove
        that is background, unknown or in the mask.
    """
    frame = self._check_next(frame, 'correct')
    mask = given_frames.check_mask(mask, frame)
    removed = given_frames.check_removed(remove, mask, self._object_ids)
    ids = tuple(sorted({*self._object_ids, *given_frames.ids_of(mask)} - removed))
    newest = self._begin_state(frame, mask, ids, [])
    before = self._before_correction(frame, newest.previous.embedding)
    older = [(e, labels) for (e, _), labels in zip(self._references, before.labels)]
    references = kept_references.after_correction(
      older,
      kept_references.index_table(before.object_ids, ids),
      len(before.object_ids),
      before.predicted,
      newest.previous,
    )
    shown = np.searchsorted(ids, given_frames.ids_of(mask))
    references = kept_references.make_room(references, shown)
    places = kept_references.index_table(self._object_ids, ids)[: len(self._object_ids)]
    hidden = self._state.previous.hidden if only_adds and self.options.shows_once else ()
    result = self._begin(frame, mask, ids, references)
    if hidden:
      hidden = crossing.among_more(hidden, places, len(ids))
      previous = self._state.previous._replace(hidden=hidden)
      self._state = self._state._replace(previous=previous)
    labels = kept_references.labels_before(older, references)
    self._corrected = before._replace(labels=labels)
    return result

  def snapshot(self) -> Snapshot:
    """What `restore` needs to go on; shares memory with the segmenter, which does not change it.

    Raises:
      RuntimeError: `start` was not called.
    """
    if self._state is None:
      raise RuntimeError('snapshot before start: call start(frame, mask) with the first frame.')
    references = cast(
      References, kept_references.stack(self._references)
    )  # One at least after `start`.
    return Snapshot(self._geometry.frame, self._object_ids, references, self._state)

  def restore(self, snapshot: Snapshot) -> None:
    """Goes on from a `Snapshot` of the same model, whatever video was running here.

    Raises:
      ValueError: it is of a segmenter with other options; the video here goes on.
    """
    sizes = self._frame_geometry(snapshot.size)
    state_arrays.check_sizes(snapshot.state, self._shown_to, sizes)
    self._set_geometry(snapshot.size)
    self._object_ids, self._state = snapshot.object_ids, snapshot.state
    references = snapshot.references
    self._references = list(zip(references.embeddings, np.asarray(references.labels)))
    self._corrected = None

  def remembered(self, mask: np.ndarray) -> list[np.ndarray]:
    """What `start_as_before` needs after a frame whose mask was given.

    Args:
      mask: uint8 [height, width], the mask.

    Returns:
      numpy arrays: uint8 [objects], the ids; the mask; of every older reference frame its embedding
      [h4, w4, channels], float32 or bfloat16, and its labels, int32 [h4, w4].
    """
    older = [np.asarray(array) for pair in self._references[:-1] for array in pair]
    return [np.asarray(self._object_ids, np.uint8), mask, *older]

  def start_as_before(self, frame: np.ndarray, arrays: Sequence[np.ndarray]) -> SegmentedFrame:
    """Begins at a frame whose mask was given to `start` or `correct` of another segmenter.

    Args:
      frame: uint8 [height, width, 3], RGB.
      arrays: `remembered` of that segmenter, which has the same model and options.

    Raises:
      ValueError: a wrong shape or dtype.
    """
    frame, (ids, mask, *older) = given_frames.check_frame(frame), arrays
    references = list(zip(older[::2], older[1::2]))
    return self._begin(frame, given_frames.check_mask(mask, frame), tuple(ids.tolist()), references)

  @property
  def remembers_masks(self) -> bool:
    """Whether `remember` can be called: a mask is what counts of a frame's prediction."""
    return self._shown_to.remembers_masks

  def is_told_by_masks(self, num_ids: int, goes_on: bool = True) -> bool:
    """Whether after `remember` all is as after `step`, in a video with so many objects.

    What two objects cover of each other is in no mask; a model with `crossing_radius` knows it.

    Args:
      num_ids: of objects, background aside.
      goes_on: whether a frame without a given mask follows; no other needs what is covered.
    """
    has_hidden = goes_on and num_ids > 1 and self._shown_to.remembers_hidden
    return self.remembers_masks and not has_hidden

  def remember(self, frame: np.ndarray, mask: np.ndarray) -> None:
    """Goes on after a frame as if `step` had just given this mask of it; see `is_told_by_masks`.

    What objects covered of each other is forgotten.

    Args:
      frame: uint8 [height, width, 3], RGB, of the size of the first.
      mask: uint8 [height, width] that `step` gave of the frame; the references are as before it.

    Raises:
      RuntimeError: `start` was not called, or not `remembers_masks`.
      ValueError: a wrong shape or dtype, another size than the first frame's, or an id that no mask
        gave.
    """
    frame = self._check_next(frame, 'remember')
    if not self.remembers_masks:
      raise RuntimeError('remember: the model takes more than the mask of the previous frame.')
    mask, ids = given_frames.check_mask(mask, frame), self._object_ids
    given_frames.check_known(mask, ids)
    first = self._begin_state(frame, mask, ids, []).previous
    index = np.searchsorted(ids, mask).astype(np.int32)
    # As `step` does: the pixels in which the predicted mask was sampled, not shrunken objects.
    labels = geometry.shrink_labels(tf.constant(index), first.embedding.shape[:2])
    previous = first._replace(labels=labels, probabilities=feelvos.one_hot(labels, len(ids)))
    self._state = self._state._replace(previous=previous)

  @property
  def previous_tensors(self) -> list:
    """What `step` remembers of the last frame; `restore_previous` takes it, as numpy arrays.

    Together with the first frame and its mask this is all there is to know of a video without
    corrections; `remembered` has what corrections leave.
    """
    return state_arrays.previous_tensors(self._state)

  def restore_previous(self, arrays: Sequence[np.ndarray]) -> None:
    """Goes on after a frame in the middle of the video that was started with the same mask.

    Args:
      arrays: `previous_tensors` of a segmenter of the same model and options, as numpy arrays: for
        every view the fields of `PreviousFrame`, whose embedding may be bfloat16 and then come as
        pairs of bytes.

    Raises:
      RuntimeError: `start` was not called.
      ValueError: the arrays do not fit.
    """
    if self._state is None:
      raise RuntimeError('restore_previous before start: call start(frame, mask) first.')
    self._state = state_arrays.with_previous(self._state, arrays)

  def _before_correction(
    self, frame: np.ndarray, embedding: np.ndarray
  ) -> kept_references.BeforeCorrection:
    """What a correction of a frame, whose embedding is given, begins with."""
    newest = self._references[-1][0]
    if self._corrected and contradiction.is_same_frame(newest, embedding):
      return self._corrected
    return kept_references.BeforeCorrection(
      self._object_ids,
      [labels for _, labels in self._references],
      self._predicted(frame, embedding),
    )

  def _predicted(self, frame: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    """What was or would be predicted for a frame: int32 [h4, w4], object index."""
    previous = self._state.previous
    if contradiction.is_same_frame(previous.embedding, embedding):
      return np.asarray(previous.labels)
    return np.asarray(self._advance(frame).state.previous.labels)

  def _advance(self, frame: np.ndarray) -> Step:
    """`Step` of a frame; the state stays as it is."""
    sizes = self._geometry
    extracted = self._ahead.take(frame) if self._ahead else None
    if extracted is not None:
      graph = cast(graph_lib.InferenceGraph, self._shown_to)
      shrunk, features, embedding = extracted
      return graph.step(
        features, embedding, self._state, len(self._object_ids), sizes.frame, shrunk
      )
    return self._shown_to.advance(
      sizes.shrink_frame(frame), self._state, len(self._object_ids), sizes
    )

  def _begin_state(
    self,
    frame: np.ndarray,
    mask: np.ndarray,
    ids: tuple[int, ...],
    references: Sequence[tuple[Any, np.ndarray]],
  ) -> Any:
    """State of the model after a frame with its mask."""
    labels = np.searchsorted(ids, mask).astype(np.int32)
    sizes = self._frame_geometry(frame.shape[:2])
    if sizes.internal != sizes.frame:
      labels = geometry.shrink_object_labels(labels, len(ids), sizes.internal)
    return self._shown_to.begin(
      sizes.shrink_frame(frame), labels, len(ids), sizes, kept_references.stack(references)
    )

  def _begin(
    self,
    frame: np.ndarray,
    mask: np.ndarray,
    ids: tuple[int, ...],
    references: Sequence[tuple[Any, np.ndarray]],
  ) -> SegmentedFrame:
    """Takes a frame with its mask into the state; nothing changes if that fails."""
    state = self._begin_state(frame, mask, ids, references)
    newest = (state.previous.embedding, np.asarray(state.previous.labels))
    self._set_geometry(frame.shape[:2])
    self._state, self._object_ids = state, ids
    self._references, self._corrected = [*references, newest], None
    return SegmentedFrame(mask.copy(), ids)

  def step(self, frame: np.ndarray) -> SegmentedFrame:
    """Segments the next frame.

    Args:
      frame: uint8 [height, width, 3], RGB, of the size of the first.

    Returns:
      `SegmentedFrame`.

    Raises:
      RuntimeError: `start` was not called.
      ValueError: a wrong shape or dtype, or another size than the first frame's.
    """
    frame = self._check_next(frame, 'step')
    step, sizes = self._advance(frame), self._geometry
    self._state = step.state
    ids = np.asarray(self._object_ids, np.uint8)
    return SegmentedFrame(
      ids[np.asarray(step.labels)],
      self._object_ids,
      step.logits,
      _numpy_or_none(step.maps.global_distance),
      _numpy_or_none(step.maps.local_distance),
      np.asarray(step.confidence),
      lambda logits: self._shown_to.enlarge(logits, sizes.shrink_frame(frame), sizes),
    )

  def look_ahead(self, frame: np.ndarray) -> None:
    """Begins in a thread what the `step` of a frame after the next one needs of that frame alone.

    Call it right before `step` of the frame before; both calls get the same array. It changes
    nothing but the time: `segment` does so. Does nothing where it cannot help: before `start`, with
    several views, with an exported model, or for a frame that is no numpy array.

    Args:
      frame: uint8 [height, width, 3], RGB; its content may not change until its `step`.
    """
    if self._state is None or not isinstance(self._shown_to, graph_lib.InferenceGraph):
      return
    if not isinstance(frame, np.ndarray):
      return  # `step` makes an array of it, another one each time.
    if frame.shape != (*self._geometry.frame, 3) or frame.dtype != np.uint8:
      return  # `step` says what is wrong.
    if self._ahead is None:
      self._ahead = look_ahead.LookAhead(self._extract)
    self._ahead.begin(frame)

  def _extract(self, frame: np.ndarray) -> tuple[np.ndarray, tf.Tensor, tf.Tensor]:
    graph = cast(graph_lib.InferenceGraph, self._shown_to)
    shrunk = self._geometry.shrink_frame(frame)
    return shrunk, *graph.extract(shrunk, self._geometry)

  def _check_next(self, frame: np.ndarray, what: str) -> np.ndarray:
    if self._state is None:
      raise RuntimeError(f'{what} before start: call start(frame, mask) with the first frame.')
    return given_frames.check_next(frame, self._geometry.frame)

  def _set_geometry(self, size: tuple[int, int]) -> None:
    sizes = self._frame_geometry(size)
    if self._ahead and sizes != self._geometry:
      self._ahead.forget()
    self._geometry = sizes

  def _frame_geometry(self, size: tuple[int, int]) -> geometry.FrameGeometry:
    return self._shown_to.frame_geometry(size, self.options.max_internal_size)


def _largest_side(graph: Graph) -> int | None:
  """`InferenceOptions.largest_side`; None for an exported model, which has no options."""
  options = getattr(graph, 'options', None)
  return options.largest_side if options else None


def _numpy_or_none(distance: Any) -> np.ndarray | None:
  return None if distance is None else np.asarray(distance)

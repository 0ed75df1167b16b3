"""Every frame segmented several times, scaled or mirrored, and merged: test-time augmentation.

A view is a scale and whether it is mirrored. Each has a state of its own: the embeddings of the
reference frame and of the previous frame as that view shows them. All receive the same of the
previous frame: the merged result.

Taken over from the original:
- Scales (`research/feelvos/model.py`, `multi_scale_logits_with_nearest_neighbor_matching`): frames
  are scaled bilinearly and labels by nearest neighbour, corners aligned; features, matching and
  head run on each scale; logits are enlarged to stride 4 of the largest scale (of 1 if all are
  smaller) and merged by `merge_method`, the maximum ('max') or the mean ('avg') of each object.
- Mirrored frames (`research/deeplab/model.py`, `predict_labels_multi_scale`): the softmax over
  objects is averaged over both. The original's video script has no such option.

What decided otherwise:
- The original keeps the embeddings of one scale between frames and hands them to all
  (`create_predictions_fast`), or computes the first and the previous frame again for every frame
  (`create_predictions`). The latter is what its code means; it is what is computed here, once.
- Probabilities are averaged at stride 4, not at full size, so that logits at stride 4 (the
  logarithm of the mean) are all there is to know of a frame. With `flip` that decides one pixel in
  9,000 otherwise (measured on ten frames of 240x427 of two DAVIS sequences).
- Scaled frames are rounded to 8 bits, which the rest of inference takes.
- Soft maps (`previous_prediction='probabilities'`), which the original does not have for several
  scales, are scaled bilinearly.
"""

from collections.abc import Sequence
from typing import NamedTuple, TYPE_CHECKING

import tensorflow as tf

from feelvos_tf.deeplab import resizing
from feelvos_tf.inference import confidence
from feelvos_tf.inference import crossing
from feelvos_tf.inference import winner
from feelvos_tf.inference.contract import Graph
from feelvos_tf.inference.contract import References
from feelvos_tf.inference.contract import State
from feelvos_tf.inference.contract import Step
from feelvos_tf.inference.graph import InferenceGraph
from feelvos_tf.model import feelvos
from feelvos_tf.model.feelvos import Maps
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.model.geometry import enlarge_logits
from feelvos_tf.model.geometry import FrameGeometry
from feelvos_tf.model.geometry import shrink_labels
from feelvos_tf.model.geometry import shrink_object_labels
from feelvos_tf.model.geometry import Size

if TYPE_CHECKING:
  import numpy as np


_SMALLEST = 1e-30  # of a probability, before its logarithm


class View(NamedTuple):
  """How a frame is shown to the network: scaled, then mirrored if `mirrored`."""

  scale: float
  mirrored: bool


class ViewsState(NamedTuple):
  """What is remembered between frames: a `State` for each view."""

  states: tuple[State, ...]

  @property
  def previous(self) -> PreviousFrame:
    """`PreviousFrame` of the first view."""
    return self.states[0].previous


class Views:
  """A `contract.Graph` that shows every frame several times; `VideoSegmenter` makes it."""

  remembers_masks = False  # Every view has a state of its own.
  remembers_hidden = False  # Those of the views; with them a mask is not enough anyway.

  def __init__(
    self,
    graph: Graph,
    image_pyramid: Sequence[float] = (1.0,),
    merge_method: str = 'max',
    flip: bool = False,
  ) -> None:
    """Prepares the views; nothing is traced.

    Args:
      graph: `InferenceGraph`.
      image_pyramid: scales, see `SegmenterOptions`.
      merge_method: 'max' or 'avg', how the logits of the scales are merged.
      flip: bool, whether every scale is also shown mirrored.

    Raises:
      ValueError: `graph` is an exported model, which segments frames as they are.
    """
    if not isinstance(graph, InferenceGraph):
      raise ValueError(
        'an exported model cannot segment at several scales or mirrored; load the '
        'weights it was exported from.'
      )
    self._graph = graph
    self._pyramid = tuple(image_pyramid)
    self._mirrorings = (False, True) if flip else (False,)
    self._views = [View(scale, m) for m in self._mirrorings for scale in self._pyramid]
    self._merge = tf.reduce_max if merge_method == 'max' else tf.reduce_mean
    self.options = graph.options

  def frame_geometry(
    self, size: tuple[int, int], max_internal_size: int | None = None
  ) -> FrameGeometry:
    """Sizes of a video's frames; see `contract.Graph`."""
    return self._graph.frame_geometry(size, max_internal_size)

  def sizes(self, geometry: FrameGeometry) -> list[Size | None]:
    """`FrameGeometry.stride_4` of every view."""
    return [geometry.at_scale(view.scale, self.options).stride_4 for view in self._views]

  def begin(
    self,
    frame: 'np.ndarray | tf.Tensor',
    labels: 'np.ndarray | tf.Tensor',
    num_objects: int,
    geometry: FrameGeometry,
    references: References | None = None,
  ) -> ViewsState:
    """State after the reference frame; see `contract.Graph`.

    Raises:
      ValueError: there are `references`: a video cannot be corrected with several views.
    """
    if references is not None:
      raise ValueError(
        'a video that is segmented at several scales or mirrored cannot be '
        'corrected; leave image_pyramid and flip at their defaults.'
      )
    states = []
    for view in self._views:
      shown = _mirror(labels, view, axis=1)
      sizes = geometry.at_scale(view.scale, self.options)
      if view.scale != 1.0:
        shown = shrink_object_labels(shown, num_objects, sizes.frame)
      states.append(self._graph.begin(_show(frame, view, sizes), shown, num_objects, sizes))
    return ViewsState(tuple(states))

  def advance(
    self,
    frame: 'np.ndarray | tf.Tensor',
    state: ViewsState,
    num_objects: int,
    geometry: FrameGeometry,
  ) -> Step:
    """Segments a frame; see `contract.Graph`.

    Logits and maps have the size of stride 4 of the largest scale. Maps are those of the scale
    closest to 1, not mirrored, without the smaller windows.
    """
    steps = []
    for view, of_view in zip(self._views, state.states):
      sizes = geometry.at_scale(view.scale, self.options)
      shown = self._graph.extract(_show(frame, view, sizes), sizes)
      # Its own labels are not needed, nor what follows from them (see `_tell`): the smallest size,
      # and a frame of it, cost next to nothing.
      steps.append(self._graph.step(*shown, of_view, num_objects, (1, 1), frame[:1, :1]))
    logits = self._merged([step.logits for step in steps], geometry)
    labels = winner.of_logits(self.enlarge(logits, frame, geometry))
    states = tuple(
      _tell(before, step.state, view, labels, logits, geometry, self.options.previous_prediction)
      for view, before, step in zip(self._views, state.states, steps)
    )
    closest = min(range(len(self._pyramid)), key=lambda i: abs(self._pyramid[i] - 1.0))
    far, prediction, near = (
      None if one is None else _resized(one, logits.shape[1:]) for one in steps[closest].maps[:3]
    )
    maps = Maps(far, prediction, near)
    return Step(labels, logits, maps, ViewsState(states), confidence.of_frame(logits, maps))

  def enlarge(
    self, logits: tf.Tensor, frame: 'np.ndarray | tf.Tensor', geometry: FrameGeometry
  ) -> tf.Tensor:
    """Logits at full size; see `contract.Graph`."""
    return self._graph.enlarge(logits, frame, geometry)

  def _merged(self, logits: Sequence[tf.Tensor], geometry: FrameGeometry) -> tf.Tensor:
    """Logits [objects, h4, w4] of all views, merged."""
    size = geometry.scaled(max(1.0, *self._pyramid) / 4)
    logits = [_mirror(_resized(one, size), view, axis=2) for one, view in zip(logits, self._views)]
    count = len(self._pyramid)
    groups = [
      self._merge(tf.stack(logits[i : i + count]), axis=0) for i in range(0, len(logits), count)
    ]
    if len(groups) == 1:
      return groups[0]
    probabilities = tf.reduce_mean(
      tf.stack([tf.nn.softmax(group, axis=0) for group in groups]), axis=0
    )
    return tf.math.log(tf.maximum(probabilities, _SMALLEST))


def _mirror(values: tf.Tensor, view: View, axis: int) -> tf.Tensor:
  return tf.reverse(values, [axis]) if view.mirrored else values


def _show(frame: 'np.ndarray | tf.Tensor', view: View, sizes: FrameGeometry) -> tf.Tensor:
  """The frame as a view shows it, uint8; `sizes` are the view's."""
  if sizes.frame != tuple(frame.shape[:2]):
    scaled = resizing.resize_bilinear(tf.cast(frame, tf.float32)[tf.newaxis], sizes.frame)[0]
    frame = tf.cast(tf.round(scaled), tf.uint8)
  return _mirror(frame, view, axis=1)


def _resized(maps: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
  """Maps [objects, h4, w4] at another size."""
  return maps if tuple(maps.shape[1:]) == tuple(size) else enlarge_logits(maps, size)


_cover = tf.function(crossing.cover, autograph=False, reduce_retracing=True)


def _tell(
  before: State,
  state: State,
  view: View,
  labels: 'np.ndarray | tf.Tensor',
  logits: tf.Tensor,
  geometry: FrameGeometry,
  previous_prediction: str,
) -> State:
  """The state of a view with the merged result as its previous frame's.

  Args:
    before: of the view, after the frame before.
    state: of the view, after the frame, with its own result.
    view: `View`.
    labels: int32 [height, width], the merged result.
    logits: float32 [objects, h4, w4], the merged ones.
    geometry: of the video's frames.
    previous_prediction: option of the model.
  """
  small = _mirror(labels, view, axis=1)
  if view.scale != 1.0:
    small = shrink_labels(small, geometry.scaled(view.scale))
  previous = state.previous
  size = previous.labels.shape
  small = shrink_labels(small, size)
  if previous_prediction == 'probabilities':
    soft = _mirror(_resized(tf.nn.softmax(logits, axis=0), size), view, axis=2)
  else:
    soft = feelvos.one_hot(small, logits.shape[0])
  previous = previous._replace(labels=small, probabilities=soft)
  if previous.hidden:
    # What objects cover of each other, by the merged labels.
    motion = previous.hidden_parts.motion
    hidden = _cover(before.previous, motion, small, previous.embedding)
    previous = previous._replace(hidden=hidden)
  return state._replace(previous=previous)

"""The arithmetic of inference as graph functions: extract, initialize, step.

One place for what `VideoSegmenter`, the exported SavedModels and the benchmarks run. The
functions take and return plain tensors; `contract` says which.

Source: paper section 3.6; original `research/feelvos/vis_video.py`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.deeplab import resizing
from feelvos_tf.inference import ablation
from feelvos_tf.inference import after_head
from feelvos_tf.inference import confidence
from feelvos_tf.inference import crossing
from feelvos_tf.inference import frozen_graph
from feelvos_tf.inference import guided_filter
from feelvos_tf.inference import head_area
from feelvos_tf.inference import winner
from feelvos_tf.inference.contract import References
from feelvos_tf.inference.contract import State
from feelvos_tf.inference.contract import Step
from feelvos_tf.model import geometry
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.feelvos import Maps
from feelvos_tf.model.feelvos import Mode
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.model.geometry import FrameGeometry
from feelvos_tf.model.options import FEWEST_REFERENCE_PIXELS
from feelvos_tf.model.options import InferenceOptions


def most_reference_pixels(
  labels: tf.Tensor, num_objects: tf.Tensor, options: InferenceOptions
) -> tf.Tensor | int | None:
  """How many reference pixels of an object are matched with, at most.

  Args:
    labels: int32 tensor of any shape, object index at stride 4; others than 0..num_objects - 1
      belong to no object.
    num_objects: int32 scalar.
    options: `InferenceOptions`; see `max_reference_pixels_per_object`, `max_reference_imbalance`.

  Returns:
    int, int32 scalar tensor, or None for all.
  """
  cap, imbalance = options.max_reference_pixels_per_object, options.max_reference_imbalance
  if imbalance is None:
    return cap
  labels = tf.boolean_mask(labels, (labels >= 0) & (labels < num_objects))
  counts = tf.math.bincount(labels, minlength=num_objects, maxlength=num_objects)
  # Objects that are not there do not count; without any there is nothing to limit.
  smallest = tf.reduce_min(tf.where(counts > 0, tf.cast(counts, tf.float32), float('inf')))
  limit = tf.clip_by_value(imbalance * smallest, FEWEST_REFERENCE_PIXELS, 2.0**30)
  limit = tf.cast(limit, tf.int32)
  return limit if cap is None else tf.minimum(limit, cap)


class InferenceFunctions:
  """A model's inference as plain functions, for use inside a graph of one's own.

  h4 and w4 are those of `FrameGeometry.stride_4`.

  Attributes:
    options: `FeelvosOptions` of the model.
  """

  def __init__(self, model: Feelvos) -> None:
    """Takes a `Feelvos`; nothing is traced."""
    self.options = model.options
    self._model = model

  def trace_extract(
    self, frame: np.ndarray | tf.Tensor, network_size: tf.Tensor | None = None
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """`InferenceGraph.extract` for use inside a graph.

    Args:
      frame: uint8 [height, width, 3], RGB.
      network_size: int32 [2], (height, width) at which the network sees the frame; None: by the
        options.

    Returns:
      (features float32 [h4, w4, 256], embedding float32 [h4, w4, embedding_dimension]).
    """
    images = frame[tf.newaxis]
    if self.options.resizes_frames:
      if network_size is None:
        network_size = FrameGeometry.of(tf.shape(frame)[:2], self.options).network
      images = resizing.resize_bilinear(tf.cast(images, tf.float32), network_size)
    features, embedding = self._model.extract(images)
    return features[0], embedding[0]

  def trace_initialize(
    self, embedding: tf.Tensor, labels: tf.Tensor, num_objects: int | tf.Tensor
  ) -> State:
    """`InferenceGraph.initialize` for use inside a graph.

    Args:
      embedding: float32 [h4, w4, embedding_dimension] of the reference frame.
      labels: int32 [height, width], object index.
      num_objects: int32 scalar, background included.
    """
    labels = geometry.shrink_object_labels(labels, num_objects, tf.shape(embedding)[:2])
    reference = self._prepare_reference(embedding, labels, num_objects)
    return State(reference, self._first_previous(embedding, labels, num_objects))

  def trace_correct(
    self,
    embedding: tf.Tensor,
    labels: tf.Tensor,
    num_objects: int | tf.Tensor,
    references: References,
  ) -> State:
    """`InferenceGraph.correct` for use inside a graph.

    Args:
      embedding: float32 [h4, w4, embedding_dimension] of the frame.
      labels: int32 [height, width], object index.
      num_objects: int32 scalar, background included.
      references: `References` to keep.
    """
    labels = geometry.shrink_object_labels(labels, num_objects, tf.shape(embedding)[:2])
    reference = self._prepare_reference(
      tf.concat([references.embeddings, embedding[tf.newaxis]], axis=0),
      tf.concat([references.labels, labels[tf.newaxis]], axis=0),
      num_objects,
    )
    return State(reference, self._first_previous(embedding, labels, num_objects))

  def trace_restore(
    self, references: References, previous: PreviousFrame, num_objects: int | tf.Tensor
  ) -> State:
    """State from what was kept of it outside the graph.

    Args:
      references: `References`; their labels are `previous.labels` of the state after
        `initialize` or `correct`.
      previous: `PreviousFrame` of the frame before.
      num_objects: int32 scalar, background included.

    Returns:
      `State`.
    """
    reference = self._prepare_reference(*references, num_objects)
    restored = self._model.previous_frame(*previous[:2], num_objects, previous.probabilities)
    return State(reference, restored._replace(hidden=previous.hidden))

  def _first_previous(
    self, embedding: tf.Tensor, labels: tf.Tensor, num_objects: int | tf.Tensor
  ) -> PreviousFrame:
    """`PreviousFrame` of a frame whose mask was given."""
    previous = self._model.previous_frame(embedding, labels, num_objects)
    if self.options.crossing_radius is None:
      return previous
    return previous._replace(hidden=crossing.nothing_hidden(embedding, num_objects))

  def _prepare_reference(
    self, embedding: tf.Tensor, labels: tf.Tensor, num_objects: int | tf.Tensor
  ) -> matching.ReferenceBank:
    return self._model.prepare_reference(
      embedding,
      labels,
      num_objects,
      most_reference_pixels(labels, num_objects, self.options),
      mode=Mode.INFERENCE,
    )

  def trace_step(
    self,
    features: tf.Tensor,
    embedding: tf.Tensor,
    state: State,
    num_objects: int | tf.Tensor,
    size: geometry.Size,
    frame: tf.Tensor | None = None,
  ) -> Step:
    """`InferenceGraph.step` for use inside a graph.

    Args:
      features: float32 [h4, w4, 256] of the frame.
      embedding: float32 [h4, w4, embedding_dimension] of the frame.
      state: `State` after the frame before.
      num_objects: int32 scalar, background included.
      size: (height, width) of the labels to return.
      frame: uint8 [frame height, frame width, 3], RGB, that was extracted; only a model with
        `guided_filter_epsilon` takes it.
    """
    maps, logits = self._match_and_segment(features, embedding, state, num_objects)
    logits, motion = after_head.decide(logits, maps, embedding, state, self.options)
    labels = winner.of_logits(self.trace_enlarge(logits, frame, size))
    previous = self._model.previous_frame(
      embedding,
      geometry.shrink_labels(labels, tf.shape(logits)[1:]),
      num_objects,
      tf.nn.softmax(logits, axis=0),
    )
    if motion is not None:
      hidden = crossing.cover(state.previous, motion, previous.labels, embedding)
      previous = previous._replace(hidden=hidden)
    return Step(
      labels, logits, maps, State(state.reference, previous), confidence.of_frame(logits, maps)
    )

  def trace_enlarge(
    self, logits: tf.Tensor, frame: tf.Tensor | None, size: geometry.Size
  ) -> tf.Tensor:
    """`InferenceGraph.enlarge` for use inside a graph; arguments as of `trace_step`."""
    epsilon = self.options.guided_filter_epsilon
    return guided_filter.enlarge_logits(logits, frame, size, epsilon)

  def _match_and_segment(
    self, features: tf.Tensor, embedding: tf.Tensor, state: State, num_objects: int | tf.Tensor
  ) -> tuple[Maps, tf.Tensor]:
    """The head's inputs and its logits, float32 [objects, h4, w4]."""
    guidance = self._model.guidance(state.reference, state.previous, num_objects)
    radius = head_area.radius_of(self.options)
    if radius is not None:
      return head_area.match_and_segment(
        self._model, radius, features, embedding, state, num_objects, guidance
      )
    maps = self._model.match(
      embedding, state.reference, state.previous, num_objects, mode=Mode.INFERENCE
    )
    maps = ablation.neutralise(maps, self.options)
    return maps, self._model.segment(features, maps, guidance=guidance)


class InferenceGraph(InferenceFunctions):
  """A model's inference as three graph functions with weights folded outside of them.

  Batch norm is folded into the convolutions once; the graphs capture the results as tensors.
  Constants inside the graphs would be as fast, but each step of freezing and optimising such a
  graph copies all of them: Xception-65 took 3.8 GB. Weights changed later are not seen.

  Attributes:
    options: `FeelvosOptions` of the model.
  """

  def __init__(self, model: Feelvos, freeze: bool = True) -> None:
    """Traces the model.

    Args:
      model: `Feelvos`.
      freeze: bool; False keeps variables (slower, but weights may change).
    """
    super().__init__(model)
    self._freeze = freeze
    frame = tf.TensorSpec([None, None, 3], tf.uint8, 'frame')
    count = tf.TensorSpec([], tf.int32, 'num_objects')
    labels = tf.TensorSpec([None, None], tf.int32, 'labels')
    size = tf.TensorSpec([2], tf.int32, 'size')
    # Frames that are taken as they are have no other size.
    sizes = [size] if self.options.resizes_frames else []
    extract = lambda *given: self.trace_extract(*given)
    self._extract, (features, embedding) = self._trace(extract, frame, *sizes)
    self._initialize, state = self._trace(self.trace_initialize, embedding, labels, count)
    guides = [frame] if self.options.enlarges_with_frames else []
    step = lambda *given: self.trace_step(*given)
    self._step, _ = self._trace(step, features, embedding, state, count, size, *guides)
    references = References(
      tf.TensorSpec([None, *embedding.shape], tf.float32),
      tf.TensorSpec([None, None, None], tf.int32),
    )
    self._correct, _ = self._trace(self.trace_correct, embedding, labels, count, references)

  def extract(
    self, frame: np.ndarray | tf.Tensor, geometry: FrameGeometry | None = None
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Features and embedding of a frame.

    Args:
      frame: uint8 [height, width, 3], RGB.
      geometry: `FrameGeometry` of its video; None: by its size and the options.

    Returns:
      (features float32 [h4, w4, 256], embedding float32 [h4, w4, embedding_dimension]).
    """
    if not self.options.resizes_frames:
      return self._extract(frame)
    if geometry is None:
      geometry = self.frame_geometry(tuple(frame.shape[:2]))
    return self._extract(frame, tf.constant(geometry.network, tf.int32))

  def initialize(
    self, embedding: tf.Tensor, labels: tf.Tensor, num_objects: int | tf.Tensor
  ) -> State:
    """State after the reference frame.

    Args:
      embedding: float32 [h4, w4, embedding_dimension] of the reference frame.
      labels: int32 [height, width], object index.
      num_objects: int32 scalar, background included.

    Returns:
      `State`.
    """
    return self._initialize(embedding, labels, num_objects)

  def correct(
    self,
    embedding: tf.Tensor,
    labels: tf.Tensor,
    num_objects: int | tf.Tensor,
    references: References,
  ) -> State:
    """State after a frame whose mask is given in the middle of a video.

    The frame is the previous frame of the next one, and it is matched globally in addition to the
    reference frames before it: the distance to an object is the smallest one to any of them.

    Args:
      embedding: float32 [h4, w4, embedding_dimension] of the frame.
      labels: int32 [height, width], object index.
      num_objects: int32 scalar, background included.
      references: `References` to keep, with the same object indices.

    Returns:
      `State`.
    """
    return self._correct(embedding, labels, num_objects, references)

  @property
  def remembers_masks(self) -> bool:
    """See `contract.Graph`."""
    return self.options.previous_prediction == 'labels'

  @property
  def remembers_hidden(self) -> bool:
    """See `contract.Graph`."""
    return self.options.crossing_radius is not None

  def frame_geometry(
    self, size: tuple[int, int], max_internal_size: int | None = None
  ) -> FrameGeometry:
    """Sizes of a video's frames; see `contract.Graph`."""
    return FrameGeometry.of(size, self.options, max_internal_size)

  def begin(
    self,
    frame: np.ndarray | tf.Tensor,
    labels: tf.Tensor,
    num_objects: int | tf.Tensor,
    geometry: FrameGeometry,
    references: References | None = None,
  ) -> State:
    """`extract`, then `initialize` or `correct`; see `contract.Graph`."""
    _, embedding = self.extract(frame, geometry)
    if references is None:
      return self.initialize(embedding, labels, num_objects)
    return self.correct(embedding, labels, num_objects, references)

  def advance(
    self,
    frame: np.ndarray | tf.Tensor,
    state: State,
    num_objects: int | tf.Tensor,
    geometry: FrameGeometry,
  ) -> Step:
    """`extract`, then `step`; see `contract.Graph`."""
    return self.step(*self.extract(frame, geometry), state, num_objects, geometry.frame, frame)

  def enlarge(
    self, logits: tf.Tensor, frame: np.ndarray | tf.Tensor, geometry: FrameGeometry
  ) -> tf.Tensor:
    """Logits at full size; see `contract.Graph`."""
    return self.trace_enlarge(logits, frame, geometry.frame)

  def step(
    self,
    features: tf.Tensor,
    embedding: tf.Tensor,
    state: State,
    num_objects: int | tf.Tensor,
    size: geometry.Size,
    frame: np.ndarray | tf.Tensor | None = None,
  ) -> Step:
    """Segments a frame.

    Args:
      features: float32 [h4, w4, 256] of the frame.
      embedding: float32 [h4, w4, embedding_dimension] of the frame.
      state: `State` after the frame before.
      num_objects: int32 scalar, background included.
      size: int32 [2], (height, width) of the labels to return.
      frame: uint8 [frame height, frame width, 3], RGB, that was extracted; only a model with
        `guided_filter_epsilon` needs it.

    Returns:
      `Step`.
    """
    size = tf.constant(size, tf.int32)
    guides = [frame] if self.options.enlarges_with_frames else []
    return self._step(features, embedding, state, num_objects, size, *guides)

  def _trace(self, function: Callable, *specs: Any) -> tuple[Callable, Any]:
    if self._freeze:
      concrete = frozen_graph.trace(function, specs)
    else:
      concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    outputs = tf.nest.map_structure(
      lambda tensor: None if tensor is None else tf.TensorSpec(tensor.shape, tensor.dtype),
      concrete.structured_outputs,
    )
    return concrete, outputs


def to_full_probabilities(logits: tf.Tensor, size: Sequence[int]) -> NDArray[np.float32]:
  """Softmax over objects of logits at full size.

  Args:
    logits: float32 [objects, h4, w4].
    size: (height, width).

  Returns:
    np.float32 [objects, height, width].
  """
  return np.asarray(tf.nn.softmax(geometry.enlarge_logits(logits, size), axis=0))

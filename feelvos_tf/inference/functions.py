"""The arithmetic of inference as plain functions of tensors: extract, initialize, correct, step.

One place for what `VideoSegmenter`, the exported SavedModels and the benchmarks run: `graph` traces
the functions, `saved_model.video_in_graph` has them inside of graphs of its own. `contract` says
what they take and return.

Source: paper section 3.6; original `research/feelvos/vis_video.py`.
"""

import numpy as np
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.deeplab import resizing
from feelvos_tf.inference import ablation
from feelvos_tf.inference import after_head
from feelvos_tf.inference import confidence
from feelvos_tf.inference import crossing
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

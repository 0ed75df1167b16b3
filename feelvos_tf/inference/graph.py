"""A model's inference, traced: graph functions with folded weights, called with arrays.

The arithmetic is in `functions`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from feelvos_tf.inference import frozen_graph
from feelvos_tf.inference.contract import References
from feelvos_tf.inference.contract import State
from feelvos_tf.inference.contract import Step
from feelvos_tf.inference.functions import InferenceFunctions
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.geometry import FrameGeometry
from feelvos_tf.model.geometry import Size


class InferenceGraph(InferenceFunctions):
  """A model's inference as four graph functions with weights folded outside of them.

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
    size: Size,
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

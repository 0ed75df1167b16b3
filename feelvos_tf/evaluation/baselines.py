"""What a model has to beat: methods with the interface of what is evaluated, but without a head."""

import numpy as np
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.inference import confidence
from feelvos_tf.inference.contract import References
from feelvos_tf.inference.contract import State
from feelvos_tf.inference.contract import Step
from feelvos_tf.inference.graph import InferenceGraph
from feelvos_tf.inference.segmented_frame import SegmentedFrame
from feelvos_tf.model.feelvos import Maps
from feelvos_tf.model.geometry import enlarge_labels
from feelvos_tf.model.geometry import enlarge_logits
from feelvos_tf.model.geometry import FrameGeometry


class CopyFirstMask:
  """Has `start` and `step` of `VideoSegmenter`; every mask is the first one."""

  def __init__(self) -> None:
    self._first = SegmentedFrame(np.zeros((0, 0), np.uint8), (0,))  # Until `start`.

  def start(self, frame: np.ndarray, mask: np.ndarray) -> SegmentedFrame:
    """Begins a video; `frame` is not looked at. `mask` is uint8 [height, width], object ids."""
    del frame
    self._first = SegmentedFrame(
      np.array(mask, np.uint8), (0,) + tuple(int(i) for i in np.unique(mask) if i)
    )
    return self._first

  def step(self, frame: np.ndarray) -> SegmentedFrame:
    """The first frame's result; `frame` is uint8 [height, width, 3] of the first one's size.

    Raises:
      ValueError: another size than the first frame's.
    """
    if frame.shape[:2] != self._first.mask.shape:
      raise ValueError(
        f'the frame is {frame.shape[1]}x{frame.shape[0]}, the first mask '
        f'{self._first.mask.shape[1]}x{self._first.mask.shape[0]}; frames of a '
        'video may not change size.'
      )
    return SegmentedFrame(self._first.mask.copy(), self._first.object_ids)


class GlobalMatching:
  """Every pixel at stride 4 becomes the object whose nearest reference pixel is nearest.

  A `contract.Graph` for `VideoSegmenter`. Only the embedding of a model is used: no head, no
  previous frame. Of equal distances the lowest object index wins, so what is at distance 1 of
  everything is background. Labels are enlarged by nearest neighbour. Distances are averaged over
  squares if the model's head gets such averages (`global_distance_square`).

  Source: the original does this for `classification_loss='triplet'` (`research/feelvos/model.py`,
  `predict_labels`).
  """

  remembers_masks = False
  remembers_hidden = False

  def __init__(self, graph: InferenceGraph) -> None:
    """Takes an `InferenceGraph`."""
    self._graph = graph
    self.options = graph.options
    self._match = tf.function(
      lambda embedding, bank, count: matching.mean_of_squares(
        matching.global_matching(embedding, bank, count, k=graph.options.k_nearest_neighbors),
        graph.options.patch_side,
      ),
      autograph=False,
      reduce_retracing=True,
    )

  def frame_geometry(
    self, size: tuple[int, int], max_internal_size: int | None = None
  ) -> FrameGeometry:
    """Sizes of a video's frames; see `contract.Graph`."""
    return self._graph.frame_geometry(size, max_internal_size)

  def begin(
    self,
    frame: np.ndarray,
    labels: np.ndarray,
    num_objects: int,
    geometry: FrameGeometry,
    references: References | None = None,
  ) -> State:
    """State after the reference frame; see `contract.Graph`."""
    return self._graph.begin(frame, labels, num_objects, geometry, references)

  def advance(
    self, frame: np.ndarray, state: State, num_objects: int, geometry: FrameGeometry
  ) -> Step:
    """Segments a frame; see `contract.Graph`.

    The logits are the negative distances; the state stays as it is.
    """
    _, embedding = self._graph.extract(frame, geometry)
    distance = self._match(embedding, state.reference, tf.constant(num_objects, tf.int32))
    small = tf.argmin(distance, axis=0, output_type=tf.int32)
    maps = Maps(global_distance=distance, previous_prediction=None, local_distance=None)
    return Step(
      enlarge_labels(small, geometry.frame),
      -distance,
      maps,
      state,
      confidence.of_frame(-distance, maps),
    )

  def enlarge(self, logits: tf.Tensor, frame: np.ndarray, geometry: FrameGeometry) -> tf.Tensor:
    """Logits at full size; labels are enlarged by nearest neighbour, unlike these."""
    del frame
    return enlarge_logits(logits, geometry.frame)

"""A video inside a graph: the frame with the mask, the state between calls, frame after frame.

The arithmetic is that of `inference.functions`, the one `VideoSegmenter` runs. Here it is put
between decoders and encoders of pictures and into a loop over frames.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from feelvos_tf.inference import frozen_graph
from feelvos_tf.inference.contract import References
from feelvos_tf.inference.contract import State
from feelvos_tf.inference.contract import Step
from feelvos_tf.inference.functions import InferenceFunctions
from feelvos_tf.model import geometry
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.saved_model import area_in_graph
from feelvos_tf.saved_model import png_in_graph
from feelvos_tf.saved_model import state_bytes as state_bytes_lib
from feelvos_tf.saved_model.checked import checked
from feelvos_tf.saved_model.checked import checked_all

# Arguments of signatures and functions: a frame, its labels, how many objects they name.
FRAME = tf.TensorSpec([None, None, 3], tf.uint8, 'image')
LABELS = tf.TensorSpec([None, None], tf.int32, 'labels')
COUNT = tf.TensorSpec([], tf.int32, 'num_objects')


def concrete(
  function: Callable, *specs: tf.TensorSpec, **named: tf.TensorSpec
) -> tf.types.experimental.ConcreteFunction:
  """A concrete function of specs."""
  return tf.function(function, autograph=False).get_concrete_function(*specs, **named)


class Video(NamedTuple):
  """A video that has been started: what stays, what changes, and the first mask if it is new.

  Attributes:
    kept: `VideoState`.
    state: `State`.
    masks: string [0 or 1], the first mask as a PNG if the video begins here.
    confidence: float32 [0 or 1, objects], of that mask.
  """

  kept: state_bytes_lib.VideoState
  state: State
  masks: tf.Tensor
  confidence: tf.Tensor


class VideoInGraph:
  """The frozen network of a model, and what is done with it for a video.

  Attributes:
    key: bytes of `state_bytes.model_key`.
    functions: `InferenceFunctions` of the model.
    state_spec: `State` of tf.TensorSpec.
    max_pixels: larger images are refused.
  """

  def __init__(self, model: Feelvos, jit_compile: bool, max_pixels: int) -> None:
    """Traces and freezes the network; for the arguments see `signatures.Signatures`."""
    self.max_pixels = max_pixels
    self.key = state_bytes_lib.model_key(model)
    self.functions = InferenceFunctions(model)
    self._options = model.options
    features = tf.TensorSpec([None, None, 256], tf.float32)
    embedding = tf.TensorSpec([None, None, model.options.embedding_dimension], tf.float32)
    state = concrete(self.functions.trace_initialize, embedding, LABELS, COUNT).structured_outputs
    self.state_spec = tf.nest.map_structure(
      lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), state
    )
    # Frames that are taken as they are have no other size.
    sizes = [tf.TensorSpec([2], tf.int32)] if model.options.resizes_frames else []
    self._network = frozen_graph.freeze(
      lambda *given: self.functions.trace_extract(*given), [FRAME, *sizes], jit_compile
    )
    guides = [FRAME] if model.options.enlarges_with_frames else []
    self._step = frozen_graph.freeze(
      lambda *given: self.functions.trace_step(*given),
      [features, embedding, self.state_spec, COUNT, tf.TensorSpec([2], tf.int32), *guides],
    )

  def extract(self, frame: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Features and embedding of a frame; one beyond `largest_side` is scaled down to it.

    Args:
      frame: uint8 [height, width, 3], RGB.

    Returns:
      (features float32 [h4, w4, 256], embedding float32 [h4, w4, embedding_dimension]).
    """
    return self._extract(self._shrink(frame), self._sizes(tf.shape(frame)[:2]))

  def step(self, frame: tf.Tensor, state: State, num_objects: tf.Tensor) -> Step:
    """Segments a frame.

    Args:
      frame: uint8 [height, width, 3], RGB.
      state: `State` after the frame before.
      num_objects: int32 scalar, background included.

    Returns:
      `Step` with labels of the frame's size.
    """
    shrunk, size = self._shrink(frame), tf.shape(frame)[:2]
    guides = [shrunk] if self._options.enlarges_with_frames else []
    features, embedding = self._extract(shrunk, self._sizes(size))
    return self._step(features, embedding, state, num_objects, size, *guides)

  def _shrink(self, frame: tf.Tensor) -> tf.Tensor:
    if self._options.largest_side is None:
      return frame
    return area_in_graph.shrink_frame(frame, self._sizes(tf.shape(frame)[:2]).internal)

  def _extract(self, shrunk: tf.Tensor, sizes: geometry.FrameGeometry) -> tuple:
    return self._network(shrunk, *([sizes.network] if self._options.resizes_frames else []))

  def shrink_labels(self, labels: tf.Tensor, num_objects: tf.Tensor) -> tf.Tensor:
    """Labels of a frame at the size that `extract` scales it to.

    Args:
      labels: int32 [height, width], object index.
      num_objects: int32 scalar, background included.

    Returns:
      int32 [height, width] of that size.
    """
    if self._options.largest_side is None:
      return labels
    size = self._sizes(tf.shape(labels)).internal
    smaller = lambda: geometry.shrink_object_labels(labels, num_objects, size)
    return tf.cond(tf.reduce_all(tf.equal(tf.shape(labels), size)), lambda: labels, smaller)

  def stride_4_size(self, size: tf.Tensor) -> tf.Tensor:
    """int32 [2], size of the maps of frames of a size."""
    return self._sizes(size).stride_4

  def _sizes(self, size: tf.Tensor) -> geometry.FrameGeometry:
    return geometry.FrameGeometry.of(size, self._options)

  def start(self, image_bytes: tf.Tensor, mask_bytes: tf.Tensor) -> Video:
    """A video after its first frame, string scalars of the frame and its mask."""
    frame = png_in_graph.decode_frame(image_bytes, self.max_pixels)
    mask = png_in_graph.decode_mask(mask_bytes, self.max_pixels)
    size = tf.shape(frame)[:2]
    present = tf.math.bincount(tf.cast(mask.ids, tf.int32), minlength=256, maxlength=256) > 0
    ids = checked_all(mask.ids, *_first_mask_checks(mask.ids, size, present))
    channel = tf.cast(present | (tf.range(256) == 0), tf.int32)
    labels = tf.gather(tf.cumsum(channel) - 1, tf.cast(ids, tf.int32))
    object_ids = tf.cast(tf.where(channel > 0)[:, 0], tf.uint8)
    count = tf.size(object_ids)
    _, embedding = self.extract(frame)
    state = self.functions.trace_initialize(embedding, self.shrink_labels(labels, count), count)
    kept = state_bytes_lib.VideoState(
      size,
      object_ids,
      mask.palette,
      References(embedding[tf.newaxis], state.previous.labels[tf.newaxis]),
      state.previous,
    )
    png = png_in_graph.encode_mask(mask.ids, mask.palette)
    return Video(kept, state, png[tf.newaxis], tf.ones([1, count]))

  def resume(self, state_bytes: tf.Tensor) -> Video:
    """A video from the bytes of its state, string scalar."""
    kept = state_bytes_lib.unpack(state_bytes, self.key, self._options, self.max_pixels)
    count = tf.size(kept.object_ids)
    state = self.functions.trace_restore(kept.references, kept.previous, count)
    return Video(kept, state, tf.zeros([0], tf.string), tf.zeros([0, count]))

  def run(self, image_bytes: tf.Tensor, video: Video) -> tuple[tf.Tensor, tf.Tensor, State]:
    """Segments frames: (masks string [T], confidence float32 [T, objects], last `State`)."""
    count = tf.size(video.kept.object_ids)
    total = tf.size(image_bytes)
    reference = video.state.reference

    def body(
      i: tf.Tensor, previous: PreviousFrame, masks: tf.TensorArray, confidence: tf.TensorArray
    ) -> tuple:
      frame = png_in_graph.decode_frame(image_bytes[i], self.max_pixels)
      frame = checked(
        frame,
        tf.reduce_all(tf.equal(tf.shape(frame)[:2], video.kept.size)),
        'frame: all frames of a video have to be of the size of the first. Number of the frame '
        'in this call, height, width, expected height and width:',
        i,
        tf.shape(frame)[:2],
        video.kept.size,
      )
      step = self.step(frame, State(reference, previous), count)
      ids = tf.gather(video.kept.object_ids, step.labels)
      return (
        i + 1,
        step.state.previous,
        masks.write(i, png_in_graph.encode_mask(ids, video.kept.palette)),
        confidence.write(i, step.confidence),
      )

    masks = tf.TensorArray(tf.string, total, element_shape=[])
    confidence = tf.TensorArray(tf.float32, total, element_shape=[None])
    shapes = tf.nest.map_structure(lambda spec: spec.shape, self.state_spec.previous)
    # One frame at a time: several would need several times the memory.
    _, previous, masks, confidence = tf.while_loop(
      lambda i, *_: i < total,
      body,
      (tf.constant(0), video.state.previous, masks, confidence),
      parallel_iterations=1,
      shape_invariants=(tf.TensorShape([]), shapes, tf.TensorShape(None), tf.TensorShape(None)),
    )
    confidence = tf.cond(total > 0, confidence.stack, lambda: tf.zeros([0, count]))
    return masks.stack(), confidence, State(reference, previous)


def _first_mask_checks(ids: tf.Tensor, size: tf.Tensor, present: tf.Tensor) -> tuple:
  return (
    (
      tf.reduce_all(tf.equal(tf.shape(ids), size)),
      'mask: it has to be of the size of the first frame. Height and width of mask and frame:',
      tf.shape(ids),
      size,
    ),
    (tf.reduce_any(present[1:]), 'mask: it holds background (0) only; mark at least one object.'),
  )

"""The signatures of an exported model: graphs from bytes to bytes, and from tensors to tensors.

A server without any of this code can segment a video with them; `video_in_graph` has what they
share.
"""

import tensorflow as tf

from feelvos_tf.inference import frozen_graph
from feelvos_tf.inference import winner
from feelvos_tf.inference.contract import from_named
from feelvos_tf.inference.contract import References
from feelvos_tf.inference.contract import State
from feelvos_tf.inference.contract import to_named
from feelvos_tf.model import geometry
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.saved_model import png_in_graph
from feelvos_tf.saved_model import state_bytes as state_bytes_lib
from feelvos_tf.saved_model import track_batch
from feelvos_tf.saved_model.checked import checked
from feelvos_tf.saved_model.checked import checked_all
from feelvos_tf.saved_model.video_in_graph import concrete
from feelvos_tf.saved_model.video_in_graph import COUNT
from feelvos_tf.saved_model.video_in_graph import FRAME
from feelvos_tf.saved_model.video_in_graph import LABELS
from feelvos_tf.saved_model.video_in_graph import Video
from feelvos_tf.saved_model.video_in_graph import VideoInGraph


class Signatures:
  """Builds the signatures of a model.

  >>> signatures = Signatures(load_model('feelvos_tf/pretrained/mobilenet_v2.h5')).build()
  >>> tf.saved_model.save(tf.Module(), folder, signatures)
  """

  def __init__(
    self, model: Feelvos, jit_compile: bool = False, max_pixels: int = png_in_graph.MAX_PIXELS
  ) -> None:
    """Traces and freezes the network; takes some seconds.

    Args:
      model: `Feelvos`, of the precision wanted.
      jit_compile: compile features and embedding with XLA. The matching depends on the content of
        the frames, which XLA cannot compile.
      max_pixels: int, larger images are refused.
    """
    self._model = model
    self._video = VideoInGraph(model, jit_compile, max_pixels)
    self._state_spec = self._video.state_spec

  def build(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
    """Returns a dict of name to concrete function, for `tf.saved_model.save`."""
    images = tf.TensorSpec([None], tf.string, 'image_bytes')
    image = tf.TensorSpec([], tf.string, 'image_bytes')
    mask = tf.TensorSpec([], tf.string, 'mask_bytes')
    packed = tf.TensorSpec([], tf.string, 'state_bytes')
    state = {
      name: tf.TensorSpec(spec.shape, _outside(spec.dtype), name)
      for name, spec in self._state_spec.to_named().items()
    }
    embedding = self._state_spec.previous.embedding
    references = {
      'reference_embeddings': tf.TensorSpec(
        [None, *embedding.shape], tf.float32, 'reference_embeddings'
      ),
      'reference_labels': tf.TensorSpec([None, None, None], tf.int32, 'reference_labels'),
    }
    previous = {name: state[name] for name in to_named('previous', self._state_spec.previous)}
    track = concrete(self.track, images, mask)
    signatures = {
      'serving_default': track,
      'track': track,
      'track_batch': track_batch.build(track),
      'track_resume': concrete(self.track_resume, images, mask, packed),
      'initialize': concrete(self.initialize, FRAME, LABELS, COUNT),
      'correct': concrete(self.correct, FRAME, LABELS, COUNT, **references),
      'step': concrete(self.step, FRAME, COUNT, **state),
      'save_state': concrete(
        self.save_state,
        tf.TensorSpec([2], tf.int32, 'size'),
        tf.TensorSpec([None], tf.int32, 'object_ids'),
        tf.TensorSpec([], tf.string, 'palette_bytes'),
        **references,
        **previous,
      ),
      'restore_state': concrete(self.restore_state, packed),
      'embed': concrete(self.embed, image),
    }
    if self._model.options.model.num_classes:
      self._semantic = frozen_graph.freeze(self._trace_semantic, [FRAME])
      signatures['segment_image'] = concrete(self.segment_image, image)
    return signatures

  def track(self, image_bytes: tf.Tensor, mask_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
    """Segments a video.

    Args:
      image_bytes: string [T], frames as JPEG or PNG, all of one size.
      mask_bytes: string scalar, palette or grey PNG with the objects on the first frame.

    Returns:
      dict: `masks_bytes` string [T], palette PNGs, the first as given; `object_ids` int32
      [objects], background 0 first; `confidence` float32 [T, objects], see
      `inference.confidence`, 1 for the given mask.
    """
    video = self._video.start(_first(image_bytes), mask_bytes)
    return self._outputs(*self._video.run(image_bytes[1:], video)[:2], video)

  def track_resume(
    self, image_bytes: tf.Tensor, mask_bytes: tf.Tensor, state_bytes: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """`track` for a video in chunks: starts with a mask, goes on with the state before.

    Args:
      image_bytes: string [T], the next frames.
      mask_bytes: string scalar: the first frame's mask in the first call, '' after that.
      state_bytes: string scalar: '' in the first call, then `state_bytes` of the call before.

    Returns:
      dict as of `track`, and `state_bytes` string scalar.
    """
    first_frame = _first(image_bytes)
    fresh = tf.equal(tf.strings.length(state_bytes), 0)
    image_bytes = checked(
      image_bytes,
      tf.not_equal(fresh, tf.equal(tf.strings.length(mask_bytes), 0)),
      'give either mask_bytes (the first chunk of a video) or state_bytes (any other), and "" '
      'for the other one.',
    )
    video = tf.cond(
      fresh,
      lambda: self._video.start(first_frame, mask_bytes),
      lambda: self._video.resume(state_bytes),
    )
    masks, confidence, state = self._video.run(image_bytes[tf.cast(fresh, tf.int32) :], video)
    packed = state_bytes_lib.pack(
      video.kept._replace(previous=state.previous), self._video.key, self._model.options
    )
    return {**self._outputs(masks, confidence, video), 'state_bytes': packed}

  def initialize(
    self, image: tf.Tensor, labels: tf.Tensor, num_objects: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """State after a reference frame.

    Args:
      image: uint8 [height, width, 3], RGB.
      labels: int32 [height, width], object index, 0 for background.
      num_objects: int32 scalar, background included.

    Returns:
      dict of the tensors that `step` takes, see `contract.State.to_named`.
    """
    labels = checked_all(labels, *_label_checks(image, labels, num_objects))
    _, embedding = self._video.extract(image)
    state = self._video.functions.trace_initialize(
      embedding, self._video.shrink_labels(labels, num_objects), num_objects
    )
    return _state_tensors(state)

  def correct(
    self, image: tf.Tensor, labels: tf.Tensor, num_objects: tf.Tensor, **references: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """State after a frame whose mask is given in the middle of a video.

    Args:
      image: uint8 [height, width, 3], RGB.
      labels: int32 [height, width], object index, 0 for background.
      num_objects: int32 scalar, background included.
      **references: `reference_embeddings` float32 [references, h4, w4, channels] and
        `reference_labels` int32 [references, h4, w4]: `previous_embedding` and `previous_labels`
        that `initialize` and `correct` returned for the reference frames to keep. Where objects
        are new, labels have to be given with the indices that the objects have now.

    Returns:
      dict of the tensors that `step` takes, see `contract.State.to_named`.
    """
    kept = from_named(References, 'reference', references)
    labels = checked_all(
      labels,
      *_label_checks(image, labels, num_objects),
      _reference_check(kept, self._video.stride_4_size(tf.shape(image)[:2])),
    )
    _, embedding = self._video.extract(image)
    state = self._video.functions.trace_correct(
      embedding, self._video.shrink_labels(labels, num_objects), num_objects, kept
    )
    return _state_tensors(state)

  def save_state(
    self, size: tf.Tensor, object_ids: tf.Tensor, palette_bytes: tf.Tensor, **tensors: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """The state of a video as `track_resume` takes it.

    Args:
      size: int32 [2], height and width of the frames.
      object_ids: int32 [objects], background 0 first, ascending.
      palette_bytes: string scalar, PLTE chunk of the masks to write.
      **tensors: the references as of `correct`, and `previous_*` of the last step.

    Returns:
      dict: `state_bytes` string scalar.
    """
    references = from_named(References, 'reference', tensors)
    previous = from_named(PreviousFrame, 'previous', tensors)
    size = checked_all(size, _reference_check(references, self._video.stride_4_size(size)))
    kept = state_bytes_lib.VideoState(
      size, tf.cast(object_ids, tf.uint8), palette_bytes, references, previous
    )
    return {'state_bytes': state_bytes_lib.pack(kept, self._video.key, self._model.options)}

  def restore_state(self, state_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
    """The tensors of a state, string scalar of `save_state` or `track_resume`.

    Returns:
      dict: what `save_state` takes, and the tensors that `step` takes.
    """
    video = self._video.resume(state_bytes)
    kept = video.kept
    return {
      'size': kept.size,
      'object_ids': tf.cast(kept.object_ids, tf.int32),
      'palette_bytes': kept.palette,
      **to_named('reference', kept.references),
      **_state_tensors(video.state),
    }

  def step(
    self, image: tf.Tensor, num_objects: tf.Tensor, **state: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Segments a frame.

    Args:
      image: uint8 [height, width, 3], RGB.
      num_objects: int32 scalar, background included.
      **state: the tensors of `initialize`; those of the previous frame from the step before.

    Returns:
      dict: `labels` int32 [height, width] object index, `probabilities` float32 [objects, h4, w4],
      `confidence` float32 [objects], and the tensors `previous_*` for the next step.
    """
    before = State.from_named(
      {name: tf.cast(state[name], spec.dtype) for name, spec in self._state_spec.to_named().items()}
    )
    size = tf.shape(image)[:2]
    image = checked_all(image, _state_check(before, self._video.stride_4_size(size), num_objects))
    step = self._video.step(image, before, num_objects)
    return {
      'labels': step.labels,
      'probabilities': tf.nn.softmax(step.logits, axis=0),
      'confidence': step.confidence,
      **to_named('previous', step.state.previous),
    }

  def embed(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
    """Embedding float32 [h4, w4, channels] of an image, string scalar (JPEG or PNG)."""
    frame = png_in_graph.decode_frame(image_bytes, self._video.max_pixels)
    return {'embedding': self._video.extract(frame)[1]}

  def segment_image(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
    """DeepLab's semantic segmentation of an image, string scalar (JPEG or PNG).

    Returns:
      dict: `logits` float32 [h4, w4, classes], `labels` int32 [height, width].
    """
    frame = png_in_graph.decode_frame(image_bytes, self._video.max_pixels)
    logits = self._semantic(frame)
    full = geometry.enlarge_logits(tf.transpose(logits, [2, 0, 1]), tf.shape(frame)[:2])
    return {'logits': logits, 'labels': winner.of_logits(full)}

  def _trace_semantic(self, frame: tf.Tensor) -> tf.Tensor:
    return self._model.deeplab(tf.cast(frame[tf.newaxis], tf.float32))['logits'][0]

  @staticmethod
  def _outputs(masks: tf.Tensor, confidence: tf.Tensor, video: Video) -> dict[str, tf.Tensor]:
    return {
      'masks_bytes': tf.concat([video.masks, masks], axis=0),
      'object_ids': tf.cast(video.kept.object_ids, tf.int32),
      'confidence': tf.concat([video.confidence, confidence], axis=0),
    }


def _first(image_bytes: tf.Tensor) -> tf.Tensor:
  message = 'image_bytes is empty; give at least one frame.'
  return checked(image_bytes, tf.size(image_bytes) > 0, message)[0]


def _label_checks(image: tf.Tensor, labels: tf.Tensor, num_objects: tf.Tensor) -> tuple:
  return (
    (
      tf.reduce_all(tf.equal(tf.shape(image)[:2], tf.shape(labels))),
      'image and labels have to be of one size, given:',
      tf.shape(image),
      tf.shape(labels),
    ),
    (
      tf.reduce_all((labels >= 0) & (labels < num_objects)),
      'labels have to be 0 to num_objects - 1; num_objects given:',
      num_objects,
    ),
  )


def _outside(dtype: tf.DType) -> tf.DType:
  """Type of a state's tensor in signatures: JSON and many clients have no bfloat16."""
  return tf.float32 if dtype == tf.bfloat16 else dtype


def _state_tensors(state: State) -> dict[str, tf.Tensor]:
  """dict of the tensors of a `State` as signatures have them."""
  return {
    name: tf.cast(tensor, _outside(tensor.dtype)) for name, tensor in state.to_named().items()
  }


def _reference_check(references: References, h4w4: tf.Tensor) -> tuple:
  shape = tf.shape(references.labels)
  fits = tf.reduce_all(tf.equal(shape[1:], h4w4)) & tf.reduce_all(
    tf.equal(tf.shape(references.embeddings)[:3], shape)
  )
  return (
    fits,
    'reference_embeddings and reference_labels have to be of frames of the size given; shape of '
    'the labels, then h4 and w4 expected:',
    shape,
    h4w4,
  )


def _state_check(state: State, h4w4: tf.Tensor, num_objects: tf.Tensor) -> tuple:
  shape = tf.shape(state.previous.probabilities)
  fits = (
    tf.reduce_all(tf.equal(shape[1:], h4w4))
    & tf.equal(shape[0], num_objects)
    & tf.reduce_all(tf.equal(tf.shape(state.previous.labels), h4w4))
    & tf.reduce_all(tf.equal(tf.shape(state.previous.embedding)[:2], h4w4))
  )
  if state.previous.hidden:
    hidden = state.previous.hidden
    fits &= tf.reduce_all(tf.equal(tf.shape(hidden.labels), h4w4))
    fits &= tf.reduce_all(tf.equal(tf.shape(hidden.embedding)[:2], h4w4))
    fits &= tf.equal(tf.shape(hidden.motion)[0], num_objects)
  return (
    fits,
    'the state is of frames of another size or of another number of objects. Objects, h4 and w4 '
    'of the state, then what image and num_objects ask for:',
    shape,
    num_objects,
    h4w4,
  )

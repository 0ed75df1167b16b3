"""The signatures of an exported model: graphs from bytes to bytes, and from tensors to tensors.

The arithmetic is that of `inference.InferenceFunctions`, the one `VideoSegmenter` runs. Here it is
put between a PNG decoder and a PNG encoder and into a loop over frames, so that a server without
any of this code can segment a video.
"""

from typing import NamedTuple

import tensorflow as tf

from feelvos_tf.inference import frozen_graph
from feelvos_tf.inference import graph
from feelvos_tf.inference.contract import from_named
from feelvos_tf.inference.contract import References
from feelvos_tf.inference.contract import State
from feelvos_tf.inference.contract import to_named
from feelvos_tf.model import geometry
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.saved_model import area_in_graph
from feelvos_tf.saved_model import png_in_graph
from feelvos_tf.saved_model import state_bytes as state_bytes_lib
from feelvos_tf.saved_model import track_batch


class _Video(NamedTuple):
  """A video that has been started: what stays, what changes, and the first mask if it is new."""

  kept: state_bytes_lib.VideoState
  state: State
  masks: tf.Tensor
  confidence: tf.Tensor


class Signatures:
  """Builds the signatures of a model.

  >>> signatures = Signatures(load_model('feelvos_tf/pretrained/mobilenet_v2.h5')).build()
  >>> tf.saved_model.save(tf.Module(), folder, signatures)
  """

  def __init__(self, model, jit_compile=False, max_pixels=png_in_graph.MAX_PIXELS):
    """Traces and freezes the network; takes some seconds.

    Args:
      model: `Feelvos`, of the precision wanted.
      jit_compile: compile features and embedding with XLA. The matching depends on the content of
        the frames, which XLA cannot compile.
      max_pixels: int, larger images are refused.
    """
    self._model = model
    self._max_pixels = max_pixels
    self._key = state_bytes_lib.model_key(model)
    self._functions = graph.InferenceFunctions(model)
    channels = model.options.embedding_dimension
    frame = tf.TensorSpec([None, None, 3], tf.uint8, 'image')
    labels = tf.TensorSpec([None, None], tf.int32, 'labels')
    count = tf.TensorSpec([], tf.int32, 'num_objects')
    features = tf.TensorSpec([None, None, 256], tf.float32)
    embedding = tf.TensorSpec([None, None, channels], tf.float32)
    self._frame, self._labels, self._count = frame, labels, count
    state = _concrete(self._functions.trace_initialize, embedding, labels, count).structured_outputs
    self._state_spec = tf.nest.map_structure(
      lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), state
    )
    # Frames that are taken as they are have no other size.
    sizes = [tf.TensorSpec([2], tf.int32)] if model.options.resizes_frames else []
    self._network = frozen_graph.freeze(
      lambda *given: self._functions.trace_extract(*given), [frame, *sizes], jit_compile
    )
    self._step = frozen_graph.freeze(
      self._functions.trace_step,
      [features, embedding, self._state_spec, count, tf.TensorSpec([2], tf.int32)],
    )

  def build(self):
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
    track = _concrete(self.track, images, mask)
    signatures = {
      'serving_default': track,
      'track': track,
      'track_batch': track_batch.build(track),
      'track_resume': _concrete(self.track_resume, images, mask, packed),
      'initialize': _concrete(self.initialize, self._frame, self._labels, self._count),
      'correct': _concrete(self.correct, self._frame, self._labels, self._count, **references),
      'step': _concrete(self.step, self._frame, self._count, **state),
      'save_state': _concrete(
        self.save_state,
        tf.TensorSpec([2], tf.int32, 'size'),
        tf.TensorSpec([None], tf.int32, 'object_ids'),
        tf.TensorSpec([], tf.string, 'palette_bytes'),
        **references,
        **previous,
      ),
      'restore_state': _concrete(self.restore_state, packed),
      'embed': _concrete(self.embed, image),
    }
    if self._model.options.model.num_classes:
      self._semantic = frozen_graph.freeze(self._trace_semantic, [self._frame])
      signatures['segment_image'] = _concrete(self.segment_image, image)
    return signatures

  def track(self, image_bytes, mask_bytes):
    """Segments a video.

    Args:
      image_bytes: string [T], frames as JPEG or PNG, all of one size.
      mask_bytes: string scalar, palette or grey PNG with the objects on the first frame.

    Returns:
      dict: `masks_bytes` string [T], palette PNGs, the first as given; `object_ids` int32
      [objects], background 0 first; `confidence` float32 [T, objects], see
      `inference.confidence`, 1 for the given mask.
    """
    video = self._start(_first(image_bytes), mask_bytes)
    return self._outputs(*self._run(image_bytes[1:], video)[:2], video)

  def track_resume(self, image_bytes, mask_bytes, state_bytes):
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
    with tf.control_dependencies(
      [
        tf.debugging.Assert(
          tf.not_equal(fresh, tf.equal(tf.strings.length(mask_bytes), 0)),
          [
            'give either mask_bytes (the first chunk of a video) or state_bytes (any other), and "" '
            'for the other one.'
          ],
        )
      ]
    ):
      image_bytes = tf.identity(image_bytes)
    video = tf.cond(
      fresh, lambda: self._start(first_frame, mask_bytes), lambda: self._resume(state_bytes)
    )
    masks, confidence, state = self._run(image_bytes[tf.cast(fresh, tf.int32) :], video)
    packed = state_bytes_lib.pack(
      video.kept._replace(previous=state.previous), self._key, self._model.options
    )
    return {**self._outputs(masks, confidence, video), 'state_bytes': packed}

  def initialize(self, image, labels, num_objects):
    """State after a reference frame.

    Args:
      image: uint8 [height, width, 3], RGB.
      labels: int32 [height, width], object index, 0 for background.
      num_objects: int32 scalar, background included.

    Returns:
      dict of the tensors that `step` takes.
    """
    with tf.control_dependencies(_check_labels(image, labels, num_objects)):
      labels = tf.identity(labels)
    _, embedding = self._extract(image)
    state = self._functions.trace_initialize(
      embedding, self._shrink_labels(labels, num_objects), num_objects
    )
    return _state_tensors(state)

  def correct(self, image, labels, num_objects, **references):
    """State after a frame whose mask is given in the middle of a video.

    Args:
      image, labels, num_objects: as of `initialize`.
      **references: `reference_embeddings` float32 [references, h4, w4, channels] and
        `reference_labels` int32 [references, h4, w4]: `previous_embedding` and `previous_labels`
        that `initialize` and `correct` returned for the reference frames to keep. Where objects
        are new, labels have to be given with the indices that the objects have now.

    Returns:
      dict of the tensors that `step` takes.
    """
    references = from_named(References, 'reference', references)
    checks = _check_labels(image, labels, num_objects) + _check_references(
      references, self._stride_4_size(tf.shape(image)[:2])
    )
    with tf.control_dependencies(checks):
      labels = tf.identity(labels)
    _, embedding = self._extract(image)
    state = self._functions.trace_correct(
      embedding, self._shrink_labels(labels, num_objects), num_objects, references
    )
    return _state_tensors(state)

  def save_state(self, size, object_ids, palette_bytes, **tensors):
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
    with tf.control_dependencies(_check_references(references, self._stride_4_size(size))):
      size = tf.identity(size)
    kept = state_bytes_lib.VideoState(
      size, tf.cast(object_ids, tf.uint8), palette_bytes, references, previous
    )
    return {'state_bytes': state_bytes_lib.pack(kept, self._key, self._model.options)}

  def restore_state(self, state_bytes):
    """The tensors of a state, string scalar of `save_state` or `track_resume`.

    Returns:
      dict: what `save_state` takes, and the tensors that `step` takes.
    """
    video = self._resume(state_bytes)
    kept = video.kept
    return {
      'size': kept.size,
      'object_ids': tf.cast(kept.object_ids, tf.int32),
      'palette_bytes': kept.palette,
      **to_named('reference', kept.references),
      **_state_tensors(video.state),
    }

  def step(self, image, num_objects, **state):
    """Segments a frame.

    Args:
      image: uint8 [height, width, 3], RGB.
      num_objects: int32 scalar, background included.
      **state: the tensors of `initialize`; those of the previous frame from the step before.

    Returns:
      dict: `labels` int32 [height, width] object index, `probabilities` float32 [objects, h4, w4],
      `confidence` float32 [objects], and the tensors `previous_*` for the next step.
    """
    state = State.from_named(
      {name: tf.cast(state[name], spec.dtype) for name, spec in self._state_spec.to_named().items()}
    )
    size = tf.shape(image)[:2]
    with tf.control_dependencies(_check_state_size(state, self._stride_4_size(size), num_objects)):
      features, embedding = self._extract(tf.identity(image))
    step = self._step(features, embedding, state, num_objects, size)
    return {
      'labels': step.labels,
      'probabilities': tf.nn.softmax(step.logits, axis=0),
      'confidence': step.confidence,
      **to_named('previous', step.state.previous),
    }

  def embed(self, image_bytes):
    """Embedding float32 [h4, w4, channels] of an image, string scalar (JPEG or PNG)."""
    frame = png_in_graph.decode_frame(image_bytes, self._max_pixels)
    return {'embedding': self._extract(frame)[1]}

  def segment_image(self, image_bytes):
    """DeepLab's semantic segmentation of an image, string scalar (JPEG or PNG).

    Returns:
      dict: `logits` float32 [h4, w4, classes], `labels` int32 [height, width].
    """
    frame = png_in_graph.decode_frame(image_bytes, self._max_pixels)
    logits = self._semantic(frame)
    full = geometry.enlarge_logits(tf.transpose(logits, [2, 0, 1]), tf.shape(frame)[:2])
    return {'logits': logits, 'labels': tf.argmax(full, axis=0, output_type=tf.int32)}

  def _trace_semantic(self, frame):
    return self._model.deeplab(tf.cast(frame[tf.newaxis], tf.float32))['logits'][0]

  def _extract(self, frame):
    """Features and embedding of a frame; one beyond `largest_side` is scaled down to it."""
    sizes = self._sizes(tf.shape(frame)[:2])
    if self._model.options.largest_side is not None:
      frame = area_in_graph.shrink_frame(frame, sizes.internal)
    return self._network(frame, *([sizes.network] if self._model.options.resizes_frames else []))

  def _shrink_labels(self, labels, num_objects):
    """Labels of a frame at the size that `_extract` scales it to."""
    if self._model.options.largest_side is None:
      return labels
    size = self._sizes(tf.shape(labels)).internal
    smaller = lambda: geometry.shrink_object_labels(labels, num_objects, size)
    return tf.cond(tf.reduce_all(tf.equal(tf.shape(labels), size)), lambda: labels, smaller)

  def _sizes(self, size):
    return geometry.FrameGeometry.of(size, self._model.options)

  def _stride_4_size(self, size):
    return self._sizes(size).stride_4

  def _start(self, image_bytes, mask_bytes):
    """`_Video` after its first frame."""
    frame = png_in_graph.decode_frame(image_bytes, self._max_pixels)
    mask = png_in_graph.decode_mask(mask_bytes, self._max_pixels)
    size = tf.shape(frame)[:2]
    present = tf.math.bincount(tf.cast(mask.ids, tf.int32), minlength=256, maxlength=256) > 0
    with tf.control_dependencies(_check_first_mask(mask.ids, size, present)):
      channel = tf.cast(present | (tf.range(256) == 0), tf.int32)
      labels = tf.gather(tf.cumsum(channel) - 1, tf.cast(mask.ids, tf.int32))
    object_ids = tf.cast(tf.where(channel > 0)[:, 0], tf.uint8)
    count = tf.size(object_ids)
    _, embedding = self._extract(frame)
    state = self._functions.trace_initialize(embedding, self._shrink_labels(labels, count), count)
    kept = state_bytes_lib.VideoState(
      size,
      object_ids,
      mask.palette,
      References(embedding[tf.newaxis], state.previous.labels[tf.newaxis]),
      state.previous,
    )
    png = png_in_graph.encode_mask(mask.ids, mask.palette)
    return _Video(kept, state, png[tf.newaxis], tf.ones([1, count]))

  def _resume(self, state_bytes):
    """`_Video` from the bytes of its state."""
    kept = state_bytes_lib.unpack(state_bytes, self._key, self._model.options, self._max_pixels)
    count = tf.size(kept.object_ids)
    state = self._functions.trace_restore(kept.references, kept.previous, count)
    return _Video(kept, state, tf.zeros([0], tf.string), tf.zeros([0, count]))

  def _run(self, image_bytes, video):
    """Segments frames: (masks string [T], confidence float32 [T, objects], last `State`)."""
    count = tf.size(video.kept.object_ids)
    total = tf.size(image_bytes)
    reference = video.state.reference

    def body(i, previous, masks, confidence):
      frame = png_in_graph.decode_frame(image_bytes[i], self._max_pixels)
      with tf.control_dependencies(
        [
          tf.debugging.Assert(
            tf.reduce_all(tf.equal(tf.shape(frame)[:2], video.kept.size)),
            [
              'frame: all frames of a video have to be of the size of the first. Number of the frame '
              'in this call, height, width, expected height and width:',
              i,
              tf.shape(frame)[:2],
              video.kept.size,
            ],
          )
        ]
      ):
        features, embedding = self._extract(tf.identity(frame))
      step = self._step(features, embedding, State(reference, previous), count, video.kept.size)
      ids = tf.gather(video.kept.object_ids, step.labels)
      return (
        i + 1,
        step.state.previous,
        masks.write(i, png_in_graph.encode_mask(ids, video.kept.palette)),
        confidence.write(i, step.confidence),
      )

    masks = tf.TensorArray(tf.string, total, element_shape=[])
    confidence = tf.TensorArray(tf.float32, total, element_shape=[None])
    shapes = tf.nest.map_structure(lambda spec: spec.shape, self._state_spec.previous)
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

  @staticmethod
  def _outputs(masks, confidence, video):
    return {
      'masks_bytes': tf.concat([video.masks, masks], axis=0),
      'object_ids': tf.cast(video.kept.object_ids, tf.int32),
      'confidence': tf.concat([video.confidence, confidence], axis=0),
    }


def _concrete(function, *specs, **named):
  return tf.function(function, autograph=False).get_concrete_function(*specs, **named)


def _first(image_bytes):
  with tf.control_dependencies(
    [
      tf.debugging.Assert(
        tf.size(image_bytes) > 0, ['image_bytes is empty; give at least one frame.']
      )
    ]
  ):
    return tf.identity(image_bytes)[0]


def _check_labels(image, labels, num_objects):
  fits = tf.reduce_all(tf.equal(tf.shape(image)[:2], tf.shape(labels)))
  known = tf.reduce_all((labels >= 0) & (labels < num_objects))
  return [
    tf.debugging.Assert(
      fits, ['image and labels have to be of one size, given:', tf.shape(image), tf.shape(labels)]
    ),
    tf.debugging.Assert(
      known, ['labels have to be 0 to num_objects - 1; num_objects given:', num_objects]
    ),
  ]


def _outside(dtype):
  """Type of a state's tensor in signatures: JSON and many clients have no bfloat16."""
  return tf.float32 if dtype == tf.bfloat16 else dtype


def _state_tensors(state):
  """dict of the tensors of a `State` as signatures have them."""
  return {
    name: tf.cast(tensor, _outside(tensor.dtype)) for name, tensor in state.to_named().items()
  }


def _check_references(references, h4w4):
  shape = tf.shape(references.labels)
  fits = tf.reduce_all(tf.equal(shape[1:], h4w4)) & tf.reduce_all(
    tf.equal(tf.shape(references.embeddings)[:3], shape)
  )
  return [
    tf.debugging.Assert(
      fits,
      [
        'reference_embeddings and reference_labels have to be of frames of the size given; shape of '
        'the labels, then h4 and w4 expected:',
        shape,
        h4w4,
      ],
    )
  ]


def _check_first_mask(ids, size, present):
  return [
    tf.debugging.Assert(
      tf.reduce_all(tf.equal(tf.shape(ids), size)),
      [
        'mask: it has to be of the size of the first frame. Height and width of mask and frame:',
        tf.shape(ids),
        size,
      ],
    ),
    tf.debugging.Assert(
      tf.reduce_any(present[1:]), ['mask: it holds background (0) only; mark at least one object.']
    ),
  ]


def _check_state_size(state, h4w4, num_objects):
  shape = tf.shape(state.previous.probabilities)
  fits = (
    tf.reduce_all(tf.equal(shape[1:], h4w4))
    & tf.equal(shape[0], num_objects)
    & tf.reduce_all(tf.equal(tf.shape(state.previous.labels), h4w4))
    & tf.reduce_all(tf.equal(tf.shape(state.previous.embedding)[:2], h4w4))
  )
  return [
    tf.debugging.Assert(
      fits,
      [
        'the state is of frames of another size or of another number of objects. Objects, h4 and w4 '
        'of the state, then what image and num_objects ask for:',
        shape,
        num_objects,
        h4w4,
      ],
    )
  ]

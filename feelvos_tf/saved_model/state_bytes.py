"""The state of a video between two calls as one string, packed and checked inside a graph.

Layout, version 2, little endian, no padding:

  8 bytes   magic
  8 bytes   key of the model (`model_key`): states of other weights are refused
  10 int32  version; height, width of the frames; h4, w4 of the embeddings; channels; number of
            objects; length of the palette; 1 if probabilities follow, else 0, and 2 more if hidden
            parts follow; number of references
  ids       uint8 [objects], background 0 first, ascending
  palette   a whole PLTE chunk of a PNG
  labels    uint8 [h4, w4] of every reference frame, then of the previous one; object index, in
            reference frames also 255 for a pixel that a correction took from its object. With 256
            objects 255 is the last one's index, and such a pixel is written as another one's copy
  embedding bfloat16 [h4, w4, channels] of every reference frame, then of the previous one
  soft map  float32 [objects, h4, w4], previous prediction, only if the model wants it soft
  hidden    parts (`HiddenParts`), only if the model has `crossing_radius`: motion int16
            [objects, 2], labels uint8 [h4, w4], embedding bfloat16 [positions, channels] of
            those where the labels are not 0
  8 bytes   FarmHash64 of everything before

Embeddings are rounded to bfloat16: a resumed video may differ from an undisturbed one in a few
pixels. The checksum finds damage; it is no signature. What a stranger may have made up is checked
all the same, so that it can do no worse than give wrong masks.
"""

from collections.abc import Sequence
import hashlib
import json
import struct
from typing import NamedTuple

import tensorflow as tf

from feelvos_tf.inference import contradiction
from feelvos_tf.inference.contract import References
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.feelvos import HiddenParts
from feelvos_tf.model.feelvos import one_hot
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.model.geometry import FrameGeometry
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.saved_model import png_in_graph
from feelvos_tf.saved_model.checked import checked

VERSION = 2
MAX_REFERENCES = 16
_MAGIC = b'FEELVOS\x00'
_KEY_BYTES = 8
_NUMBERS = 10
_HEADER_BYTES = len(_MAGIC) + _KEY_BYTES + 4 * _NUMBERS
_CHECKSUM_BYTES = 8
_LONGEST_PALETTE = 768 + 12
_NO_LABEL = 255  # Of a reference pixel, with fewer than 256 objects.
_SIZES_DIFFER = 'state: sizes that do not fit each other; start the video again with mask_bytes.'
# Options that version 0.1 did not have. They change a model's key where they differ from their
# defaults only, so that its videos go on. Every new option belongs here.
_LATER_OPTIONS = (
  'other_object_distances',
  'local_window_radii',
  'global_distance_square',
  'object_gates',
  'joint_head',
  'reference_choice',
  'largest_side',
  'internal_size',
  'internal_scale_limits',
  'far_parts_radius',
  'unlike_parts_margin',
  'parted_factor',
  'crossing_radius',
  'least_positions',
  'rule_distance_factor',
  'guided_filter_epsilon',
  'head_area_radius',
)


class VideoState(NamedTuple):
  """The state of a video between two calls.

  Attributes:
    size: int32 [2], height and width of the frames.
    object_ids: uint8 [objects], background 0 first.
    palette: string scalar, PLTE chunk for the masks to write.
    references: `References`.
    previous: `PreviousFrame`.
  """

  size: tf.Tensor
  object_ids: tf.Tensor
  palette: tf.Tensor
  references: References
  previous: PreviousFrame


def model_key(model: Feelvos) -> bytes:
  """8 bytes that tell models apart: a hash of the options and all weights of a `Feelvos`."""
  defaults = type(model.options)().to_dict()
  options = {
    name: value
    for name, value in model.options.to_dict().items()
    if name not in _LATER_OPTIONS or value != defaults[name]
  }
  digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
  for variable in model.weights:
    digest.update(variable.numpy().astype('<f4').tobytes())
  return digest.digest()[:_KEY_BYTES]


def size_and_objects(data: bytes) -> tuple[tuple[int, int], int] | None:
  """What a state says of its video; nothing else of it is looked at.

  Args:
    data: bytes of `pack`, or any others.

  Returns:
    ((height, width) of the frames, number of objects without background); None for what is no state
    of this version.
  """
  if len(data) < _HEADER_BYTES or not data.startswith(_MAGIC):
    return None
  version, height, width, _, _, _, objects, *_ = struct.unpack_from(
    f'<{_NUMBERS}i', data, len(_MAGIC) + _KEY_BYTES
  )
  return ((height, width), objects - 1) if version == VERSION else None


def _is_soft(options: FeelvosOptions) -> bool:
  """Whether the previous prediction is stored; `unpack` makes a one-hot map of the labels again."""
  return options.previous_prediction == 'probabilities'


def _has_hidden(options: FeelvosOptions) -> bool:
  """Whether hidden parts are stored."""
  return options.crossing_radius is not None


def _what_follows(options: FeelvosOptions) -> int:
  """The number that says which parts follow the embeddings."""
  return int(_is_soft(options)) + 2 * int(_has_hidden(options))


def pack(state: VideoState, key: bytes, options: FeelvosOptions) -> tf.Tensor:
  """Packs a state.

  Args:
    state: `VideoState`.
    key: bytes of `model_key`.
    options: `FeelvosOptions` of the model.

  Returns:
    string scalar.
  """
  references = _writable(state.references, tf.size(state.object_ids))
  shape = tf.shape(references.embeddings)
  numbers = tf.stack(
    [
      VERSION,
      state.size[0],
      state.size[1],
      shape[1],
      shape[2],
      shape[3],
      tf.size(state.object_ids),
      tf.strings.length(state.palette),
      _what_follows(options),
      shape[0],
    ]
  )
  parts = [_MAGIC, key, _to_bytes(numbers), _to_bytes(state.object_ids), state.palette]
  parts += [
    _to_bytes(tf.cast(labels, tf.uint8)) for labels in (references.labels, state.previous.labels)
  ]
  parts += [
    _to_bytes(tf.cast(values, tf.bfloat16))
    for values in (references.embeddings, state.previous.embedding)
  ]
  if _is_soft(options):
    parts.append(_to_bytes(state.previous.probabilities))
  if _has_hidden(options):
    hidden = state.previous.hidden_parts
    parts += [
      _to_bytes(tf.cast(hidden.motion, tf.int16)),
      _to_bytes(tf.cast(hidden.labels, tf.uint8)),
      _to_bytes(tf.cast(tf.boolean_mask(hidden.embedding, hidden.labels > 0), tf.bfloat16)),
    ]
  body = tf.strings.join(parts)
  return tf.strings.join([body, _to_bytes(_checksum(body))])


def _writable(references: References, num_objects: tf.Tensor) -> References:
  """References with labels that are 0..255."""
  embeddings, labels = references
  nobody = tf.equal(labels, contradiction.NO_LABEL)

  def as_copies() -> tuple[tf.Tensor, tf.Tensor]:
    # No distance changes with a pixel that is there twice.
    somebody = tf.where(~nobody)[0]
    copy, label = tf.gather_nd(embeddings, somebody), tf.gather_nd(labels, somebody)
    return tf.where(nobody, label, labels), tf.where(nobody[..., tf.newaxis], copy, embeddings)

  labels, embeddings = tf.cond(
    tf.equal(num_objects, _NO_LABEL + 1) & tf.reduce_any(nobody) & ~tf.reduce_all(nobody),
    as_copies,
    lambda: (tf.where(nobody, _NO_LABEL, labels), embeddings),
  )
  return References(embeddings, labels)


def unpack(
  data: tf.Tensor, key: bytes, options: FeelvosOptions, max_pixels: int = png_in_graph.MAX_PIXELS
) -> VideoState:
  """Unpacks and checks a state.

  Args:
    data: string scalar of `pack`.
    key: bytes of `model_key`.
    options: `FeelvosOptions` of the model.
    max_pixels: int, largest frame.

  Returns:
    `VideoState`.

  Raises:
    tf.errors.InvalidArgumentError: when the graph runs: not a state, damaged, of another version or
      of another model.
  """
  data = _whole(data, key)
  numbers = tf.ensure_shape(
    tf.io.decode_raw(tf.strings.substr(data, len(_MAGIC) + _KEY_BYTES, 4 * _NUMBERS), tf.int32),
    [_NUMBERS],
  )
  numbers = _fitting(numbers, tf.strings.length(data), options, max_pixels)
  return _possible(_parse(data, numbers, options))


def _to_bytes(values: tf.Tensor) -> tf.Tensor:
  """String scalar with the memory of a tensor.

  `serialize_tensor` writes them as the last field of its message, so they are its end.
  """
  if values.dtype != tf.uint8:
    values = tf.bitcast(values, tf.uint8)
  message, count = tf.io.serialize_tensor(values), tf.size(values)
  return tf.strings.substr(message, tf.strings.length(message) - count, count)


def _checksum(data: tf.Tensor) -> tf.Tensor:
  return tf.raw_ops.Fingerprint(data=[data], method='farmhash64')[0]


def _whole(data: tf.Tensor, key: bytes) -> tf.Tensor:
  """The bytes, after magic, version, checksum and key were looked at, one after the other."""
  length = tf.strings.length(data)
  start = tf.strings.substr(tf.strings.join([data, bytes(_HEADER_BYTES)]), 0, _HEADER_BYTES)
  start = checked(
    start,
    (length > _HEADER_BYTES + _CHECKSUM_BYTES)
    & (tf.strings.substr(start, 0, len(_MAGIC)) == _MAGIC),
    'state: these bytes are not the state of a video; give state_bytes of the call before.',
  )
  version = tf.io.decode_raw(tf.strings.substr(start, len(_MAGIC) + _KEY_BYTES, 4), tf.int32)[0]
  data = checked(
    data,
    tf.equal(version, VERSION),
    f'state: another version given, this model reads {VERSION}; start the '
    'video again with mask_bytes. Given:',
    version,
  )
  body = tf.strings.substr(data, 0, length - _CHECKSUM_BYTES)
  stored = tf.strings.substr(data, length - _CHECKSUM_BYTES, _CHECKSUM_BYTES)
  start = checked(
    start,
    tf.equal(_to_bytes(_checksum(body)), stored),
    'state: damaged or changed bytes given (the checksum differs); start the video again with '
    'mask_bytes.',
  )
  return checked(
    data,
    tf.strings.substr(start, len(_MAGIC), _KEY_BYTES) == key,
    'state: the state of another model given; go on with the model that made it, or start the video '
    'again with mask_bytes.',
  )


def _fitting(
  numbers: tf.Tensor, length: tf.Tensor, options: FeelvosOptions, max_pixels: int
) -> tf.Tensor:
  """The numbers, if they fit each other, the model and the length."""
  _, height, width, h4, w4, dimension, objects, palette, follows, references = tf.unstack(
    tf.cast(numbers, tf.float64)
  )
  embedding_size = FrameGeometry.of(numbers[1:3], options).stride_4
  has_hidden = int(_has_hidden(options))
  frames = (references + 1.0) * (1.0 + 2.0 * dimension)
  least = (
    _HEADER_BYTES
    + _CHECKSUM_BYTES
    + objects * (1.0 + 4.0 * has_hidden)
    + palette
    + h4 * w4 * (frames + 4.0 * objects * int(_is_soft(options)) + has_hidden)
  )
  # The embedding of what is hidden has as many positions as its labels say: `_parse` looks.
  most = least + h4 * w4 * 2.0 * dimension * has_hidden
  fits = (
    (height >= 1.0)
    & (width >= 1.0)
    & (height * width <= max_pixels)
    & tf.reduce_all(tf.equal(numbers[3:5], embedding_size))
    & tf.equal(dimension, options.embedding_dimension)
    & (objects >= 1.0)
    & (objects <= 256.0)
    & (palette >= 0.0)
    & (palette <= _LONGEST_PALETTE)
    & tf.equal(follows, float(_what_follows(options)))
    & (references >= 1.0)
    & (references <= MAX_REFERENCES)
    & (least <= tf.cast(length, tf.float64))
    & (tf.cast(length, tf.float64) <= most)
  )
  return checked(numbers, fits, _SIZES_DIFFER)


def _parse(data: tf.Tensor, numbers: tf.Tensor, options: FeelvosOptions) -> VideoState:
  """`VideoState` of checked bytes."""
  _, height, width, h4, w4, _, objects, palette_length, _, references = tf.unstack(numbers)
  channels = options.embedding_dimension
  position = _HEADER_BYTES

  def take(count: tf.Tensor) -> tf.Tensor:
    nonlocal position
    part = tf.strings.substr(data, position, count)
    position += count
    return part

  def take_tensor(shape: tf.Tensor | Sequence[int | tf.Tensor], dtype: tf.DType) -> tf.Tensor:
    part = take(tf.reduce_prod(shape) * dtype.size)
    return tf.reshape(tf.io.decode_raw(part, dtype), shape)

  object_ids = take_tensor([objects], tf.uint8)
  palette = take(palette_length)
  labels = [
    tf.cast(take_tensor(shape, tf.uint8), tf.int32) for shape in ([references, h4, w4], [h4, w4])
  ]
  is_index = (labels[0] < _NO_LABEL) | tf.equal(objects, _NO_LABEL + 1)
  labels[0] = tf.where(is_index, labels[0], contradiction.NO_LABEL)
  embeddings = [
    tf.cast(take_tensor(shape, tf.bfloat16), tf.float32)
    for shape in ([references, h4, w4, channels], [h4, w4, channels])
  ]
  if _is_soft(options):
    probabilities = take_tensor([objects, h4, w4], tf.float32)
  else:
    probabilities = one_hot(labels[1], objects)
  hidden: HiddenParts | tuple[()] = ()
  if _has_hidden(options):
    motion = tf.cast(take_tensor([objects, 2], tf.int16), tf.int32)
    hidden_labels = tf.cast(take_tensor([h4, w4], tf.uint8), tf.int32)
    where = tf.cast(tf.where(hidden_labels > 0), tf.int32)
    size = tf.shape(where)[0] * channels * tf.bfloat16.size
    where = checked(
      where, tf.equal(position + size + _CHECKSUM_BYTES, tf.strings.length(data)), _SIZES_DIFFER
    )
    looks = tf.cast(take_tensor([tf.shape(where)[0], channels], tf.bfloat16), tf.float32)
    hidden_embedding = tf.scatter_nd(where, looks, [h4, w4, channels])
    hidden = HiddenParts(hidden_embedding, hidden_labels, motion)
  return VideoState(
    tf.stack([height, width]),
    object_ids,
    palette,
    References(embeddings[0], labels[0]),
    PreviousFrame(embeddings[1], labels[1], probabilities, hidden),
  )


def _possible(state: VideoState) -> VideoState:
  """The state, if it can be one.

  Ids ascend from 0, labels are indices of objects, floats are finite, the palette is one.
  """
  ids = tf.cast(state.object_ids, tf.int32)
  count = tf.size(ids)
  good = tf.equal(ids[0], 0) & tf.reduce_all(ids[1:] > ids[:-1])
  good &= tf.reduce_all(state.references.labels < count)
  good &= tf.reduce_all(state.previous.labels < count)
  floats = [state.references.embeddings, state.previous.embedding, state.previous.probabilities]
  if state.previous.hidden:
    good &= tf.reduce_all(state.previous.hidden.labels < count)
    floats.append(state.previous.hidden.embedding)
  for values in floats:
    good &= tf.reduce_all(tf.math.is_finite(values))
  good &= tf.strings.substr(tf.strings.join([state.palette, bytes(8)]), 4, 4) == b'PLTE'
  return checked(
    state, good, 'state: values that no state can have; start the video again with mask_bytes.'
  )

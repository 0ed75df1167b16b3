"""Stateless requests: a signature of a version, tensors in, tensors out. For REST and for gRPC."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf

from feelvos_tf.serving import errors
from feelvos_tf.serving import stoppable
from feelvos_tf.serving import tracing
from feelvos_tf.serving.calls import Call
from feelvos_tf.serving.images import ImageDecoder
from feelvos_tf.serving.metrics import Metrics
from feelvos_tf.serving.model_store import ModelStore
from feelvos_tf.serving.model_store import Version
from feelvos_tf.serving.options import ServingOptions

DEFAULT_SIGNATURE = 'serving_default'


class Predictor:
  """Runs signatures; checks names, types and shapes as TensorFlow Serving does, and the limits."""

  def __init__(
    self, options: ServingOptions, models: ModelStore, decoder: ImageDecoder, metrics: Metrics
  ) -> None:
    """Args: `ServingOptions`, `ModelStore`, `ImageDecoder`, `Metrics`."""
    self._options, self._models = options, models
    self._decoder, self._metrics = decoder, metrics

  def signature(self, version: Version, name: str) -> Any:
    """`SignatureDef` of a version.

    Raises:
      RequestError: FAILED_PRECONDITION, there is none of that name.
    """
    name = name or DEFAULT_SIGNATURE
    if name not in version.loaded.signature_defs:
      raise errors.RequestError(
        grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
      )
    return version.loaded.signature_defs[name]

  def run(
    self,
    version: Version,
    signature_name: str,
    inputs: Mapping[str, np.ndarray],
    output_filter: Sequence[str] = (),
    call: Call | None = None,
  ) -> dict[str, np.ndarray]:
    """Runs a signature.

    Args:
      version: leased `Version`.
      signature_name: str; '' takes the default.
      inputs: {name: np array} in the dtypes and shapes of the signature; strings are bytes in
        arrays of objects.
      output_filter: names of outputs wanted; none means all.
      call: `Call`; the graph stops when that is over.

    Returns:
      {name: np array} in the dtypes and shapes of the signature; strings are bytes in arrays of
      objects.

    Raises:
      RequestError: names, types, shapes or sizes do not fit the signature or the limits.
      tf.errors.InvalidArgumentError: the graph refuses the values.
    """
    signature = self.signature(version, signature_name)
    _check_names(signature, inputs)
    wanted = _outputs(signature, output_filter)
    own = version.loaded.keeps_state
    inputs = {name: _as_meant(value, signature.inputs[name]) for name, value in inputs.items()}
    tensors = {
      name: _tensor(name, inputs[name], info, own) for name, info in signature.inputs.items()
    }
    if own:
      self._check_limits(inputs)
      with tracing.span('decode'):
        tensors.update(self._pictures(inputs))
    name = signature_name or DEFAULT_SIGNATURE
    with (
      self._metrics.predict_seconds.labels(version.name, name).time(),
      self._metrics.tf_serving.runtime(version.name),
      tracing.span('model'),
    ):
      results = stoppable.run(version.loaded.signatures[name], call, tensors)
      return {key: as_array(results[key]) for key in wanted}

  def check_size(self, shape: Sequence[int], item_bytes: int) -> None:
    """Refuses a tensor before memory for it is taken.

    A message of a few bytes can ask for any shape: one value is repeated to fill it.

    Args:
      shape: of the tensor.
      item_bytes: bytes of one value.

    Raises:
      RequestError: more bytes than `max_body_bytes`, or a negative side.
    """
    size = float(np.prod(np.asarray(shape, np.float64))) * item_bytes
    if size > self._options.max_body_bytes or any(side < 0 for side in shape):
      raise errors.invalid(
        f'a tensor of shape {list(shape)} given, at most '
        f'{self._options.max_body_bytes} bytes are taken.'
      )

  def _check_limits(self, inputs: Mapping[str, np.ndarray]) -> None:
    """The limits for the inputs of this project's exports, by name."""
    if 'image' in inputs:
      height, width = inputs['image'].shape[:2]
      self._decoder.check_size(height, width, 'image')
    if 'state_bytes' in inputs:
      self._decoder.check_state(np.asarray(inputs['state_bytes'], object).item())
    count = inputs.get('num_objects')
    if count is not None and not 1 <= count <= self._options.max_objects + 1:
      raise errors.invalid(
        f'num_objects: {count} given, expected 1 to '
        f'{self._options.max_objects + 1}, background included.'
      )

  def _pictures(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The encoded frames and masks of a request, checked, as a graph takes them."""
    prepare = {
      'image_bytes': self._decoder.frame_for_graph,
      'mask_bytes': self._decoder.mask_for_graph,
    }
    tensors = {}
    for name in prepare.keys() & inputs.keys():
      value = np.asarray(inputs[name], object)
      # track_resume takes '' for the mask that is not given.
      flat = [prepare[name](data) if data else data for data in value.ravel()]
      tensors[name] = tf.reshape(tf.constant(flat, tf.string), value.shape)
    return tensors


def as_array(tensor: tf.Tensor) -> np.ndarray:
  """np array of a result; strings are bytes in an array of objects, also a single one.

  TensorFlow gives plain bytes for that, which NumPy takes for text and cuts zeros off.
  """
  return np.asarray(tensor.numpy(), object if tensor.dtype == tf.string else None)


def _check_names(signature: Any, inputs: Mapping[str, np.ndarray]) -> None:
  sent, known = set(inputs), set(signature.inputs)
  if sent != known:
    join = lambda names: ','.join(sorted(names))
    raise errors.invalid(
      f'input size does not match signature: {len(sent)}!={len(known)} len({{{join(sent)}}}) != '
      f'len({{{join(known)}}}). Sent extra: {{{join(sent - known)}}}. Missing but required: '
      f'{{{join(known - sent)}}}.'
    )


def _outputs(signature: Any, output_filter: Sequence[str]) -> list[str]:
  wanted = list(dict.fromkeys(output_filter)) or sorted(signature.outputs)
  for name in wanted:
    if name not in signature.outputs:
      raise errors.invalid(
        f'output tensor alias not found in signature: {name} Outputs expected '
        f'to be in the set {{{",".join(sorted(signature.outputs))}}}.'
      )
  return wanted


def _as_meant(value: Any, info: Any) -> Any:
  """A value of shape [1] as a scalar where one is meant: some clients have no scalars."""
  is_scalar = not info.tensor_shape.unknown_rank and not info.tensor_shape.dim
  return np.reshape(value, ()) if is_scalar and np.shape(value) == (1,) else value


def _tensor(name: str, value: Any, info: Any, check_shape: bool) -> tf.Tensor:
  """The tensor of an input. TensorFlow Serving leaves shapes to the graph, and so do its models."""
  dtype = tf.as_dtype(info.dtype)
  given = tf.as_dtype(np.asarray(value).dtype)
  if given != dtype:
    raise errors.invalid(f'input {name}: expects to be {dtype.name} but {given.name} is provided.')
  shape = tf.TensorShape(info.tensor_shape)
  if check_shape and not shape.is_compatible_with(np.shape(value)):
    raise errors.invalid(
      f'input {name}: a tensor of shape {list(np.shape(value))} given, expected {shape}.'
    )
  return tf.constant(value, dtype)

"""What the Open Inference Protocol (KServe v2) says over REST and over gRPC alike.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol.
"""

from collections.abc import Mapping
import struct
from typing import Any, TYPE_CHECKING

import numpy as np
import tensorflow as tf

from feelvos_tf.serving import errors

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


NAME, VERSION, PLATFORM = 'feelvos', '2', 'tensorflow_savedmodel'
SIGNATURE = 'signature_name'  # Parameter of a request.
TYPES = {
  'BOOL': tf.bool, 'UINT8': tf.uint8, 'UINT16': tf.uint16, 'UINT32': tf.uint32,
  'UINT64': tf.uint64, 'INT8': tf.int8, 'INT16': tf.int16, 'INT32': tf.int32, 'INT64': tf.int64,
  'FP16': tf.float16, 'FP32': tf.float32, 'FP64': tf.float64, 'BYTES': tf.string,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in TYPES.items()}
_LENGTH = struct.Struct('<I')  # In front of each element of raw BYTES.


def type_name(dtype: np.dtype | int) -> str:
  """The protocol's name of a NumPy type, or of one in a signature."""
  return _NAMES.get(tf.as_dtype(dtype), 'BYTES')


def describe(infos: Mapping[str, Any]) -> list[dict]:
  """Name, datatype and shape of the inputs or outputs of a `SignatureDef`."""
  return [
    {
      'name': name,
      'datatype': type_name(info.dtype),
      'shape': [dim.size for dim in info.tensor_shape.dim],
    }
    for name, info in sorted(infos.items())
  ]


def is_ready(services: 'Services') -> bool:
  """Whether requests should be sent to this server."""
  return not services.stopping and bool(services.models.names())


def check_type(name: str, datatype: Any) -> tf.DType:
  """The type of an input.

  Raises:
    RequestError: the protocol has no such type.
  """
  dtype = TYPES.get(datatype) if isinstance(datatype, str) else None
  if dtype is None:
    raise errors.invalid(f'input {name}: datatype has to be one of {", ".join(TYPES)}.')
  return dtype


def array_of_bytes(values: list[bytes], shape: list[int]) -> np.ndarray:
  """Bytes as an array of objects.

  Args:
    values: bytes of every element in raster order.
    shape: of the result.

  Raises:
    ValueError: another number of values than the shape has.
  """
  if len(values) != int(np.prod(shape)):  # NumPy would repeat a single one.
    raise ValueError(f'{len(values)} elements')
  array = np.empty(len(values), object)
  array[:] = values
  return array.reshape(shape)


def from_raw(raw: bytes | memoryview, dtype: tf.DType, shape: list[int]) -> np.ndarray:
  """An array of its raw bytes, little endian; BYTES have the length of each element in front.

  Args:
    raw: bytes of all elements in raster order.
    dtype: of the result.
    shape: of the result.

  Raises:
    ValueError, struct.error: the bytes do not fit type and shape.
  """
  if dtype == tf.string:
    return array_of_bytes(_elements(raw), shape)
  little_endian = np.dtype(dtype.as_numpy_dtype).newbyteorder('<')
  return np.frombuffer(raw, little_endian).astype(dtype.as_numpy_dtype).reshape(shape)


def to_raw(value: np.ndarray) -> bytes:
  """The raw bytes of an array, of which `from_raw` makes it again."""
  if value.dtype == object:
    return b''.join(_LENGTH.pack(len(item)) + item for item in value.ravel())
  return value.astype(value.dtype.newbyteorder('<')).tobytes()


def _elements(raw: bytes | memoryview) -> list[bytes]:
  found, at = [], 0
  while at < len(raw):
    (length,) = _LENGTH.unpack_from(raw, at)
    at += _LENGTH.size
    if at + length > len(raw):
      raise ValueError('an element is longer than what was sent')
    found.append(bytes(raw[at : at + length]))
    at += length
  return found

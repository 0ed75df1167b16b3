"""What a run from one side says of a frame: bytes that a client keeps until the other run comes.

The runs from both masks of a stretch answer with them, and `merged` takes both back and merges
(`inference.merging`), so that the server remembers nothing of a stretch. Layout, little endian: the
number of objects, h4 and w4 (2 bytes each), an id of each object, then the log-probabilities,
float16 [objects, h4, w4].
"""

import struct

import numpy as np

from feelvos_tf.inference.merging import Opinion
from feelvos_tf.serving import errors

_HEAD = struct.Struct('<HHH')


def pack(opinion: Opinion) -> bytes:
  """Bytes of an `Opinion`."""
  body = np.ascontiguousarray(opinion.logs, '<f2').tobytes()
  return _HEAD.pack(*opinion.logs.shape) + bytes(opinion.object_ids) + body


def unpack(data: bytes, name: str) -> Opinion:
  """`Opinion` of bytes of `pack`.

  Args:
    data: what a client sent.
    name: of the field, for the message.

  Raises:
    RequestError: something else was sent.
  """
  problem = errors.invalid(f'{name}: expected an answer of /opinions, as it came.')
  if len(data) < _HEAD.size:
    raise problem
  count, height, width = _HEAD.unpack_from(data)
  ids = tuple(data[_HEAD.size : _HEAD.size + count])
  start = _HEAD.size + count
  if len(data) != start + 2 * count * height * width or ids[:1] != (0,) or not height * width:
    raise problem
  logs = np.frombuffer(data, '<f2', offset=start).reshape(count, height, width)
  if list(ids) != sorted(set(ids)) or not np.isfinite(logs).all():
    raise problem
  return Opinion(ids, logs)

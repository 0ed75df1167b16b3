"""What a run from one side thinks of a frame: bytes that a client keeps until the other run comes.

The run from the mask before a stretch answers with them, and the run from the mask behind it takes
them back and merges (`inference.merging`), so that the server remembers nothing of a stretch.
Layout: the number of objects (2 bytes, little endian), an id each, then the logits, float32.
"""

import struct

import numpy as np

from feelvos_tf.serving import errors

_COUNT = struct.Struct('<H')


def pack(object_ids: tuple[int, ...], logits: np.ndarray) -> bytes:
  """Bytes of (object ids, logits float32 [objects, h4, w4])."""
  body = np.ascontiguousarray(logits, '<f4').tobytes()
  return _COUNT.pack(len(object_ids)) + bytes(object_ids) + body


def unpack(data: bytes, size: tuple[int, int]) -> tuple[tuple[int, ...], np.ndarray]:
  """(object ids, logits float32 [objects, *size]) of bytes of `pack`.

  Args:
    data: what a client sent.
    size: (h4, w4) of the session's frames.

  Raises:
    RequestError: something else was sent, or it belongs to frames of another size.
  """
  problem = errors.invalid(
    'opinion: expected the answer of /opinions of a session with frames of this size, as it came.'
  )
  if len(data) < _COUNT.size:
    raise problem
  (count,) = _COUNT.unpack_from(data)
  ids = tuple(data[_COUNT.size : _COUNT.size + count])
  start = _COUNT.size + count
  if len(data) != start + 4 * count * size[0] * size[1] or ids[:1] != (0,):
    raise problem
  logits = np.frombuffer(data, '<f4', offset=start).reshape(count, *size)
  if list(ids) != sorted(set(ids)) or not np.isfinite(logits).all():
    raise problem
  return ids, logits

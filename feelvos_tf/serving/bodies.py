"""Bodies of requests, unpacked where they are packed."""

import asyncio
import zlib

import fastapi
import grpc

from feelvos_tf.serving import errors

_GZIP = 16 + zlib.MAX_WBITS
_PIECE_BYTES = 2048  # What is behind the end of a member is copied.


async def read(request: fastapi.Request, most: int) -> bytes:
  """The body of a request, which may be packed by gzip.

  Args:
    request: the request.
    most: bytes that it may unpack to.

  Raises:
    RequestError: another packing, damaged, or larger than allowed.
  """
  body = await request.body()
  packing = request.headers.get('content-encoding', 'identity').lower()
  if packing == 'identity':
    return body
  if packing != 'gzip':
    raise errors.invalid('Content-Encoding: expected gzip, or none.', 415)
  return await asyncio.to_thread(_unpack, body, most)


def _unpack(body: bytes, most: int) -> bytes:
  """What gzip data hold, which may have several members, one after the other."""
  content, at, unpacker = bytearray(), 0, zlib.decompressobj(_GZIP)
  while at < len(body):
    if unpacker.eof:
      unpacker = zlib.decompressobj(_GZIP)
    piece = body[at : at + _PIECE_BYTES]
    try:
      content += unpacker.decompress(piece, most - len(content) + 1)
    except zlib.error as error:
      raise errors.invalid(f'the body is no gzip data ({error}).') from error
    if len(content) > most:
      message = f'the body unpacks to more than {most} bytes; send less at a time.'
      raise errors.RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message, 413)
    at += len(piece) - len(unpacker.unused_data)
  if not unpacker.eof:
    raise errors.invalid('the body is cut off: its gzip data have no end.')
  return bytes(content)

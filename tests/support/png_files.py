"""PNG files put together by hand, and from arrays."""

import struct
import zlib

import cv2

SIGNATURE = b'\x89PNG\r\n\x1a\n'


def chunk(kind, data):
  """Bytes of a chunk with its length and checksum; `kind` is b'IHDR', for example."""
  return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def assemble(width, height, rows, bits=8, colour_type=0, interlaced=0):
  """A PNG of header, pixels (`rows`: bytes before they are compressed) and end."""
  header = struct.pack('>IIBBBBB', width, height, bits, colour_type, 0, 0, interlaced)
  parts = (b'IHDR', header), (b'IDAT', zlib.compress(rows)), (b'IEND', b'')
  return SIGNATURE + b''.join(chunk(kind, data) for kind, data in parts)


def encode(frame):
  """PNG of a uint8 RGB frame."""
  return cv2.imencode('.png', frame[..., ::-1])[1].tobytes()

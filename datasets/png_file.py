"""The structure of a PNG file, read without decoding it: size, chunks, EXIF data, where it ends.

The chunks and their checksums are those of the PNG specification (third edition, W3C 2025). As for
JPEG files, `whole_file` refuses a file with lost pixels and completes one that lacks its end only.
"""

from collections.abc import Iterator
import dataclasses
import struct
import zlib

SIGNATURE = b'\x89PNG\r\n\x1a\n'

WITHOUT_END = 'the end of the PNG file is missing; its pixels are complete and are used'

_MAX_CHUNKS = 100000  # 8 KiB of pixels each make 800 MB.
_MAX_TEXT = 1 << 23  # Bytes of all compressed texts and profiles together.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIECE = 1 << 20
# (first column, first row, columns between, rows between) of the passes of an interlaced file.
_PASSES = (
  (0, 0, 8, 8),
  (4, 0, 8, 8),
  (0, 4, 4, 8),
  (2, 0, 4, 4),
  (0, 2, 2, 4),
  (1, 0, 2, 2),
  (0, 1, 1, 2),
)


@dataclasses.dataclass
class PngFile:
  """What the chunks of a PNG file say.

  Attributes:
    width, height: pixels, as stored.
    bit_depth: bits of a sample.
    colour_type: 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha.
    interlaced: stored in seven passes.
    transparent: has a colour or palette entries that are transparent.
    exif: content of the eXIf chunk, or None.
    pixels: (start, end) of the content of each chunk of pixels.
    ended: the end chunk is there.
    frames: pictures of an animation; 1 of others.
    compressed_texts: (start, end) of compressed data in texts and the colour profile.
  """

  width: int = 0
  height: int = 0
  bit_depth: int = 0
  colour_type: int = 0
  interlaced: bool = False
  transparent: bool = False
  exif: bytes | None = None
  pixels: list = dataclasses.field(default_factory=list)
  ended: bool = False
  frames: int = 1
  compressed_texts: list = dataclasses.field(default_factory=list)


def read(data: bytes) -> PngFile:
  """Walks through the chunks and verifies their checksums.

  Args:
    data: the file, which starts with SIGNATURE.

  Returns:
    A PngFile.

  Raises:
    ValueError: cut before its pixels, damaged, or too many chunks. The message is a phrase without
      the file's name.
  """
  found, position = PngFile(), len(SIGNATURE)
  for _ in range(_MAX_CHUNKS):
    if position + 8 > len(data) or found.ended:
      break
    length, kind = struct.unpack('>I4s', data[position : position + 8])
    start, end = position + 8, position + 8 + length
    position = end + 4
    if position <= len(data):
      _check(data, kind, start, end)
    elif kind != b'IDAT':
      break
    _chunk(found, data, kind, start, min(end, len(data)))
  else:
    raise ValueError(f'a PNG of over {_MAX_CHUNKS} chunks')
  if not found.pixels:
    raise ValueError(f'the PNG is cut off: {len(data)} bytes without pixels')
  return found


def pixel_bytes(found: PngFile) -> int:
  """Number of bytes that the pixels take uncompressed, with a filter byte for every row."""
  bits = found.bit_depth * _CHANNELS[found.colour_type]
  passes = _PASSES if found.interlaced else ((0, 0, 1, 1),)
  total = 0
  for x, y, dx, dy in passes:
    columns, rows = -(-(found.width - x) // dx), -(-(found.height - y) // dy)
    if columns > 0 and rows > 0:
      total += rows * (1 + (columns * bits + 7) // 8)
  return total


def check_inflation(data: bytes, found: PngFile) -> None:
  """Inflates what a decoder would, and refuses more than a picture of this size holds.

  Raises:
    ValueError: surplus or damaged data; the message is a phrase without the file's name.
  """
  expected = pixel_bytes(found)
  if sum(map(len, _inflate(data, found, expected + 1))) > expected:
    raise ValueError(f'a PNG that unpacks to over the {expected} bytes of its pixels')
  total = 0
  for start, end in found.compressed_texts:
    unpacker = zlib.decompressobj()
    try:
      total += len(unpacker.decompress(data[start:end], _MAX_TEXT + 1 - total))
    except zlib.error:
      continue  # Decoders leave out a damaged text.
    if total > _MAX_TEXT:
      raise ValueError(f'a PNG whose texts unpack to over {_MAX_TEXT} bytes')


def whole_file(data: bytes, found: PngFile) -> tuple[bytes, bool]:
  """Completes a file that lacks only its end, and refuses one that lost pixels.

  Args:
    data: the file.
    found: `read` of it.

  Returns:
    (a file that ends with the end chunk, whether it had to be completed).

  Raises:
    ValueError: pixels are missing; the message is a phrase without the file's name.
  """
  if found.ended:
    return data, False
  expected = pixel_bytes(found)
  pixels = b''.join(_inflate(data, found, expected))
  if len(pixels) < expected:
    raise ValueError(f'the PNG is cut off after {len(data)} bytes')
  before = data[: found.pixels[0][0] - 8]
  return before + _encode(b'IDAT', zlib.compress(pixels, 1)) + _encode(b'IEND', b''), True


def _check(data: bytes, kind: bytes, start: int, end: int) -> None:
  """Critical chunks have to be whole; decoders leave out damaged other ones."""
  if kind[:1].isupper():
    stored = int.from_bytes(data[end : end + 4], 'big')
    if zlib.crc32(memoryview(data)[start - 4 : end]) != stored:
      raise ValueError('the PNG is damaged: a checksum is wrong')


def _chunk(found: PngFile, data: bytes, kind: bytes, start: int, end: int) -> None:
  if kind == b'IHDR' and not found.width:
    if end - start != 13:
      raise ValueError('the PNG is damaged: its header is too short')
    header = struct.unpack('>IIBBBBB', data[start:end])
    found.width, found.height, found.bit_depth, found.colour_type = header[:4]
    found.interlaced = header[6] == 1
    if found.colour_type not in _CHANNELS or not 0 < found.bit_depth <= 16:
      raise ValueError('the PNG is damaged: its header is wrong')
  elif not found.width:
    raise ValueError('the PNG is damaged: no header')
  elif kind == b'IDAT':
    found.pixels.append((start, end))
  elif kind == b'IEND':
    found.ended = True
  elif kind == b'tRNS':
    found.transparent = True
  elif kind == b'acTL':
    found.frames = int.from_bytes(data[start : start + 4], 'big')
  elif kind == b'eXIf':
    found.exif = data[start:end]
  elif kind in (b'zTXt', b'iCCP', b'iTXt'):
    _note_text(found, data, kind, start, end)


def _note_text(found: PngFile, data: bytes, kind: bytes, start: int, end: int) -> None:
  """Where the compressed part of a text or profile lies: after a name and one or more bytes."""
  name = data.find(b'\0', start, end)
  if name < 0:
    return
  packed = name + 2
  if kind == b'iTXt':
    if data[name + 1 : name + 2] != b'\1':
      return
    language = data.find(b'\0', name + 3, end)
    packed = data.find(b'\0', language + 1, end) + 1 if language > 0 else 0
  if start < packed < end:
    found.compressed_texts.append((packed, end))


def _inflate(data: bytes, found: PngFile, most: int) -> Iterator[bytes]:
  """Yields at most `most` bytes of unpacked pixels, in pieces; fewer if the data end early."""
  unpacker, size = zlib.decompressobj(), 0
  for start, end in found.pixels:
    packed = data[start:end]
    while packed and size < most and not unpacker.eof:
      try:
        piece = unpacker.decompress(packed, min(_PIECE, most - size))
      except zlib.error as error:
        raise ValueError(f'the PNG is damaged ({error})') from error
      yield piece
      size += len(piece)
      packed = unpacker.unconsumed_tail


def _encode(kind: bytes, content: bytes) -> bytes:
  checksum = zlib.crc32(kind + content)
  return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', checksum)

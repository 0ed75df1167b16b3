"""Whether the bytes of a video file are all there, read from its structure without decoding.

For containers that FFmpeg reads on to the last byte without a word when they break off. Each
function opens a file and answers True (torn: it ends before it should), False, or None where the
file does not say.
"""

from collections.abc import Iterator, Sequence
import itertools
import os
import re
import struct
from typing import BinaryIO

# Matroska (RFC 9559). Elements in these two are walked through, all others are skipped.
_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_ASF_HEADER = bytes.fromhex('3026b2758e66cf11a6d900aa0062ce6c')
_ASF_FILE_PROPERTIES = bytes.fromhex('a1dcab8c47a9cf118ee400c00c205365')
_NUT_INDEX = bytes.fromhex('4e58dd672f23e64e')
_PNG_END = bytes.fromhex('0000000049454e44ae426082')
_OGG_LAST_PAGE = 4
_OGG_LONGEST_PAGE = 65307
_Y4M_COLOURS = re.compile(r'(444alpha|411|420|422|444|mono)(?:jpeg|mpeg2|paldv)?p?(\d{1,2})?')
# Boxes of an mp4 file around those whose kinds are the codecs of a track; the last one has a
# version and a number before them.
_TO_CODECS = (b'moov', b'trak', b'mdia', b'minf', b'stbl', b'stsd')
_HEAD_OF_CODECS = 16
_PACKETS_LOOKED_AT = 1 << 14  # At the end of a transport stream, some 3 MB.
_PACKETS_BEFORE = 1 << 12  # A place in it, some .8 MB.
_CHUNKS_LOOKED_AT = 64  # Of an AVI file; its index comes after a handful.
_SYNC, _FILLING = 0x47, 0x1FFF  # First byte of a packet; number of those without content.


def torn(path: str | os.PathLike, formats: frozenset) -> bool | None:
  """Whether a file ends before its structure does.

  Args:
    path: the file.
    formats: FFmpeg's names of its format, such as {'matroska', 'webm'}.
  """
  for name, check in _CHECKS.items():
    if name in formats:
      with open(path, 'rb') as stream:
        return check(stream, os.path.getsize(path))
  return None


def _matroska(stream: BinaryIO, size: int) -> bool | None:
  """Walks from element to element; what is written live has no lengths of segment and clusters."""
  position = 0
  while position < size:
    stream.seek(position)
    head = stream.read(12)
    kind, used = _ebml_number(head, 0, keep_marker=True)
    length, end = _ebml_number(head, used)
    if not used or not end:
      return position + len(head) >= size  # Else something unknown, which FFmpeg finds its way in.
    position += end
    if kind in (_SEGMENT, _CLUSTER):
      if length is not None and position + length > size:
        return True
    elif length is None:
      return None
    else:
      position += length
  return position > size


def _ebml_number(data: bytes, start: int, keep_marker: bool = False) -> tuple[int | None, int]:
  """(number of variable length, where it ends), RFC 8794; (None, end) is unknown, (0, 0) none."""
  first = data[start] if start < len(data) else 0
  end = start + 9 - first.bit_length()
  if not first or end > len(data):
    return 0, 0
  value = int.from_bytes(data[start:end], 'big')
  if keep_marker:
    return value, end
  marker = 1 << (7 * (end - start))
  return (None if value == 2 * marker - 1 else value - marker), end


def _transport_stream(stream: BinaryIO, size: int) -> bool | None:
  """Whether it ends inside a packet."""
  layout = _packet_layout(stream)
  if layout is None:
    return None
  return True if size % layout[0] else None  # Whole packets say nothing of those after them.


def _packet_layout(stream: BinaryIO) -> tuple[int, int] | None:
  """(bytes from packet to packet, bytes before a packet); None if two packets do not begin so."""
  head = stream.read(409)
  for length, offset in ((188, 0), (192, 4), (204, 0)):
    if head[offset : offset + 1] == head[offset + length : offset + length + 1] == b'G':
      return length, offset
  return None


def in_unit(path: str | os.PathLike, pid: int) -> bool:
  """Whether a transport stream seems to end inside a frame, although it ends with a packet.

  The last packet of a frame is filled up (ISO 13818-1, 2.4.3.4), unless the frame fits exactly,
  which one in 184 does. So a last packet that is full is a hint and no proof.

  Args:
    path: a file whose format is mpegts.
    pid: number of the video's packets.
  """
  with open(path, 'rb') as stream:
    layout = _packet_layout(stream)
    if layout is None:
      return False
    length, offset = layout
    count = os.path.getsize(path) // length
    first = max(0, count - _PACKETS_LOOKED_AT)
    stream.seek(first * length)
    tail = stream.read((count - first) * length)
  for start in range(len(tail) - length + offset, -1, -length):
    packet = tail[start : start + 188]
    if packet[:1] == b'G' and int.from_bytes(packet[1:3], 'big') & 0x1FFF == pid:
      return not _is_filled_up(packet)
  return False


def continues(path: str | os.PathLike, start: int, end: int, since: int = 0) -> bool:
  """Whether a transport stream was written in one go between two places of the file.

  The packets of each stream are counted (ISO 13818-1, 2.4.3.3). Where files were joined, the counts
  break, but for one in 16 that goes on by chance; so packets before the place are looked at, too.

  Args:
    path: a file whose format is mpegts.
    start, end: places where packets begin, in bytes.
    since: packets before this place are of another recording.
  """
  with open(path, 'rb') as stream:
    layout = _packet_layout(stream)
    if layout is None:
      return False
    length, offset = layout
    first = max(since // length, start // length - _PACKETS_BEFORE)
    stream.seek(first * length)
    data = stream.read((end // length + 1 - first) * length)
  counts: dict[int, int] = {}
  for at in range(offset, len(data) - 187, length):
    packet = data[at : at + 188]
    number = int.from_bytes(packet[1:3], 'big') & 0x1FFF
    has_field, has_payload, count = packet[3] & 0x20, bool(packet[3] & 0x10), packet[3] & 15
    is_marked = has_field and packet[4] and packet[5] & 0x80
    last = counts.get(number, count - has_payload)
    if packet[0] != _SYNC or is_marked:
      return False
    # A packet may come twice; those that fill up the stream are not counted.
    if number != _FILLING and count not in (last, (last + has_payload) % 16):
      return False
    counts[number] = count
  return True


def lacks_index(path: str | os.PathLike) -> bool:
  """Whether a NUT file has no index at its end, where most programs write one.

  The index ends with its distance from the end of the file and a checksum.
  """
  size = os.path.getsize(path)
  with open(path, 'rb') as stream:
    stream.seek(max(0, size - 12))
    distance = int.from_bytes(stream.read(8), 'big')
    stream.seek(max(0, size - distance))
    return stream.read(8) != _NUT_INDEX


def repeats_at_end(path: str | os.PathLike, number: int) -> int:
  """How many frames at the end of an AVI file repeat the one before: their chunks are empty.

  FFmpeg leaves them out, but the length that the file gives counts them.

  Args:
    path: a file whose format is avi.
    number: of the track.
  """
  index, position = b'', 12
  with open(path, 'rb') as stream:
    for _ in range(_CHUNKS_LOOKED_AT):
      stream.seek(position)
      kind, length = stream.read(4), int.from_bytes(stream.read(4), 'little')
      if kind == b'idx1':
        index = stream.read(length)
        break
      position += 8 + length + length % 2
  whole = index[: len(index) // 16 * 16]
  entries = [
    entry for entry in struct.iter_unpack('<4sIII', whole) if entry[0][:3] == b'%02dd' % number
  ]
  return sum(1 for _ in itertools.takewhile(lambda entry: not entry[3], reversed(entries)))


def _is_filled_up(packet: bytes) -> bool:
  """Whether a transport packet's adaptation field holds more than clocks and private data."""
  if not packet[3] & 0x20:
    return False
  length, flags = packet[4], packet[5]
  if not length:
    return True
  used = 1 + 6 * (flags >> 4 & 1) + 6 * (flags >> 3 & 1) + (flags >> 2 & 1)
  if flags & 2:
    used += 1 + packet[5 + used]
  return length > used


def _y4m(stream: BinaryIO, size: int) -> bool | None:
  """Whether the last of its frames, all of one size, is not whole."""
  fields = stream.readline(4096).decode('ascii', 'replace').split()
  found = {field[0]: field[1:] for field in fields[1:]}
  try:
    width, height = int(found['W']), int(found['H'])
  except (KeyError, ValueError):
    return None
  length = _y4m_frame_bytes(width, height, found.get('C', '420'))
  if length is None:
    return None
  while line := stream.readline(4096):
    if not line.endswith(b'\n'):
      return True
    if not line.startswith(b'FRAME'):
      return None
    stream.seek(length, os.SEEK_CUR)
  return stream.tell() > size


def _y4m_frame_bytes(width: int, height: int, colours: str) -> int | None:
  """Bytes of a frame's planes; None for a kind that is not known here."""
  match = _Y4M_COLOURS.fullmatch(colours)
  if not match:
    return None
  half_width, half_height, quarter_width = -(-width // 2), -(-height // 2), -(-width // 4)
  samples = {
    '420': width * height + 2 * half_width * half_height,
    '422': height * (width + 2 * half_width),
    '411': height * (width + 2 * quarter_width),
    '444': 3 * width * height,
    '444alpha': 4 * width * height,
    'mono': width * height,
  }
  return samples[match[1]] * (2 if match[2] and int(match[2]) > 8 else 1)


def _gif(stream: BinaryIO, size: int) -> bool | None:
  """Whether it lacks the byte 3B at its end, after which some programs add zeros."""
  stream.seek(max(0, size - 4096))
  return not stream.read().rstrip(b'\0').endswith(b';')


def _mov(stream: BinaryIO, size: int) -> bool | None:
  """Whether a box at the top level is longer than the file."""
  position = 0
  for position, length, _ in _boxes(stream, size):
    if length is None:
      return True
    if length == 0:  # To the end of the file.
      return False
    if length < 8:
      return None
    position += length
  return position > size


def _boxes(
  stream: BinaryIO, end: int, position: int = 0
) -> Iterator[tuple[int, int | None, bytes]]:
  """(place, length, kind) of boxes one after the other, up to the first that is odd."""
  while position < end:
    stream.seek(position)
    head = stream.read(16)
    if len(head) < 8:
      yield position, None, b''
      return
    length = int.from_bytes(head[:4], 'big')
    if length == 1:  # The length follows in 64 bits.
      length = int.from_bytes(head[8:], 'big')
    yield position, length, head[4:8]
    if length < 8:
      return
    position += length


def holds_another(path: str | os.PathLike) -> bool:
  """Whether an mp4 or mov file has a second index: `cat a.mp4 b.mp4` makes such files."""
  with open(path, 'rb') as stream:
    kinds = [kind for _, _, kind in _boxes(stream, os.path.getsize(path))]
  return kinds.count(b'moov') > 1


def is_encrypted(path: str | os.PathLike) -> bool:
  """Whether an mp4 file has an encrypted track of video (ISO 23001-7), by its index."""
  with open(path, 'rb') as stream:
    return b'encv' in _kinds(stream, os.path.getsize(path), 0, _TO_CODECS)


def _kinds(stream: BinaryIO, end: int, position: int, way: Sequence[bytes]) -> Iterator[bytes]:
  """Kinds of the boxes in all boxes to which a way of kinds leads, from a place to an end."""
  for place, length, kind in _boxes(stream, end, position):
    if not way:
      yield kind
    elif kind == way[0] and length:
      head = _HEAD_OF_CODECS if kind == _TO_CODECS[-1] else 8
      yield from _kinds(stream, min(end, place + length), place + head, way[1:])


def _flv(stream: BinaryIO, size: int) -> bool | None:
  """Whether the last tag is longer than the file."""
  position = int.from_bytes(stream.read(9)[5:], 'big') + 4
  while position < size:
    stream.seek(position)
    head = stream.read(11)
    if len(head) < 11:
      return True
    position += 11 + int.from_bytes(head[1:4], 'big') + 4
  return position > size


def _apng(stream: BinaryIO, size: int) -> bool | None:
  """Whether the end chunk is missing."""
  stream.seek(max(0, size - 4096))
  return _PNG_END not in stream.read()


def _program_stream(stream: BinaryIO, size: int) -> bool | None:
  """Whether the last pack (ISO 13818-1, 2.5.3) ends inside a packet."""
  start = max(0, size - (1 << 20))
  stream.seek(start)
  tail = stream.read()
  position = tail.rfind(b'\0\0\1\xba')
  if position < 0 or position + 14 > len(tail):
    return True
  mpeg2 = tail[position + 4] >> 6 == 1
  position += 14 + (tail[position + 13] & 7) if mpeg2 else 12
  while position < len(tail):
    if tail[position : position + 3] != b'\0\0\1' or tail[position + 3 : position + 4] == b'\xb9':
      return False if tail[position + 3 : position + 4] == b'\xb9' else None
    position += 6 + int.from_bytes(tail[position + 4 : position + 6], 'big')
  return True if position > len(tail) else None


def _ogg(stream: BinaryIO, size: int) -> bool | None:
  """Whether the last page is not whole, or does not say that it is the last one."""
  stream.seek(max(0, size - 2 * _OGG_LONGEST_PAGE))
  tail = stream.read()
  start = tail.rfind(b'OggS')
  if start < 0 or len(tail) < start + 27:
    return True
  segments = tail[start + 27 : start + 27 + tail[start + 26]]
  whole = len(tail) >= start + 27 + tail[start + 26] + sum(segments)
  return not (whole and tail[start + 5] & _OGG_LAST_PAGE)


def _asf(stream: BinaryIO, size: int) -> bool | None:
  """Whether it is shorter than its header says."""
  head = stream.read(1 << 16)
  start = head.find(_ASF_FILE_PROPERTIES)
  if not head.startswith(_ASF_HEADER) or start < 0 or len(head) < start + 104:
    return None
  (length,) = struct.unpack_from('<Q', head, start + 40)
  (flags,) = struct.unpack_from('<I', head, start + 88)
  live = flags & 1
  return None if live or not length else size < length


_CHECKS = {
  'mov': _mov,
  'mpeg': _program_stream,
  'apng': _apng,
  'matroska': _matroska,
  'mpegts': _transport_stream,
  'gif': _gif,
  'flv': _flv,
  'ogg': _ogg,
  'asf': _asf,
  'yuv4mpegpipe': _y4m,
}

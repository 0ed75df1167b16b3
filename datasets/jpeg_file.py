"""The structure of a JPEG file, read without decoding it: size, scans, EXIF data, where it ends.

Decoders differ in what they do with a file that ends early: libjpeg fills what is missing with grey
and says so on standard error, OpenCV 4.10 is silent, OpenCV 5 refuses even a file that lacks its
end marker only. None of them minds an end marker behind half of the data, as tools that rescue or
cut files put it there. So it is decided here: `whole_file` refuses a file with lost data, completes
one that lacks nothing but its end, and says of one that lacks only last bits that it is unfinished.

The markers are those of ITU-T T.81, annex B.
"""

import dataclasses
import io
import re
import struct

import numpy as np
from PIL import Image

SIGNATURE = b'\xff\xd8'

_END = b'\xff\xd9'
_MAX_SEGMENTS = 10000  # A profile or preview of hundreds of MB has fewer.
# Not the codes 00 (a stuffed byte) and FF (fill); between the data of a scan also not RST0..7.
_ANY_MARKER = re.compile(rb'\xff[^\x00\xff]')
_AFTER_SCAN = re.compile(rb'\xff[^\x00\xff\xd0-\xd7]')
_RESTART = re.compile(rb'\xff[\xd0-\xd7]')
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset([0xC2, 0xC6, 0xCA, 0xCE])
# What stands in for bytes behind a scan: a scan that needs them gives another picture with each.
_FILLERS = (b'\x5a' * 64, b'\xff\x00' * 64, b'\x00' * 64)
# How a file can be less than whole, see `whole_file`.
WITHOUT_END = 'the end of the JPEG file is missing; its pixels are complete and are used'
UNFINISHED = 'the last scan of the JPEG file is missing; it is used, with less detail'
_WITHOUT_LENGTH = frozenset([0x01, 0xD8, *range(0xD0, 0xD8)])


@dataclasses.dataclass
class JpegFile:
  """What the markers of a JPEG file say.

  Attributes:
    width, height: pixels, as stored.
    scans: number of scans; each costs a decoder a pass over the picture.
    exif: content of the EXIF segment (a TIFF header follows), or None.
    end: number of bytes up to and with the end marker; None if there is none. What follows (a
      second picture, a film) does not belong to the picture.
    last_scan: where the data of the last scan start.
    progressive: scans bring coefficients bit by bit; else a scan has all of its components.
    missing: (component, index) of coefficients that no scan has brought to full precision.
    coarse: those of them that lack more than the last bit.
  """

  width: int = 0
  height: int = 0
  scans: int = 0
  exif: bytes | None = None
  end: int | None = None
  last_scan: int = 0
  progressive: bool = False
  missing: set[tuple[int, int]] = dataclasses.field(default_factory=set)
  coarse: set[tuple[int, int]] = dataclasses.field(default_factory=set)


def read(data: bytes, max_scans: int) -> JpegFile:
  """Walks through the markers; costs a search for them, not a decoding.

  Args:
    data: the file, which starts with SIGNATURE.
    max_scans: more scans are refused while they are counted.

  Returns:
    A JpegFile.

  Raises:
    ValueError: cut inside its header, no picture in it, or too many scans or segments. The message
      is a phrase without the file's name.
  """
  found = JpegFile()
  position = len(SIGNATURE)
  for _ in range(_MAX_SEGMENTS):
    marker = _ANY_MARKER.search(data, position)
    if marker is None:
      break
    code, position = data[marker.end() - 1], marker.end()
    if code == 0xD9:
      found.end = position
      break
    if code in _WITHOUT_LENGTH:
      continue
    content = _segment(data, position)
    position += 2 + len(content)
    if code in _START_OF_FRAME:
      _start_of_frame(found, content, code in _PROGRESSIVE)
    elif code == 0xE1 and content[:6] == b'Exif\0\0' and found.exif is None:
      found.exif = content[6:]
    elif code == 0xDA:
      _start_of_scan(found, content, position, max_scans)
      after = _AFTER_SCAN.search(data, position)
      position = len(data) if after is None else after.start()
  else:
    raise ValueError(f'a JPEG of over {_MAX_SEGMENTS} segments')
  if not found.scans:
    raise ValueError(f'the JPEG is cut off: {len(data)} bytes without pixels')
  return found


def whole_file(data: bytes, found: JpegFile) -> tuple[bytes, str]:
  """Completes a file that lacks only its end marker, and refuses one that lost pixels.

  A scan is complete when decoding needs no byte after it: what is put there then makes no
  difference.

  Args:
    data: the file.
    found: `read` of it.

  Returns:
    (a file that ends with the end marker, '' or WITHOUT_END or UNFINISHED).

  Raises:
    ValueError: pixels are missing; the message is a phrase without the file's name.
  """
  if found.end is None:
    return _with_end(data, found), WITHOUT_END
  data = data[: found.end]
  if found.coarse:
    raise ValueError(f'the JPEG is cut off: its {found.scans} scans do not have the whole picture')
  if _needs_more(data, data[: -len(_END)], found):
    raise ValueError(
      f'the JPEG is cut off: its end marker comes too early, after {len(data)} bytes'
    )
  return data, UNFINISHED if found.missing else ''


def _with_end(data: bytes, found: JpegFile) -> bytes:
  """The file with its end marker, if that is all it lacks."""
  cut = f'the JPEG is cut off after {len(data)} bytes'
  if found.missing:
    raise ValueError(cut)
  body = data.rstrip(b'\0')  # What a broken download leaves in a file made in its final size.
  if body.endswith(b'\xff'):
    # A stuffed byte if its zero was there, else the first half of the end marker.
    body = body + b'\0' if len(body) < len(data) else body[:-1]
  pictures = [_decode(_filled(body, filler, found)) for filler in _FILLERS]
  first = pictures[0]
  if first is None or any(one is None or not np.array_equal(first, one) for one in pictures):
    raise ValueError(cut)
  return body + _END


def _needs_more(data: bytes, body: bytes, found: JpegFile) -> bool:
  """Whether a file decodes to another picture with something before its end marker.

  At an eighth of the size, where a block is a pixel: less than a block is not noticed. The last
  scan of a progressive file has details, which are not seen there.
  """
  small = not found.progressive
  whole, filled = _decode(data, small), _decode(_filled(body, _FILLERS[0], found), small)
  return whole is not None and filled is not None and not np.array_equal(whole, filled)


def _filled(body: bytes, filler: bytes, found: JpegFile) -> bytes:
  """A file that goes on with `filler`."""
  # The restart marker is for a file that was cut where one is due.
  restart = bytes([0xFF, 0xD0 + len(_RESTART.findall(body, found.last_scan)) % 8])
  return body + filler + restart + filler + _END


def _segment(data: bytes, position: int) -> bytes:
  """Content of the segment whose length field is at `position`."""
  length = int.from_bytes(data[position : position + 2], 'big')
  if position + max(length, 2) > len(data):
    raise ValueError(f'the JPEG is cut off after {len(data)} bytes')
  if length < 2:
    raise ValueError('the JPEG is damaged: a segment without a length')
  return data[position + 2 : position + length]


def _start_of_frame(found: JpegFile, content: bytes, progressive: bool) -> None:
  if len(content) < 6 or len(content) < 6 + 3 * content[5]:
    raise ValueError('the JPEG is damaged: its header is too short')
  if found.width:
    raise ValueError('the JPEG is damaged: two headers')
  found.height, found.width = struct.unpack('>HH', content[1:5])
  components = content[6 : 6 + 3 * content[5] : 3]
  found.progressive = progressive
  found.missing = {(component, k) for component in components for k in range(64)}
  found.coarse = set(found.missing)


def _start_of_scan(found: JpegFile, content: bytes, position: int, max_scans: int) -> None:
  if not found.width:
    raise ValueError('the JPEG is damaged: pixels without a header')
  found.scans += 1
  found.last_scan = position
  if found.scans > max_scans:
    raise ValueError(f'a JPEG of over {max_scans} scans, each a pass over the whole picture')
  count = content[0] if content else 0
  if len(content) < 4 + 2 * count:
    raise ValueError('the JPEG is damaged: a scan without a header')
  first, last, bits = content[1 + 2 * count : 4 + 2 * count]
  if not found.progressive:
    first, last, bits = 0, 63, 0  # Other values mean something else, or nothing.
  for component in content[1 : 1 + 2 * count : 2]:
    sent = {(component, k) for k in range(first, last + 1)}
    if bits & 15 <= 1:  # The last of the successive approximations, or the one before.
      found.coarse -= sent
    if bits & 15 == 0:
      found.missing -= sent


def _decode(data: bytes, small: bool = False) -> np.ndarray | None:
  """The picture, or an eighth of its width and height; None: it cannot be decoded."""
  try:
    with Image.open(io.BytesIO(data), formats=['JPEG']) as image:
      if small:
        image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
      return np.asarray(image)
  except (OSError, SyntaxError, ValueError):
    return None

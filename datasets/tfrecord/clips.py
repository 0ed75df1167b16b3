"""Clips in records: single frames at random, found without reading what lies between.

A TFRecord with whole videos is made for reading from front to back. Its files are scanned once,
which finds out where every encoded frame lies; afterwards any frame of any video is one small read.
TensorFlow's parser would need the whole record for one frame.
"""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
import os
import pathlib
import struct
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
import tensorflow as tf

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.clips import Clip
from feelvos_tf.datasets.tfrecord import keys
from feelvos_tf.datasets.video import decode_image

# TFRecord framing: length (8), checksum of it (4), data, checksum of the data (4).
_LENGTH_BYTES, _CRC_BYTES = 8, 4
# Wire types of protocol buffers.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class RecordClip(Clip):
  """A clip inside a TFRecord file, known by where its encoded frames lie."""

  def __init__(
    self,
    path: str | os.PathLike,
    name: str,
    image_spans: Sequence[tuple[int, int]],
    label_spans: Sequence[tuple[int, int]],
    grey_255: str | None = None,
  ) -> None:
    """Takes the frames with masks.

    Args:
      path: TFRecord file.
      name: str, name of the video.
      image_spans: list of (first byte, length), one for each frame.
      label_spans: the same for the masks; length 0 where a frame has none.
      grey_255: meaning of 255 in grey masks, see `masks.decode_mask`; None: the first mask with
        an object tells, as for folders. It is black and white, or ids and void.

    Raises:
      ValueError: if the numbers differ or no frame has a mask.
    """
    self.name = name
    self._path = path
    if len(image_spans) != len(label_spans):
      raise ValueError(
        f'{path}: video {name} has {len(image_spans)} frames and '
        f'{len(label_spans)} masks; expected as many masks. Convert it again'
      )
    masked = [index for index, (_, length) in enumerate(label_spans) if length]
    if not masked:
      raise ValueError(f'{path}: video {name} has no mask; training needs at least one')
    self.num_frames = len(masked)
    self._frames = np.array(masked)
    self._images = np.array(image_spans, np.int64)[masked]
    self._labels = np.array(label_spans, np.int64)[masked]
    self._grey_255 = grey_255

  def _read(self, span: Sequence[int]) -> bytes:
    with open(self._path, 'rb') as stream:
      stream.seek(span[0])
      return stream.read(span[1])

  def _where(self, index: int) -> str:
    return f'{self._path}: frame {self._frames[index]} of video {self.name}'

  def image(self, index: int) -> NDArray[np.uint8]:
    return decode_image(self._read(self._images[index]), self._where(index))

  def labels(self, index: int) -> NDArray[np.uint8]:
    if self._grey_255 is None:
      self._grey_255 = masks.meaning_of_255(
        masks.decode_mask(self._read(labels), self._where(i))
        for i, labels in enumerate(self._labels)
      )
    return masks.decode_mask(
      self._read(self._labels[index]), self._where(index), grey_255=self._grey_255
    ).ids


def record_clips(paths: Iterable[str | os.PathLike]) -> list[RecordClip]:
  """Clips of TFRecord files in the original's schema.

  Args:
    paths: TFRecord files.

  Returns:
    List of RecordClip, in the order of the files. Nothing has been decoded.

  Raises:
    FileNotFoundError: a file does not exist.
    ValueError: a file is cut off or is not a TFRecord of SequenceExamples, a video has no mask,
      or there is no video at all.
  """
  clips: list[RecordClip] = []
  files = [pathlib.Path(path) for path in paths]
  for path in files:
    if not path.is_file():
      raise FileNotFoundError(f'{path}: no such TFRecord file; convert the data set first')
    if not path.stat().st_size:
      continue  # A shard may be empty when there are more shards than videos.
    with open(path, 'rb') as stream:
      clips.extend(_scan_file(path, _FileBytes(stream.fileno())))
  if not clips:
    where = f'{files[0]} and {len(files) - 1} others' if files else 'no file'
    raise ValueError(f'no video in {where}; the split is empty')
  return clips


class _FileBytes:
  """The bytes of a file by index and slice.

  Not mapped into memory: a file that gets shorter while it is read would end the process then.
  """

  _WINDOW = 4096

  def __init__(self, descriptor: int) -> None:
    """descriptor: of the file, open to read."""
    self._descriptor, self._size = descriptor, os.fstat(descriptor).st_size
    self._first, self._window = 0, b''

  def __len__(self) -> int:
    return self._size

  @overload
  def __getitem__(self, key: int) -> int: ...

  @overload
  def __getitem__(self, key: slice) -> bytes: ...

  def __getitem__(self, key: int | slice) -> int | bytes:
    """A byte, or those from `start` to `stop`: as many as there are."""
    if isinstance(key, slice):
      return os.pread(self._descriptor, key.stop - key.start, key.start)
    if not self._first <= key < self._first + len(self._window):
      self._first, self._window = key, os.pread(self._descriptor, self._WINDOW, key)
    return self._window[key - self._first]


def _scan_file(
  path: str | os.PathLike, data: 'bytes | memoryview | _FileBytes'
) -> Iterator[RecordClip]:
  """Yields the RecordClip of every record in the bytes of a TFRecord file."""
  position, number = 0, 0
  while position < len(data):
    start = position + _LENGTH_BYTES + _CRC_BYTES
    header = data[position:start]
    if len(header) < start - position:
      raise ValueError(f'{path}: cut off in the header of record {number}; convert it again')
    (length,) = struct.unpack_from('<Q', header)
    if start + length + _CRC_BYTES > len(data):
      raise ValueError(
        f'{path}: record {number} claims {length} bytes, but only '
        f'{len(data) - start} follow; the file is cut off or no TFRecord. '
        'Convert it again'
      )
    try:
      clip = _scan_record(path, data, start, start + length)
    except (IndexError, struct.error, tf.errors.OpError, _WireError) as error:
      raise ValueError(
        f'{path}: record {number} is no SequenceExample of a video ({error}); convert it again'
      ) from error
    yield clip
    position, number = start + length + _CRC_BYTES, number + 1


class _WireError(Exception):
  """Bytes that are no protocol buffer of the expected kind."""


def _scan_record(
  path: str | os.PathLike, data: 'bytes | memoryview | _FileBytes', start: int, end: int
) -> RecordClip:
  """The RecordClip of the SequenceExample in data[start:end]."""
  context: Mapping[str, Any] = {}
  spans = collections.defaultdict(list)
  for field, _, first, last in _fields(data, start, end):
    if field == 1:
      context = _context_features(bytes(data[first:last]))
    elif field == 2:
      for _, _, entry_start, entry_end in _fields(data, first, last):
        key, values = _map_entry(data, entry_start, entry_end)
        if key in (keys.IMAGES, keys.MASKS):
          spans[key] = [_first_bytes(data, *feature[2:]) for feature in _fields(data, *values)]
  names = context[keys.VIDEO_ID].bytes_list.value if keys.VIDEO_ID in context else ()
  if not names or not spans[keys.IMAGES]:
    raise _WireError(f'{keys.VIDEO_ID} or {keys.IMAGES} is missing')
  return RecordClip(
    path,
    names[0].decode('utf-8', 'replace'),
    spans[keys.IMAGES],
    spans[keys.MASKS],
    'void' if keys.OBJECT_IDS in context else None,
  )


def _context_features(data: bytes) -> Mapping[str, tf.train.Feature]:
  try:
    return tf.train.Features.FromString(data).feature
  except Exception as error:  # The protobuf library's DecodeError has no public home here.
    raise _WireError('its context cannot be read') from error


def _varint(data: 'bytes | memoryview | _FileBytes', position: int, end: int) -> tuple[int, int]:
  """(value, position behind it) of a base 128 number."""
  value = shift = 0
  while position < end and shift < 64:
    byte = data[position]
    value |= (byte & 0x7F) << shift
    position += 1
    if byte < 0x80:
      return value, position
    shift += 7
  raise _WireError('a number is cut off')


def _fields(
  data: 'bytes | memoryview | _FileBytes', position: int, end: int
) -> Iterator[tuple[int, int, int, int]]:
  """Yields (field number, wire type, first byte, byte behind the last) of a message."""
  while position < end:
    tag, position = _varint(data, position, end)
    number, wire_type = tag >> 3, tag & 7
    if wire_type == _BYTES:
      length, position = _varint(data, position, end)
    elif wire_type == _VARINT:
      length = _varint(data, position, end)[1] - position
    elif wire_type in (_FIXED64, _FIXED32):
      length = 8 if wire_type == _FIXED64 else 4
    else:
      raise _WireError(f'wire type {wire_type}')
    if position + length > end:
      raise _WireError('a field is longer than its message')
    yield number, wire_type, position, position + length
    position += length


def _map_entry(
  data: 'bytes | memoryview | _FileBytes', start: int, end: int
) -> tuple[str, tuple[int, int]]:
  """(key, (first byte, byte behind the last) of the value) of a map<string, message> entry."""
  key, value = '', (end, end)
  for field, wire_type, first, last in _fields(data, start, end):
    if wire_type != _BYTES:
      raise _WireError('a map entry of another kind')
    if field == 1:
      key = bytes(data[first:last]).decode('utf-8', 'replace')
    elif field == 2:
      value = first, last
  return key, value


def _first_bytes(data: 'bytes | memoryview | _FileBytes', start: int, end: int) -> tuple[int, int]:
  """(first byte, length) of the first string of a Feature's bytes_list; length 0 without one."""
  for field, _, list_start, list_end in _fields(data, start, end):
    if field == 1:
      for _, _, first, last in _fields(data, list_start, list_end):
        return first, last - first
  return start, 0

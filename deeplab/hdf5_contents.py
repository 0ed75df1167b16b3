"""What an HDF5 file holds, read with limits; also the program that reads one for another process.

HDF5's library reads the file, and a damaged or made-up file can keep it busy without end or crash
it. `hdf5_file` therefore runs this module as a program with limits of the operating system. It
imports no module of this project, so that it starts fast.
"""

from collections.abc import Iterator
import dataclasses
import json
import math
import os
import sys
import time
from typing import Any, BinaryIO, IO

import h5py
import numpy as np

# What h5py raises for a damaged file.
_LIBRARY_ERRORS = (OSError, RuntimeError, KeyError, TypeError, ValueError, UnicodeDecodeError)
_MOST_ATTRIBUTE_BYTES = 16 << 20


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a file may hold, and what reading it may take."""

  # All values as float32: ten times those of the largest network. A file of a few bytes may claim
  # any number of zeros.
  values_bytes: int = 2 << 30
  # Groups and arrays: the largest network has 2,000 arrays,
  items: int = 20_000
  # in groups of up to 10 levels.
  levels: int = 50
  # Processor time of the process that reads, without its start.
  seconds: int = 10
  # Memory of that process, in addition to what it needs to start.
  memory_bytes: int = 1 << 30


class Refused(ValueError):
  """A file that is not read, and why; the name of the file is not in the text."""


def parts(
  file: str | BinaryIO, limits: Limits
) -> Iterator[tuple[str, dict[str, Any] | np.ndarray]]:
  """Yields what lies in a file. Links are not followed, files that it names are not opened.

  Args:
    file: path or open file.
    limits: `values_bytes`, `items` and `levels` are applied here.

  Yields:
    (path of a group, {attribute: str, number, list of these or None}): '' with the attributes of
    the file first, then all other groups; None stands for what is damaged or of another type.
    (path of an array, float32 array in the shape of the variable).

  Raises:
    Refused: the file is no HDF5 file, damaged, above a limit, or holds something else than finite
      numbers.
  """
  try:
    opened = h5py.File(file, 'r')
  except _LIBRARY_ERRORS as error:
    raise Refused(f'not a weights file or truncated ({_one_line(error)}).') from error
  with opened:
    yield '', _attributes(opened)
    try:
      groups, datasets = _survey(opened, limits)
      yield from ((path, _attributes(group)) for path, group in groups.items())
      _check_datasets(datasets, limits)
      yield from ((path, _finite(path, item[()])) for path, item in datasets.items())
    except (Refused, MemoryError):
      raise
    except _LIBRARY_ERRORS as error:
      raise Refused(f'truncated weights file ({_one_line(error)}); copy it again.') from error


def _one_line(error: Exception) -> str:
  return ' '.join(str(error).split())


def _survey(
  file: h5py.File, limits: Limits
) -> tuple[dict[str, h5py.Group], dict[str, h5py.Dataset]]:
  """All groups and all arrays of a file by their paths, each once, without the file's root.

  Not `visititems`: on groups in groups in groups, its time grows with more than the square.
  """
  groups: dict[str, h5py.Group] = {}
  datasets: dict[str, h5py.Dataset] = {}
  seen, todo = {h5py.h5o.get_info(file.id).addr}, [('', file, 0)]
  while todo:
    prefix, item, level = todo.pop()
    if isinstance(item, h5py.Dataset):
      datasets[prefix] = item
      continue
    if prefix:
      groups[prefix] = item
    if level > limits.levels or len(seen) > limits.items:
      raise Refused(
        f'more than {limits.levels} levels of groups or {limits.items} arrays given; expected '
        'the weights of a model.'
      )
    inner = []
    for name in item:
      if isinstance(item.get(name, getlink=True), h5py.HardLink):
        found = item[name]
        address = h5py.h5o.get_info(found.id).addr
        if address not in seen and isinstance(found, (h5py.Group, h5py.Dataset)):
          seen.add(address)
          inner.append((f'{prefix}/{name}'.lstrip('/'), found, level + 1))
    todo.extend(reversed(inner))
  return groups, datasets


def _check_datasets(datasets: dict[str, h5py.Dataset], limits: Limits) -> None:
  total = 0
  for path, item in datasets.items():
    if item.dtype.kind not in 'fiu':
      raise Refused(f'{path} has values of the type {item.dtype}; expected numbers.')
    if item.external or item.is_virtual:
      raise Refused(f'{path} lies in another file; expected numbers in this one.')
    if item.size is None:
      raise Refused(f'{path} has no values; expected numbers.')
    total += 4 * item.size
    if total > limits.values_bytes:
      raise Refused(
        f'{path} has {item.size} values; expected at most {limits.values_bytes >> 20} MiB of '
        'float32 in a file.'
      )


def _finite(path: str, values: np.ndarray) -> np.ndarray:
  """Values as float32, which have to be finite: others would make masks of nothing."""
  with np.errstate(over='ignore', invalid='ignore'):
    values = np.asarray(values).astype(np.float32)
  if not np.isfinite(values).all():
    raise Refused(f'{path} has values that are not finite in float32.')
  return values


def _attributes(item: h5py.Group) -> dict[str, Any]:
  found: dict[str, Any] = {}
  room = _MOST_ATTRIBUTE_BYTES
  try:
    for name in item.attrs:
      try:
        found[name] = _plain(item.attrs[name])
      except _LIBRARY_ERRORS:
        found[name] = None
      room -= len(name) + len(str(found[name]))
      if room < 0:
        raise Refused(f'more than {_MOST_ATTRIBUTE_BYTES >> 20} MiB of attributes given.')
  except Refused:
    raise
  except _LIBRARY_ERRORS:
    pass  # Damaged; an attribute that is needed is missed by its reader.
  return found


def _plain(value: Any) -> Any:
  """An attribute as text, number or list of these; None if it is something else."""
  if isinstance(value, np.ndarray) and value.ndim == 1:
    return [_plain(inner) for inner in value.tolist()]
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, bytes):
    value = value.decode('utf-8')
  return value if isinstance(value, (str, int, float)) else None


def send(stream: IO[bytes], message: dict[str, Any], values: np.ndarray | None = None) -> None:
  """Writes what `receive` reads: a message, and after it the bytes of an array."""
  data = json.dumps(message).encode()
  stream.write(len(data).to_bytes(8, 'big') + data)
  if values is not None:
    stream.write(np.ascontiguousarray(values).data)
  stream.flush()


def receive(stream: IO[bytes], room: int) -> tuple[dict[str, Any], np.ndarray | None]:
  """Reads what `send` wrote.

  Args:
    stream: where the other process writes.
    room: bytes that an array may have.

  Returns:
    The message, and the array if it has a `shape`.

  Raises:
    EOFError: the stream ends.
    ValueError: the other process, which a file may have taken over, sends something else.
  """
  size = int.from_bytes(_exactly(stream, 8), 'big')
  if size > 8 * _MOST_ATTRIBUTE_BYTES:
    raise ValueError('a message without end')
  message = json.loads(_exactly(stream, size))
  if not isinstance(message, dict) or 'shape' not in message:
    return message, None
  if 4 * math.prod(message['shape']) > room:
    raise ValueError('an array above the limit')
  return message, np.frombuffer(
    _exactly(stream, 4 * math.prod(message['shape'])), np.float32
  ).reshape(message['shape'])


def _exactly(stream: IO[bytes], size: int) -> bytearray:
  data = bytearray(size)
  view, begin = memoryview(data), 0
  while begin < size:
    count = stream.readinto(view[begin:])  # type: ignore[attr-defined]
    if not count:
      raise EOFError
    begin += count
  return data


def _limit_this_process(limits: Limits) -> None:
  """Sets limits of the operating system; Windows has none of them."""
  if sys.platform == 'win32':
    return
  import resource

  seconds = limits.seconds + math.ceil(time.process_time())
  wanted = {resource.RLIMIT_CORE: (0, 0), resource.RLIMIT_CPU: (seconds, seconds + 1)}
  if sys.platform == 'linux':  # macOS has the limit and does not apply it.
    with open('/proc/self/statm', encoding='ascii') as file:
      taken = int(file.read().split()[0]) * os.sysconf('SC_PAGE_SIZE')
    wanted[resource.RLIMIT_AS] = (taken + limits.memory_bytes,) * 2
  for kind, pair in wanted.items():
    highest = resource.getrlimit(kind)[1]
    allowed = [value if highest < 0 else min(value, highest) for value in pair]
    resource.setrlimit(kind, (allowed[0], allowed[1]))


def main(path: str, limits: Limits, stream: IO[bytes]) -> None:
  """Sends the parts of a file: {'name', 'attributes'}, {'name', 'shape'}, {'refused'}, {'end'}."""
  _limit_this_process(limits)
  send(stream, {'ready': True})
  try:
    for name, content in parts(path, limits):
      if isinstance(content, dict):
        send(stream, {'name': name, 'attributes': content})
      else:
        send(stream, {'name': name, 'shape': content.shape}, content)
    send(stream, {'end': True})
  except Refused as error:
    send(stream, {'refused': str(error)})
  except MemoryError:
    most = limits.memory_bytes >> 20
    text = f'needs more memory to be read than is allowed; FEELVOS_WEIGHTS_MEMORY_MB is {most}.'
    send(stream, {'refused': text})


if __name__ == '__main__':
  output = os.fdopen(os.dup(1), 'wb')
  os.dup2(2, 1)  # What a library prints does not get between the parts.
  # The other process closes the stream when it has what it needs.
  try:
    main(sys.argv[1], Limits(**json.loads(sys.argv[2])), output)
  except (BrokenPipeError, KeyboardInterrupt):
    os._exit(1)

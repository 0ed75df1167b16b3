"""HDF5 files of others, read by a process of its own that cannot hang, crash or fill this one.

Limits of that process, from the environment: FEELVOS_WEIGHTS_SECONDS of processor time (10, or one
for each megabyte of the file, whichever is more) and FEELVOS_WEIGHTS_MEMORY_MB (1024). Where the
system has no limits (Windows), or the process waits instead of working, it ends after six times
that time by the clock.

A file of known bytes is read here and starts no process: the caller knows its checksum, or this
process wrote it.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
import contextlib
import dataclasses
import hashlib
import io
import json
from multiprocessing import spawn
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import h5py
import numpy as np

from feelvos_tf.deeplab import hdf5_contents

# Runs the module with the search path of this process, but without the folder it runs in.
_START = (
  'import json, runpy, sys; sys.path[:] = json.loads(sys.argv.pop(1)); '
  "module = sys.argv.pop(1); runpy.run_path(module, run_name='__main__')"
)
_CLOCK_PER_SECOND = 6
_SECONDS_TO_START = 120  # By the clock, on a busy machine; none of the file has been read then.
_MOST_KNOWN_BYTES = 64 << 20  # Larger files are not compared with known checksums.
Parts = Generator[tuple[str, dict[str, Any] | np.ndarray], None, None]
_written: set[str] = set()  # Checksums of files that this process wrote.


def know(data: bytes) -> None:
  """Notes bytes that this process made itself: a file of these bytes is read in this process."""
  _written.add(hashlib.sha256(data).hexdigest())


def parts(
  path: str | os.PathLike, known: Collection[str] = (), limits: hdf5_contents.Limits | None = None
) -> Parts:
  """Yields what lies in an HDF5 file, see `hdf5_contents.parts`; close it to stop early.

  Args:
    path: existing file.
    known: SHA-256 checksums (hexadecimal) of files whose bytes are trusted.
    limits: default: those of the environment.

  Raises:
    ValueError: the file is no HDF5 file, damaged or above a limit; a wrong limit in the
      environment.
    OSError: the file cannot be read, or the process that reads it does not start.
  """
  path = os.fspath(path)
  limits = limits or limits_of_environment()
  data = _known_bytes(path, {*known, *_written})
  try:
    if data is not None:
      yield from hdf5_contents.parts(io.BytesIO(data), limits)
    else:
      yield from _parts_of_process(path, _for_size(limits, os.path.getsize(path)))
  except hdf5_contents.Refused as error:
    raise ValueError(f'{path}: {error}') from error


def write_parts(
  path: str | os.PathLike, contents: Iterable[tuple[str, dict[str, Any] | np.ndarray]]
) -> None:
  """Writes a new HDF5 file of what `parts` yields: nothing but these groups, numbers and texts.

  Raises:
    OSError: the file cannot be written.
    ValueError, TypeError: h5py cannot store an attribute.
  """
  with h5py.File(os.fspath(path), 'w') as file:
    for name, content in contents:
      if not isinstance(content, dict):
        file.create_dataset(name, data=content)
        continue
      group = file.require_group(name) if name else file
      for key, value in content.items():
        if value is not None:
          group.attrs[key] = value


def limits_of_environment() -> hdf5_contents.Limits:
  """The limits with FEELVOS_WEIGHTS_SECONDS and FEELVOS_WEIGHTS_MEMORY_MB.

  Raises:
    ValueError: one of them is no whole number above 0.
  """
  limits, values = hdf5_contents.Limits(), {}
  for field, name, unit in (
    ('seconds', 'FEELVOS_WEIGHTS_SECONDS', 1),
    ('memory_bytes', 'FEELVOS_WEIGHTS_MEMORY_MB', 1 << 20),
  ):
    text = os.environ.get(name)
    if text is None:
      continue
    if not text.isdecimal() or not 0 < int(text) < 1 << 30:
      raise ValueError(f'{name} is {text!r}; expected a whole number above 0.')
    values[field] = int(text) * unit
  return dataclasses.replace(limits, **values)


def _known_bytes(path: str, checksums: Collection[str]) -> bytes | None:
  """The bytes of a file whose checksum is one of these; None for another file."""
  if os.path.getsize(path) > _MOST_KNOWN_BYTES:
    return None
  with open(path, 'rb') as file:
    data = file.read(_MOST_KNOWN_BYTES)
  return data if hashlib.sha256(data).hexdigest() in checksums else None


def _for_size(limits: hdf5_contents.Limits, size: int) -> hdf5_contents.Limits:
  return dataclasses.replace(limits, seconds=max(limits.seconds, -(-size // 1_000_000)))


def _start(path: str, limits: hdf5_contents.Limits) -> subprocess.Popen:
  """The process that reads a file; its standard output has the parts."""
  search = json.dumps([folder for folder in sys.path if folder])
  module = os.path.abspath(hdf5_contents.__file__)
  arguments = [search, module, path, json.dumps(dataclasses.asdict(limits))]
  # HDF5 loads no filters from other folders; one thread is enough, and threads reserve memory.
  environment = {**os.environ, 'HDF5_PLUGIN_PRELOAD': '::', 'OPENBLAS_NUM_THREADS': '1'}
  return subprocess.Popen(
    [os.fsdecode(spawn.get_executable() or sys.executable), '-I', '-c', _START, *arguments],
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    env=environment,
    creationflags=getattr(subprocess, 'CREATE_NO_WINDOW', 0),
  )


def _parts_of_process(path: str, limits: hdf5_contents.Limits) -> Parts:
  late = threading.Event()
  with _start(path, limits) as process:

    def stop() -> None:
      late.set()
      process.kill()

    try:
      with _alarm(_SECONDS_TO_START, stop):
        _await_start(process)
      with _alarm(_CLOCK_PER_SECOND * limits.seconds, stop):
        yield from _received(process, limits)
    except EOFError as error:
      process.kill()
      raise _failure(process.wait(), late.is_set(), limits) from error
    finally:
      process.kill()


@contextlib.contextmanager
def _alarm(seconds: int, call: Callable[[], None]) -> Iterator[None]:
  """Calls a function unless the `with` block ends in that time."""
  timer = threading.Timer(seconds, call)
  timer.daemon = True
  timer.start()
  try:
    yield
  finally:
    timer.cancel()


def _await_start(process: subprocess.Popen) -> None:
  """Waits until the process has imported what it needs; it has not opened the file then.

  Raises:
    OSError: it does not start.
  """
  assert process.stdout is not None
  try:
    hdf5_contents.receive(process.stdout, 0)
  except (EOFError, ValueError):
    process.kill()
    raise OSError(
      f'the process that reads weights files does not start ({process.args[0]!r}, exit code '  # type: ignore[index]
      f'{process.wait()}); is h5py there?'
    ) from None


def _received(process: subprocess.Popen, limits: hdf5_contents.Limits) -> Parts:
  """The parts that the process sends.

  Raises:
    EOFError: it ended before the last one, or sent something else.
    Refused: it refused the file.
  """
  stream, room = process.stdout, limits.values_bytes
  assert stream is not None
  while True:
    try:
      message, values = hdf5_contents.receive(stream, room)
      if 'refused' in message:
        refused = str(message['refused'])
        break
      if 'end' in message:
        return
      name = str(message['name'])
      content = dict(message['attributes']) if values is None else values
    except (ValueError, TypeError, KeyError) as error:
      raise EOFError from error
    if values is not None:
      room -= values.nbytes
    yield name, content
  raise hdf5_contents.Refused(refused)


def _failure(code: int, late: bool, limits: hdf5_contents.Limits) -> hdf5_contents.Refused:
  """Why the process ended before it sent everything."""
  if late or code == -getattr(signal, 'SIGXCPU', 0):
    clock = f'{_CLOCK_PER_SECOND * limits.seconds} s' if late else f'{limits.seconds} s of work'
    return hdf5_contents.Refused(
      f'damaged, or made to do harm: not read after {clock}; the limit is the larger one of '
      'FEELVOS_WEIGHTS_SECONDS and a second for each megabyte.'
    )
  ending = signal.Signals(-code).name if code < 0 else f'exit code {code}'
  return hdf5_contents.Refused(
    f"damaged, or made to do harm: HDF5's library ended with {ending} when it read the file."
  )

"""The files of one video in a `ResultFolder`, and a writer of them in another process."""

from collections.abc import Iterable, Sequence
import io
import json
import os
import pathlib
from typing import Any, TYPE_CHECKING

import numpy as np

from feelvos_tf.files import whole_file
from feelvos_tf.runtime.journal import digest
from feelvos_tf.runtime.journal import JOURNAL
from feelvos_tf.runtime.journal import STATE

if TYPE_CHECKING:
  from feelvos_tf.runtime.result_folder import ResultFolder


class Writer:
  """Lists and writes files of a job in a process that does not hold the lock.

  The process with the `ResultFolder` called `ResultFolder.prepare` before, and goes on holding the
  lock. Lines of several writers do not mix: each is one write to a file opened to append.
  """

  def __init__(self, path: str | os.PathLike, job: str) -> None:
    """path: the folder; job: whose files are written."""
    self._path, self._job = pathlib.Path(path), job

  def write(self, name: str, data: bytes) -> None:
    """Lists and writes `name`, relative to the folder, whole or not at all.

    Raises:
      OSError: it cannot be written.
    """
    line = json.dumps({'name': name, 'job': self._job, 'file': digest(data)})
    whole_file.append_line(self._path / JOURNAL, line)
    whole_file.write_bytes(self._path / name, data, last=False)


class Job:
  """One video's files in a `ResultFolder`."""

  def __init__(self, folder: 'ResultFolder', name: str) -> None:
    """Made by `ResultFolder.job`."""
    self._folder, self._name = folder, name

  def write(self, name: str, data: bytes, **notes: Any) -> None:
    """See `ResultFolder.write`."""
    self._folder.write(self._name, name, data, **notes)

  def check_free(self, names: Iterable[str]) -> None:
    """See `ResultFolder.check_free`."""
    self._folder.check_free(self._name, names)

  def adopt(self, name: str, temporary: str | os.PathLike) -> None:
    """See `ResultFolder.adopt`."""
    self._folder.adopt(self._name, name, temporary)

  def path(self, name: str) -> pathlib.Path:
    """Path of a file of the job."""
    return self._folder.path / name

  def temporary(self, name: str) -> pathlib.Path:
    """A path in the folder for a file that `adopt` moves to `name`.

    It lies at the top, since the folder of `name` may not be there.
    """
    stem = digest(name.encode('utf-8', 'surrogateescape'))
    path = self._folder.path / f'{stem}{pathlib.Path(name).suffix}'
    return whole_file.temporary_name(path)

  @property
  def is_done(self) -> bool:
    """Whether an earlier run finished this job and its files are as it wrote them."""
    return self._folder.is_done(self._name)

  def is_done_but(self, names: Iterable[str]) -> bool:
    """The same of a job of which these files may be gone."""
    return self._folder.is_done(self._name, names)

  def lacks(self, names: Iterable[str]) -> bool:
    """See `ResultFolder.lacks`."""
    return self._folder.lacks(names)

  def finish(self) -> None:
    """Notes that the job is complete; what the model remembered is removed."""
    self._folder.finish_job(self._name)

  @property
  def kept_ranges(self) -> list[tuple[int, int | None]] | None:
    """See `ResultFolder.kept_ranges`."""
    return self._folder.kept_ranges(self._name)

  def keep(self, names: Iterable[str]) -> None:
    """See `ResultFolder.keep`."""
    self._folder.keep(self._name, names)

  def remove(self, names: Iterable[str]) -> None:
    """Removes some files of the job, see `ResultFolder.remove`."""
    self._folder.remove(self._name, self._folder.entries(self._name).keys() - set(names))

  def begin_again(self) -> None:
    """Removes the files of the interrupted run."""
    self._folder.keep(self._name, ())

  @property
  def folder(self) -> pathlib.Path:
    """The output folder, where temporary files may lie."""
    return self._folder.path

  def noted(self, key: str) -> dict:
    """{name: value} of the files that were written with the note `key`, in the order of writing."""
    return {n: e[key] for n, e in self._folder.entries(self._name).items() if key in e}

  def frames(self) -> list[tuple[str, str]]:
    """(name, hash of the frame) of the masks of a resumed job that are there, from the first on."""
    found = []
    for name, entry in self._folder.entries(self._name).items():
      if 'frame' in entry:
        if not self._folder.is_own(name):
          break
        found.append((name, entry['frame']))
    return found

  def save_state(self, count: int, arrays: Sequence[np.ndarray], file: str = STATE) -> None:
    """Keeps what the model remembers after `count` frames, in the output folder.

    Args:
      count: number of frames.
      arrays: any number of numpy arrays of any shape, none of objects.
      file: name of the file, `STATE` or `BEGIN` of `result_folder`.

    Raises:
      OSError: the file cannot be written.
    """
    stream = io.BytesIO()
    self._folder.flush(self._name)  # A state is of no use without the masks before it.
    job = np.frombuffer(self._name.encode('utf-8', 'surrogateescape'), np.uint8)
    np.savez(stream, *arrays, count=count, job=job)
    whole_file.write_bytes(self._folder.path / file, stream.getvalue())

  def load_state(self, file: str = STATE) -> tuple[int, list[np.ndarray]] | None:
    """(count, list of arrays) that `save_state` got; None if this job has none that can be read."""
    path = self._folder.path / file
    try:
      with np.load(path, allow_pickle=False) as archive:
        if bytes(archive['job']) != self._name.encode('utf-8', 'surrogateescape'):
          return None
        count = int(archive['count'])
        return count, [archive[f'arr_{i}'] for i in range(len(archive.files) - 2)]
    except Exception:  # zipfile and NumPy raise a dozen kinds for what is damaged or no archive.
      return None

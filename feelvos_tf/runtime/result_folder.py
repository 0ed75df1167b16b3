"""An output folder that knows which of its files a run wrote, and lets one run in at a time.

Next to the results lies a journal, `.feelvos_run.jsonl`, with one line per file: its name and a
hash of its content. The line is written before the file, so that after a kill every file of the run
is listed. A later run removes and replaces what is listed and unchanged, and nothing else: source
frames, ground truth, or a mask that was painted over are never touched. The folder is locked while
a run writes (`files.folder_lock`). Every line is on the disk before the file that it lists.

A folder holds jobs (one for each video). An unfinished job of the same command can be resumed: its
journal says which masks are there and which frames they belong to, and `.feelvos_state.npz` holds
what the model remembered after one of them.
"""

from collections.abc import Iterable
import contextlib
import json
import os
import pathlib
from typing import Any, cast

from feelvos_tf.files import folder_lock
from feelvos_tf.files import whole_file
from feelvos_tf.runtime import journal
from feelvos_tf.runtime import kept_frames
from feelvos_tf.runtime.journal import BEGIN
from feelvos_tf.runtime.journal import digest
from feelvos_tf.runtime.journal import file_digest
from feelvos_tf.runtime.journal import JOURNAL
from feelvos_tf.runtime.journal import STATE
from feelvos_tf.runtime.result_job import Job


def check_inputs(output: str | os.PathLike, inputs: Iterable) -> None:
  """Refuses an output folder that holds an input.

  Args:
    output: the folder to write to; it need not exist.
    inputs: files and folders that are read.

  Raises:
    ValueError: an input is the folder or lies in it, by its name or behind links.
  """
  folders = {os.path.abspath(output), os.path.realpath(output)}
  for path in inputs:
    for name in {os.path.abspath(path), os.path.realpath(path)}:
      if any(os.path.commonpath([name, folder]) == folder for folder in folders):
        raise ValueError(
          f'{output}: an output folder that holds the input {path} given, which results could '
          'replace; choose another output folder'
        )


def holds_results(
  path: str | os.PathLike[str], run: str, plans: dict[str, dict] | None = None
) -> bool:
  """Whether a folder has the results of a run to its end, all files as it wrote them.

  Args:
    path: the folder.
    run: see `ResultFolder`.
    plans: see `ResultFolder`; a run that ended before them has not all results.
  """
  path, runs = pathlib.Path(path), []
  try:
    text = (path / JOURNAL).read_text(encoding='utf-8', errors='replace')
    for line in text.splitlines():
      if line.startswith('{"run": '):
        runs.append(json.loads(line)['run'])
    there = journal.read(path / JOURNAL)
    is_whole = all(file_digest(path / name) == e['file'] for name, e in there.entries.items())
    for job, plan in (plans or {}).items():
      is_whole = is_whole and kept_frames.holds(there.plans.get(job, plan), plan)
  except (OSError, ValueError):
    return False
  return runs[-2:] == [run, None] and is_whole


def frames_of(path: str | os.PathLike[str]) -> dict[str, str]:
  """{name of a mask: hash of its frame} of a folder's journal."""
  entries = journal.read(pathlib.Path(path) / JOURNAL).entries
  return {name: entry['frame'] for name, entry in entries.items() if 'frame' in entry}


class ResultFolder:
  """The folder of a run; a context manager that holds the lock.

  Attributes:
    path: the folder.
    overwrite: see `__init__`.
    resumed: what is there of the same command stays.
    lacks_pictures: an earlier run of it was finished without pictures that this one is to make.

  >>> with ResultFolder('result', run='hash of what decides the results', overwrite=False) as out:
  ...   with_job = out.job('bear')
  """

  def __init__(
    self,
    path: str | os.PathLike,
    run: str,
    overwrite: bool = False,
    plans: dict | None = None,
    pictures: Iterable[str] = (),
  ) -> None:
    """Opens the folder, makes it if needed, and locks it.

    Args:
      path: the folder.
      run: identifies the command; an unfinished run with the same value is resumed.
      overwrite: take a folder that is not empty; what earlier runs wrote there may be removed.
      plans: {job: plan}, see `kept_frames`; masks of a run with another plan may stay.
      pictures: files, relative to the folder, that a finished run may lack and this one makes of
        the masks that are there.

    Raises:
      ValueError: a file, a folder that cannot be written to, another run is writing, or the folder
        is not empty and neither `overwrite`, nor an unfinished run of the same command, nor a plan
        that keeps masks.
    """
    self.path, self.overwrite = pathlib.Path(path), overwrite
    self._held: contextlib.ExitStack | None = None
    # Job -> folders with new names that may not be on the disk.
    self._unflushed: dict[str, set[pathlib.Path]] = {}
    with contextlib.ExitStack() as stack:
      stack.enter_context(folder_lock.locked(self.path))
      whole_file.remove_leftovers(self.path)
      if os.path.lexists(own := self.path / JOURNAL) and (own.is_symlink() or not own.is_file()):
        raise ValueError(f'{own}: a link or folder given, expected a file of its own; move it away')
      self._entries, self._done, last_run, self._earlier = journal.read(self.path / JOURNAL)
      self._plans = plans or {}
      same = (kept_frames.holds(self._earlier.get(job) or {}, p) for job, p in self._plans.items())
      is_done = bool(plans) and all(same) and self._done >= self._plans.keys()
      self.lacks_pictures = is_done and self._lacks_only(list(pictures))
      is_done = is_done and not self.lacks_pictures
      self.resumed = last_run == run or (not is_done and self._keeps())
      others = any(p.name not in _OWN_FILES and _has_file(p) for p in self.path.iterdir())
      if others and not overwrite and not self.resumed:
        raise ValueError((_FINISHED if is_done else _NOT_EMPTY).format(path))
      try:
        self._append({'run': run})
      except OSError as error:
        raise ValueError(
          f'{path}: cannot be written to ({error.strerror}); choose another output folder.'
        ) from error
      self._held = stack.pop_all()

  def job(self, name: str, folder: str) -> Job:
    """Begins or resumes the job `name`, whose masks go to `folder` (relative to the folder).

    Raises:
      ValueError: `folder` is a link that leads outside, or a listed file was changed since.
    """
    self._check_inside(self.path / folder)
    if not self.resumed or self.kept_ranges(name) == []:
      self.keep(name, ())
    elif self.kept_ranges(name) is None:
      self._note_plan(name)
    path = self.path / folder
    self._check_folder(path)
    path.mkdir(parents=True, exist_ok=True)
    whole_file.remove_leftovers(path)
    return Job(self, name)

  def finish(self) -> None:
    """Notes that the run is complete: from now on the same command is a new run."""
    self._append({'run': None})

  def kept_ranges(self, job: str) -> list[tuple[int, int | None]] | None:
    """`kept_frames.ranges` of a job whose plan changed, until `keep`; None: it did not.

    Where an unfinished job is to end changes nothing: it goes on from what the model remembers.
    """
    earlier, now = self._earlier.get(job), cast(dict, self._plans.get(job))
    if earlier is None or earlier == now:
      return None
    if job not in self._done and kept_frames.is_same_but_end(earlier, now):
      return None
    return kept_frames.ranges(earlier, now)

  def keep(self, job: str, names: Iterable[str]) -> None:
    """Removes all files of a job but these, see `remove`; from now on its plan is the new one."""
    self.remove(job, names)
    self._note_plan(job)

  def is_done(self, job: str, apart: Iterable[str] = ()) -> bool:
    """Whether a job was finished, its files as it wrote them; those of `apart` may be gone."""
    gone = {name for name in apart if not os.path.lexists(self.path / name)}
    return job in self._done and all(map(self.is_own, self.entries(job).keys() - gone))

  def lacks(self, names: Iterable[str]) -> bool:
    """Whether one of these files is not there as a run wrote it."""
    return not all(map(self.is_own, names))

  def finish_job(self, job: str) -> None:
    """Notes that a job is complete."""
    self._forget()
    self.flush(job)
    self._append({'done': job})
    self._done.add(job)

  def entries(self, job: str) -> dict[str, dict]:
    """{name relative to the folder: what the journal says} of a job, in the order of writing."""
    return {k: v for k, v in self._entries.items() if v['job'] == job}

  def write(self, job: str, name: str, data: bytes, **notes: Any) -> None:
    """Lists and writes a file, whole or not at all.

    Args:
      job: whose file it is.
      name: relative to the folder.
      data: content.
      **notes: further fields of its line in the journal.

    Raises:
      ValueError: a file of this name is there and no run wrote it as it is.
      OSError: it cannot be written.
    """
    before = self._check(name, job)
    self._list(job, name, digest(data), {**before, **notes})
    whole_file.write_bytes(self.path / name, data, last=False)
    self._unflushed.setdefault(job, set()).add((self.path / name).parent)

  def flush(self, job: str) -> None:
    """Waits until the names of all files of a job written so far are on the disk."""
    for folder in self._unflushed.pop(job, ()):
      whole_file.flush(folder)

  def adopt(self, job: str, name: str, temporary: str | os.PathLike) -> None:
    """Lists a finished file and moves it to `name`; arguments and errors as for `write`."""
    before = self._check(name, job)
    self._list(job, name, file_digest(temporary), before)
    whole_file.move(temporary, self.path / name, last=False)
    self._unflushed.setdefault(job, set()).add((self.path / name).parent)

  def prepare(self, job: str, names: Iterable[str]) -> None:
    """Makes room for files that a `Writer` will write: earlier ones of the job are removed.

    Args:
      job: whose files they are.
      names: relative to the folder.

    Raises:
      ValueError: an earlier file was changed since, or a file of one of these names is there and
        no run wrote it as it is. Nothing was removed then.
    """
    names = list(names)
    self._unflushed[job] = {(self.path / name).parent for name in names}
    for folder in self._unflushed[job]:
      whole_file.remove_leftovers(folder)
    own = self.entries(job)  # `remove` looks at them.
    self.check_free(job, (name for name in names if name not in own))
    self.remove(job)

  def check_free(self, job: str, names: Iterable[str]) -> None:
    """Raises the ValueError of `write` at once, if one of the names could not be written."""
    for name in names:
      self._check(name, job)

  def is_own(self, name: str) -> bool:
    """Whether a file is listed and has the listed content, or that before it was replaced."""
    return self._own_digest(name) is not None

  def close(self) -> None:
    """Releases the lock; removes the journal if nothing was written."""
    if self._held is None:
      return
    held, self._held = self._held, None
    path = self.path / JOURNAL
    with held:
      if not journal.read(path).entries:  # Read, as a `Writer` may have listed files.
        path.unlink(missing_ok=True)

  def __enter__(self) -> 'ResultFolder':
    return self

  def __exit__(self, *unused_exception: object) -> None:
    self.close()

  def _append(self, line: dict[str, Any]) -> None:
    # Surrogates of names that are not UTF-8 come out as escapes.
    whole_file.append_line(self.path / JOURNAL, json.dumps(line))

  def _keeps(self) -> bool:
    """Whether there are plans of all jobs, and something stays of those whose plans changed."""
    known = bool(self._plans) and self._plans.keys() <= self._earlier.keys()
    return known and all(self.kept_ranges(job) != [] for job in self._plans)

  def _lacks_only(self, pictures: list[str]) -> bool:
    """Whether nothing but pictures is missing from finished jobs."""
    is_whole = (self.kept_ranges(j) is None and self.is_done(j, pictures) for j in self._plans)
    return self.lacks(pictures) and all(is_whole)

  def _note_plan(self, job: str) -> None:
    plan = self._plans.get(job)
    if self._earlier.get(job) != plan:
      self._append({'plan': plan, 'job': job})
      self._earlier[job] = plan

  def _list(self, job: str, name: str, content: str, notes: dict[str, Any]) -> None:
    entry = {'job': job, 'file': content, **notes}
    self._append({'name': name, **entry})
    self._entries[name] = entry

  def _check(self, name: str, job: str) -> dict[str, str]:
    """Refuses a file that is not the job's own; notes of the one that replaces it.

    A kill may come behind the line in the journal and before the file.
    """
    path = self.path / name
    self._check_inside(path.parent)
    self._check_folder(path.parent)
    if not os.path.lexists(path):
      return {}
    own = None if path.is_symlink() else self._own_digest(name)
    if own is None or self._entries[name]['job'] != job:
      raise ValueError(
        f'{path}: a file that no earlier run wrote as it is lies where a result has to go; move it '
        'away or choose another output folder'
      )
    return {'before': own}

  def _own_digest(self, name: str) -> str | None:
    """Hash of a file's content if it is listed with that or was before it was replaced."""
    entry, path = self._entries.get(name), self.path / name
    if entry is None or not path.is_file():
      return None
    found = file_digest(path)
    return found if found in (entry['file'], entry.get('before')) else None

  def _check_inside(self, path: pathlib.Path) -> None:
    """Refuses a folder that is a link to one elsewhere."""
    inside, real = os.path.realpath(self.path), os.path.realpath(path)
    if os.path.commonpath([inside, real]) != inside:
      raise ValueError(f'{path}: a link to {real} given, expected a folder of its own')

  def _check_folder(self, path: pathlib.Path) -> None:
    """Refuses a file in the place of a folder or of one that it lies in."""
    file = next(p for p in (path, *path.parents) if os.path.lexists(p))
    if not file.is_dir():
      raise ValueError(
        f'{file}: a file is where a folder has to be; move it away or choose another output folder'
      )

  def remove(self, job: str, keep: Iterable[str] = ()) -> None:
    """Removes the files of a job, all or none, except for the names in `keep`.

    Raises:
      ValueError: one of them was changed since it was written.
    """
    listed = self.entries(job).keys() - set(keep)
    names = [n for n in sorted(listed) if os.path.lexists(self.path / n)]
    for name in names:
      self._check(name, job)
    for name in names:
      (self.path / name).unlink()
      self._append({'removed': name})
      del self._entries[name]
    for name in sorted(listed.difference(names)):  # Somebody deleted them.
      self._append({'removed': name})
      del self._entries[name]
    self._done.discard(job)
    self._forget()

  def _forget(self) -> None:
    for name in (STATE, BEGIN):
      (self.path / name).unlink(missing_ok=True)


def _has_file(path: pathlib.Path) -> bool:
  """Whether a path is more than folders: a run that was interrupted early leaves empty ones."""
  if path.is_symlink() or not path.is_dir():
    return True
  return any(map(_has_file, path.iterdir()))


_OWN_FILES = (JOURNAL, STATE, BEGIN, folder_lock.LOCK_FILE)
_NOT_EMPTY = '{} is not empty; choose another output folder or add --overwrite.'
_FINISHED = (
  '{} is not empty: it holds the finished results of this command; add --overwrite to make them again, '
  'or choose another output folder.'
)

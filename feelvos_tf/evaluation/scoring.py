"""From folders of masks to scores: in parallel, resumable, with errors that name the file."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets import worker_processes
from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.evaluation.sequences import SequenceFiles
from feelvos_tf.files import whole_file
from feelvos_tf.model import option_checks
from feelvos_tf.runtime import journal

_STATE_VERSION = 4  # raise it when the same files would be scored differently


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
  """How a set of sequences is scored.

  Raises:
    ValueError: a field is out of its range.
  """

  # Key of `sequence_scores.PROTOCOLS`.
  protocol: str = 'davis2017'
  # A bad sequence ends the run, or is left out and listed in the summary.
  on_error: Literal['fail', 'skip'] = 'fail'
  # A missing mask makes its sequence bad, or counts as an empty mask.
  missing_frames: Literal['error', 'empty'] = 'error'
  # Processes that score; 0: one per core.
  num_workers: int = 0

  def __post_init__(self) -> None:
    option_checks.check_choices(self)
    option_checks.check_least(self, {'num_workers': 0})
    if self.protocol not in sequence_scores.PROTOCOLS:
      raise ValueError(
        f'protocol is {self.protocol!r}; expected one of {", ".join(sequence_scores.PROTOCOLS)}.'
      )


@dataclasses.dataclass(frozen=True)
class Outcome:
  """The result of one sequence: its scores, or why it was left out."""

  name: str
  scores: sequence_scores.SequenceScores | None = None
  error: str = ''
  resumed: bool = False  # the scores were read back, not computed


class SequenceMasks:
  """The masks of one sequence and of its results, read from files when asked for.

  Attributes:
    names: names of the annotated frames, in order.
    missing: names of the frames whose result was missing and taken as empty.
  """

  def __init__(self, files: SequenceFiles, missing_frames: str = 'error') -> None:
    """Looks at the folders.

    Args:
      files: where the masks are.
      missing_frames: 'error' or 'empty', see `EvaluationOptions`.

    Raises:
      FileNotFoundError: a folder is missing or empty.
      ValueError: the first mask, or one before the first object, cannot be read.
    """
    self._files, self._missing_frames = files, missing_frames
    self.names = files.frame_names()
    self.missing: list[str] = []
    self._truth = masks.list_masks(files.truth)
    if not files.results.is_dir():
      raise FileNotFoundError(
        f'{files.results}: no results for the sequence {files.name!r}, a folder of PNG masks '
        f'expected ({self.names[0]}.png, ...); check --results_dir'
      )
    # White in a grey file is an object if the first mask with one has no other, else it is void.
    # Results made from such a mask may call the object 255, as it did.
    self._results = names_lib.paired(self.names, masks.list_masks(files.results))
    self._grey_255 = masks.meaning_of_255(map(self._read, self.names))
    self._last: tuple[int, np.ndarray] = -1, np.zeros((0, 0), np.uint8)

  def truth(self, index: int) -> np.ndarray:
    """uint8 [height, width], ids of the ground truth with 255 for void."""
    if self._last[0] != index:  # kept, because `prediction` asks for the size
      self._last = index, self._read(self.names[index], self._grey_255).ids
    return self._last[1]

  def prediction(self, index: int) -> np.ndarray:
    """uint8 [height, width], ids of the result.

    Raises:
      FileNotFoundError: it is missing.
      ValueError: it cannot be read or has another size than the ground truth.
    """
    name, truth = self.names[index], self.truth(index)
    path = self._results.get(name, self._files.results / f'{name}.png')
    if name not in self._results:
      if self._missing_frames == 'error':
        raise FileNotFoundError(
          f'{path}: no such mask, one for every annotated frame expected; write it, or count '
          'missing frames as empty masks with --missing_frames=empty'
        )
      self.missing.append(self.names[index])
      return np.zeros_like(truth)
    ids = masks.read_result(path, self._known_ids).ids
    if ids.shape != truth.shape:
      raise ValueError(
        f'{path}: a mask of {ids.shape[1]}x{ids.shape[0]} pixels given, '
        f'{truth.shape[1]}x{truth.shape[0]} (the ground truth) expected; write the masks at '
        'the size of the ground truth'
      )
    is_object = self._grey_255 == 'object'
    return np.where(ids == masks.VOID_ID, np.uint8(1), ids) if is_object else ids

  def _known_ids(self) -> set[int]:
    """Ids of all ground truth."""
    return {i for n in self.names for i in self._read(n, self._grey_255).object_ids}

  def _read(self, name: str, grey_255: str = 'auto') -> masks.Mask:
    own = self._files.unpacked
    return masks.read_mask(self._truth[name], grey_255=grey_255, own=own)


def score_files(
  files: SequenceFiles, options: EvaluationOptions = EvaluationOptions()
) -> sequence_scores.SequenceScores:
  """Scores one sequence from its files.

  Args:
    files: what to compare.
    options: the protocol, and what a missing frame means.

  Returns:
    SequenceScores; the notes tell of missing frames that were scored as empty.

  Raises:
    FileNotFoundError: the sequence or a frame is missing.
    ValueError: a mask cannot be read or has another size, or nothing can be scored.
  """
  sequence = SequenceMasks(files, options.missing_frames)
  protocol = sequence_scores.PROTOCOLS[options.protocol]
  scores = sequence_scores.score_sequence(
    files.name, sequence.names, sequence.truth, sequence.prediction, protocol, str(files.truth)
  )
  if sequence.missing:
    note = (
      f'{len(sequence.missing)} missing frame(s) counted as empty, the first is '
      f'{sequence.missing[0]}.png'
    )
    scores = dataclasses.replace(scores, notes=scores.notes + (note,))
  return scores


def score_all(
  sequences: Sequence[SequenceFiles],
  options: EvaluationOptions = EvaluationOptions(),
  state_dir: str | os.PathLike | None = None,
  write: Callable[[pathlib.Path, bytes], None] = whole_file.write_bytes,
) -> Iterator[Outcome]:
  """Scores sequences in parallel, yielding each as it is done.

  A sequence whose files and options are the same as in an earlier run with `state_dir` is read
  back instead of scored.

  Args:
    sequences: what to score.
    options: how.
    state_dir: folder of finished sequences, made if needed; None keeps nothing.
    write: writes a file of it: path, content.

  Yields:
    Outcome, in the order of completion.

  Raises:
    FileNotFoundError, ValueError: with on_error='fail', what was wrong with a sequence; those
      that were done before it are kept in `state_dir`.
    OSError: a limit of the machine, whatever `on_error` says, see `whole_file.is_no_room`.
  """
  pending = []
  for files in sequences:
    outcome = _resume(files, options, state_dir)
    if outcome:
      yield outcome
    else:
      pending.append(files)
  # What has no results fails at once; then the longest, so that no process ends the run alone.
  pending.sort(key=lambda files: (files.results.is_dir(), -_num_masks(files)))
  for files, (scores, error) in _run(pending, options):
    if error is not None and (options.on_error == 'fail' or whole_file.is_no_room(error)):
      raise error
    if scores is None:
      yield Outcome(files.name, error=str(error))
      continue
    if state_dir is not None:
      path = state_path(files.name, state_dir)
      path.parent.mkdir(parents=True, exist_ok=True)
      write(path, _to_state(files, options, scores))
    yield Outcome(files.name, scores)


def _num_masks(files: SequenceFiles) -> int:
  """Ground-truth masks of a sequence; 0 of a folder whose scoring says what is wrong with it."""
  try:
    return len(masks.list_masks(files.truth))
  except (OSError, ValueError):
    return 0


def _run(
  pending: Sequence[SequenceFiles], options: EvaluationOptions
) -> Iterator[tuple[SequenceFiles, tuple[sequence_scores.SequenceScores | None, Exception | None]]]:
  """Yields (files, (scores, error)) as sequences finish, from processes if that helps."""
  num_workers = min(options.num_workers or os.cpu_count() or 1, len(pending))
  if num_workers <= 1:
    for files in pending:
      yield files, _attempt(files, options)
    return
  yield from worker_processes.finished(
    functools.partial(_attempt, options=options),
    pending,
    num_workers,
    'run again with fewer (--num_workers): finished sequences are kept',
    cv2.setNumThreads,
    (1,),
  )  # the processes already fill the cores


def _attempt(
  files: SequenceFiles, options: EvaluationOptions
) -> tuple[sequence_scores.SequenceScores | None, Exception | None]:
  """(scores, None) or (None, the error that the user can do something about)."""
  try:
    return score_files(files, options), None
  except (OSError, ValueError) as error:
    return None, error


def _fingerprint(files: SequenceFiles, options: EvaluationOptions) -> str:
  """Changes when the content of a file that counts, or an option that counts, changes."""
  digest = hashlib.sha256(f'{_STATE_VERSION} {options.protocol} {options.missing_frames}'.encode())
  for folder in (files.truth, files.results):
    entries = sorted(os.scandir(folder), key=lambda e: e.name) if folder.is_dir() else ()
    for entry in entries:
      content = journal.file_digest(entry.path) if entry.is_file() else ''
      digest.update(f'{entry.name} {content}\n'.encode(errors='surrogateescape'))
    digest.update(b'\n')
  return digest.hexdigest()


def state_path(name: str, state_dir: str | os.PathLike) -> pathlib.Path:
  """The file of a finished sequence, see `score_all`."""
  return pathlib.Path(state_dir) / f'{name}.json'


def _resume(
  files: SequenceFiles, options: EvaluationOptions, state_dir: str | os.PathLike | None
) -> Outcome | None:
  """The Outcome of an earlier run, or None."""
  if state_dir is None or not state_path(files.name, state_dir).is_file():
    return None
  try:
    state = json.loads(state_path(files.name, state_dir).read_text(encoding='utf-8'))
    if state['fingerprint'] != _fingerprint(files, options):
      return None
    scores = sequence_scores.SequenceScores(
      files.name,
      tuple(state['object_ids']),
      tuple(state['frame_names']),
      _from_json(state['j']),
      _from_json(state['f']),
      tuple(state['notes']),
    )
  except (ValueError, KeyError, TypeError):
    return None  # a damaged state is no state
  return Outcome(files.name, scores, resumed=True)


def _to_state(
  files: SequenceFiles, options: EvaluationOptions, scores: sequence_scores.SequenceScores
) -> bytes:
  state = {
    'fingerprint': _fingerprint(files, options),
    'object_ids': scores.object_ids,
    'frame_names': scores.frame_names,
    'j': _to_json(scores.j),
    'f': _to_json(scores.f),
    'notes': scores.notes,
  }
  return json.dumps(state).encode()


def _to_json(values: np.ndarray) -> list[list[float | None]]:
  """Nested lists with None for NaN, which JSON does not have."""
  return [[None if np.isnan(v) else v for v in row] for row in values.tolist()]


def _from_json(rows: list[list[float | None]]) -> NDArray[np.float64]:
  return np.array([[np.nan if v is None else v for v in row] for row in rows], np.float64)

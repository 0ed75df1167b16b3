"""From folders of masks to scores: what is compared with what, in parallel, resumable.

Ground truth is a DAVIS root (`Annotations/<resolution>/<sequence>/*.png` and
`ImageSets/<year>/<split>.txt`) or a YouTube-VOS split (`Annotations/<video>/*.png`, `meta.json`).
Results of any method are `<results_dir>/<sequence>/<frame>.png`, named as the ground truth.
"""

import concurrent.futures
from concurrent.futures.process import BrokenProcessPool
from collections.abc import Callable, Iterator, Sequence
import dataclasses
import functools
import hashlib
import json
import multiprocessing
import os
import pathlib
import signal

import cv2
import numpy as np

from datasets import davis
from datasets import masks
from feelvos_tf import evaluation

_STATE_VERSION = 1  # raise it when the same files would be scored differently


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
  """How a set of sequences is scored."""

  protocol: str = 'davis2017'  # a key of evaluation.PROTOCOLS
  on_error: str = 'fail'  # fail: the first bad sequence ends the run; skip: it is left out
  missing_frames: str = 'error'  # error: the sequence is bad; empty: scored as an empty mask
  num_workers: int = 0  # processes; 0: one per core

  def __post_init__(self):
    for value, allowed in ((self.protocol, tuple(evaluation.PROTOCOLS)),
                           (self.on_error, ('fail', 'skip')),
                           (self.missing_frames, ('error', 'empty'))):
      if value not in allowed:
        raise ValueError(f'{value!r} given, one of {", ".join(allowed)} expected')
    if self.num_workers < 0:
      raise ValueError(f'{self.num_workers} worker processes given, 0 (one per core) or more '
                       'expected')


@dataclasses.dataclass(frozen=True)
class SequenceFiles:
  """One sequence to score.

  Attributes:
    name: name of the sequence.
    truth: folder of its ground-truth masks.
    results: folder of its results.
    frames: folder of its images, needed for submissions and pictures only.
  """

  name: str
  truth: pathlib.Path
  results: pathlib.Path
  frames: pathlib.Path

  def frame_names(self) -> list[str]:
    """Names of the annotated frames, in order.

    Raises:
      FileNotFoundError: the folder is missing or holds no PNG file.
    """
    names = _png_names(self.truth)
    if not names:
      raise FileNotFoundError(
          f'{self.truth}: no ground-truth masks found, a folder of PNG masks expected; '
          f'check the data root and the sequence name {self.name!r}')
    return names


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What became of one sequence: its scores, or why it was left out."""

  name: str
  scores: evaluation.SequenceScores | None = None
  error: str = ''
  resumed: bool = False  # the scores were read back, not computed


def davis_sequences(
    root, results_dir, year='2017', split='val', resolution='480p', names=None
) -> list[SequenceFiles]:
  """The sequences of a DAVIS split.

  Args:
    root: DAVIS root.
    results_dir: folder of the results.
    year: '2016' or '2017', which list of sequences is read.
    split: name of the list: train, val, test-dev, ...
    resolution: folder under Annotations.
    names: if given, these sequences instead of a split.

  Returns:
    SequenceFiles in the order of the list.

  Raises:
    FileNotFoundError: the list or the annotations are not there.
  """
  root = pathlib.Path(root)
  annotations = root / 'Annotations' / resolution
  if not annotations.is_dir():
    raise FileNotFoundError(
        f'{annotations}: no such folder; a DAVIS root with Annotations/{resolution} expected, '
        'check --davis_root and --resolution')
  if names is None:
    names = davis.read_split(root, str(year), split, resolution)
  return _with_results(annotations, root / 'JPEGImages' / resolution, results_dir, names)


def youtube_vos_sequences(root, results_dir, names=None) -> list[SequenceFiles]:
  """The videos of a YouTube-VOS split that has ground truth.

  Args:
    root: folder of the split, with Annotations.
    results_dir: folder of the results.
    names: if given, only these videos.

  Returns:
    SequenceFiles, sorted by name.

  Raises:
    FileNotFoundError: there are no annotations.
  """
  annotations = pathlib.Path(root) / 'Annotations'
  if not annotations.is_dir():
    raise FileNotFoundError(
        f'{annotations}: no such folder; the folder of a YouTube-VOS split with Annotations and '
        'meta.json expected, check --youtube_vos_root')
  if names is None:
    names = sorted(path.name for path in annotations.iterdir() if path.is_dir())
  return _with_results(
      annotations, pathlib.Path(root) / 'JPEGImages', results_dir, names)


def with_ground_truth(
    sequences: Sequence[SequenceFiles], sparse_masks_given: bool = False
) -> list[SequenceFiles]:
  """The sequences that have more masks than those given to a method.

  Args:
    sequences: what to look at.
    sparse_masks_given: the first mask of every object is given, wherever it is (YouTube-VOS);
      then a sequence with masks on less than half of its frames has no ground truth. Otherwise
      only a sequence with a single mask has none.

  Returns:
    Those with ground truth; also those with no masks at all, whose scoring tells what is wrong.
  """
  def has_truth(files):
    num_masks = len(_png_names(files.truth))
    if sparse_masks_given and files.frames.is_dir():
      return not num_masks or 2 * num_masks >= sum(1 for _ in files.frames.iterdir())
    return num_masks != 1

  return [files for files in sequences if has_truth(files)]


def load_seen(root, train_meta=None) -> Callable[[str, int], bool] | None:
  """Which objects of a YouTube-VOS split are of categories seen in training.

  An object's entry in `meta.json` may say so itself (`"seen": true`); else its `"category"` is
  looked up among the categories of the training split.

  Args:
    root: folder of the split, with meta.json.
    train_meta: meta.json of the training split; by default `../train/meta.json` if it exists.

  Returns:
    (sequence name, object id) -> bool; None when the files do not tell for every object.
  """
  meta = pathlib.Path(root) / 'meta.json'
  if not meta.is_file():
    return None
  train_meta = pathlib.Path(train_meta or pathlib.Path(root).parent / 'train' / 'meta.json')
  trained = set()
  if train_meta.is_file():
    trained = {entry.get('category') for _, _, entry in _meta_objects(train_meta)} - {None}
  table = {}
  for video, object_id, entry in _meta_objects(meta):
    if 'seen' in entry:
      table[video, object_id] = bool(entry['seen'])
    elif trained and 'category' in entry:
      table[video, object_id] = entry['category'] in trained
    else:
      return None

  def seen(video, object_id):
    if (video, object_id) not in table:
      raise ValueError(f'{meta}: object {object_id} of {video!r} is not listed, every object of '
                       'the annotations expected')
    return table[video, object_id]

  return seen


def score_files(
    files: SequenceFiles, options: EvaluationOptions = EvaluationOptions()
) -> evaluation.SequenceScores:
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
  names = files.frame_names()
  if not files.results.is_dir():
    raise FileNotFoundError(
        f'{files.results}: no results for the sequence {files.name!r}, a folder of PNG masks '
        f'expected ({names[0]}.png, ...); check --results_dir')
  missing = []
  # White in a grey file is an object if the first mask has no other one, else it is void.
  first = masks.read_mask(files.truth / f'{names[0]}.png')
  white = 'object' if first.binary else 'void'

  @functools.lru_cache(maxsize=1)  # the reader of the prediction asks for the size
  def read_truth(index):
    return masks.read_mask(files.truth / f'{names[index]}.png', grey_255=white).ids

  def read_prediction(index):
    path = files.results / f'{names[index]}.png'
    truth = read_truth(index)
    if not path.is_file():
      if options.missing_frames == 'error':
        raise FileNotFoundError(
            f'{path}: no such mask, one for every annotated frame expected; write it, or count '
            'missing frames as empty masks with --missing_frames=empty')
      missing.append(names[index])
      return np.zeros_like(truth)
    ids = masks.read_mask(path).ids
    if ids.shape != truth.shape:
      raise ValueError(
          f'{path}: a mask of {ids.shape[1]}x{ids.shape[0]} pixels given, '
          f'{truth.shape[1]}x{truth.shape[0]} (the ground truth) expected; write the masks at '
          'the size of the ground truth')
    return ids

  protocol = evaluation.PROTOCOLS[options.protocol]
  scores = evaluation.score_sequence(
      files.name, names, read_truth, read_prediction, protocol)
  if missing:
    note = f'{len(missing)} missing frame(s) counted as empty, the first is {missing[0]}.png'
    scores = dataclasses.replace(scores, notes=scores.notes + (note,))
  return scores


def score_all(
    sequences: Sequence[SequenceFiles],
    options: EvaluationOptions = EvaluationOptions(),
    state_dir=None,
) -> Iterator[Outcome]:
  """Scores sequences in parallel, yielding each as it is done.

  A sequence whose files and options are the same as in an earlier run with `state_dir` is read
  back instead of scored.

  Args:
    sequences: what to score.
    options: how.
    state_dir: folder of finished sequences, made if needed; None keeps nothing.

  Yields:
    Outcome, in the order of completion.

  Raises:
    FileNotFoundError, ValueError: with on_error='fail', what was wrong with a sequence; those
      that were done before it are kept in `state_dir`.
  """
  pending = []
  for files in sequences:
    outcome = _resume(files, options, state_dir)
    if outcome:
      yield outcome
    else:
      pending.append(files)
  # What has no results fails at once; then the longest, so that no process ends the run alone.
  pending.sort(key=lambda files: (files.results.is_dir(), -len(_png_names(files.truth))))
  for files, (scores, error) in _run(pending, options):
    if error is not None and options.on_error == 'fail':
      raise error
    if error is not None:
      yield Outcome(files.name, error=str(error))
      continue
    if state_dir is not None:
      _save_state(files, options, state_dir, scores)
    yield Outcome(files.name, scores)


def _run(pending, options):
  """Yields (files, (scores, error)) as sequences finish, from processes if that helps."""
  num_workers = min(options.num_workers or os.cpu_count() or 1, len(pending))
  if num_workers <= 1:
    for files in pending:
      yield files, _attempt(files, options)
    return
  # A fork would copy whatever threads the caller runs (TensorFlow's, for one) half way.
  context = multiprocessing.get_context('spawn')
  executor = concurrent.futures.ProcessPoolExecutor(num_workers, context, _start_worker)
  try:
    futures = {executor.submit(_attempt, files, options): files for files in pending}
    for future in concurrent.futures.as_completed(futures):
      yield futures[future], future.result()
  except BrokenProcessPool:
    raise ValueError(
        f'one of the {num_workers} worker processes died, probably for lack of memory; run '
        'again with fewer (--num_workers): finished sequences are kept') from None
  finally:
    executor.shutdown(wait=True, cancel_futures=True)


def _start_worker():
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run
  cv2.setNumThreads(1)  # the processes already fill the cores


def _attempt(files, options):
  """(scores, None) or (None, the error that the user can do something about)."""
  try:
    return score_files(files, options), None
  except (OSError, ValueError) as error:
    return None, error


def _fingerprint(files, options):
  """Changes when a file that counts, or an option that counts, changes."""
  digest = hashlib.sha256(
      f'{_STATE_VERSION} {options.protocol} {options.missing_frames}'.encode())
  for folder in (files.truth, files.results):
    entries = sorted(os.scandir(folder), key=lambda e: e.name) if folder.is_dir() else ()
    for entry in entries:
      stat = entry.stat()
      digest.update(f'{entry.name} {stat.st_size} {stat.st_mtime_ns}\n'.encode())
    digest.update(b'\n')
  return digest.hexdigest()


def _state_path(files, state_dir):
  return pathlib.Path(state_dir) / f'{files.name}.json'


def _resume(files, options, state_dir):
  """The Outcome of an earlier run, or None."""
  if state_dir is None or not _state_path(files, state_dir).is_file():
    return None
  try:
    state = json.loads(_state_path(files, state_dir).read_text(encoding='utf-8'))
    if state['fingerprint'] != _fingerprint(files, options):
      return None
    scores = evaluation.SequenceScores(
        files.name, tuple(state['object_ids']), tuple(state['frame_names']),
        _from_json(state['j']), _from_json(state['f']), tuple(state['notes']))
  except (ValueError, KeyError, TypeError):
    return None  # a damaged state is no state
  return Outcome(files.name, scores, resumed=True)


def _save_state(files, options, state_dir, scores):
  path = _state_path(files, state_dir)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_suffix('.tmp')
  temporary.write_text(json.dumps({
      'fingerprint': _fingerprint(files, options),
      'object_ids': scores.object_ids, 'frame_names': scores.frame_names,
      'j': _to_json(scores.j), 'f': _to_json(scores.f), 'notes': scores.notes,
  }), encoding='utf-8')
  os.replace(temporary, path)


def _to_json(values):
  """Nested lists with None for NaN, which JSON does not have."""
  return [[None if np.isnan(v) else v for v in row] for row in values.tolist()]


def _from_json(rows):
  return np.array([[np.nan if v is None else v for v in row] for row in rows], np.float64)


def _png_names(folder):
  if not folder.is_dir():
    return []
  return sorted(path.stem for path in folder.iterdir() if path.suffix.lower() == '.png')


def _with_results(annotations, frames, results_dir, names):
  results = pathlib.Path(results_dir)
  return [SequenceFiles(name, annotations / name, results / name, frames / name)
          for name in names]


def _meta_objects(path):
  """Yields (video, object id, entry) of a YouTube-VOS meta.json."""
  try:
    videos = json.loads(path.read_text(encoding='utf-8'))['videos']
    found = [(video, int(object_id), entry) for video, content in videos.items()
             for object_id, entry in content['objects'].items()]
  except (ValueError, KeyError, TypeError, AttributeError):
    raise ValueError(
        f'{path}: not a YouTube-VOS meta file, {{"videos": {{name: {{"objects": {{id: ...}}}}}}}} '
        'expected') from None
  return found

"""One evaluation: segments if a method is given, scores, writes tables and report, packs."""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import pathlib
from typing import Any, cast

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.evaluation import confidence_score
from feelvos_tf.evaluation import methods
from feelvos_tf.evaluation import report
from feelvos_tf.evaluation import scoring
from feelvos_tf.evaluation import seen_categories
from feelvos_tf.evaluation import segmenting
from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.evaluation import sequences as sequences_lib
from feelvos_tf.evaluation import submission
from feelvos_tf.evaluation import summary as summary_lib
from feelvos_tf.evaluation import tables
from feelvos_tf.evaluation import truth as truth_lib
from feelvos_tf.evaluation.options import MethodOptions
from feelvos_tf.evaluation.options import RunOptions
from feelvos_tf.files import whole_file
from feelvos_tf.model import default_model
from feelvos_tf.runtime import model_flags
from feelvos_tf.runtime import progress
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

REPORT_NAME = 'report.html'
_TABLES = '/tables'  # Job of the files about all sequences; no sequence has this name.


def run(options: RunOptions) -> None:
  """Evaluates; prints the numbers and what was written.

  Args:
    options: what to run, where the data are, where everything goes.

  Raises:
    FileNotFoundError, ValueError: something is wrong with data, results or weights.
  """
  other = tables.read_summary(options.compare_with) if options.compare_with else None
  output_dir, results_dir = _folders(options)
  unpack_dir = output_dir / 'unpacked'
  bad: dict[str, str] = {}
  skips = options.scoring.on_error == 'skip'
  sequences = truth_lib.find_sequences(
    options.truth, results_dir, unpack_dir, bad if skips else None
  )
  if options.method.runs:  # Where the masks will be, whatever an earlier run has left.
    own = results_dir.joinpath
    sequences = [dataclasses.replace(files, results=own(files.name)) for files in sequences]
  if bad and not sequences:
    raise ValueError(f'no sequence could be read: {"; ".join(bad.values())}')
  scorable = sequences_lib.with_ground_truth(sequences, options.truth.rules.late_objects)
  seen = None
  if options.truth.vos_split and scorable:  # A damaged meta.json ends the run at its start.
    seen = seen_categories.load_seen(options.truth.vos_split, options.truth.train_meta)
  if options.submission_zip:
    submission.check_place(options.submission_zip)
  if not scorable and not options.submission_zip:
    raise ValueError(
      f'split {options.truth.split!r}: none of its {len(sequences)} sequences has ground truth '
      'beyond the given masks, so it cannot be scored; pack it for the server with '
      '--submission_zip'
    )
  if options.method.runs:
    inputs = [path for files in sequences for path in (files.truth, files.frames)]
    result_folder.check_inputs(output_dir, [p for p in inputs if unpack_dir not in p.parents])
  method = _model_run(options) if options.method.runs else None
  fingerprint = method.fingerprint() if method else ''
  # One evaluation at a time; what it writes is listed, and only that is ever replaced.
  with result_folder.ResultFolder(output_dir, fingerprint, True) as results:
    results.check_free(_TABLES, _own_files(options, scorable))
    failed, clips = _segment(options, method, sequences, results) if method else ({}, [])
    failed = {**bad, **failed}
    if scorable:
      left_out = {**_without_ground_truth(options, sequences, scorable), **failed}
      scorable = [files for files in sequences if files.name not in left_out]
      _Scoring(options, results, method, seen).write(scorable, left_out, clips, other)
    else:
      print('not scored: the split has no ground truth beyond the given masks')
  if options.submission_zip and failed:
    raise ValueError(
      f'{options.submission_zip}: not written, as {len(failed)} of {len(sequences) + len(bad)} sequences '
      f'could not be segmented: {", ".join(list(failed)[:5])}'
    )
  if options.submission_zip:
    _pack(options, sequences, results_dir)


def _own_files(options: RunOptions, sequences: Sequence[sequences_lib.SequenceFiles]) -> list[str]:
  """Names of the files about all sequences, and of what is kept to go on."""
  names = [str(scoring.state_path(files.name, 'scores')) for files in sequences]
  return [*tables.table_names(options.truth.split), *names, *options.report * [REPORT_NAME]]


def _folders(options: RunOptions) -> tuple[pathlib.Path, pathlib.Path]:
  """(output folder, folder of masks)."""
  if options.method.runs:
    output_dir = pathlib.Path(cast(str, options.output_dir))
    return output_dir, output_dir / 'masks'
  results_dir = pathlib.Path(cast(str, options.results_dir))
  if not results_dir.is_dir():
    raise FileNotFoundError(
      names_lib.missing(results_dir, 'folder of results', 'check --results_dir')
    )
  if options.output_dir:
    return pathlib.Path(options.output_dir), results_dir
  absolute = results_dir.resolve()
  return absolute.with_name(f'{absolute.name}_evaluation'), results_dir


def _without_ground_truth(
  options: RunOptions,
  sequences: Sequence[sequences_lib.SequenceFiles],
  scorable: Sequence[sequences_lib.SequenceFiles],
) -> dict[str, str]:
  """{name: reason} of sequences that have only the given masks, in a split where others have more.

  A single mask is what a DAVIS sequence of one frame has: scoring it says what is wrong.
  """
  if not options.truth.rules.late_objects:
    return {}
  reason = 'has no ground truth beyond the given masks'
  return {files.name: f'{files.truth}: {reason}' for files in sequences if files not in scorable}


def _model_run(options: RunOptions) -> methods.ModelRun:
  method, path = options.method, ''
  if method.baseline != 'copy_first_mask':
    path = str(default_model.model_path(method.model))
  return methods.ModelRun(
    path,
    method.segmenter,
    _precision(method, bool(path) and default_model.is_default(method.model)),
    tuple(method.model_changes().items()),
    method.baseline or '',
    late_objects=options.truth.rules.late_objects,
    keep_maps=method.keep_maps,
  )


def _precision(method: MethodOptions, of_project: bool) -> str:
  """Key of precision.POLICIES that is computed in; says it and the device."""
  start_tensorflow()
  return model_flags.choose_precision(method.precision, of_project).name


def _segment(
  options: RunOptions,
  method: methods.ModelRun,
  sequences: Sequence[sequences_lib.SequenceFiles],
  results: result_folder.ResultFolder,
) -> tuple[dict[str, str], list[segmenting.SegmentedVideo]]:
  """Runs the method; ({name left out: reason}, list of `evaluation.segmenting.SegmentedVideo`)."""
  left_out, clips, videos = {}, [], []
  on_error = options.scoring.on_error
  for files in sequences:
    try:
      videos.append(sequences_lib.open_video(files, options.truth.rules.foreground_only))
    except (OSError, ValueError) as error:
      if on_error == 'fail' or whole_file.is_no_room(error):
        raise
      left_out[files.name] = str(error)
  num_frames = sum(video.num_frames or 0 for video in videos)
  with progress.Progress(num_frames, 'frames', 'segmenting') as line:
    for clip in segmenting.segment_all(
      videos, method, results, on_error, options.method.parallel_clips, on_frames=line.advance
    ):
      clips.append(clip)
      if clip.error:
        left_out[clip.name] = clip.error
  return left_out, clips


@dataclasses.dataclass(frozen=True)
class _Scoring:
  """Scores sequences and writes what comes of it."""

  options: RunOptions
  results: result_folder.ResultFolder
  method: methods.ModelRun | None
  seen: Callable[[str, int], bool] | None  # See `seen_categories.load_seen`.

  @property
  def output_dir(self) -> pathlib.Path:
    """The output folder."""
    return self.results.path

  def write(
    self,
    sequences: Sequence[sequences_lib.SequenceFiles],
    left_out: dict[str, str],
    clips: Sequence[segmenting.SegmentedVideo],
    other: dict[str, Any] | None,
  ) -> None:
    """Scores, writes tables and report, prints the result.

    Args:
      sequences: what is scored.
      left_out: {name of a sequence: why} of those that could not be segmented.
      clips: what was segmented, for the settings in the summary.
      other: the summary to compare with in the report, or None.

    Raises:
      ValueError: no sequence could be scored.
    """
    options = self.options
    scored, bad = self._score(sequences)
    left_out = {**left_out, **bad}
    if not scored:
      raise ValueError('no sequence could be scored: ' + '; '.join(left_out.values()))
    summary = tables.to_summary(
      scored,
      left_out,
      self._settings(sequences, clips),
      self._seen_and_unseen(scored),
      self._confidence(scored) if self.method else None,
    )
    files = tables.to_files(options.truth.split, scored, summary)
    if options.report:
      maps = self.output_dir if self.method else None
      files[REPORT_NAME] = report.to_html(summary, sequences, maps, other, options.pictures)
    for name, content in files.items():
      self.results.write(_TABLES, name, content)
    self.results.flush(_TABLES)
    print('\n'.join(tables.format_lines(summary)))
    print('written: ' + ', '.join(str(self.output_dir / name) for name in files))

  def _seen_and_unseen(
    self, scored: Sequence[sequence_scores.SequenceScores]
  ) -> dict[str, float] | None:
    """Scores of categories seen in training and of others; None where the data do not say it."""
    if self.seen is None:
      return None
    try:
      return summary_lib.summarise_seen_unseen(scored, self.seen)
    except ValueError as error:  # All else has been scored, perhaps for hours.
      data_warning.warn(f'{error}; no scores of seen and unseen categories')
      return None

  def _score(
    self, sequences: Sequence[sequences_lib.SequenceFiles]
  ) -> tuple[list[sequence_scores.SequenceScores], dict[str, str]]:
    """(SequenceScores in the order of `sequences`, {name left out: reason})."""
    options = dataclasses.replace(self.options.scoring, protocol=self.options.truth.rules.name)
    done = {}
    with progress.Progress(len(sequences), 'sequences', 'scoring') as line:
      folder = self.output_dir / 'scores'
      for outcome in scoring.score_all(sequences, options, folder, self._write_state):
        done[outcome.name] = outcome
        line.advance(note=f'{outcome.name}: left out' if outcome.error else outcome.name)
    outcomes = [done[files.name] for files in sequences]
    scored = [outcome.scores for outcome in outcomes if outcome.scores]
    return scored, {outcome.name: outcome.error for outcome in outcomes if outcome.error}

  def _write_state(self, path: pathlib.Path, content: bytes) -> None:
    self.results.write(_TABLES, str(path.relative_to(self.output_dir)), content)

  def _confidence(self, scored: Sequence[sequence_scores.SequenceScores]) -> dict[str, Any] | None:
    """How well the confidence predicts wrong masks; None of a method that has none."""
    states = [segmenting.read_state(self.output_dir, scores.name) for scores in scored]
    return confidence_score.summarise(
      (scores, state.get('confidence', {})) for scores, state in zip(scored, states)
    )

  def _settings(
    self,
    sequences: Sequence[sequences_lib.SequenceFiles],
    clips: Sequence[segmenting.SegmentedVideo],
  ) -> dict[str, Any]:
    """What the summary says about how it was made."""
    options = self.options
    settings: dict[str, Any] = {
      'run': self.output_dir.resolve().name,
      'results_dir': str(sequences[0].results.parent.resolve()),
      'split': options.truth.split,
      'protocol': options.truth.rules.name,
      'missing_frames': options.scoring.missing_frames,
      'data_root': options.truth.place,
    }
    if self.method:
      times = {clip.name: clip.seconds_per_frame for clip in clips}
      settings.update(
        model=options.method.model,
        options=dict(options.changed),
        precision=self.method.precision,
        seconds_per_frame_of=times,
        seconds_per_frame=_mean(times.values()),
        matmul_gflops=_mean(clip.matmul_gflops for clip in clips),
      )
    return settings


def _mean(values: Iterable[float | None]) -> float | None:
  """Mean of those that are not None; None if there are none."""
  known = [value for value in values if value is not None]
  return sum(known) / len(known) if known else None


def _pack(
  options: RunOptions, sequences: Sequence[sequences_lib.SequenceFiles], results_dir: pathlib.Path
) -> None:
  layout = 'youtube_vos' if options.truth.rules.late_objects else 'davis'
  count = submission.write_submission(
    cast(str, options.submission_zip),
    results_dir,
    [(files.name, files.frames, files.truth) for files in sequences],
    layout,
  )
  print(f'written: {options.submission_zip} with {count} masks')

r"""Scores masks, or a model, with the numbers of the DAVIS and YouTube-VOS benchmarks.

Masks of any method, as `<results_dir>/<sequence>/<frame>.png`:

  feelvos evaluate --results_dir=masks --davis_root=DAVIS --year=2017 --split=val

A model, which segments the split first:

  feelvos evaluate --model=feelvos_tf/pretrained/mobilenet_v2.h5 --davis_root=DAVIS \
      --year=2016 --split=val --output_dir=runs/mobilenet_v2

Several options side by side: `python -m tools.evaluate_options`.

Writes to --output_dir the two CSV files of the official tool, summary.json, report.html, and
what is needed to go on after an interruption. --submission_zip also packs the masks for the
benchmark's server. Exit code 0: done; 1: something is wrong with the data; 2: wrong usage.
"""

import json
import pathlib

from absl import flags

from feelvos_tf.datasets import names as names_lib
from feelvos_tf.evaluation import confidence_score
from feelvos_tf.evaluation import measures
from feelvos_tf.evaluation import methods
from feelvos_tf.evaluation import report
from feelvos_tf.evaluation import scoring
from feelvos_tf.evaluation import segmenting
from feelvos_tf.evaluation import sequences as sequences_lib
from feelvos_tf.evaluation import submission
from feelvos_tf.evaluation import summary as summary_lib
from feelvos_tf.evaluation import tables
from feelvos_tf.model import default_model
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import model_flags
from feelvos_tf.runtime import progress
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import segmenter_flags
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

FLAGS = flags.FLAGS
# Flags that say how a model is run, and those of them that a baseline knows.
_MODEL_FLAGS = (
  'speed',
  'max_internal_size',
  'image_pyramid',
  'merge_method',
  'flip',
  'precision',
  'max_reference_pixels_per_object',
  'model_option',
  'ablation',
  'baseline',
)
_BASELINE_FLAGS = {
  'copy_first_mask': ('baseline',),
  'global_matching': (
    'baseline',
    'max_internal_size',
    'precision',
    'model_option',
    'max_reference_pixels_per_object',
  ),
}


def define_flags():
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_string('results_dir', None, 'Folder of masks to score, <sequence>/<frame>.png.')
  flags.DEFINE_string(
    'model',
    None,
    'Weights file of a model to run and score instead; "default" '
    'is the one that comes with the project.',
  )
  flags.DEFINE_string('davis_root', None, 'DAVIS folder: Annotations, JPEGImages, ImageSets.')
  flags.DEFINE_string(
    'youtube_vos_root', None, 'Folder of a YouTube-VOS split: Annotations, JPEGImages, meta.json.'
  )
  flags.DEFINE_string(
    'dataset_dir',
    None,
    'Folder of TFRecords made by tools.convert_to_tfrecord; '
    'they are unpacked into the output folder.',
  )
  flags.DEFINE_enum('year', '2017', ['2016', '2017'], 'DAVIS year: list of sequences, protocol.')
  flags.DEFINE_string('split', 'val', 'Name of the list of sequences: train, val, test-dev.')
  flags.DEFINE_string('resolution', '480p', 'Folder under Annotations and JPEGImages of DAVIS.')
  flags.DEFINE_list('sequences', None, 'Only these sequences, separated by commas.')
  flags.DEFINE_enum(
    'protocol',
    None,
    list(measures.PROTOCOLS),
    'What counts; by default that of the data: davis2016 (foreground against '
    'background), davis2017 (every object), youtube_vos.',
  )
  flags.DEFINE_string(
    'output_dir',
    None,
    'Where everything goes. Default with --results_dir: <results_dir>_evaluation.',
  )
  flags.DEFINE_enum(
    'on_error',
    'fail',
    ['fail', 'skip'],
    'A bad sequence ends the run, or is left out and listed in the summary.',
  )
  flags.DEFINE_enum(
    'missing_frames',
    'error',
    ['error', 'empty'],
    'A missing mask makes its sequence bad, or counts as an empty mask.',
  )
  flags.DEFINE_integer('num_workers', 0, 'Processes that score; 0: one per core.', lower_bound=0)
  flags.DEFINE_string('submission_zip', None, 'Also pack the masks for the benchmark server.')
  flags.DEFINE_string(
    'train_meta', None, 'meta.json of YouTube-VOS train, to tell seen from unseen categories.'
  )
  segmenter_flags.define_flags()
  flags.adopt_module_key_flags(segmenter_flags)  # So that --helpshort lists them.
  flags.DEFINE_enum(
    'baseline',
    None,
    methods.BASELINES,
    'Instead of the whole model: '
    "copy the first mask, or global matching alone with the model's embedding.",
  )
  flags.DEFINE_multi_enum(
    'ablation', [], list(methods.ABLATIONS), 'With --model: take a part away; may be repeated.'
  )
  flags.DEFINE_multi_string(
    'model_option',
    [],
    'With --model: an option of the model to change, '
    'name=value, for example previous_prediction=probabilities.',
  )
  flags.DEFINE_integer(
    'parallel_clips', 1, 'With --model: videos segmented at the same time.', lower_bound=1
  )
  flags.DEFINE_bool('report', True, 'Write report.html.')
  flags.DEFINE_bool(
    'keep_maps',
    True,
    'With --model: keep distance maps and probabilities of '
    'every frame (about 50 kB an object) for the report.',
  )
  flags.DEFINE_integer('worst_frames', 3, 'Pictures per sequence in the report.', lower_bound=0)
  flags.DEFINE_integer(
    'map_object',
    None,
    'Object id whose distance maps and probability the '
    'report shows; default: the worst object of each picture.',
  )
  flags.DEFINE_string(
    'compare_with',
    None,
    'Output folder of another run over the same sequences, to stand next to this one in the report.',
  )


def main():
  """Segments if a method is given, scores, writes tables and report, packs."""
  _check_usage()
  other = tables.read_summary(FLAGS.compare_with) if FLAGS.compare_with else None
  output_dir, results_dir = _folders()
  sequences = _sequences(results_dir, output_dir)
  scorable = sequences_lib.with_ground_truth(sequences, _protocol() == 'youtube_vos')
  if not scorable and not FLAGS.submission_zip:
    raise ValueError(
      f'split {FLAGS.split!r}: none of its {len(sequences)} sequences has ground truth beyond '
      'the given masks, so it cannot be scored; pack it for the server with --submission_zip'
    )
  if _runs() and not FLAGS.dataset_dir:  # Records are unpacked into the output folder.
    result_folder.check_inputs(output_dir, [p for f in sequences for p in (f.truth, f.frames)])
  run = _model_run() if _runs() else None
  # One evaluation at a time; what it writes is listed, and only that is ever replaced.
  with result_folder.ResultFolder(output_dir, run.fingerprint() if run else '', True) as results:
    left_out, clips = _segment(run, sequences, results) if run else ({}, [])
    if scorable:
      left_out = {**_without_ground_truth(sequences, scorable), **left_out}
      scorable = [files for files in sequences if files.name not in left_out]
      _score(scorable, output_dir, left_out, clips, other, run)
    else:
      print('not scored: the split has no ground truth beyond the given masks')
  if FLAGS.submission_zip:
    _pack(sequences, results_dir)


def _without_ground_truth(sequences, scorable):
  """{name: reason} of sequences that have only the given masks, in a split where others have more.

  A single mask is what a DAVIS sequence of one frame has: scoring it says what is wrong.
  """
  if _protocol() != 'youtube_vos':
    return {}
  reason = 'has no ground truth beyond the given masks'
  return {files.name: f'{files.truth}: {reason}' for files in sequences if files not in scorable}


def _check_usage():
  if bool(FLAGS.results_dir) == _runs():
    raise command_line.UsageError(
      'exactly one of --results_dir (masks to score) and --model (weights to run) or --baseline '
      'expected'
    )
  if len([s for s in (FLAGS.davis_root, FLAGS.youtube_vos_root, FLAGS.dataset_dir) if s]) != 1:
    raise command_line.UsageError(
      'exactly one of --davis_root, --youtube_vos_root and --dataset_dir expected'
    )
  if _runs() and not FLAGS.output_dir:
    raise command_line.UsageError('--model and --baseline need --output_dir')
  changed = _changed_flags()
  if FLAGS.results_dir and changed:
    raise command_line.UsageError(f'--{changed[0]} needs --model')
  unfit = [name for name in changed if name not in _BASELINE_FLAGS.get(FLAGS.baseline, changed)]
  if unfit:
    raise command_line.UsageError(f'--baseline={FLAGS.baseline} has no use for --{unfit[0]}')
  if FLAGS.baseline == 'copy_first_mask' and FLAGS.model:
    raise command_line.UsageError('--baseline=copy_first_mask has no use for --model')
  segmenter_flags.from_flags()
  _overrides()


def _changed_flags():
  """Names of _MODEL_FLAGS that are not at their defaults."""
  return [name for name in _MODEL_FLAGS if FLAGS[name].value != FLAGS[name].default]


def _runs():
  """Whether there is a method to run, and not only masks to score."""
  return bool(FLAGS.model or FLAGS.baseline)


def _folders():
  """(output folder, folder of masks)."""
  if _runs():
    return pathlib.Path(FLAGS.output_dir), pathlib.Path(FLAGS.output_dir) / 'masks'
  results_dir = pathlib.Path(FLAGS.results_dir)
  if not results_dir.is_dir():
    raise FileNotFoundError(
      names_lib.missing(results_dir, 'folder of results', 'check --results_dir')
    )
  if FLAGS.output_dir:
    return pathlib.Path(FLAGS.output_dir), results_dir
  absolute = results_dir.resolve()
  return absolute.with_name(f'{absolute.name}_evaluation'), results_dir


def _sequences(results_dir, output_dir):
  if FLAGS.dataset_dir:
    return sequences_lib.record_sequences(
      FLAGS.dataset_dir, FLAGS.split, output_dir / 'unpacked', results_dir, FLAGS.sequences
    )
  if FLAGS.youtube_vos_root:
    return sequences_lib.youtube_vos_sequences(FLAGS.youtube_vos_root, results_dir, FLAGS.sequences)
  return sequences_lib.davis_sequences(
    FLAGS.davis_root, results_dir, FLAGS.year, FLAGS.split, FLAGS.resolution, FLAGS.sequences
  )


def _protocol():
  if FLAGS.protocol:
    return FLAGS.protocol
  return 'youtube_vos' if FLAGS.youtube_vos_root else f'davis{FLAGS.year}'


def _model_run():
  path = ''
  if FLAGS.baseline != 'copy_first_mask':
    path = default_model.model_path(FLAGS.model)
  return methods.ModelRun(
    str(path),
    segmenter_flags.from_flags(),
    _precision(bool(path) and default_model.is_default(FLAGS.model)),
    tuple(_overrides().items()),
    FLAGS.baseline or '',
    late_objects=measures.PROTOCOLS[_protocol()].late_objects,
    keep_maps=FLAGS.keep_maps,
  )


def _precision(of_project):
  """Key of precision.POLICIES that the flag stands for; says it and the device."""
  start_tensorflow()
  return model_flags.choose_precision(of_project).name


def _overrides():
  """dict of the model's options to change."""
  try:
    ablations = methods.ablation_overrides(FLAGS.ablation)
  except ValueError as error:
    raise command_line.UsageError(f'--ablation: {error}') from None
  return {
    **segmenter_flags.model_overrides(),
    **ablations,
    **dict(_parse_option(text) for text in FLAGS.model_option),
  }


def _parse_option(text):
  """('name', value) of 'name=value', the value as JSON (3, true, null) or else a string."""
  name, equals, value = text.partition('=')
  if not equals or not name:
    raise command_line.UsageError(f'--model_option={text} given, name=value expected')
  try:
    return name, json.loads(value)
  except ValueError:
    return name, value


def _segment(run, sequences, results):
  """Runs the method; ({name left out: reason}, list of `evaluation.segmenting.Clip`)."""
  left_out, clips, videos = {}, [], []
  single_object = measures.PROTOCOLS[_protocol()].foreground_only
  for files in sequences:
    try:
      videos.append(sequences_lib.open_video(files, single_object))
    except (OSError, ValueError) as error:
      if FLAGS.on_error == 'fail':
        raise
      left_out[files.name] = str(error)
  num_frames = sum(video.num_frames for video in videos)
  with progress.Progress(num_frames, 'frames', 'segmenting') as line:
    for clip in segmenting.segment_all(
      videos, run, results, FLAGS.on_error, FLAGS.parallel_clips, on_frames=line.advance
    ):
      clips.append(clip)
      if clip.error:
        left_out[clip.name] = clip.error
  return left_out, clips


def _score(sequences, output_dir, left_out, clips, other, run):
  """Scores, writes tables and report, prints the result."""
  options = scoring.EvaluationOptions(
    protocol=_protocol(),
    on_error=FLAGS.on_error,
    missing_frames=FLAGS.missing_frames,
    num_workers=FLAGS.num_workers,
  )
  scored, bad = _score_with_progress(sequences, options, output_dir / 'scores')
  left_out = {**left_out, **bad}
  if not scored:
    raise ValueError('no sequence could be scored: ' + '; '.join(left_out.values()))
  seen = None
  if FLAGS.youtube_vos_root:
    seen = sequences_lib.load_seen(FLAGS.youtube_vos_root, FLAGS.train_meta)
  summary = tables.to_summary(
    scored,
    left_out,
    _settings(sequences, output_dir, clips, run),
    summary_lib.summarise_seen_unseen(scored, seen) if seen else None,
    _confidence(scored, output_dir) if run else None,
  )
  paths = tables.write_tables(output_dir, FLAGS.split, scored, summary)
  if FLAGS.report:
    paths.append(output_dir / 'report.html')
    pictures = report.PictureOptions(per_sequence=FLAGS.worst_frames, map_object=FLAGS.map_object)
    report.write_report(
      paths[-1], summary, sequences, output_dir if _runs() else None, other, pictures
    )
  print('\n'.join(tables.format_lines(summary)))
  print('written: ' + ', '.join(str(path) for path in paths))


def _confidence(scored, output_dir):
  """How well the confidence predicts wrong masks; None of a method that has none."""
  states = [segmenting.read_state(output_dir, scores.name) for scores in scored]
  return confidence_score.summarise(
    (scores, state.get('confidence', {})) for scores, state in zip(scored, states)
  )


def _settings(sequences, output_dir, clips, run):
  """What the summary says about how it was made."""
  settings = {
    'run': output_dir.resolve().name,
    'results_dir': str(sequences[0].results.parent.resolve()),
    'split': FLAGS.split,
    'protocol': _protocol(),
    'missing_frames': FLAGS.missing_frames,
    'data_root': str(FLAGS.davis_root or FLAGS.youtube_vos_root or FLAGS.dataset_dir),
  }
  if run:
    times = {clip.name: clip.seconds_per_frame for clip in clips}
    settings.update(
      model=FLAGS.model,
      options={name: FLAGS[name].value for name in _changed_flags()},
      precision=run.precision,
      seconds_per_frame_of=times,
      seconds_per_frame=_mean(times.values()),
      matmul_gflops=_mean(clip.matmul_gflops for clip in clips),
    )
  return settings


def _mean(values):
  """Mean of those that are not None; None if there are none."""
  values = [value for value in values if value is not None]
  return sum(values) / len(values) if values else None


def _score_with_progress(sequences, options, state_dir):
  """(SequenceScores in the order of `sequences`, {name left out: reason})."""
  done = {}
  with progress.Progress(len(sequences), 'sequences', 'scoring') as line:
    for outcome in scoring.score_all(sequences, options, state_dir):
      done[outcome.name] = outcome
      line.advance(note=f'{outcome.name}: left out' if outcome.error else outcome.name)
  outcomes = [done[files.name] for files in sequences]
  scored = [outcome.scores for outcome in outcomes if outcome.scores]
  return scored, {outcome.name: outcome.error for outcome in outcomes if outcome.error}


def _pack(sequences, results_dir):
  layout = 'youtube_vos' if _protocol() == 'youtube_vos' else 'davis'
  count = submission.write_submission(
    FLAGS.submission_zip,
    results_dir,
    [(files.name, files.frames, files.truth) for files in sequences],
    layout,
  )
  print(f'written: {FLAGS.submission_zip} with {count} masks')


if __name__ == '__main__':
  command_line.run(main, define_flags)

r"""Scores a method's masks, or a model, with the numbers of the DAVIS and YouTube-VOS benchmarks.

Masks of any method, as `<results_dir>/<sequence>/<frame>.png`:

  python -m feelvos_tf.evaluate --results_dir=masks --davis_root=DAVIS --year=2017 --split=val

Writes to --output_dir the two CSV files of the official tool, summary.json, and the scores of
every finished sequence, so that an interrupted run goes on where it stopped. Exit code 0: done;
1: something is wrong with the data; 2: wrong usage.
"""

import pathlib
import sys

from absl import app
from absl import flags

from datasets import progress
from feelvos_tf import evaluation
from feelvos_tf import evaluation_files
from feelvos_tf import evaluation_tables
from feelvos_tf import submission

FLAGS = flags.FLAGS
flags.DEFINE_string('results_dir', None, 'Folder of masks, <sequence>/<frame>.png.')
flags.DEFINE_string('davis_root', None, 'DAVIS folder: Annotations, JPEGImages, ImageSets.')
flags.DEFINE_string('youtube_vos_root', None,
                    'Folder of a YouTube-VOS split: Annotations, JPEGImages, meta.json.')
flags.DEFINE_enum('year', '2017', ['2016', '2017'], 'DAVIS year: list of sequences, protocol.')
flags.DEFINE_string('split', 'val', 'Name of the list of sequences: train, val, test-dev.')
flags.DEFINE_string('resolution', '480p', 'Folder under Annotations and JPEGImages of DAVIS.')
flags.DEFINE_list('sequences', None, 'Only these sequences, separated by commas.')
flags.DEFINE_enum('protocol', None, list(evaluation.PROTOCOLS),
                  'What counts; by default that of the data: davis2016 (foreground against '
                  'background), davis2017 (every object), youtube_vos.')
flags.DEFINE_string('output_dir', None, 'Where tables go; default: <results_dir>_evaluation.')
flags.DEFINE_enum('on_error', 'fail', ['fail', 'skip'],
                  'A bad sequence ends the run, or is left out and listed in the summary.')
flags.DEFINE_enum('missing_frames', 'error', ['error', 'empty'],
                  'A missing mask makes its sequence bad, or counts as an empty mask.')
flags.DEFINE_integer('num_workers', 0, 'Processes that score; 0: one per core.')
flags.DEFINE_string('submission_zip', None, 'Also pack the masks for the benchmark server.')
flags.DEFINE_string('train_meta', None,
                    'meta.json of YouTube-VOS train, to tell seen from unseen categories.')


class UsageError(Exception):
  """Flags that do not fit together."""


def main(argv):
  try:
    if len(argv) > 1:
      raise UsageError(f'unexpected argument {argv[1]!r}; every option is a --flag')
    _check_usage()
    return _run()
  except UsageError as error:
    print(f'evaluate: {error}', file=sys.stderr)
    return 2
  except (ValueError, OSError) as error:
    print(f'evaluate: {error}', file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print('evaluate: interrupted; run the same command again to go on', file=sys.stderr)
    return 1


def _check_usage():
  if not FLAGS.results_dir:
    raise UsageError('--results_dir expected: a folder of masks to score')
  if bool(FLAGS.davis_root) == bool(FLAGS.youtube_vos_root):
    raise UsageError('exactly one of --davis_root and --youtube_vos_root expected')
  if FLAGS.num_workers < 0:
    raise UsageError(f'--num_workers={FLAGS.num_workers} given, 0 or more expected')


def _run():
  results_dir = pathlib.Path(FLAGS.results_dir)
  if not results_dir.is_dir():
    raise FileNotFoundError(f'{results_dir}: no such folder of results; check --results_dir')
  output_dir = _output_dir(results_dir)
  sequences = _sequences(results_dir)
  scorable = evaluation_files.with_ground_truth(sequences, bool(FLAGS.youtube_vos_root))
  if not scorable and not FLAGS.submission_zip:
    raise ValueError(
        f'split {FLAGS.split!r}: none of its {len(sequences)} sequences has ground truth beyond '
        'the given masks, so it cannot be scored; pack it for the server with --submission_zip')
  if FLAGS.submission_zip:
    _pack(sequences, results_dir)
  if not scorable:
    print('not scored: the split has no ground truth beyond the given masks')
    return 0
  return _score(sequences, output_dir)


def _score(sequences, output_dir):
  """Scores, writes the tables and prints the result; returns the exit code."""
  options = evaluation_files.EvaluationOptions(
      protocol=_protocol(), on_error=FLAGS.on_error, missing_frames=FLAGS.missing_frames,
      num_workers=FLAGS.num_workers)
  output_dir.mkdir(parents=True, exist_ok=True)
  scored, left_out = _score_with_progress(sequences, options, output_dir / 'scores')
  if not scored:
    raise ValueError('no sequence could be scored: ' + '; '.join(left_out.values()))
  seen = None
  if FLAGS.youtube_vos_root:
    seen = evaluation_files.load_seen(FLAGS.youtube_vos_root, FLAGS.train_meta)
  settings = {
      'results_dir': str(FLAGS.results_dir), 'split': FLAGS.split, 'protocol': options.protocol,
      'missing_frames': options.missing_frames,
      'data_root': str(FLAGS.davis_root or FLAGS.youtube_vos_root)}
  summary = evaluation_tables.to_summary(
      scored, left_out, settings,
      evaluation.summarise_seen_unseen(scored, seen) if seen else None)
  paths = evaluation_tables.write_tables(output_dir, FLAGS.split, scored, summary)
  print('\n'.join(evaluation_tables.format_lines(summary)))
  print('written: ' + ', '.join(str(path) for path in paths))
  return 0


def _score_with_progress(sequences, options, state_dir):
  """(SequenceScores in the order of `sequences`, {name left out: reason})."""
  done = {}
  with progress.Progress(len(sequences), 'sequences', 'scoring') as line:
    for outcome in evaluation_files.score_all(sequences, options, state_dir):
      done[outcome.name] = outcome
      line.advance(note=f'{outcome.name}: left out' if outcome.error else outcome.name)
  outcomes = [done[files.name] for files in sequences]
  scored = [outcome.scores for outcome in outcomes if outcome.scores]
  return scored, {outcome.name: outcome.error for outcome in outcomes if outcome.error}


def _protocol():
  if FLAGS.protocol:
    return FLAGS.protocol
  return 'youtube_vos' if FLAGS.youtube_vos_root else f'davis{FLAGS.year}'


def _output_dir(results_dir):
  if FLAGS.output_dir:
    return pathlib.Path(FLAGS.output_dir)
  return results_dir.resolve().with_name(f'{results_dir.resolve().name}_evaluation')


def _sequences(results_dir):
  if FLAGS.youtube_vos_root:
    return evaluation_files.youtube_vos_sequences(
        FLAGS.youtube_vos_root, results_dir, FLAGS.sequences)
  return evaluation_files.davis_sequences(
      FLAGS.davis_root, results_dir, FLAGS.year, FLAGS.split, FLAGS.resolution, FLAGS.sequences)


def _pack(sequences, results_dir):
  layout = 'youtube_vos' if FLAGS.youtube_vos_root else 'davis'
  count = submission.write_submission(
      FLAGS.submission_zip, results_dir,
      [(files.name, files.frames, files.truth) for files in sequences], layout)
  print(f'written: {FLAGS.submission_zip} with {count} masks')


def parse_flags(argv):
  """Flag errors in one line with exit code 2, where absl prints pages and exits with 1."""
  try:
    return FLAGS(argv)
  except flags.Error as error:
    print(f'evaluate: {error}; see --helpfull', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)

r"""Converts a data set of videos with masks to TFRecords.

  feelvos convert-data --dataset=davis2017 --data_dir=DAVIS --split=train \
      --output_dir=data/davis2017

Data sets (--dataset, `datasets.sources.registry`) and what --data_dir is:

  davis2016, davis2017                the DAVIS folder (JPEGImages, Annotations, ImageSets);
                                      2016 makes all objects of a frame one object
  youtube_vos_2018, youtube_vos_2019  the folder with <split>/meta.json
  folder                              <video>/frames/*.jpg and <video>/masks/*.png, with
                                      <split>.txt or below <split>/ if there are splits
  static_images                       images/*.jpg and masks/*.png: pseudo videos by motion
  synthetic                           nothing: made-up videos, --num_videos and --seed

Writes <split>-00000-of-00010.tfrecord and so on, and manifest.json with counts and checksums.
An interrupted run goes on when it is started again and ends with the same bytes. One machine not
being enough, --runner hands the shards to Apache Beam (the extra [beam]); --output_dir is
then a folder that all machines share.

Exit code 0: done; 1: something is wrong with the data; 2: wrong usage.
"""

import pathlib
from typing import Any

from absl import flags

from feelvos_tf.datasets.sources import registry
from feelvos_tf.datasets.tfrecord import conversion
from feelvos_tf.datasets.tfrecord import planning
from feelvos_tf.datasets.tfrecord import shards as shards_lib
from feelvos_tf.files import folder_lock
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import progress
from feelvos_tf.runtime.option_flags import OptionFlags
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

FLAGS = flags.FLAGS
CONVERSION = OptionFlags(planning.ConversionOptions, leave_out=('jpeg_quality',))
SOURCE = OptionFlags(registry.SourceOptions, lists=('frame_size',))


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  CONVERSION.define()
  flags.DEFINE_string('data_dir', None, 'Folder of the data set.')
  SOURCE.define()
  flags.DEFINE_list('sequences', None, 'Only these videos.')
  flags.DEFINE_string(
    'runner',
    None,
    'Apache Beam runner, for example DirectRunner; arguments for it come with --beam_options.',
  )
  flags.DEFINE_multi_string(
    'beam_options',
    [],
    'An argument for Apache Beam such as --direct_num_workers=2; may be repeated.',
  )


def main() -> None:
  name = registry.full_name(FLAGS.dataset)
  if name not in registry.DATA_SETS:
    raise command_line.UsageError(
      f'--dataset={name} given, expected one of {", ".join(registry.DATA_SETS)}'
    )
  if not FLAGS.output_dir:
    raise command_line.UsageError('--output_dir expected: a folder for the shards')
  entry = registry.find(name)
  if not FLAGS.data_dir and not entry.made_up:
    raise command_line.UsageError(f'--data_dir expected: the folder of {name}')
  options, reading = CONVERSION.make(dataset=name), SOURCE.make()
  sources = registry.open_sources(name, FLAGS.data_dir, FLAGS.split, reading, FLAGS.sequences)
  shards = planning.plan(sources, options, entry.settings(reading))
  with folder_lock.locked(FLAGS.output_dir):
    written = _convert_with_beam(shards) if FLAGS.runner else _convert_here(shards)
  for item in written['skipped']:
    print(f'skipped: {item["reason"]}')
  manifest = pathlib.Path(FLAGS.output_dir) / shards_lib.MANIFEST
  print(
    f'{written["num_videos"]} videos, {written["num_frames"]} frames, {written["num_masks"]} masks, '
    f'{written["num_objects"]} objects in {len(written["shards"])} shards; written: {manifest}'
  )


def _convert_here(shards: list[planning.Shard]) -> dict[str, Any]:
  """Converts with processes of this machine and a progress line."""
  todo = conversion.pending(shards)
  if len(todo) < len(shards):
    print(f'{len(shards) - len(todo)} of {len(shards)} shards are done already')
  num_videos = sum(len(shard.sources) for shard in todo)
  with progress.Progress(num_videos, 'videos', f'{FLAGS.dataset} {FLAGS.split}') as line:
    frames = 0

    def on_video(count: int, name: str) -> None:
      nonlocal frames
      frames += count
      line.advance(note=f'{frames} frames, {name}')

    return conversion.convert(shards, on_video, start_tensorflow, todo)


def _convert_with_beam(shards: list[planning.Shard]) -> dict[str, Any]:
  from feelvos_tf.tools import beam_runner  # Needs the optional package apache-beam.

  return beam_runner.convert(shards, FLAGS.runner, FLAGS.beam_options)


if __name__ == '__main__':
  command_line.run(main, define_flags, takes_addresses=('beam_options',))

r"""Converts a data set of videos with masks to TFRecords.

  feelvos convert-data --dataset=davis2017 --data_dir=DAVIS --split=train \
      --output_dir=data/davis2017

Data sets (--dataset) and what --data_dir is:

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

import functools
import pathlib

from absl import flags

from feelvos_tf.datasets import whole_file
from feelvos_tf.datasets.sources.davis import davis_sources
from feelvos_tf.datasets.sources.folder import folder_sources
from feelvos_tf.datasets.sources.static_images import static_image_sources
from feelvos_tf.datasets.sources.synthetic import synthetic_sources
from feelvos_tf.datasets.sources.youtube_vos import youtube_vos_sources
from feelvos_tf.datasets.tfrecord import conversion
from feelvos_tf.datasets.tfrecord import shards as shards_lib
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import progress
from feelvos_tf.runtime.option_flags import OptionFlags
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

FLAGS = flags.FLAGS
CONVERSION = OptionFlags(conversion.ConversionOptions, leave_out=('jpeg_quality',))


def define_flags():
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  CONVERSION.define()
  flags.DEFINE_string('data_dir', None, 'Folder of the data set.')
  flags.DEFINE_list('sequences', None, 'Only these videos (DAVIS and YouTube-VOS).')
  flags.DEFINE_string('resolution', '480p', 'Folder below JPEGImages of DAVIS.')
  flags.DEFINE_bool(
    'all_frames', False, 'YouTube-VOS: take <split>_all_frames, with the frames between the masks.'
  )
  flags.DEFINE_bool('sparse_masks', False, 'folder: accept frames without masks.')
  flags.DEFINE_integer('num_videos', 20, 'synthetic: number of videos.', lower_bound=1)
  flags.DEFINE_integer(
    'num_frames', 8, 'synthetic, static_images: frames of a video.', lower_bound=1
  )
  flags.DEFINE_integer('num_objects', 2, 'synthetic: objects of a video.', lower_bound=1)
  flags.DEFINE_list('frame_size', ['120', '214'], 'synthetic: height,width.')
  flags.DEFINE_integer('seed', 0, 'synthetic, static_images: seed.', lower_bound=0)
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


def _davis(year):
  settings = {'resolution': FLAGS.resolution}
  return davis_sources(
    _data_dir(), year, FLAGS.split, FLAGS.resolution, sequences=FLAGS.sequences
  ), settings


def _youtube_vos():
  settings = {'all_frames': FLAGS.all_frames}
  return youtube_vos_sources(_data_dir(), FLAGS.split, FLAGS.all_frames, FLAGS.sequences), settings


def _folder():
  settings = {'sparse_masks': FLAGS.sparse_masks}
  return folder_sources(_data_dir(), FLAGS.split, FLAGS.sparse_masks), settings


def _static_images():
  settings = {'num_frames': FLAGS.num_frames, 'seed': FLAGS.seed}
  return static_image_sources(_data_dir(), FLAGS.split, FLAGS.num_frames, FLAGS.seed), settings


def _synthetic():
  try:
    height, width = map(int, FLAGS.frame_size)
  except ValueError:
    raise command_line.UsageError(
      f'--frame_size={",".join(FLAGS.frame_size)} given, expected height,width'
    ) from None
  options = {
    'num_frames': FLAGS.num_frames,
    'frame_size': (height, width),
    'num_objects': FLAGS.num_objects,
  }
  return synthetic_sources(FLAGS.num_videos, FLAGS.seed, **options), options


CONVERTERS = {
  'davis2016': functools.partial(_davis, '2016'),
  'davis2017': functools.partial(_davis, '2017'),
  'youtube_vos_2018': _youtube_vos,
  'youtube_vos_2019': _youtube_vos,
  'folder': _folder,
  'static_images': _static_images,
  'synthetic': _synthetic,
}


def _data_dir():
  if not FLAGS.data_dir:
    raise command_line.UsageError(f'--data_dir expected: the folder of {FLAGS.dataset}')
  return pathlib.Path(FLAGS.data_dir)


def main():
  if FLAGS.dataset not in CONVERTERS:
    raise command_line.UsageError(
      f'--dataset={FLAGS.dataset} given, expected one of {", ".join(CONVERTERS)}'
    )
  if not FLAGS.output_dir:
    raise command_line.UsageError('--output_dir expected: a folder for the shards')
  sources, settings = CONVERTERS[FLAGS.dataset]()
  options = CONVERSION.make()
  shards = conversion.plan(sources, options, settings)
  with whole_file.locked(FLAGS.output_dir):
    entry = _convert_with_beam(shards) if FLAGS.runner else _convert_here(shards)
  for item in entry['skipped']:
    print(f'skipped: {item["reason"]}')
  manifest = pathlib.Path(FLAGS.output_dir) / shards_lib.MANIFEST
  print(
    f'{entry["num_videos"]} videos, {entry["num_frames"]} frames, {entry["num_masks"]} masks, '
    f'{entry["num_objects"]} objects in {len(entry["shards"])} shards; written: {manifest}'
  )


def _convert_here(shards):
  """Converts with processes of this machine and a progress line."""
  todo = conversion.pending(shards)
  if len(todo) < len(shards):
    print(f'{len(shards) - len(todo)} of {len(shards)} shards are done already')
  num_videos = sum(len(shard.sources) for shard in todo)
  with progress.Progress(num_videos, 'videos', f'{FLAGS.dataset} {FLAGS.split}') as line:
    frames = 0

    def on_video(count, name):
      nonlocal frames
      frames += count
      line.advance(note=f'{frames} frames, {name}')

    return conversion.convert(shards, on_video, start_tensorflow)


def _convert_with_beam(shards):
  from feelvos_tf.tools import beam_runner  # Needs the optional package apache-beam.

  return beam_runner.convert(shards, FLAGS.runner, FLAGS.beam_options)


if __name__ == '__main__':
  command_line.run(main, define_flags, takes_addresses=('beam_options',))

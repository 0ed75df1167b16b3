"""The data sets of a training or validation by name: TFRecords, or folders as they are."""

from collections.abc import Sequence

from feelvos_tf.datasets import clips as clips_lib
from feelvos_tf.datasets.samples import options
from feelvos_tf.datasets.sources import registry
from feelvos_tf.datasets.tfrecord import shards
from feelvos_tf.datasets.tfrecord import videos as records
from feelvos_tf.datasets.tfrecord.clips import record_clips
from feelvos_tf.datasets.video import Video
from feelvos_tf.datasets.video import VideoSource
from feelvos_tf.training.data_options import DataSet
from feelvos_tf.training.data_options import TrainingSet


def clips(data_set: DataSet) -> Sequence[clips_lib.Clip]:
  """The clips of a data set.

  Args:
    data_set: DataSet.

  Returns:
    List of `feelvos_tf.datasets.clips.Clip`.

  Raises:
    FileNotFoundError, ValueError: the data are not there, broken or empty.
  """
  if data_set.records:
    return record_clips(shards.list_shards(data_set.records, data_set.split, data_set.verify))
  return clips_lib.source_clips(_sources(data_set))


def videos(data_set: DataSet, count: int) -> list[Video]:
  """At most `count` videos of a data set, as `video.Video`; errors as for `clips`."""
  if data_set.records:
    iterator = records.record_videos(data_set.records, data_set.split, data_set.verify)
    return [video for _, video in zip(range(count), iterator)]
  return [source.opener() for source in _sources(data_set)[:count]]


def source(training_set: TrainingSet) -> options.Source:
  """A `TrainingSet` as a `samples.options.Source`."""
  return options.Source(
    tuple(clips(training_set.data)),
    training_set.probability,
    training_set.first_frame_finetuning,
    training_set.only_first_frame,
    training_set.three_frames,
  )


def _sources(data_set: DataSet) -> list[VideoSource]:
  return registry.open_sources(data_set.name, data_set.folder, data_set.split)

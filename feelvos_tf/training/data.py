"""The data sets of a training or validation by name: TFRecords, or folders as they are."""

import dataclasses
import pathlib

from feelvos_tf.datasets import clips as clips_lib
from feelvos_tf.datasets.samples import options
from feelvos_tf.datasets.sources.davis import davis_sources
from feelvos_tf.datasets.sources.folder import folder_sources
from feelvos_tf.datasets.sources.static_images import static_image_sources
from feelvos_tf.datasets.sources.synthetic import synthetic_sources
from feelvos_tf.datasets.sources.youtube_vos import youtube_vos_sources
from feelvos_tf.datasets.tfrecord import shards
from feelvos_tf.datasets.tfrecord import videos as records

# Names with an underscore before the year are the original's.
KINDS = (
  'davis2016',
  'davis2017',
  'youtube_vos_2018',
  'youtube_vos_2019',
  'folder',
  'static_images',
  'synthetic',
)
_ALIASES = {'davis_2016': 'davis2016', 'davis_2017': 'davis2017'}
# Videos of the made-up data set, which has no folder.
SYNTHETIC_VIDEOS = 20


@dataclasses.dataclass(frozen=True)
class DataSet:
  """One data set, as flags describe it.

  Raises:
    ValueError: no place or two places given, or an unknown name.
  """

  # One of KINDS; with `records` it is a name only, and any is fine.
  name: str
  # Folder of TFRecords, made by tools.convert_to_tfrecord or by the original's converter.
  records: str | None = None
  # Folder of the data set as it was downloaded, read without conversion.
  folder: str | None = None
  split: str = 'train'
  # Read every shard once to compare checksums.
  verify: bool = True

  def __post_init__(self):
    object.__setattr__(self, 'name', _ALIASES.get(self.name, self.name))
    if self.records and self.folder:
      raise ValueError(
        f'data set {self.name}: both records ({self.records}) and a folder '
        f'({self.folder}) given; choose one.'
      )
    if not self.records and self.name not in KINDS:
      raise ValueError(
        f'data set {self.name!r} given; expected one of {", ".join(KINDS)}, or a '
        'folder of TFRecords that tools.convert_to_tfrecord wrote.'
      )
    if not self.records and not self.folder and self.name != 'synthetic':
      raise ValueError(f'data set {self.name}: neither records nor a folder given.')


def clips(data_set):
  """The clips of a data set.

  Args:
    data_set: DataSet.

  Returns:
    List of `feelvos_tf.datasets.clips.Clip`.

  Raises:
    FileNotFoundError, ValueError: the data are not there, broken or empty.
  """
  if data_set.records:
    return clips_lib.record_clips(
      shards.list_shards(data_set.records, data_set.split, data_set.verify)
    )
  return clips_lib.video_clips([source.opener() for source in _sources(data_set)])


def videos(data_set, count):
  """At most `count` videos of a data set, as `feelvos_tf.datasets.video.Video`; errors as for `clips`."""
  if data_set.records:
    iterator = records.record_videos(data_set.records, data_set.split, data_set.verify)
    return [video for _, video in zip(range(count), iterator)]
  return [source.opener() for source in _sources(data_set)[:count]]


def source(
  data_set,
  probability=1.0,
  first_frame_finetuning=False,
  only_first_frame=False,
  three_frames=False,
):
  """A data set as a `samples.options.Source`; see there for the arguments."""
  return options.Source(
    clips(data_set), probability, first_frame_finetuning, only_first_frame, three_frames
  )


def _sources(data_set):
  name, folder, split = data_set.name, data_set.folder, data_set.split
  if name == 'synthetic':
    return synthetic_sources(SYNTHETIC_VIDEOS)
  if not pathlib.Path(folder).is_dir():
    raise FileNotFoundError(f'{folder}: no such folder; expected the data set {name}.')
  if name in ('davis2016', 'davis2017'):
    return davis_sources(folder, name[-4:], split)
  if name == 'folder':
    return folder_sources(folder, split, sparse_masks=True)
  if name == 'static_images':
    return static_image_sources(folder, split)
  return youtube_vos_sources(folder, split)

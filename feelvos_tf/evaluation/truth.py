"""Which ground truth an evaluation is scored against, as its flags describe it."""

import dataclasses
import functools
import pathlib
from typing import cast, Literal

import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets.object_ids import VOID_ID
from feelvos_tf.datasets.sources import registry
from feelvos_tf.datasets.tfrecord import shards
from feelvos_tf.datasets.video import Video
from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.evaluation import sequences as sequences_lib
from feelvos_tf.evaluation.sequences import SequenceFiles

# Fields of TruthOptions, of which exactly one says where the data are.
PLACES = ('davis_root', 'youtube_vos_root', 'dataset_dir', 'dataset')
# Fields that describe other data than DAVIS: not for commands that read nothing else.
BEYOND_DAVIS = ('youtube_vos_root', 'dataset_dir', 'dataset', 'data_dir', 'train_meta')


@dataclasses.dataclass(frozen=True)
class TruthOptions:
  """The data of an evaluation.

  Raises:
    ValueError: not exactly one of `PLACES` is given, an unknown data set, no folder for it, or a
      year that is not that of the data set.
  """

  # DAVIS folder: Annotations, JPEGImages, ImageSets.
  davis_root: str | None = None
  # Folder of a YouTube-VOS split: Annotations, JPEGImages, meta.json.
  youtube_vos_root: str | None = None
  # Folder of TFRecords made by `feelvos convert-data`; they are unpacked into the output folder.
  dataset_dir: str | None = None
  # Any data set that convert-data and train know, by its name, with its folder in --data_dir.
  #
  # A name or alias of `registry.DATA_SETS`. Videos without files of their own are unpacked.
  dataset: str | None = None
  # With --dataset: the folder of the data set as it was downloaded.
  data_dir: str | None = None
  # DAVIS year: list of sequences, protocol.
  year: Literal['2016', '2017'] = '2017'
  # Name of the list of sequences: train, val, test-dev.
  split: str = 'val'
  # Folder under Annotations and JPEGImages of DAVIS.
  resolution: str = '480p'
  # Only these sequences, separated by commas.
  sequences: tuple[str, ...] | None = None
  # What counts; by default that of the data: davis2016 (foreground against background), davis2017
  # (every object), youtube_vos.
  protocol: str | None = None
  # meta.json of YouTube-VOS train, to tell seen from unseen categories.
  train_meta: str | None = None

  def __post_init__(self) -> None:
    if len([place for place in PLACES if getattr(self, place)]) != 1:
      flags = [f'--{place}' for place in PLACES]
      raise ValueError(f'exactly one of {", ".join(flags[:-1])} and {flags[-1]} expected')
    if self.protocol not in (None, *sequence_scores.PROTOCOLS):
      raise ValueError(
        f'protocol is {self.protocol!r}; expected one of {", ".join(sequence_scores.PROTOCOLS)}.'
      )
    made_up = not self.dataset or registry.find(self.dataset).made_up
    if not made_up and not self.data_dir:
      raise ValueError(f'--dataset={self.dataset} needs --data_dir, its folder')
    if self.data_dir and not self.dataset:
      raise ValueError('--data_dir needs --dataset, the name of what is in it')
    name = registry.full_name(self.dataset) if self.dataset else ''
    if self.year == '2016' and (self.youtube_vos_root or name not in ('', 'davis2016')):
      given = f'--dataset={self.dataset}' if self.dataset else '--youtube_vos_root'
      raise ValueError(
        f'{given} and --year=2016 given; the year is for --davis_root, and --dataset=davis2016 is that '
        'of 2016'
      )

  @property
  def rules(self) -> sequence_scores.Protocol:
    """The protocol that is given, or that of the data set."""
    if self.protocol:
      return sequence_scores.PROTOCOLS[self.protocol]
    name = self.dataset or self._data_set_of_records or f'davis{self.year}'
    if self.youtube_vos_root:
      name = 'youtube_vos_2019'
    return sequence_scores.PROTOCOLS[registry.find(name).protocol]

  @functools.cached_property
  def _data_set_of_records(self) -> str | None:
    """Which data set TFRecords are of; None if they do not say it, or the year says more."""
    if not self.dataset_dir or self.year == '2016':
      return None
    entry = shards.read_manifest(self.dataset_dir).get('splits', {}).get(self.split, {})
    name = entry.get('dataset')
    is_known = isinstance(name, str) and registry.full_name(name) in registry.DATA_SETS
    return name if is_known else None

  @property
  def place(self) -> str:
    """The folder of the data, or the name of a data set that is made up."""
    given = (self.davis_root, self.youtube_vos_root, self.dataset_dir, self.data_dir)
    return next((place for place in given if place), self.dataset or '')

  @property
  def vos_split(self) -> str | None:
    """The folder of a YouTube-VOS split, with its meta.json; None for other data."""
    if self.dataset and registry.find(self.dataset).protocol == 'youtube_vos':
      return f'{self.data_dir}/{self.split}'
    return self.youtube_vos_root


def find_sequences(
  options: TruthOptions,
  results_dir: str | pathlib.Path,
  unpack_dir: str | pathlib.Path,
  left_out: dict[str, str] | None = None,
) -> list[SequenceFiles]:
  """The sequences of an evaluation.

  Args:
    options: TruthOptions.
    results_dir: folder of the results.
    unpack_dir: where videos go that are not folders of files.
    left_out: gets {name: why} of those that cannot be unpacked; None: the first one is an error.

  Raises:
    FileNotFoundError, ValueError: the data are not there, broken or empty.
  """
  if options.train_meta and not pathlib.Path(options.train_meta).is_file():
    raise FileNotFoundError(
      names_lib.missing(
        options.train_meta, 'file', 'check --train_meta, meta.json of the split train'
      )
    )
  if options.dataset_dir:
    return sequences_lib.record_sequences(
      options.dataset_dir, options.split, unpack_dir, results_dir, options.sequences, left_out
    )
  if options.dataset:
    reading = registry.SourceOptions(resolution=options.resolution)
    sources = registry.open_sources(
      options.dataset, options.data_dir, options.split, reading, options.sequences
    )
    origin = f'{registry.full_name(options.dataset)} {options.place} {options.split}'
    return sequences_lib.source_sequences(sources, origin, unpack_dir, results_dir, left_out)
  if options.youtube_vos_root:
    return sequences_lib.youtube_vos_sequences(
      options.youtube_vos_root, results_dir, options.sequences
    )
  return sequences_lib.davis_sequences(
    cast(str, options.davis_root),
    results_dir,
    options.year,
    options.split,
    options.resolution,
    options.sequences,
  )


def to_give(video: Video, index: int) -> NDArray[np.uint8]:
  """The mask of a frame as it may be given to a segmenter: void is background.

  Args:
    video: `feelvos_tf.datasets.video.Video`.
    index: of a frame with a mask.

  Returns:
    uint8 [height, width], object ids.

  Raises:
    ValueError: there is no mask, or it cannot be read.
  """
  ids = video.needed_mask(index).ids
  return np.where(ids == VOID_ID, 0, ids).astype(np.uint8)

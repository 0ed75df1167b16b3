"""The data sets that conversion, training and evaluation know by name.

To add one, write a module with a function `(folder, split, ...) -> list of VideoSource`, and add an
entry to `DATA_SETS`. `feelvos convert-data --dataset`, `feelvos train --dataset` and
`feelvos evaluate --dataset` then take its name.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import pathlib
from typing import Any

from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets.sources.davis import davis_sources
from feelvos_tf.datasets.sources.folder import folder_sources
from feelvos_tf.datasets.sources.static_images import static_image_sources
from feelvos_tf.datasets.sources.synthetic import synthetic_sources
from feelvos_tf.datasets.sources.youtube_vos import youtube_vos_sources
from feelvos_tf.datasets.video import VideoSource


@dataclasses.dataclass(frozen=True)
class SourceOptions:
  """How data sets are read; each uses those that its entry of `DATA_SETS` names.

  Raises:
    ValueError: a field is out of its range.
  """

  # Folder below JPEGImages of DAVIS.
  resolution: str = '480p'
  # YouTube-VOS: take <split>_all_frames, with the frames between the masks.
  all_frames: bool = False
  # folder: accept frames without masks.
  sparse_masks: bool = False
  # synthetic: number of videos.
  num_videos: int = 20
  # synthetic, static_images: frames of a video.
  num_frames: int = 8
  # synthetic: objects of a video.
  num_objects: int = 2
  # synthetic: height,width.
  frame_size: tuple[int, ...] = (120, 214)
  # synthetic, static_images: seed.
  seed: int = 0

  def __post_init__(self) -> None:
    for name, least in {'num_videos': 1, 'num_frames': 1, 'num_objects': 1, 'seed': 0}.items():
      if getattr(self, name) < least:
        raise ValueError(f'{name} is {getattr(self, name)}; expected {least} or more.')
    if len(self.frame_size) != 2:
      raise ValueError(f'frame_size is {self.frame_size}; expected height,width.')


@dataclasses.dataclass(frozen=True)
class DataSetEntry:
  """What is known of one data set.

  Attributes:
    open: function (folder, split, **options) -> list of VideoSource; without a folder and a split
      for a data set that is made up.
    options: fields of `SourceOptions` that `open` takes by name.
    in_training: {option: value} for training and validation, where it is not the default.
    aliases: other names.
    made_up: it needs no folder.
    protocol: key of `evaluation.sequence_scores.PROTOCOLS` by which it is scored.
    unnoted: options that a conversion does not note, since the names of the videos tell them.
  """

  open: Callable[..., list[VideoSource]]
  options: tuple[str, ...] = ()
  in_training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  aliases: tuple[str, ...] = ()
  made_up: bool = False
  protocol: str = 'davis2017'
  unnoted: tuple[str, ...] = ()

  def settings(self, options: SourceOptions) -> dict[str, Any]:
    """The options that change what is read, for notes on it."""
    return {name: getattr(options, name) for name in self.options if name not in self.unnoted}


def _davis(year: str, *aliases: str) -> DataSetEntry:
  return DataSetEntry(
    functools.partial(_davis_of_year, year),
    ('resolution',),
    aliases=aliases,
    protocol=f'davis{year}',
  )


def _davis_of_year(
  year: str, folder: str | pathlib.Path, split: str, resolution: str
) -> list[VideoSource]:
  return davis_sources(folder, year, split, resolution)


_YOUTUBE_VOS = DataSetEntry(youtube_vos_sources, ('all_frames',), protocol='youtube_vos')

# {name: entry}. Names with an underscore before the year are those of the original FEELVOS.
DATA_SETS: dict[str, DataSetEntry] = {
  'davis2016': _davis('2016', 'davis_2016'),
  'davis2017': _davis('2017', 'davis_2017'),
  'youtube_vos_2018': _YOUTUBE_VOS,
  'youtube_vos_2019': _YOUTUBE_VOS,
  'folder': DataSetEntry(folder_sources, ('sparse_masks',), in_training={'sparse_masks': True}),
  'static_images': DataSetEntry(static_image_sources, ('num_frames', 'seed')),
  'synthetic': DataSetEntry(
    synthetic_sources,
    ('num_videos', 'seed', 'num_frames', 'frame_size', 'num_objects'),
    in_training={'num_frames': 12},
    made_up=True,
    unnoted=('num_videos', 'seed'),
  ),
}


def full_name(name: str) -> str:
  """The name in `DATA_SETS` of a name or an alias; an unknown name stays as it is."""
  return next((known for known, entry in DATA_SETS.items() if name in entry.aliases), name)


def find(name: str) -> DataSetEntry:
  """The entry of a name or an alias.

  Raises:
    ValueError: there is no such data set.
  """
  entry = DATA_SETS.get(full_name(name))
  if entry is None:
    raise ValueError(f'data set {name!r} given; expected one of {", ".join(DATA_SETS)}.')
  return entry


def open_sources(
  name: str,
  folder: str | pathlib.Path | None,
  split: str,
  options: SourceOptions | None = None,
  sequences: Sequence[str] | None = None,
) -> list[VideoSource]:
  """The videos of a data set, none of them opened.

  Args:
    name: a name or alias.
    folder: the data set as it was downloaded; None for one that is made up.
    split: name of its split.
    options: SourceOptions; None: as in training.
    sequences: names to keep, in this order; None for all.

  Returns:
    A list of VideoSource.

  Raises:
    FileNotFoundError: the folder is not there, or is another data set.
    ValueError: an unknown name of a data set or a video, no folder given, or an empty split.
  """
  entry = find(name)
  options = SourceOptions(**entry.in_training) if options is None else options
  values = {option: getattr(options, option) for option in entry.options}
  if entry.made_up:
    sources = entry.open(**values)
  elif not folder:
    raise ValueError(f'data set {name}: no folder given; expected the one it was unpacked to.')
  elif not pathlib.Path(folder).is_dir():
    raise FileNotFoundError(
      names_lib.missing(folder, 'folder', f'give that of the data set {name}.')
    )
  else:
    sources = entry.open(folder, split, **values)
  return sources if sequences is None else _select(sources, sequences, split)


def _select(sources: list[VideoSource], sequences: Sequence[str], split: str) -> list[VideoSource]:
  known = {source.name: source for source in sources}
  found = names_lib.paired(sequences, known)
  for name in sequences:
    if name not in found:
      raise ValueError(
        f'sequence {name!r} given, expected one of the {len(known)} of split {split}: '
        f'{", ".join(list(known)[:100])}'
      )
  return [found[name] for name in sequences]

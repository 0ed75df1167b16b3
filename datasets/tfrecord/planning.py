"""What a conversion to TFRecords has to do: its options, and the shards that it writes.

Nothing is read or written here; `conversion` does what was planned.
"""

from collections.abc import Sequence
import dataclasses
import hashlib
import json
import pathlib
import typing
from typing import Literal

from feelvos_tf.datasets.tfrecord import shards as shards_lib
from feelvos_tf.datasets.video import VideoSource

OnError = Literal['fail', 'skip']
ON_ERROR = typing.get_args(OnError)


@dataclasses.dataclass(frozen=True)
class ConversionOptions:
  """Options of a conversion: where to write, what to do with bad videos.

  Raises:
    ValueError: a field is out of its range.
  """

  # Folder for the shards and manifest.json.
  output_dir: str
  # Kind of data set, see above.
  #
  # A name for the manifest.
  dataset: str
  # Split of the data set: train, val, test-dev, valid, ...
  split: str = 'train'
  # Number of shards; 0: 10 for train, 1 for other splits, no more than videos.
  num_shards: int = 0
  # Processes; 0: one per core.
  #
  # One works in this process.
  num_workers: int = 0
  # A bad video ends the run, or is left out and listed in the manifest.
  on_error: OnError = 'fail'
  # Accept the id 255 in masks, as void.
  allow_void: bool = False
  # 1..100, for frames that are not stored as they came.
  jpeg_quality: int = 95

  def __post_init__(self) -> None:
    if self.on_error not in ON_ERROR:
      raise ValueError(f'on_error is {self.on_error!r}; expected {" or ".join(ON_ERROR)}.')
    for name in ('num_shards', 'num_workers'):
      if getattr(self, name) < 0:
        raise ValueError(f'{name} is {getattr(self, name)}; expected 0 or more.')
    if not 1 <= self.jpeg_quality <= 100:
      raise ValueError(f'jpeg_quality is {self.jpeg_quality}; expected 1 to 100.')


@dataclasses.dataclass(frozen=True)
class Shard:
  """One job: the videos of a shard, written to `path`; a note at `note_path`. Can be pickled."""

  options: ConversionOptions
  index: int
  count: int
  sources: tuple[VideoSource, ...]
  fingerprint: str  # Of the whole conversion.

  @property
  def path(self) -> pathlib.Path:
    name = shards_lib.shard_name(self.options.split, self.index, self.count)
    return pathlib.Path(self.options.output_dir) / name

  @property
  def note_path(self) -> pathlib.Path:
    return self.path.with_name(shards_lib.note_name(self.path.name))


def plan(
  sources: Sequence[VideoSource], options: ConversionOptions, settings: dict | None = None
) -> list[Shard]:
  """Divides the videos among shards: neighbours stay together, sizes differ by one at most.

  Args:
    sources: list of VideoSource; their names must differ.
    options: ConversionOptions.
    settings: further settings of the source that change what is written; a conversion is resumed
      only if they are the same.

  Returns:
    A list of Shard.

  Raises:
    ValueError: no videos, fewer videos than shards, or a name twice.
  """
  names = [s.name for s in sources]
  if not names:
    raise ValueError(f'split {options.split!r} is empty, expected at least one video')
  if len(set(names)) < len(names):
    twice = next(n for n in names if names.count(n) > 1)
    raise ValueError(f'video {twice!r} is listed twice, expected different names')
  count = options.num_shards or min(10 if options.split == 'train' else 1, len(names))
  if count > len(names):
    raise ValueError(
      f'num_shards: {count} given for {len(names)} videos, expected at most one shard per video'
    )
  identity = {
    'format': shards_lib.MANIFEST_FORMAT,
    'dataset': options.dataset,
    'split': options.split,
    'shards': count,
    'videos': names,
    'allow_void': options.allow_void,
    'jpeg_quality': options.jpeg_quality,
    'settings': settings or {},
  }
  fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
  bounds = [i * len(names) // count for i in range(count + 1)]
  return [
    Shard(options, i, count, tuple(sources[bounds[i] : bounds[i + 1]]), fingerprint)
    for i in range(count)
  ]

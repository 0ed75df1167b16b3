"""Options of the data sets of a training and of its validation."""

import dataclasses

from feelvos_tf.datasets.sources import registry
from feelvos_tf.model import option_checks


@dataclasses.dataclass(frozen=True)
class DataSet:
  """One data set, as flags describe it.

  Raises:
    ValueError: no place or two places given, or an unknown name.
  """

  # One of `registry.DATA_SETS`; with `records` it is a name only, and any is fine.
  name: str
  # Folder of TFRecords, made by `feelvos convert-data` or by the original's converter.
  records: str | None = None
  # Folder of the data set as it was downloaded, read without conversion.
  folder: str | None = None
  split: str = 'train'
  # Read every shard once to compare checksums.
  verify: bool = True

  def __post_init__(self) -> None:
    object.__setattr__(self, 'name', registry.full_name(self.name))
    if self.records and self.folder:
      raise ValueError(
        f'data set {self.name}: both records ({self.records}) and a folder '
        f'({self.folder}) given; choose one.'
      )
    if not self.records and self.name not in registry.DATA_SETS:
      raise ValueError(
        f'data set {self.name!r} given; expected one of {", ".join(registry.DATA_SETS)}, or a '
        'folder of TFRecords that feelvos convert-data wrote.'
      )
    if not self.records and not self.folder and not registry.find(self.name).made_up:
      raise ValueError(f'data set {self.name}: neither records nor a folder given.')


@dataclasses.dataclass(frozen=True)
class TrainingSet:
  """A data set of a mixture; `datasets.samples.options.Source` explains the fields."""

  data: DataSet
  # Weight in the mixture.
  probability: float = 1.0
  first_frame_finetuning: bool = False
  only_first_frame: bool = False
  three_frames: bool = False


@dataclasses.dataclass(frozen=True)
class ValidationOptions:
  """What a model is validated on during its training.

  Raises:
    ValueError: if a field is out of its range.
  """

  data: DataSet
  # Videos.
  clips: int = 4
  # Frames of each.
  frames: int = 16
  # Longer side in pixels to segment at.
  max_size: int | None = None

  def __post_init__(self) -> None:
    option_checks.check_least(self, {'clips': 1, 'frames': 2, 'max_size': 32})

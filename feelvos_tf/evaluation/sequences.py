"""Which sequences there are to score: DAVIS splits and YouTube-VOS splits on disk.

Ground truth is a DAVIS root (`Annotations/<resolution>/<sequence>/*.png` and
`ImageSets/<year>/<split>.txt`) or a YouTube-VOS split (`Annotations/<video>/*.png`, `meta.json`).
Results of any method are `<results_dir>/<sequence>/<frame>.png`, named as the ground truth.
"""

from collections.abc import Iterable, Sequence
import dataclasses
import os
import pathlib

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets.sources import davis
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.video import list_images
from feelvos_tf.datasets.video import VideoSource
from feelvos_tf.evaluation import unpacking


@dataclasses.dataclass(frozen=True)
class SequenceFiles:
  """One sequence to score.

  Attributes:
    name: name of the sequence.
    truth: folder of its ground-truth masks.
    results: folder of its results.
    frames: folder of its images, needed for submissions and pictures only.
    unpacked: this program wrote the ground truth, see `own` of `masks.read_mask`.
  """

  name: str
  truth: pathlib.Path
  results: pathlib.Path
  frames: pathlib.Path
  unpacked: bool = False

  def frame_names(self) -> list[str]:
    """Names of the annotated frames, in order.

    Raises:
      FileNotFoundError: the folder is missing or holds no PNG file.
    """
    names = list(masks.list_masks(self.truth))
    if not names:
      raise FileNotFoundError(
        f'{self.truth}: no ground-truth masks found, a folder of PNG masks expected; '
        f'check the data root and the sequence name {self.name!r}'
      )
    return names


def open_video(files: SequenceFiles, single_object: bool = False) -> folder.FolderVideo:
  """The frames of a sequence with all its ground truth.

  Args:
    files: SequenceFiles.
    single_object: all objects are one, as in DAVIS 2016.

  Raises:
    FileNotFoundError, ValueError: there are no frames, or masks that fit none.
  """
  frames = list_images(files.frames)
  given = folder.masks_of_data_set(frames, files.truth)
  return folder.FolderVideo(
    files.name, frames, given, single_object=single_object, own_masks=files.unpacked
  )


def davis_sequences(
  root: str | os.PathLike,
  results_dir: str | os.PathLike,
  year: str = '2017',
  split: str = 'val',
  resolution: str = '480p',
  names: Sequence[str] | None = None,
) -> list[SequenceFiles]:
  """The sequences of a DAVIS split.

  Args:
    root: DAVIS root.
    results_dir: folder of the results.
    year: '2016' or '2017', which list of sequences is read.
    split: name of the list: train, val, test-dev, ...
    resolution: folder under Annotations.
    names: if given, these sequences instead of a split.

  Returns:
    SequenceFiles in the order of the list.

  Raises:
    FileNotFoundError: the list or the annotations are not there.
  """
  root = pathlib.Path(root)
  annotations = root / 'Annotations' / resolution
  if not annotations.is_dir():
    raise FileNotFoundError(
      names_lib.missing(
        annotations,
        'folder',
        f'a DAVIS root with Annotations/{resolution} expected, check --davis_root and --resolution',
      )
    )
  if names is None:
    names = davis.read_split(root, str(year), split, resolution)
  return _with_results(annotations, root / 'JPEGImages' / resolution, results_dir, names)


def youtube_vos_sequences(
  root: str | os.PathLike, results_dir: str | os.PathLike, names: Sequence[str] | None = None
) -> list[SequenceFiles]:
  """The videos of a YouTube-VOS split that has ground truth.

  Args:
    root: folder of the split, with Annotations.
    results_dir: folder of the results.
    names: if given, only these videos.

  Returns:
    SequenceFiles, sorted by name.

  Raises:
    FileNotFoundError: there are no annotations.
  """
  annotations = pathlib.Path(root) / 'Annotations'
  if not annotations.is_dir():
    raise FileNotFoundError(
      f'{annotations}: no such folder; the folder of a YouTube-VOS split with Annotations and '
      'meta.json expected, check --youtube_vos_root'
    )
  frames = pathlib.Path(root) / 'JPEGImages'
  if names is None:
    names = _folders(annotations)
    known = {names_lib.composed(name) for name in names}
    lost = [name for name in _folders(frames) if names_lib.composed(name) not in known]
    if lost:
      data_warning.warn(
        f'{frames / lost[0]}: left out, as {annotations} has no masks of it ({len(lost)} such '
        'videos); check that the download is complete'
      )
  return _with_results(annotations, frames, results_dir, names)


def _folders(folder: pathlib.Path) -> list[str]:
  """Names of the folders in a folder, sorted; none if it is not there."""
  if not folder.is_dir():
    return []
  return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith('.'))


def record_sequences(
  dataset_dir: str | os.PathLike,
  split: str,
  unpack_dir: str | os.PathLike,
  results_dir: str | os.PathLike,
  names: Sequence[str] | None = None,
  left_out: dict[str, str] | None = None,
) -> list[SequenceFiles]:
  """The videos of TFRecords written by `feelvos convert-data`.

  They are unpacked to files first, once, so that everything else works as with folders.

  Args:
    dataset_dir: folder of the shards.
    split: name of the split.
    unpack_dir: gets `Annotations/<video>/` and `JPEGImages/<video>/`.
    results_dir: folder of the results.
    names: if given, only these videos, in this order.
    left_out: gets {name: why} of videos that cannot be unpacked; None: the first one is an error.

  Returns:
    SequenceFiles in the order of the records.

  Raises:
    FileNotFoundError: there are no such shards.
    ValueError: a record is broken, a name is unknown, or `unpack_dir` holds other records.
  """
  from feelvos_tf.datasets.tfrecord import (
    videos as videos_lib,  # imports TensorFlow, which scoring folders does not need
  )

  unpack_dir = pathlib.Path(unpack_dir)
  unpacking.claim(unpack_dir, f'{pathlib.Path(dataset_dir).resolve()} {split}')
  found, good = [], []
  wanted = None if names is None else {names_lib.composed(name) for name in names}
  for video in videos_lib.record_videos(dataset_dir, split):
    found.append(video.name)
    if wanted is not None and names_lib.composed(video.name) not in wanted:
      continue
    with unpacking.left_out_if_bad(video.name, left_out):
      unpacking.unpack(video, unpack_dir)
      good.append(video.name)
  known = names_lib.spelled(names or (), found)
  unknown = [name for name in names or () if name not in known]
  if unknown:
    raise ValueError(
      f'sequence {unknown[0]!r} given, one of split {split} expected: {", ".join(found)}'
    )
  return _with_results(
    unpack_dir / 'Annotations',
    unpack_dir / 'JPEGImages',
    results_dir,
    good if names is None else [known[name] for name in names if known[name] in good],
    unpacked=True,
  )


def source_sequences(
  sources: Sequence[VideoSource],
  origin: str,
  unpack_dir: str | os.PathLike,
  results_dir: str | os.PathLike,
  left_out: dict[str, str] | None = None,
) -> list[SequenceFiles]:
  """The videos of any data set of `registry.DATA_SETS`.

  Args:
    sources: the videos; those that are not folders of files are unpacked, once.
    origin: what `unpack_dir` is said to hold.
    unpack_dir: gets `Annotations/<video>/` and `JPEGImages/<video>/` of those.
    results_dir: folder of the results.
    left_out: gets {name: why} of videos that cannot be unpacked; None: the first one is an error.

  Returns:
    SequenceFiles in the order of the sources.

  Raises:
    FileNotFoundError, ValueError: a video cannot be unpacked, or `unpack_dir` holds others.
  """
  unpack_dir, found = pathlib.Path(unpack_dir), []
  for source in sources:
    names_lib.check_name(source.name, 'a sequence')
    frames, truth = source.frames, source.masks
    unpacked = frames is None or truth is None
    if frames is None or truth is None:
      unpacking.claim(unpack_dir, origin)
      frames, truth = (unpack_dir / part / source.name for part in ('JPEGImages', 'Annotations'))
      with unpacking.left_out_if_bad(source.name, left_out):
        unpacking.unpack(source.opener(), unpack_dir)
    if left_out is None or source.name not in left_out:
      results = names_lib.place_of(results_dir, source.name)
      found.append(SequenceFiles(source.name, truth, results, frames, unpacked))
  return found


def with_ground_truth(
  sequences: Sequence[SequenceFiles], sparse_masks_given: bool = False
) -> list[SequenceFiles]:
  """The sequences that have more masks than those given to a method.

  Args:
    sequences: what to look at.
    sparse_masks_given: the first mask of every object is given, wherever it is (YouTube-VOS);
      then a sequence with masks on less than half of its frames, each of which introduces an
      object, has no ground truth. Otherwise only a sequence with a single mask has none.

  Returns:
    Those with ground truth; also those with no masks at all, or whose folders cannot be read: their
    scoring says what is wrong.
  """

  def has_truth(files: SequenceFiles) -> bool:
    try:
      paths = masks.list_masks(files.truth)
      if sparse_masks_given and files.frames.is_dir():
        is_dense = 2 * len(paths) >= len(list_images(files.frames))
        return not paths or is_dense or not _all_introduce(paths.values(), files.unpacked)
    except (OSError, ValueError):
      return True
    return len(paths) != 1

  return [files for files in sequences if has_truth(files)]


def _all_introduce(paths: Iterable[pathlib.Path], own: bool) -> bool:
  """Whether every mask but empty ones has an object that none before has; False of bad files."""
  known: set[int] = set()
  for path in paths:
    try:
      found = set(masks.read_mask(path, own=own).object_ids)
    except (OSError, ValueError):
      return False
    if found and found <= known:
      return False
    known |= found
  return True


def _with_results(
  annotations: pathlib.Path,
  frames: pathlib.Path,
  results_dir: str | os.PathLike,
  names: Iterable[str],
  unpacked: bool = False,
) -> list[SequenceFiles]:
  results = pathlib.Path(results_dir)
  for name in names:
    names_lib.check_name(name, 'a sequence')
  # Each once, under the name of its ground truth: what a run writes has one name.
  own = dict.fromkeys(names_lib.place_of(annotations, name).name for name in names)
  place_of = names_lib.place_of
  return [
    SequenceFiles(
      name, annotations / name, place_of(results, name), place_of(frames, name), unpacked
    )
    for name in own
  ]

"""Which sequences there are to score: DAVIS splits and YouTube-VOS splits on disk.

Ground truth is a DAVIS root (`Annotations/<resolution>/<sequence>/*.png` and
`ImageSets/<year>/<split>.txt`) or a YouTube-VOS split (`Annotations/<video>/*.png`, `meta.json`).
Results of any method are `<results_dir>/<sequence>/<frame>.png`, named as the ground truth.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import dataclasses
import os
import pathlib
from typing import Any

import cv2
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets.sources import davis
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.video import list_images
from feelvos_tf.datasets.video import read_image
from feelvos_tf.datasets.video import Video
from feelvos_tf.datasets.video import VideoSource
from feelvos_tf.files import whole_file


@dataclasses.dataclass(frozen=True)
class SequenceFiles:
  """One sequence to score.

  Attributes:
    name: name of the sequence.
    truth: folder of its ground-truth masks.
    results: folder of its results.
    frames: folder of its images, needed for submissions and pictures only.
  """

  name: str
  truth: pathlib.Path
  results: pathlib.Path
  frames: pathlib.Path

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
  return folder.FolderVideo(files.name, frames, given, single_object=single_object)


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
  if names is None:
    names = sorted(
      p.name for p in annotations.iterdir() if p.is_dir() and not p.name.startswith('.')
    )
  return _with_results(annotations, pathlib.Path(root) / 'JPEGImages', results_dir, names)


def record_sequences(
  dataset_dir: str | os.PathLike,
  split: str,
  unpack_dir: str | os.PathLike,
  results_dir: str | os.PathLike,
  names: Sequence[str] | None = None,
  left_out: dict[str, str] | None = None,
) -> list[SequenceFiles]:
  """The videos of TFRecords written by `tools.convert_to_tfrecord`.

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
  _claim(unpack_dir, f'{pathlib.Path(dataset_dir).resolve()} {split}')
  found, good = [], []
  wanted = None if names is None else {names_lib.composed(name) for name in names}
  for video in videos_lib.record_videos(dataset_dir, split):
    found.append(video.name)
    if wanted is not None and names_lib.composed(video.name) not in wanted:
      continue
    with _left_out_if_bad(video.name, left_out):
      _unpack(video, unpack_dir)
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
    if frames is None or truth is None:
      _claim(unpack_dir, origin)
      frames, truth = (unpack_dir / part / source.name for part in ('JPEGImages', 'Annotations'))
      with _left_out_if_bad(source.name, left_out):
        _unpack(source.opener(), unpack_dir)
    if left_out is None or source.name not in left_out:
      results = names_lib.place_of(results_dir, source.name)
      found.append(SequenceFiles(source.name, truth, results, frames))
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
        return not paths or is_dense or not _all_introduce(paths.values())
    except (OSError, ValueError):
      return True
    return len(paths) != 1

  return [files for files in sequences if has_truth(files)]


def _all_introduce(paths: Iterable[pathlib.Path]) -> bool:
  """Whether every mask but empty ones has an object that none before has; False of bad files."""
  known: set[int] = set()
  for path in paths:
    try:
      found = set(masks.read_mask(path).object_ids)
    except (OSError, ValueError):
      return False
    if found and found <= known:
      return False
    known |= found
  return True


def load_seen(
  root: str | os.PathLike, train_meta: str | os.PathLike | None = None
) -> Callable[[str, int], bool] | None:
  """Which objects of a YouTube-VOS split are of categories seen in training.

  An object's entry in `meta.json` may say so itself (`"seen": true`); else its `"category"` is
  looked up among the categories of the training split.

  Args:
    root: folder of the split, with meta.json.
    train_meta: meta.json of the training split; by default `../train/meta.json` if it exists.

  Returns:
    Function (sequence name, object id) -> bool, which raises a ValueError for an object that
    meta.json does not list; None when the files do not say it for every listed object.

  Raises:
    ValueError: a meta.json that is damaged or not of YouTube-VOS.
  """
  meta = pathlib.Path(root) / 'meta.json'
  if not meta.is_file():
    return None
  train_meta = pathlib.Path(train_meta or pathlib.Path(root).parent / 'train' / 'meta.json')
  trained = set()
  if train_meta.is_file():
    trained = {entry.get('category') for _, _, entry in _meta_objects(train_meta)} - {None}
  table = {}
  for video, object_id, entry in _meta_objects(meta):
    if 'seen' in entry:
      table[video, object_id] = bool(entry['seen'])
    elif trained and 'category' in entry:
      table[video, object_id] = entry['category'] in trained
    else:
      return None
  own = {names_lib.composed(video): video for video, _ in table}

  def seen(video: str, object_id: int) -> bool:
    listed = (video, object_id) in table
    name = video if listed else own.get(names_lib.composed(video), video)
    if (name, object_id) not in table:
      raise ValueError(
        f'{meta}: object {object_id} of {video!r} is not listed, every object of '
        'the annotations expected'
      )
    return table[name, object_id]

  return seen


def _claim(unpack_dir: pathlib.Path, origin: str) -> None:
  """Notes whose videos a folder holds; refuses one that holds others."""
  note = unpack_dir / 'source.txt'
  if note.is_file() and note.read_text(encoding='utf-8') != f'{origin}\n':
    raise ValueError(
      f'{unpack_dir}: holds the videos of {note.read_text("utf-8").strip()}; '
      'choose another --output_dir for other data'
    )
  unpack_dir.mkdir(parents=True, exist_ok=True)
  whole_file.write_text(note, f'{origin}\n')


@contextlib.contextmanager
def _left_out_if_bad(name: str, left_out: dict[str, str] | None) -> Iterator[None]:
  """Puts what is wrong with a video, not with the machine, into `left_out`, if that is there."""
  try:
    yield
  except (OSError, ValueError) as error:
    if left_out is None or whole_file.is_no_room(error):
      raise
    left_out[name] = str(error)


def _unpack(video: Video, folder: pathlib.Path) -> None:
  """Writes frames and masks of a video, unless they are there; the annotations come last.

  Raises:
    ValueError: there are others, or the number of frames is unknown.
  """
  frames, truth = folder / 'JPEGImages' / video.name, folder / 'Annotations' / video.name
  if video.num_frames is None:
    raise ValueError(
      f'{video.name}: a video of an unknown number of frames given, expected one that knows it; '
      'convert it to a folder of frames'
    )
  if truth.is_dir():
    _check_unpacked(video, frames, truth)
    return
  frames.mkdir(parents=True, exist_ok=True)
  truth.parent.mkdir(parents=True, exist_ok=True)
  with whole_file.appearing_folder(truth) as unfinished:
    for index in range(video.num_frames):
      name, encoded = video.frame_names[index], video.encoded_frame(index)
      if encoded is None:
        data = cv2.imencode('.png', cv2.cvtColor(video.frame(index), cv2.COLOR_RGB2BGR))[1]
        encoded = data.tobytes(), 'PNG'
      suffix = {'JPEG': 'jpg', 'PNG': 'png'}[encoded[1]]
      whole_file.write_bytes(frames / f'{name}.{suffix}', encoded[0], last=False)
      mask = video.mask(index)
      if mask is not None:
        (unfinished / f'{name}.png').write_bytes(masks.encode_mask(mask.ids, mask.palette))
    whole_file.flush(frames)


def _check_unpacked(video: Video, frames: pathlib.Path, truth: pathlib.Path) -> None:
  """Refuses what was unpacked of other data, or changed since."""
  images = {path.stem: path for path in list_images(frames)}
  known = masks.list_masks(truth)
  is_same = len(images) == video.num_frames
  for index in range(video.num_frames or 0):
    name, mask = video.frame_names[index], video.mask(index)
    is_same = is_same and name in images and (mask is not None) == (name in known)
    is_same = is_same and _has_frame(images[name], video, index)
    if is_same and mask is not None:
      is_same = np.array_equal(masks.read_mask(known[name]).ids, mask.ids)
  if not is_same:
    raise ValueError(
      f'{truth.parent.parent}: holds another {video.name} than the data now; remove this folder, or '
      'choose another --output_dir'
    )


def _has_frame(path: pathlib.Path, video: Video, index: int) -> bool:
  encoded = video.encoded_frame(index)
  if encoded is not None:
    return path.read_bytes() == encoded[0]
  return np.array_equal(read_image(path), video.frame(index))


def _with_results(
  annotations: pathlib.Path,
  frames: pathlib.Path,
  results_dir: str | os.PathLike,
  names: Iterable[str],
) -> list[SequenceFiles]:
  results = pathlib.Path(results_dir)
  for name in names:
    names_lib.check_name(name, 'a sequence')
  # Each once, under the name of its ground truth: what a run writes has one name.
  own = dict.fromkeys(names_lib.place_of(annotations, name).name for name in names)
  place_of = names_lib.place_of
  return [
    SequenceFiles(name, annotations / name, place_of(results, name), place_of(frames, name))
    for name in own
  ]


def _meta_objects(path: str | os.PathLike) -> list[tuple[str, int, dict[str, Any]]]:
  """Yields (video, object id, entry) of a YouTube-VOS meta.json."""
  try:
    videos = names_lib.parse_json(names_lib.read_text(path))['videos']
    found = [
      (video, int(object_id), entry)
      for video, content in videos.items()
      for object_id, entry in content['objects'].items()
    ]
  except (ValueError, KeyError, TypeError, AttributeError):
    raise ValueError(
      f'{path}: not a YouTube-VOS meta file, {{"videos": {{name: {{"objects": {{id: ...}}}}}}}} '
      'expected'
    ) from None
  return found

"""DAVIS 2016 and 2017 as they are downloaded: JPEGImages, Annotations and ImageSets.

Layout: `JPEGImages/<resolution>/<sequence>/00000.jpg`, `Annotations/<resolution>/<sequence>/
00000.png` and `ImageSets/<year>/<split>.txt`. DAVIS 2016 as published lists pairs of files in
`ImageSets/<resolution>/<split>.txt`; both kinds of lists are read. The test splits of 2017 have a
mask on the first frame only.
"""

from collections.abc import Sequence
import functools
import os
import pathlib
import re

from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.video import list_images
from feelvos_tf.datasets.video import Video
from feelvos_tf.datasets.video import VideoSource

YEARS = ('2016', '2017')


def davis_videos(
  root: str | os.PathLike,
  year: str = '2016',
  split: str = 'val',
  resolution: str = '480p',
  single_object: bool | None = None,
  sequences: Sequence[str] | None = None,
) -> list[Video]:
  """The videos of one DAVIS split, in the order of its list.

  Args:
    root: the DAVIS folder.
    year: '2016' or '2017'.
    split: name of a list: train, val, test-dev, test-challenge.
    resolution: folder below JPEGImages and Annotations, usually 480p or Full-Resolution.
    single_object: read all objects of a frame as object 1; None: yes for 2016, no for 2017.
    sequences: names to keep, in this order; None for all of the list.

  Returns:
    A list of Video; frames and masks are read when asked for.

  Raises:
    FileNotFoundError: no such folder or list.
    ValueError: unknown year or sequence, an empty list, a sequence without frames, or a mask
      without a frame.
  """
  return [
    source.opener()
    for source in davis_sources(root, year, split, resolution, single_object, sequences)
  ]


def davis_sources(
  root: str | os.PathLike,
  year: str = '2016',
  split: str = 'val',
  resolution: str = '480p',
  single_object: bool | None = None,
  sequences: Sequence[str] | None = None,
) -> list[VideoSource]:
  """`davis_videos` before any video has been looked at; the same arguments.

  Raises:
    FileNotFoundError: no such folder or list.
    ValueError: unknown year or sequence, or an empty list.
  """
  root, year = pathlib.Path(root), str(year)
  if year not in YEARS:
    raise ValueError(f'year: {year!r} given, expected one of {", ".join(YEARS)}')
  names = _select(read_split(root, year, split, resolution), sequences, split)
  if single_object is None:
    single_object = year == '2016'
  required = 'first' if split.startswith('test') else 'every'
  return [
    VideoSource(
      name,
      functools.partial(_video, root, resolution, name, single_object),
      required,
      root / 'JPEGImages' / resolution / name,
      names_lib.place_of(root / 'Annotations' / resolution, name),
    )
    for name in names
  ]


def read_split(
  root: str | os.PathLike, year: str, split: str, resolution: str = '480p'
) -> list[str]:
  """Names of the sequences in a split's list, in its order; arguments as of `davis_videos`.

  Raises:
    FileNotFoundError: no such folder or list.
    ValueError: an empty list, or a name that leads out of the folder.
  """
  root = pathlib.Path(root)
  if not (root / 'JPEGImages' / resolution).is_dir():
    raise FileNotFoundError(f'{root}: no folder JPEGImages/{resolution}; expected a DAVIS root')
  candidates = [root / 'ImageSets' / year / f'{split}.txt']
  if year == '2016':
    candidates.append(root / 'ImageSets' / resolution / f'{split}.txt')
  path = next((p for p in candidates if p.is_file()), None)
  if path is None:
    known = sorted(p.stem for p in candidates[0].parent.glob('*.txt'))
    raise FileNotFoundError(
      f'{candidates[0]}: no such split; expected one of '
      f'{", ".join(known) or "the lists of DAVIS " + year}'
    )
  frames = root / 'JPEGImages' / resolution
  lines = names_lib.read_names(path, lambda name: '/' in name or (frames / name).is_dir())
  if not lines:
    raise ValueError(f'{path}: an empty split given, expected one sequence name a line')
  names = dict.fromkeys(_sequence_name(line) for line in lines)
  return [names_lib.check_name(name, str(path)) for name in names]


def _sequence_name(line: str) -> str:
  """`bear`, or the folder of a pair `/JPEGImages/480p/bear/00000.jpg /Annotations/...`."""
  pair = re.match(r'/?JPEGImages/[^/]+/([^/]+)/[^/]+', line)
  return pair[1] if pair else line


def _select(names: list[str], sequences: Sequence[str] | None, split: str) -> list[str]:
  if sequences is None:
    return names
  known = names_lib.spelled(sequences, names)
  unknown = [s for s in sequences if s not in known]
  if unknown:
    raise ValueError(
      f'sequence {unknown[0]!r} given, expected one of split {split}: {", ".join(names)}'
    )
  return [known[s] for s in sequences]


def _video(
  root: pathlib.Path, resolution: str, name: str, single_object: bool
) -> folder.FolderVideo:
  frames = list_images(root / 'JPEGImages' / resolution / name)
  annotations = names_lib.place_of(root / 'Annotations' / resolution, name)
  if not annotations.is_dir():
    raise FileNotFoundError(f'{annotations}: no such folder; expected the masks of {name}')
  masks = folder.masks_of_data_set(frames, annotations)
  return folder.FolderVideo(name, frames, masks, single_object=single_object)

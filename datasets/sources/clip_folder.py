"""A folder of clips, each with its masks next to it or in a folder of masks."""

import os
import pathlib
from typing import NamedTuple

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets.names import composed
from feelvos_tf.datasets.names import IMAGE_SUFFIXES
from feelvos_tf.datasets.names import VIDEO_SUFFIXES
from feelvos_tf.datasets.video import natural_key

StrPath = str | os.PathLike[str]

# Forms in which a person gives the mask of a clip, see `mask_files.reading`.
_MASK_SUFFIXES = (*IMAGE_SUFFIXES, '.json', '.xml', '.txt')


class Clip(NamedTuple):
  """A clip of a folder.

  Attributes:
    name: name of its file without the suffix, or of its folder.
    path: video file or folder of frames.
    masks: picture, annotation file or folder of masks; None: there is none.
  """

  name: str
  path: pathlib.Path
  masks: pathlib.Path | None


def is_clip_folder(path: StrPath) -> bool:
  """Whether a folder holds clips, and no frames: its pictures are named like its video files.

  A folder with `frames` and `masks` is one clip.
  """
  path = pathlib.Path(path)
  if not path.is_dir() or frames_of_clip(path) != path:
    return False
  entries = _visible(path)
  films = {composed(p.stem) for p in entries if p.is_file() and _frames_or_film(p)}
  is_picture = lambda p: p.is_file() and p.suffix.lower() in IMAGE_SUFFIXES
  is_frame = lambda p: is_picture(p) and composed(p.stem) not in films
  return any(map(_frames_or_film, entries)) and not any(map(is_frame, entries))


def frames_of_clip(path: StrPath) -> pathlib.Path:
  """`frames` of a folder with `frames` and `masks`; any other path as it is."""
  path = pathlib.Path(path)
  frames = path / 'frames'
  is_clip = frames.is_dir() and (path / 'masks').is_dir() and _has_pictures(frames)
  is_clip = is_clip and not _has_pictures(path)
  return frames if is_clip else path


def find(path: StrPath, masks: StrPath | None = None) -> list[Clip]:
  """The clips of a folder in natural order.

  Args:
    path: folder of video files, of folders of frames, or of folders with `frames` and `masks`.
    masks: folder with `<clip>.png` (or another form of masks) or a folder `<clip>` for each; None:
      they lie next to the clips (`cow.mp4` with `cow.png`) or in `<clip>/masks`. It may lie in the
      folder of the clips.

  Returns:
    List of `Clip`; what is no clip is left out, with a warning if it has a mask.

  Raises:
    ValueError: no clip, two clips of one name, or two masks of a clip.
  """
  path = pathlib.Path(path)
  known = _masks_by_name(pathlib.Path(masks or path), with_folders=masks is not None)
  found: dict[str, Clip] = {}
  others: list[pathlib.Path] = []
  for entry in _visible(path):
    frames = _frames_or_film(entry)
    if frames is None and entry.is_file() and entry.suffix.lower() not in _MASK_SUFFIXES:
      others.append(entry)
    if frames is None or (masks is not None and entry.is_dir() and entry.samefile(masks)):
      continue
    name = entry.name if entry.is_dir() else entry.stem
    if name in found:
      raise ValueError(
        f'{path}: both {found[name].path.name} and {entry.name} given, expected one clip of a name'
      )
    own: pathlib.Path | None = entry / 'masks'
    if masks is not None or not (entry / 'masks').is_dir():
      own = _only_one(name, [p for p in known.get(composed(name), ()) if p != entry])
    found[name] = Clip(name, frames, own)
  if not found:
    raise ValueError(
      f'{path}: a folder without clips given, expected video files ({", ".join(VIDEO_SUFFIXES)}) or '
      'folders of frames'
    )
  names = {composed(name) for name in found}
  unknown = [p for p in others if composed(p.stem) in known.keys() - names]
  if unknown:
    data_warning.warn(
      f'{unknown[0]}: has a mask, but a suffix of no video file; left out as no clip '
      f'({len(unknown)} such files); rename it if it is one'
    )
  return list(found.values())


def _frames_or_film(entry: pathlib.Path) -> pathlib.Path | None:
  """Where the frames of an entry of the folder are; None if it is no clip."""
  if entry.is_file():
    return entry if entry.suffix.lower() in VIDEO_SUFFIXES else None
  if entry.is_dir():
    for folder in (entry, entry / 'frames'):
      if folder.is_dir() and _has_pictures(folder):
        return folder
  return None


def _masks_by_name(folder: pathlib.Path, with_folders: bool) -> dict[str, list[pathlib.Path]]:
  """{composed name of a clip: files of its masks, and the folder of them if these count}."""
  place = {suffix: index for index, suffix in enumerate(_MASK_SUFFIXES)}
  entries = _visible(folder)
  files = [p for p in entries if p.suffix.lower() in place and p.is_file()]
  found: dict[str, list[pathlib.Path]] = {}
  for path in sorted(files, key=lambda p: place[p.suffix.lower()]):
    found.setdefault(composed(path.stem), []).append(path)
  for path in entries if with_folders else ():
    if path.is_dir():
      found.setdefault(composed(path.name), []).append(path)
  return found


def _only_one(name: str, masks: list[pathlib.Path]) -> pathlib.Path | None:
  if len(masks) > 1:
    raise ValueError(
      f'{masks[0].parent}: both {masks[0].name} and {masks[1].name} given, expected one mask of the '
      f'clip {name}'
    )
  return masks[0] if masks else None


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
  entries = [p for p in folder.iterdir() if not p.name.startswith('.')]
  return sorted(entries, key=lambda p: natural_key(p.name))


def _has_pictures(folder: pathlib.Path) -> bool:
  return any(p.suffix.lower() in IMAGE_SUFFIXES and p.is_file() for p in _visible(folder))

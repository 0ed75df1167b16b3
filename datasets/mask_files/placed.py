"""Masks that a person gives for frames of a video: `first.png`, `30:late.png`, a folder, a tree.

Which frame a mask belongs to: the one before the colon (a frame's name, else its number counted
from 0), else the one its file is named like if it lies in a folder of such masks, else the first
frame (backwards the last one).
"""

from collections.abc import Sequence
import dataclasses
import pathlib
import re

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets.mask_files import one_id
from feelvos_tf.datasets.mask_files import pictures
from feelvos_tf.datasets.mask_files import reading
from feelvos_tf.datasets.video import Video

_MOST_NUMBERS = 10**5  # Names of a film's frames have five digits.
_PHOTOS = ('.jpg', '.jpeg')  # No masks: their compression changes colours.


@dataclasses.dataclass(frozen=True)
class Place:
  """What to read for a frame.

  Attributes:
    frame: text before the colon, or None.
    path: file or folder.
  """

  frame: str | None
  path: pathlib.Path


def parse(value: str, where: str = '--mask') -> Place:
  """Takes `PATH` or `FRAME:PATH` apart; a file whose own name has a colon is a path.

  Raises:
    FileNotFoundError: there is no such file or folder.
    ValueError: an address.
  """
  value = str(value)
  if not value:
    raise ValueError(f'{where}: an empty name given, expected a mask')
  if pathlib.Path(value).exists():
    return Place(None, pathlib.Path(value))
  for position in (i for i, letter in enumerate(value) if letter == ':' and i):
    path = pathlib.Path(value[position + 1 :])
    if value[position + 1 :] and path.exists():
      return Place(value[:position], path)
  names_lib.check_local(value, where)
  names_lib.check_local(value.partition(':')[2], where)  # 30:https://example.org/late.png
  raise FileNotFoundError(f'{value}: no such mask file; check {where}.')


def frame_index(text: str | int, video: Video, where: str) -> int:
  """Index of a frame that a person names.

  Args:
    text: the name of a frame, else its number from 0.
    video: the video.
    where: what messages call the origin.

  Raises:
    ValueError: neither, or the video is known to have no such frame.
  """
  text = str(text)
  if video.seeks:
    composed = [names_lib.composed(name) for name in video.frame_names]
    if names_lib.composed(text) in composed:
      return composed.index(names_lib.composed(text))
  if not text.isascii() or not text.isdecimal():
    raise ValueError(
      f'{where}: frame {text!r} given, expected the number of a frame, counted from 0, or its name'
      + (f', for example {video.frame_names[0]}' if video.seeks else '')
    )
  index, count = int(text), video.num_frames if video.seeks else None
  if count is not None and index >= count:
    raise ValueError(
      f'{where}: frame {index} given, expected 0..{count - 1} or the name of a frame '
      f'of {video.name}'
    )
  if video.seeks and (named := _by_number(video).get(index, index)) != index:
    names = video.frame_names
    data_warning.warn(
      f'{where}: frame {index}, counted from 0, is {names[index]}; if {names[named]} is meant, give '
      'that name'
    )
  return index


def files_by_frame(
  places: Sequence[Place], video: Video, default_frame: int, sequence_path: str = ''
) -> dict[int, list[pathlib.Path]]:
  """What to read for which frame.

  Args:
    places: of `parse`.
    video: the video.
    default_frame: index of the frame of masks without one.
    sequence_path: folder below a data set's root where masks of a sequence lie, with slashes.

  Returns:
    {index of the frame: files, or one folder with a file an object}.

  Raises:
    ValueError: a frame that is none, or a further mask of a frame that a folder has one of.
  """
  found: dict[int, list[pathlib.Path]] = {}
  of_folders: dict[int, pathlib.Path] = {}
  _warn_of_name([p.path for p in places if p.frame is None], video, default_frame)
  for place in places:
    if place.frame is not None:
      index = frame_index(place.frame, video, f'--mask={place.frame}:{place.path}')
      found.setdefault(index, []).append(place.path)
      continue
    named: dict[int, pathlib.Path] = {}
    if place.path.is_dir():
      named = _named_like_frames(place.path, video, sequence_path)
      if not named:
        _warn_of_several_frames(place.path, video, default_frame)
    for index, path in (named or {default_frame: place.path}).items():
      found.setdefault(index, []).append(path)
    of_folders.update((index, path) for index, path in named.items())
  for index, path in of_folders.items():
    # Several files of a frame are one object each; a mask among others in a folder holds all.
    others = list(found[index])
    others.remove(path)
    if others:
      raise ValueError(
        f'both {path} and {others[0]} given, expected one mask of frame {video.frame_names[index]}; '
        'leave one out'
      )
  return found


def read(
  files: dict[int, list[pathlib.Path]],
  video: Video,
  options: reading.MaskOptions = reading.MaskOptions(),
) -> dict[int, reading.GivenMask]:
  """Reads the masks.

  Args:
    files: of `files_by_frame`.
    video: the video, whose `frame_size` is read.
    options: MaskOptions.

  Returns:
    {index of the frame: GivenMask}, in the order of frames. A mask of several may have no object.

  Raises:
    FileNotFoundError, ValueError: see `reading.read_given_mask`.
  """
  found = {
    index: reading.read_given_mask(
      files[index],
      video.frame_size,
      video.frame_names[index],
      options,
      video.name,
      require_object=len(files) == 1,
      frame_index=index,
    )
    for index in sorted(files)
  }
  files_of_objects = {
    key for given in found.values() for key in given.keys.values() if one_id.is_file_key(key)
  }
  for index, given in found.items():
    # One file of several frames on which others have one an object: it is the object of its name.
    path = reading.files_to_read(files[index], video.frame_names[index])[0]
    key, ids = reading.file_key(path), given.mask.object_ids
    if (
      key in files_of_objects
      and len(ids) == 1
      and all(map(one_id.is_colour_key, given.names.values()))
    ):
      given.keys, given.names = {ids[0]: key}, {ids[0]: path.name}
  return one_id.one_id_each(found) if len(found) > 1 else found


def _named_like_frames(
  folder: pathlib.Path, video: Video, sequence_path: str
) -> dict[int, pathlib.Path]:
  """{index: file} of the masks of a folder, or of the video's folder in a tree of masks.

  Masks that are named like no frame, next to others that are, are left out with a warning.
  """
  last = pathlib.PurePosixPath(sequence_path).name or video.name
  for name in (sequence_path, last, reading.CVAT_MASKS, ''):
    path = folder / name
    files = _mask_files(path) if path.is_dir() else {}
    indices = _indices(list(files), video, is_cvat=name == reading.CVAT_MASKS)
    found: dict[int, pathlib.Path] = {}
    for stem, index in indices.items():
      several = [*files[stem], *([found[index]] if index in found else [])]
      if len(several) > 1:
        raise ValueError(
          f'{path}: both {several[0].name} and {several[1].name} given, expected one mask of frame '
          f'{video.frame_names[index]}'
        )
      found[index] = files[stem][0]
    if found:
      if others := sorted(p.name for n in files.keys() - indices.keys() for p in files[n]):
        data_warning.warn(
          f'{path}: left out, as named like no frame of {video.name}: {", ".join(others[:5])}'
          + (f' and {len(others) - 5} more' if len(others) > 5 else '')
        )
      return found
  return {}


def _warn_of_name(paths: Sequence[pathlib.Path], video: Video, index: int) -> None:
  """Warns of one file without a frame before it that is named like another frame than its own."""
  if len(paths) != 1 or not paths[0].is_file():
    return
  path = paths[0]
  if names_lib.composed(path.stem) == names_lib.composed(video.name):
    return  # 00012.png next to 00012.mp4.
  if _frames_there([path.stem], video).get(path.stem, index) != index:
    data_warning.warn(
      f'{path}: named like frame {path.stem} and taken for frame {video.frame_names[index]}; '
      f'--mask={path.stem}:{path} gives it for the other'
    )


def _warn_of_several_frames(folder: pathlib.Path, video: Video, index: int) -> None:
  """Warns of a folder of objects of one frame whose names begin with those of several frames."""
  files: dict[str, str] = {}  # By what stands before a mark: `a` and `a_1` of a_1_dog.
  for path in reading.mask_files_in(folder):
    for mark in re.finditer(r'[ _.-]', path.stem):
      files.setdefault(path.stem[: mark.start()], path.name)
  first_of: dict[int, str] = {}
  for text, frame in _frames_there(list(files), video).items():
    first_of.setdefault(frame, files[text])
  if len(set(first_of.values())) > 1:
    one, other, *_ = dict.fromkeys(first_of.values())
    data_warning.warn(
      f'{folder}: {one} and {other} are named like several frames and taken as objects of frame '
      f'{video.frame_names[index]}; masks of other frames have to have the names of these, or are '
      'given as --mask=FRAME:FILE'
    )


def _mask_files(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
  """{stem: masks of this name}: pictures, and annotations where there is no picture but a photo."""
  files = reading.mask_files_in(folder)
  is_photo = lambda p: p.suffix.lower() in _PHOTOS
  is_picture = lambda p: p.suffix.lower() in pictures.SUFFIXES
  painted = [p for p in files if is_picture(p) and not is_photo(p)]
  stems = {p.stem for p in painted}
  annotations = [p for p in files if not is_picture(p) and p.stem not in stems]
  # Photos lie next to their annotations; alone they are taken for masks, and refused as such.
  photos = [] if annotations else [p for p in files if is_photo(p)]
  found: dict[str, list[pathlib.Path]] = {}
  for path in (*painted, *annotations, *photos):
    found.setdefault(path.stem, []).append(path)
  return found


def _indices(stems: Sequence[str], video: Video, is_cvat: bool = False) -> dict[str, int]:
  """{stem: index of its frame} of those that are named like frames.

  If none has the name of a frame, their numbers decide: the ends of all names, behind one
  beginning. They have to be numbers of frames and not of objects, see `_count_frames`.

  Args:
    stems: names of masks.
    video: the video.
    is_cvat: they are of a folder in which CVAT has frames alone.
  """
  exact = _frames_by_name(stems, video)
  if any(index is not None for index in exact.values()):
    return {stem: index for stem, index in exact.items() if index is not None}
  parts = [re.fullmatch(r'(.*?)([0-9]+)', stem) for stem in stems]
  matches = [match for match in parts if match]
  if not matches or len(matches) < len(parts) or len({m[1] for m in matches}) > 1:
    return {}
  numbers = {stem: int(match[2]) for stem, match in zip(stems, matches)}
  if video.seeks:
    by_number = _by_number(video)
    if not set(numbers.values()) <= by_number.keys():
      return {}
    numbers = {stem: by_number[number] for stem, number in numbers.items()}
  elif video.num_frames is not None and max(numbers.values()) >= video.num_frames:
    return {}
  digits = {len(match[2]) for match in matches}
  return numbers if is_cvat or _count_frames(list(numbers.values()), digits, video) else {}


def _frames_by_name(stems: Sequence[str], video: Video) -> dict[str, int | None]:
  """{stem: index of the frame that has this name, or None}."""
  by_name = {}
  if video.seeks:
    by_name = {names_lib.composed(name): i for i, name in enumerate(video.frame_names)}
  return {
    stem: by_name.get(names_lib.composed(stem), _number_of_film(stem, video)) for stem in stems
  }


def _frames_there(stems: Sequence[str], video: Video) -> dict[str, int]:
  """{stem: index} of those that are named like a frame, one that there is as far as is known."""
  count = video.num_frames or _MOST_NUMBERS  # Of a film that does not say it, 20240501 is a date.
  named = _frames_by_name(stems, video)
  return {stem: index for stem, index in named.items() if index is not None and index < count}


def _by_number(video: Video) -> dict[int, int]:
  """{number at the end of its name: index} of the frames; empty unless each has one of its own."""
  ends = [re.search(r'[0-9]+$', name) for name in video.frame_names]
  found = {int(end[0]): i for i, end in enumerate(ends) if end}
  return found if len(found) == len(ends) else {}


def _count_frames(indices: Sequence[int], digits: set[int], video: Video) -> bool:
  """Whether numbers count frames: padded to three digits or more, with gaps, or one for each frame.

  Objects are counted without gaps, and one mask alone is that of the first frame.
  """
  has_gaps = max(indices) - min(indices) >= len(indices)
  is_whole = len(indices) == video.num_frames
  return len(digits) == 1 and min(digits) >= 3 and len(indices) > 1 and (has_gaps or is_whole)


def _number_of_film(stem: str, video: Video) -> int | None:
  is_number = stem.isascii() and stem.isdecimal() and not video.seeks
  return int(stem) if is_number and video.frame_names[int(stem)] == stem else None

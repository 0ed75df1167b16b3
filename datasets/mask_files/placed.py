"""Masks that a person gives for frames of a video: `first.png`, `30:late.png`, a folder, a tree.

Which frame a mask belongs to: the one before the colon (a frame's name, else its number counted
from 0), else the one its file is named like if it lies in a folder of such masks, else the first
frame (backwards the last one).
"""

from collections.abc import Sequence
import dataclasses
import pathlib

import numpy as np

from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets.mask_files import reading
from feelvos_tf.datasets.video import Video


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
  if video.seeks and text in video.frame_names:
    return list(video.frame_names).index(text)
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
    ValueError: a frame that is none.
  """
  found: dict[int, list[pathlib.Path]] = {}
  for place in places:
    if place.frame is not None:
      index = frame_index(place.frame, video, f'--mask={place.frame}:{place.path}')
      found.setdefault(index, []).append(place.path)
      continue
    named = _named_like_frames(place.path, video, sequence_path) if place.path.is_dir() else {}
    for index, path in (named or {default_frame: place.path}).items():
      found.setdefault(index, []).append(path)
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
  return one_id_each(found) if len(found) > 1 else found


def one_id_each(read: dict[int, reading.GivenMask]) -> dict[int, reading.GivenMask]:
  """Gives an object one id on all frames where files name objects (a colour, a label, a track).

  Ids of such files follow from the place among the objects of that frame. An object of an earlier
  frame gets its id of there, a new one an id that is free.

  Args:
    read: {index of the frame: GivenMask}, in the order of frames.

  Returns:
    The same with other ids where needed, and a hint where two objects of a frame have one name.
  """
  known: dict[str, int] = {}
  found = {}
  for index, given in read.items():
    if len(set(given.keys.values())) == len(given.keys):
      given = _with_ids(given, known)
      known.update({key: object_id for object_id, key in given.keys.items()})
    else:
      names = sorted({k for k in given.keys.values() if list(given.keys.values()).count(k) > 1})
      given.hints.append(
        f'frame {index}: several objects called {", ".join(names[:3])}: they get ids by their order, '
        'which has to be that of the other frames'
      )
    found[index] = given
  return found


def _with_ids(given: reading.GivenMask, known: dict[str, int]) -> reading.GivenMask:
  """The GivenMask with the ids of `known` {key: id}, and free ones for other keys."""
  new = {i: known[key] for i, key in given.keys.items() if key in known}
  for object_id in given.keys.keys() - new.keys():
    taken = {*known.values(), *new.values()}
    free = (i for i in (object_id, *range(1, 256)) if i not in taken)
    new[object_id] = next(free, object_id)
  if all(old == i for old, i in new.items()):
    return given
  table, palette = np.arange(256, dtype=np.uint8), given.mask.palette
  for old, object_id in new.items():
    table[old] = object_id
  if palette is not None:
    colours, palette = palette[list(new)], palette.copy()
    palette[list(new.values())] = colours
  return dataclasses.replace(
    given,
    mask=dataclasses.replace(given.mask, ids=table[given.mask.ids], palette=palette),
    names={new.get(i, i): name for i, name in given.names.items()},
    keys={new[i]: key for i, key in given.keys.items()},
  )


def _named_like_frames(
  folder: pathlib.Path, video: Video, sequence_path: str
) -> dict[int, pathlib.Path]:
  """{index: file} of the pictures of a folder, or of the video's folder in a tree of masks."""
  last = pathlib.PurePosixPath(sequence_path).name or video.name
  for path in (folder / sequence_path, folder / last, folder):
    files = _pictures(path) if path.is_dir() else {}
    indices = {stem: _index_of_name(stem, video) for stem in files}
    if found := {i: files[stem] for stem, i in indices.items() if i is not None}:
      return found
  return {}


def _pictures(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  files = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith('.')]
  return {p.stem: p for p in files if p.suffix.lower() in (*names_lib.IMAGE_SUFFIXES, '.gif')}


def _index_of_name(stem: str, video: Video) -> int | None:
  if video.seeks:
    names = video.frame_names
    return names.index(stem) if stem in names else None
  is_number = stem.isascii() and stem.isdecimal()
  return int(stem) if is_number and video.frame_names[int(stem)] == stem else None

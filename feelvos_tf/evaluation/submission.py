"""Submission archives that the DAVIS and YouTube-VOS servers accept.

DAVIS wants the folders of the sequences at the top of the archive; YouTube-VOS wants them in a
folder `Annotations`. Both want one palette PNG per frame, named as the frame, holding object ids
of the given masks.
"""

from collections.abc import Iterable, Iterator
import os
import pathlib
import zipfile

import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets import video
from feelvos_tf.files import whole_file

LAYOUTS = {'davis': '', 'youtube_vos': 'Annotations/'}  # folder above the sequences
# A fixed date makes equal results equal archives.
_DATE = (1980, 1, 1, 0, 0, 0)


def write_submission(
  path: str | os.PathLike,
  results_dir: str | os.PathLike,
  sequences: Iterable[tuple[str, pathlib.Path, pathlib.Path]],
  layout: str = 'davis',
) -> int:
  """Checks the results of a split and packs them.

  Args:
    path: the zip file to write.
    results_dir: folder with `<sequence>/<frame>.png`.
    sequences: (name, folder of the frames, folder of the given masks) of every sequence.
    layout: 'davis' or 'youtube_vos'.

  Returns:
    Number of masks in the archive.

  Raises:
    FileNotFoundError: a frame has no mask.
    ValueError: a mask cannot be read, has another size or an id that was not given.
  """
  if layout not in LAYOUTS:
    raise ValueError(f'{layout!r} given, one of {", ".join(LAYOUTS)} expected')
  results_dir = pathlib.Path(results_dir)
  count = 0
  with (
    whole_file.appearing(path) as temporary,
    # PNG files are deflated already.
    zipfile.ZipFile(temporary, 'w', zipfile.ZIP_STORED) as archive,
  ):
    for name, frames, given in sequences:
      if names_lib.printable(name) != name:
        raise ValueError(
          f'{name}: a name that is not UTF-8 given, which no server takes; rename it'
        )
      for frame, data in _checked_masks(
        names_lib.place_of(results_dir, name), frames, _given(given, layout)
      ):
        archive.writestr(zipfile.ZipInfo(f'{LAYOUTS[layout]}{name}/{frame}.png', _DATE), data)
        count += 1
  return count


def check_place(path: str | os.PathLike) -> None:
  """Refuses to put an archive where something else lies than an earlier one.

  Raises:
    ValueError: there is a folder, or a file that `write_submission` did not write.
  """
  path = pathlib.Path(path)
  if path.exists() and not _is_submission(path):
    raise ValueError(
      f'{path}: {"a folder" if path.is_dir() else "a file that is no submission"} lies where the '
      'archive has to go; give another name'
    )


def _is_submission(path: pathlib.Path) -> bool:
  """Whether a file is an archive as `write_submission` makes it: masks alone, of its date."""
  if not path.is_file():
    return False
  try:
    with zipfile.ZipFile(path) as archive:
      entries = archive.infolist()
  except (zipfile.BadZipFile, NotImplementedError, ValueError):  # Damaged, or too new for Python.
    return False
  return all(e.date_time == _DATE and e.filename.endswith('.png') for e in entries)


def _checked_masks(
  results: pathlib.Path, frames: pathlib.Path, given: tuple[set[int], tuple[int, ...], bool]
) -> Iterator[tuple[str, bytes]]:
  """Yields (frame name, bytes of a palette PNG) for every frame of a sequence."""
  names = [p.stem for p in video.list_images(frames)]
  if not names:
    raise FileNotFoundError(f'{frames}: no frames found, a folder of images expected')
  allowed, shape, white_is_1 = given
  files = names_lib.paired(names, masks.list_masks(results))
  for name in names:
    file = files.get(name, results / f'{name}.png')
    if name not in files:
      raise FileNotFoundError(
        f'{file}: no such mask, the server expects one for every frame; write it and pack again'
      )
    mask = masks.read_result(file, lambda: allowed)
    if mask.ids.shape != shape:
      raise ValueError(
        f'{file}: a mask of {mask.ids.shape[1]}x{mask.ids.shape[0]} pixels given, '
        f'{shape[1]}x{shape[0]} (the given masks) expected'
      )
    data = file.read_bytes()
    is_indexed = mask.palette is not None and not masks.holds_colours(data)
    if white_is_1 and (mask.ids == masks.VOID_ID).any():
      # Results made from a black and white mask call its object 255, as it did.
      mask.ids[mask.ids == masks.VOID_ID] = 1
      is_indexed = False
    extra = set(np.unique(mask.ids).tolist()) - allowed
    if extra:
      raise ValueError(
        f'{file}: ids {sorted(extra)} given, only {sorted(allowed)} of the given masks expected; '
        'the server refuses others'
      )
    yield name, data if is_indexed else masks.encode_mask(mask.ids)


def _given(folder: pathlib.Path, layout: str) -> tuple[set[int], tuple[int, ...], bool]:
  """What a method was given; DAVIS gives the first mask only.

  Returns:
    (ids of the given masks and background, their size, whether they are black and white).
  """
  files = list(masks.list_masks(folder).values())
  files = files[:1] if layout == 'davis' else files
  if not files:
    raise FileNotFoundError(f"{folder}: no given masks found, at least the first frame's expected")
  ids, binary = {0}, True
  shape: tuple[int, ...] = ()
  for file in files:
    mask = masks.read_mask(file)
    ids.update(mask.object_ids)
    shape = mask.ids.shape
    binary = binary and mask.binary
  return ids, shape, binary

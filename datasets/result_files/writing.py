"""Writes the masks of a video in the forms that are asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import dataclasses
import os
import pathlib

import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets.result_files import annotations
from feelvos_tf.datasets.result_files import cvat_xml
from feelvos_tf.datasets.result_files import pictures
from feelvos_tf.datasets.result_files.target import Files
from feelvos_tf.datasets.result_files.target import ResultFrame
from feelvos_tf.datasets.result_files.target import Target
from feelvos_tf.datasets.result_files.target import Writer

# Name of the form, also of the folder it is written to -> its writer.
FORMATS: dict[str, type[Writer]] = {
  'coco': annotations.Coco,
  'yolo': annotations.Yolo,
  'mots': annotations.Mots,
  'mots_png': pictures.MotsPng,
  'cvat': cvat_xml.Cvat,
  'cvat_images': cvat_xml.CvatImages,
  'objects': pictures.Objects,
  'cutouts': pictures.Cutouts,
  'prores': pictures.ProRes,
  'vp9': pictures.Vp9,
}


# Form that needs what may not be installed -> function that raises a ValueError then.
_NEEDS: dict[str, Callable[[], object]] = {
  'coco': annotations.coco_encoder,
  'mots': annotations.coco_encoder,
  'prores': pictures.ProRes.check_encoder,
  'vp9': pictures.Vp9.check_encoder,
}


def needs_frames(formats: Iterable[str]) -> bool:
  """Whether one of the forms shows the frames."""
  return any(FORMATS[name].needs_frames for name in formats)


def check_formats(formats: Sequence[str]) -> None:
  """Refuses names that are no form.

  Raises:
    ValueError: another name.
  """
  for name in formats:
    if name not in FORMATS:
      raise ValueError(f'format {name!r} given, expected some of {", ".join(FORMATS)}')


def check_installed(formats: Iterable[str]) -> None:
  """Refuses forms that cannot be written here: before a run, at whose end they would be.

  Raises:
    ValueError: the package or the encoder of one is not installed.
  """
  for name in formats:
    _NEEDS.get(name, lambda: None)()


def parse_labels(texts: Sequence[str]) -> dict[int, str]:
  """{object id: name of the class} of `ID:NAME` each.

  Raises:
    ValueError: something else.
  """
  labels = {}
  for text in texts:
    number, colon, name = text.partition(':')
    if not colon or not name or not number.isdecimal() or not object_ids.is_object_id(int(number)):
      raise ValueError(f'label {text!r} given, expected ID:NAME ({object_ids.GIVEN_IDS}), as 1:dog')
    labels[int(number)] = name
  return labels


def write(frames: Iterable[ResultFrame], formats: Sequence[str], target: Target) -> int:
  """Writes a video's masks in several forms at once.

  Args:
    frames: ResultFrame of each, in the order of time.
    formats: keys of FORMATS.
    target: what they belong to; each form gets the folder of its name in `target.folder`.

  Returns:
    Number of frames.

  Raises:
    ValueError: an unknown form, or one whose package or encoder is not installed.
  """
  check_formats(formats)
  writers: list[Writer] = []
  count = 0
  for name in dict.fromkeys(formats):
    folder = target.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    writers.append(FORMATS[name](dataclasses.replace(target, folder=folder)))
  with contextlib.ExitStack() as stack:
    for writer in writers:
      stack.callback(writer.close)
    for frame in frames:
      for writer in writers:
        writer.write(frame)
      count += 1
  return count


def file_names(formats: Iterable[str], files: Files) -> dict[str, list[str]]:
  """{form: names of its files, relative to its folder} that `write` writes for `Files`."""
  return {form: FORMATS[form].file_names(files) for form in formats}


def masks_of_folder(folder: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
  """(name, ids uint8 [height, width]) of the masks that `segment` wrote, in natural order.

  Raises:
    FileNotFoundError: there is no such folder, or no mask in it.
    ValueError: a file that is no mask.
  """
  found = masks.list_masks(folder)
  if not found:
    if not pathlib.Path(folder).is_dir():
      raise FileNotFoundError(names_lib.missing(folder, 'folder of masks', 'give PNGs of segment'))
    raise FileNotFoundError(f'{pathlib.Path(folder)}: no masks there; expected PNGs of segment')
  for name, path in found.items():
    yield name, masks.read_mask(path, void=False, own=True).ids

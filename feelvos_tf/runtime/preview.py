"""A picture of the mask that was drawn with a box or marks, before anything is segmented."""

import io
import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL import PngImagePlugin

from feelvos_tf.datasets import masks
from feelvos_tf.files import whole_file
from feelvos_tf.runtime import result_folder

if TYPE_CHECKING:
  from feelvos_tf.runtime.segment_job import Job

_NOTE = 'feelvos mask'  # Of the picture: the digest of the mask that was written with it.


def write(path: str | os.PathLike, job: 'Job') -> str:
  """Writes the frame with the mask drawn in, and next to it the mask itself.

  Args:
    path: the picture, .png.
    job: `segment_job.Job`; its first mask is shown.

  Returns:
    A line for the person.

  Raises:
    ValueError: another suffix, or a file of one of the names that no preview wrote as it is.
    OSError: it cannot be written.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() != '.png':
    raise ValueError(f'--preview={path} given, expected the name of a .png file')
  index = job.given.frames[0]
  ids = job.given.mask(index)
  picture = masks.overlay(job.video.frame(index), ids, void_id=None)
  mask_path = path.with_name(f'{path.stem}.mask.png')
  _check_own(path, mask_path)
  mask, note, encoded = masks.encode_mask(ids), PngImagePlugin.PngInfo(), io.BytesIO()
  note.add_text(_NOTE, result_folder.digest(mask))
  Image.fromarray(np.ascontiguousarray(picture)).save(encoded, 'PNG', pnginfo=note)
  whole_file.write_bytes(path, encoded.getvalue())
  whole_file.write_bytes(mask_path, mask)
  return (
    f'{path} shows the mask; leave out --preview to segment with it, or correct {mask_path} in an '
    'editor and give it as --mask'
  )


def _check_own(path: pathlib.Path, mask_path: pathlib.Path) -> None:
  """Refuses to replace a picture that no preview wrote, and a mask that was changed since."""
  note = None
  if path.exists():
    try:
      with Image.open(path) as picture:
        note = picture.info.get(_NOTE)
    except (OSError, SyntaxError, ValueError):
      pass
    if note is None:
      raise ValueError(
        f'{path}: a file that no preview wrote lies where it has to go; give another name'
      )
  if mask_path.exists() and result_folder.file_digest(mask_path) != note:
    raise ValueError(
      f'{mask_path}: a mask that no preview wrote as it is lies where one has to go; give it as '
      '--mask, or give another name to --preview'
    )

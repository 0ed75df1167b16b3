"""A picture of the mask that was drawn with a box or marks, before anything is segmented."""

import os
import pathlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.files import whole_file

if TYPE_CHECKING:
  from feelvos_tf.runtime.segment_job import Job


def write(path: str | os.PathLike, job: 'Job') -> str:
  """Writes the frame with the mask drawn in, and next to it the mask itself.

  Args:
    path: the picture, .png.
    job: `segment_job.Job`; its first mask is shown.

  Returns:
    A line for the person.

  Raises:
    ValueError: another suffix.
    OSError: it cannot be written.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() != '.png':
    raise ValueError(f'--preview={path} given, expected the name of a .png file')
  index = job.given.frames[0]
  ids = job.given.mask(index)
  picture = masks.overlay(job.video.frame(index), ids, void_id=None)
  encoded = cv2.imencode('.png', np.ascontiguousarray(picture[..., ::-1]))[1]
  mask_path = path.with_name(f'{path.stem}.mask.png')
  whole_file.write_bytes(path, encoded.tobytes())
  masks.write_mask(mask_path, ids)
  return (
    f'{path} shows the mask; leave out --preview to segment with it, or correct {mask_path} in an '
    'editor and give it as --mask'
  )

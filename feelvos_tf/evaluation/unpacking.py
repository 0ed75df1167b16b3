"""Videos that are no folders of frames and masks are unpacked to such, once, to be scored alike.

A folder holds the videos of one origin, which its `source.txt` names. What is there already is
compared with the data as they are now, and never replaced.
"""

from collections.abc import Iterator
import contextlib
import pathlib

import cv2
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets.video import list_images
from feelvos_tf.datasets.video import read_image
from feelvos_tf.datasets.video import Video
from feelvos_tf.files import whole_file

_PARTS = ('JPEGImages', 'Annotations')  # Folders of the frames and of the masks.


def claim(unpack_dir: pathlib.Path, origin: str) -> None:
  """Notes whose videos a folder holds; refuses one that holds others."""
  note = unpack_dir / 'source.txt'
  known = note.read_text('utf-8', errors='surrogateescape') if note.is_file() else ''
  if known and known != f'{origin}\n':
    raise ValueError(
      f'{unpack_dir}: holds the videos of {known.strip()}; choose another --output_dir for other data'
    )
  if not note.is_file() and any((unpack_dir / part).exists() for part in _PARTS):
    raise ValueError(
      f'{unpack_dir}: holds {" and ".join(_PARTS)} of unknown origin; choose another --output_dir'
    )
  unpack_dir.mkdir(parents=True, exist_ok=True)
  whole_file.write_text(note, f'{origin}\n')


@contextlib.contextmanager
def left_out_if_bad(name: str, left_out: dict[str, str] | None) -> Iterator[None]:
  """Puts what is wrong with a video, not with the machine, into `left_out`, if that is there."""
  try:
    yield
  except (OSError, ValueError) as error:
    if left_out is None or whole_file.is_no_room(error):
      raise
    left_out[name] = str(error)


def unpack(video: Video, folder: pathlib.Path) -> None:
  """Writes frames and masks of a video, unless they are there; the annotations come last.

  Frames without annotations are of a run that was killed, maybe of other data: they go.

  Raises:
    ValueError: there are others, the number of frames is unknown, or a name leads elsewhere.
  """
  frames, truth = (folder / part / video.name for part in _PARTS)
  if video.num_frames is None:
    raise ValueError(
      f'{video.name}: a video of an unknown number of frames given, expected one that knows it; '
      'convert it to a folder of frames'
    )
  names_lib.check_name(video.name, 'a video')
  for index in range(video.num_frames):
    names_lib.check_name(video.frame_names[index], f'{video.name}, frame {index}')
  if truth.is_dir():
    _check_unpacked(video, frames, truth)
    return
  frames.mkdir(parents=True, exist_ok=True)
  truth.parent.mkdir(parents=True, exist_ok=True)
  written = set()
  with whole_file.appearing_folder(truth) as unfinished:
    for index in range(video.num_frames):
      name, encoded = video.frame_names[index], video.encoded_frame(index)
      if encoded is None:
        data = cv2.imencode('.png', cv2.cvtColor(video.frame(index), cv2.COLOR_RGB2BGR))[1]
        encoded = data.tobytes(), 'PNG'
      suffix = {'JPEG': 'jpg', 'PNG': 'png'}[encoded[1]]
      whole_file.write_bytes(frames / f'{name}.{suffix}', encoded[0], last=False)
      written.add(names_lib.composed(f'{name}.{suffix}'))
      mask = video.mask(index)
      if mask is not None:
        (unfinished / f'{name}.png').write_bytes(masks.encode_mask(mask.ids, mask.palette))
    for path in list(frames.iterdir()):
      is_picture = path.suffix in ('.jpg', '.png') and not path.name.startswith('.')
      if is_picture and names_lib.composed(path.name) not in written:
        path.unlink()
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
      is_same = np.array_equal(masks.read_mask(known[name], own=True).ids, mask.ids)
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

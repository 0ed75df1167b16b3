"""Results as text for annotation and training: COCO JSON, YOLO and MOTS."""

from collections.abc import Callable
import json
from typing import Any

import numpy as np

from feelvos_tf.datasets.result_files import outline
from feelvos_tf.datasets.result_files.target import Classes
from feelvos_tf.datasets.result_files.target import Files
from feelvos_tf.datasets.result_files.target import objects
from feelvos_tf.datasets.result_files.target import ResultFrame
from feelvos_tf.datasets.result_files.target import Target
from feelvos_tf.files import whole_file

_COCO_FILE = 'annotations/instances_default.json'  # As CVAT and datumaro name it.


class Coco:
  """annotations/instances_default.json: COCO instances with compressed run lengths and tracks.

  Every object and frame is an annotation; `track_id` is the object id. `videos`, `video_id` and
  `frame_id` are those of TAO and YouTube-VIS. Format: https://cocodataset.org/#format-data.
  """

  needs_frames = False

  def __init__(self, target: Target) -> None:
    """Args: Target. Raises ValueError if pycocotools is not installed."""
    self._encode, self._target, self._classes = coco_encoder(), target, Classes(target)
    self._images: list[dict[str, Any]] = []
    self._annotations: list[dict[str, Any]] = []
    self._tracks: dict[int, int] = {}

  @classmethod
  def file_names(cls, unused_files: Files) -> list[str]:
    """See `Writer`."""
    return [_COCO_FILE]

  def write(self, frame: ResultFrame) -> None:
    """See `Writer`."""
    height, width = frame.ids.shape
    self._images.append(
      {
        'id': len(self._images) + 1,
        'file_name': self._target.file_name(frame.name),
        'width': width,
        'height': height,
        'video_id': 1,
        'frame_id': frame.index,
      }
    )
    for object_id, where in objects(frame.ids):
      category = self._classes.number(object_id) + 1
      self._tracks[object_id] = category
      self._annotations.append(
        {
          'id': len(self._annotations) + 1,
          'image_id': len(self._images),
          'video_id': 1,
          'category_id': category,
          'track_id': object_id,
          'segmentation': self._encode(where),
          'area': int(where.sum()),
          'bbox': list(outline.box(where)),
          'iscrowd': 0,
          'attributes': {'track_id': object_id},
        }
      )

  def close(self) -> None:
    """See `Writer`."""
    target = self._target
    names = enumerate(self._classes.names, 1)
    tracks = sorted(self._tracks.items())
    content = {
      'info': {'description': f'{target.video_name}, segmented by feelvos-tf'},
      'licenses': [],
      'videos': [
        {'id': 1, 'name': target.video_name, 'height': target.size[0], 'width': target.size[1]}
      ],
      'categories': [{'id': i, 'name': name, 'supercategory': ''} for i, name in names],
      'tracks': [{'id': i, 'category_id': category, 'video_id': 1} for i, category in tracks],
      'images': self._images,
      'annotations': self._annotations,
    }
    path = target.folder / _COCO_FILE
    path.parent.mkdir(exist_ok=True)
    whole_file.write_text(path, json.dumps(content))


class Yolo:
  """labels/<frame>.txt with one polygon an object, and data.yaml with the classes.

  Parts and holes of an object are joined to one path by lines of no width. Format:
  https://docs.ultralytics.com/datasets/segment/.
  """

  needs_frames = False

  def __init__(self, target: Target) -> None:
    """Args: Target."""
    self._target, self._classes = target, Classes(target)
    (target.folder / 'labels').mkdir(exist_ok=True)

  @classmethod
  def file_names(cls, files: Files) -> list[str]:
    """See `Writer`."""
    return ['data.yaml', *(f'labels/{name}.txt' for name in files.frame_names)]

  def write(self, frame: ResultFrame) -> None:
    """See `Writer`."""
    lines = []
    for object_id, where in objects(frame.ids):
      path = outline.one_path([points for points, _ in outline.polygons(where)])
      path = path / frame.ids.shape[::-1]
      numbers = ' '.join(f'{value:.6g}' for value in path.ravel())
      lines.append(f'{self._classes.number(object_id)} {numbers}\n')
    whole_file.write_text(self._target.folder / 'labels' / f'{frame.name}.txt', ''.join(lines))

  def close(self) -> None:
    """See `Writer`."""
    names = ''.join(f'  {i}: {json.dumps(n)}\n' for i, n in enumerate(self._classes.names))
    text = f'path: .\ntrain: images\nval: images\nnames:\n{names}'
    whole_file.write_text(self._target.folder / 'data.yaml', text)


class Mots:
  """<video>.txt of MOTS: frame, id, class, height, width and run lengths in every line.

  The id is 1000 times the class, counted from 1, plus the object's id. Frames count from 1. Format:
  https://www.vision.rwth-aachen.de/page/mots.
  """

  needs_frames = False

  def __init__(self, target: Target) -> None:
    """Args: Target. Raises ValueError if pycocotools is not installed."""
    self._encode, self._target, self._classes = coco_encoder(), target, Classes(target)
    self._lines: list[str] = []

  @classmethod
  def file_names(cls, files: Files) -> list[str]:
    """See `Writer`."""
    return [f'{files.video_name}.txt']

  def write(self, frame: ResultFrame) -> None:
    """See `Writer`."""
    height, width = frame.ids.shape
    for object_id, where in objects(frame.ids):
      number = self._classes.number(object_id) + 1
      text = self._encode(where)['counts']
      place = f'{frame.index + 1} {1000 * number + object_id} {number} {height} {width}'
      self._lines.append(f'{place} {text}\n')

  def close(self) -> None:
    """See `Writer`."""
    path = self._target.folder / f'{self._target.video_name}.txt'
    whole_file.write_text(path, ''.join(self._lines))


def coco_encoder() -> Callable[[np.ndarray], dict[str, Any]]:
  """Function: bool [height, width] -> {'size', 'counts'} of COCO's compressed run lengths.

  Raises:
    ValueError: pycocotools is not installed.
  """
  try:
    from pycocotools import mask as coco_mask
  except ImportError:
    raise ValueError(
      'COCO and MOTS hold compressed run lengths, which the package pycocotools writes; install '
      "it: pip install 'feelvos-tf[formats]'"
    ) from None

  def encode(where: np.ndarray) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(where, np.uint8))
    return {'size': list(encoded['size']), 'counts': encoded['counts'].decode()}

  return encode

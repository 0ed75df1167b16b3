"""Pictures of an evaluation: the worst frames, with what was right, what was missed and why."""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets import video
from feelvos_tf.datasets.names import composed
from feelvos_tf.datasets.object_ids import VOID_ID
from feelvos_tf.evaluation import kept_maps
from feelvos_tf.evaluation import scoring
from feelvos_tf.evaluation import segmenting
from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.evaluation import sequences
from feelvos_tf.model import option_checks

# RGB. Chosen to be told apart by colour-blind readers (Okabe and Ito's set, brightened).
TRUTH_COLOUR = (255, 255, 255)
PREDICTION_COLOUR = (255, 214, 0)
MISSED_COLOUR = (0, 150, 255)  # of the object, not predicted
WRONG_COLOUR = (230, 60, 0)  # predicted, not of the object
_TINT = 0.5
_MAP_TITLES = ('global distance', 'local distance', 'head probability')


@dataclasses.dataclass(frozen=True)
class PictureOptions:
  """Options of the report's pictures.

  Raises:
    ValueError: a field is out of its range.
  """

  # Pictures per sequence in the report.
  #
  # Of its worst frames.
  per_sequence: int = 3
  # Pixels; frames are scaled to it.
  width: int = 480
  jpeg_quality: int = 80
  # Object id whose distance maps and probability the report shows; default: the worst object of
  # each picture.
  map_object: int | None = None

  def __post_init__(self) -> None:
    option_checks.check_least(self, {'per_sequence': 0})


@dataclasses.dataclass(frozen=True)
class Moment:
  """A frame worth looking at.

  Attributes:
    frame: name of the frame.
    object_id: the object in question.
    j: its region similarity there.
    other_j: the same in the run compared with, or None.
  """

  frame: str
  object_id: int
  j: float
  other_j: float | None = None


def worst_moments(entry: dict, count: int, other: dict | None = None) -> list[Moment]:
  """The frames with the lowest J of any object, at least a tenth of the sequence apart.

  Args:
    entry: the sequence in a summary.
    count: number of frames.
    other: the same sequence in another summary; the frame with the largest difference is added.

  Returns:
    Moments, in the order of time.
  """
  ids = list(entry['objects'])
  table = _per_frame(entry, ids)
  others = None if other is None else _aligned(entry, other, ids)
  chosen = _spread_minima(np.nanmin(np.where(np.isnan(table), np.inf, table), 0), count)
  picks = {column: int(np.nanargmin(table[:, column])) for column in chosen}
  if others is not None and count and not np.isnan(table - others).all():
    most = np.unravel_index(np.nanargmax(np.abs(table - others)), table.shape)
    picks.setdefault(int(most[1]), int(most[0]))
  moments = []
  for column, row in sorted(picks.items()):
    other_j = None if others is None or np.isnan(others[row, column]) else others[row, column]
    moments.append(
      Moment(
        entry['frames'][column],
        int(ids[row]),
        float(table[row, column]),
        None if other_j is None else float(other_j),
      )
    )
  return moments


def draw_moment(
  files: sequences.SequenceFiles,
  moment: Moment,
  protocol: str,
  options: PictureOptions = PictureOptions(),
) -> bytes:
  """A frame with the contours of ground truth and prediction, and the errors of one object.

  Args:
    files: where frames and masks are; a missing result is drawn as empty.
    moment: frame and object.
    protocol: key of evaluation.PROTOCOLS.
    options: size and quality.

  Returns:
    A JPEG file.

  Raises:
    FileNotFoundError, ValueError: a mask cannot be read.
  """
  sequence = scoring.SequenceMasks(files, 'empty')
  index = sequence.names.index(moment.frame)
  rules = sequence_scores.PROTOCOLS[protocol]
  truth = sequence_scores.as_protocol(sequence.truth(index), rules)
  prediction = sequence_scores.as_protocol(sequence.prediction(index), rules, predicted=True)
  image: np.ndarray = _frame(files, moment.frame, truth.shape)
  scale = options.width / image.shape[1]
  size = (options.width, max(1, round(image.shape[0] * scale)))
  image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
  truth, prediction = [
    cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST) for ids in (truth, prediction)
  ]
  ours, real = prediction == moment.object_id, truth == moment.object_id
  counted = truth != VOID_ID
  _tint(image, real & ~ours, MISSED_COLOUR)
  _tint(image, ours & ~real & counted, WRONG_COLOUR)
  _outline(image, truth, TRUTH_COLOUR, moment.object_id)
  _outline(image, prediction, PREDICTION_COLOUR, moment.object_id)
  return _jpeg(image, options)


def draw_maps(
  output_dir: str | os.PathLike,
  name: str,
  moment: Moment,
  options: PictureOptions = PictureOptions(),
) -> list[tuple[str, bytes]]:
  """What the model saw: both distance maps and the head's probability of one object.

  Args:
    output_dir: output folder of an evaluation with --model.
    name: the sequence.
    moment: the frame, and the object unless `options.map_object` names one.
    options: object, size and quality.

  Returns:
    (title, JPEG file) of each map; empty when none were kept for that frame or object.
  """
  object_ids = segmenting.read_state(output_dir, name).get('object_ids', [])
  object_id = moment.object_id if options.map_object is None else options.map_object
  path = names_lib.place_of(pathlib.Path(output_dir) / 'maps' / name, f'{moment.frame}.png')
  if object_id not in object_ids or not path.is_file():
    return []
  maps = kept_maps.read_maps(path, len(object_ids))[object_ids.index(object_id)]
  pictures = []
  for title, values in zip(_MAP_TITLES, maps):
    width = options.width // 2
    size = (width, max(1, round(width * values.shape[0] / values.shape[1])))
    values = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
    colours = cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    pictures.append((f'{title} of object {object_id}', _jpeg(colours, options)))
  return pictures


def _per_frame(entry: dict[str, Any], ids: Sequence[str]) -> NDArray[np.float64]:
  """float64 [objects, frames] of J, NaN for None."""
  return np.array([entry['objects'][i]['J']['per_frame'] for i in ids], np.float64)


def _aligned(
  entry: dict[str, Any], other: dict[str, Any], ids: Sequence[str]
) -> NDArray[np.float64]:
  """J of another run in the rows and columns of `entry`; NaN where it has none."""
  column = {frame: i for i, frame in enumerate(other['frames'])}
  table = np.full((len(ids), len(entry['frames'])), np.nan)
  for row, object_id in enumerate(ids):
    if object_id in other['objects']:
      values = np.array(other['objects'][object_id]['J']['per_frame'], np.float64)
      for i, frame in enumerate(entry['frames']):
        if frame in column:
          table[row, i] = values[column[frame]]
  return table


def _spread_minima(values: Sequence[float], count: int) -> list[int]:
  """Indices of the lowest finite values, no two closer than a tenth of the length."""
  distance = max(1, len(values) // 10)
  chosen: list[int] = []
  for index in np.argsort(values, kind='stable'):
    if len(chosen) == count or not np.isfinite(values[index]):
      break
    if all(abs(index - c) >= distance for c in chosen):
      chosen.append(int(index))
  return chosen


def _frame(files: sequences.SequenceFiles, name: str, shape: tuple[int, int]) -> NDArray[np.uint8]:
  """The image of a frame at the size of its mask; grey if there is none."""
  inside = files.frames.iterdir() if files.frames.is_dir() else ()
  is_name = lambda stem: composed(stem) == composed(name)
  is_frame = lambda p: is_name(p.stem) and p.suffix.lower() in video.IMAGE_SUFFIXES
  path = next(filter(is_frame, inside), None)
  if path is None:
    return np.full((*shape, 3), 110, np.uint8)
  image = video.read_image(path)
  if image.shape[:2] != shape:
    image = cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
  return image


def _tint(image: np.ndarray, where: np.ndarray, colour: tuple[int, int, int]) -> None:
  image[where] = (image[where] * (1 - _TINT) + np.array(colour) * _TINT).astype(np.uint8)


def _outline(
  image: np.ndarray, ids: np.ndarray, colour: tuple[int, int, int], object_id: int
) -> None:
  """Contours of every object; those of the object in question on a dark line."""
  for i in np.unique(ids):
    if i in (0, VOID_ID):
      continue
    contours, _ = cv2.findContours(
      (ids == i).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    if i == object_id:
      cv2.drawContours(image, contours, -1, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.drawContours(image, contours, -1, colour, 1, cv2.LINE_AA)


def _jpeg(image: np.ndarray, options: PictureOptions) -> bytes:
  bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
  return cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, options.jpeg_quality])[1].tobytes()

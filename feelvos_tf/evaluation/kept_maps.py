"""What the model saw of a frame, written and read: both distances, and the probabilities."""

import os
import pathlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
  from feelvos_tf.inference.segmenter import SegmentedFrame


def encode_maps(result: 'SegmentedFrame') -> bytes:
  """What the model saw of one frame, as a grey PNG at stride 4.

  Args:
    result: SegmentedFrame of a step.

  Returns:
    Content of the file. Rows are the channels (background first), columns are global distance,
    local distance and probability, each scaled from 0..1 to 0..255; 0 for an unused distance.
  """
  logits = result.predicted_logits
  scaled = np.exp(logits - logits.max(0))
  probabilities = scaled / scaled.sum(0)
  columns = [result.global_distance, result.local_distance, probabilities]
  columns = [np.zeros_like(probabilities) if c is None else c for c in columns]
  grid = np.concatenate([np.concatenate(list(column), 0) for column in columns], 1)
  return cv2.imencode('.png', np.round(grid * 255).astype(np.uint8))[1].tobytes()


def read_maps(path: str | os.PathLike, num_channels: int) -> np.ndarray:
  """Maps of one frame: uint8 [channels, 3, h4, w4]; the 3 are those of `encode_maps`.

  Raises:
    FileNotFoundError: the frame has none.
    ValueError: the file is damaged.
  """
  if not pathlib.Path(path).is_file():
    raise FileNotFoundError(f'{path}: no maps of this frame; run the model again with maps kept')
  data = pathlib.Path(path).read_bytes()  # OpenCV crashes on names that are not UTF-8.
  grid = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
  if grid is None:
    raise ValueError(f'{path}: damaged maps; run the model again with maps kept')
  height, width = grid.shape[0] // num_channels, grid.shape[1] // 3
  return grid.reshape(num_channels, height, 3, width).transpose(0, 2, 1, 3)

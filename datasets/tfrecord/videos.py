"""Videos out of TFRecords, for whoever wants whole videos: segmentation, evaluation, a look."""

from collections.abc import Iterator
import os
from typing import TYPE_CHECKING

import tensorflow as tf

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.tfrecord import schema
from feelvos_tf.datasets.tfrecord import shards
from feelvos_tf.datasets.video import decode_image
from feelvos_tf.datasets.video import NumberedNames
from feelvos_tf.datasets.video import Video

if TYPE_CHECKING:
  import numpy as np


def record_videos(
  dataset_dir: str | os.PathLike, split: str = 'val', verify: bool = True
) -> 'Iterator[RecordVideo]':
  """Yields the videos of a split one by one, in the order of the shards.

  Args:
    dataset_dir: folder of shards.
    split: name of the split.
    verify: see `shards.list_shards`.

  Yields:
    RecordVideo. Only the encoded frames of one video are in memory.

  Raises:
    FileNotFoundError, ValueError: see `shards.list_shards`; or a record is no video.
  """
  for path in shards.list_shards(dataset_dir, split, verify):
    try:
      for serialized in tf.data.TFRecordDataset(path):
        yield RecordVideo(serialized.numpy())
    except tf.errors.DataLossError as error:
      raise ValueError(f'{path}: truncated or corrupt; convert the split again') from error


class RecordVideo(Video):
  """A video inside a record, for segmentation and evaluation. Holds the encoded frames only."""

  num_frames: int

  def __init__(self, serialized: bytes) -> None:
    """Takes the bytes of a record; raises ValueError if they are not a video."""
    try:
      parsed = schema.parse_video(tf.constant(serialized))
      parsed = {key: value.numpy() for key, value in parsed.items()}
    except tf.errors.InvalidArgumentError as error:
      raise ValueError(
        f'a record that is not a video given ({error.message.splitlines()[0]}); '
        'expected the SequenceExamples of feelvos convert-data'
      ) from error
    self.name = os.fsdecode(parsed['video_id'])
    self.frame_size = int(parsed['height']), int(parsed['width'])
    self._images, self._masks = list(parsed['images']), list(parsed['masks'])
    if len(self._images) != len(self._masks) or not self._images:
      raise ValueError(
        f'{self.name}: a record of {len(self._images)} frames and '
        f'{len(self._masks)} masks given, expected as many; convert it again'
      )
    self.num_frames = len(self._images)
    names = tuple(os.fsdecode(name) for name in parsed['frame_names'])
    self.frame_names = names or NumberedNames(self.num_frames)
    self.masked_frames = tuple(i for i, data in enumerate(self._masks) if data)
    self.object_first_frames = (
      dict(zip(map(int, parsed['object_ids']), map(int, parsed['first_frames']), strict=True))
      or None
    )
    self._palette = parsed['palette'] if len(parsed['palette']) == 256 else None

  def frame(self, index: int) -> 'np.ndarray':
    if not 0 <= index < self.num_frames:
      raise IndexError(f'{self.name}: no frame {index}, expected 0..{self.num_frames - 1}')
    image = decode_image(self._images[index], f'{self.name}: frame {index}')
    if image.shape[:2] != self.frame_size:
      raise ValueError(
        f'{self.name}: frame {index} has size {image.shape[:2]}, expected '
        f'{self.frame_size}; convert the video again'
      )
    return image

  def frames(self, start: int = 0) -> 'Iterator[np.ndarray]':
    for index in range(start, self.num_frames):
      yield self.frame(index)

  def encoded_frame(self, index: int) -> tuple[bytes, str]:
    data = self._images[index]
    return data, 'PNG' if data.startswith(b'\x89PNG') else 'JPEG'

  def mask(self, index: int) -> masks.Mask | None:
    if not 0 <= index < self.num_frames or not self._masks[index]:
      return None
    where = f'{self.name}: mask {index}'
    mask = masks.decode_mask(self._masks[index], where, grey_255='void')
    return self.check_mask_size(masks.Mask(mask.ids, self._palette), where)

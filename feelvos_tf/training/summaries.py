"""TensorBoard logs of a training: scalars, the sample, distance maps and prediction as pictures.

Writing them takes the package tensorboard (extra [train]); TensorFlow alone has no summary ops.
"""

from collections.abc import Mapping
import os
import time

import numpy as np
import tensorflow as tf

from feelvos_tf.datasets import masks
from feelvos_tf.files import whole_file


def available() -> bool:
  """Whether summaries can be written here."""
  try:
    import tensorboard  # noqa: F401
  except ImportError:
    return False
  return True


class Summaries:
  """Writes event files for TensorBoard."""

  def __init__(self, folder: str | os.PathLike, picture_secs: float = 600) -> None:
    """Opens an event file.

    Args:
      folder: where it goes.
      picture_secs: seconds between pictures; the first log line always has some.
    """
    self._folder = folder
    self._writer = tf.summary.create_file_writer(str(folder))
    self._picture_secs = picture_secs
    self._last_pictures: float | None = None

  def write(
    self,
    step: int,
    scalars: Mapping[str, float],
    sample: Mapping[str, np.ndarray] | None = None,
    maps: Mapping[str, np.ndarray] | None = None,
  ) -> None:
    """Writes what is known of a step.

    Args:
      step: int.
      scalars: dict of tag to float.
      sample: optional dict of one video: `images` uint8 or float32 [frames, height, width, 3],
        0..255, and `labels` integers [frames, height, width], object index.
      maps: optional dict of `logits`, `global_distance` and `local_distance` of its last frame,
        float32 [objects, h4, w4]; pictures are made of sample and maps, not more often than
        `picture_secs`.

    Raises:
      OSError: they cannot be written.
    """
    with whole_file.named_errors(self._folder), self._writer.as_default(step=step):
      for tag, value in scalars.items():
        tf.summary.scalar(tag, value)
      now = time.monotonic()
      due = self._last_pictures is None or now - self._last_pictures >= self._picture_secs
      if maps and sample and due:
        self._last_pictures = now
        for tag, picture in pictures(sample, maps).items():
          tf.summary.image(tag, picture[np.newaxis])
      self._writer.flush()


def pictures(
  sample: Mapping[str, np.ndarray], maps: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Pictures of one video.

  Args:
    sample: dict of arrays, see `Summaries.write`.
    maps: dict of float32 [objects, h4, w4], see `Summaries.write`; distances may be missing.

  Returns:
    dict of tag to uint8 [height, width, 3]: 'triplet' has the frames with their labels side by
    side, 'prediction' the last frame with the labels predicted, 'global_distance' and
    'local_distance' the maps of the objects side by side, black near and white far.
  """
  images = np.rint(np.asarray(sample['images'], np.float32)).clip(0, 255).astype(np.uint8)
  labels = np.asarray(sample['labels'])
  found = {
    'triplet': np.concatenate(
      [masks.overlay(image, ids.astype(np.uint8)) for image, ids in zip(images, labels)], axis=1
    )
  }
  predicted = np.argmax(np.asarray(maps['logits']), axis=0).astype(np.uint8)
  height, width = images.shape[1:3]
  rows = np.rint(np.linspace(0, predicted.shape[0] - 1, height)).astype(int)
  columns = np.rint(np.linspace(0, predicted.shape[1] - 1, width)).astype(int)
  found['prediction'] = masks.overlay(images[-1], predicted[rows][:, columns])
  for tag in ('global_distance', 'local_distance'):
    if tag in maps:
      tiles = np.concatenate(list(np.asarray(maps[tag])), axis=1)
      grey = np.rint(tiles.clip(0, 1) * 255).astype(np.uint8)
      found[tag] = np.repeat(grey[..., np.newaxis], 3, axis=2)
  return found

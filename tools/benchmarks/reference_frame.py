"""A frame with the original's algorithm, to measure ours against.

What research/feelvos/utils/embedding_utils.py and vis_video.py compute between the features and
the labels of a frame: matching as in reference_matching.py, the features copied for every object,
the whole first layer of the head for each, logits enlarged, labels shrunk again. The network up to
the embedding is ours with variables, batch norm folded anew for every frame: the original, which
applies it to every pixel, needs longer. So the ratios are rather too small. For benchmarks and
tests only.
"""

from typing import TYPE_CHECKING

import tensorflow as tf

from feelvos_tf.model import feelvos
from feelvos_tf.model import geometry
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.head import SegmentationHead
from feelvos_tf.tools.benchmarks.reference_matching import original_global_matching
from feelvos_tf.tools.benchmarks.reference_matching import original_local_matching

if TYPE_CHECKING:
  import numpy as np


class OriginalFrames:
  """Segments frames of a video with the original's algorithm.

  >>> video = OriginalFrames(model, first_frame, labels, num_objects)
  >>> labels = video.step(frame)
  """

  def __init__(
    self, model: Feelvos, frame: 'np.ndarray', labels: 'np.ndarray', num_objects: int
  ) -> None:
    """Starts a video.

    Args:
      model: `Feelvos` with k_nearest_neighbors 1, local matching and a map of previous labels.
      frame: uint8 [height, width, 3], RGB.
      labels: int32 [height, width], object index.
      num_objects: int, background included.
    """
    self._model = model
    self._count = tf.constant(num_objects)
    self._size = frame.shape[:2]
    self._extract = tf.function(lambda images: model.extract(images), autograph=False)
    self._finish = tf.function(self._head_and_labels, autograph=False)
    self._reference = self._extract(frame[tf.newaxis])[1][0]
    self._reference_labels = geometry.shrink_labels(tf.constant(labels))
    self._previous, self._previous_labels = self._reference, self._reference_labels

  def step(self, frame: 'np.ndarray') -> tf.Tensor:
    """Object index of every pixel of the next frame, int32 [height, width]."""
    features, embedding = self._extract(frame[tf.newaxis])
    far = original_global_matching(
      embedding[0], self._reference, self._reference_labels, self._count
    )
    near = original_local_matching(
      embedding[0],
      self._previous,
      self._previous_labels,
      self._count,
      self._model.options.window_radius,
    )
    labels, small = self._finish(features, far, self._previous_labels, near)
    self._previous, self._previous_labels = embedding[0], small
    return labels

  def _head_and_labels(
    self, features: tf.Tensor, far: tf.Tensor, previous_labels: tf.Tensor, near: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    soft = feelvos.one_hot(previous_labels, self._count)
    maps = tf.stack([far, soft, near], axis=-1)
    logits = original_head(self._model.head, features, maps)
    large = geometry.enlarge_logits(logits, self._size)
    labels = tf.argmax(large, axis=0, output_type=tf.int32)
    return labels, geometry.shrink_labels(labels, tf.shape(logits)[1:])


def original_head(head: SegmentationHead, features: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
  """The head with nothing shared between objects.

  Args:
    head: `SegmentationHead`.
    features: float32 [1, h4, w4, channels].
    maps: float32 [objects, h4, w4, object channels].

  Returns:
    float32 [objects, h4, w4], logits.
  """
  copies = tf.tile(features, tf.stack([tf.shape(maps)[0], 1, 1, 1]))
  net = tf.concat([copies, maps], axis=-1)
  for depthwise, pointwise in zip(head.depthwise, head.pointwise):
    net = pointwise(depthwise(net))
  return head.logit(net)[..., 0]

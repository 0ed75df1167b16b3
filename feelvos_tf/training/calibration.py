"""What is set from data when a training starts: batch norm statistics, the embedding layer.

The original freezes batch norm also in ASPP and decoder, which start from initial values: mean 0,
variance 1, so they normalise nothing. A few forward passes give them statistics of the data;
short trainings start better.
"""

from collections.abc import Iterable, Iterator, Sequence
import contextlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
import tensorflow as tf

from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.model.feelvos import Feelvos

if TYPE_CHECKING:
  import keras


def layers_with_statistics(model: 'keras.Model', scopes: Sequence[str]) -> 'list[keras.Layer]':
  """Layers with batch norm whose original names start with one of the scopes.

  Args:
    model: `Feelvos` or DeepLab model.
    scopes: sequence of str, for example ('aspp', 'decoder').
  """
  return [
    layer
    for layer in tf1_checkpoint.leaf_layers(model)
    if getattr(layer, 'use_batch_norm', False) and layer.name.startswith(tuple(scopes))
  ]


def calibrate(
  model: 'keras.Model',
  images: Iterable[np.ndarray | tf.Tensor],
  scopes: Sequence[str] = ('image_pooling', 'aspp', 'concat_projection', 'decoder'),
  decay: float = 0.9,
) -> int:
  """Sets the moving statistics of some layers to those of the data; weights do not change.

  Args:
    model: `Feelvos`.
    images: iterable of uint8 or float [batch, height, width, 3], RGB 0..255; 30 batches or more.
    scopes: see `layers_with_statistics`.
    decay: float, decay of the moving statistics meanwhile.

  Returns:
    Number of layers calibrated.
  """
  layers = layers_with_statistics(model, scopes)
  with _fine_tuning(layers, decay):
    # A function of its own: tracing it reads the layers' switches.
    forward = tf.function(lambda batch: model.deeplab(batch, training=True))
    for batch in images:
      forward(tf.cast(batch, tf.float32))
  return len(layers)


@contextlib.contextmanager
def _fine_tuning(layers: 'Sequence[keras.Layer]', decay: float) -> Iterator[None]:
  before = [(layer.fine_tune_batch_norm, layer.decay) for layer in layers]
  try:
    for layer in layers:
      layer.fine_tune_batch_norm, layer.decay = True, decay
    yield
  finally:
    for layer, (fine_tune, old_decay) in zip(layers, before):
      layer.fine_tune_batch_norm, layer.decay = fine_tune, old_decay


def spread_matching(
  model: Feelvos,
  images: Iterable[np.ndarray | tf.Tensor],
  seed: int = 0,
  mean_squared_distance: float = 4.0,
) -> None:
  """Gives embedding layer and head initial values with which matching says something.

  Embedding: the original's initial values pass one of 256 features on and noise of the others;
  with ReLU and a short training most channels then stay 0 for ever. Here the depthwise kernel is
  the identity in all channels, and each embedding channel is a random projection of the features,
  moved by its mean over the data so that the ReLU cuts half of it, and scaled so that two pixels
  of an image are as far apart as given, where the distance function is steep.

  Head: it reads each map with one 7x7 kernel, followed by a ReLU. The original draws 49 random
  numbers for it; in half of the cases their sum is negative, and then a map of distances (mostly
  near 1) gives 0 everywhere and the head cannot see it, nor learn to. Here it is the identity.

  Args:
    model: `Feelvos`; the embedding layer and the first layer's kernels of the maps are changed.
    images: iterable of uint8 or float [batch, height, width, 3], RGB 0..255; a few batches.
    seed: int.
    mean_squared_distance: float, mean of ||e_p - e_q||^2 over pixels p, q of an image.
  """
  _spread_embedding(model, images, seed, mean_squared_distance)
  first, head = model.head.depthwise[0], model.head
  kernel, bias = np.array(first.kernel), np.array(first.bias)
  kernel[:, :, head.feature_channels :] = _identity(first.kernel.shape)[
    :, :, head.feature_channels :
  ]
  bias[head.feature_channels :] = 0.0
  first.kernel.assign(kernel)
  first.bias.assign(bias)


def _spread_embedding(
  model: Feelvos, images: Iterable[np.ndarray | tf.Tensor], seed: int, mean_squared_distance: float
) -> None:
  depthwise, pointwise = model.embedding_layer.layers[-2:]
  depthwise.kernel.assign(_identity(depthwise.kernel.shape))
  depthwise.bias.assign(np.zeros(depthwise.bias.shape))
  forward = tf.function(lambda batch: model.deeplab(batch)['features'])
  projection = np.random.default_rng(seed).normal(size=pointwise.kernel.shape[2:])
  projected = []  # [pixels, embedding] of every image; whole frames differ in size.
  for batch in images:
    features = np.asarray(tf.cast(forward(tf.cast(batch, tf.float32)), tf.float32))
    features = np.maximum(features.reshape(len(features), -1, features.shape[-1]), 0.0)
    projected += list(features @ projection)
  offset = -np.concatenate(projected).mean(axis=0)
  # The mean squared distance of two pixels is twice the variance.
  spread = 2.0 * np.mean([np.maximum(image + offset, 0.0).var(axis=0).sum() for image in projected])
  scale = np.sqrt(mean_squared_distance / max(spread, 1e-12))
  pointwise.kernel.assign((scale * projection)[np.newaxis, np.newaxis])
  pointwise.bias.assign(scale * offset)


def _identity(shape: Sequence[int]) -> NDArray[np.float32]:
  """Depthwise kernel [height, width, channels, 1] that changes nothing."""
  kernel = np.zeros(shape, np.float32)
  kernel[shape[0] // 2, shape[1] // 2] = 1.0
  return kernel

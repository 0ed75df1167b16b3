"""Batch norm statistics for layers that start from scratch while statistics stay frozen.

The original freezes batch norm also in ASPP and decoder, which start from initial values: mean 0,
variance 1, so they normalise nothing. A few forward passes give them statistics of the data;
short trainings start better.
"""

import contextlib

import tensorflow as tf

from deeplab import tf1_checkpoint


def layers_with_statistics(model, scopes):
  """Layers with batch norm whose original names start with one of the scopes.

  Args:
    model: `Feelvos` or DeepLab model.
    scopes: sequence of str, for example ('aspp', 'decoder').
  """
  return [layer for layer in tf1_checkpoint.leaf_layers(model)
          if getattr(layer, 'use_batch_norm', False) and layer.name.startswith(tuple(scopes))]


def calibrate(model, images, scopes=('image_pooling', 'aspp', 'concat_projection', 'decoder'),
              decay=0.9):
  """Sets the moving statistics of some layers to those of the data; weights do not change.

  Args:
    model: `Feelvos`.
    images: iterable of [batch, height, width, 3], 0..255; 30 batches or more.
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
def _fine_tuning(layers, decay):
  before = [(layer.fine_tune_batch_norm, layer.decay) for layer in layers]
  try:
    for layer in layers:
      layer.fine_tune_batch_norm, layer.decay = True, decay
    yield
  finally:
    for layer, (fine_tune, old_decay) in zip(layers, before):
      layer.fine_tune_batch_norm, layer.decay = fine_tune, old_decay

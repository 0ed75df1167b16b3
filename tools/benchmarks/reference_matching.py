"""The matching algorithms of the original, written simply, to measure ours against.

What research/feelvos/utils/embedding_utils.py computes, in TensorFlow 2, without its CUDA
operation: global matching adds a mask of [objects, reference pixels] to every chunk of squared
distances; local matching keeps tensors of [h4, w4, window, objects]. For benchmarks and tests
only: nothing in feelvos_tf uses it, and on a 480x854 frame with three objects the local one needs
about 2 GB.
"""

import tensorflow as tf

# Number of chunks in the original's inference without its CUDA operation.
INFERENCE_CHUNKS = 500
WRONG_OBJECT = 1e20


def _normalized(squared: tf.Tensor) -> tf.Tensor:
  return 2.0 * (tf.sigmoid(squared) - 0.5)


@tf.function(reduce_retracing=True)
def original_global_matching(
  query: tf.Tensor,
  reference: tf.Tensor,
  labels: tf.Tensor,
  num_objects: int | tf.Tensor,
  chunks: int = INFERENCE_CHUNKS,
) -> tf.Tensor:
  """Global matching (k = 1) with the original's algorithm.

  Args:
    query, reference: float32 [h4, w4, channels], embeddings.
    labels: int32 [h4, w4], object index of every reference pixel.
    num_objects: int32 scalar.
    chunks: int, number of pieces that the query pixels are cut into, one after the other.

  Returns:
    float32 [num_objects, h4, w4] in [0, 1].
  """
  shape = tf.shape(query)
  pixels = tf.reshape(query, [-1, shape[-1]])
  others = tf.reshape(reference, [-1, shape[-1]])
  size = (tf.shape(pixels)[0] + chunks - 1) // chunks
  steps = (tf.shape(pixels)[0] + size - 1) // size
  wrong = tf.not_equal(tf.reshape(labels, [1, -1]), tf.range(num_objects)[:, tf.newaxis])

  def body(step: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
    part = pixels[step * size : (step + 1) * size]
    squared = (
      tf.reduce_sum(part * part, axis=1)[:, tf.newaxis]
      + tf.reduce_sum(others * others, axis=1)[tf.newaxis]
      - 2.0 * tf.matmul(part, others, transpose_b=True)
    )
    squared = squared[:, tf.newaxis] + tf.cast(wrong, tf.float32)[tf.newaxis] * WRONG_OBJECT
    return step + 1, found.write(step, tf.reduce_min(squared, axis=2))

  found = tf.TensorArray(tf.float32, size=steps, infer_shape=False, element_shape=[None, None])
  _, found = tf.while_loop(lambda step, _: step < steps, body, (0, found), parallel_iterations=1)
  maps = _normalized(tf.transpose(found.concat()))
  return tf.reshape(maps, tf.stack([num_objects, shape[0], shape[1]]))


@tf.function(reduce_retracing=True)
def original_local_matching(
  query: tf.Tensor,
  previous: tf.Tensor,
  labels: tf.Tensor,
  num_objects: int | tf.Tensor,
  window_radius: int = 15,
) -> tf.Tensor:
  """Local matching with the original's algorithm (its path without the CUDA operation).

  Args:
    query, previous: float32 [h4, w4, channels], embeddings.
    labels: int32 [h4, w4], object index of every previous pixel.
    num_objects: int32 scalar.
    window_radius: int; 15 means 31 x 31.

  Returns:
    float32 [num_objects, h4, w4] in [0, 1].
  """
  height, width = tf.shape(query)[0], tf.shape(query)[1]
  margin = [[window_radius, window_radius]] * 2 + [[0, 0]]
  padded = tf.pad(previous, margin, constant_values=WRONG_OBJECT)
  own = tf.pad(tf.equal(labels[..., tf.newaxis], tf.range(num_objects)), margin)
  squared, masks = [], []
  for y in range(2 * window_radius + 1):
    for x in range(2 * window_radius + 1):
      shifted = padded[y : y + height, x : x + width]
      squared.append(tf.reduce_sum(tf.math.squared_difference(query, shifted), axis=2))
      masks.append(own[y : y + height, x : x + width])
  distance = _normalized(tf.stack(squared, axis=2))[..., tf.newaxis]
  masks = tf.stack(masks, axis=2)
  tiled = tf.tile(distance, tf.stack([1, 1, 1, num_objects]))
  nearest = tf.reduce_min(tf.where(masks, tiled, tf.ones_like(tiled)), axis=2)
  return tf.transpose(nearest, [2, 0, 1])

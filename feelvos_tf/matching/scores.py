"""The algebra shared by global and local matching: from embeddings to GEMM operands and back.

A squared distance is written as a score that one matrix product yields:

  ||q - r||^2 = ||q||^2 - 2 s   with   s = q . r - ||r||^2 / 2,

so the nearest pixel is the one of the highest score, the norm of r is one more channel (the query
has a 1 there), and the norm of q is added once per query pixel, after the reduction. Distances do
not change when both sides are moved by the same vector, so both are centred on the mean of the
reference: the embeddings are >= 0 (they come out of a ReLU), and without their common part the
cancellation in the formula above is much smaller.

In bfloat16 the product is accumulated in float32 but TensorFlow hands it out rounded to 8 bits.
There, both norms go into the product, each as three bfloat16 channels (24 bits), so that what is
rounded is -d^2 / 2 itself: a relative error of 2^-9 of the squared distance, at most 1e-3 of d.
"""

from collections.abc import Sequence

import tensorflow as tf

# Score of what may never be chosen. Finite, so that 0 * score is 0; far below any real score.
NO_MATCH_SCORE = -1e30
# Distance to what is not there: the value of an object without pixels to match.
NO_DISTANCE = 1.0


def distance_from_squared(squared_distance: tf.Tensor) -> tf.Tensor:
  """Maps a squared embedding distance to a distance in [0, 1] (paper, equation 1).

  Args:
    squared_distance: float tensor of any shape, >= 0 (computed in float32).

  Returns:
    float32 tensor of the same shape, 1 - 2 / (1 + exp(squared_distance)): 0 for equal
    embeddings, exactly 1 in float32 from about 17 on.
  """
  return 2.0 * (tf.sigmoid(tf.cast(squared_distance, tf.float32)) - 0.5)


def rescaled(distance: tf.Tensor, factor: float) -> tf.Tensor:
  """Distances of squared embedding distances that are `factor` times as large.

  A distance is tanh(s / 2) of a squared distance s. What is 1 in float32 stays 1.

  Args:
    distance: float32 tensor of any shape, in [0, 1].
    factor: of the squared distances, > 0.

  Returns:
    float32 tensor of the same shape, in [0, 1].
  """
  if factor == 1:
    return distance
  scaled = tf.tanh(factor * tf.atanh(tf.minimum(distance, 1.0 - 2.0**-24)))
  return tf.where(distance < NO_DISTANCE, scaled, NO_DISTANCE)


def distance_to_others(distances: tf.Tensor) -> tf.Tensor:
  """Distance to the nearest pixel of any object but one, for every object.

  Source: background matching of CFBI (Yang et al., ECCV 2020, section 3.1). Object 0, the
  background, is an object like the others.

  Args:
    distances: float tensor [objects, ...] in [0, 1], distance to each object; one or more objects.

  Returns:
    Tensor of the same shape and dtype; [i] is the minimum over all j != i, NO_DISTANCE if there is
    no other object.
  """
  objects = tf.range(tf.shape(distances)[0])
  objects = tf.reshape(objects, tf.concat([[-1], tf.ones([tf.rank(distances) - 1], tf.int32)], 0))
  # The nearest object's nearest other is the second nearest; everybody else's is the nearest.
  is_nearest = tf.argmin(distances, axis=0, output_type=tf.int32)[tf.newaxis] == objects
  nearest = tf.reduce_min(distances, axis=0, keepdims=True)
  absent = tf.cast(NO_DISTANCE, distances.dtype)
  second = tf.reduce_min(tf.where(is_nearest, absent, distances), axis=0, keepdims=True)
  return tf.where(is_nearest, second, nearest)


def mean_of_squares(distances: tf.Tensor, side: int) -> tf.Tensor:
  """Distances averaged over the square around every position.

  Args:
    distances: float tensor [objects, h4, w4] in [0, 1].
    side: int, odd, of the square in positions; at the borders the part of it that is inside counts.

  Returns:
    Tensor of the same shape and dtype.
  """
  if side == 1:
    return distances
  return tf.nn.avg_pool2d(distances[..., tf.newaxis], side, 1, 'SAME')[..., 0]


def check_compute_dtype(compute_dtype: tf.DType | str) -> tf.DType:
  """Returns `compute_dtype` as tf.DType; ValueError unless float32 or bfloat16."""
  dtype = tf.as_dtype(compute_dtype)
  if dtype not in (tf.float32, tf.bfloat16):
    raise ValueError(
      f'compute_dtype is {dtype.name}; matching computes its products in float32 or bfloat16'
    )
  return dtype


def extra_channels(compute_dtype: tf.DType) -> int:
  """Number of channels that `reference_operand` and `query_operand` append: 1 or 6."""
  return 1 if compute_dtype == tf.float32 else 6


def center_of(rows: tf.Tensor) -> tf.Tensor:
  """What to subtract from embeddings before they are compared: their mean.

  Any vector is exact; one near the mean keeps the numbers small. A channel that has the same value
  everywhere gets that value, so that `reference_operand` is exactly 0 there.

  Args:
    rows: float tensor [n, channels], all reference embeddings; zeros stand in for the mean of none.

  Returns:
    float32 [channels], a constant to gradients: distances do not depend on it.
  """
  rows = tf.cast(tf.stop_gradient(rows), tf.float32)
  mean = tf.reduce_sum(rows, axis=0) / tf.cast(tf.maximum(tf.shape(rows)[0], 1), tf.float32)
  least, most = tf.reduce_min(rows, axis=0), tf.reduce_max(rows, axis=0)
  return tf.where(least == most, least, mean)


def used_channels(reference: tf.Tensor, axes: Sequence[int]) -> tf.Tensor:
  """Numbers (int32 [used]) of the channels in which a reference operand is not 0 everywhere.

  The others add 0 * q to every score and may be left out of the product on both sides: not a bound
  but the same sum with fewer zeros. What they add to a distance is in the query's norm. Not for
  training: a gradient also flows into channels that happen to be constant.

  Args:
    reference: float32 or bfloat16 [..., channels], made by `reference_operand`.
    axes: all axes but that of the channels.
  """
  return tf.cast(tf.where(tf.reduce_any(reference != 0, axis=axes))[:, 0], tf.int32)


def without_constant_channels(query: tf.Tensor, reference: tf.Tensor) -> list[tf.Tensor]:
  """Both operands without the channels that `used_channels` finds to be of no use.

  Args:
    query: [..., channels], made by `query_operand`.
    reference: [..., channels], made by `reference_operand`; both float32 or both bfloat16.

  Returns:
    [query, reference], each [..., used channels]; as they are if fewer than a quarter of the
    channels could go: taking channels out costs as much as a quarter of the product.
  """
  channels = tf.shape(reference)[-1]
  used = used_channels(reference, list(range(reference.shape.rank - 1)))
  shapes = [value.shape[:-1] + [None] for value in (query, reference)]
  taken = tf.cond(
    4 * tf.size(used) <= 3 * channels,
    lambda: [_some_channels(value, used) for value in (query, reference)],
    lambda: [query, reference],
  )
  return [tf.ensure_shape(value, shape) for value, shape in zip(taken, shapes)]


def _some_channels(value: tf.Tensor, used: tf.Tensor) -> tf.Tensor:
  """`tf.gather(value, used, axis=-1)`, which copies number by number, in half the time or less."""
  channels = tf.shape(value)[-1]
  rows = tf.reshape(value, tf.stack([-1, channels]))
  if value.dtype == tf.bfloat16:  # Exact: each sum has one term that is not 0.
    taken = tf.matmul(rows, tf.one_hot(used, channels, axis=0, dtype=rows.dtype))
  else:  # A product may round float32 to TF32.
    taken = tf.transpose(tf.gather(tf.transpose(rows), used))
  return tf.reshape(taken, tf.concat([tf.shape(value)[:-1], tf.shape(used)], axis=0))


def _half_norm(vectors: tf.Tensor) -> tf.Tensor:
  return -0.5 * tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)


def _split_bfloat16(values: tf.Tensor) -> list[tf.Tensor]:
  """Three bfloat16 tensors whose sum is `values` to 24 bits."""
  parts = []
  rest = values
  for _ in range(3):
    part = tf.cast(rest, tf.bfloat16)
    parts.append(part)
    rest -= tf.cast(part, tf.float32)
  return parts


def reference_operand(
  embeddings: tf.Tensor, center: tf.Tensor, valid: tf.Tensor | None, compute_dtype: tf.DType
) -> tf.Tensor:
  """The reference side of the product.

  Args:
    embeddings: float tensor [..., channels].
    center: float32 [channels], subtracted from every embedding.
    valid: bool [...] or None; pixels that are not valid get NO_MATCH_SCORE and zero embeddings.
    compute_dtype: tf.float32 or tf.bfloat16.

  Returns:
    compute_dtype tensor [..., channels + extra_channels(compute_dtype)].
  """
  vectors = tf.cast(embeddings, tf.float32) - center
  if valid is None:
    valid = True
  else:
    valid = valid[..., tf.newaxis]
    vectors = tf.where(valid, vectors, 0.0)
  if compute_dtype == tf.float32:
    return tf.concat([vectors, tf.where(valid, _half_norm(vectors), NO_MATCH_SCORE)], axis=-1)
  rounded = tf.cast(vectors, tf.bfloat16)
  norm = tf.where(valid, _half_norm(tf.cast(rounded, tf.float32)), NO_MATCH_SCORE)
  ones = tf.ones_like(norm, tf.bfloat16)
  return tf.concat([rounded, *_split_bfloat16(norm), ones, ones, ones], axis=-1)


def query_operand(
  embeddings: tf.Tensor, center: tf.Tensor, compute_dtype: tf.DType
) -> tuple[tf.Tensor, tf.Tensor]:
  """The query side of the product.

  Args:
    embeddings: float tensor [..., channels].
    center: float32 [channels], subtracted from every embedding.
    compute_dtype: tf.float32 or tf.bfloat16.

  Returns:
    (operand, compute_dtype [..., channels + extra_channels(compute_dtype)]; norm float32 [...]):
    the squared distance of a query pixel is `norm - 2 * score`.
  """
  vectors = tf.cast(embeddings, tf.float32) - center
  if compute_dtype == tf.float32:
    half = _half_norm(vectors)
    return tf.concat([vectors, tf.ones_like(half)], axis=-1), -2.0 * half[..., 0]
  rounded = tf.cast(vectors, tf.bfloat16)
  half = _half_norm(tf.cast(rounded, tf.float32))
  ones = tf.ones_like(half, tf.bfloat16)
  operand = tf.concat([rounded, ones, ones, ones, *_split_bfloat16(half)], axis=-1)
  return operand, tf.zeros_like(half[..., 0])


def squared_from_score(score: tf.Tensor, query_norm: tf.Tensor) -> tf.Tensor:
  """Squared distance of query pixels whose score is known.

  Args:
    score: float tensor of any shape.
    query_norm: float32 of a shape that broadcasts to it, see `query_operand`.

  Returns:
    float32 of the shape of `score`, at least 0; about 2e30 where the score is NO_MATCH_SCORE.
  """
  return tf.maximum(query_norm - 2.0 * tf.cast(score, tf.float32), 0.0)


def score_gradients(
  upstream: tf.Tensor,
  chosen: tf.Tensor,
  query_rows: tf.Tensor,
  reference_rows: tf.Tensor,
  chunk: int,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Gradients of chosen scores with respect to both operands.

  The score of query i with its chosen reference j is their dot product, so its gradient is row j
  for the query and row i for the reference.

  Args:
    upstream: float32 [objects, n, k], gradient of the loss by the score.
    chosen: int32 [objects, n, k], row of `reference_rows` that the score came from.
    query_rows: [n, channels]. reference_rows: [m, channels]. Any float type.
    chunk: int, queries worked on at a time.

  Returns:
    ([n, channels], [m, channels]) in the types of the rows, summed in float32.
  """
  references = tf.shape(reference_rows)[0]
  steps = (tf.shape(query_rows)[0] + chunk - 1) // chunk
  width = query_rows.shape[-1]

  def body(
    step: tf.Tensor, parts: tf.TensorArray, total: tf.Tensor
  ) -> tuple[tf.Tensor, tf.TensorArray, tf.Tensor]:
    span = slice(step * chunk, (step + 1) * chunk)
    weight, index = upstream[:, span, :, tf.newaxis], chosen[:, span]
    queries = tf.cast(query_rows[span], tf.float32)[tf.newaxis, :, tf.newaxis, :]
    picked = tf.cast(tf.gather(reference_rows, index), tf.float32)
    total += tf.math.unsorted_segment_sum(weight * queries, index, references)
    return step + 1, parts.write(step, tf.reduce_sum(weight * picked, axis=[0, 2])), total

  parts = tf.TensorArray(tf.float32, size=steps, infer_shape=False, element_shape=[None, width])
  _, parts, total = tf.while_loop(
    lambda step, *_: step < steps,
    body,
    (0, parts, tf.zeros(tf.shape(reference_rows), tf.float32)),
    parallel_iterations=1,
    shape_invariants=(tf.TensorShape([]), tf.TensorShape(None), reference_rows.shape),
  )
  return tf.cast(parts.concat(), query_rows.dtype), tf.cast(total, reference_rows.dtype)

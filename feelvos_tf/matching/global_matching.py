"""Global matching: distance of every pixel to the nearest reference pixel of each object.

Paper: arXiv 1902.09513, section 3.3. Original: `nearest_neighbor_features_per_object` in
research/feelvos/utils/embedding_utils.py.

`reference_bank.prepare_reference` does once what does not depend on the current frame.
`global_matching` multiplies a chunk of query pixels by a slab of reference pixels, as large as
`chunk_bytes` allows, and reduces the product to one maximum per block.
"""

from collections.abc import Callable, Sequence
import math

import tensorflow as tf

from feelvos_tf.matching.reference_bank import BLOCK
from feelvos_tf.matching.reference_bank import ReferenceBank
from feelvos_tf.matching.scores import distance_from_squared
from feelvos_tf.matching.scores import NO_MATCH_SCORE
from feelvos_tf.matching.scores import query_operand
from feelvos_tf.matching.scores import score_gradients
from feelvos_tf.matching.scores import squared_from_score
from feelvos_tf.matching.scores import without_constant_channels

DEFAULT_CHUNK_BYTES = 16 * 2**20
# Queries of one product. Fewer make a matrix product slow, more gain nothing.
MIN_QUERIES, MAX_QUERIES = 128, 2048
# oneDNN multiplies bfloat16 faster if the number of channels is a multiple of it.
_BFLOAT16_CHANNELS = 16


def global_matching(
  query: tf.Tensor,
  bank: ReferenceBank,
  num_objects: int | tf.Tensor,
  *,
  k: int = 1,
  chunk_bytes: int = DEFAULT_CHUNK_BYTES,
  absent_distance_of_original: bool = False,
  skip_constant_channels: bool = False,
) -> tf.Tensor:
  """Distance of every query pixel to its nearest reference pixel(s) of each object.

  Exact; differentiable with respect to `query` and to the embeddings the bank was made of, with
  memory bounded by `chunk_bytes` in both directions: the backward pass finds the nearest pixels
  again instead of keeping the products.

  Args:
    query: float32 or bfloat16 [h4, w4, channels], embeddings of the current frame.
    bank: ReferenceBank; its compute_dtype is that of the products.
    num_objects: int or int32 scalar tensor, as given to `prepare_reference`.
    k: int >= 1, number of nearest neighbours whose squared distances are averaged. With fewer
      pixels than k, the farthest real one stands in for the missing ones.
    chunk_bytes: int, size of one product of query pixels and reference pixels (MIN_QUERIES x
      BLOCK is the least); a few of them are alive at a time. The default is the fastest measured.
    absent_distance_of_original: the original yields 0 for an object without reference pixels
      when k > 1 (a defect); True reproduces that.
    skip_constant_channels: leave channels that have one value in all reference pixels out of the
      products, see `without_constant_channels`: the same distances, but no gradients with
      respect to those channels of the reference.

  Returns:
    float32 [num_objects, h4, w4] in [0, 1]; 1 for an object without reference pixels.

  Raises:
    ValueError: k < 1, chunk_bytes < 1, or another number of channels than the reference has.
  """
  if k < 1:
    raise ValueError(f'k is {k}; give the number of nearest neighbours to average, at least 1')
  if chunk_bytes < 1:
    raise ValueError(f'chunk_bytes is {chunk_bytes}; give a positive number of bytes')
  query = tf.convert_to_tensor(query)
  if not query.shape[-1:].is_compatible_with(bank.center.shape):
    raise ValueError(
      f'query has {query.shape[-1]} channels and the reference '
      f'{bank.center.shape[0]}; both must come from the same embedding'
    )
  shape = tf.shape(query)
  operand, norm = query_operand(tf.reshape(query, [-1, shape[-1]]), bank.center, bank.rows.dtype)
  rows = bank.rows
  if skip_constant_channels:
    operand, rows = without_constant_channels(operand, rows)
  num_objects = tf.cast(num_objects, tf.int32)
  scores = _best_scores(operand, rows, bank.block_object, num_objects, k, chunk_bytes)
  squared = squared_from_score(scores, norm[tf.newaxis, :, tf.newaxis])
  if k > 1:
    valid = scores > 0.5 * NO_MATCH_SCORE
    farthest = tf.reduce_max(tf.where(valid, squared, 0.0), axis=-1, keepdims=True)
    absent = 0.0 if absent_distance_of_original else -2.0 * NO_MATCH_SCORE
    farthest = tf.where(tf.reduce_any(valid, axis=-1, keepdims=True), farthest, absent)
    squared = tf.where(valid, squared, farthest)
  distance = distance_from_squared(tf.reduce_mean(squared, axis=-1))
  distance = tf.reshape(distance, tf.stack([num_objects, shape[0], shape[1]]))
  return tf.ensure_shape(distance, [None, query.shape[0], query.shape[1]])


def _best_scores(
  operand: tf.Tensor,
  rows: tf.Tensor,
  block_object: tf.Tensor,
  num_objects: int | tf.Tensor,
  k: int,
  chunk_bytes: int,
) -> tf.Tensor:
  """The k highest scores of every query with every object: float32 [objects, n, k]."""

  @tf.custom_gradient
  def compute(
    operand: tf.Tensor, rows: tf.Tensor
  ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      _, chosen = in_chunks(_best_of_objects, (tf.float32, tf.int32))
      chunk, _ = _product_size(rows, chunk_bytes)
      return score_gradients(upstream, chosen, operand, rows, chunk)

    def in_chunks(function: Callable, types: Sequence[tf.DType]) -> list[tf.Tensor]:
      return _in_chunks(function, operand, rows, block_object, num_objects, k, chunk_bytes, types)

    if k == 1:
      return in_chunks(_best_of_objects_k1, (tf.float32,))[0], gradient
    return in_chunks(_best_of_objects, (tf.float32, tf.int32))[0], gradient

  return compute(operand, rows)


def _product_size(rows: tf.Tensor, chunk_bytes: int) -> tuple[int | tf.Tensor, int | tf.Tensor]:
  """How many queries and reference blocks make one product of at most `chunk_bytes`.

  About as many of the one as of the other; in bfloat16 all reference pixels, if they leave room
  for MIN_QUERIES. matching.py has the figures.
  """
  references, values = tf.shape(rows)[0], chunk_bytes // rows.dtype.size
  queries = min(max(math.isqrt(values) // 16 * 16, MIN_QUERIES), MAX_QUERIES)
  if rows.dtype == tf.bfloat16:
    beside_all = tf.minimum(values // references // 16 * 16, MAX_QUERIES)
    queries = tf.where(beside_all >= MIN_QUERIES, beside_all, queries)
  most = tf.maximum(values // (queries * BLOCK), 1)
  total = references // BLOCK
  # Slabs of about the same size.
  slabs = (total + most - 1) // most
  return queries, (total + slabs - 1) // slabs


def _in_chunks(
  function: Callable,
  operand: tf.Tensor,
  rows: tf.Tensor,
  block_object: tf.Tensor,
  num_objects: int | tf.Tensor,
  k: int,
  chunk_bytes: int,
  types: Sequence[tf.DType],
) -> list[tf.Tensor]:
  """Applies `function` to chunks of the queries: list of [objects, n, k], one for each type."""
  chunk, blocks = _product_size(rows, chunk_bytes)
  steps = (tf.shape(operand)[0] + chunk - 1) // chunk
  if operand.dtype == tf.bfloat16:
    operand, rows = _whole_channels(operand), _whole_channels(rows)

  def body(step: tf.Tensor, *arrays: tf.TensorArray) -> tuple:
    results = function(
      operand[step * chunk : (step + 1) * chunk], rows, block_object, num_objects, k, blocks
    )
    return step + 1, *(
      array.write(step, tf.transpose(result, [1, 0, 2])) for array, result in zip(arrays, results)
    )

  arrays = [
    tf.TensorArray(dtype, size=steps, infer_shape=False, element_shape=[None, None, k])
    for dtype in types
  ]
  _, *arrays = tf.while_loop(
    lambda step, *_: step < steps, body, (0, *arrays), parallel_iterations=1
  )
  return [tf.transpose(array.concat(), [1, 0, 2]) for array in arrays]


def _whole_channels(operand: tf.Tensor) -> tf.Tensor:
  """Channels of 0 added up to a multiple of _BFLOAT16_CHANNELS; scores stay as they are."""
  return tf.pad(operand, [[0, 0], [0, -tf.shape(operand)[1] % _BFLOAT16_CHANNELS]])


def _best_of_objects_k1(
  part: tf.Tensor,
  rows: tf.Tensor,
  block_object: tf.Tensor,
  num_objects: int | tf.Tensor,
  k: int,
  blocks: int | tf.Tensor,
) -> tuple[tf.Tensor]:
  """Highest score of every query with every object: (float32 [objects, n, 1],)."""
  del k
  maxima = _block_maxima(part, rows, blocks)
  best = tf.cast(tf.math.unsorted_segment_max(maxima, block_object, num_objects), tf.float32)
  return (tf.maximum(best, NO_MATCH_SCORE)[..., tf.newaxis],)


def _block_maxima(part: tf.Tensor, rows: tf.Tensor, blocks: int | tf.Tensor) -> tf.Tensor:
  """Maximum score of every query with every block: [all blocks, n]; `blocks` in a product."""
  slab, total = blocks * BLOCK, tf.shape(rows)[0] // BLOCK
  slabs = (total + blocks - 1) // blocks
  maxima_of = _slab_maxima_float32 if part.dtype == tf.float32 else _slab_maxima_bfloat16

  def body(index: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
    some = rows[index * slab : (index + 1) * slab]
    return index + 1, found.write(index, maxima_of(part, some, blocks))

  found = tf.TensorArray(part.dtype, size=slabs, infer_shape=False, element_shape=[None, None])
  _, found = tf.while_loop(lambda index, _: index < slabs, body, (0, found), parallel_iterations=1)
  if part.dtype == tf.bfloat16:
    return found.concat()
  # One transposition of all, or oneDNN takes longer for them than for their reduction.
  maxima = tf.transpose(found.stack(), [0, 2, 1])
  return tf.reshape(maxima, tf.stack([slabs * blocks, -1]))[:total]


def _slab_maxima_float32(part: tf.Tensor, some: tf.Tensor, blocks: int | tf.Tensor) -> tf.Tensor:
  """Maximum score of every query with every block of a slab: [n, blocks]; the last slab of a
  reference, which may have fewer blocks, is filled up with zeros."""
  product = tf.matmul(part, some, transpose_b=True)
  product = tf.reshape(product, tf.stack([tf.shape(part)[0], -1, BLOCK]))
  maxima = tf.reduce_max(product, axis=2)
  return tf.pad(maxima, [[0, 0], [0, blocks - tf.shape(maxima)[1]]])


def _slab_maxima_bfloat16(part: tf.Tensor, some: tf.Tensor, _: int | tf.Tensor) -> tf.Tensor:
  """The same as [blocks of the slab, n].

  reduce_max has no vector code for bfloat16; pooling has, along the first axis.
  """
  product = tf.matmul(some, part, transpose_b=True)
  product = tf.reshape(product, tf.stack([-1, BLOCK, 1, tf.shape(part)[0]]))
  return tf.nn.max_pool2d(product, [BLOCK, 1], [BLOCK, 1], 'VALID')[:, 0, 0]


def _best_of_objects(
  part: tf.Tensor,
  rows: tf.Tensor,
  block_object: tf.Tensor,
  num_objects: int | tf.Tensor,
  k: int,
  blocks: int | tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
  """k best scores and the rows they come from: float32 and int32 [objects, n, k]."""
  slab = blocks * BLOCK
  slabs = (tf.shape(rows)[0] + slab - 1) // slab
  per_block = min(k, BLOCK)

  def of_slab(index: tf.Tensor, values: tf.TensorArray, places: tf.TensorArray) -> tuple:
    some = rows[index * slab : (index + 1) * slab]
    product = tf.cast(tf.matmul(part, some, transpose_b=True), tf.float32)
    product = tf.reshape(product, tf.stack([tf.shape(part)[0], -1, BLOCK]))
    if k == 1:
      place = tf.argmax(product, axis=2, output_type=tf.int32)[..., tf.newaxis]
      value = tf.reduce_max(product, axis=2, keepdims=True)
    else:
      value, place = tf.nn.top_k(product, per_block)
    place += index * slab + BLOCK * tf.range(tf.shape(product)[1])[:, tf.newaxis]
    return index + 1, *(
      array.write(index, tf.transpose(result, [1, 0, 2]))
      for array, result in ((values, value), (places, place))
    )

  arrays = [
    tf.TensorArray(dtype, size=slabs, infer_shape=False, element_shape=[None, None, per_block])
    for dtype in (tf.float32, tf.int32)
  ]
  _, *arrays = tf.while_loop(
    lambda index, *_: index < slabs, of_slab, (0, *arrays), parallel_iterations=1
  )
  # From [all blocks, n, per block] to [n, all of them].
  flat = tf.stack([tf.shape(part)[0], tf.shape(block_object)[0] * per_block])
  values, places = (tf.reshape(tf.transpose(array.concat(), [1, 0, 2]), flat) for array in arrays)
  # Fewer than k candidates in all: fill up so that top_k has something to choose from.
  values = tf.pad(values, [[0, 0], [0, k]], constant_values=NO_MATCH_SCORE)
  places = tf.pad(places, [[0, 0], [0, k]])
  owner = tf.pad(tf.repeat(block_object, per_block), [[0, k]], constant_values=-1)

  def of_object(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    own = tf.where(owner == index, values, NO_MATCH_SCORE)
    best, where = tf.nn.top_k(own, k)
    return best, tf.gather(places, where, batch_dims=1)

  signature = (tf.TensorSpec([None, k], tf.float32), tf.TensorSpec([None, k], tf.int32))
  return tf.map_fn(
    of_object, tf.range(num_objects), parallel_iterations=1, fn_output_signature=signature
  )

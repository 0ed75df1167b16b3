"""Global matching: distance of every pixel to the nearest reference pixel of each object.

Paper: arXiv 1902.09513, section 3.3. Original: `nearest_neighbor_features_per_object` in
research/feelvos/utils/embedding_utils.py.

`prepare_reference` does once per reference what does not depend on the current frame: it sorts
the pixels by object, pads every object to whole blocks of BLOCK pixels and lays them out as
operands of a matrix product. `global_matching` then multiplies a chunk of query pixels by a slab
of them, as large as `chunk_bytes` allows, and reduces the product to one maximum per block.
"""

from collections.abc import Callable, Sequence
import math
from typing import NamedTuple

import tensorflow as tf

from feelvos_tf.matching import reference_choice
from feelvos_tf.matching.scores import center_of
from feelvos_tf.matching.scores import check_compute_dtype
from feelvos_tf.matching.scores import distance_from_squared
from feelvos_tf.matching.scores import extra_channels
from feelvos_tf.matching.scores import NO_MATCH_SCORE
from feelvos_tf.matching.scores import query_operand
from feelvos_tf.matching.scores import reference_operand
from feelvos_tf.matching.scores import score_gradients
from feelvos_tf.matching.scores import squared_from_score
from feelvos_tf.matching.scores import without_constant_channels

BLOCK = 128
DEFAULT_CHUNK_BYTES = 16 * 2**20
# Queries of one product. Fewer make a matrix product slow, more gain nothing.
MIN_QUERIES, MAX_QUERIES = 128, 2048
# oneDNN multiplies bfloat16 faster if the number of channels is a multiple of it.
_BFLOAT16_CHANNELS = 16


class ReferenceBank(NamedTuple):
  """A reference frame, laid out for `global_matching`. Build it with `prepare_reference`.

  A tuple of tensors: it can be an argument of a tf.function, a loop variable or a SavedModel
  input. Its layout may change between versions: store embeddings and labels, not banks.

  Attributes:
    rows: [blocks * BLOCK, channels + extra] float32 or bfloat16, reference pixels.
    block_object: int32 [blocks], object index of a block, -1 for a padding block.
    center: float32 [channels], what was subtracted from the embeddings.
  """

  rows: tf.Tensor
  block_object: tf.Tensor
  center: tf.Tensor


def prepare_reference(
  embeddings: tf.Tensor,
  labels: tf.Tensor,
  num_objects: int | tf.Tensor,
  *,
  max_pixels_per_object: int | tf.Tensor | None = None,
  seed: int | tf.Tensor | None = None,
  weights: tf.Tensor | None = None,
  compute_dtype: tf.DType = tf.float32,
) -> ReferenceBank:
  """Lays out reference embeddings for `global_matching`; once per reference frame.

  Differentiable with respect to `embeddings`.

  Args:
    embeddings: float32 or bfloat16 [..., channels], for example [h4, w4, channels].
    labels: int [...], object index of every pixel. Pixels whose label is not in
      0..num_objects-1 (255 for padding) take no part.
    num_objects: int or int32 scalar tensor, >= 1.
    max_pixels_per_object: int, scalar tensor or None. At most this many pixels of an object are
      kept (training in the paper: 1,024). None keeps all.
    seed: chooses which pixels are kept: None for evenly spaced ones in raster order, which is
      deterministic; an int or an int [2] tensor for a random choice with that stateless seed.
    weights: float32 [...] or None. How often a pixel is kept relative to others of its object
      (see `reference_choice`), where not all are and there is no seed.
    compute_dtype: tf.float32 or tf.bfloat16, operand type of the matrix product.

  Returns:
    ReferenceBank.

  Raises:
    ValueError: `max_pixels_per_object` < 1, a compute_dtype that is not supported, or labels
      whose static shape does not fit the embeddings.
  """
  compute_dtype = check_compute_dtype(compute_dtype)
  if isinstance(max_pixels_per_object, int) and max_pixels_per_object < 1:
    raise ValueError(
      f'max_pixels_per_object is {max_pixels_per_object}; give at least 1, or None '
      'to keep every pixel'
    )
  embeddings = tf.convert_to_tensor(embeddings)
  labels = tf.cast(tf.convert_to_tensor(labels), tf.int32)
  if not embeddings.shape[:-1].is_compatible_with(labels.shape):
    raise ValueError(
      f'labels have shape {labels.shape} and embeddings {embeddings.shape}; labels '
      'must have one entry per embedding'
    )
  channels = tf.shape(embeddings)[-1]
  rows = tf.reshape(embeddings, [-1, channels])
  num_objects = tf.cast(num_objects, tf.int32)
  pixels, kept_labels = _choose_pixels(
    tf.reshape(labels, [-1]), num_objects, max_pixels_per_object, seed, weights
  )
  slots, valid, block_object = _assign_slots(pixels, kept_labels, num_objects)
  chosen = tf.gather(rows, pixels)
  center = center_of(chosen)
  # An empty reference has no row to gather: one row of zeros keeps slot 0 in range.
  rows = tf.cond(tf.shape(rows)[0] > 0, lambda: rows, lambda: tf.zeros([1, channels], rows.dtype))
  operand = reference_operand(tf.gather(rows, slots), center, valid, compute_dtype)
  if embeddings.shape[-1] is not None:
    operand = tf.ensure_shape(operand, [None, embeddings.shape[-1] + extra_channels(compute_dtype)])
  return ReferenceBank(operand, block_object, center)


def _choose_pixels(
  labels: tf.Tensor,
  num_objects: int | tf.Tensor,
  max_pixels: int | tf.Tensor | None,
  seed: int | tf.Tensor | None,
  weights: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Pixels that take part, sorted by object: (pixel int32 [n], its label int32 [n])."""
  outside = (labels < 0) | (labels >= num_objects)
  key = tf.where(outside, num_objects, labels)
  if max_pixels is None or seed is None:
    order = tf.argsort(key, stable=True)
  else:
    if isinstance(seed, int):
      seed = [seed, 0]
    shuffled = tf.argsort(tf.random.stateless_uniform(tf.shape(key), seed))
    order = tf.gather(shuffled, tf.argsort(tf.gather(key, shuffled), stable=True))
  counts = tf.math.bincount(key, minlength=num_objects + 1, maxlength=num_objects + 1)
  order = order[: tf.shape(key)[0] - counts[num_objects]]
  kept = tf.gather(key, order)
  if max_pixels is None:
    return order, kept
  if seed is None and weights is not None:
    weights = tf.gather(tf.reshape(weights, [-1]), order)
    keep = reference_choice.spread(weights, kept, num_objects, max_pixels)
    return tf.boolean_mask(order, keep), tf.boolean_mask(kept, keep)
  # In 64 bits: rank * limit passes 2^31 on large frames.
  starts = tf.math.cumsum(counts, exclusive=True)
  rank = tf.cast(tf.range(tf.shape(order)[0]) - tf.gather(starts, kept), tf.int64)
  count = tf.cast(tf.gather(counts, kept), tf.int64)
  limit = tf.minimum(tf.cast(max_pixels, tf.int64), count)
  if seed is None:
    keep = (rank * limit) // count != ((rank - 1) * limit) // count
  else:
    keep = rank < limit
  return tf.boolean_mask(order, keep), tf.boolean_mask(kept, keep)


def _assign_slots(
  pixels: tf.Tensor, labels: tf.Tensor, num_objects: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Places pixels, sorted by object, into blocks that hold one object each.

  Returns:
    (pixel of every slot int32 [blocks * BLOCK], bool: the slot is used, int32 object of every
    block, -1 for none). There is at least one block.
  """
  counts = tf.math.bincount(labels, minlength=num_objects, maxlength=num_objects)
  blocks = (counts + BLOCK - 1) // BLOCK
  used_blocks = tf.reduce_sum(blocks)
  padding = tf.maximum(1 - used_blocks, 0)
  first_slot = tf.math.cumsum(blocks, exclusive=True) * BLOCK
  first_rank = tf.math.cumsum(counts, exclusive=True)
  slot = tf.range(tf.shape(labels)[0]) + tf.gather(first_slot - first_rank, labels)
  filled = tf.scatter_nd(
    slot[:, tf.newaxis], pixels + 1, (used_blocks + padding)[tf.newaxis] * BLOCK
  )
  block_object = tf.repeat(tf.range(num_objects), blocks)
  return (
    tf.maximum(filled - 1, 0),
    filled > 0,
    tf.concat([block_object, tf.fill([padding], -1)], axis=0),
  )


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

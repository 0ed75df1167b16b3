"""A reference frame laid out for global matching, once per reference.

The pixels are sorted by object, every object is padded to whole blocks of BLOCK pixels, and the
blocks are laid out as an operand of a matrix product: the maximum of a block is then that of one
object. Between an object's pixels of one frame and those of the next lies a row of padding, which
tells how many of them each frame has.
"""

from typing import NamedTuple

import tensorflow as tf

from feelvos_tf.matching import reference_choice
from feelvos_tf.matching.scores import center_of
from feelvos_tf.matching.scores import check_compute_dtype
from feelvos_tf.matching.scores import extra_channels
from feelvos_tf.matching.scores import NO_MATCH_SCORE
from feelvos_tf.matching.scores import reference_operand

BLOCK = 128


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
    embeddings: float32 or bfloat16 [..., channels], for example [h4, w4, channels]; of several
      frames [frames, h4, w4, channels].
    labels: int [...], object index of every pixel. Pixels whose label is not in
      0..num_objects-1 (255 for padding) take no part.
    num_objects: int or int32 scalar tensor, >= 1.
    max_pixels_per_object: int, int32 scalar tensor or None. At most this many pixels of an object
      are kept (training in the paper: 1,024). None keeps all.
    seed: chooses which pixels are kept: None for evenly spaced ones in raster order, which is
      deterministic; an int or an int32 [2] tensor for a random choice with that stateless seed,
      after which frames are not told apart.
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
  has_frames = labels.shape.rank is not None and labels.shape.rank > 2 and seed is None
  frame = pixels // tf.reduce_prod(tf.shape(labels)[-2:]) if has_frames else tf.zeros_like(pixels)
  slots, valid, block_object = _assign_slots(pixels, kept_labels, frame, num_objects)
  chosen = tf.gather(rows, pixels)
  center = center_of(chosen)
  # An empty reference has no row to gather: one row of zeros keeps slot 0 in range.
  rows = tf.cond(tf.shape(rows)[0] > 0, lambda: rows, lambda: tf.zeros([1, channels], rows.dtype))
  operand = reference_operand(tf.gather(rows, slots), center, valid, compute_dtype)
  if embeddings.shape[-1] is not None:
    operand = tf.ensure_shape(operand, [None, embeddings.shape[-1] + extra_channels(compute_dtype)])
  return ReferenceBank(operand, block_object, center)


def kept_pixels(bank: ReferenceBank, num_objects: int | tf.Tensor) -> tf.Tensor:
  """How many pixels of every object a bank kept.

  Args:
    bank: `ReferenceBank`.
    num_objects: int or int32 scalar tensor, >= 1.

  Returns:
    float32 [num_objects].
  """
  used = tf.cast(are_pixels(bank), tf.float32)
  in_block = tf.reduce_sum(tf.reshape(used, tf.stack([tf.size(bank.block_object), -1])), axis=1)
  # Blocks of no object have the number -1, which adds to no sum.
  return tf.math.unsorted_segment_sum(in_block, bank.block_object, num_objects)


def fewest_and_mean_pixels(
  bank: ReferenceBank, num_objects: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """How many pixels of every object a bank kept of one frame; frames without it do not count.

  Args:
    bank: `ReferenceBank`.
    num_objects: int or int32 scalar tensor, >= 1.

  Returns:
    (float32 [num_objects], of the frame with the fewest; float32 [num_objects], mean over frames);
    0 of an object without pixels.
  """
  used = are_pixels(bank)
  index = tf.repeat(bank.block_object, BLOCK)
  # Rows of one object and one frame follow each other without padding.
  goes_on = used[1:] & used[:-1] & tf.equal(index[1:], index[:-1])
  begins = used & ~tf.concat([[False], goes_on], axis=0)
  part = tf.cumsum(tf.cast(begins, tf.int32)) - 1
  parts = tf.reduce_sum(tf.cast(begins, tf.int32))
  sizes = tf.math.unsorted_segment_sum(
    tf.ones_like(part, tf.float32), tf.where(used, part, -1), parts
  )
  of_part = tf.boolean_mask(index, begins)
  total = tf.math.unsorted_segment_sum(sizes, of_part, num_objects)
  frames = tf.math.unsorted_segment_sum(tf.ones_like(sizes), of_part, num_objects)
  fewest = tf.math.unsorted_segment_min(sizes, of_part, num_objects)
  return tf.where(frames > 0, fewest, 0.0), tf.math.divide_no_nan(total, frames)


def are_pixels(bank: ReferenceBank) -> tf.Tensor:
  """Which rows of a bank are pixels and no padding: bool [blocks * BLOCK]."""
  # Padding has a norm that no pixel has.
  norms = tf.cast(bank.rows[:, tf.shape(bank.center)[0]], tf.float32)
  return norms > 0.5 * NO_MATCH_SCORE


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
  pixels: tf.Tensor, labels: tf.Tensor, frame: tf.Tensor, num_objects: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Places pixels, sorted by object, into blocks that hold one object each.

  Where the frame of an object's pixels changes, a slot stays empty.

  Returns:
    (pixel of every slot int32 [blocks * BLOCK], bool: the slot is used, int32 object of every
    block, -1 for none). There is at least one block.
  """
  is_next_frame = tf.equal(labels[1:], labels[:-1]) & tf.not_equal(frame[1:], frame[:-1])
  gap = tf.concat([tf.zeros_like(labels[:1]), tf.cast(is_next_frame, tf.int32)], axis=0)
  counts = tf.math.bincount(labels, minlength=num_objects, maxlength=num_objects)
  counts += tf.math.unsorted_segment_sum(gap, labels, num_objects)
  blocks = (counts + BLOCK - 1) // BLOCK
  used_blocks = tf.reduce_sum(blocks)
  padding = tf.maximum(1 - used_blocks, 0)
  first_slot = tf.math.cumsum(blocks, exclusive=True) * BLOCK
  first_rank = tf.math.cumsum(counts, exclusive=True)
  rank = tf.range(tf.shape(labels)[0]) + tf.cumsum(gap)
  slot = rank + tf.gather(first_slot - first_rank, labels)
  filled = tf.scatter_nd(
    slot[:, tf.newaxis], pixels + 1, (used_blocks + padding)[tf.newaxis] * BLOCK
  )
  block_object = tf.repeat(tf.range(num_objects), blocks)
  return (
    tf.maximum(filled - 1, 0),
    filled > 0,
    tf.concat([block_object, tf.fill([padding], -1)], axis=0),
  )

"""Batches of training samples as a tf.data.Dataset, the same whatever the number of threads."""

import os
from typing import Any, TYPE_CHECKING

import tensorflow as tf

from feelvos_tf.datasets.samples.options import TripletOptions
from feelvos_tf.datasets.samples.triplets import Triplets

if TYPE_CHECKING:
  import numpy as np


def make_dataset(
  triplets: Triplets,
  batch_size: int,
  *,
  start: int = 0,
  stop: int | None = None,
  num_shards: int = 1,
  shard_index: int = 0,
  num_parallel_calls: int = 2,
  prefetch: int = 2,
) -> tf.data.Dataset:
  """Batches of samples as a tf.data.Dataset.

  Args:
    triplets: Triplets.
    batch_size: int, videos in a batch of this worker.
    start: int, number of the first sample. A run that resumes at training step s gives
      s * batch_size * num_shards.
    stop: int, number of the sample behind the last; None never ends.
    num_shards: int, number of workers; each takes other samples of the same sequence, so that
      together their batches are one batch of a single worker.
    shard_index: int, number of this worker.
    num_parallel_calls: int, samples made at the same time. Does not change their order.
    prefetch: int, batches that wait.

  Returns:
    Dataset of dicts as `Triplets.sample` gives them, with a leading axis of `batch_size`; an
    incomplete last batch is left out. Errors of a sample arrive as tf.errors.OpError, see
    `error_message`.

  Raises:
    ValueError: for a batch of whole frames, or a shard that does not exist.
  """
  if batch_size < 1 or not 0 <= shard_index < num_shards:
    raise ValueError(
      f'batch_size {batch_size}, shard {shard_index} of {num_shards} given; '
      'expected at least 1, and a shard below their number'
    )
  if triplets.options.crop_size is None and batch_size > 1:
    raise ValueError(
      f'whole frames and a batch of {batch_size} given; frames of different videos '
      'have different sizes. Set crop_size, or batch_size to 1'
    )
  indices = _sample_numbers(start, stop, batch_size, num_shards, shard_index)
  samples = indices.map(
    lambda n: _as_tensors(triplets, n), deterministic=True, num_parallel_calls=num_parallel_calls
  )
  return samples.batch(batch_size, drop_remainder=True).prefetch(prefetch)


def _sample_numbers(
  start: int, stop: int | None, batch_size: int, num_shards: int, shard_index: int
) -> tf.data.Dataset:
  """Dataset of the numbers of one worker's samples; see `make_dataset`."""
  # Training steps times the batch never reach this.
  stop = 2**62 if stop is None else stop
  # The start of every batch of all workers; then the part of it that is this worker's.
  batches = tf.data.Dataset.range(start, stop, batch_size * num_shards)
  first = shard_index * batch_size
  return batches.flat_map(
    lambda n: tf.data.Dataset.range(n + first, tf.minimum(n + first + batch_size, stop))
  )


def element_spec(options: TripletOptions) -> dict[str, tf.TensorSpec]:
  """What one sample holds.

  Args:
    options: `TripletOptions`; height and width are None without `crop_size`.

  Returns:
    {key: tf.TensorSpec}: `images` [frames, height, width, 3] of `image_dtype`, `labels` int32
    [frames, height, width], `num_objects` int32 [], `video` string [], and with
    `has_previous_labels` `previous_labels` int32 [height, width], with `mark_twins` `twins` bool
    [frames, height, width].
  """
  size = (None, None) if options.crop_size is None else tuple(options.crop_size)
  frames = options.num_frames
  spec = {
    'images': tf.TensorSpec((frames, *size, 3), tf.as_dtype(options.image_dtype)),
    'labels': tf.TensorSpec((frames, *size), tf.int32),
    'num_objects': tf.TensorSpec((), tf.int32),
    'video': tf.TensorSpec((), tf.string),
  }
  if options.has_previous_labels:
    spec['previous_labels'] = tf.TensorSpec(size, tf.int32)
  if options.mark_twins:
    spec['twins'] = tf.TensorSpec((frames, *size), tf.bool)
  return spec


def _as_tensors(triplets: Triplets, index: tf.Tensor) -> dict[str, tf.Tensor]:
  spec = element_spec(triplets.options)

  def draw(number: 'np.ndarray') -> list[Any]:
    sample = triplets.sample(int(number))
    return [os.fsencode(sample[key]) if key == 'video' else sample[key] for key in spec]

  values = tf.numpy_function(draw, [index], [entry.dtype for entry in spec.values()])
  return {
    key: tf.ensure_shape(value, entry.shape) for (key, entry), value in zip(spec.items(), values)
  }


def error_message(error: Exception) -> str:
  """The message of the ValueError or FileNotFoundError behind a tf.errors.OpError of a dataset.

  Args:
    error: exception raised while iterating over `make_dataset`.

  Returns:
    str, one line, without the traceback that TensorFlow wraps around it.
  """
  text = str(error)
  for kind in ('ValueError: ', 'FileNotFoundError: '):
    if kind in text:
      return text.split(kind, 1)[1].split('\n', 1)[0].strip()
  return text.split('\n', 1)[0]

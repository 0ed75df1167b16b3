"""The reduction of local matching: the best pixel of every object in a strip, by runs of labels.

A run is a stretch of equal labels in a row. segment_max over runs reads a product at memory speed,
whatever the number of objects; a run belongs to one object and one row, so that the few results
that are left are sorted out after it.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class StripReduction(NamedTuple):
  """What is wanted of the product of a strip.

  Attributes:
    of_strip: function of (product, runs, pixels, strip, num_objects, row_edges), see
      `_strip_scores` for shapes and dtypes.
    types: dtypes of its results.
  """

  of_strip: Callable[..., tuple[tf.Tensor, ...]]
  types: tuple[tf.DType, ...]


def label_runs(labels: tf.Tensor, num_objects: tf.Tensor) -> tuple[tf.Tensor, ...]:
  """Runs of equal labels in halo rows.

  Args:
    labels: int32 [strips, tiles, strip rows, halo width], -1 for no object.
    num_objects: int32 scalar.

  Returns:
    run_of_pixel: int32 [strips, pixels of a strip], run of each pixel, counted in its strip.
    bounds: int32 [strips + 1], first run of each strip in the next two.
    row: int32 [runs], row of a run in its strip.
    owner: int32 [runs], tile * num_objects + label of a run, or -1.
  """
  starts = tf.concat(
    [tf.ones_like(labels[..., :1], tf.bool), labels[..., 1:] != labels[..., :-1]], axis=-1
  )
  run = tf.math.cumsum(tf.cast(tf.reshape(starts, [-1]), tf.int32)) - 1
  total = run[-1] + 1
  run = tf.reshape(run, tf.stack([tf.shape(labels)[0], -1]))
  places = tf.cast(tf.where(starts), tf.int32)
  label = tf.boolean_mask(labels, starts)
  owner = tf.where(label < 0, -1, places[:, 1] * num_objects + label)
  bounds = tf.concat([run[:, 0], [total]], axis=0)
  return run - run[:, :1], bounds, places[:, 2], owner


def _run_scores(
  product: tf.Tensor, runs: tuple[tf.Tensor, ...], strip: tf.Tensor, row_edges: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Highest score of each query with each run of a strip.

  Args:
    product: [pixels of the strip, queries], scores of all pairs.
    runs, strip, row_edges: see `_strip_scores`.

  Returns:
    inside: [runs, queries], as if every row of the strip were in the windows.
    scores: [runs, queries], NO_MATCH_SCORE or less where a run's row is not in a query's window.
    owner: int32 [runs], tile * num_objects + label of a run, or -1.
  """
  run_of_pixel, bounds, row, owner = runs
  span = slice(bounds[strip], bounds[strip + 1])
  inside = tf.math.segment_max(product, run_of_pixel[strip])
  return inside, inside + tf.gather(row_edges, row[span]), owner[span]


def _strip_scores(
  product: tf.Tensor,
  runs: tuple[tf.Tensor, ...],
  pixels: tf.Tensor,
  strip: tf.Tensor,
  num_objects: int | tf.Tensor,
  row_edges: tf.Tensor,
) -> tuple[tf.Tensor]:
  """Highest score of each query with each object in a strip.

  Args:
    product: [tiles, strip rows * halo width, queries], scores of all pairs; as many queries of
      each row as a tile is wide that reaches the strip.
    runs: what `label_runs` returned.
    pixels: see `_strip_choice`; not used here.
    strip: int32 scalar, number of the strip.
    num_objects: int32 scalar.
    row_edges: [strip rows, queries], NO_MATCH_SCORE where a row of the strip is above or below a
      query's window, else 0.

  Returns:
    (float32 [tiles, objects, queries],); NO_MATCH_SCORE or less where there is none.
  """
  del pixels
  count, _, queries = tf.unstack(tf.shape(product))
  product = tf.reshape(product, tf.stack([-1, queries]))
  _, scores, owner = _run_scores(product, runs, strip, row_edges)
  best = tf.math.unsorted_segment_max(scores, owner, count * num_objects)
  return (tf.reshape(tf.cast(best, tf.float32), tf.stack([count, num_objects, queries])),)


def _strip_choice(
  product: tf.Tensor,
  runs: tuple[tf.Tensor, ...],
  pixels: tf.Tensor,
  strip: tf.Tensor,
  num_objects: int | tf.Tensor,
  row_edges: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
  """`_strip_scores` with the previous pixel that each score comes from, for the gradient.

  The first one in raster order, if several have the same score.

  Args: as there; pixels: int32 [tiles, strip rows * halo width], index of a previous pixel in
    raster order.

  Returns:
    (float32 [tiles, objects, queries], int32 of that shape: index in raster order, 0 where there
    is none).
  """
  count, _, queries = tf.unstack(tf.shape(product))
  segments, run = count * num_objects, runs[0][strip]
  product = tf.reshape(product, tf.stack([-1, queries]))
  inside, scores, owner = _run_scores(product, runs, strip, row_edges)
  place = tf.where(product >= tf.gather(inside, run), tf.reshape(pixels, [-1, 1]), tf.int32.max)
  place = tf.math.segment_min(place, run)
  best = tf.math.unsorted_segment_max(scores, owner, segments)
  place = tf.where(scores >= tf.gather(best, tf.maximum(owner, 0)), place, tf.int32.max)
  chosen = tf.math.unsorted_segment_min(place, owner, segments)
  chosen = tf.where(chosen == tf.int32.max, 0, chosen)
  shape = tf.stack([count, num_objects, queries])
  return tf.reshape(tf.cast(best, tf.float32), shape), tf.reshape(chosen, shape)


# The highest score of each query with each object; and with it the pixel that it comes from.
BEST_SCORES = StripReduction(_strip_scores, (tf.float32,))
BEST_PIXELS = StripReduction(_strip_choice, (tf.float32, tf.int32))

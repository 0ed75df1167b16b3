"""Local matching: distance to the nearest pixel of each object in a window of the previous frame.

Paper: arXiv 1902.09513, section 3.4. Original: `local_pairwise_distances` and
`local_previous_frame_nearest_neighbor_features_per_object` in
research/feelvos/utils/embedding_utils.py.

A strip of STRIP_ROWS rows of the previous frame is compared with all queries whose windows reach
it. Strip and queries are cut into tiles of TILE_WIDTH query columns; a tile needs the previous
pixels up to `radius` further left and right (its halo, copied per tile). One batched product per
strip, laid out [tile, halo pixel, query]: segment_max over runs of equal labels along a halo row
then reduces it at memory speed, for all objects at once.
- A window's left and right edge is part of the product: TILE_WIDTH more channels, one-hot in the
  query's column and a large penalty on the other side.
- Its upper and lower edge, and the object, are decided per run, after the reduction along x.
- Queries beyond the frame's upper and lower border are not multiplied: a strip near it has fewer.
- A query's results with the strips it was compared with are merged at the end.
The reduction is in label_runs.py; the figures behind these choices are in docs/notes/speed.md.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from feelvos_tf.matching.label_runs import BEST_PIXELS
from feelvos_tf.matching.label_runs import BEST_SCORES
from feelvos_tf.matching.label_runs import label_runs
from feelvos_tf.matching.label_runs import StripReduction
from feelvos_tf.matching.scores import center_of
from feelvos_tf.matching.scores import check_compute_dtype
from feelvos_tf.matching.scores import distance_from_squared
from feelvos_tf.matching.scores import NO_MATCH_SCORE
from feelvos_tf.matching.scores import query_operand
from feelvos_tf.matching.scores import reference_operand
from feelvos_tf.matching.scores import score_gradients
from feelvos_tf.matching.scores import squared_from_score
from feelvos_tf.matching.scores import without_constant_channels

STRIP_ROWS = 6  # with radius 15: (6 + 30) * 8 = 288 queries, a multiple of the vector length
TILE_WIDTH = 8
DEFAULT_CHUNK_BYTES = 4 * 2**20  # Near the second-level caches.
PARALLEL_STRIPS = 2

# Results of a strip where it was not compared with a query: score, index of the chosen pixel.
_NOT_COMPARED = (NO_MATCH_SCORE, 0)


def local_matching(
  query: tf.Tensor,
  previous: tf.Tensor,
  previous_labels: tf.Tensor,
  num_objects: int | tf.Tensor,
  *,
  window_radius: int = 15,
  chunk_bytes: int = DEFAULT_CHUNK_BYTES,
  compute_dtype: tf.DType = tf.float32,
  skip_constant_channels: bool = False,
) -> tf.Tensor:
  """Distance of every pixel to the nearest previous pixel of each object inside a window.

  Exact; differentiable with respect to `query` and `previous`; the backward pass finds the nearest
  pixels again instead of keeping the products.

  Args:
    query: float32 or bfloat16 [h4, w4, channels], embeddings of the current frame.
    previous: float32 or bfloat16 [h4, w4, channels], embeddings of the previous frame.
    previous_labels: int [h4, w4], object index of every previous pixel; others than
      0..num_objects-1 belong to no object.
    num_objects: int or int32 scalar tensor, >= 1.
    window_radius: int >= 0; 15 means a window of 31 x 31 pixels at stride 4.
    chunk_bytes: int, bound on one product, whatever the size of the frame (one tile of a strip
      is the least that is worked on); a few of them are alive at a time.
    compute_dtype: tf.float32 or tf.bfloat16, operand type of the matrix product.
    skip_constant_channels: leave channels that have one value in all of `previous` out of the
      products, see `without_constant_channels`: the same distances, but no gradients with
      respect to those channels of `previous`.

  Returns:
    float32 [num_objects, h4, w4] in [0, 1]; 1 where the window, cut at the image's border, has no
    pixel of the object.

  Raises:
    ValueError: window_radius < 0, chunk_bytes < 1, a compute_dtype that is not supported, or
      static shapes that do not fit.
  """
  compute_dtype = check_compute_dtype(compute_dtype)
  query, previous = tf.convert_to_tensor(query), tf.convert_to_tensor(previous)
  labels = tf.cast(tf.convert_to_tensor(previous_labels), tf.int32)
  _check_arguments(query, previous, labels, window_radius, chunk_bytes)
  num_objects = tf.cast(num_objects, tf.int32)
  labels = tf.where((labels >= 0) & (labels < num_objects), labels, -1)
  channels = previous.shape[-1] or tf.shape(previous)[-1]
  center = center_of(tf.reshape(previous, [-1, channels]))
  query_rows, norm = query_operand(query, center, compute_dtype)
  previous_rows = reference_operand(previous, center, None, compute_dtype)
  if skip_constant_channels:
    query_rows, previous_rows = without_constant_channels(query_rows, previous_rows)
  scores = _best_scores(query_rows, previous_rows, labels, num_objects, window_radius, chunk_bytes)
  distance = distance_from_squared(squared_from_score(tf.maximum(scores, NO_MATCH_SCORE), norm))
  return tf.ensure_shape(distance, [None, query.shape[0], query.shape[1]])


def _check_arguments(
  query: tf.Tensor, previous: tf.Tensor, labels: tf.Tensor, window_radius: int, chunk_bytes: int
) -> None:
  if window_radius < 0:
    raise ValueError(
      f'window_radius is {window_radius}; give the number of pixels to each side, at least 0'
    )
  if chunk_bytes < 1:
    raise ValueError(f'chunk_bytes is {chunk_bytes}; give a positive number of bytes')
  if not query.shape.is_compatible_with(previous.shape):
    raise ValueError(
      f'query has shape {query.shape} and previous {previous.shape}; both frames '
      'must have the same size and number of channels'
    )
  if not previous.shape[:-1].is_compatible_with(labels.shape):
    raise ValueError(
      f'previous_labels have shape {labels.shape} and previous {previous.shape}; '
      'give one label per pixel of the previous embeddings'
    )


def _best_scores(
  query: tf.Tensor,
  previous: tf.Tensor,
  labels: tf.Tensor,
  num_objects: int | tf.Tensor,
  radius: int,
  chunk_bytes: int,
) -> tf.Tensor:
  """Highest score of every query with every object in its window: float32 [objects, h, w]."""

  @tf.custom_gradient
  def compute(
    query: tf.Tensor, previous: tf.Tensor
  ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      chosen = _sweep(BEST_PIXELS, query, previous, labels, num_objects, radius, chunk_bytes)[1]
      channels = query.shape[-1]
      chunk = max(256, chunk_bytes // (4096 if channels is None else 16 * channels))
      by_query, by_previous = score_gradients(
        tf.reshape(upstream, [num_objects, -1, 1]),
        tf.reshape(chosen, [num_objects, -1, 1]),
        tf.reshape(query, [-1, channels or tf.shape(query)[-1]]),
        tf.reshape(previous, [-1, channels or tf.shape(query)[-1]]),
        chunk,
      )
      return tf.reshape(by_query, tf.shape(query)), tf.reshape(by_previous, tf.shape(previous))

    (scores,) = _sweep(BEST_SCORES, query, previous, labels, num_objects, radius, chunk_bytes)
    return scores, gradient

  return compute(query, previous)


def _edge_penalty(
  halo: int | tf.Tensor, tile: int | tf.Tensor, radius: int, dtype: tf.DType
) -> tf.Tensor:
  """[halo, tile]: 0 where a halo coordinate is in the window of a tile coordinate, else
  NO_MATCH_SCORE. Halo coordinate 0 is `radius` before tile coordinate 0."""
  shift = tf.range(halo)[:, tf.newaxis] - tf.range(tile)
  inside = (shift >= 0) & (shift <= 2 * radius)
  return tf.where(inside, tf.constant(0, dtype), tf.constant(NO_MATCH_SCORE, dtype))


def _sweep(
  reduction: StripReduction,
  query: tf.Tensor,
  previous: tf.Tensor,
  labels: tf.Tensor,
  num_objects: int | tf.Tensor,
  radius: int,
  chunk_bytes: int,
) -> list[tf.Tensor]:
  """Runs a `StripReduction` over all strips and assembles [objects, h, w].

  Two loops: over bands of tile columns, so that one product fits `chunk_bytes`, and over the
  strips of STRIP_ROWS previous rows in a band.

  Returns:
    List with one tensor [objects, h, w] per result of the reduction.
  """
  height, width, _ = tf.unstack(tf.shape(query))
  strips = (height + STRIP_ROWS - 1) // STRIP_ROWS
  columns = (width + TILE_WIDTH - 1) // TILE_WIDTH
  below, right = strips * STRIP_ROWS - height, columns * TILE_WIDTH - width
  labels = tf.pad(labels, [[0, below], [radius, radius + right]], constant_values=-1)
  tiles = _query_tiles(query, columns, right)
  product_bytes = (
    STRIP_ROWS
    * (TILE_WIDTH + 2 * radius)
    * (STRIP_ROWS + 2 * radius)
    * TILE_WIDTH
    * query.dtype.size
  )
  band = tf.clip_by_value(chunk_bytes // product_bytes, 1, columns)

  def of_band(first: tf.Tensor, *arrays: tf.TensorArray) -> tuple:
    last = tf.minimum(first + band, columns)
    results = _sweep_band(
      reduction, tiles[first:last], previous, labels, first, num_objects, radius
    )
    return last, *(array.write(first // band, result) for array, result in zip(arrays, results))

  bands = (columns + band - 1) // band
  arrays = [
    tf.TensorArray(dtype, size=bands, infer_shape=False, element_shape=[None] * 4)
    for dtype in reduction.types
  ]
  _, *arrays = tf.while_loop(
    lambda first, *_: first < columns, of_band, (0, *arrays), parallel_iterations=1
  )
  results = [tf.transpose(array.concat(), [1, 2, 0, 3]) for array in arrays]
  shape = tf.stack([num_objects, -1, columns * TILE_WIDTH])
  return [tf.reshape(result, shape)[:, radius : radius + height, :width] for result in results]


def _sweep_band(
  reduction: StripReduction,
  tiles: tf.Tensor,
  previous: tf.Tensor,
  labels: tf.Tensor,
  first: tf.Tensor,
  num_objects: int | tf.Tensor,
  radius: int,
) -> list[tf.Tensor]:
  """`_sweep` for the columns of one band.

  Args:
    tiles: [tiles, channels + TILE_WIDTH, h * TILE_WIDTH], see `_query_tiles`.
    previous: [h, w, channels]. labels: int32 [strips * STRIP_ROWS, w + margins].
    first: int32 scalar, index of the first tile in its row. The others: see `_sweep`.

  Returns:
    List of [tiles, objects, rows, TILE_WIDTH], with `radius` rows above the frame and some below.
  """
  height = tf.shape(previous)[0]
  count = tf.shape(tiles)[0]
  strips = tf.shape(labels)[0] // STRIP_ROWS
  column = _halo_columns(first, count, radius)
  runs = label_runs(_halo_labels(tf.gather(labels, column, axis=1)), num_objects)
  halo_of = _halo_reader(previous, column - radius, radius)
  row_edges = tf.transpose(
    _edge_penalty(STRIP_ROWS + 2 * radius, STRIP_ROWS, radius, previous.dtype)
  )
  row_edges = tf.repeat(row_edges, TILE_WIDTH, axis=1)

  def of_strip(strip: tf.Tensor, *arrays: tf.TensorArray) -> tuple:
    top = strip * STRIP_ROWS
    pixels, halo = halo_of(top)
    # The query rows that reach the strip, without those beyond the frame.
    above = tf.maximum(radius - top, 0)
    below = tf.maximum(top + STRIP_ROWS + radius - height, 0)
    start = top - radius + above
    end = STRIP_ROWS + 2 * radius - below
    queries = tiles[:, :, start * TILE_WIDTH : (start + end - above) * TILE_WIDTH]
    results = reduction.of_strip(
      tf.matmul(halo, queries),
      runs,
      pixels,
      strip,
      num_objects,
      row_edges[:, above * TILE_WIDTH : end * TILE_WIDTH],
    )
    beyond = [[0, 0], [0, 0], [above * TILE_WIDTH, below * TILE_WIDTH]]
    return strip + 1, *(
      array.write(strip, tf.pad(result, beyond, constant_values=value))
      for array, result, value in zip(arrays, results, _NOT_COMPARED)
    )

  arrays = [tf.TensorArray(dtype, size=strips, infer_shape=False) for dtype in reduction.types]
  _, *arrays = tf.while_loop(
    lambda strip, *_: strip < strips, of_strip, (0, *arrays), parallel_iterations=PARALLEL_STRIPS
  )
  parts = [
    tf.reshape(
      array.stack(), tf.stack([strips, count, num_objects, STRIP_ROWS + 2 * radius, TILE_WIDTH])
    )
    for array in arrays
  ]
  return _merge_strips(parts, radius)


def _halo_columns(first: tf.Tensor, count: tf.Tensor, radius: int) -> tf.Tensor:
  """int32 [tiles, halo width]: columns of the halos of some tiles, plus `radius`."""
  tile = (first + tf.range(count)[:, tf.newaxis]) * TILE_WIDTH
  return tile + tf.range(TILE_WIDTH + 2 * radius)


def _halo_reader(
  previous: tf.Tensor, column: tf.Tensor, radius: int
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
  """Function of the first row of a strip that gives the left-hand operands of its tiles.

  Args:
    previous: [h, w, channels].
    column: int32 [tiles, halo width]; beyond the border the labels are -1, so that any pixel will
      do there.
    radius: of the windows.

  Returns:
    function: int32 scalar -> (int32 [tiles, pixels], index in raster order of the halos' pixels,
    [tiles, pixels, channels + TILE_WIDTH]).
  """
  height, width, channels = tf.unstack(tf.shape(previous))
  flat = tf.reshape(previous, tf.stack([-1, channels]))
  count, halo_width = tf.shape(column)[0], TILE_WIDTH + 2 * radius
  num_pixels = STRIP_ROWS * halo_width
  column = tf.clip_by_value(column, 0, width - 1)[:, tf.newaxis]
  edges = _edge_penalty(halo_width, TILE_WIDTH, radius, previous.dtype)
  edges = tf.broadcast_to(
    tf.tile(edges, [STRIP_ROWS, 1]), tf.stack([count, num_pixels, TILE_WIDTH])
  )

  def halo_of(top: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    row = tf.minimum(tf.range(STRIP_ROWS) + top, height - 1)[:, tf.newaxis]
    pixels = tf.reshape(row * width + column, tf.stack([count, num_pixels]))
    return pixels, tf.concat([tf.gather(flat, pixels), edges], axis=-1)

  return halo_of


def _merge_strips(parts: Sequence[tf.Tensor], radius: int) -> list[tf.Tensor]:
  """Maximum over the strips that a query row was compared with.

  Args:
    parts: list of [strips, tiles, objects, STRIP_ROWS + 2 radius, TILE_WIDTH]: scores first; what
      follows is taken from the strip of the highest score. Row 0 of strip s is row
      s * STRIP_ROWS of the result.

  Returns:
    List of [tiles, objects, (strips + blocks - 1) * STRIP_ROWS, TILE_WIDTH].
  """
  blocks = (STRIP_ROWS + 2 * radius + STRIP_ROWS - 1) // STRIP_ROWS
  missing = blocks * STRIP_ROWS - (STRIP_ROWS + 2 * radius)
  parts = [
    tf.pad(part, [[0, 0]] * 3 + [[0, missing], [0, 0]], constant_values=value)
    for part, value in zip(parts, _NOT_COMPARED)
  ]
  merged: list[tf.Tensor] = []
  for block in range(blocks):
    rows = slice(block * STRIP_ROWS, (block + 1) * STRIP_ROWS)
    shifted = [
      tf.pad(
        part[..., rows, :], [[block, blocks - 1 - block]] + [[0, 0]] * 4, constant_values=value
      )
      for part, value in zip(parts, _NOT_COMPARED)
    ]
    if not merged:
      merged = shifted
    elif len(parts) == 1:
      merged = [tf.maximum(merged[0], shifted[0])]
    else:
      better = shifted[0] > merged[0]
      merged = [tf.where(better, new, old) for new, old in zip(shifted, merged)]
  merged = [tf.transpose(part, [1, 2, 0, 3, 4]) for part in merged]
  return [
    tf.reshape(part, tf.stack([tf.shape(part)[0], tf.shape(part)[1], -1, TILE_WIDTH]))
    for part in merged
  ]


def _query_tiles(query: tf.Tensor, columns: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
  """Queries as right-hand operands: [tiles, channels + TILE_WIDTH, h * TILE_WIDTH]."""
  query = tf.pad(query, [[0, 0], [0, right], [0, 0]])
  rows, channels = tf.shape(query)[0], tf.shape(query)[-1]
  query = tf.reshape(query, tf.stack([rows, columns, TILE_WIDTH, channels]))
  tiles = tf.reshape(tf.transpose(query, [1, 3, 0, 2]), tf.stack([columns, channels, -1]))
  column = tf.tile(tf.eye(TILE_WIDTH, dtype=query.dtype), tf.stack([1, rows]))
  column = tf.broadcast_to(column, tf.stack([columns, TILE_WIDTH, rows * TILE_WIDTH]))
  return tf.concat([tiles, column], axis=1)


def _halo_labels(labels: tf.Tensor) -> tf.Tensor:
  """From [strips * STRIP_ROWS, tiles, halo width] to [strips, tiles, STRIP_ROWS, halo width]."""
  _, tiles, width = tf.unstack(tf.shape(labels))
  labels = tf.reshape(labels, tf.stack([-1, STRIP_ROWS, tiles, width]))
  return tf.transpose(labels, [0, 2, 1, 3])

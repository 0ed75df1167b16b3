"""Local matching: distance to the nearest pixel of each object in a window of the previous frame.

Paper: arXiv 1902.09513, section 3.4. Original: `local_pairwise_distances` and
`local_previous_frame_nearest_neighbor_features_per_object` in
research/feelvos/utils/embedding_utils.py.

The current frame is cut into tiles. The queries of a tile, all at once, are multiplied by the
rows of previous pixels that their windows touch (the halo). One small product per (halo row,
tile), batched; the result is laid out [halo row, tile, halo column, query], so that segment_max
over runs of equal labels along a halo row reduces it at memory speed for all objects at once.
- A window's left and right edge is part of the product: TILE_WIDTH more channels, one-hot in the
  query's column and a large penalty on the other side.
- Its upper and lower edge, and the object, are decided per run, after the reduction along x.
"""

import tensorflow as tf

from feelvos_tf.matching_scores import (
    NO_MATCH_SCORE, check_compute_dtype, distance_from_squared, query_operand, reference_operand,
    score_gradients, squared_from_score)

TILE_HEIGHT = 8
TILE_WIDTH = 8
DEFAULT_CHUNK_BYTES = 96 * 2**20


def local_matching(query, previous, previous_labels, num_objects, *, window_radius=15,
                   chunk_bytes=DEFAULT_CHUNK_BYTES, compute_dtype=tf.float32):
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
    chunk_bytes: int, bound on the larger temporary tensors, whatever the size of the frame (a
      strip of TILE_HEIGHT rows is the least that is worked on).
    compute_dtype: tf.float32 or tf.bfloat16, operand type of the matrix product.

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
  flat = tf.reshape(tf.stop_gradient(tf.cast(previous, tf.float32)), [-1, tf.shape(previous)[-1]])
  center = tf.reduce_mean(flat, axis=0)
  query_rows, norm = query_operand(query, center, compute_dtype)
  previous_rows = reference_operand(previous, center, None, compute_dtype)
  scores = _best_scores(
      query_rows, previous_rows, labels, num_objects, window_radius, chunk_bytes)
  distance = distance_from_squared(squared_from_score(scores, norm))
  return tf.ensure_shape(distance, [None, query.shape[0], query.shape[1]])


def _check_arguments(query, previous, labels, window_radius, chunk_bytes):
  if window_radius < 0:
    raise ValueError(f'window_radius is {window_radius}; give the number of pixels to each side, '
                     'at least 0')
  if chunk_bytes < 1:
    raise ValueError(f'chunk_bytes is {chunk_bytes}; give a positive number of bytes')
  if not query.shape.is_compatible_with(previous.shape):
    raise ValueError(f'query has shape {query.shape} and previous {previous.shape}; both frames '
                     'must have the same size and number of channels')
  if not previous.shape[:-1].is_compatible_with(labels.shape):
    raise ValueError(f'previous_labels have shape {labels.shape} and previous {previous.shape}; '
                     'give one label per pixel of the previous embeddings')


def _best_scores(query, previous, labels, num_objects, radius, chunk_bytes):
  """Highest score of every query with every object in its window: float32 [objects, h, w]."""

  @tf.custom_gradient
  def compute(query, previous):

    def gradient(upstream):
      chosen = _sweep(_tile_row_choice, tf.int32, query, previous, labels, num_objects, radius,
                      chunk_bytes)
      channels = query.shape[-1]
      chunk = max(256, chunk_bytes // (4096 if channels is None else 16 * channels))
      by_query, by_previous = score_gradients(
          tf.reshape(upstream, [num_objects, -1, 1]), tf.reshape(chosen, [num_objects, -1, 1]),
          tf.reshape(query, [-1, channels or tf.shape(query)[-1]]),
          tf.reshape(previous, [-1, channels or tf.shape(query)[-1]]), chunk)
      return tf.reshape(by_query, tf.shape(query)), tf.reshape(by_previous, tf.shape(previous))

    return _sweep(_tile_row_scores, tf.float32, query, previous, labels, num_objects, radius,
                  chunk_bytes), gradient

  return compute(query, previous)


def _edge_penalty(halo, tile, radius, dtype):
  """[halo, tile]: 0 where a halo coordinate is in the window of a tile coordinate, else
  NO_MATCH_SCORE. Halo coordinate 0 is `radius` before tile coordinate 0."""
  shift = tf.range(halo)[:, tf.newaxis] - tf.range(tile)
  inside = (shift >= 0) & (shift <= 2 * radius)
  return tf.where(inside, tf.constant(0, dtype), tf.constant(NO_MATCH_SCORE, dtype))


def _sweep(tile_row_function, dtype, query, previous, labels, num_objects, radius, chunk_bytes):
  """Runs `tile_row_function` over all rows of tiles and assembles its results to [objects, h, w].

  Three loops: over bands of tile columns, so that the product of one row of tiles fits
  `chunk_bytes`; over bands of tile rows, so that the halo copies do; over the tile rows.
  """
  height, width, channels = tf.unstack(tf.shape(query))
  rows = (height + TILE_HEIGHT - 1) // TILE_HEIGHT
  columns = (width + TILE_WIDTH - 1) // TILE_WIDTH
  below, right = rows * TILE_HEIGHT - height, columns * TILE_WIDTH - width
  margins = [[radius, radius + below], [radius, radius + right]]
  previous = tf.pad(previous, [*margins, [0, 0]])
  labels = tf.pad(labels, margins, constant_values=-1)
  tiles = _query_tiles(query, rows, columns, below, right)
  halo_width = TILE_WIDTH + 2 * radius
  halo_bytes = halo_width * (TILE_HEIGHT + 2 * radius) * TILE_HEIGHT * TILE_WIDTH
  band_columns = tf.clip_by_value(chunk_bytes // (halo_bytes * query.dtype.size), 1, columns)
  row_bytes = band_columns * halo_width * (channels + TILE_WIDTH) * query.dtype.size * TILE_HEIGHT
  band_rows = tf.clip_by_value(chunk_bytes // row_bytes - 2 * radius // TILE_HEIGHT, 1, rows)

  def columns_band(first, found):
    last = tf.minimum(first + band_columns, columns)

    def rows_band(top, found):
      bottom = tf.minimum(top + band_rows, rows)
      span = (slice(top * TILE_HEIGHT, bottom * TILE_HEIGHT + 2 * radius),
              slice(first * TILE_WIDTH, last * TILE_WIDTH + 2 * radius))
      halo = _halo_of(previous[span], labels[span], last - first, radius)
      origin = (top * TILE_HEIGHT - radius, first * TILE_WIDTH - radius, height, width)

      def tile_row(row, found):
        result = tile_row_function(
            tiles[row, first:last], halo, (row - top) * TILE_HEIGHT, num_objects, radius, origin)
        return row + 1, found.write(row, result)

      _, found = tf.while_loop(
          lambda row, _: row < bottom, tile_row, (top, found), parallel_iterations=2)
      return bottom, found

    rows_found = tf.TensorArray(dtype, size=rows, infer_shape=False)
    _, rows_found = tf.while_loop(
        lambda top, _: top < rows, rows_band, (0, rows_found), parallel_iterations=1)
    # [rows, band columns, objects, tile pixels] with the columns first, to be concatenated.
    part = tf.transpose(rows_found.stack(), [1, 0, 2, 3])
    return last, found.write(first // band_columns, part)

  bands = (columns + band_columns - 1) // band_columns
  found = tf.TensorArray(dtype, size=bands, infer_shape=False, element_shape=[None] * 4)
  _, found = tf.while_loop(
      lambda first, _: first < columns, columns_band, (0, found), parallel_iterations=1)
  result = tf.reshape(
      found.concat(), tf.stack([columns, rows, num_objects, TILE_HEIGHT, TILE_WIDTH]))
  result = tf.reshape(tf.transpose(result, [2, 1, 3, 0, 4]),
                      tf.stack([num_objects, rows * TILE_HEIGHT, columns * TILE_WIDTH]))
  return result[:, :height, :width]


def _query_tiles(query, rows, columns, below, right):
  """Queries as right-hand operands: [rows, columns, channels + TILE_WIDTH, tile pixels]."""
  query = tf.pad(query, [[0, below], [0, right], [0, 0]])
  column = tf.tile(tf.eye(TILE_WIDTH, dtype=query.dtype), [columns, 1])
  column = tf.broadcast_to(
      column, tf.stack([rows * TILE_HEIGHT, columns * TILE_WIDTH, TILE_WIDTH]))
  query = tf.concat([query, column], axis=-1)
  query = tf.reshape(
      query, tf.stack([rows, TILE_HEIGHT, columns, TILE_WIDTH, tf.shape(query)[-1]]))
  tiles = tf.transpose(query, [0, 2, 4, 1, 3])
  return tf.reshape(
      tiles, tf.stack([rows, columns, tf.shape(tiles)[2], TILE_HEIGHT * TILE_WIDTH]))


def _halo_of(previous, labels, columns, radius):
  """The halo rows of a band of tiles, copied so that every tile has its own.

  Args:
    previous: [band rows, band columns, channels], labels: int32 [band rows, band columns].
    columns: int32 scalar, tiles side by side.
    radius: int, window radius.

  Returns:
    pixels [band rows, tiles, halo width, channels + TILE_WIDTH], labels of the same shape
    without channels, run_ids int32 of that shape (runs of equal labels in a halo row, counted
    through the band), runs int32 [runs, 3]: band row, tile, label.
  """
  width = TILE_WIDTH + 2 * radius
  index = tf.range(columns)[:, tf.newaxis] * TILE_WIDTH + tf.range(width)
  pixels = tf.gather(previous, index, axis=1)
  edges = _edge_penalty(width, TILE_WIDTH, radius, previous.dtype)
  edges = tf.broadcast_to(edges, tf.concat([tf.shape(pixels)[:3], [TILE_WIDTH]], axis=0))
  labels = tf.gather(labels, index, axis=1)
  starts = tf.concat(
      [tf.ones_like(labels[..., :1], tf.bool), labels[..., 1:] != labels[..., :-1]], axis=-1)
  run_ids = tf.math.cumsum(tf.cast(tf.reshape(starts, [-1]), tf.int32)) - 1
  places = tf.cast(tf.where(starts), tf.int32)
  runs = tf.stack([places[:, 0], places[:, 1], tf.boolean_mask(labels, starts)], axis=1)
  return (tf.concat([pixels, edges], axis=-1), labels,
          tf.reshape(run_ids, tf.shape(labels)), runs)


def _tile_row_scores(tiles, halo, offset, num_objects, radius, origin):
  """Highest score per tile, object and query: float32 [tiles, objects, tile pixels].

  Args:
    tiles: [tiles, channels + TILE_WIDTH, tile pixels], one row of tiles.
    halo: what `_halo_of` returned for the band.
    offset: int32 scalar, first halo row of these tiles in the band.
    num_objects: int32 scalar. radius: int, window radius.
    origin: not used here; see `_tile_row_choice`.
  """
  del origin
  pixels, _, run_ids, runs = halo
  span = slice(offset, offset + TILE_HEIGHT + 2 * radius)
  product = tf.matmul(pixels[span], tiles[tf.newaxis])
  run_ids = tf.reshape(run_ids[span], [-1])
  runs = runs[run_ids[0]:run_ids[-1] + 1]
  queries = TILE_HEIGHT * TILE_WIDTH
  maxima = tf.math.segment_max(tf.reshape(product, [-1, queries]), run_ids - run_ids[0])
  edges = _edge_penalty(TILE_HEIGHT + 2 * radius, TILE_HEIGHT, radius, maxima.dtype)
  maxima += tf.gather(tf.repeat(edges, TILE_WIDTH, axis=1), runs[:, 0] - offset)
  count = tf.shape(tiles)[0]
  owner = tf.where(runs[:, 2] < 0, -1, runs[:, 1] * num_objects + runs[:, 2])
  best = tf.math.unsorted_segment_max(maxima, owner, count * num_objects)
  best = tf.maximum(tf.cast(best, tf.float32), NO_MATCH_SCORE)
  return tf.reshape(best, tf.stack([count, num_objects, queries]))


def _tile_row_choice(tiles, halo, offset, num_objects, radius, origin):
  """Where the scores of `_tile_row_scores` come from, for the gradient.

  Args: as there; origin: (row and column of the band's first halo pixel, height and width of
  the frame).

  Returns:
    int32 [tiles, objects, tile pixels]: index of the previous pixel in raster order.
  """
  pixels, labels, _, _ = halo
  span = slice(offset, offset + TILE_HEIGHT + 2 * radius)
  width, queries = TILE_WIDTH + 2 * radius, TILE_HEIGHT * TILE_WIDTH
  count = tf.shape(tiles)[0]
  edges = _edge_penalty(TILE_HEIGHT + 2 * radius, TILE_HEIGHT, radius, tf.float32)
  edges = tf.repeat(edges, TILE_WIDTH, axis=1)[:, tf.newaxis, tf.newaxis]
  product = tf.cast(tf.matmul(pixels[span], tiles[tf.newaxis]), tf.float32) + edges
  product = tf.reshape(tf.transpose(product, [1, 3, 0, 2]), tf.stack([count, queries, -1]))
  owner = tf.reshape(tf.transpose(labels[span], [1, 0, 2]), tf.stack([count, 1, -1]))

  def of_object(index):
    own = tf.where(owner == index, product, NO_MATCH_SCORE)
    return tf.argmax(own, axis=-1, output_type=tf.int32)

  place = tf.map_fn(of_object, tf.range(num_objects), parallel_iterations=1,
                    fn_output_signature=tf.TensorSpec([None, queries], tf.int32))
  place = tf.transpose(place, [1, 0, 2])
  top, left, height, frame_width = origin
  tile_left = tf.range(count)[:, tf.newaxis, tf.newaxis] * TILE_WIDTH
  row = tf.clip_by_value(top + offset + place // width, 0, height - 1)
  column = tf.clip_by_value(left + tile_left + place % width, 0, frame_width - 1)
  return row * frame_width + column

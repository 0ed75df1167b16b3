"""Matching against the original's tensors, a naive numpy reference, and naive autodiff."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.matching import distance_from_squared
from feelvos_tf.matching import global_matching
from feelvos_tf.matching import local_matching
from feelvos_tf.matching import prepare_reference
from feelvos_tf.matching import ReferenceBank
from feelvos_tf.matching import scores

TOLERANCE = 1e-5


def squared_distances(a, b):
  return np.square(a[:, None].astype(np.float64) - b[None]).sum(-1)


def to_distance(squared):
  return np.tanh(np.minimum(squared, 100.0) / 2)


def naive_global(query, reference, labels, objects, k=1):
  """float64, one object at a time; k > 1 pads with the farthest real neighbour."""
  shape = query.shape[:2]
  squared = squared_distances(
    query.reshape(-1, query.shape[-1]), reference.reshape(-1, query.shape[-1])
  )
  maps = []
  for index in range(objects):
    own = np.sort(squared[:, labels.reshape(-1) == index], axis=1)[:, :k]
    if own.shape[1] == 0:
      maps.append(np.ones(shape))
      continue
    own = np.concatenate([own, np.repeat(own[:, -1:], k - own.shape[1], axis=1)], axis=1)
    maps.append(to_distance(own.mean(1)).reshape(shape))
  return np.stack(maps)


def naive_local(query, previous, labels, objects, radius):
  height, width, _ = query.shape
  maps = np.ones([objects, height, width])
  for y in range(height):
    for x in range(width):
      window = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
      squared = np.square(previous[window].astype(np.float64) - query[y, x]).sum(-1)
      for index in range(objects):
        own = squared[labels[window] == index]
        if own.size:
          maps[index, y, x] = to_distance(own.min())
  return maps


def run_global(query, reference, labels, objects, k=1, **options):
  dtype = options.pop('compute_dtype', tf.float32)
  bank = prepare_reference(reference, labels, objects, compute_dtype=dtype)
  return global_matching(query, bank, objects, k=k, **options).numpy()


def random_case(rng, height, width, channels, objects, scale=0.25):
  draw = lambda: (scale * np.abs(rng.normal(size=[height, width, channels]))).astype(np.float32)
  labels = rng.integers(0, objects, [height, width]).astype(np.int32)
  return draw(), draw(), labels


# Golden -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('k', [1, 3])
@pytest.mark.parametrize('ids, objects', [('ids_none', 3), ('ids_0123', 4)])
def test_global_equals_original(golden, k, ids, objects):
  data = golden.npz('tf1/matching')
  expected = data[f'g|k{k}|{ids}|normalized'][..., 0]
  for frame in range(3):
    # Object 3 of ids_0123 has no pixel; the original gives 0 for it when k > 1.
    maps = run_global(
      data['g|query'][frame],
      data['g|ref'],
      data['g|labels'][..., 0],
      objects,
      k=k,
      absent_distance_of_original=True,
    )
    np.testing.assert_allclose(maps, expected[frame].transpose(2, 0, 1), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize('k', [1, 3])
@pytest.mark.parametrize('limit', [1, 4, 1024])
def test_global_with_few_pixels_equals_original(golden, k, limit):
  """The golden case keeps the first pixels of each object; the labels are cut to match."""
  data = golden.npz('tf1/matching')
  labels = data['g|labels'].reshape(-1).copy()
  for index in range(3):
    labels[np.flatnonzero(labels == index)[limit:]] = 255
  expected = to_distance(data[f'g|k{k}|first{limit}'][..., 0])
  for frame in range(3):
    maps = run_global(data['g|query'][frame], data['g|ref'], labels.reshape(6, 9), 3, k=k)
    np.testing.assert_allclose(maps, expected[frame].transpose(2, 0, 1), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize('size', ['7x11', '20x13'])
@pytest.mark.parametrize('radius', [2, 4, 15])
def test_local_equals_original(golden, size, radius):
  data = golden.npz('tf1/matching')
  maps = local_matching(
    data[f'l|{size}|query'],
    data[f'l|{size}|prev'],
    data[f'l|{size}|prev_labels'][..., 0],
    4,
    window_radius=radius,
  )
  expected = data[f'l|{size}|md{radius}|features'][0, ..., 0].transpose(2, 0, 1)
  np.testing.assert_allclose(maps, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize('video', ['', '_62x86', '_62x86_corr'])
def test_video_distances_equal_original(golden, video):
  data = golden.npz(f'tf1/video_xception_65_os16{video}')
  embeddings, small = data['embeddings'], data['prev_labels_small']
  bank = prepare_reference(embeddings[0], small[0], 3)
  for step in range(len(embeddings) - 1):
    far = global_matching(embeddings[step + 1], bank, 3)
    near = local_matching(embeddings[step + 1], embeddings[step], small[step], 3)
    expected = data['head_in_last3'][step]
    np.testing.assert_allclose(far, expected[..., 0], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(near, expected[..., 2], atol=TOLERANCE, rtol=0)
    raw = data['global_dist_raw'][step].transpose(2, 0, 1)
    np.testing.assert_allclose(far, to_distance(raw), atol=TOLERANCE, rtol=0)


# Properties ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('k', [1, 2, 5])
@pytest.mark.parametrize(
  'height, width, channels, objects',
  [(1, 1, 1, 1), (5, 9, 3, 2), (13, 7, 20, 6), (24, 31, 10, 3), (40, 30, 4, 25)],
)
def test_global_equals_naive(rng, k, height, width, channels, objects):
  query, reference, labels = random_case(rng, height, width, channels, objects)
  np.testing.assert_allclose(
    run_global(query, reference, labels, objects, k=k),
    naive_global(query, reference, labels, objects, k=k),
    atol=TOLERANCE,
    rtol=0,
  )


@pytest.mark.parametrize('k', [1, 3])
def test_global_chunked_equals_dense(rng, k):
  query, reference, labels = random_case(rng, 37, 29, 12, 4)
  dense = run_global(query, reference, labels, 4, k=k, chunk_bytes=2**30)
  chunked = run_global(query, reference, labels, 4, k=k, chunk_bytes=1)
  np.testing.assert_allclose(chunked, dense, atol=1e-6, rtol=0)


def test_query_and_reference_may_differ_in_size(rng):
  query, _, _ = random_case(rng, 6, 11, 8, 1)
  _, reference, labels = random_case(rng, 9, 4, 8, 3)
  np.testing.assert_allclose(
    run_global(query, reference, labels, 3),
    naive_global(query, reference, labels, 3),
    atol=TOLERANCE,
    rtol=0,
  )


def test_global_ignores_labels_out_of_range_and_absent_objects(rng):
  query, reference, labels = random_case(rng, 12, 15, 8, 3)
  labels[labels == 1] = 255
  labels[0] = -1
  maps = run_global(query, reference, labels, 5)
  np.testing.assert_allclose(
    maps, naive_global(query, reference, labels, 5), atol=TOLERANCE, rtol=0
  )
  assert np.all(maps[[1, 3, 4]] == 1.0)
  assert np.all(run_global(query, reference, np.full_like(labels, 255), 2) == 1.0)


def test_absent_object_is_far_for_every_k_unless_the_original_is_asked_for(rng):
  query, reference, labels = random_case(rng, 6, 7, 8, 2)
  assert np.all(run_global(query, reference, labels, 3, k=3)[2] == 1.0)
  original = run_global(query, reference, labels, 3, k=3, absent_distance_of_original=True)
  assert np.all(original[2] == 0.0)


@pytest.mark.parametrize(
  'height, width, channels, objects, radius',
  [
    (1, 1, 1, 1, 15),
    (5, 9, 3, 2, 0),
    (13, 7, 20, 6, 3),
    (16, 33, 10, 3, 7),
    (23, 18, 4, 25, 15),
    (6, 5, 4, 2, 40),
  ],
)
def test_local_equals_naive(rng, height, width, channels, objects, radius):
  query, previous, labels = random_case(rng, height, width, channels, objects)
  maps = local_matching(query, previous, labels, objects, window_radius=radius)
  np.testing.assert_allclose(
    maps, naive_local(query, previous, labels, objects, radius), atol=TOLERANCE, rtol=0
  )


def test_local_with_large_areas_equals_naive(rng):
  """Labels as masks have them: one object far from the other, padding, an absent object."""
  query, previous, labels = random_case(rng, 30, 41, 6, 1)
  labels[3:9, 2:12] = 1
  labels[20:28, 30:41] = 3
  labels[:, 20:22] = 255
  maps = local_matching(query, previous, labels, 4, window_radius=4).numpy()
  np.testing.assert_allclose(
    maps, naive_local(query, previous, labels, 4, 4), atol=TOLERANCE, rtol=0
  )
  assert np.all(maps[2] == 1.0) and np.all(maps[1, 15:] == 1.0)


def test_local_chunked_equals_dense(rng):
  query, previous, labels = random_case(rng, 21, 45, 6, 3)
  dense = local_matching(query, previous, labels, 3, window_radius=5, chunk_bytes=2**30)
  chunked = local_matching(query, previous, labels, 3, window_radius=5, chunk_bytes=1)
  np.testing.assert_allclose(chunked, dense, atol=1e-6, rtol=0)


def test_window_larger_than_frame_equals_global(rng):
  query, previous, labels = random_case(rng, 9, 14, 8, 3)
  np.testing.assert_allclose(
    local_matching(query, previous, labels, 3, window_radius=20),
    run_global(query, previous, labels, 3),
    atol=TOLERANCE,
    rtol=0,
  )


def test_permuting_objects_permutes_maps(rng):
  query, reference, labels = random_case(rng, 14, 17, 8, 5)
  order = rng.permutation(5)
  permuted = np.argsort(order)[labels].astype(np.int32)
  np.testing.assert_allclose(
    run_global(query, reference, permuted, 5),
    run_global(query, reference, labels, 5)[order],
    atol=1e-6,
  )
  np.testing.assert_allclose(
    local_matching(query, reference, permuted, 5, window_radius=3),
    local_matching(query, reference, labels, 5, window_radius=3).numpy()[order],
    atol=1e-6,
  )


def test_large_common_offset_costs_no_accuracy(rng):
  """Without centring, |e|^2 = 1e5 would leave squared distances an error of 1e-2."""
  query, reference, labels = random_case(rng, 12, 13, 10, 2, scale=0.1)
  query, reference = query + 100, reference + 100
  np.testing.assert_allclose(
    run_global(query, reference, labels, 2), naive_global(query, reference, labels, 2), atol=1e-4
  )
  np.testing.assert_allclose(
    local_matching(query, reference, labels, 2, window_radius=3),
    naive_local(query, reference, labels, 2, 3),
    atol=1e-4,
  )


def test_equal_embeddings_have_distance_zero(rng):
  query, _, labels = random_case(rng, 12, 13, 100, 1, scale=1.0)
  np.testing.assert_allclose(run_global(query, query, labels, 1), 0, atol=2e-5)
  np.testing.assert_allclose(local_matching(query, query, labels, 1), 0, atol=2e-5)


def test_bfloat16_products_stay_close(rng):
  query, reference, labels = random_case(rng, 20, 30, 100, 3, scale=0.15)
  far = run_global(query, reference, labels, 3, compute_dtype=tf.bfloat16)
  near = local_matching(query, reference, labels, 3, window_radius=5, compute_dtype=tf.bfloat16)
  assert far.dtype == np.float32 and near.dtype == tf.float32
  np.testing.assert_allclose(far, naive_global(query, reference, labels, 3), atol=5e-3)
  np.testing.assert_allclose(near, naive_local(query, reference, labels, 3, 5), atol=5e-3)


def test_bfloat16_embeddings_are_accepted(rng):
  query, reference, labels = random_case(rng, 8, 9, 16, 2)
  query, reference = tf.cast(query, tf.bfloat16), tf.cast(reference, tf.bfloat16)
  exact = tf.cast(query, tf.float32).numpy(), tf.cast(reference, tf.float32).numpy()
  np.testing.assert_allclose(
    run_global(query, reference, labels, 2), naive_global(*exact, labels, 2), atol=TOLERANCE
  )
  np.testing.assert_allclose(
    local_matching(query, reference, labels, 2, window_radius=2),
    naive_local(*exact, labels, 2, 2),
    atol=TOLERANCE,
  )


def test_distance_from_squared():
  squared = np.array([0.0, 0.1, 1.0, 20.0, 1e20], np.float32)
  np.testing.assert_allclose(distance_from_squared(squared), np.tanh(squared / 2), atol=1e-7)
  assert distance_from_squared(squared).numpy()[-2] == 1.0


def test_rescaled_distances_are_those_of_rescaled_squares():
  squared = np.array([0.0, 0.1, 1.0, 3.0, 8.0, 100.0, np.inf], np.float32)
  given = distance_from_squared(squared)
  np.testing.assert_allclose(scores.rescaled(given, 0.5), np.tanh(squared / 4), atol=1e-4)
  np.testing.assert_allclose(scores.rescaled(given, 2.0), np.tanh(squared), atol=1e-6)
  np.testing.assert_array_equal(scores.rescaled(given, 1.0), given)


# Reference pixels per object ----------------------------------------------------------------------


def kept_pixels(bank, objects):
  """Embeddings in a bank (channel 0 is a pixel number), as one set per object."""
  rows = bank.rows.numpy()
  owner = np.repeat(bank.block_object.numpy(), len(rows) // len(bank.block_object))
  real = rows[:, -1] > -1e29
  numbers = np.round(rows[:, 0] + bank.center.numpy()[0]).astype(int)
  return [set(numbers[real & (owner == index)]) for index in range(objects)]


@pytest.mark.parametrize('seed', [None, 7])
@pytest.mark.parametrize('limit', [1, 5, 60, 10**6])
def test_limit_keeps_so_many_pixels_of_each_object(rng, seed, limit):
  labels = rng.choice([0, 1, 2, 255], [20, 30], p=[0.8, 0.15, 0.01, 0.04]).astype(np.int32)
  numbered = np.arange(600, dtype=np.float32).reshape(20, 30, 1)
  bank = prepare_reference(numbered, labels, 3, max_pixels_per_object=limit, seed=seed)
  for index, kept in enumerate(kept_pixels(bank, 3)):
    own = set(np.flatnonzero(labels == index))
    assert kept <= own and len(kept) == min(limit, len(own))


def test_random_choice_follows_the_seed(rng):
  labels = np.zeros([20, 30], np.int32)
  numbered = np.arange(600, dtype=np.float32).reshape(20, 30, 1)
  draw = lambda seed: kept_pixels(
    prepare_reference(numbered, labels, 1, max_pixels_per_object=50, seed=seed), 1
  )[0]
  assert draw(3) == draw(3) == draw(tf.constant([3, 0]))
  assert draw(3) != draw(4)


def test_even_choice_is_spread_over_the_object():
  labels = np.zeros([1, 1000], np.int32)
  numbered = np.arange(1000, dtype=np.float32).reshape(1, 1000, 1)
  bank = prepare_reference(numbered, labels, 1, max_pixels_per_object=10)
  assert sorted(kept_pixels(bank, 1)[0]) == list(range(0, 1000, 100))


# Gradients ----------------------------------------------------------------------------------------


def naive_tf_global(query, reference, labels, objects, k):
  channels = query.shape[-1]
  squared = tf.reduce_sum(
    tf.math.squared_difference(
      tf.reshape(query, [-1, 1, channels]), tf.reshape(reference, [1, -1, channels])
    ),
    -1,
  )
  maps = []
  for index in range(objects):
    own = tf.boolean_mask(squared, labels.reshape(-1) == index, axis=1)
    best = -tf.nn.top_k(-own, min(k, own.shape[1])).values
    best = tf.concat([best] + [best[:, -1:]] * (k - best.shape[1]), axis=1)
    maps.append(tf.reshape(distance_from_squared(tf.reduce_mean(best, 1)), query.shape[:2]))
  return tf.stack(maps)


def naive_tf_local(query, previous, labels, objects, radius):
  height, width, _ = query.shape
  ys, xs = np.mgrid[:height, :width].reshape(2, -1)
  inside = (np.abs(ys[:, None] - ys) <= radius) & (np.abs(xs[:, None] - xs) <= radius)
  query = tf.reshape(query, [height * width, 1, -1])
  previous = tf.reshape(previous, [1, height * width, -1])
  squared = tf.reduce_sum(tf.math.squared_difference(query, previous), -1)
  maps = []
  for index in range(objects):
    own = tf.where(inside & (labels.reshape(-1) == index), squared, 1e6)
    maps.append(tf.reshape(distance_from_squared(tf.reduce_min(own, 1)), [height, width]))
  return tf.stack(maps)


def gradients(function, *variables, weight):
  variables = [tf.constant(variable) for variable in variables]
  with tf.GradientTape() as tape:
    tape.watch(variables)
    loss = tf.reduce_sum(function(*variables) * weight)
  return [gradient.numpy() for gradient in tape.gradient(loss, variables)]


@pytest.mark.parametrize('chunk_bytes', [1, 2**22])
@pytest.mark.parametrize('k', [1, 3])
def test_global_gradients_equal_naive(rng, k, chunk_bytes):
  query, reference, labels = random_case(rng, 11, 13, 6, 4)
  labels[labels == 2] = 255  # absent: no gradient, and none that is not a number
  labels[0, :2] = 3
  labels[1:][labels[1:] == 3] = 0
  weight = rng.normal(size=[4, 11, 13]).astype(np.float32)
  ours = gradients(
    lambda q, r: global_matching(
      q, prepare_reference(r, labels, 4), 4, k=k, chunk_bytes=chunk_bytes
    ),
    query,
    reference,
    weight=weight,
  )
  naive = gradients(
    lambda q, r: naive_tf_global(q, r, np.where(labels == 3, 2, labels), 3, k),
    query,
    reference,
    weight=weight[[0, 1, 3]],
  )
  for mine, expected in zip(ours, naive):
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(mine, expected, atol=2e-5)


@pytest.mark.parametrize('chunk_bytes', [1, 2**22])
def test_local_gradients_equal_naive(rng, chunk_bytes):
  query, previous, labels = random_case(rng, 14, 19, 6, 3)
  labels[:7] = np.where(labels[:7] == 1, 255, labels[:7])
  weight = rng.normal(size=[3, 14, 19]).astype(np.float32)
  ours = gradients(
    lambda q, p: local_matching(q, p, labels, 3, window_radius=3, chunk_bytes=chunk_bytes),
    query,
    previous,
    weight=weight,
  )
  naive = gradients(lambda q, p: naive_tf_local(q, p, labels, 3, 3), query, previous, weight=weight)
  for mine, expected in zip(ours, naive):
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(mine, expected, atol=2e-5)


def test_bfloat16_gradients_are_close(rng):
  query, reference, labels = random_case(rng, 8, 9, 6, 2)
  weight = np.ones([2, 8, 9], np.float32)
  for function in (
    lambda dtype: (
      lambda q, r: global_matching(q, prepare_reference(r, labels, 2, compute_dtype=dtype), 2)
    ),
    lambda dtype: (
      lambda q, r: local_matching(q, r, labels, 2, window_radius=9, compute_dtype=dtype)
    ),
  ):
    exact = gradients(function(tf.float32), query, reference, weight=weight)
    rounded = gradients(function(tf.bfloat16), query, reference, weight=weight)
    for a, b in zip(exact, rounded):
      # A near tie may go to the other pixel, so all but a few entries are compared.
      assert np.mean(np.abs(a - b) < 0.02) > 0.95


# tf.function and SavedModel -----------------------------------------------------------------------


class Matcher(tf.Module):
  """Both kinds of matching with every size unknown."""

  frame = tf.TensorSpec([None, None, None], tf.float32)
  labels = tf.TensorSpec([None, None], tf.int32)
  count = tf.TensorSpec([], tf.int32)

  @tf.function(input_signature=[frame, frame, labels, count])
  def __call__(self, query, other, labels, count):
    return {
      'global': global_matching(query, prepare_reference(other, labels, count), count),
      'three': global_matching(query, prepare_reference(other, labels, count), count, k=3),
      'local': local_matching(query, other, labels, count, window_radius=4),
    }


def test_saved_model_with_unknown_shapes(rng, tmp_path):
  tf.saved_model.save(Matcher(), str(tmp_path / 'matcher'))
  loaded = tf.saved_model.load(str(tmp_path / 'matcher'))
  for height, width, channels, objects in [(9, 14, 5, 2), (17, 6, 8, 4)]:
    query, other, labels = random_case(rng, height, width, channels, objects)
    maps = loaded(query, other, labels, objects)
    for name, expected in [
      ('global', naive_global(query, other, labels, objects)),
      ('three', naive_global(query, other, labels, objects, 3)),
      ('local', naive_local(query, other, labels, objects, 4)),
    ]:
      np.testing.assert_allclose(maps[name], expected, atol=TOLERANCE)


def test_bank_travels_through_a_loop(rng):
  query, reference, labels = random_case(rng, 8, 9, 6, 2)

  @tf.function
  def last_of_three(query, reference, labels, count):
    bank = prepare_reference(reference, labels, count)
    body = lambda step, bank, _: (step + 1, bank, global_matching(query, bank, count))
    state = (0, bank, tf.zeros([count, 8, 9]))
    return tf.while_loop(lambda step, *_: step < 3, body, state)[2]

  np.testing.assert_allclose(
    last_of_three(query, reference, labels, tf.constant(2)),
    naive_global(query, reference, labels, 2),
    atol=TOLERANCE,
  )


def test_training_under_tf_function_with_unknown_shapes(rng):
  query, reference, labels = random_case(rng, 10, 12, 6, 3)
  weight = np.ones([3, 10, 12], np.float32)

  @tf.function(input_signature=[tf.TensorSpec([None, None, 6])] * 2 + [Matcher.labels])
  def graph(query, reference, labels):
    with tf.GradientTape() as tape:
      tape.watch([query, reference])
      bank = prepare_reference(reference, labels, 3, max_pixels_per_object=1000, seed=1)
      loss = tf.reduce_sum(global_matching(query, bank, 3)) + tf.reduce_sum(
        local_matching(query, reference, labels, 3, window_radius=3)
      )
    return tape.gradient(loss, [query, reference])

  far = gradients(lambda q, r: naive_tf_global(q, r, labels, 3, 1), query, reference, weight=weight)
  near = gradients(lambda q, r: naive_tf_local(q, r, labels, 3, 3), query, reference, weight=weight)
  for mine, a, b in zip(graph(query, reference, labels), far, near):
    np.testing.assert_allclose(mine, a + b, atol=5e-5)


# Bad input ----------------------------------------------------------------------------------------


def test_bad_input_is_named(rng):
  query, reference, labels = random_case(rng, 5, 6, 4, 2)
  bank = prepare_reference(reference, labels, 2)
  assert isinstance(bank, ReferenceBank)
  with pytest.raises(ValueError, match='k is 0; give the number of nearest neighbours'):
    global_matching(query, bank, 2, k=0)
  with pytest.raises(ValueError, match='chunk_bytes is 0'):
    global_matching(query, bank, 2, chunk_bytes=0)
  with pytest.raises(ValueError, match='compute_dtype is float16'):
    prepare_reference(reference, labels, 2, compute_dtype=tf.float16)
  with pytest.raises(ValueError, match='max_pixels_per_object is 0'):
    prepare_reference(reference, labels, 2, max_pixels_per_object=0)
  with pytest.raises(ValueError, match=r'labels have shape \(5, 5\) and embeddings \(5, 6, 4\)'):
    prepare_reference(reference, labels[:, 1:], 2)
  with pytest.raises(ValueError, match='query has 3 channels and the reference 4'):
    global_matching(query[..., 1:], bank, 2)
  with pytest.raises(ValueError, match='window_radius is -1'):
    local_matching(query, reference, labels, 2, window_radius=-1)
  with pytest.raises(ValueError, match='both frames must have the same size'):
    local_matching(query[1:], reference, labels, 2)
  with pytest.raises(ValueError, match='one label per pixel of the previous'):
    local_matching(query, reference, labels[1:], 2)


@pytest.mark.parametrize(
  'values, dtype',
  [
    ((), tf.float32),
    ((0.0,), tf.bfloat16),
    ((0.0, 0.37, -2.5), tf.float32),
    (tuple(np.linspace(-1, 1, 12)), tf.bfloat16),
  ],
)
def test_constant_channels_change_nothing_when_skipped(rng, dtype, values):
  """Channels in which the reference has one value, and the query may have any."""
  query, other = (0.4 * rng.random([2, 11, 14, 12])).astype(np.float32)
  for channel, value in enumerate(values):
    other[..., 3 * channel % 12 + channel // 4] = value
  labels = rng.integers(0, 3, [11, 14]).astype(np.int32)
  bank = prepare_reference(other, labels, 4, compute_dtype=dtype)
  atol = 1e-6 if dtype == tf.float32 else 4e-3
  for k in (1, 3):
    far = tf.function(lambda k=k: global_matching(query, bank, 4, k=k, skip_constant_channels=True))
    expected = global_matching(query, bank, 4, k=k, skip_constant_channels=False)
    np.testing.assert_allclose(far(), expected, atol=atol)
  options = dict(window_radius=2, compute_dtype=dtype)
  near = tf.function(
    lambda: local_matching(query, other, labels, 4, skip_constant_channels=True, **options)
  )
  expected = local_matching(query, other, labels, 4, skip_constant_channels=False, **options)
  np.testing.assert_allclose(near(), expected, atol=atol)


def test_constant_channels_are_left_out_of_the_product():
  other = np.zeros([5, 6, 20], np.float32)
  other[..., 7] = 0.1
  other[..., 11] = np.arange(30).reshape(5, 6)
  bank = prepare_reference(other, np.zeros([5, 6], np.int32), 1)
  used = scores.used_channels(bank.rows, [0])
  np.testing.assert_array_equal(used, [11, 20])  # 20 is the channel of the norm.


@pytest.mark.parametrize('constant, left', [(4, 21), (5, 21), (6, 15), (19, 2)])
def test_channels_are_taken_out_where_it_pays(rng, constant, left):
  """From a quarter of the channels on; the channel of the norm is always used."""
  other = rng.random([7, 8, 20]).astype(np.float32)
  other[..., :constant] = 0.25
  rows = prepare_reference(other, np.zeros([7, 8], np.int32), 1).rows
  query = rng.random([9, 21]).astype(np.float32)
  found = scores.without_constant_channels(tf.constant(query), rows)
  assert [value.shape[1] for value in found] == [left] * 2
  np.testing.assert_array_equal(found[0], query[:, -left:] if left < 21 else query)

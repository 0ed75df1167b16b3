"""Losses against those of the original, and properties that need no reference."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.training import losses

CE_CASES = [
  (upsample, fraction, anneal, step)
  for upsample in (True, False)
  for fraction, anneal in ((1.0, 100000), (0.15, 100000), (0.15, 0), (0.25, 1000))
  for step in (0, 50000, 100000)
]


def relative_error(actual, expected):
  return np.abs(actual - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize('upsample, fraction, anneal, step', CE_CASES)
def test_cross_entropy_of_the_original(golden, upsample, fraction, anneal, step):
  data = golden.npz('tf1/misc')
  key = f'ce|up_{upsample}|topk{fraction:.2f}|hms{anneal}|step{step}'
  logits = [tf.Variable(data['ce|logits0']), tf.Variable(data['ce|logits1'])]
  with tf.GradientTape() as tape:
    per_video = losses.cross_entropy(
      logits,
      data['ce|labels'][:, np.newaxis],
      step=step,
      upsample_logits=upsample,
      mining=losses.HardMining(fraction, anneal),
    )
  np.testing.assert_allclose(per_video, data[key], rtol=1e-5)
  if f'{key}|grad0' in data:
    for index, gradient in enumerate(tape.gradient(per_video, logits)):
      assert relative_error(gradient.numpy(), data[f'{key}|grad{index}']) < 1e-4


def test_losses_of_the_golden_training_step(golden):
  data = golden.npz('tf1/train_xception_65_os16')
  logits = [data[f'logits|{video}'][..., 0].transpose(1, 2, 0)[np.newaxis] for video in (0, 1)]
  labels = data['labels'].reshape(2, 3, 65, 65)[:, 2:]
  for step, expected in zip(data['loss|steps'], data['loss|per_video']):
    actual = losses.cross_entropy(logits, labels, step=int(step))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_triplet_loss_of_the_original(golden):
  data = golden.npz('tf1/misc')
  embeddings = tf.Variable(data['triplet|small|embeddings'])
  labels = data['triplet|small|labels']
  with tf.GradientTape() as tape:
    loss = (
      tf.add_n([losses.triplet_loss(embeddings[i : i + 3], labels[i : i + 3]) for i in (0, 3)]) / 2
    )
  np.testing.assert_allclose(loss, data['triplet|small|loss'], rtol=1e-5)
  gradient = tf.convert_to_tensor(tape.gradient(loss, embeddings)).numpy()
  assert relative_error(gradient, data['triplet|small|grad']) < 1e-4


def golden_anchors(data, video):
  """The 256 anchors the original drew, as far as they matter.

  An anchor with a loss has a gradient. The others are filled up with pixels without a loss,
  whichever: they add 0 to the sum.
  """
  frames = slice(3 * video, 3 * video + 3)
  embeddings = data['triplet|more_than_256|embeddings'][frames]
  labels = data['triplet|more_than_256|labels'][frames]
  used = np.abs(data['triplet|more_than_256|grad'][3 * video]).max(axis=-1).ravel() > 0
  free = [
    pixel
    for pixel in np.flatnonzero(~used)
    if float(losses.triplet_loss(embeddings, labels, anchors=[pixel])) == 0
  ]
  return np.concatenate([np.flatnonzero(used), free])[:256].astype(np.int32)


def test_triplet_loss_of_the_original_with_chosen_anchors(golden):
  data = golden.npz('tf1/misc')
  embeddings = tf.Variable(data['triplet|more_than_256|embeddings'])
  labels = data['triplet|more_than_256|labels']
  anchors = [golden_anchors(data, video) for video in (0, 1)]
  assert [len(chosen) for chosen in anchors] == [256, 256]
  with tf.GradientTape() as tape:
    loss = (
      tf.add_n(
        [
          losses.triplet_loss(
            embeddings[3 * i : 3 * i + 3], labels[3 * i : 3 * i + 3], anchors=chosen
          )
          for i, chosen in enumerate(anchors)
        ]
      )
      / 2
    )
  np.testing.assert_allclose(loss, data['triplet|more_than_256|loss'], rtol=1e-5)
  gradient = tf.convert_to_tensor(tape.gradient(loss, embeddings)).numpy()
  assert relative_error(gradient, data['triplet|more_than_256|grad']) < 1e-4


def test_triplet_loss_leaves_ignored_pixels_out(rng):
  embeddings = rng.normal(size=(2, 4, 4, 5)).astype(np.float32)
  labels = rng.integers(0, 2, (2, 4, 4)).astype(np.int32)
  labels[0, 0], labels[1, 0] = 255, 255
  moved = embeddings.copy()
  moved[:, 0] += 100
  assert float(losses.triplet_loss(embeddings, labels)) == pytest.approx(
    float(losses.triplet_loss(moved, labels)), rel=1e-6
  )
  assert float(losses.triplet_loss(embeddings, np.full_like(labels, 255))) == 0


def test_triplet_anchors_follow_the_seed(rng):
  embeddings = rng.normal(size=(2, 20, 20, 5)).astype(np.float32)
  labels = rng.integers(0, 3, (2, 20, 20)).astype(np.int32)
  first, again, other = (
    float(losses.triplet_loss(embeddings, labels, seed=seed)) for seed in ([1, 2], [1, 2], [3, 4])
  )
  assert first == again != other


def test_padded_objects_change_nothing(rng):
  logits = rng.normal(size=(1, 5, 7, 2)).astype(np.float32)
  labels = rng.integers(0, 2, (1, 17, 25)).astype(np.int32)
  padded = tf.Variable(np.concatenate([logits, logits + 3], axis=-1))
  with tf.GradientTape() as tape:
    loss = losses.video_cross_entropy(padded, labels, num_objects=2)
  assert float(loss) == pytest.approx(float(losses.video_cross_entropy(logits, labels)), rel=1e-6)
  assert not tape.gradient(loss, padded).numpy()[..., 2:].any()


def test_bfloat16_logits_are_summed_in_float32(rng):
  logits = tf.cast(rng.normal(size=(1, 9, 9, 2)), tf.bfloat16)
  labels = rng.integers(0, 2, (1, 33, 33)).astype(np.int32)
  loss = losses.video_cross_entropy(logits, labels)
  assert loss.dtype == tf.float32
  assert float(loss) == float(losses.video_cross_entropy(tf.cast(logits, tf.float32), labels))


def test_all_pixels_ignored_is_zero_not_nan():
  labels = np.full((1, 9, 9), 255, np.int32)
  for loss in (losses.video_cross_entropy, losses.softmax_cross_entropy):
    assert float(loss(tf.ones([1, 3, 3, 2]), labels)) == 0


def test_softmax_cross_entropy_is_the_mean_over_pixels_that_count(rng):
  logits = rng.normal(size=(2, 6, 6, 4)).astype(np.float32)
  labels = rng.integers(0, 4, (2, 6, 6)).astype(np.int32)
  labels[0, :3] = 255
  log_probability = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  picked = np.take_along_axis(log_probability, np.minimum(labels, 3)[..., None], -1)[..., 0]
  each = -picked[labels != 255]
  assert float(losses.softmax_cross_entropy(logits, labels)) == pytest.approx(each.mean(), rel=1e-5)
  mining = losses.HardMining(0.25, 0)
  assert float(losses.softmax_cross_entropy(logits, labels, mining=mining)) == pytest.approx(
    np.sort(each)[-18:].mean(), rel=1e-5
  )


def test_class_weights_scale_their_pixels(rng):
  logits = rng.normal(size=(1, 4, 4, 2)).astype(np.float32)
  labels = np.zeros((1, 4, 4), np.int32)
  plain = float(losses.softmax_cross_entropy(logits, labels))
  assert float(losses.softmax_cross_entropy(logits, labels, class_weights=[3, 7])) == (
    pytest.approx(3 * plain, rel=1e-6)
  )


def test_hard_pixel_count_falls_to_the_fraction():
  mining = losses.HardMining(0.15, 100)
  counts = [int(losses.hard_pixel_count(1000, step, mining)) for step in (0, 50, 100, 10**6)]
  assert counts == [1000, 575, 150, 150]


def test_regularized_variables_are_those_of_the_original(golden):
  meta = golden.json('tf1/train_xception_65_os16_meta')
  expected = {entry['variable'] for entry in meta['regularized']}
  assert {name for name in meta['trainable'] if losses.is_regularized(name)} == expected


def test_l2_total_of_the_original(golden):
  import weight_recipe

  meta = golden.json('tf1/train_xception_65_os16_meta')
  shapes = {
    entry['name']: entry['shape'] for entry in golden.json('tf1/vars/xception_65_os16_train')
  }
  named = {
    entry['variable']: weight_recipe.value(entry['variable'], shapes[entry['variable']])
    for entry in meta['regularized']
  }
  assert float(losses.l2_loss(named)) == pytest.approx(meta['total'], rel=1e-5)


def test_embedding_and_head_keep_their_weight_decay():
  ones = np.ones([1, 1, 2, 3], np.float32)
  named = {
    'embedding/split_separable_conv2d_pointwise/weights': ones,
    'aspp0/weights': ones,
    'aspp1_depthwise/depthwise_weights': ones,
    'aspp0/BatchNorm/gamma': ones,
  }
  assert float(losses.l2_loss(named, weight_decay=0.0)) == pytest.approx(3 * 4e-5)
  assert float(losses.l2_loss(named, weight_decay=1.0)) == pytest.approx(3 * (1 + 4e-5))


@pytest.mark.parametrize(
  'fields, message',
  [
    ((1.5, 0), 'top_k_percent_pixels is 1.5; it must lie in'),
    ((0.5, -1), 'hard_example_mining_step is -1; it must be 0 or more'),
  ],
)
def test_bad_mining_is_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    losses.HardMining(*fields)


def test_matching_loss_is_cross_entropy_of_squared_distances(rng):
  squared = rng.uniform(0, 8, (2, 3, 5, 4)).astype(np.float32)
  labels = rng.integers(0, 3, (2, 5, 4))
  labels[0, 0] = 255
  distances = tf.Variable(1 - 2 / (1 + np.exp(squared)))
  with tf.GradientTape() as tape:
    loss = losses.matching_cross_entropy(distances, labels, mining=losses.ALL_PIXELS)
  odds = np.exp(-squared) / np.exp(-squared).sum(axis=1, keepdims=True)
  counts = labels != 255
  own = np.take_along_axis(odds, np.where(counts, labels, 0)[:, np.newaxis], axis=1)[:, 0]
  np.testing.assert_allclose(loss, -np.log(own[counts]).mean(), rtol=1e-4)
  # A pixel's own object is drawn near, the others are pushed away; ignored pixels feel nothing.
  signs = np.sign(np.moveaxis(tape.gradient(loss, distances).numpy(), 1, -1))
  expected = np.where(np.arange(3) == labels[..., np.newaxis], 1, -1) * counts[..., np.newaxis]
  np.testing.assert_array_equal(signs, expected)


def test_matching_loss_of_objects_that_are_nowhere_is_finite():
  distances = tf.Variable(tf.ones([1, 2, 3, 3]))
  with tf.GradientTape() as tape:
    loss = losses.matching_cross_entropy(distances, tf.zeros([1, 3, 3], tf.int32))
  np.testing.assert_allclose(loss, np.log(2), rtol=1e-5)
  assert np.all(np.isfinite(tape.gradient(loss, distances)))


def test_matching_logits_are_squared_distances():
  squared = np.array([[[[0.0, 0.5]], [[2.0, 9.0]]]], np.float32)  # [1, 2 objects, 1, 2]
  logits = losses.matching_logits(1 - 2 / (1 + np.exp(squared)))
  np.testing.assert_allclose(logits, [[[[0.0, -2.0], [-0.5, -9.0]]]], atol=1e-4, rtol=1e-3)


def sure_logits(labels, objects):
  """Logits that give every position to one object."""
  return 50.0 * tf.one_hot(labels, objects)


def test_overlap_loss_counts_objects_not_their_pixels():
  truth = np.zeros((1, 9, 9), np.int32)
  truth[0, :8, :8], truth[0, 8, 8] = 1, 2  # 64 positions, and one.
  predicted = truth.copy()
  predicted[0, 8, 8] = 1
  loss = losses.overlap_loss(sure_logits(predicted, 3), tf.constant(truth))
  # Object 1: (64 + 1) / (65 + 1); object 2: (0 + 1) / (1 + 1).
  assert float(loss) == pytest.approx((1 - 65 / 66 + 1 - 1 / 2) / 2, rel=1e-5)


def test_overlap_loss_of_objects_that_are_not_there():
  truth = tf.zeros([2, 5, 5], tf.int32)
  assert float(losses.overlap_loss(sure_logits(truth, 2), truth)) == pytest.approx(0, abs=1e-6)
  predicted = np.zeros((2, 5, 5), np.int32)
  predicted[1, 2, :3] = 1  # On one of two frames: J 1 / 4.
  loss = losses.overlap_loss(sure_logits(predicted, 2), truth)
  assert float(loss) == pytest.approx(0.5 * 3 / 4, rel=1e-5)
  assert float(losses.overlap_loss(sure_logits(truth, 1), truth)) == 0  # No object at all.


def test_overlap_loss_ignores_void():
  truth = np.zeros((1, 5, 5), np.int32)
  truth[0, 0], truth[0, 1:] = 1, 255
  wrong_in_void = np.ones((1, 5, 5), np.int32)
  loss = losses.overlap_loss(sure_logits(wrong_in_void, 2), tf.constant(truth))
  assert float(loss) == pytest.approx(0, abs=1e-6)


def test_overlap_loss_shrinks_labels_and_has_a_gradient():
  truth = tf.repeat(tf.constant([[[1] * 8 + [0] * 9]]), 17, axis=1)  # [1, 17, 17]
  logits = tf.Variable(tf.zeros([1, 5, 5, 2]))
  with tf.GradientTape() as tape:
    loss = losses.overlap_loss(logits, truth)
  # Positions 0, 4 of 0, 4, 8, 12, 16 are the object's, each with a probability of 1 / 2.
  assert float(loss) == pytest.approx(1 - (5 + 1) / (12.5 + 10 - 5 + 1), rel=1e-5)
  gradient = tape.gradient(loss, logits)[0, ..., 1]
  assert np.all(gradient[:, :2] < 0) and np.all(gradient[:, 2:] > 0)

"""The confidence: its formula against numpy, and that it falls where masks go wrong."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.inference import confidence
from feelvos_tf.model.feelvos import Maps


def expected(logits, global_distance, local_distance, index):
  """The formula for one object, position by position."""
  probabilities = np.exp(logits) / np.exp(logits).sum(0)
  won = np.argwhere(logits.argmax(0) == index)
  if not len(won):
    seen = sum(
      global_distance[:, y, x].argmin() == index and global_distance[index, y, x] < 0.5
      for y, x in np.ndindex(logits.shape[1:])
    )
    return 1 / (1 + np.exp(-(2.4 - 3.8 * seen / (seen + 50))))
  others = [i for i in range(len(logits)) if i != index]
  sure = np.mean([probabilities[index, y, x] for y, x in won])
  distance = np.mean([global_distance[index, y, x] for y, x in won])
  margin = np.mean(
    [local_distance[others, y, x].min() - local_distance[index, y, x] for y, x in won]
  )
  score = -1.2 + 3.2 * np.log(sure / (1 - sure)) - 4.8 * distance + 1.8 * margin
  return 1 / (1 + np.exp(-score))


def test_the_formula(rng):
  logits = rng.normal(size=(4, 9, 13)).astype(np.float32)
  logits[2] = -5  # An object that wins nothing.
  maps = [rng.uniform(size=(4, 9, 13)).astype(np.float32) for _ in range(2)]
  found = confidence.of_frame(tf.constant(logits), Maps(maps[0], None, maps[1])).numpy()
  np.testing.assert_allclose(found, [expected(logits, *maps, i) for i in range(4)], atol=1e-5)


def disc(inside, outside, size=(20, 20)):
  y, x = np.ogrid[: size[0], : size[1]]
  return np.where((y - 10) ** 2 + (x - 10) ** 2 < 36, inside, outside).astype(np.float32)


def test_a_sure_near_mask_is_trusted_and_worse_ones_less():
  """What a good mask looks like, and each of the three signs of a bad one."""
  cases = {
    'good': (4.0, 0.2, 0.1),
    'unsure': (0.1, 0.2, 0.1),
    'far from the reference': (4.0, 0.9, 0.1),
    'mixed with its neighbour': (4.0, 0.2, 0.75),
  }
  values = {}
  for name, (logit, far, local) in cases.items():
    logits = tf.stack([disc(0, 4), disc(logit, 0)])
    distances = [
      tf.stack([disc(0.9, 0.1), disc(far, 0.9)]),
      tf.stack([disc(0.8, 0.1), disc(local, 0.8)]),
    ]
    maps = Maps(distances[0], None, distances[1])
    values[name] = float(confidence.of_frame(logits, maps)[1])
  assert values['good'] > 0.95
  assert all(values['good'] > values[name] for name in cases if name != 'good')
  assert values['unsure'] < 0.5


def test_an_object_that_matching_still_sees_is_lost_rather_than_gone():
  logits = tf.stack([disc(5, 5), disc(0, 0)])
  gone = Maps(tf.stack([disc(0.2, 0.2), disc(0.9, 0.9)]), None, None)
  lost = Maps(tf.stack([disc(0.9, 0.2), disc(0.2, 0.9)]), None, None)
  assert float(confidence.of_frame(logits, gone)[1]) > 0.9
  assert float(confidence.of_frame(logits, lost)[1]) < 0.5


@pytest.mark.parametrize('count', [1, 3])
def test_models_without_distances(count):
  logits = tf.random.stateless_normal([count, 5, 7], [1, 2])
  values = confidence.of_frame(logits, Maps(None, None, None)).numpy()
  assert values.shape == (count,) and np.all((values > 0) & (values <= 1))

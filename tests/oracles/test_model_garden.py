"""TensorFlow's Model Garden (tf-models-official 2.20) as an oracle: what both compute is equal.

The Model Garden has DeepLab's losses and schedules, not FEELVOS. Differences are tested, too, so
that they stand somewhere: what it counts, and where it starts to decay.
"""

import numpy as np
import pytest
import tensorflow as tf

needs_models = 'needs the extra [models]: tf-models-official==2.20.0, TensorFlow 2.20'
pytest.importorskip('official', reason=needs_models)

from official.modeling.optimization import lr_schedule
from official.vision.evaluation import iou
from official.vision.losses import segmentation_losses
import tf_keras

from feelvos_tf.training import losses
from feelvos_tf.training.options import ScheduleOptions
from feelvos_tf.training.schedule import learning_rate

IGNORED = 255


@pytest.fixture
def pixels(rng):
  """(logits [2, 9, 12, 5], labels [2, 9, 12] with ignored ones)."""
  labels = rng.integers(0, 5, [2, 9, 12]).astype(np.int32)
  labels[rng.random(labels.shape) < 0.2] = IGNORED
  return (3 * rng.standard_normal([2, 9, 12, 5])).astype(np.float32), labels


def theirs(logits, labels, top_k=1.0):
  loss = segmentation_losses.SegmentationLoss(
    label_smoothing=0.0,
    class_weights=None,
    ignore_label=IGNORED,
    use_groundtruth_dimension=False,
    top_k_percent_pixels=top_k,
  )
  return float(loss(tf.constant(logits), tf.constant(labels[..., np.newaxis])))


def pixel_losses(logits, labels):
  """Cross-entropy of every pixel in float64 numpy, 0 where ignored: the third opinion."""
  logits = logits.astype(np.float64)
  log_sum = np.log(np.exp(logits).sum(-1))
  index = np.where(labels == IGNORED, 0, labels)[..., np.newaxis]
  picked = np.take_along_axis(logits, index, -1)[..., 0]
  return np.where(labels == IGNORED, 0.0, log_sum - picked)


def test_cross_entropy(pixels):
  logits, labels = pixels
  ours = losses.softmax_cross_entropy(logits, labels)
  expected = pixel_losses(logits, labels).sum() / (labels != IGNORED).sum()
  np.testing.assert_allclose(theirs(logits, labels), expected, rtol=1e-5)
  np.testing.assert_allclose(float(ours), expected, rtol=1e-5)


@pytest.mark.parametrize('fraction', [0.1, 0.25, 0.5])
def test_top_k(pixels, fraction):
  """Of one image without ignored pixels both take the same hardest pixels."""
  logits, labels = pixels[0][:1], np.where(pixels[1][:1] == IGNORED, 0, pixels[1][:1])
  mining = losses.HardMining(fraction, 0)
  ours = losses.softmax_cross_entropy(logits, labels, step=0, mining=mining)
  hardest = np.sort(pixel_losses(logits, labels).ravel())[::-1][: int(fraction * labels.size)]
  np.testing.assert_allclose(theirs(logits, labels, fraction), hardest.mean(), rtol=1e-5)
  np.testing.assert_allclose(float(ours), hardest.mean(), rtol=1e-5)


def schedule(steps, slow, **options):
  options = ScheduleOptions(
    base_learning_rate=0.0007,
    training_number_of_steps=1000,
    slow_start_step=slow,
    slow_start_learning_rate=1e-4,
    **options,
  )
  return np.array([float(learning_rate(step, options)) for step in steps])


STEPS = (0, 1, 7, 99, 100, 101, 500, 998, 999, 1000, 1200)


def test_poly():
  their = tf_keras.optimizers.schedules.PolynomialDecay(0.0007, 1000, 0.0, power=0.9)
  expected = [float(their(step)) for step in STEPS]
  np.testing.assert_allclose(schedule(STEPS, 0), expected, rtol=1e-5, atol=1e-12)


def test_cosine():
  their = tf_keras.optimizers.schedules.CosineDecay(0.0007, 1000)
  expected = [float(their(step)) for step in STEPS]
  ours = schedule(STEPS, 0, learning_policy='cosine')
  np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-10)


def test_poly_with_linear_warm_up_decays_later_than_theirs():
  """The original's decay begins after the slow start; the Model Garden's runs on beneath it.

  So ours is theirs with a decay that is shorter by the slow start and shifted by it.
  """
  ours = schedule(STEPS, 100, slow_start_burnin_type='linear')
  decay = tf_keras.optimizers.schedules.PolynomialDecay(0.0007, 900, 0.0, power=0.9)
  shifted = lr_schedule.PolynomialDecayWithOffset(
    offset=100, initial_learning_rate=0.0007, decay_steps=900, end_learning_rate=0.0, power=0.9
  )
  warm_up = lr_schedule.LinearWarmup(shifted, warmup_steps=100, warmup_learning_rate=1e-4)
  np.testing.assert_allclose(ours, [float(warm_up(step)) for step in STEPS], rtol=1e-5, atol=1e-12)
  np.testing.assert_allclose(ours[STEPS.index(101)], float(decay(1)), rtol=1e-5)
  usual = lr_schedule.LinearWarmup(
    tf_keras.optimizers.schedules.PolynomialDecay(0.0007, 1000, 0.0, power=0.9), 100, 1e-4
  )
  # 0.0007 * 0.9 ** 0.9: what is left of the base rate after 100 of 1000 steps.
  np.testing.assert_allclose(float(usual(100)), 0.0007 * 0.9**0.9, rtol=1e-5)
  np.testing.assert_allclose(ours[STEPS.index(100)], 0.0007, rtol=1e-6)


def test_region_similarity_is_their_iou_of_the_object(rng):
  """J of a frame is the IoU of the object's pixels; their metric gives it per class."""
  from feelvos_tf.evaluation import measures

  truth, guess = (rng.random([2, 31, 47]) < 0.4).astype(np.int32)
  metric = iou.PerClassIoU(num_classes=2)
  metric.update_state(truth, guess)
  expected = np.asarray(metric.result())[1]
  np.testing.assert_allclose(
    measures.region_similarity(truth == 1, guess == 1), expected, rtol=1e-6
  )

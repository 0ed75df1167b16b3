"""Losses and gradients of one training batch; knows nothing of files, loops or devices.

Source: paper section 3.6; original `research/feelvos/train.py` and `utils/embedding_utils.py`,
`get_logits_with_matching`.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING

import tensorflow as tf

from feelvos_tf.datasets.object_ids import VOID_ID
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.model import feelvos
from feelvos_tf.model import geometry
from feelvos_tf.training import losses
from feelvos_tf.training.options import LossOptions

if TYPE_CHECKING:
  import keras


@dataclasses.dataclass
class VideoResult:
  """Results of the model for one video of a batch.

  Attributes:
    loss: float32 scalar.
    logits: float32 [current frames, h4, w4, objects].
    maps: `model.Maps` of the last current frame.
  """

  loss: tf.Tensor
  logits: tf.Tensor | None = None
  maps: feelvos.Maps | None = None


def video_results(
  model: 'keras.Model',
  batch: dict[str, tf.Tensor],
  step: int | tf.Tensor,
  options: LossOptions,
  first_video: int | tf.Tensor = 0,
) -> list[VideoResult]:
  """Forward pass and loss of each video.

  Args:
    model: `Feelvos`; `DeepLabV3Plus` with semantic logits for the loss 'softmax'.
    batch: dict of `images` uint8 or float32 [videos, frames, height, width, 3] 0..255 in the order
      reference, previous, current, ...; `labels` int32 [videos, frames, height, width], object
      index, 255 ignored; `num_objects` int32 [videos]; optionally `previous_labels` int32 [videos,
      height, width], the damaged labels of the previous frame, and `twins` bool like `labels`,
      pixels that the losses of matching leave out.
    step: integer scalar, training step.
    options: LossOptions.
    first_video: integer scalar, place of the first video in the batch of all devices. What is
      random depends on it, so that the result does not depend on the number of devices.

  Returns:
    list of VideoResult.
  """
  images, labels = batch['images'], tf.cast(batch['labels'], tf.int32)
  num_videos, num_frames = labels.shape[0], labels.shape[1]
  flat = tf.reshape(images, tf.concat([[num_videos * num_frames], tf.shape(images)[2:]], 0))
  if options.classification_loss == 'softmax':
    return _semantic_results(model, flat, labels, step, options)
  features, embeddings = model.extract(flat, training=options.dropout)
  # Not slices: the gradient of each would be a tensor of the whole batch, nearly all zeros.
  features, embeddings = (
    tf.unstack(value, num_videos * num_frames) for value in (features, embeddings)
  )
  previous, twins = batch.get('previous_labels'), batch.get('twins')
  results = []
  for video in range(num_videos):
    part = slice(video * num_frames, (video + 1) * num_frames)
    seed = tf.stack([tf.cast(step, tf.int32), options.seed * 1024 + first_video + video])
    if options.classification_loss == 'triplet':
      loss = losses.triplet_loss(tf.stack(embeddings[part]), labels[video], seed=seed)
      results.append(VideoResult(loss))
      continue
    logits, maps = _video_logits(
      model,
      features[part],
      embeddings[part],
      labels[video],
      batch['num_objects'][video],
      None if previous is None else previous[video],
      seed,
      options,
    )
    told_apart = labels[video, 2:]
    if twins is not None:
      told_apart = tf.where(twins[video, 2:], VOID_ID, told_apart)
    loss = _video_loss(logits, maps, labels[video, 2:], told_apart, step, options)
    results.append(VideoResult(loss, logits, maps[-1]))
  return results


def _video_loss(
  logits: tf.Tensor,
  maps: list[feelvos.Maps],
  labels: tf.Tensor,
  told_apart: tf.Tensor,
  step: int | tf.Tensor,
  options: LossOptions,
) -> tf.Tensor:
  """Loss of the current frames of a video: of pixels, of objects, of global matching alone.

  `told_apart` are the labels for matching, which has nothing but looks to tell objects apart.
  """
  loss = losses.video_cross_entropy(
    logits, labels, step=step, mining=options.mining, upsample_logits=options.upsample_logits
  )
  if options.overlap_loss_weight:
    loss += options.overlap_loss_weight * losses.overlap_loss(logits, labels)
  if options.matching_loss_weight or options.matching_overlap_loss_weight:
    # Of single pixels, whatever the head sees: an average beside an object holds distances of the
    # object's own pixels, and the loss would pull the background there towards it.
    distances = tf.stack([frame.global_distance for frame in maps])
  if options.matching_loss_weight:
    loss += options.matching_loss_weight * losses.matching_cross_entropy(
      distances, told_apart, step=step, mining=options.mining
    )
  if options.matching_overlap_loss_weight:
    loss += options.matching_overlap_loss_weight * losses.overlap_loss(
      losses.matching_logits(distances), told_apart
    )
  return loss


def _semantic_results(
  model: 'keras.Model',
  images: tf.Tensor,
  labels: tf.Tensor,
  step: int | tf.Tensor,
  options: LossOptions,
) -> list[VideoResult]:
  """One VideoResult with the loss of DeepLab over all frames of the batch."""
  logits = model(tf.cast(images, tf.float32), training=options.dropout)['logits']
  loss = losses.softmax_cross_entropy(
    logits,
    tf.reshape(labels, tf.concat([[-1], tf.shape(labels)[2:]], 0)),
    step=step,
    mining=options.mining,
    upsample_logits=options.upsample_logits,
  )
  return [VideoResult(loss, logits)]


def _video_logits(
  model: 'keras.Model',
  features: tf.Tensor,
  embeddings: tf.Tensor,
  labels: tf.Tensor,
  num_objects: int | tf.Tensor,
  previous_labels: tf.Tensor | None,
  seed: tf.Tensor,
  options: LossOptions,
) -> tuple[tf.Tensor, list[feelvos.Maps]]:
  """Logits [frames - 2, h4, w4, objects] and list of Maps of the current frames of one video."""
  reference = model.prepare_reference(
    embeddings[0],
    geometry.shrink_labels(labels[0]),
    num_objects,
    max_pixels_per_object=options.max_neighbors_per_object,
    seed=seed,
  )
  if previous_labels is None:
    previous_labels = labels[1]
  previous_labels = geometry.shrink_labels(tf.cast(previous_labels, tf.int32))
  if options.drop_previous_probability:
    # Another stream than the reference pixels': the same seed would tie one to the other.
    drop = tf.random.stateless_uniform([], seed + [0, 1 << 20]) < options.drop_previous_probability
    previous_labels = tf.where(drop, VOID_ID, previous_labels)
  previous = model.previous_frame(embeddings[1], previous_labels, num_objects)
  all_logits, all_maps = [], []
  for frame in range(2, labels.shape[0]):
    maps = model.match(embeddings[frame], reference, previous, num_objects)
    guidance = model.guidance(reference, previous, num_objects)
    logits = model.segment(features[frame], maps, training=True, guidance=guidance)
    all_logits.append(logits)
    all_maps.append(maps)
    # What a later frame receives of this one is data, as at inference: no gradient through it.
    predicted = tf.stop_gradient(logits)
    previous = model.previous_frame(
      embeddings[frame],
      tf.argmax(predicted, axis=0, output_type=tf.int32),
      num_objects,
      tf.nn.softmax(predicted, axis=0),
    )
  return tf.transpose(tf.stack(all_logits), [0, 2, 3, 1]), all_maps


def mean_iou(results: Sequence[VideoResult], labels: tf.Tensor) -> tf.Tensor:
  """Mean intersection over union of what the model predicts for the current frames.

  Args:
    results: list of VideoResult with logits [frames - 2, h4, w4, objects].
    labels: int32 [videos, frames, height, width], object index, 255 ignored.

  Returns:
    float32 scalar: the mean over videos of the mean over objects (background included) that are
    there or are predicted, at the size of the logits.
  """
  return tf.reduce_mean(
    tf.stack([_video_iou(result.logits, labels[video, 2:]) for video, result in enumerate(results)])
  )


def _video_iou(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  count = tf.shape(logits)[-1]
  predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
  truth = geometry.shrink_labels(labels, tf.shape(logits)[1:3])
  pairs = tf.boolean_mask(truth * count + predicted, truth < count)
  table = tf.reshape(
    tf.math.bincount(pairs, minlength=count * count, maxlength=count * count, dtype=tf.float32),
    [count, count],
  )
  both = tf.linalg.diag_part(table)
  either = tf.reduce_sum(table, axis=0) + tf.reduce_sum(table, axis=1) - both
  seen = tf.cast(either > 0, tf.float32)
  return tf.math.divide_no_nan(
    tf.reduce_sum(tf.math.divide_no_nan(both, either)), tf.reduce_sum(seen)
  )


def trained_variables(model: 'keras.Model') -> 'dict[str, keras.Variable]':
  """The variables that are trained, by the original's names, in the order of creation."""
  return {
    name: variable
    for name, variable in tf1_checkpoint.variables_by_name(model).items()
    if variable.trainable
  }


def gradients(
  model: 'keras.Model',
  variables: 'Mapping[str, keras.Variable]',
  batch: dict[str, tf.Tensor],
  step: int | tf.Tensor,
  options: LossOptions,
  loss_scale: float | tf.Tensor = 1.0,
  regularization_scale: float | tf.Tensor | None = None,
  first_video: int | tf.Tensor = 0,
) -> tuple[list[VideoResult], tf.Tensor, list[tf.Tensor | None]]:
  """Losses of a batch and their gradients.

  Args:
    model: see `video_results`.
    variables: dict of `trained_variables`.
    batch: see `video_results`.
    step: integer scalar.
    options: LossOptions.
    loss_scale: float or float32 scalar that multiplies the losses of the videos.
    regularization_scale: float or float32 scalar that multiplies the regularization; None takes
      `loss_scale`.
    first_video: see `video_results`.

  Returns:
    (list of VideoResult, regularization float32 scalar, list of gradients in the order, shapes and
    dtypes of `variables`, of loss_scale * sum of the videos' losses + regularization_scale *
    regularization). A variable the loss does not depend on has the gradient None.
  """
  if regularization_scale is None:
    regularization_scale = loss_scale
  values = [variable.value for variable in variables.values()]
  with tf.GradientTape() as tape:
    results = video_results(model, batch, step, options, first_video)
    regularization = losses.l2_loss(variables, options.weight_decay)
    scaled = (
      tf.add_n([result.loss for result in results]) * loss_scale
      + regularization * regularization_scale
    )
  return results, regularization, tape.gradient(scaled, values)

"""Training losses: cross entropy with hard pixel mining, triplet loss, L2.

Facts: `research/feelvos/utils/train_utils.py` and `research/deeplab/utils/train_utils.py` of
the original, paper section 3.5. Everything is computed in float32, whatever the type of the
inputs, because sums over hundreds of thousands of pixels need it.

  >>> logits = tf.zeros([1, 17, 17, 3])           # current frames of one video, 3 objects
  >>> labels = tf.zeros([1, 65, 65], tf.int32)
  >>> float(video_cross_entropy(logits, labels))  # log(3)
  1.0986...
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from feelvos_tf.datasets.object_ids import VOID_ID
from feelvos_tf.deeplab import resizing
from feelvos_tf.model import geometry
from feelvos_tf.training.options import HardMining

# L2 factor of the pointwise weights of embedding and head. The original leaves the weight
# decay argument of `split_separable_conv2d` at its default there, whatever the flag says.
EMBEDDING_AND_HEAD_WEIGHT_DECAY = 4e-5

# Triplet loss constants of the original `add_triplet_loss_for_each_scale`.
TRIPLET_ANCHORS = 256
TRIPLET_MARGIN = 1.0
TRIPLET_SCALE = 3.0

# Stands for "no such pixel" in a minimum over squared distances.
_FAR = 1e20
# Distances above it count as it in `matching_cross_entropy`; the squared distance is 14.6 there.
_LARGEST_DISTANCE = 1.0 - 2.0**-20
# Added to the logits of objects that only pad a batch; exp() of it is exactly 0.
_NO_OBJECT_LOGIT = -1e9


ALL_PIXELS = HardMining(1.0, 0)


def hard_pixel_count(
  num_pixels: int | tf.Tensor, step: int | tf.Tensor, mining: HardMining
) -> tf.Tensor:
  """How many pixels count at a step: int((r * p + 1 - r) * num_pixels), r = min(1, step / s).

  Args:
    num_pixels: integer scalar, pixels of one video (ignored ones included, as in the original).
    step: integer scalar, the training step.
    mining: HardMining with p = top_k_percent_pixels and s = hard_example_mining_step.

  Returns:
    int32 scalar tensor in [0, num_pixels]. Computed in float32, like the original.
  """
  fraction = tf.constant(mining.top_k_percent_pixels, tf.float32)
  if mining.hard_example_mining_step:
    ratio = tf.minimum(1.0, tf.cast(step, tf.float32) / float(mining.hard_example_mining_step))
    fraction = ratio * fraction + (1.0 - ratio)
  return tf.cast(fraction * tf.cast(num_pixels, tf.float32), tf.int32)


def mask_absent_objects(logits: tf.Tensor, num_objects: int | tf.Tensor) -> tf.Tensor:
  """Takes the objects that only pad a batch out of the softmax.

  Args:
    logits: float [..., objects].
    num_objects: integer scalar, objects that exist (background included).

  Returns:
    Logits of the same shape and dtype; a padded object gets a probability and a gradient of
    exactly 0.
  """
  exists = tf.range(tf.shape(logits)[-1]) < tf.cast(num_objects, tf.int32)
  return tf.where(exists, logits, tf.constant(_NO_OBJECT_LOGIT, logits.dtype))


def _match_sizes(
  logits: tf.Tensor, labels: tf.Tensor, upsample_logits: bool
) -> tuple[tf.Tensor, tf.Tensor]:
  """Brings logits [n, h, w, c] and labels [n, H, W] to one size; returns both."""
  logits = tf.cast(logits, tf.float32)
  labels = tf.cast(labels, tf.int32)
  if labels.shape.rank == 4:
    labels = tf.squeeze(labels, axis=-1)
  if upsample_logits:
    logits = resizing.resize_bilinear(logits, tf.shape(labels)[1:3])
  else:
    labels = geometry.shrink_labels(labels, tf.shape(logits)[1:3])
  return logits, labels


def _pixel_cross_entropy(
  logits: tf.Tensor, labels: tf.Tensor, ignore_label: int
) -> tuple[tf.Tensor, tf.Tensor]:
  """Cross entropy of every pixel.

  Args:
    logits: float32 [pixels, classes].
    labels: int32 [pixels].
    ignore_label: int; such pixels, and labels without a logit, have no loss.

  Returns:
    (losses float32 [pixels], counts float32 [pixels] in {0, 1}: is the pixel not ignored).
  """
  counts = tf.not_equal(labels, ignore_label)
  valid = counts & (labels >= 0) & (labels < tf.shape(logits)[-1])
  losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
    labels=tf.where(valid, labels, 0), logits=logits
  )
  return tf.where(valid, losses, 0.0), tf.cast(counts, tf.float32)


def video_cross_entropy(
  logits: tf.Tensor,
  labels: tf.Tensor,
  *,
  step: int | tf.Tensor = 0,
  mining: HardMining = HardMining(),
  upsample_logits: bool = True,
  num_objects: int | tf.Tensor | None = None,
  ignore_label: int = VOID_ID,
) -> tf.Tensor:
  """Softmax cross entropy over the objects of one video, for its hardest pixels.

  The mean is over the pixels that are not ignored among the top k, as in the original
  `add_dynamic_softmax_cross_entropy_loss_for_each_scale`.

  Args:
    logits: float [frames, h, w, objects], the current frames of one video.
    labels: integer [frames, H, W] or [frames, H, W, 1], object indices.
    step: integer scalar, training step, for the mining.
    mining: HardMining. The k pixels are taken from all frames of the video together.
    upsample_logits: bool; True compares at full size, False shrinks the labels.
    num_objects: optional integer scalar, when the objects axis is padded.
    ignore_label: int, label of pixels without a loss.

  Returns:
    float32 scalar tensor; 0 if no pixel counts.
  """
  if num_objects is not None:
    logits = mask_absent_objects(logits, num_objects)
  logits, labels = _match_sizes(logits, labels, upsample_logits)
  logits = tf.reshape(logits, [-1, tf.shape(logits)[-1]])
  losses, counts = _pixel_cross_entropy(logits, tf.reshape(labels, [-1]), ignore_label)
  if mining.top_k_percent_pixels < 1.0:
    num_hard = hard_pixel_count(tf.size(losses), step, mining)
    losses, hardest = tf.math.top_k(losses, num_hard, sorted=False)
    counts = tf.gather(counts, hardest)
  return tf.math.divide_no_nan(tf.reduce_sum(losses * counts), tf.reduce_sum(counts))


def matching_cross_entropy(distances: tf.Tensor, labels: tf.Tensor, **options: Any) -> tf.Tensor:
  """Loss of the embedding alone: which object has the nearest pixel?

  `video_cross_entropy` of `matching_logits`, at the size of the distances.

  Args:
    distances: float32 [frames, objects, h, w] in [0, 1], of global matching.
    labels: integer [frames, H, W], object indices.
    **options: see `video_cross_entropy`.

  Returns:
    float32 scalar tensor.

  Source: none in the original; it has the triplet loss for the embedding instead.
  """
  return video_cross_entropy(matching_logits(distances), labels, upsample_logits=False, **options)


def matching_logits(distances: tf.Tensor) -> tf.Tensor:
  """-||e_p - e_q||^2 of each object's nearest pixel q, as logits of the objects.

  The squared distance is what the distance d was made of: log((1 + d) / (1 - d)); where d is 1 to
  about 2^-20 there is no gradient any more.

  Args:
    distances: float [frames, objects, h, w] in [0, 1], of global matching.

  Returns:
    float32 [frames, h, w, objects], 0 or less.
  """
  distances = tf.minimum(tf.cast(distances, tf.float32), _LARGEST_DISTANCE)
  return -2.0 * tf.math.atanh(tf.transpose(distances, [0, 2, 3, 1]))


def overlap_loss(logits: tf.Tensor, labels: tf.Tensor, *, ignore_label: int = VOID_ID) -> tf.Tensor:
  """One minus the soft J of every object, which counts small objects as much as large ones.

  The J of probabilities p against a mask y is sum(p y) / sum(p + y - p y), with 1 added to both:
  an object that is not on a frame has J 1 if it gets nothing there, 1/2 if it gets one position.

  Args:
    logits: float [frames, h, w, objects], the current frames of one video; the first object is the
      background, which does not count.
    labels: integer [frames, H, W], object indices; shrunk to (h, w).
    ignore_label: int, label of pixels without a loss.

  Returns:
    float32 scalar tensor in [0, 1], the mean over objects and frames; 0 without objects.

  Source: none in the original. Soft J: Rahman and Wang, Optimizing Intersection-Over-Union in Deep
  Neural Networks for Image Segmentation (ISVC 2016).
  """
  logits, labels = _match_sizes(logits, labels, upsample_logits=False)
  counts = tf.cast(tf.not_equal(labels, ignore_label), tf.float32)[..., tf.newaxis]
  masks = tf.one_hot(labels, tf.shape(logits)[-1])[..., 1:] * counts
  probabilities = tf.nn.softmax(logits)[..., 1:] * counts
  both = tf.reduce_sum(probabilities * masks, axis=[1, 2])
  either = tf.reduce_sum(probabilities + masks, axis=[1, 2]) - both
  losses = 1.0 - (both + 1.0) / (either + 1.0)
  return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(tf.size(losses), tf.float32))


def cross_entropy(
  logits: Sequence[tf.Tensor], labels: Sequence[tf.Tensor] | tf.Tensor, **options: Any
) -> tf.Tensor:
  """`video_cross_entropy` of every video of a batch; the original adds them up.

  Args:
    logits: sequence with one float [frames, h, w, objects] for each video.
    labels: sequence of, or one tensor with, integer [frames, H, W] for each video.
    **options: see `video_cross_entropy`; `num_objects` may be a sequence.

  Returns:
    float32 [videos] tensor.
  """
  num_objects = options.pop('num_objects', None)
  losses = []
  for index, video_logits in enumerate(logits):
    count = None if num_objects is None else num_objects[index]
    losses.append(video_cross_entropy(video_logits, labels[index], num_objects=count, **options))
  return tf.stack(losses)


def softmax_cross_entropy(
  logits: tf.Tensor,
  labels: tf.Tensor,
  *,
  step: int | tf.Tensor = 0,
  mining: HardMining = ALL_PIXELS,
  upsample_logits: bool = True,
  class_weights: Sequence[float] | None = None,
  ignore_label: int = VOID_ID,
) -> tf.Tensor:
  """Plain softmax cross entropy of DeepLab, over a whole batch of images.

  Mining differs from the video loss: the sum is divided by the number of losses among the top k
  that are not 0 (`add_softmax_cross_entropy_loss_for_each_scale`).

  Args:
    logits: float [batch, h, w, classes].
    labels: integer [batch, H, W] or [batch, H, W, 1].
    step: integer scalar, training step, for the mining.
    mining: HardMining.
    upsample_logits: bool; True compares at full size, False shrinks the labels.
    class_weights: optional sequence of one float per class.
    ignore_label: int, label of pixels without a loss.

  Returns:
    float32 scalar tensor; 0 if no pixel counts.
  """
  logits, labels = _match_sizes(logits, labels, upsample_logits)
  labels = tf.reshape(labels, [-1])
  logits = tf.reshape(logits, [-1, tf.shape(logits)[-1]])
  losses, counts = _pixel_cross_entropy(logits, labels, ignore_label)
  if class_weights is not None:
    weights = tf.constant(class_weights, tf.float32)
    losses *= tf.gather(weights, tf.clip_by_value(labels, 0, tf.size(weights) - 1))
  if mining.top_k_percent_pixels < 1.0:
    num_hard = hard_pixel_count(tf.size(losses), step, mining)
    losses, _ = tf.math.top_k(losses, num_hard, sorted=False)
    counts = tf.cast(tf.not_equal(losses, 0.0), tf.float32)
  return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.reduce_sum(counts))


def triplet_loss(
  embeddings: tf.Tensor,
  labels: tf.Tensor,
  *,
  anchors: tf.Tensor | None = None,
  seed: tf.Tensor | None = None,
  ignore_label: int = VOID_ID,
) -> tf.Tensor:
  """Batch-hard-like triplet loss between the first frame of a video and the others.

  An anchor is a pixel of the first frame; its positive (negative) is the *nearest* pixel of the
  other frames with the same (another) label: relu(d_pos - d_neg + 1). Distances are squared.
  The mean over anchors is multiplied by 3, as in `add_triplet_loss_for_each_scale`. Unlike
  there, ignored pixels are neither anchors nor partners.

  Args:
    embeddings: float [frames, h, w, dimension] of one video, at least 2 frames.
    labels: integer [frames, H, W] or [frames, H, W, 1]; shrunk to (h, w).
    anchors: optional int32 [n] indices into the h * w pixels of the first frame.
    seed: int32 [2] for the choice of 256 anchors, when there are more pixels and `anchors` is
      not given. None draws a new one in every call.
    ignore_label: int, label of pixels that take no part.

  Returns:
    float32 scalar tensor, 0 or more. Average it over the videos of a batch.
  """
  embeddings, labels = _match_sizes(embeddings, labels, upsample_logits=False)
  dimension = embeddings.shape[-1]
  if anchors is None:
    anchors = _choose_anchors(tf.size(labels[0]), seed)
  anchor_labels = tf.gather(tf.reshape(labels[0], [-1]), anchors)
  anchor_vectors = tf.gather(tf.reshape(embeddings[0], [-1, dimension]), anchors)
  pool = tf.reshape(embeddings[1:], [-1, dimension])
  pool_labels = tf.reshape(labels[1:], [-1])

  squared = (
    tf.reduce_sum(anchor_vectors**2, axis=1)[:, tf.newaxis]
    + tf.reduce_sum(pool**2, axis=1)
    - 2.0 * tf.matmul(anchor_vectors, pool, transpose_b=True)
  )
  counts = tf.not_equal(pool_labels, ignore_label)
  same = tf.equal(anchor_labels[:, tf.newaxis], pool_labels)
  nearest_same = tf.reduce_min(tf.where(same & counts, squared, _FAR), axis=1)
  nearest_other = tf.reduce_min(tf.where(~same & counts, squared, _FAR), axis=1)
  losses = tf.nn.relu(nearest_same - nearest_other + TRIPLET_MARGIN)
  usable = tf.not_equal(anchor_labels, ignore_label) & tf.reduce_any(same & counts, axis=1)
  return TRIPLET_SCALE * tf.reduce_mean(tf.where(usable, losses, 0.0))


def _choose_anchors(num_pixels: int | tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
  """int32 indices of at most 256 pixels, all different."""
  if seed is None:
    return tf.random.shuffle(tf.range(num_pixels))[:TRIPLET_ANCHORS]
  return tf.random.experimental.stateless_shuffle(tf.range(num_pixels), seed)[:TRIPLET_ANCHORS]


def is_regularized(name: str) -> bool:
  """Whether the original puts L2 on a variable.

  Args:
    name: str, name of the variable in a TF1 checkpoint, e.g. 'aspp0/weights'.

  Returns:
    bool. True for convolution and pointwise `weights`; False for depthwise kernels, biases and
    batch norm (`_meta.json` of the golden training step: 84 of 460 variables).
  """
  return name.rsplit('/', 1)[-1] == 'weights'


def weight_decay_of(name: str, weight_decay: float) -> float:
  """L2 factor of a regularised variable: the flag's, or the fixed one of embedding and head."""
  scope = name.split('/', 1)[0]
  fixed = scope in ('embedding', 'embedding_seg')
  return EMBEDDING_AND_HEAD_WEIGHT_DECAY if fixed else weight_decay


def l2_loss(
  named_variables: Mapping[str, tf.Variable] | Iterable[tuple[str, tf.Variable]],
  weight_decay: float = 4e-5,
) -> tf.Tensor:
  """L2 regularisation: factor * sum(w ** 2) / 2 over the variables the original regularises.

  Args:
    named_variables: dict or iterable of (TF1 checkpoint name, float variable or tensor).
    weight_decay: float, 0 or more; see `weight_decay_of` for the exception.

  Returns:
    float32 scalar tensor.
  """
  if isinstance(named_variables, Mapping):
    named_variables = named_variables.items()
  terms = [
    weight_decay_of(name, weight_decay) * tf.nn.l2_loss(tf.cast(variable, tf.float32))
    for name, variable in named_variables
    if is_regularized(name)
  ]
  return tf.add_n(terms) if terms else tf.constant(0.0)

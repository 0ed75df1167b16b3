"""How likely an object's mask is good, from what the model computes for a frame anyway.

The confidence is the estimated probability that the mask and the object have a J (intersection
over union) of at least .5. It is a logistic regression. For an object that is visible it takes,
over the positions that the object won:

- the mean probability, as a logit: an unsure mask is often wrong;
- the mean global distance to the object: high where what is masked is not on the reference frames;
- the mean of how much farther the nearest other object is than the object, by local distance: low
  where the object and its neighbourhood have mixed.

For an object without a position: how many positions global matching alone would give it. With
many of them the object is rather lost than gone.

The weights were fitted to masks of the default model; docs/notes/confidence.md says to which, and
how well it predicts. With other weights the order of frames is of use, the value less so.
This is ours: the paper has no confidence.
"""

import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.inference import winner
from feelvos_tf.model.feelvos import Maps

_VISIBLE = -1.2
_PER_LOGIT = 3.2
_PER_GLOBAL_DISTANCE = -4.8
_PER_LOCAL_MARGIN = 1.8
_EMPTY = 2.4
_PER_SEEN = -3.8

# Global distance up to which a position counts as seen, and the number of positions (at stride 4)
# that count half.
_NEAR = 0.5
_HALF_SEEN = 50.0
# Probabilities are kept from 0 and 1 by this.
_LEAST = 1e-3
# Medians of masks with a J of at least .5, for a model without one of the distances.
_USUAL_GLOBAL_DISTANCE = 0.37
_USUAL_LOCAL_MARGIN = 0.48


def of_frame(logits: tf.Tensor, maps: Maps, found: tf.Tensor | None = None) -> tf.Tensor:
  """Confidence of every object's mask on one frame.

  Args:
    logits: float32 [objects, h4, w4].
    maps: `Maps` of the frame; distances may be None.
    found: float32 [objects], in how many positions something else than `logits` has an object;
      None: as global matching alone says.

  Returns:
    float32 [objects] in 0..1; the first is the background's.
  """
  count = tf.shape(logits)[0]
  index = tf.range(count)[:, tf.newaxis, tf.newaxis]
  won = tf.cast(winner.of_logits(logits)[tf.newaxis] == index, tf.float32)
  area = tf.reduce_sum(won, axis=[1, 2])

  def mean(values: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(tf.reduce_sum(won * values, axis=[1, 2]), area)

  global_distance, local = maps.global_distance, maps.local_distance
  has_global, has_local = global_distance is not None, local is not None
  distance = mean(global_distance) if has_global else _USUAL_GLOBAL_DISTANCE
  margin = mean(matching.distance_to_others(local) - local) if has_local else _USUAL_LOCAL_MARGIN
  sure = tf.clip_by_value(mean(tf.nn.softmax(logits, axis=0)), _LEAST, 1.0 - _LEAST)
  visible = (
    _VISIBLE
    + _PER_LOGIT * tf.math.log(sure / (1.0 - sure))
    + _PER_GLOBAL_DISTANCE * distance
    + _PER_LOCAL_MARGIN * margin
  )
  if found is None:
    found = _found(global_distance, index) if has_global else tf.zeros_like(area)
  seen = found / (found + _HALF_SEEN)
  empty = _EMPTY + _PER_SEEN * seen
  return tf.sigmoid(tf.where(area > 0, visible, empty))


def _found(distance: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
  """float32 [objects]: positions in which global matching alone finds an object in a frame."""
  nearest = tf.argmin(distance, axis=0, output_type=tf.int32)[tf.newaxis] == index
  return tf.reduce_sum(tf.cast(nearest & (distance < _NEAR), tf.float32), axis=[1, 2])

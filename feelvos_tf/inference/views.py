"""Every frame segmented several times, scaled or mirrored, and merged: test-time augmentation.

A view is a scale and whether it is mirrored. Each has a state of its own: the embeddings of the
reference frame and of the previous frame as that view shows them. All receive the same of the
previous frame: the merged result.

Taken over from the original:
- Scales (`research/feelvos/model.py`, `multi_scale_logits_with_nearest_neighbor_matching`): frames
  are scaled bilinearly and labels by nearest neighbour, corners aligned; features, matching and
  head run on each scale; logits are enlarged to stride 4 of the largest scale (of 1 if all are
  smaller) and merged by `merge_method`, the maximum ('max') or the mean ('avg') of each object.
- Mirrored frames (`research/deeplab/model.py`, `predict_labels_multi_scale`): the softmax over
  objects is averaged over both. The original's video script has no such option.

What decided otherwise:
- The original keeps the embeddings of one scale between frames and hands them to all
  (`create_predictions_fast`), or computes the first and the previous frame again for every frame
  (`create_predictions`). The latter is what its code means; it is what is computed here, once.
- Probabilities are averaged at stride 4, not at full size, so that logits at stride 4 (the
  logarithm of the mean) are all there is to know of a frame. With `flip` that decides one pixel in
  9,000 otherwise (measured on ten frames of 240x427 of two DAVIS sequences).
- Scaled frames are rounded to 8 bits, which the rest of inference takes.
- Soft maps (`previous_prediction='probabilities'`), which the original does not have for several
  scales, are scaled bilinearly.
"""

from typing import NamedTuple

import tensorflow as tf

from feelvos_tf.deeplab import layers
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.model import feelvos
from feelvos_tf.model import geometry

_SMALLEST = 1e-30  # of a probability, before its logarithm


class View(NamedTuple):
  """How a frame is shown to the network: scaled, then mirrored if `mirrored`."""

  scale: float
  mirrored: bool


class ViewsState(NamedTuple):
  """What is remembered between frames: an `inference.State` for each view."""

  states: tuple[graph_lib.State, ...]

  @property
  def previous(self):
    """`model.PreviousFrame` of the first view."""
    return self.states[0].previous


class Views:
  """Has `begin` and `advance` of `inference.InferenceGraph`; `VideoSegmenter` makes it."""

  def __init__(self, graph, image_pyramid=(1.0,), merge_method='max', flip=False):
    """Prepares the views; nothing is traced.

    Args:
      graph: `inference.InferenceGraph`.
      image_pyramid: scales, see `SegmenterOptions`.
      merge_method: 'max' or 'avg', how the logits of the scales are merged.
      flip: bool, mirrored views too.

    Raises:
      ValueError: `graph` is an exported model, which segments frames as they are.
    """
    if not isinstance(graph, graph_lib.InferenceGraph):
      raise ValueError(
        'an exported model cannot segment at several scales or mirrored; load the '
        'weights it was exported from.'
      )
    self._graph = graph
    self._pyramid = tuple(image_pyramid)
    self._mirrorings = (False, True) if flip else (False,)
    self._views = [View(scale, m) for m in self._mirrorings for scale in self._pyramid]
    self._merge = tf.reduce_max if merge_method == 'max' else tf.reduce_mean
    self.options = graph.options

  def begin(self, frame, labels, num_objects, references=None, working_size=None):
    """State after the reference frame; arguments as of `inference.InferenceGraph.begin`.

    Raises:
      ValueError: there are `references`: a video cannot be corrected with several views.
    """
    if references is not None:
      raise ValueError(
        'a video that is segmented at several scales or mirrored cannot be '
        'corrected; leave image_pyramid and flip at their defaults.'
      )
    size = self._working_size(frame, working_size)
    states = []
    for view in self._views:
      shown, shown_size = _mirror(labels, view, axis=1), _scaled(size, view.scale)
      if shown_size != shown.shape:
        shown = graph_lib.shrink_object_labels(shown, num_objects, shown_size)
      states.append(
        self._graph.begin(_show(frame, view, size), shown, num_objects, working_size=shown_size)
      )
    return ViewsState(tuple(states))

  def advance(self, frame, state, num_objects, size, working_size=None):
    """Segments a frame; takes and returns what `inference.InferenceGraph.advance` does.

    Logits and distances have the size of stride 4 of the largest scale. Distances are those of
    the scale closest to 1, not mirrored.
    """
    working_size = self._working_size(frame, working_size)
    results = []
    for view, of_view in zip(self._views, state.states):
      shown, shown_size = _show(frame, view, working_size), _scaled(working_size, view.scale)
      # Its own labels are not needed: the smallest size costs nothing.
      results.append(self._graph.advance(shown, of_view, num_objects, (1, 1), shown_size))
    logits = self._merged([result[1] for result in results], working_size)
    labels = tf.argmax(geometry.enlarge_logits(logits, size), axis=0, output_type=tf.int32)
    states = tuple(
      _tell(result[4], view, labels, logits, working_size, self.options.previous_prediction)
      for view, result in zip(self._views, results)
    )
    closest = min(range(len(self._pyramid)), key=lambda i: abs(self._pyramid[i] - 1.0))
    distances = [_resized(distance, logits.shape[1:]) for distance in results[closest][2:4]]
    return (labels, logits, *distances, ViewsState(states))

  def _working_size(self, frame, given):
    """(height, width) that the scales refer to."""
    size = geometry.working_size(frame.shape[:2], self.options) if given is None else given
    return tuple(int(side) for side in size)

  def _merged(self, logits, working_size):
    """Logits [objects, h4, w4] of all views, merged."""
    scale = max(1.0, *self._pyramid) / 4
    size = [layers.scale_dimension(side, scale) for side in working_size]
    logits = [_mirror(_resized(one, size), view, axis=2) for one, view in zip(logits, self._views)]
    count = len(self._pyramid)
    groups = [
      self._merge(tf.stack(logits[i : i + count]), axis=0) for i in range(0, len(logits), count)
    ]
    if len(groups) == 1:
      return groups[0]
    probabilities = tf.reduce_mean(
      tf.stack([tf.nn.softmax(group, axis=0) for group in groups]), axis=0
    )
    return tf.math.log(tf.maximum(probabilities, _SMALLEST))


def _scaled(size, scale):
  if scale == 1.0:
    return tuple(size)
  return tuple(layers.scale_dimension(side, scale) for side in size)


def _mirror(values, view, axis):
  return tf.reverse(values, [axis]) if view.mirrored else values


def _show(frame, view, working_size):
  """The frame as a view shows it, uint8."""
  size = _scaled(working_size, view.scale)
  if size != tuple(frame.shape[:2]):
    scaled = layers.resize_bilinear(tf.cast(frame, tf.float32)[tf.newaxis], size)[0]
    frame = tf.cast(tf.round(scaled), tf.uint8)
  return _mirror(frame, view, axis=1)


def _resized(maps, size):
  """Maps [objects, h4, w4] at another size; maps without objects stay as they are."""
  if not maps.shape[0] or tuple(maps.shape[1:]) == tuple(size):
    return maps
  return geometry.enlarge_logits(maps, size)


def _tell(state, view, labels, logits, working_size, previous_prediction):
  """The state of a view with the merged result as its previous frame's."""
  small = _mirror(labels, view, axis=1)
  shown_size = _scaled(working_size, view.scale)
  if shown_size != tuple(small.shape):
    small = geometry.shrink_labels(small, shown_size)
  previous = state.previous
  size = previous.labels.shape
  small = geometry.shrink_labels(small, size)
  if previous_prediction == 'probabilities':
    soft = _mirror(_resized(tf.nn.softmax(logits, axis=0), size), view, axis=2)
  else:
    soft = feelvos.one_hot(small, logits.shape[0])
  return state._replace(previous=previous._replace(labels=small, probabilities=soft))

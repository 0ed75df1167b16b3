"""The head and local matching where an object can be, instead of on the whole frame.

They work on a box around the objects of the previous frame and around what global matching gives to
an object, single positions aside. Beyond it every position is background. Inside, logits are those
of the whole frame up to the order of float additions: the head gets a margin as wide as its kernels
reach, and local matching one of its window besides. After a frame without one of the objects the
box is the whole frame. Not in the paper; docs/notes/speed.md has what it saves.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from feelvos_tf.inference import ablation
from feelvos_tf.inference.contract import State
from feelvos_tf.matching.scores import NO_DISTANCE
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.feelvos import Maps
from feelvos_tf.model.feelvos import Mode
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.model.options import NetworkOptions

# Global distance below which a position may belong to an object that was elsewhere. Positions count
# in squares of 2 x 2: single ones lie all over a frame.
_NEAR = 0.3
# What the sides of a box are a multiple of, unless the frame ends: oneDNN prepares a convolution
# anew for every size that it has not seen.
_STEP = 16
# Logit of an object beyond the box, next to 0 of the background.
_FAR_LOGIT = -10.0


class Box(NamedTuple):
  """Rows top to bottom - 1 and columns left to right - 1 of maps, int32 scalars."""

  top: tf.Tensor
  left: tf.Tensor
  bottom: tf.Tensor
  right: tf.Tensor

  @classmethod
  def whole(cls, size: tf.Tensor) -> 'Box':
    """The box of maps of a size, int32 [2]."""
    return cls(tf.constant(0), tf.constant(0), size[0], size[1])

  @classmethod
  def around(cls, mask: tf.Tensor, side: int = 1) -> 'Box':
    """The box around the True of a mask [height, width], each of which stands for a square.

    Args:
      mask: bool.
      side: of the squares, whose first row and column are that of the True.

    Returns:
      `Box`; if nothing is True, one from the mask's end to 0, which `with_other` takes as nothing.
    """

    def edges(line: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      index = tf.range(tf.size(line))
      first = tf.reduce_min(tf.where(line, index, tf.size(line)))
      return first, tf.reduce_max(tf.where(line, index + side, 0))

    top, bottom = edges(tf.reduce_any(mask, axis=1))
    left, right = edges(tf.reduce_any(mask, axis=0))
    return cls(top, left, bottom, right)

  def with_other(self, other: 'Box') -> 'Box':
    """The box around both."""
    return Box(
      tf.minimum(self.top, other.top),
      tf.minimum(self.left, other.left),
      tf.maximum(self.bottom, other.bottom),
      tf.maximum(self.right, other.right),
    )

  def grown(self, margin: int, size: tf.Tensor) -> 'Box':
    """The box with a margin on every side, as far as maps of a size reach."""
    return Box(
      tf.maximum(self.top - margin, 0),
      tf.maximum(self.left - margin, 0),
      tf.minimum(self.bottom + margin, size[0]),
      tf.minimum(self.right + margin, size[1]),
    )

  def without_margin(self, margin: int, size: tf.Tensor) -> 'Box':
    """The box without a margin on the sides that are not those of maps of a size."""
    return Box(
      tf.where(self.top > 0, self.top + margin, 0),
      tf.where(self.left > 0, self.left + margin, 0),
      tf.where(self.bottom < size[0], self.bottom - margin, size[0]),
      tf.where(self.right < size[1], self.right - margin, size[1]),
    )

  def in_steps(self, size: tf.Tensor) -> 'Box':
    """The box enlarged so that its sides are multiples of _STEP, or those of maps of a size."""

    def edges(first: tf.Tensor, end: tf.Tensor, most: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      length = tf.minimum((end - first + _STEP - 1) // _STEP * _STEP, most)
      first = tf.minimum(first, most - length)
      return first, first + length

    top, bottom = edges(self.top, self.bottom, size[0])
    left, right = edges(self.left, self.right, size[1])
    return Box(top, left, bottom, right)

  def within(self, other: 'Box') -> 'Box':
    """The box by the rows and columns of another one that holds it."""
    top, left = other.top, other.left
    return Box(self.top - top, self.left - left, self.bottom - top, self.right - left)

  def cut(self, values: tf.Tensor) -> tf.Tensor:
    """Values [height, width, ...] in the box."""
    return values[self.top : self.bottom, self.left : self.right]

  def cut_maps(self, maps: tf.Tensor) -> tf.Tensor:
    """Maps [objects, height, width] in the box."""
    return maps[:, self.top : self.bottom, self.left : self.right]

  def fill(self, maps: tf.Tensor, size: tf.Tensor, beyond: float) -> tf.Tensor:
    """Maps float32 [objects, rows, columns] of the box in a size; beyond it a value."""
    sides = [[0, 0], [self.top, size[0] - self.bottom], [self.left, size[1] - self.right]]
    return tf.pad(maps, sides, constant_values=beyond)


def radius_of(options: FeelvosOptions) -> int | None:
  """`head_area_radius`; None without the global distances that a box takes."""
  has_distances = options.use_first_frame_matching
  has_distances &= 'global_distance' not in options.neutral_inputs
  return options.head_area_radius if has_distances else None


def match_and_segment(
  model: Feelvos,
  radius: int,
  features: tf.Tensor,
  embedding: tf.Tensor,
  state: State,
  num_objects: int | tf.Tensor,
  guidance: tf.Tensor | None,
) -> tuple[Maps, tf.Tensor]:
  """`Feelvos.match` and `Feelvos.segment` where an object can be.

  Args:
    model: `Feelvos`.
    radius: what `radius_of` returns for it.
    features: float32 [h4, w4, 256] of the frame.
    embedding: float32 [h4, w4, embedding_dimension] of the frame.
    state: `State` after the frame before.
    num_objects: int32 scalar, background included.
    guidance: as `Feelvos.segment` takes it.

  Returns:
    (`Maps` with local distances of 1 where they were not looked for, logits float32 [objects, h4,
    w4]).
  """
  options, previous, size = model.options, state.previous, tf.shape(embedding)[:2]
  far = model.match_reference(embedding, state.reference, num_objects, Mode.INFERENCE)
  box = around_objects(previous.labels, far, radius)
  box = box.grown(head_reach(options), size).in_steps(size)
  near, windows = _match_previous(model, box, embedding, previous, num_objects)
  has_prediction = options.previous_prediction != 'none'
  maps = Maps(far, previous.probabilities if has_prediction else None, near, windows)
  maps = ablation.neutralise(maps, options)
  in_box = _each(box.cut_maps, maps)
  logits = model.segment(box.cut(features), in_box, guidance=guidance)
  exact = box.without_margin(head_reach(options), size)
  logits = exact.within(box).cut_maps(logits)
  logits = [exact.fill(logits[:1], size, 0.0), exact.fill(logits[1:], size, _FAR_LOGIT)]
  return maps, tf.concat(logits, axis=0)


def around_objects(previous_labels: tf.Tensor, global_distance: tf.Tensor, radius: int) -> Box:
  """The box in which positions are looked for that an object wins.

  Args:
    previous_labels: int32 [h4, w4], objects of the previous frame.
    global_distance: float32 [objects, h4, w4] of the current frame; the first is the background's.
    radius: positions of stride 4 around the objects of the previous frame.
  """
  size, objects = tf.shape(previous_labels), tf.shape(global_distance)[0]
  index = tf.range(1, objects)[:, tf.newaxis, tf.newaxis]
  are_there = tf.reduce_any(previous_labels[tf.newaxis] == index, axis=[1, 2])
  nearest = tf.reduce_min(global_distance[1:], axis=0)
  seen = (nearest < _NEAR) & (nearest <= global_distance[0])
  squares = seen[:-1, :-1] & seen[:-1, 1:] & seen[1:, :-1] & seen[1:, 1:]
  known = Box.around(previous_labels > 0).grown(radius, size)
  box = known.with_other(Box.around(squares, side=2))
  are_all_there = (objects > 1) & tf.reduce_all(are_there)
  return Box(*(tf.where(are_all_there, edge, end) for edge, end in zip(box, Box.whole(size))))


def head_reach(options: NetworkOptions) -> int:
  """Positions up, down and sideways that a logit depends on."""
  rates = options.head_atrous_rates or (1,) * options.head_layers
  return options.head_kernel_size // 2 * sum(rates) + options.patch_side // 2


def _match_previous(
  model: Feelvos,
  box: Box,
  embedding: tf.Tensor,
  previous: PreviousFrame,
  num_objects: int | tf.Tensor,
) -> tuple[tf.Tensor | None, tuple[tf.Tensor, ...]]:
  """`Feelvos.match_previous` in a box, exact there; elsewhere NO_DISTANCE or what is at hand."""
  size = tf.shape(embedding)[:2]
  if model.options.previous_frame_matching == 'local':
    box = box.grown(model.options.window_radius, size)
  else:
    box = Box.whole(size)
  previous = PreviousFrame(
    box.cut(previous.embedding), box.cut(previous.labels), box.cut_maps(previous.probabilities)
  )
  near = model.match_previous(box.cut(embedding), previous, num_objects, Mode.INFERENCE)
  return _each(lambda maps: box.fill(maps, size, NO_DISTANCE), near)


def _each(function: Callable[[tf.Tensor], tf.Tensor], maps: Any) -> Any:
  """A structure of maps with the function applied to those that are there."""
  return tf.nest.map_structure(lambda one: None if one is None else function(one), maps)

"""What is done to the head's logits before objects win pixels: rules against known mistakes.

Each is an option and has a module of its own; the faithful network has none. Their order matters:
first goes what is no part of an object, then look-alikes get what is theirs, and what is left of an
object after that may be too little to be one. None of it is in the paper.
"""

import tensorflow as tf

from feelvos_tf.inference import crossing
from feelvos_tf.inference import far_parts
from feelvos_tf.inference import parted
from feelvos_tf.inference import specks
from feelvos_tf.inference import unlike_parts
from feelvos_tf.inference.contract import State
from feelvos_tf.matching.scores import rescaled
from feelvos_tf.model.feelvos import Maps
from feelvos_tf.model.options import FeelvosOptions


def decide(
  logits: tf.Tensor, maps: Maps, embedding: tf.Tensor, state: State, options: FeelvosOptions
) -> tuple[tf.Tensor, tf.Tensor | None]:
  """Logits after all rules that a model's options name.

  Args:
    logits: float32 [objects, h4, w4] of the head; the first is the background's.
    maps: `Maps` of the frame.
    embedding: float32 [h4, w4, embedding_dimension] of the frame.
    state: `State` after the frame before.
    options: `FeelvosOptions`.

  Returns:
    (logits; motion int32 [objects, 2] of `crossing.settle`, None without `crossing_radius`).
  """
  factor = options.rule_distance_factor or 1.0
  scaled = lambda one: None if one is None else rescaled(one, factor)
  maps = maps._replace(
    global_distance=scaled(maps.global_distance), local_distance=scaled(maps.local_distance)
  )
  distance, motion = maps.global_distance, None
  if options.far_parts_radius is not None:
    logits = far_parts.stay(logits, state.previous)
    labels = state.previous.labels
    logits = far_parts.leave_out(logits, labels, distance, options.far_parts_radius)
  if options.unlike_parts_margin is not None:
    logits = unlike_parts.leave_out(logits, maps, options.unlike_parts_margin)
  if options.parted_factor is not None:
    logits = parted.give_back(logits, distance, state.reference, options.parted_factor)
  if options.crossing_radius is not None:
    logits, motion = crossing.settle(
      logits,
      embedding,
      state.previous,
      distance,
      state.reference,
      options.crossing_radius,
      options.k_nearest_neighbors,
      factor,
    )
  if options.parted_factor is not None:
    logits = parted.unmix(logits, distance, state.reference, options.parted_factor)
  if options.least_positions is not None:
    logits = specks.leave_out(logits, distance, state.reference, options.least_positions)
  return logits, motion

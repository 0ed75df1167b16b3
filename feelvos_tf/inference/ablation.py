"""Inputs of the head made constant, to see how much a trained model leans on them.

Table 3 of the paper trained a model without each; `evaluation.methods.ABLATIONS` names them.
"""

from typing import Any

import tensorflow as tf

from feelvos_tf.matching.scores import NO_DISTANCE
from feelvos_tf.model.feelvos import Maps
from feelvos_tf.model.options import Ablation

# What the head receives from a neutral input is what it receives of an object that is nowhere.
# Distances: NO_DISTANCE, to which the original also pads. The previous prediction:
# `get_logits_with_matching` of the original starts from zeros where it knows nothing.
NO_PREDICTION = 0.0


def neutralise(maps: Maps, ablation: Ablation) -> Maps:
  """The maps with constants for the neutral inputs.

  Inside a graph, what computes those inputs falls away. Without `local_distance` the smaller
  windows of previous-frame matching are constant, as it is.

  Args:
    maps: `Maps`, float32 [objects, h4, w4] each.
    ablation: `Ablation`, or `FeelvosOptions` with one.
  """
  constants: dict[str, Any] = {
    name: tf.fill(
      tf.shape(getattr(maps, name)), NO_PREDICTION if name == 'previous_prediction' else NO_DISTANCE
    )
    for name in ablation.neutral_inputs
  }
  if 'local_distance' in constants:
    constants['window_distances'] = (constants['local_distance'],) * len(maps.window_distances)
  return maps._replace(**constants)

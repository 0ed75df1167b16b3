"""Exact global and local matching of embeddings (FEELVOS, arXiv 1902.09513, sections 3.2-3.4).

The public face of the matching code; the parts are in reference_bank.py, global_matching.py,
local_matching.py, label_runs.py, object_means.py, object_distances.py and scores.py. Every function
works on one video (the caller loops over a batch), takes any height, width and number of objects,
also as dynamic tensors in a tf.function or a SavedModel, and has exact gradients. No custom op;
temporary memory is bounded by `chunk_bytes`.

  bank = prepare_reference(reference_embeddings, reference_labels, num_objects)  # once
  far = global_matching(embeddings, bank, num_objects)                           # per frame
  near = local_matching(embeddings, previous_embeddings, previous_labels, num_objects)

Call them inside a tf.function: the loops run eagerly otherwise.

Why it is built like this, in figures: docs/notes/speed.md, "Matching".

Do not use broadcasting in tf.matmul here: with oneDNN in TensorFlow 2.21, [n, 1, a, b] times
[1, 1, b, c] returns wrong numbers for some shapes and aborts the process for others.
"""

from feelvos_tf.matching.global_matching import global_matching
from feelvos_tf.matching.local_matching import local_matching
from feelvos_tf.matching.object_distances import distances_of_bank
from feelvos_tf.matching.object_means import means_of_bank
from feelvos_tf.matching.object_means import means_of_frame
from feelvos_tf.matching.reference_bank import fewest_and_mean_pixels
from feelvos_tf.matching.reference_bank import kept_pixels
from feelvos_tf.matching.reference_bank import prepare_reference
from feelvos_tf.matching.reference_bank import ReferenceBank
from feelvos_tf.matching.reference_choice import border_weights
from feelvos_tf.matching.scores import distance_from_squared
from feelvos_tf.matching.scores import distance_to_others
from feelvos_tf.matching.scores import mean_of_squares

__all__ = [
  'ReferenceBank',
  'border_weights',
  'distance_from_squared',
  'distance_to_others',
  'distances_of_bank',
  'fewest_and_mean_pixels',
  'global_matching',
  'kept_pixels',
  'local_matching',
  'mean_of_squares',
  'means_of_bank',
  'means_of_frame',
  'prepare_reference',
]

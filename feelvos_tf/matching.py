"""Exact global and local matching of embeddings (FEELVOS, arXiv 1902.09513, sections 3.2-3.4).

The public face of the matching code; the parts are in global_matching.py, local_matching.py and
matching_scores.py. Every function works on one video (the caller loops over a batch), takes any
height, width and number of objects, also as dynamic tensors in a tf.function or a SavedModel, and
has exact gradients.

  bank = prepare_reference(reference_embeddings, reference_labels, num_objects)  # once
  far = global_matching(embeddings, bank, num_objects)                           # per frame
  near = local_matching(embeddings, previous_embeddings, previous_labels, num_objects)
"""

from feelvos_tf.global_matching import ReferenceBank, global_matching, prepare_reference
from feelvos_tf.local_matching import local_matching
from feelvos_tf.matching_scores import distance_from_squared

__all__ = ['ReferenceBank', 'distance_from_squared', 'global_matching', 'local_matching',
           'prepare_reference']

"""Exact global and local matching of embeddings (FEELVOS, arXiv 1902.09513, sections 3.2-3.4).

The public face of the matching code; the parts are in global_matching.py, local_matching.py and
scores.py. Every function works on one video (the caller loops over a batch), takes any
height, width and number of objects, also as dynamic tensors in a tf.function or a SavedModel, and
has exact gradients. No custom op; temporary memory is bounded by `chunk_bytes`.

  bank = prepare_reference(reference_embeddings, reference_labels, num_objects)  # once
  far = global_matching(embeddings, bank, num_objects)                           # per frame
  near = local_matching(embeddings, previous_embeddings, previous_labels, num_objects)

Call them inside a tf.function: the loops run eagerly otherwise.

Why it is built like this, measured at 480x854 (120 x 214 x 100, radius 15) with TensorFlow 2.21 on
two AVX-512 cores, A with AMX and B without; shares of the float32 matmul peak of the same minute
in brackets:
- Global, float32: a product of 2,048 queries and 2,048 reference pixels, 16 MB, makes 730 ms a
  frame on B [0.84]. 160 queries and all reference pixels made 1,190 ms there [0.52], because oneDNN
  packs the reference anew for every product; on A they made 500 ms [0.79], and square ones were not
  measured. 8 to 24 MB are within 3 %. Products of 2,048 x 512 pixels took 540 ms to 0.7 s on A:
  every call of TensorFlow and oneDNN costs 0.1 to 0.2 ms. Blocks of 64, 128 or 256 pixels are
  equal: 128 wastes less.
- Global, bfloat16: 320 queries and all reference pixels: 137 ms on A, 450 ms on B, where square
  products are as fast. With 262,144 reference pixels, too many for one product, square ones are
  1.2 times as fast on B.
- float32: reduce_max along the last axis; bfloat16: it has no vector code there, max pooling along
  the first axis has. Skipping blocks of reference pixels by bounds does not pay, see
  docs/notes/speed.md.
- XLA (jit_compile) needs as much processor time for the same loop, and fixed shapes: not used.
  With oneDNN off, global matching needs the same time, local matching 1.2 times as much.
- Local: tiles of 8 x 8 queries against their 38 x 38 halo took 102 ms on A, because products of 64
  columns reach [0.59]; strips of rows against all queries that they can reach (288 columns)
  reach [0.82]. segment_max over runs of equal labels reads 25-40 GB/s, unsorted_segment_max of
  pixels 2-6. Strips of 4 to 10 rows and tiles of 7 to 12 columns are within 8 % of each other.
  Products of 4 MB make 62 ms on B, of 16 MB 67 ms.
- bfloat16 locally: 46 ms instead of 57 ms on A; segment_max has no vector code for it.

Do not use broadcasting in tf.matmul here: with oneDNN in TensorFlow 2.21, [n, 1, a, b] times
[1, 1, b, c] returns wrong numbers for some shapes and aborts the process for others.
"""

from feelvos_tf.matching.global_matching import global_matching
from feelvos_tf.matching.global_matching import prepare_reference
from feelvos_tf.matching.global_matching import ReferenceBank
from feelvos_tf.matching.local_matching import local_matching
from feelvos_tf.matching.reference_choice import border_weights
from feelvos_tf.matching.scores import distance_from_squared
from feelvos_tf.matching.scores import distance_to_others

__all__ = [
  'ReferenceBank',
  'border_weights',
  'distance_from_squared',
  'distance_to_others',
  'global_matching',
  'local_matching',
  'prepare_reference',
]

"""Reference frames that a video keeps: how many, which, and with what labels after a correction."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
import tensorflow as tf

from feelvos_tf.inference import contradiction
from feelvos_tf.inference.contract import References
from feelvos_tf.model.feelvos import PreviousFrame

# Reference frames kept: the first and the latest corrections. Global matching's time, a good half
# of a frame's, is proportional to their number.
MAX_REFERENCES = 4

# (embedding float32 [h4, w4, channels], labels int32 [h4, w4]) of each, oldest first.
KeptReferences: TypeAlias = list[tuple[Any, np.ndarray]]


class BeforeCorrection(NamedTuple):
  """What the latest correction found: where the same frame is corrected again, that begins here.

  Attributes:
    object_ids: ids of the channels.
    labels: int32 [h4, w4] of every older reference frame that is still kept.
    predicted: int32 [h4, w4], object index that was predicted for the corrected frame.
  """

  object_ids: tuple[int, ...]
  labels: list[np.ndarray]
  predicted: np.ndarray


def labels_before(before: KeptReferences, kept: KeptReferences) -> list[np.ndarray]:
  """Labels that those of `before` had whose embeddings are also in `kept`, in its order."""
  labels = {id(embedding): one for embedding, one in before}
  return [labels[id(embedding)] for embedding, _ in kept]


def after_correction(
  references: KeptReferences,
  table: np.ndarray,
  num_objects: int,
  predicted: np.ndarray,
  newest: PreviousFrame,
) -> KeptReferences:
  """References with new indices, without what the newest frame contradicts.

  Args:
    references: those of before.
    table: int32 [257], see `index_table`.
    num_objects: of before, background included.
    predicted: int32 [h4, w4], old object index that was predicted for the corrected frame.
    newest: `PreviousFrame` of the corrected frame; an older reference of the same frame goes.
  """
  right, kept = np.asarray(newest.labels), []
  for embedding, labels in references:
    if not contradiction.is_same_frame(embedding, newest.embedding):
      labels = contradiction.without_contradicted(
        embedding, table[labels], newest.embedding, right, table[predicted], table[:num_objects]
      )
      kept.append((embedding, labels))
  return kept


def make_room(references: KeptReferences, newest: np.ndarray) -> KeptReferences:
  """References to which one more can be added.

  The first stays. The oldest correction goes whose objects are all on another reference frame, or
  the oldest if there is none.

  Args:
    references: those there are.
    newest: int [...], object indices on the one to come.
  """
  while len(references) >= MAX_REFERENCES:
    drop = _which_to_drop([labels for _, labels in references], newest)
    references = references[:drop] + references[drop + 1 :]
  return references


def stack(references: Sequence[tuple[Any, np.ndarray]]) -> References | None:
  """`References` of a list of (embedding float32 [h4, w4, channels], labels int32 [h4, w4]).

  None for an empty list.
  """
  if not references:
    return None
  embeddings, labels = zip(*references)
  return References(tf.stack(embeddings), np.stack(labels))


def index_table(old_ids: Sequence[int], new_ids: Sequence[int]) -> NDArray[np.int32]:
  """int32 [257]: new object index of an old one; background for removed ids, NO_LABEL stays.

  Its last entry, which no index has, is that of NO_LABEL (-1). Old states write 255 for it.
  """
  table = np.full(257, contradiction.NO_LABEL, np.int32)
  for index, object_id in enumerate(old_ids):
    table[index] = new_ids.index(object_id) if object_id in new_ids else 0
  return table


def _which_to_drop(labels: Sequence[np.ndarray], newest: Iterable[int]) -> int:
  """Index of the reference to drop.

  Args:
    labels: list of int32 [h4, w4], object indices on the references, oldest first.
    newest: object indices on the one to come.

  Returns:
    int, at least 1.
  """
  objects = [set(np.unique(one)) - {contradiction.NO_LABEL} for one in labels]
  for index in range(1, len(objects)):
    others = set(newest).union(*objects[:index], *objects[index + 1 :])
    if objects[index] <= others:
      return index
  return 1

"""Inputs and outputs of a graph of inference, by name.

`VideoSegmenter` runs on any `Graph`: `graph.InferenceGraph` (a model), `views.Views` (several
scales), `baselines.GlobalMatching`, and `exported_model.ExportedModel`, which is a `SavingGraph`.
"""

from typing import Any, cast, NamedTuple, Protocol, TypeVar

import numpy as np
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.model.feelvos import HiddenParts
from feelvos_tf.model.feelvos import Maps
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.model.geometry import FrameGeometry

_Fields = TypeVar('_Fields', bound=tuple)
# Fields that are named tuples, or () in a model without them.
_NESTED = {'hidden': HiddenParts}


def to_named(prefix: str, fields: NamedTuple) -> dict[str, tf.Tensor]:
  """The tensors of a named tuple by the names that an exported model gives them.

  Args:
    prefix: 'reference' or 'previous'.
    fields: named tuple of tensors: `matching.ReferenceBank`, `References` or `PreviousFrame`.

  Returns:
    {`<prefix>_<field>`: tensor}, shapes and dtypes as they are.
  """
  named = {}
  for name, value in fields._asdict().items():
    if name not in _NESTED:
      named[f'{prefix}_{name}'] = value
    elif value:
      named.update(to_named(f'{prefix}_{name}', value))
  return named


def from_named(kind: type[_Fields], prefix: str, named: dict[str, tf.Tensor]) -> _Fields:
  """The named tuple of a dict, the reverse of `to_named`.

  Args:
    kind: class of the named tuple.
    prefix: as of `to_named`.
    named: {`<prefix>_<field>`: tensor}; further entries are left alone.

  Returns:
    A `kind`.

  Raises:
    KeyError: a field is missing.
  """
  values = {}
  for name in cast(Any, kind)._fields:
    if name not in _NESTED:
      values[name] = named[f'{prefix}_{name}']
    elif any(other.startswith(f'{prefix}_{name}_') for other in named):
      values[name] = from_named(_NESTED[name], f'{prefix}_{name}', named)
  return kind(**values)


class State(NamedTuple):
  """The state between frames; its size depends on the frame's size only.

  Attributes:
    reference: `matching.ReferenceBank` of the reference frames.
    previous: `PreviousFrame`.
  """

  reference: matching.ReferenceBank
  previous: PreviousFrame

  def to_named(self) -> dict[str, tf.Tensor]:
    """{name: tensor} of all fields.

    `reference_rows`, `reference_block_object`, `reference_center` have shapes and dtypes as in
    `matching.ReferenceBank`, `previous_embedding`, `previous_labels`, `previous_probabilities` as
    in `PreviousFrame`, `previous_hidden_embedding`, `previous_hidden_labels`,
    `previous_hidden_motion` as in `HiddenParts` if the model has them.
    """
    return {**to_named('reference', self.reference), **to_named('previous', self.previous)}

  @classmethod
  def from_named(cls, named: dict[str, tf.Tensor]) -> 'State':
    """The state of a dict {name: tensor} with the names, shapes and dtypes of `to_named`."""
    return cls(
      from_named(matching.ReferenceBank, 'reference', named),
      from_named(PreviousFrame, 'previous', named),
    )


class References(NamedTuple):
  """Frames whose masks were given, as they are kept to build a bank of them and later ones.

  Attributes:
    embeddings: float32 [references, h4, w4, embedding_dimension].
    labels: int32 [references, h4, w4], object index, or -1 (`contradiction.NO_LABEL`).
  """

  embeddings: tf.Tensor
  labels: tf.Tensor


class Snapshot(NamedTuple):
  """All that a `VideoSegmenter` knows of its video; `VideoSegmenter.restore` goes on from it.

  Attributes:
    size: (height, width) of the frames.
    object_ids: ids of the channels, 0 first, ascending.
    references: `References`.
    state: `State`.
  """

  size: tuple[int, int]
  object_ids: tuple[int, ...]
  references: References
  state: State


class Step(NamedTuple):
  """One segmented frame.

  Attributes:
    labels: int32 [height, width], object index.
    logits: float32 [objects, h4, w4].
    maps: `Maps`, the head's inputs of this frame; None for an input that is not there.
    state: the state after this frame.
    confidence: float32 [objects], see `confidence.of_frame`.
  """

  labels: tf.Tensor
  logits: tf.Tensor
  maps: Maps
  state: Any
  confidence: tf.Tensor


class Graph(Protocol):
  """The arithmetic of a video: a state after the frame with the mask, then frame by frame.

  Attributes:
    remembers_masks: whether its state is a `State` and a frame's mask is all that counts of what
      was predicted for it, or all but what objects cover of each other.
    remembers_hidden: whether its states have `HiddenParts`.
  """

  @property
  def remembers_masks(self) -> bool:
    """See the class."""

  @property
  def remembers_hidden(self) -> bool:
    """See the class."""

  def frame_geometry(
    self, size: tuple[int, int], max_internal_size: int | None = None
  ) -> FrameGeometry:
    """Sizes of a video's frames of (height, width) `size`.

    Raises:
      ValueError: this graph cannot segment at `max_internal_size`.
    """

  def begin(
    self,
    frame: np.ndarray,
    labels: np.ndarray,
    num_objects: int,
    geometry: FrameGeometry,
    references: References | None = None,
  ) -> Any:
    """State after a frame whose mask is given.

    Args:
      frame: uint8 [height, width, 3], RGB, of size `geometry.internal`.
      labels: int32 [height, width], object index, of that size.
      num_objects: int, background included.
      geometry: of `frame_geometry`.
      references: `References` to match with in addition to this frame; None for the first frame.

    Returns:
      State; its `previous` has the frame's own embedding and labels.

    Raises:
      ValueError: references are given and this graph takes none.
    """

  def advance(
    self, frame: np.ndarray, state: Any, num_objects: int, geometry: FrameGeometry
  ) -> Step:
    """Segments a frame.

    Args:
      frame: uint8 [height, width, 3], RGB, of size `geometry.internal`.
      state: after the frame before.
      num_objects: int, background included.
      geometry: of `frame_geometry`.

    Returns:
      `Step` with labels of size `geometry.frame`.
    """

  def enlarge(self, logits: tf.Tensor, frame: np.ndarray, geometry: FrameGeometry) -> Any:
    """Logits at full size, the highest of which decided the labels of `advance`.

    Args:
      logits: float32 [objects, h4, w4] of the `Step`.
      frame: uint8 [height, width, 3], RGB, as `advance` got it.
      geometry: of `frame_geometry`.

    Returns:
      float32 [objects, *geometry.frame].
    """


class SavingGraph(Graph, Protocol):
  """A graph that also packs the state of a video into bytes."""

  keeps_state: bool  # whether it can

  def save(self, snapshot: Snapshot, palette_chunk: bytes) -> bytes:
    """State bytes of a video.

    Args:
      snapshot: `Snapshot`.
      palette_chunk: bytes of the PLTE chunk that masks get.
    """

  def restore(self, state_bytes: bytes) -> tuple[Snapshot, bytes]:
    """`Snapshot` and PLTE chunk of state bytes.

    Raises:
      tf.errors.InvalidArgumentError: not a state, damaged, of another version or another model.
    """

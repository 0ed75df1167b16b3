"""An exported version, loaded: its signatures, and the arithmetic that `VideoSegmenter` runs."""

from collections.abc import Mapping
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from feelvos_tf.files import plain_path
from feelvos_tf.inference import guided_filter
from feelvos_tf.inference.contract import from_named
from feelvos_tf.inference.contract import References
from feelvos_tf.inference.contract import Snapshot
from feelvos_tf.inference.contract import State
from feelvos_tf.inference.contract import Step
from feelvos_tf.inference.contract import to_named
from feelvos_tf.model.feelvos import Maps
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.model.geometry import FrameGeometry
from feelvos_tf.model.options import InferenceOptions
from feelvos_tf.saved_model import version_folder

_SESSION_SIGNATURES = ('initialize', 'correct', 'step', 'save_state', 'restore_state')
_LEAST_LOGIT = -87.0  # exp of less is no float32.


class ExportedModel:
  """A SavedModel, and if `feelvos_tf.export` wrote it a `contract.SavingGraph`.

  >>> segmenter = VideoSegmenter(ExportedModel('models/feelvos/1'))

  Attributes:
    signatures: dict of name to function that takes and returns tensors by name.
    signature_defs: dict of name to `SignatureDef`.
    keeps_state: bool, whether it has the signatures that sessions need.
    remembers_masks, remembers_hidden: bool, see `contract.Graph`.
  """

  def __init__(self, folder: str | os.PathLike) -> None:
    """Loads a version folder; takes seconds.

    Args:
      folder: path with a saved_model.pb.

    Raises:
      ValueError: the folder holds no SavedModel that can be loaded.
    """
    folder = pathlib.Path(folder)
    plain = plain_path.of_folder(folder)
    try:
      data = (folder / 'saved_model.pb').read_bytes()
      definition = saved_model_pb2.SavedModel.FromString(data).meta_graphs[0]
      self._loaded = tf.saved_model.load(plain)
    except Exception as error:  # Whatever a broken protobuf, graph or file leads to.
      reason = str(error).replace(plain, str(folder))
      raise ValueError(f'{folder}: cannot be loaded as a SavedModel ({reason}).') from error
    self.signatures = dict(self._loaded.signatures)
    self.signature_defs = {
      name: value for name, value in definition.signature_def.items() if name in self.signatures
    }
    self.keeps_state = all(name in self.signatures for name in _SESSION_SIGNATURES)
    options = _options(folder)
    self.remembers_masks = options.get('previous_prediction') == 'labels'
    self.remembers_hidden = options.get('crossing_radius') is not None
    self._epsilon = options.get('guided_filter_epsilon')
    self._sizes = InferenceOptions(largest_side=options.get('largest_side'))

  def frame_geometry(
    self, size: tuple[int, int], max_internal_size: int | None = None
  ) -> FrameGeometry:
    """Sizes of a video's frames, those that are known here; see `contract.Graph`.

    Raises:
      ValueError: frames are larger than `max_internal_size`.
    """
    if max_internal_size is not None and max(size) > max_internal_size:
      raise ValueError(
        f'an exported model segments frames as they are, {size[1]}x{size[0]}; max_internal_size '
        f'is {max_internal_size}. Resize the frames, or load the weights it was exported from.'
      )
    return FrameGeometry(size, size)

  def begin(
    self,
    frame: np.ndarray,
    labels: np.ndarray,
    num_objects: int,
    geometry: FrameGeometry,
    references: References | None = None,
  ) -> State:
    """The signatures `initialize` and `correct`; see `contract.Graph`."""
    del geometry
    given = dict(
      image=tf.constant(frame),
      labels=tf.constant(labels, tf.int32),
      num_objects=tf.constant(num_objects),
    )
    if references is None:
      return State.from_named(self.signatures['initialize'](**given))
    return State.from_named(
      self.signatures['correct'](**given, **_constants(to_named('reference', references)))
    )

  def advance(
    self, frame: np.ndarray, state: State, num_objects: int, geometry: FrameGeometry
  ) -> Step:
    """The signature `step`, without maps; see `contract.Graph`."""
    del geometry
    result = self.signatures['step'](
      image=tf.constant(frame), num_objects=tf.constant(num_objects), **state.to_named()
    )
    # Logarithms of probabilities are logits with another constant per position.
    logits = tf.maximum(tf.math.log(result['probabilities']), _LEAST_LOGIT)
    previous = from_named(PreviousFrame, 'previous', result)
    no_maps = Maps(None, None, None)
    return Step(
      result['labels'], logits, no_maps, State(state.reference, previous), result['confidence']
    )

  def enlarge(self, logits: tf.Tensor, frame: np.ndarray, geometry: FrameGeometry) -> tf.Tensor:
    """Logits at full size; see `contract.Graph`."""
    if self._epsilon is not None:  # The graph scales large frames down; so does this.
      frame = FrameGeometry.of(geometry.frame, self._sizes).shrink_frame(frame)
    return guided_filter.enlarge_logits(logits, frame, geometry.frame, self._epsilon)

  def save(self, snapshot: Snapshot, palette_chunk: bytes) -> bytes:
    """State bytes of a video, as `track_resume` and `restore` take them.

    Args:
      snapshot: `Snapshot`.
      palette_chunk: bytes of the PLTE chunk that masks get.
    """
    return self.signatures['save_state'](
      size=tf.constant(snapshot.size, tf.int32),
      object_ids=tf.constant(snapshot.object_ids, tf.int32),
      palette_bytes=tf.constant(palette_chunk),
      **_constants(to_named('reference', snapshot.references)),
      **to_named('previous', snapshot.state.previous),
    )['state_bytes'].numpy()

  def restore(self, state_bytes: bytes) -> tuple[Snapshot, bytes]:
    """`Snapshot` and PLTE chunk of state bytes.

    Raises:
      tf.errors.InvalidArgumentError: not a state, damaged, of another version or another model.
    """
    result = self.signatures['restore_state'](state_bytes=tf.constant(state_bytes))
    references = from_named(References, 'reference', result)
    height, width = (int(side) for side in result['size'])
    snapshot = Snapshot(
      (height, width),
      tuple(int(i) for i in result['object_ids']),
      references._replace(labels=np.asarray(references.labels)),
      State.from_named(result),
    )
    return snapshot, result['palette_bytes'].numpy()


def _options(folder: pathlib.Path) -> dict[str, Any]:
  """Options of the model as `version_folder.describe` has them; {} without a model.json of that."""
  options = version_folder.read_description(folder).get('options')
  return options if isinstance(options, dict) else {}


def _constants(named: Mapping[str, np.ndarray | tf.Tensor]) -> dict[str, tf.Tensor]:
  return {name: tf.constant(value) for name, value in named.items()}

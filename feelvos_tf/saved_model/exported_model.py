"""An exported version, loaded: its signatures, and the arithmetic that `VideoSegmenter` runs."""

import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from feelvos_tf import matching
from feelvos_tf.inference import graph
from feelvos_tf.inference import segmenter
from feelvos_tf.model import feelvos

_SESSION_SIGNATURES = ('initialize', 'correct', 'step', 'save_state', 'restore_state')
_LEAST_LOGIT = -87.0  # exp of less is no float32.


class ExportedModel:
  """A SavedModel, and if `feelvos_tf.export` wrote it the graph of a `VideoSegmenter`.

  >>> segmenter = VideoSegmenter(ExportedModel('models/feelvos/1'))

  Attributes:
    signatures: dict of name to function that takes and returns tensors by name.
    signature_defs: dict of name to `SignatureDef`.
    keeps_state: bool, whether it has the signatures that sessions need.
  """

  def __init__(self, folder):
    """Loads a version folder; takes seconds.

    Args:
      folder: path with a saved_model.pb.

    Raises:
      ValueError: the folder holds no SavedModel that can be loaded.
    """
    folder = pathlib.Path(folder)
    try:
      data = (folder / 'saved_model.pb').read_bytes()
      definition = saved_model_pb2.SavedModel.FromString(data).meta_graphs[0]
      self._loaded = tf.saved_model.load(str(folder))
    except Exception as error:  # Whatever a broken protobuf, graph or file leads to.
      raise ValueError(f'{folder}: cannot be loaded as a SavedModel ({error}).') from error
    self.signatures = dict(self._loaded.signatures)
    self.signature_defs = {
      name: value for name, value in definition.signature_def.items() if name in self.signatures
    }
    self.keeps_state = all(name in self.signatures for name in _SESSION_SIGNATURES)

  def begin(self, frame, labels, num_objects, references=None):
    """`inference.InferenceGraph.begin` by the signatures `initialize` and `correct`."""
    given = dict(
      image=tf.constant(frame),
      labels=tf.constant(labels, tf.int32),
      num_objects=tf.constant(num_objects),
    )
    if references is None:
      result = self.signatures['initialize'](**given)
    else:
      result = self.signatures['correct'](
        reference_embeddings=tf.constant(references.embeddings),
        reference_labels=tf.constant(references.labels),
        **given,
      )
    return _state(result)

  def advance(self, frame, state, num_objects, size):
    """`inference.InferenceGraph.advance` by the signature `step`, without the distance maps.

    Raises:
      ValueError: labels of another size than the frame's are wanted.
    """
    if tuple(frame.shape[:2]) != tuple(size):
      raise ValueError(
        f'an exported model returns labels of the size of the frame, '
        f'{tuple(frame.shape[:2])}; {tuple(size)} wanted.'
      )
    result = self.signatures['step'](
      image=tf.constant(frame),
      num_objects=tf.constant(num_objects),
      **dict(zip(graph.STATE_NAMES, tf.nest.flatten(state))),
    )
    # Logarithms of probabilities are logits with another constant per position.
    logits = tf.maximum(tf.math.log(result['probabilities']), _LEAST_LOGIT)
    none = tf.zeros([0, 0, 0])
    previous = feelvos.PreviousFrame(*(result[name] for name in graph.PREVIOUS_NAMES))
    return result['labels'], logits, none, none, graph.State(state.reference, previous)

  def save(self, snapshot, palette_chunk):
    """State bytes of a video.

    Args:
      snapshot: `segmenter.Snapshot`.
      palette_chunk: bytes of the PLTE chunk that masks get.

    Returns:
      bytes, as `track_resume` and `restore` take them.
    """
    previous = dict(zip(graph.PREVIOUS_NAMES, snapshot.state.previous))
    return self.signatures['save_state'](
      size=tf.constant(snapshot.size, tf.int32),
      object_ids=tf.constant(snapshot.object_ids, tf.int32),
      palette_bytes=tf.constant(palette_chunk),
      reference_embeddings=tf.constant(snapshot.references.embeddings),
      reference_labels=tf.constant(snapshot.references.labels),
      **previous,
    )['state_bytes'].numpy()

  def restore(self, state_bytes):
    """`segmenter.Snapshot` and PLTE chunk (bytes) of state bytes.

    Raises:
      tf.errors.InvalidArgumentError: not a state, damaged, of another version or another model.
    """
    result = self.signatures['restore_state'](state_bytes=tf.constant(state_bytes))
    snapshot = segmenter.Snapshot(
      tuple(int(side) for side in result['size']),
      tuple(int(i) for i in result['object_ids']),
      graph.References(result['reference_embeddings'], np.asarray(result['reference_labels'])),
      _state(result),
    )
    return snapshot, result['palette_bytes'].numpy()


def _state(result):
  tensors = [result[name] for name in graph.STATE_NAMES]
  return graph.State(matching.ReferenceBank(*tensors[:3]), feelvos.PreviousFrame(*tensors[3:]))

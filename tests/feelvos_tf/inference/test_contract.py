"""What a graph takes and returns by name, and that any such graph runs a video."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.evaluation import baselines
from feelvos_tf.inference import contract
from feelvos_tf.inference.graph import InferenceGraph
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.inference.views import Views
from feelvos_tf.model.feelvos import HiddenParts
from feelvos_tf.model.feelvos import Maps
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.model.geometry import FrameGeometry
from feelvos_tf.saved_model.exported_model import ExportedModel

# Names of inputs of exported models: files and clients depend on them.
STATE_NAMES = [
  'reference_rows',
  'reference_block_object',
  'reference_center',
  'previous_embedding',
  'previous_labels',
  'previous_probabilities',
]


def test_a_state_is_the_same_by_name():
  numbers = [tf.constant(i) for i in range(6)]
  state = contract.State(matching.ReferenceBank(*numbers[:3]), PreviousFrame(*numbers[3:]))
  named = state.to_named()
  assert list(named) == STATE_NAMES
  assert [int(tensor) for tensor in named.values()] == list(range(6))
  backwards = dict(reversed(named.items()), labels=tf.constant(9))
  again = contract.State.from_named(backwards)
  assert tf.nest.map_structure(int, again) == tf.nest.map_structure(int, state)


def test_hidden_parts_are_in_the_names_if_a_model_has_them():
  numbers = [tf.constant(i) for i in range(9)]
  hidden = HiddenParts(*numbers[6:])
  state = contract.State(matching.ReferenceBank(*numbers[:3]), PreviousFrame(*numbers[3:6], hidden))
  named = state.to_named()
  parts = ['embedding', 'labels', 'motion']
  assert list(named) == STATE_NAMES + [f'previous_hidden_{part}' for part in parts]
  again = contract.State.from_named(dict(reversed(named.items())))
  assert tf.nest.map_structure(int, again) == tf.nest.map_structure(int, state)
  del named['previous_hidden_motion']
  with pytest.raises(KeyError, match='previous_hidden_motion'):
    contract.State.from_named(named)


def test_a_missing_tensor_is_named():
  with pytest.raises(KeyError, match='previous_labels'):
    contract.from_named(PreviousFrame, 'previous', {'previous_embedding': 0})


@pytest.mark.parametrize('kind', [InferenceGraph, Views, baselines.GlobalMatching, ExportedModel])
def test_graphs_have_the_arguments_of_the_protocol(kind):
  for name in ('frame_geometry', 'begin', 'advance'):
    expected = inspect.signature(getattr(contract.Graph, name)).parameters
    found = inspect.signature(getattr(kind, name)).parameters
    assert list(found) == list(expected)
    assert [p.default for p in found.values()] == [p.default for p in expected.values()]


class LastLabels:
  """A graph that answers every frame with the labels it started with."""

  def frame_geometry(self, size, max_internal_size=None):
    return FrameGeometry(size, size)

  def begin(self, frame, labels, num_objects, geometry, references=None):
    small = tf.constant(labels[::4, ::4])
    embedding = tf.zeros([*small.shape, 2])
    return contract.State(labels, PreviousFrame(embedding, small, None))

  def advance(self, frame, state, num_objects, geometry):
    logits = tf.zeros([num_objects, *state.previous.labels.shape])
    return contract.Step(
      state.reference, logits, Maps(None, None, None), state, tf.ones([num_objects])
    )


def test_a_segmenter_takes_any_graph():
  mask = np.zeros((9, 13), np.uint8)
  mask[2:5, 3:8] = 7
  frames = np.zeros((2, 9, 13, 3), np.uint8)
  segmenter = VideoSegmenter(LastLabels())
  segmenter.start(frames[0], mask)
  result = segmenter.step(frames[1])
  np.testing.assert_array_equal(result.mask, mask)
  assert result.global_distance is None and segmenter.size == (9, 13)

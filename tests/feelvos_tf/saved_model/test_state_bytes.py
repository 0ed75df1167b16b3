"""State bytes: round trip, exact layout, and refusal of everything that is not a state."""

import dataclasses
import functools
import struct

import keras
import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.inference import contradiction
from feelvos_tf.inference.contract import References
from feelvos_tf.model.feelvos import HiddenParts
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.saved_model import png_in_graph
from feelvos_tf.saved_model import state_bytes

KEY = b'12345678'
CHANNELS = 6
OPTIONS = FeelvosOptions(embedding_dimension=CHANNELS)
H4, W4 = 3, 4
HEADER = 8 + 8 + 10 * 4
REFERENCES = 2


@pytest.fixture
def state(rng):
  labels = rng.integers(0, 3, (REFERENCES + 1, H4, W4)).astype(np.int32)
  embeddings = rng.uniform(0, 4, (REFERENCES + 1, H4, W4, CHANNELS)).astype(np.float32)
  return state_bytes.VideoState(
    tf.constant([10, 16]),
    tf.constant([0, 7, 255], tf.uint8),
    tf.constant(png_in_graph.DAVIS_PALETTE_CHUNK),
    References(tf.constant(embeddings[:REFERENCES]), tf.constant(labels[:REFERENCES])),
    PreviousFrame(
      tf.constant(embeddings[REFERENCES]),
      tf.constant(labels[REFERENCES]),
      tf.constant(rng.uniform(0, 1, (3, H4, W4)), tf.float32),
    ),
  )


@functools.cache
def traced_pack(options):
  return tf.function(lambda state: state_bytes.pack(state, KEY, options))


def pack(state, options=OPTIONS):
  return traced_pack(options)(state).numpy()


@pytest.fixture(scope='module')
def unpack():
  function = tf.function(
    lambda data: state_bytes.unpack(data, KEY, OPTIONS),
    input_signature=[tf.TensorSpec([], tf.string)],
  )
  return lambda data: function(tf.constant(data))


def sign(body):
  """Bytes with a right checksum, whatever they hold."""
  checksum = tf.raw_ops.Fingerprint(data=[body], method='farmhash64')[0]
  return body + checksum.numpy().tobytes()


def test_round_trip(state, unpack):
  found = unpack(pack(state))
  for name in ('size', 'object_ids', 'palette'):
    assert np.array_equal(getattr(found, name), getattr(state, name)), name
  for read, written in (
    (found.references.labels, state.references.labels),
    (found.previous.labels, state.previous.labels),
    (found.references.embeddings, rounded(state.references.embeddings)),
    (found.previous.embedding, rounded(state.previous.embedding)),
  ):
    np.testing.assert_array_equal(read, written)
  one_hot = state.previous.labels.numpy() == np.arange(3)[:, None, None]
  np.testing.assert_array_equal(found.previous.probabilities, one_hot)


def rounded(embeddings):
  return tf.cast(tf.cast(embeddings, tf.bfloat16), tf.float32)


def test_reference_pixels_without_an_object_are_kept(state, unpack):
  labels = state.references.labels.numpy()
  labels[0, 0, 0] = contradiction.NO_LABEL  # A correction took it from its object.
  references = state.references._replace(labels=tf.constant(labels))
  packed = pack(state._replace(references=references))
  first = HEADER + 3 + len(state.palette.numpy())
  assert packed[first] == 255  # As earlier versions wrote it.
  np.testing.assert_array_equal(unpack(packed).references.labels, labels)
  labels = state.previous.labels.numpy()
  labels[0, 0] = 255
  previous = state.previous._replace(labels=tf.constant(labels))
  with pytest.raises(tf.errors.InvalidArgumentError, match='values that no state can have'):
    unpack(pack(state._replace(previous=previous)))


def test_reference_pixels_without_an_object_among_256_are_copies_of_another(state, unpack):
  labels = np.full((REFERENCES, H4, W4), 255, np.int32)
  labels[1, 1, 1] = 7
  labels[0, 0, :2] = labels[1, 2, 3] = contradiction.NO_LABEL
  references = state.references._replace(labels=tf.constant(labels))
  ids = tf.constant(np.arange(256, dtype=np.uint8))
  found = unpack(pack(state._replace(references=references, object_ids=ids))).references
  nobody = labels == contradiction.NO_LABEL
  # (0, 0, 2) is the first pixel of somebody.
  np.testing.assert_array_equal(found.labels, np.where(nobody, 255, labels))
  expected = rounded(references.embeddings).numpy()
  expected[nobody] = expected[0, 0, 2]
  np.testing.assert_array_equal(found.embeddings, expected)


def test_soft_maps_are_kept_exactly(state):
  soft = dataclasses.replace(OPTIONS, previous_prediction='probabilities')
  data = pack(state, soft)
  found = tf.function(lambda: state_bytes.unpack(data, KEY, soft))()
  np.testing.assert_array_equal(found.previous.probabilities, state.previous.probabilities)


CROSSING = dataclasses.replace(OPTIONS, crossing_radius=15)


def unpack_crossing(data):
  return tf.function(lambda: state_bytes.unpack(data, KEY, CROSSING))()


@pytest.fixture
def crossing_state(state, rng):
  embedding = rng.uniform(0, 4, (H4, W4, CHANNELS)).astype(np.float32)
  labels = rng.integers(0, 3, (H4, W4)).astype(np.int32)
  hidden = HiddenParts(
    tf.constant(embedding), tf.constant(labels), tf.constant([[0, 0], [-15, 3], [2, -300]])
  )
  return state._replace(previous=state.previous._replace(hidden=hidden))


def test_hidden_parts_are_kept_where_something_is_hidden(crossing_state):
  data = pack(crossing_state, CROSSING)
  assert data[16 + 4 * 8] == 2
  hidden = crossing_state.previous.hidden
  is_hidden = hidden.labels.numpy() > 0
  end = is_hidden.sum() * 2 * CHANNELS + 8
  labels = np.frombuffer(data[-end - H4 * W4 : -end], np.uint8)
  np.testing.assert_array_equal(labels.reshape(H4, W4), hidden.labels)
  motion = np.frombuffer(data[-end - H4 * W4 - 12 : -end - H4 * W4], '<i2')
  np.testing.assert_array_equal(motion.reshape(3, 2), hidden.motion)
  found = unpack_crossing(data).previous.hidden
  np.testing.assert_array_equal(found.labels, hidden.labels)
  kept = tf.where(is_hidden[..., np.newaxis], rounded(hidden.embedding), 0.0)
  np.testing.assert_array_equal(found.embedding, kept)
  np.testing.assert_array_equal(found.motion, hidden.motion)


def test_where_nothing_is_hidden_only_labels_and_motion_are_added(state, crossing_state):
  hidden = crossing_state.previous.hidden._replace(
    embedding=tf.zeros([H4, W4, CHANNELS]), labels=tf.zeros([H4, W4], tf.int32)
  )
  previous = state.previous._replace(hidden=hidden)
  data = pack(state._replace(previous=previous), CROSSING)
  assert len(data) == len(pack(state)) + H4 * W4 + 3 * 4
  found = unpack_crossing(data).previous.hidden
  np.testing.assert_array_equal(found.embedding, hidden.embedding)
  np.testing.assert_array_equal(found.labels, hidden.labels)


@pytest.mark.parametrize('change', [-2 * CHANNELS, -1, 1, 2 * CHANNELS])
def test_hidden_parts_of_another_number_than_their_labels_are_refused(crossing_state, change):
  body = pack(crossing_state, CROSSING)[:-8]
  body = body[:change] if change < 0 else body + bytes(change)
  with pytest.raises(tf.errors.InvalidArgumentError, match='sizes that do not fit'):
    unpack_crossing(sign(body))


def test_made_up_hidden_parts_are_refused(crossing_state):
  hidden = crossing_state.previous.hidden
  infinite = np.full(hidden.embedding.shape, np.inf, np.float32)
  for changes in ({'labels': tf.fill([H4, W4], 3)}, {'embedding': tf.constant(infinite)}):
    previous = crossing_state.previous._replace(hidden=hidden._replace(**changes))
    data = pack(crossing_state._replace(previous=previous), CROSSING)
    with pytest.raises(tf.errors.InvalidArgumentError, match='values that no state can have'):
      unpack_crossing(data)
  with pytest.raises(tf.errors.InvalidArgumentError, match='sizes that do not fit'):
    unpack_crossing(pack(crossing_state))


def test_layout_is_as_documented(state):
  data = pack(state)
  assert data[:16] == b'FEELVOS\x00' + KEY
  palette = png_in_graph.DAVIS_PALETTE_CHUNK
  assert struct.unpack('<10i', data[16:HEADER]) == (
    state_bytes.VERSION,
    10,
    16,
    H4,
    W4,
    CHANNELS,
    3,
    len(palette),
    0,
    REFERENCES,
  )
  assert data[HEADER : HEADER + 3] == bytes([0, 7, 255])
  assert data[HEADER + 3 : HEADER + 3 + len(palette)] == palette
  start = HEADER + 3 + len(palette)
  np.testing.assert_array_equal(
    np.frombuffer(data[start : start + REFERENCES * H4 * W4], np.uint8).reshape(-1, H4, W4),
    state.references.labels,
  )
  assert len(data) == start + (REFERENCES + 1) * H4 * W4 * (1 + 2 * CHANNELS) + 8
  assert sign(data[:-8]) == data


def test_every_flipped_byte_is_found(state, unpack):
  data = pack(state)
  for position in [*range(HEADER), *range(HEADER, len(data), 97), len(data) - 1]:
    changed = bytearray(data)
    changed[position] ^= 16
    with pytest.raises(tf.errors.InvalidArgumentError, match='state: '):
      unpack(bytes(changed))


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda data: b'', 'not the state of a video'),
    (lambda data: b'\xff' * 300, 'not the state of a video'),
    (lambda data: data[:40], 'not the state of a video'),
    (lambda data: data[:-1], 'damaged or changed'),
    (lambda data: data + b'\0', 'damaged or changed'),
    (lambda data: sign(data[:16] + struct.pack('<i', 9) + data[20:-8]), 'another version'),
    (lambda data: sign(data[:8] + b'87654321' + data[16:-8]), 'another model'),
  ],
)
def test_what_is_wrong_is_named(state, unpack, change, message):
  with pytest.raises(tf.errors.InvalidArgumentError, match=message):
    unpack(change(pack(state)))


@pytest.mark.parametrize(
  'index, value',
  [
    (1, 2**31 - 1),
    (1, -5),
    (2, 0),
    (3, 4),
    (4, 2**30),
    (5, CHANNELS + 1),
    (6, 0),
    (6, 257),
    (7, -1),
    (7, 10**9),
    (8, 1),
    (9, 0),
    (9, 3),
    (9, -1),
    (9, 10**6),
  ],
)
def test_made_up_sizes_are_refused(state, unpack, index, value):
  data = pack(state)
  position = 16 + 4 * index
  changed = data[:position] + struct.pack('<i', value) + data[position + 4 : -8]
  with pytest.raises(tf.errors.InvalidArgumentError, match='sizes that do not fit'):
    unpack(sign(changed))


def made_up(state, **changes):
  return sign(pack(state._replace(**changes))[:-8])


def test_made_up_values_are_refused(state, unpack):
  bad_embedding = np.array(state.previous.embedding)
  bad_embedding[0, 0, 0] = np.nan
  for changes in (
    {'previous': state.previous._replace(labels=tf.fill([H4, W4], 3))},
    {'references': state.references._replace(labels=tf.fill([REFERENCES, H4, W4], 3))},
    {'object_ids': tf.constant([0, 9, 9], tf.uint8)},
    {'object_ids': tf.constant([1, 2, 3], tf.uint8)},
    {'palette': tf.constant(b'\0' * 40)},
    {'palette': tf.constant(b'')},
    {'previous': state.previous._replace(embedding=tf.constant(bad_embedding))},
  ):
    with pytest.raises(tf.errors.InvalidArgumentError, match='values that no state can have'):
      unpack(made_up(state, **changes))


def test_the_key_depends_on_options_and_weights(copying_model):
  key = state_bytes.model_key(copying_model)
  assert len(key) == 8
  assert key == state_bytes.model_key(copying_model)
  config = copying_model.get_config()
  keras.utils.set_random_seed(2)
  assert state_bytes.model_key(type(copying_model).from_config(config)) != key

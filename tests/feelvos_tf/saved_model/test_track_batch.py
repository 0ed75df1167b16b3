"""Several videos in one request: each at its place, and none with a hole."""

import pytest
import tensorflow as tf

from feelvos_tf.saved_model import track_batch


@tf.function(
  input_signature=[
    tf.TensorSpec([None], tf.string, 'image_bytes'),
    tf.TensorSpec([], tf.string, 'mask_bytes'),
  ]
)
def names_of(image_bytes, mask_bytes):
  """In the place of `track`: every mask is called like its frame and the first mask."""
  return {
    'masks_bytes': tf.strings.join([image_bytes, mask_bytes]),
    'object_ids': tf.stack([0, tf.strings.length(mask_bytes)]),
    'confidence': tf.ones([tf.size(image_bytes), 2]),
  }


@pytest.fixture(scope='module')
def batch():
  """Function of (rows of frames, first masks)."""
  signature = track_batch.build(names_of.get_concrete_function())
  return lambda rows, masks: signature(image_bytes=tf.constant(rows), mask_bytes=tf.constant(masks))


def test_a_video_that_is_shorter_ends_with_nothing(batch):
  found = batch([[b'a', b'b', b'c'], [b'd', b'', b'']], [b'1', b'22'])
  assert found['masks_bytes'].numpy().tolist() == [[b'a1', b'b1', b'c1'], [b'd22', b'', b'']]
  assert found['object_ids'].numpy().tolist() == [[0, 1], [0, 2]]
  assert found['confidence'].numpy().sum(axis=2).tolist() == [[2, 2, 2], [2, 0, 0]]


def test_a_missing_frame_in_the_middle_is_refused(batch):
  """All masks behind it moved up by one frame."""
  with pytest.raises(tf.errors.InvalidArgumentError, match='a frame after an empty string given'):
    batch([[b'a', b'b', b'c'], [b'd', b'', b'e']], [b'1', b'22'])

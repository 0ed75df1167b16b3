"""Files of what the model saw of a frame."""

import os

import cv2
import numpy as np
import pytest

from feelvos_tf.evaluation import kept_maps
from feelvos_tf.inference.segmented_frame import SegmentedFrame


def test_channels_and_columns_are_told_apart(tmp_path):
  """Two channels of 4x6: global distance, local distance, probability of each."""
  levels = np.array([0.2, 0.4, 0.6, 1.0], np.float32)[:, np.newaxis, np.newaxis]
  full = np.broadcast_to(levels, (4, 4, 6))
  logits = np.broadcast_to(np.log(np.float32([0.8, 0.2]))[:, np.newaxis, np.newaxis], (2, 4, 6))
  mask = np.zeros((16, 24), np.uint8)
  path = tmp_path / '00001.png'
  path.write_bytes(kept_maps.encode_maps(SegmentedFrame(mask, (0, 5), logits, full[:2], full[2:])))
  found = kept_maps.read_maps(path, 2)
  assert found.shape == (2, 3, 4, 6)
  expected = np.array([[51, 153, 204], [102, 255, 51]])[..., np.newaxis, np.newaxis]
  np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))


def test_damaged_maps_are_refused(tmp_path):
  path = tmp_path / '00001.png'
  path.write_bytes(b'\x89PNG\r\n\x1a\nno more')
  with pytest.raises(ValueError, match='damaged maps; run the model again'):
    kept_maps.read_maps(path, 2)


def test_a_name_that_is_not_utf_8(tmp_path):
  """OpenCV ended the process, and with it an evaluation before its scores were written."""
  path = tmp_path / os.fsdecode(b'\xff.png')
  path.write_bytes(cv2.imencode('.png', np.full((2, 9), 7, np.uint8))[1].tobytes())
  np.testing.assert_array_equal(kept_maps.read_maps(path, 1), np.full((1, 3, 2, 3), 7))
  path.write_bytes(b'')
  with pytest.raises(ValueError, match='damaged maps; run the model again'):
    kept_maps.read_maps(path, 1)

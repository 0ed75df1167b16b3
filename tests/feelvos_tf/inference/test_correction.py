"""VideoSegmenter.correct: further references, new objects, a bounded number, resuming."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.inference import segmenter as segmenter_lib
from feelvos_tf.inference.segmenter import VideoSegmenter

SIZE = (33, 49)


def frames(rng, count=4):
  return rng.integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


def blocks(*ids):
  """A mask with one block per id, in this order from left to right."""
  mask = np.zeros(SIZE, np.uint8)
  width = SIZE[1] // len(ids)
  for i, object_id in enumerate(ids):
    mask[8:25, i * width + 2 : (i + 1) * width - 2] = object_id
  return mask


def test_the_corrected_frame_is_the_previous_frame(copying_graph, rng):
  images, right = frames(rng), blocks(0, 5, 9)
  segmenter = VideoSegmenter(copying_graph)  # This model repeats the previous mask at stride 4.
  segmenter.start(images[0], blocks(5, 9))
  given = segmenter.correct(images[1], right)
  np.testing.assert_array_equal(given.mask, right)
  np.testing.assert_array_equal(given.confidence, [1, 1, 1])
  np.testing.assert_array_equal(segmenter.step(images[2]).mask[::4, ::4], right[::4, ::4])


def test_objects_are_added_between_others(copying_graph, rng):
  images, more = frames(rng), blocks(200, 3, 50)
  segmenter = VideoSegmenter(copying_graph)
  segmenter.start(images[0], blocks(3, 200))
  before = segmenter.step(images[1]).global_distance
  assert segmenter.correct(images[1], more).object_ids == segmenter.object_ids == (0, 3, 50, 200)
  result = segmenter.step(images[1])
  np.testing.assert_array_equal(result.mask[::4, ::4], more[::4, ::4])
  # The first frame's pixels still belong to 3 and 200: they are no farther than before.
  assert result.global_distance.shape[0] == 4
  assert np.all(result.global_distance[[0, 1, 3]] <= before + 1e-5)


def test_an_object_that_is_not_in_the_mask_stays(copying_graph, rng):
  images = frames(rng)
  segmenter = VideoSegmenter(copying_graph)
  segmenter.start(images[0], blocks(3, 200))
  given = segmenter.correct(images[1], blocks(0, 200))
  np.testing.assert_array_equal(given.confidence, [1, 0, 1])
  result = segmenter.step(images[2])
  assert result.object_ids == (0, 3, 200) and 3 not in result.mask
  segmenter.correct(images[2], np.zeros(SIZE, np.uint8))
  assert not segmenter.step(images[3]).mask.any()


def test_references_are_bounded(copying_graph, rng):
  images = frames(rng, 8)
  segmenter = VideoSegmenter(copying_graph)
  segmenter.start(images[0], blocks(5))
  sizes = []
  for image in images[1:]:
    segmenter.correct(image, blocks(5))
    sizes.append(segmenter.snapshot().references.labels.shape[0])
  assert sizes == [2, 3, 4, 4, 4, 4, 4] and segmenter_lib.MAX_REFERENCES == 4
  kept = segmenter.snapshot().references.embeddings
  for index, image in zip(range(4), images[[0, 5, 6, 7]]):
    np.testing.assert_allclose(kept[index], copying_graph.extract(image)[1], atol=1e-5)


def test_the_only_reference_of_an_object_is_not_dropped(copying_graph, rng):
  images = frames(rng, 6)
  segmenter = VideoSegmenter(copying_graph)
  segmenter.start(images[0], blocks(5))
  segmenter.correct(images[1], blocks(5, 7))  # 7 is nowhere else.
  for image in images[2:]:
    segmenter.correct(image, blocks(5))
  labels = segmenter.snapshot().references.labels
  assert len(labels) == 4
  assert [2 in one for one in labels] == [False, True, False, False]


def test_a_snapshot_goes_on_elsewhere(copying_graph, rng):
  images = frames(rng)
  one, two = VideoSegmenter(copying_graph), VideoSegmenter(copying_graph)
  one.start(images[0], blocks(5, 9))
  one.correct(images[1], blocks(9, 5))
  two.restore(one.snapshot())
  for image in images[2:]:
    first, second = one.step(image), two.step(image)
    np.testing.assert_array_equal(first.stride4_logits, second.stride4_logits)
  two.correct(images[0], blocks(9, 5, 6))
  assert (one.object_ids, two.object_ids) == ((0, 5, 9), (0, 5, 6, 9))
  assert one.memory_bytes < two.memory_bytes
  assert set(np.unique(one.step(images[0]).mask)) <= {0, 5, 9}


def test_scaled_frames_can_be_corrected(copying_graph, rng):
  images, right = frames(rng), blocks(5, 9)
  segmenter = VideoSegmenter(copying_graph, max_internal_size=40)
  segmenter.start(images[0], blocks(9, 5))
  segmenter.correct(images[1], right)
  assert np.mean(segmenter.step(images[2]).mask == right) > 0.85


def test_a_refused_correction_changes_nothing(copying_graph, rng, monkeypatch):
  images = frames(rng)
  segmenter = VideoSegmenter(copying_graph)
  with pytest.raises(RuntimeError, match='start'):
    segmenter.correct(images[0], blocks(5))
  with pytest.raises(RuntimeError, match='snapshot before start'):
    segmenter.snapshot()
  assert segmenter.memory_bytes == 0 and segmenter.size is None
  segmenter.start(images[0], blocks(5))
  expected = segmenter.step(images[1]).stride4_logits
  segmenter.start(images[0], blocks(5))
  with pytest.raises(ValueError, match='the frame is 48x33, the first frame was 49x33'):
    segmenter.correct(images[1][:, :48], blocks(5)[:, :48])
  with pytest.raises(ValueError, match='the mask is 48x33'):
    segmenter.correct(images[1], blocks(5)[:, :48])

  def fail(*unused):
    raise tf.errors.ResourceExhaustedError(None, None, 'no memory')

  with monkeypatch.context() as patch:
    patch.setattr(copying_graph, 'begin', fail)
    with pytest.raises(tf.errors.ResourceExhaustedError):
      segmenter.correct(images[1], blocks(7))
  assert segmenter.object_ids == (0, 5)
  np.testing.assert_array_equal(segmenter.step(images[1]).stride4_logits, expected)

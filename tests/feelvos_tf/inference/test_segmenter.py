"""VideoSegmenter: the original's labels, the user's ids, sizes, restarts, and what is refused."""

import dataclasses
import pathlib

import made_masks
import numpy as np
import pytest

from feelvos_tf.inference.segmenter import VideoSegmenter

VIDEOS = [
  'video_xception_65_os16',
  'video_xception_65_os16_62x86',
  'video_xception_65_os16_62x86_corr',
]
SIZE = (33, 49)


def frames(rng, count=3, size=SIZE):
  return rng.integers(0, 256, (count, *size, 3), dtype=np.uint8)


def blocks(ids, size=SIZE):
  return made_masks.blocks(ids, size)


def at_stride_4(mask):
  """What `copying_model` makes of a mask: the sampled mask, enlarged; exact at the samples."""
  return mask[::4, ::4]


@pytest.mark.parametrize('name', VIDEOS)
def test_golden_videos(golden, golden_graph, name):
  """Labels and probabilities of the original, with a user's ids for its indices."""
  tensors = golden.npz(f'tf1/{name}')
  ids = np.array([0, 17, 255], np.uint8)
  segmenter = VideoSegmenter(golden_graph)
  segmenter.start(tensors['images'][0], ids[tensors['gt_labels'][0, ..., 0]])
  for i, image in enumerate(tensors['images'][1:]):
    result = segmenter.step(image)
    assert np.mean(result.mask == ids[tensors['labels'][i + 1]]) >= 0.999
    exponential = np.exp(result.stride4_logits - result.stride4_logits.max(0))
    np.testing.assert_allclose(
      np.moveaxis(exponential / exponential.sum(0), 0, -1), tensors['softmax'][i], atol=1e-3
    )


@pytest.mark.parametrize('ids', [(1,), (255,), (3, 17, 255), (1, 2, 3, 4, 5, 6)])
def test_the_users_ids_come_back(copying_graph, rng, ids):
  images, mask = frames(rng), blocks(ids)
  segmenter = VideoSegmenter(copying_graph)
  assert segmenter.object_ids is None
  first = segmenter.start(images[0], mask)
  np.testing.assert_array_equal(first.mask, mask)
  assert segmenter.object_ids == first.object_ids == (0, *ids)
  for image in images[1:]:
    result = segmenter.step(image)
    assert result.object_ids == (0, *ids)
    assert result.mask.dtype == np.uint8
    np.testing.assert_array_equal(at_stride_4(result.mask), at_stride_4(mask))


def test_every_id_at_once(copying_graph, rng):
  """256 channels, each of one pixel at stride 4."""
  size = (61, 61)
  mask = np.kron(np.arange(256, dtype=np.uint8).reshape(16, 16), np.ones([4, 4], np.uint8))
  mask = mask[:61, :61]
  segmenter = VideoSegmenter(copying_graph)
  segmenter.start(frames(rng, 1, size)[0], mask)
  result = segmenter.step(frames(rng, 1, size)[0])
  assert result.object_ids == tuple(range(256))
  np.testing.assert_array_equal(at_stride_4(result.mask), at_stride_4(mask))


def test_mask_without_background(copying_graph, rng):
  images = frames(rng)
  segmenter = VideoSegmenter(copying_graph)
  segmenter.start(images[0], np.full(SIZE, 9, np.uint8))
  result = segmenter.step(images[1])
  assert result.object_ids == (0, 9)
  assert np.all(result.mask == 9)
  assert result.probabilities[0].max() < 0.01


def test_an_object_that_vanishes_at_stride_4_keeps_its_channel(copying_graph, rng):
  """It shifts nobody: ids 3 and 200 stay where they are, before and behind the small one."""
  images, mask = frames(rng), blocks((3, 200))
  mask[2, 3] = 50
  segmenter = VideoSegmenter(copying_graph)
  segmenter.start(images[0], mask)
  result = segmenter.step(images[1])
  assert result.object_ids == (0, 3, 50, 200)
  assert result.probabilities.shape == (4, *SIZE)
  assert 50 in result.mask
  others = at_stride_4(mask) != 0
  np.testing.assert_array_equal(at_stride_4(result.mask)[others], at_stride_4(mask)[others])


def test_small_objects_on_one_stride_4_position_break_nothing(copying_graph, rng):
  images, mask = frames(rng), blocks((3, 200))
  mask[1, 1], mask[1, 2], mask[2, 1] = 50, 51, 52
  segmenter = VideoSegmenter(copying_graph)
  segmenter.start(images[0], mask)
  result = segmenter.step(images[1])
  assert result.object_ids == (0, 3, 50, 51, 52, 200)
  others = at_stride_4(mask) != 0
  np.testing.assert_array_equal(at_stride_4(result.mask)[others], at_stride_4(mask)[others])


def test_probabilities(copying_graph, rng):
  images, mask = frames(rng), blocks((7, 8))
  segmenter = VideoSegmenter(copying_graph)
  first = segmenter.start(images[0], mask)
  for channel, object_id in enumerate((0, 7, 8)):
    np.testing.assert_array_equal(first.probabilities[channel], mask == object_id)
  assert first.stride4_logits is None and first.global_distance is None
  result = segmenter.step(images[1])
  assert result.probabilities.dtype == np.float32
  np.testing.assert_allclose(result.probabilities.sum(0), 1.0, atol=1e-5)
  ids = np.array([0, 7, 8], np.uint8)
  np.testing.assert_array_equal(ids[result.probabilities.argmax(0)], result.mask)
  for distance in (result.global_distance, result.local_distance):
    assert distance.shape == result.stride4_logits.shape == (3, 9, 13)
    assert distance.min() >= 0 and distance.max() <= 1


@pytest.mark.parametrize('size', [(33, 49), (64, 96), (96, 64), (50, 101)])
def test_max_internal_size_returns_full_size_masks(copying_graph, rng, size):
  mask = np.zeros(size, np.uint8)
  mask[size[0] // 4 : -size[0] // 4, size[1] // 4 : -size[1] // 4] = 5
  images = frames(rng, 2, size)
  segmenter = VideoSegmenter(copying_graph, max_internal_size=40)
  assert segmenter.start(images[0], mask).mask.shape == size
  result = segmenter.step(images[1])
  assert result.mask.shape == size
  assert result.probabilities.shape == (2, *size)
  assert max(result.stride4_logits.shape[1:]) == (40 - 1) // 4 + 1
  assert np.mean(result.mask == mask) > 0.85


def test_frames_below_max_internal_size_are_not_scaled(copying_graph, rng):
  images, mask = frames(rng), blocks((1,))
  results = []
  for limit in (None, 49, 1000):
    segmenter = VideoSegmenter(copying_graph, limit)
    segmenter.start(images[0], mask)
    results.append(segmenter.step(images[1]).global_distance)
  np.testing.assert_array_equal(results[0], results[1])
  np.testing.assert_array_equal(results[0], results[2])


def test_frames_larger_than_the_model_takes_are_segmented_smaller(copying_graph, rng, monkeypatch):
  options = dataclasses.replace(copying_graph.options, largest_side=40)
  monkeypatch.setattr(copying_graph, 'options', options)
  images, mask = frames(rng), blocks((1,))
  sizes = []
  for limit in (None, 49, 33):
    segmenter = VideoSegmenter(copying_graph, limit)
    segmenter.start(images[0], mask)
    result = segmenter.step(images[1])
    assert result.mask.shape == mask.shape
    sizes.append(max(result.stride4_logits.shape[1:]))
  assert sizes == [10, 13, 9]  # The longer side at stride 4, of 40, 49 and 33 pixels.


def test_small_objects_survive_max_internal_size(copying_graph, rng):
  size = (200, 300)
  mask = np.zeros(size, np.uint8)
  mask[101:103, 151:153] = 77
  segmenter = VideoSegmenter(copying_graph, max_internal_size=64)
  segmenter.start(frames(rng, 1, size)[0], mask)
  assert 77 in segmenter.step(frames(rng, 1, size)[0]).mask


def test_a_video_of_tiny_frames(copying_graph, rng):
  for size in ((1, 1), (2, 5), (3, 3)):
    segmenter = VideoSegmenter(copying_graph)
    segmenter.start(frames(rng, 1, size)[0], np.full(size, 4, np.uint8))
    assert np.all(segmenter.step(frames(rng, 1, size)[0]).mask == 4)


def test_start_again_forgets_the_video_before(golden, golden_graph):
  tensors = golden.npz('tf1/video_xception_65_os16_62x86')
  images, mask = tensors['images'], tensors['gt_labels'][0, ..., 0].astype(np.uint8)
  segmenter = VideoSegmenter(golden_graph)
  segmenter.start(images[2][:40], (mask[:40] > 0).astype(np.uint8) * 9)  # Other size and ids.
  segmenter.step(images[1][:40])
  segmenter.start(images[0], mask)
  again = segmenter.step(images[1])
  fresh = VideoSegmenter(golden_graph)
  fresh.start(images[0], mask)
  np.testing.assert_array_equal(again.stride4_logits, fresh.step(images[1]).stride4_logits)
  assert again.object_ids == (0, 1, 2)


def test_two_videos_in_turn_do_not_mix(copying_graph, rng):
  images = frames(rng)
  one, two = VideoSegmenter(copying_graph), VideoSegmenter(copying_graph)
  one.start(images[0], blocks((1, 2)))
  two.start(images[0][:, :41], blocks((9,), (33, 41)))
  for image in images[1:]:
    assert set(np.unique(one.step(image).mask)) == {0, 1, 2}
    assert set(np.unique(two.step(image[:, :41]).mask)) == {0, 9}


def test_inputs_are_not_changed(copying_graph, rng):
  image, mask = frames(rng, 1)[0], blocks((1,))
  before, mask_before = image.copy(), mask.copy()
  segmenter = VideoSegmenter(copying_graph)
  segmenter.start(image, mask).mask[:] = 3
  segmenter.step(image).mask[:] = 3
  np.testing.assert_array_equal(image, before)
  np.testing.assert_array_equal(mask, mask_before)


def test_step_before_start(copying_graph, rng):
  segmenter, image = VideoSegmenter(copying_graph), frames(rng)[0]
  with pytest.raises(RuntimeError, match='^step before start: call start'):
    segmenter.step(image)
  with pytest.raises(RuntimeError, match='^correct before start: call start'):
    segmenter.correct(image, blocks((1,)))


@pytest.mark.parametrize('model', ['weights.h5', pathlib.Path('weights.h5'), None])
def test_a_path_is_no_model(model):
  """It was refused by an AttributeError of `start`."""
  with pytest.raises(ValueError, match='expected what load_model returns'):
    VideoSegmenter(model)


def test_frames_may_not_change_size(copying_graph, rng):
  images = frames(rng)
  segmenter = VideoSegmenter(copying_graph)
  segmenter.start(images[0], blocks((1,)))
  with pytest.raises(
    ValueError,
    match='the frame is 48x33, the first frame was 49x33; frames of a video may not change size',
  ):
    segmenter.step(images[1][:, :48])
  assert set(np.unique(segmenter.step(images[1]).mask)) == {0, 1}  # It goes on after that.


@pytest.mark.parametrize(
  'frame, mask, message',
  [
    (np.zeros([9, 9], np.uint8), None, r'the frame is uint8 of shape \[9, 9\]; expected uint8'),
    (np.zeros([9, 9, 4], np.uint8), None, 'the frame is uint8 of shape'),
    (np.zeros([9, 9, 3], np.float32), None, 'the frame is float32'),
    (np.zeros([0, 9, 3], np.uint8), None, 'the frame is uint8 of shape'),
    (None, np.zeros([9, 9, 3], np.uint8), 'the mask is uint8 of shape'),
    (None, np.ones([9, 9], np.float32), 'the mask is float32'),
    (None, np.ones([8, 9], np.uint8), 'the mask is 9x8, the frame is 9x9; both have to be'),
    (None, np.full([9, 9], 256), 'the mask has ids 256 to 256; expected object ids 1..255; 0 is'),
    (None, np.full([9, 9], -1), 'the mask has ids -1 to -1; expected object ids 1..255; 0 is'),
    (None, np.zeros([9, 9], np.uint8), r'the mask holds background \(0\) only'),
  ],
)
def test_wrong_frames_and_masks_are_refused(copying_graph, frame, mask, message):
  frame = np.zeros([9, 9, 3], np.uint8) if frame is None else frame
  mask = np.ones([9, 9], np.uint8) if mask is None else mask
  with pytest.raises(ValueError, match=message):
    VideoSegmenter(copying_graph).start(frame, mask)


def test_a_refused_start_leaves_the_running_video_alone(copying_graph, rng):
  images = frames(rng)
  segmenter = VideoSegmenter(copying_graph)
  segmenter.start(images[0], blocks((6,)))
  with pytest.raises(ValueError):
    segmenter.start(images[0], np.zeros(SIZE, np.uint8))
  assert set(np.unique(segmenter.step(images[1]).mask)) == {0, 6}


def test_a_too_small_internal_size_is_refused(copying_graph):
  with pytest.raises(ValueError, match='max_internal_size is 31; expected at least 32'):
    VideoSegmenter(copying_graph, 31)

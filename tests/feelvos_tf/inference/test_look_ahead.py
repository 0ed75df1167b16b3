"""Features of frames that come later."""

import threading

import made_masks
import numpy as np
from PIL import Image
import pytest
import small_models

from feelvos_tf.inference import graph
from feelvos_tf.inference.look_ahead import LookAhead
from feelvos_tf.inference.segmenter import VideoSegmenter

SIZE = (33, 49)


@pytest.fixture(scope='module')
def seeded_graph():
  return graph.InferenceGraph(small_models.tiny_model(3))


def test_results_belong_to_their_frames():
  callers = []

  def extract(frame):
    callers.append(threading.current_thread())
    return frame.sum()

  ahead = LookAhead(extract)
  one, two, three = (np.full([2, 2, 3], value, np.uint8) for value in (1, 1, 3))
  assert ahead.take(one) is None
  ahead.begin(one)
  ahead.begin(two)
  assert ahead.take(two) == 12 and ahead.take(two) is None  # An equal frame is another frame.
  ahead.begin(three)
  assert ahead.take(one) == 12 and ahead.take(three) == 36
  assert threading.main_thread() not in callers
  for frame in (one, two, three):
    ahead.begin(frame)
  assert ahead.take(one) is None  # Two are held.
  ahead.forget()
  assert ahead.take(three) is None
  ahead.begin(one)
  one[:] = 5  # A video ended before its step, and the next one is read into the same array.
  ahead.begin(one)
  assert ahead.take(one) == 60 and ahead.take(one) is None


def test_an_error_comes_where_the_result_would():
  def extract(frame):
    raise ValueError(f'{frame.shape}')

  ahead, frame = LookAhead(extract), np.zeros([2, 2, 3], np.uint8)
  ahead.begin(frame)
  with pytest.raises(ValueError, match='2, 2, 3'):
    ahead.take(frame)


def run(segmenter, images, mask, looks):
  results = [segmenter.start(images[0], mask)]
  for index, image in enumerate(images[1:], 1):
    if looks and index + 1 < len(images):
      segmenter.look_ahead(images[index + 1])
    results.append(segmenter.step(image))
  return results


@pytest.mark.parametrize('options', [{}, {'max_internal_size': 40}, {'flip': True}])
def test_a_segmenter_gives_the_same_with_it(seeded_graph, rng, options):
  images = rng.integers(0, 256, (5, *SIZE, 3), dtype=np.uint8)
  mask = made_masks.blocks((1, 7), SIZE)
  calls = []
  extract = seeded_graph.extract
  seeded_graph.extract = lambda *given: calls.append(threading.current_thread()) or extract(*given)
  plain, ahead = (
    run(VideoSegmenter(seeded_graph, **options), list(images), mask, looks)
    for looks in (False, True)
  )
  seeded_graph.extract = extract
  for one, two in zip(plain, ahead):
    np.testing.assert_array_equal(one.mask, two.mask)
  np.testing.assert_array_equal(plain[-1].stride4_logits, ahead[-1].stride4_logits)
  threads = sum(thread is not threading.main_thread() for thread in calls)
  assert threads == (0 if 'flip' in options else 3)


def test_another_video_and_wrong_frames(seeded_graph, rng):
  segmenter = VideoSegmenter(seeded_graph)
  small, large = (rng.integers(0, 256, (3, *size, 3), dtype=np.uint8) for size in (SIZE, (65, 49)))
  segmenter.look_ahead(small[1])  # Before `start`: nothing.
  segmenter.start(small[0], made_masks.blocks((1,), SIZE))
  next_frame = small[1]
  segmenter.look_ahead(next_frame)
  segmenter.look_ahead(large[1])
  segmenter.look_ahead(Image.fromarray(small[2]))  # Frames that `step` takes.
  segmenter.look_ahead(small[2].tolist())
  with pytest.raises(ValueError, match='may not change size'):
    segmenter.step(large[1])
  expected = segmenter.step(next_frame).mask
  assert segmenter.step(Image.fromarray(small[2])).mask.shape == SIZE
  segmenter.start(large[0], made_masks.blocks((1,), (65, 49)))
  assert segmenter.step(large[1]).mask.shape == (65, 49)
  segmenter.start(small[0], made_masks.blocks((1,), SIZE))
  np.testing.assert_array_equal(segmenter.step(next_frame).mask, expected)

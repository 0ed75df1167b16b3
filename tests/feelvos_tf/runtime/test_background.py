"""Tests of feelvos_tf/runtime/background.py."""

import threading
import time

import pytest

from feelvos_tf.runtime import background


def test_prefetch_keeps_order_and_raises_after_the_items_before():
  def source():
    yield from range(5)
    raise ValueError('frame 5 is broken')

  seen = []
  with pytest.raises(ValueError, match='frame 5 is broken'):
    for item in background.prefetch(source()):
      seen.append(item)
  assert seen == [0, 1, 2, 3, 4]


def test_prefetch_is_bounded_and_stops_with_its_consumer():
  fetched = []

  def source():
    for i in range(1000):
      fetched.append(i)
      yield i

  items = background.prefetch(source(), size=2)
  assert next(items) == 0
  time.sleep(0.2)
  assert len(fetched) <= 4  # One taken, two queued, one in hand.
  items.close()
  assert not any(thread.name == 'prefetch' for thread in threading.enumerate())


def test_with_next_raises_after_the_item_before():
  assert list(background.with_next([])) == []
  assert list(background.with_next('abc')) == [('a', 'b'), ('b', 'c'), ('c', None)]

  def source():
    yield from range(2)
    raise ValueError('frame 2 is broken')

  seen = []
  with pytest.raises(ValueError, match='frame 2 is broken'):
    for item in background.with_next(source()):
      seen.append(item)
  assert seen == [(0, 1), (1, None)]


def test_background_calls_run_in_order():
  done = []
  with background.BackgroundCalls(lambda i: done.append(i)) as call:
    for i in range(20):
      call(i)
  assert done == list(range(20))


def test_background_calls_raise_the_error_of_a_call():
  def fail(i):
    if i == 1:
      raise OSError('disk full')

  with pytest.raises(OSError, match='disk full'), background.BackgroundCalls(fail) as call:
    for i in range(3):
      call(i)
      time.sleep(0.05)

"""Tests of feelvos_tf/runtime/progress.py."""

import io
import time

import pytest

from feelvos_tf.runtime import progress


class _Clock:
  now = 0.0

  def __call__(self):
    return self.now


def test_line_has_count_rate_and_time_left():
  clock = _Clock()
  bar = progress.Progress(total=82, unit='frames', title='bear', stream=io.StringIO(), clock=clock)
  clock.now = 20.0
  bar.advance(41)
  assert bar.line() == 'bear: 41/82 frames, 2.05 frames/s, 20 s left'


def test_steps_tell_the_time_left():
  """Frames between two masks are segmented twice, and count when they are written."""
  clock = _Clock()
  bar = progress.Progress(40, 'frames', 'bear', io.StringIO(), clock, steps=70)
  clock.now = 10.0
  bar.advance(0, steps=20)
  assert bar.line() == 'bear: 0/40 frames, 25 s left' and bar.steps_left == 50
  clock.now = 30.0
  bar.advance(20, steps=40)
  assert bar.line() == 'bear: 20/40 frames, 0.667 frames/s, 5 s left'


def test_without_terminal_a_line_every_five_seconds_one_before_and_one_at_the_end():
  clock, stream = _Clock(), io.StringIO()
  with progress.Progress(unit='frames', stream=stream, clock=clock) as bar:
    for second in range(1, 13):
      clock.now = float(second)
      bar.advance()
  assert [line.split(',')[0] for line in stream.getvalue().splitlines()] == [
    '0 frames',
    '5 frames',
    '10 frames',
    '12 frames',
  ]


def test_a_first_frame_that_takes_long_is_not_silent(monkeypatch):
  monkeypatch.setattr(progress, '_ELSEWHERE', 0.0)
  monkeypatch.setattr(progress, '_LOOK', 0.01)
  clock, stream = _Clock(), io.StringIO()
  with progress.Progress(6, 'frames', 'bear', stream, clock):
    clock.now = 7.0
    deadline = time.monotonic() + 60
    while 'bear: 0/6 frames, 7 s\n' not in stream.getvalue() and time.monotonic() < deadline:
      time.sleep(0.01)
    said = stream.getvalue()
  assert said.startswith('bear: 0/6 frames\n') and 'bear: 0/6 frames, 7 s\n' in said


@pytest.mark.parametrize('at_once, lines', [(True, ['model']), (False, [])])
def test_waiting(at_once, lines):
  clock, stream = _Clock(), io.StringIO()
  with progress.Waiting('model', at_once, stream, clock) as waiting:
    clock.now = 4.0
    waiting.tick()
    clock.now = 6.0
    waiting.tick()
  assert stream.getvalue().splitlines() == [*lines, 'model, 6 s']


def test_duration():
  assert [progress.duration(s) for s in (45, 700, 9000)] == ['45 s', '12 min', '2.5 h']

"""Tests of feelvos_tf/runtime/progress.py."""

import io

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


def test_without_terminal_a_line_every_ten_seconds_and_one_at_the_end():
  clock, stream = _Clock(), io.StringIO()
  with progress.Progress(unit='frames', stream=stream, clock=clock) as bar:
    for second in range(1, 26):
      clock.now = float(second)
      bar.advance()
  assert [line.split(',')[0] for line in stream.getvalue().splitlines()] == [
    '10 frames',
    '20 frames',
    '25 frames',
  ]


def test_duration():
  assert [progress.duration(s) for s in (45, 700, 9000)] == ['45 s', '12 min', '2.5 h']

"""The command that watches a live run: what its samples say, wrong usage."""

from feelvos_tf.tools import measure_live


def test_lag_and_memory_over_time():
  """A run that falls back by 2 ms a second and grows by 1 MB a minute; it loses frames at first."""
  samples = [
    measure_live.Sample(float(s), 0.1 + 0.002 * s, 500_000_000 + s * 1_000_000 // 60, min(s, 7))
    for s in range(121)
  ]
  lines = measure_live.summary(samples).splitlines()
  assert lines[0] == '121 frames taken, 7 left out, 0 of them after the first 10 s'
  assert lines[1].startswith('lag: median 0.130 s, ') and 'most 0.240 s' in lines[1]
  assert lines[1].endswith('slope +120.0 ms a minute')
  assert lines[2] == 'memory: 500 MB, then 502 MB; slope +1.00 MB a minute'


def test_wrong_usage(run_main):
  done = run_main('tools.measure_live', '--size=320')
  assert done.returncode == 2 and '--size=320 given, expected WIDTHxHEIGHT' in done.stderr

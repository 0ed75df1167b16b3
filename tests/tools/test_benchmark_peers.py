"""Methods are timed in turns; wrong flags are one line. Cutie itself is not run here."""

import pytest

from feelvos_tf.tools import benchmark_peers


def test_ratios_are_of_the_same_round():
  # The second method takes half as long as the first, on a machine that gets slower and slower.
  seconds = iter([9.0, 9.0, 1.0, 0.5, 2.0, 1.0, 4.0, 2.0])

  def timer():
    taken = next(seconds)
    return taken, 2 * taken

  first, second = benchmark_peers.in_turns({'peer': timer, 'ours': timer}, 3)
  assert (first['method'], first['seconds'], first['ratio']) == ('peer', 2.0, 1.0)
  assert (second['seconds'], second['processor_seconds']) == (1.0, 2.0)
  assert (second['ratio'], second['processor_ratio']) == (0.5, 0.5)


@pytest.mark.parametrize(
  'flags, message',
  [
    ([], '--cutie is None; expected a path that exists.'),
    (['--cutie=.', '--peers_python=.', '--peers=tiny'], "--peers: 'tiny' is not known; choose"),
  ],
)
def test_wrong_flags_are_one_line(run_main, flags, message):
  run = run_main('tools.benchmark_peers', *flags)
  assert (run.returncode, run.stderr.count('\n')) == (2, 1)
  assert message in run.stderr

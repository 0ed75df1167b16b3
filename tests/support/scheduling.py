"""Which files of tests run in one process; see `--dist loadfile` of pytest-xdist."""

from xdist.scheduler import LoadFileScheduling

# Files that share what takes long to make: each process that runs one of them makes it.
SERVER = 'an exported model and its server'
GOLDEN = 'the original Xception-65 and its graph'
DEFAULT = 'the graph of the default model'
TOGETHER = {
  'tests/feelvos_tf/serving/': SERVER,
  'tests/deeplab/test_golden_backbones.py': GOLDEN,
  'tests/deeplab/test_tf1_checkpoint.py': GOLDEN,
  'tests/feelvos_tf/inference/test_graph.py': GOLDEN,
  'tests/feelvos_tf/inference/test_segmenter.py': GOLDEN,
  'tests/feelvos_tf/inference/test_views.py': GOLDEN,
  'tests/feelvos_tf/model/test_head.py': GOLDEN,
  'tests/feelvos_tf/runtime/test_directions.py': DEFAULT,
  'tests/feelvos_tf/runtime/test_segment_run.py': DEFAULT,
}


class Scheduling(LoadFileScheduling):
  """As `loadfile`, but for files that share something: they stay in one process."""

  def _split_scope(self, nodeid: str) -> str:
    return next(
      (what for path, what in TOGETHER.items() if nodeid.startswith(path)),
      super()._split_scope(nodeid),
    )

"""What is evaluated: a model, how it is run, parts of it, or a baseline.

This is the one place where evaluation meets the model. TensorFlow is imported when a method is
loaded, because scoring masks does not need it.
"""

from collections.abc import Iterable
import dataclasses
import hashlib
import time
from typing import Any, TYPE_CHECKING

from feelvos_tf.inference.options import SegmenterOptions
from feelvos_tf.runtime import journal
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

if TYPE_CHECKING:
  from feelvos_tf.evaluation.baselines import CopyFirstMask
  from feelvos_tf.evaluation.baselines import GlobalMatching
  from feelvos_tf.inference.graph import InferenceGraph
  from feelvos_tf.inference.segmenter import VideoSegmenter


BASELINES = ('copy_first_mask', 'global_matching')

# Table 3 of the paper, by options of a trained model. The paper trained every row; here the head
# was trained with what is taken away, so these numbers say how much it leans on it.
ABLATIONS: dict[str, dict[str, Any]] = {
  'no_first_frame_matching': {'neutral_inputs': ('global_distance',)},
  'no_previous_frame_matching': {'neutral_inputs': ('local_distance',)},
  'global_previous_frame_matching': {'previous_frame_matching': 'global'},
  'no_previous_prediction': {'neutral_inputs': ('previous_prediction',)},
}

_PEAK_SIZE = 2048  # rows and columns of the matrices whose product is timed
_PEAK_REPEATS = 3


@dataclasses.dataclass(frozen=True)
class ModelRun:
  """A method and how it is run."""

  model: str  # weights file of save_model; '' for a baseline without a model
  segmenter: SegmenterOptions = SegmenterOptions()
  precision: str = 'float32'  # key of precision.POLICIES
  overrides: tuple[tuple[str, object], ...] = ()  # options of the model to change
  baseline: str = ''  # one of BASELINES instead of the whole model
  late_objects: bool = False  # take up objects that are annotated later (YouTube-VOS)
  keep_maps: bool = False  # keep distance maps and probabilities of every frame for the report

  def fingerprint(self) -> str:
    """Changes when the content of the weights file or an option changes."""
    text = f'{self} {journal.file_digest(self.model)}' if self.model else str(self)
    return hashlib.sha256(text.encode()).hexdigest()


def ablation_overrides(names: Iterable[str]) -> dict:
  """The options of several ABLATIONS together.

  Raises:
    ValueError: two of them exclude each other.
  """
  overrides: dict[str, Any] = {}
  for name in dict.fromkeys(names):
    for option, value in ABLATIONS[name].items():
      both = overrides.get(option, ()) + value if isinstance(value, tuple) else value
      overrides[option] = both
  if 'local_distance' in overrides.get('neutral_inputs', ()) and 'previous_frame_matching' in (
    overrides
  ):
    raise ValueError(
      'no_previous_frame_matching and global_previous_frame_matching exclude each other'
    )
  return overrides


class Segmenters:
  """Call it to get a new segmenter (`start`, `step`) of a method that is loaded once."""

  def __init__(self, run: ModelRun) -> None:
    """Loads the method.

    Raises:
      FileNotFoundError, ValueError: the weights file or an option is wrong.
    """
    self._run = run
    self._graph = self._load(run) if run.model else None

  def __call__(self) -> 'CopyFirstMask | VideoSegmenter':
    from feelvos_tf.evaluation import baselines

    return baselines.CopyFirstMask() if self._graph is None else self.of_model()

  def of_model(self) -> 'VideoSegmenter':
    """A new segmenter of a method that has a model.

    Raises:
      ValueError: the method has none.
    """
    from feelvos_tf.inference import segmenter

    if self._graph is None:
      raise ValueError(f'{self._run} given, expected a method with a model')
    return segmenter.VideoSegmenter(self._graph, **dataclasses.asdict(self._run.segmenter))

  def matmul_gflops(self) -> float | None:
    """Best of a few float32 products of large matrices, now; None without a model.

    Next to a time per frame it tells a slow method from a busy machine.
    """
    if self._graph is None:
      return None
    import tensorflow as tf

    square = tf.random.stateless_normal([_PEAK_SIZE, _PEAK_SIZE], [0, 0])
    times = []
    for _ in range(_PEAK_REPEATS + 1):  # the first one warms up
      start = time.perf_counter()
      tf.matmul(square, square).numpy()
      times.append(time.perf_counter() - start)
    return 2 * _PEAK_SIZE**3 / min(times[1:]) / 1e9

  @staticmethod
  def _load(run: ModelRun) -> 'GlobalMatching | InferenceGraph':
    start_tensorflow()
    from feelvos_tf.evaluation import baselines
    from feelvos_tf.inference import graph as graph_lib
    from feelvos_tf.model import precision
    from feelvos_tf.model import weights

    overrides: dict[str, Any] = dict(run.overrides)
    model = precision.with_precision(
      run.precision, lambda: weights.load_model(run.model, **overrides)
    )
    graph = graph_lib.InferenceGraph(model)
    return baselines.GlobalMatching(graph) if run.baseline == 'global_matching' else graph

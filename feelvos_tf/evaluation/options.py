"""Options of `feelvos evaluate`: what is run, what is written."""

import ast
from collections.abc import Mapping
import dataclasses
import json
from typing import Any

from feelvos_tf.evaluation import methods
from feelvos_tf.evaluation.pictures import PictureOptions
from feelvos_tf.evaluation.scoring import EvaluationOptions
from feelvos_tf.evaluation.truth import TruthOptions
from feelvos_tf.inference.options import SegmenterOptions
from feelvos_tf.model import option_checks


@dataclasses.dataclass(frozen=True)
class MethodOptions:
  """What segments the sequences before they are scored; its defaults stand for nothing.

  Raises:
    ValueError: an unknown baseline or ablation, or options that exclude each other.
  """

  # Weights file of a model to run and score instead; "default" is the one that comes with the
  # project.
  model: str | None = None
  # Instead of the whole model: copy the first mask, or global matching alone with the model's
  # embedding.
  baseline: str | None = None
  # With --model: take a part away; may be repeated.
  ablation: tuple[str, ...] = ()
  # With --model: an option of the model to change, name=value, for example
  # previous_prediction=probabilities.
  model_option: tuple[str, ...] = ()
  # With --model: videos segmented at the same time.
  parallel_clips: int = 1
  # With --model: keep distance maps and probabilities of every frame (about 50 kB an object) for
  # the report.
  keep_maps: bool = True
  # How the model segments a video.
  segmenter: SegmenterOptions = SegmenterOptions()
  # Fields of `FeelvosOptions` to change before the ablations and `model_option` do.
  preset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  # Type the network computes in, as for `precision.wanted`.
  precision: str | None = None

  def __post_init__(self) -> None:
    option_checks.check_least(self, {'parallel_clips': 1})
    if self.baseline not in (None, *methods.BASELINES):
      raise ValueError(
        f'baseline is {self.baseline!r}; expected one of {", ".join(methods.BASELINES)}.'
      )
    self.model_changes()

  @property
  def runs(self) -> bool:
    """Whether there is a method to run, and not only masks to score."""
    return bool(self.model or self.baseline)

  def model_changes(self) -> dict[str, Any]:
    """{field of `FeelvosOptions`: new value}, of the preset, the ablations and `model_option`.

    Raises:
      ValueError: an unknown ablation, or a `model_option` that is not name=value.
    """
    try:
      ablations = methods.ablation_overrides(self.ablation)
    except ValueError as error:
      raise ValueError(f'ablation: {error}') from None
    return {**self.preset, **ablations, **dict(_parse_option(text) for text in self.model_option)}


@dataclasses.dataclass(frozen=True)
class RunOptions:
  """One evaluation; see `run.run`."""

  truth: TruthOptions
  method: MethodOptions
  scoring: EvaluationOptions
  pictures: PictureOptions
  # Folder of masks to score, <sequence>/<frame>.png.
  results_dir: str | None = None
  # Where everything goes. Default with --results_dir: <results_dir>_evaluation.
  output_dir: str | None = None
  # Also pack the masks for the benchmark server.
  submission_zip: str | None = None
  # Write report.html.
  report: bool = True
  # Output folder of another run over the same sequences, to stand next to this one in the report.
  compare_with: str | None = None
  # {flag: value} of the method's flags that are not at their defaults, for the summary.
  changed: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _parse_option(text: str) -> tuple[str, Any]:
  """('name', value) of 'name=value': as JSON (3, true) or Python (.5, True) has it, or a string."""
  name, equals, value = text.partition('=')
  if not equals or not name:
    raise ValueError(f'model_option={text} given, name=value expected')
  for parse in (json.loads, ast.literal_eval):
    try:
      return name, parse(value)
    except (ValueError, SyntaxError):
      continue
  return name, value

"""The default model as `feelvos segment --speed` takes it."""

import dataclasses
import os
from typing import Any

from feelvos_tf.inference import speed
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model import weights


def segmenter(
  preset: str, precision: str, model: str | os.PathLike | None = None, **changes: Any
) -> VideoSegmenter:
  """A segmenter with a preset.

  Args:
    preset: key of `speed.SPEEDS`.
    precision: 'float32' or 'bfloat16'.
    model: weights file; None: the model of the project.
    **changes: fields of `SegmenterOptions` that count more than the preset.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: there is no such preset, or a value is refused.
  """
  loaded = weights.load_model(model, precision=precision, **speed.model_overrides(preset))
  options = speed.segmenter_options(preset, **changes)
  return VideoSegmenter(loaded, **dataclasses.asdict(options))

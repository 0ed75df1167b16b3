"""Named choices between time and quality: `--speed=fast|balanced|best`.

What they cost and give is in docs/evaluation.md; `python -m feelvos_tf.tools.evaluate_options
--options=speed_fast,speed_balanced,speed_best` measures it.
"""

import dataclasses
import types
from typing import Any

from feelvos_tf.inference.options import SegmenterOptions
from feelvos_tf.model import option_checks

DEFAULT_SPEED = 'balanced'


@dataclasses.dataclass(frozen=True)
class Preset:
  """How a video is segmented, and what is changed in the model.

  Attributes:
    segmenter: options of `VideoSegmenter`.
    model: (name, value) of the `InferenceOptions` that are not as the weights file says.
  """

  segmenter: SegmenterOptions = SegmenterOptions()
  model: tuple[tuple[str, object], ...] = ()


SPEEDS = types.MappingProxyType(
  {
    # Smaller frames, and matching with few pixels of the first frame.
    'fast': Preset(
      SegmenterOptions(max_internal_size=496),
      (
        ('max_reference_pixels_per_object', 512),
        ('max_reference_imbalance', None),
        ('reference_choice', 'border'),
      ),
    ),
    # What the weights file says.
    'balanced': Preset(),
    # Also larger frames, and both sizes mirrored: five times the time.
    'best': Preset(SegmenterOptions(image_pyramid=(1.0, 1.25), merge_method='avg', flip=True)),
  }
)


@dataclasses.dataclass(frozen=True)
class ModelChoices:
  """What is chosen about a model when a video is segmented; the weights file decides the rest.

  Raises:
    ValueError: there is no such preset, or a number below 0.
  """

  # fast: smaller frames and fewer pixels of the first frame to match with; balanced: as the weights
  # file says; best: also larger and mirrored frames, at five times the time. Flags for these that
  # are given count more.
  speed: str = DEFAULT_SPEED
  # Match with at most this many pixels of each object on the first frame; 0: with all. Default: as
  # the weights file says, which may also limit them to a multiple of the smallest object's.
  max_reference_pixels_per_object: int | None = None

  def __post_init__(self) -> None:
    _preset(self.speed)
    option_checks.check_least(self, {'max_reference_pixels_per_object': 0})

  def model_overrides(self) -> dict[str, Any]:
    """Fields of `InferenceOptions` that are changed."""
    changes = dict(_preset(self.speed).model)
    if self.max_reference_pixels_per_object is not None:
      changes['max_reference_pixels_per_object'] = self.max_reference_pixels_per_object or None
      changes['max_reference_imbalance'] = None
    return changes


def segmenter_options(speed: str = DEFAULT_SPEED, **changes: Any) -> SegmenterOptions:
  """Options of a preset with some fields changed.

  Args:
    speed: key of SPEEDS.
    **changes: fields of `SegmenterOptions`.

  Raises:
    ValueError: there is no such preset, or a value is refused.
  """
  return dataclasses.replace(_preset(speed).segmenter, **changes)


def model_overrides(speed: str = DEFAULT_SPEED) -> dict[str, Any]:
  """Fields of `InferenceOptions` that a preset changes.

  Raises:
    ValueError: there is no such preset.
  """
  return dict(_preset(speed).model)


def exported_options(speed: str = DEFAULT_SPEED) -> dict[str, Any]:
  """Fields of `InferenceOptions` with which an exported model segments as a preset does.

  Raises:
    ValueError: there is no such preset, or it shows a frame several times, which an exported model
      cannot do.
  """
  preset = _preset(speed)
  options = preset.segmenter
  if not options.shows_once:
    those = [name for name in SPEEDS if SPEEDS[name].segmenter.shows_once]
    raise ValueError(
      f'speed is {speed!r}, which shows every frame several times; an exported model shows it once. '
      f'Expected one of {", ".join(those)}.'
    )
  if options.max_internal_size is None:
    return dict(preset.model)
  return {**dict(preset.model), 'largest_side': options.max_internal_size}


def _preset(speed: str) -> Preset:
  if speed not in SPEEDS:
    raise ValueError(f'speed is {speed!r}; expected one of {", ".join(SPEEDS)}.')
  return SPEEDS[speed]

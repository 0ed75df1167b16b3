"""Flags of `SegmenterOptions` and `ModelChoices`, which the commands that segment videos share."""

from typing import Any

from absl import flags

from feelvos_tf.inference import speed
from feelvos_tf.inference.options import MERGE_METHODS
from feelvos_tf.inference.options import SegmenterOptions
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import model_flags
from feelvos_tf.runtime.option_flags import OptionFlags

flags.disclaim_key_flags()  # The flags are those of the main that calls `define_flags`.
SEGMENTER = OptionFlags(
  SegmenterOptions, choices={'merge_method': MERGE_METHODS}, lists=('image_pyramid',)
)
CHOICES = OptionFlags(speed.ModelChoices, choices={'speed': tuple(speed.SPEEDS)})
# Flags of `define_flags`.
FLAG_NAMES = (*CHOICES.flag_names(), *SEGMENTER.flag_names(), 'precision')


def define_flags() -> None:
  """Defines the flags of how a video is segmented."""
  CHOICES.define()
  SEGMENTER.define()
  model_flags.define_precision()


def from_flags() -> SegmenterOptions:
  """`SegmenterOptions` of the flags.

  Raises:
    UsageError: a scale that is no number, or a value that is refused.
  """
  try:
    return speed.segmenter_options(CHOICES.make().speed, **SEGMENTER.given())
  except ValueError as error:
    raise command_line.UsageError(f'--{error}') from None


def model_overrides() -> dict[str, Any]:
  """dict of the `FeelvosOptions` that flags of `define_flags` change."""
  return CHOICES.make().model_overrides()

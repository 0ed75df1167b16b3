"""Flags of `SegmenterOptions`, which the commands that segment videos share."""

from absl import flags

from feelvos_tf.inference import speed
from feelvos_tf.inference.options import MERGE_METHODS
from feelvos_tf.inference.options import SMALLEST_SIDE
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import model_flags

# Flags of `define_flags`.
FLAG_NAMES = (
  'speed',
  'max_internal_size',
  'image_pyramid',
  'merge_method',
  'flip',
  'max_reference_pixels_per_object',
  'precision',
)


def define_flags():
  """Defines the flags of `SegmenterOptions`, and those of a model that mains share."""
  flags.DEFINE_enum(
    'speed',
    speed.DEFAULT_SPEED,
    list(speed.SPEEDS),
    'fast: smaller frames and fewer pixels of the first frame to match with; balanced: as the '
    'weights file says; best: also larger and mirrored frames, at six times the time. Flags for '
    'these that are given count more.',
  )
  flags.DEFINE_integer(
    'max_internal_size',
    None,
    'Longer side in pixels at which frames are segmented; masks come out at full size. Default: '
    'frames as they are, and larger ones at the size that the weights file says.',
    lower_bound=SMALLEST_SIDE,
  )
  flags.DEFINE_list(
    'image_pyramid',
    ['1'],
    'Scales at which every frame is segmented, separated '
    'by commas. Time grows with their squares, that of matching with their fourth '
    'powers.',
  )
  flags.DEFINE_enum(
    'merge_method', 'max', MERGE_METHODS, 'How the logits of the scales are merged.'
  )
  flags.DEFINE_bool(
    'flip',
    False,
    'Also segment every frame mirrored and average the probabilities: twice the time.',
  )
  flags.DEFINE_integer(
    'max_reference_pixels_per_object',
    None,
    'Match with at most this many pixels '
    'of each object on the first frame; 0: with all. Default: as the weights '
    'file says, which may also limit them to a multiple of the smallest '
    "object's.",
    lower_bound=0,
  )
  model_flags.define_precision()


def from_flags():
  """`SegmenterOptions` of the flags.

  Raises:
    UsageError: a scale that is no number, or a value that is refused.
  """
  values = flags.FLAGS
  try:
    scales = tuple(float(text) for text in values.image_pyramid)
  except ValueError:
    raise command_line.UsageError(
      f'--image_pyramid={",".join(values.image_pyramid)} given; expected numbers separated by '
      'commas, for example 0.75,1.'
    ) from None
  try:
    given = {
      'max_internal_size': values.max_internal_size,
      'image_pyramid': scales,
      'merge_method': values.merge_method,
      'flip': values.flip,
    }
    given = {name: value for name, value in given.items() if values[name].present}
    return speed.segmenter_options(values.speed, **given)
  except ValueError as error:
    raise command_line.UsageError(f'--{error}') from None


def model_overrides():
  """dict of the `FeelvosOptions` that flags of `define_flags` change."""
  limit = flags.FLAGS.max_reference_pixels_per_object
  changes = speed.model_overrides(flags.FLAGS.speed)
  if limit is None:
    return changes
  return {
    **changes,
    'max_reference_pixels_per_object': limit or None,
    'max_reference_imbalance': None,
  }

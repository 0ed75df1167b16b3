"""Options of `VideoSegmenter`, chosen when a video is segmented, and their flags."""

import dataclasses
from typing import Optional, Tuple

from absl import flags

from datasets import command_line

MERGE_METHODS = ('max', 'avg')
SMALLEST_SIDE = 32  # pixels, of the longer side at which frames are segmented
# Beyond this a pyramid's scale is a typing error (25 for 0.25) that asks for gigabytes.
LARGEST_SCALE = 4.0


@dataclasses.dataclass(frozen=True)
class SegmenterOptions:
  """How a video is segmented with a model that is given; `VideoSegmenter` takes the fields.

  Raises:
    ValueError: a value that is refused.
  """

  # Longer side in pixels at which frames are segmented; None: as they are.
  max_internal_size: Optional[int] = None
  # Scales at which every frame is segmented, and how their logits are merged; see `views`. Flags
  # `image_pyramid` and `merge_method` of the original, with its defaults.
  image_pyramid: Tuple[float, ...] = (1.0,)
  merge_method: str = 'max'
  # Also segment every frame mirrored and average; `add_flipped_images` of DeepLab.
  flip: bool = False

  def __post_init__(self):
    object.__setattr__(self, 'image_pyramid', tuple(float(s) for s in self.image_pyramid))
    if self.max_internal_size is not None and self.max_internal_size < SMALLEST_SIDE:
      raise ValueError(
        f'max_internal_size is {self.max_internal_size}; expected at least {SMALLEST_SIDE}.'
      )
    if self.merge_method not in MERGE_METHODS:
      raise ValueError(
        f'merge_method is {self.merge_method!r}; expected one of {", ".join(MERGE_METHODS)}.'
      )
    if not self.image_pyramid:
      raise ValueError('image_pyramid is empty; expected at least one scale, 1 for full size.')
    for scale in self.image_pyramid:
      if not 0 < scale <= LARGEST_SCALE:
        raise ValueError(
          f'image_pyramid has the scale {scale:g}; expected more than 0 and at '
          f'most {LARGEST_SCALE:g}.'
        )
    if len(set(self.image_pyramid)) < len(self.image_pyramid):
      raise ValueError(
        f'image_pyramid is {", ".join(f"{s:g}" for s in self.image_pyramid)}; '
        'expected every scale once.'
      )


def define_flags(auto_precision=False):
  """Defines the flags of `SegmenterOptions`, and those of a model that mains share.

  Args:
    auto_precision: bool, whether --precision may be auto, and is None unless given.
  """
  flags.DEFINE_integer(
    'max_internal_size',
    None,
    'Longer side in pixels at which frames are segmented; masks come out at full size.',
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
    'Match with at most so many pixels '
    'of each object on the first frame; 0: with all. Default: as the weights '
    'file says, which may also limit them to a multiple of the smallest '
    "object's.",
    lower_bound=0,
  )
  help_text = (
    'Type the network computes in; products of matching are added up in float32. '
    'bfloat16 is fast on CPUs with AMX or AVX512-BF16 and on GPUs, and slow on others.'
  )
  if auto_precision:
    flags.DEFINE_enum(
      'precision',
      None,
      ['auto', 'float32', 'bfloat16'],
      f'{help_text} auto: '
      'bfloat16 where it is fast. Default: auto with the model that comes with '
      'the project, float32 with others, as the original.',
    )
  else:
    flags.DEFINE_enum('precision', 'float32', ['float32', 'bfloat16'], help_text)


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
    return SegmenterOptions(values.max_internal_size, scales, values.merge_method, values.flip)
  except ValueError as error:
    raise command_line.UsageError(f'--{error}') from None


def model_overrides():
  """dict of the `FeelvosOptions` that flags of `define_flags` change."""
  limit = flags.FLAGS.max_reference_pixels_per_object
  if limit is None:
    return {}
  return {'max_reference_pixels_per_object': limit or None, 'max_reference_imbalance': None}

"""Options of `VideoSegmenter`, chosen when a video is segmented."""

import dataclasses

from feelvos_tf.model import frame_size

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

  # Longer side in pixels at which frames are segmented; masks come out at full size. Default:
  # frames as they are, and larger ones at the size that the weights file says.
  #
  # That is `model.options.InferenceOptions.largest_side`.
  max_internal_size: int | None = None
  # Scales at which every frame is segmented, separated by commas. Time grows with their squares,
  # that of matching with their fourth powers.
  #
  # See `views`. Flags `image_pyramid` and `merge_method` of the original, with its defaults.
  image_pyramid: tuple[float, ...] = (1.0,)
  # How the logits of the scales are merged.
  merge_method: str = 'max'
  # Also segment every frame mirrored and average the probabilities: twice the time.
  #
  # `add_flipped_images` of DeepLab.
  flip: bool = False

  def __post_init__(self) -> None:
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

  @property
  def shows_once(self) -> bool:
    """Whether every frame is shown to the network once: one scale, not mirrored."""
    return self.image_pyramid == (1.0,) and not self.flip


def pixels_shown(size: tuple[int, int], options: SegmenterOptions) -> float:
  """Pixels of a frame of a size that the network sees, all scales and mirrorings together."""
  height, width = frame_size.at_most(size, options.max_internal_size)
  times = 2 if options.flip else 1
  return height * width * times * sum(scale**2 for scale in options.image_pyramid)

"""Options of training samples, and the data sets that they are drawn from."""

import dataclasses
import math
import typing
from typing import Literal

ImageDtype = Literal['float32', 'uint8']
IMAGE_DTYPES = typing.get_args(ImageDtype)


@dataclasses.dataclass(frozen=True)
class TripletOptions:
  """How samples are made. Fields with names of flags of the original have its defaults.

  Raises:
    ValueError: if a field is out of its range.
  """

  # (height, width) of a sample; None keeps whole frames, for batches of one video.
  crop_size: tuple[int, int] | None = (465, 465)
  # Frames of a sample: reference, previous, current and, if more, those that follow.
  num_frames: int = 3
  # Random scale, from.
  #
  # See `crops.random_scale`.
  min_scale_factor: float = 1.0
  # Random scale, to.
  max_scale_factor: float = 1.3
  # Steps between scales; 0: any.
  scale_factor_step_size: float = 0.0
  # Shorter side before the random scale.
  #
  # See `crops.size_in_range`. One resampling does both.
  min_resize_value: int | None = None
  # Limit of the longer side before the random scale.
  max_resize_value: int | None = None
  # Before the random scale, sides are a multiple of this number plus one.
  resize_factor: int | None = None
  # Probability that a sample is mirrored.
  flip_probability: float = 0.5
  # Stride of the embedding, at which objects are counted.
  decoder_output_stride: int = 4
  # Damage the mask of the previous frame.
  #
  # Adds 'previous_labels'.
  damage_initial_previous_frame_mask: bool = False
  # Type of crops; uint8 is faster and rounds.
  #
  # 'float32' has the fractions that scaling gives, as in the original; 'uint8' takes a quarter of
  # the memory.
  image_dtype: ImageDtype = 'float32'
  seed: int = 0
  # What follows is not in the original.

  # Probability that an object of another video is pasted in.
  paste_probability: float = 0.0
  # Pasted objects, at most.
  max_pasted_objects: int = 1
  # Share of pasted objects that are of the same video, in another view: objects that look alike.
  twin_probability: float = 0.0
  # Mark twins and the objects they look like, for the losses of matching to leave out.
  #
  # Adds 'twins'. In samples with a twin, no object of the previous mask takes the id of another.
  mark_twins: bool = False
  # Share of pasted things that are no objects and hide what they cover.
  #
  # Then a thing that looks like an object is background.
  occluder_probability: float = 0.0
  # Share of pasted things whose path leads across an object of the video.
  #
  # See `pasting.aim`.
  aim_probability: float = 0.0
  # Blend pasted objects over their outline; otherwise cut them out hard.
  soft_paste: bool = False
  # Probability that the previous mask has wrong ids: exchanged, merged, doubled or lost.
  #
  # See `mask_damaging.confuse_ids`. Adds 'previous_labels' like damage_initial_previous_frame_mask.
  confuse_probability: float = 0.0
  # Frames that follow each other are up to this many frames of the clip apart.
  max_frame_gap: int = 1
  # Probability that a clip runs backwards.
  reverse_probability: float = 0.0
  # Probability that a crop is placed so that it shows some pixel of an object.
  object_crop_probability: float = 0.0
  # Strength of random colours, 0 (none) to 1.
  #
  # See `appearance.random_color_change`.
  color_strength: float = 0.0
  # Strength of random hue, saturation and haze that all frames of a clip have in common, 0 (none)
  # to 1.
  #
  # See `appearance.random_look`; a random half of the clips keep their own.
  look_strength: float = 0.0
  # Probability that all frames of a sample look as if they came from small, compressed ones.
  #
  # See `appearance.SmallFrames`.
  small_frames_probability: float = 0.0
  # Objects beyond this number (background not counted) are chosen at random and ignored.
  max_objects: int | None = None

  @property
  def has_previous_labels(self) -> bool:
    """Whether samples have 'previous_labels'."""
    return self.damage_initial_previous_frame_mask or self.confuse_probability > 0

  def __post_init__(self) -> None:
    if self.crop_size is not None and (len(self.crop_size) != 2 or min(self.crop_size) < 1):
      raise ValueError(f'crop_size is {self.crop_size}; expected (height, width), or None')
    if self.image_dtype not in IMAGE_DTYPES:
      raise ValueError(
        f'image_dtype is {self.image_dtype!r}; choose one of {", ".join(IMAGE_DTYPES)}'
      )
    if not 0 < self.min_scale_factor <= self.max_scale_factor:
      raise ValueError(
        f'min_scale_factor is {self.min_scale_factor} and max_scale_factor is '
        f'{self.max_scale_factor}; expected 0 < min <= max'
      )
    for field in (
      'flip_probability',
      'paste_probability',
      'twin_probability',
      'occluder_probability',
      'aim_probability',
      'confuse_probability',
      'reverse_probability',
      'object_crop_probability',
      'color_strength',
      'look_strength',
      'small_frames_probability',
    ):
      if not 0.0 <= getattr(self, field) <= 1.0:
        raise ValueError(f'{field} is {getattr(self, field)}; it must lie in [0, 1]')
    for field, least in (
      ('num_frames', 2),
      ('max_frame_gap', 1),
      ('decoder_output_stride', 1),
      ('max_pasted_objects', 1),
      ('max_objects', 1),
      ('seed', 0),
    ):
      value = getattr(self, field)
      if value is not None and value < least:
        raise ValueError(f'{field} is {value}; it must be at least {least}')


@dataclasses.dataclass(frozen=True)
class Source:
  """One data set of a mixture.

  Raises:
    ValueError: if there is no clip or the probability is not a number of 0 or more.
  """

  # Sequence of `feelvos_tf.datasets.clips.Clip`.
  clips: tuple
  # Weight in the mixture.
  probability: float = 1.0
  # The reference is always the first frame, and nothing is rejected.
  first_frame_finetuning: bool = False
  # With the above: all frames of a sample are the first one, each augmented on its own.
  only_first_frame: bool = False
  # Every clip has exactly three frames: reference, previous, current (lucid dreaming data).
  three_frames: bool = False
  # May give objects to paste into other videos.
  donates: bool = True

  def __post_init__(self) -> None:
    object.__setattr__(self, 'clips', tuple(self.clips))
    if not self.clips:
      raise ValueError('a data set without videos was given; the split is empty')
    if not self.probability >= 0 or math.isinf(self.probability):
      raise ValueError(f'sampling probability {self.probability} given; it must be 0 or more')
    if self.only_first_frame and not self.first_frame_finetuning:
      raise ValueError('only_first_frame has a meaning with first_frame_finetuning only; set both')

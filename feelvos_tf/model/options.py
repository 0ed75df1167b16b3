"""Options of the video model, of three kinds.

`NetworkOptions` decide what is trained: a weights file fits one set of them. `InferenceOptions`
decide how a trained model looks at frames; any weights go with any of them. `Ablation` takes a part
away for an experiment. `FeelvosOptions` is all three, as a weights file holds them.

The kinds are base classes and not fields of `FeelvosOptions`: so a file, a keyword, a flag and
`dataclasses.replace` name an option in one way, the one of version 0.1, and a function that needs
one kind says so by the type of its argument, which the type checker holds it to.
"""

import dataclasses
from typing import Literal

from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab.options import check_types
from feelvos_tf.deeplab.options import JsonOptions
from feelvos_tf.model import option_checks

# What `max_reference_imbalance` leaves of every object: the paper's number of training (section 4).
FEWEST_REFERENCE_PIXELS = 1024
# Inputs of the head that belong to one object, in the order of their channels.
OBJECT_INPUTS = ('global_distance', 'previous_prediction', 'local_distance')


@dataclasses.dataclass(frozen=True)
class NetworkOptions(JsonOptions):
  """What the weights depend on: layers, inputs of the head, and the arithmetic of training.

  Defaults are the published model's. Paper: arXiv 1902.09513, sections 3 and 4. The original's flag
  is named where there is one.

  Raises:
    ValueError: an option has a value the network cannot be built with.
  """

  # The DeepLabv3+ network under the video model.
  model: ModelOptions = ModelOptions()
  # Channels of the embedding (section 4: 100).
  embedding_dimension: int = 100
  # Channels of the dynamic segmentation head (section 4: 256).
  #
  # Flags of the original: `embedding_seg_feature_dimension` and, for the next three,
  # `embedding_seg_n_layers`, `_kernel_size`, `_atrous_rates`.
  head_dimension: int = 256
  # Layers of the head (section 4: 4).
  head_layers: int = 4
  # Kernel size of the head (section 4: 7).
  head_kernel_size: int = 7
  # Atrous rates of the head, one for each layer.
  head_atrous_rates: tuple[int, ...] | None = None
  # Number of neighbours whose distances global matching averages.
  #
  # 1 is the paper's minimum. Local matching always takes the minimum, as in the original.
  k_nearest_neighbors: int = 1
  # Global matching to the reference frame.
  #
  # Table 3 of the paper has the model without.
  use_first_frame_matching: bool = True
  # Matching to the previous frame: 'local' (the paper), 'global' or 'none'. Flags
  # `also_attend_to_previous_frame` and `use_local_previous_frame_attention`.
  previous_frame_matching: Literal['local', 'global', 'none'] = 'local'
  # Radius of the local window at stride 4: 15 is a window of 31x31 (section 3.4).
  #
  # Flag `previous_frame_attention_window_size` of the original.
  window_radius: int = 15
  # What the head receives of the previous frame: 'labels' feeds the one-hot map of the previous
  # labels, 'probabilities' the softmax map the paper speaks of, 'none' nothing. 'labels' is the
  # default because the published models were trained (one current frame a sample) and evaluated
  # with one-hot maps: soft maps are out of distribution for them. Flag `use_softmax_feedback`.
  previous_prediction: Literal['labels', 'probabilities', 'none'] = 'labels'
  # Give the head the distances to the nearest pixel of all other objects. Initial weights without
  # them still load.
  #
  # Two more inputs for every object: global and local distance to the nearest pixel of any other
  # object, background included (background matching of CFBI, Yang et al., ECCV 2020, section 3.1).
  # The published models do not have them.
  other_object_distances: bool = False
  # Further, smaller radii of local matching, ascending: one more input of the head for each, the
  # distance in that window. Initial weights without them still load.
  #
  # Multi-local matching of CFBI (Yang et al., ECCV 2020, section 3.2). The published models have
  # one window.
  local_window_radii: tuple[int, ...] = ()
  # Give the head the global distances averaged over squares with this many positions of stride 4 a
  # side, an odd number, as further inputs. Initial weights without them still load.
  #
  # The distance of a whole patch says more than that of its middle: one more input for every
  # object, and another one with `other_object_distances`. Where they are, the baseline without the
  # head takes them. The published models do not have them.
  global_distance_square: int | None = None
  # Gates on the channels of the head's layers, for every object by the mean embeddings of its
  # pixels and of all others. Initial weights without them still load.
  #
  # Four means: of the reference pixels that are matched with and of the previous frame
  # (instance-level attention of CFBI, section 3.3). The published models do not have them.
  object_gates: bool = False
  # Half way through the head, add to every object a projection of the mean of all other objects'
  # channels. Initial weights without it still load.
  #
  # So the objects see each other before the softmax. Inference with several groups of objects
  # computes the layers before it twice. The published models do not have it.
  joint_head: bool = False

  def __post_init__(self) -> None:
    if isinstance(self.model, dict):
      object.__setattr__(self, 'model', ModelOptions.from_dict(self.model))
    check_types(self, NetworkOptions)
    if self.head_atrous_rates is not None and len(self.head_atrous_rates) != self.head_layers:
      raise ValueError(
        f'head_atrous_rates has {len(self.head_atrous_rates)} rates; expected '
        f'one for each of the {self.head_layers} layers.'
      )
    positive = ('embedding_dimension', 'head_dimension', 'head_layers', 'head_kernel_size')
    option_checks.check_least(
      self, dict.fromkeys((*positive, 'k_nearest_neighbors', 'window_radius'), 1)
    )
    option_checks.check_radii(self, 'local_window_radii', self.window_radius)
    if self.local_window_radii and self.previous_frame_matching == 'none':
      raise ValueError(
        f'local_window_radii is {self.local_window_radii}, and previous-frame matching is off; '
        'turn it on or give no radii.'
      )
    side = self.global_distance_square
    if side is not None and (side < 3 or side % 2 == 0):
      raise ValueError(
        f'global_distance_square is {side}; expected an odd number of positions of at least 3, or '
        'None for no averages.'
      )
    if side is not None and not self.use_first_frame_matching:
      raise ValueError(
        f'global_distance_square is {side}, and first-frame matching is off; turn it on or give no '
        'square.'
      )
    if self.other_object_distances and not self.matched_inputs:
      raise ValueError(
        'other_object_distances is true, and first-frame and previous-frame matching are off; '
        'keep one of them or set other_object_distances to false.'
      )
    if not self.object_channels:
      raise ValueError(
        'nothing tells one object from another: first-frame matching, '
        'previous-frame matching and the previous prediction are all off; '
        'keep one of them.'
      )
    if self.model.decoder_output_stride is None:
      raise ValueError('FEELVOS needs the decoder: model.decoder_output_stride has to be 4.')

  @property
  def object_inputs(self) -> tuple[str, ...]:
    """Names of the head's inputs that belong to one object, in the order of their channels."""
    used = (
      self.use_first_frame_matching,
      self.previous_prediction != 'none',
      self.previous_frame_matching != 'none',
    )
    return tuple(name for name, is_used in zip(OBJECT_INPUTS, used) if is_used)

  @property
  def matched_inputs(self) -> tuple[str, ...]:
    """Those of `object_inputs` that are distances."""
    return tuple(name for name in self.object_inputs if name != 'previous_prediction')

  @property
  def added_inputs(self) -> tuple[str, ...]:
    """Names of the channels behind `object_inputs`, which the published models do not have."""
    others = self.matched_inputs if self.other_object_distances else ()
    windows = (f'local_distance_in_radius_{radius}' for radius in self.local_window_radii)
    names = (*(f'other_{name}' for name in others), *windows)
    if self.global_distance_square is None:
      return names
    averaged = f'global_distance_in_squares_of_{self.global_distance_square}'
    return (*names, averaged, *([f'other_{averaged}'] if self.other_object_distances else []))

  @property
  def patch_side(self) -> int:
    """Positions a side of the squares that global matching alone averages over; 1 without."""
    return self.global_distance_square or 1

  @property
  def object_channels(self) -> int:
    """Number of the head's input channels that belong to one object."""
    return len(self.object_inputs) + len(self.added_inputs)


@dataclasses.dataclass(frozen=True)
class InferenceOptions(JsonOptions):
  """How a trained model looks at frames: their size, and the pixels it matches with.

  Raises:
    ValueError: a field is out of its range.
  """

  # Match with at most this many reference pixels of each object (and of the background), evenly
  # spaced; None takes all, as the paper does. Global matching's time is proportional to their sum.
  # The same for training: `LossOptions.max_neighbors_per_object`.
  max_reference_pixels_per_object: int | None = None
  # At inference, match with at most this many times as many reference pixels of an object or the
  # background as the smallest object has, but 1,024 at least. Default: with all.
  #
  # They are evenly spaced; the least number is FEWEST_REFERENCE_PIXELS. The nearest of very many
  # pixels is near whatever they show: next to 25,000 pixels of background an object of 140 is lost.
  max_reference_imbalance: float | None = None
  # Which reference pixels those are where not all are taken: 'even' takes them evenly spaced in
  # raster order, 'border' more often near an object's border, see `matching.reference_choice`.
  reference_choice: Literal['even', 'border'] = 'even'
  # Frames with a longer side of more pixels are seen at this many; masks come out at full size.
  # None: frames as they are. `SegmenterOptions.max_internal_size` overrules it.
  largest_side: int | None = None
  # Both sides of a frame are resized to the nearest multiple of this number plus one (with 16,
  # 480x854 becomes 481x849). With the output stride, features of all strides lie where they lay in
  # training, whose crops have such sizes. None segments frames as they are, like the original:
  # corner-aligned resizing then stretches the features of a 360x640 frame by up to 12 pixels, and
  # MobileNetV2's SAME padding shifts them by 7.
  frame_grid: int | None = None
  # At inference, frames with a shorter side below this many pixels are enlarged to it, to twice
  # their size at most. Default: frames as they are.
  #
  # It is the size at which the model works best: frames are scaled to it before they are put on the
  # grid, by a factor within `internal_scale_limits` (least, greatest); masks have the size of the
  # frames. With (1, 2) large frames are left. None: like the original.
  internal_size: int | None = None
  internal_scale_limits: tuple[float, float] = (1.0, 2.0)
  # At inference, parts of an object that are more than this many positions of stride 4 away from
  # where it was on the previous frame are left out, if another part of it is not; but not what
  # comes out behind another object. What another object far away was stays that one's. None: like
  # the original. See `inference.far_parts`.
  far_parts_radius: int | None = None
  # At inference, parts of an object that do not look like it are left out: those nearer to the
  # reference frame's background, and those away from other objects whose mean global distance is
  # larger than that of the object's largest part by more than this. None: like the original. See
  # `inference.unlike_parts`.
  unlike_parts_margin: float | None = None
  # At inference, an object that is nowhere gets a part of another one that is in two parts, and two
  # that are both in both of two parts get one each, if the parts' sizes are to each other as the
  # objects' on the reference frames, up to this factor. None: like the original. See
  # `inference.parted`.
  parted_factor: float | None = None
  # At inference, positions of objects near each other go to the one that they move with, of those
  # that they look like; no object moves more positions of stride 4 than this from frame to frame.
  # None: like the original. See `inference.crossing`.
  crossing_radius: int | None = None
  # At inference, an object that wins less than a tenth of what every reference frame with it has
  # wins none, if that is fewer positions of stride 4 than this, or much nearer to another object.
  # None: like the original. See `inference.specks`.
  least_positions: int | None = None
  # At inference, the rules above compare distances as if squared distances between embeddings were
  # this many times as large. Default: as they are.
  #
  # Their limits were found with one set of weights; a training that moves all embeddings apart by a
  # factor of two in the square goes with 0.5. The network itself sees distances as they are.
  rule_distance_factor: float | None = None
  # At inference, logits are enlarged to full size along the edges of the frame, by a guided filter;
  # colours (0 to 1) that vary by less than the root of this say nothing. None: bilinearly, like the
  # original. See `inference.guided_filter`.
  guided_filter_epsilon: float | None = None
  # At inference, the head and local matching work on a box with this many positions of stride 4
  # around the objects of the previous frame, and around what global matching gives to an object.
  # Beyond it is background. None: on the whole frame, like the original. See `inference.head_area`.
  head_area_radius: int | None = None

  def __post_init__(self) -> None:
    check_types(self, InferenceOptions)
    option_checks.check_count(self, 'max_reference_pixels_per_object', 'all pixels')
    for name in ('largest_side', 'frame_grid', 'internal_size'):
      option_checks.check_count(self, name, 'frames as they are', 'pixels')
    option_checks.check_count(self, 'far_parts_radius', 'all parts', 'positions')
    option_checks.check_count(self, 'crossing_radius', 'what matching says', 'positions')
    option_checks.check_count(self, 'least_positions', 'what matching says', 'positions')
    option_checks.check_count(self, 'head_area_radius', 'whole frames', 'positions')
    imbalance = self.max_reference_imbalance
    if imbalance is not None and not imbalance >= 1:
      raise ValueError(
        f'max_reference_imbalance is {imbalance}; expected at least 1, or None for all pixels.'
      )
    margin = self.unlike_parts_margin
    if margin is not None and not 0 <= margin <= 1:
      raise ValueError(
        f'unlike_parts_margin is {margin}; expected a difference of distances from 0 to 1, or None '
        'for all parts.'
      )
    if self.parted_factor is not None and not self.parted_factor >= 1:
      raise ValueError(
        f'parted_factor is {self.parted_factor}; expected at least 1, or None to give nothing back.'
      )
    factor = self.rule_distance_factor
    if factor is not None and not 0 < factor < float('inf'):
      raise ValueError(
        f'rule_distance_factor is {factor}; expected a factor above 0, or None for distances as they '
        'are.'
      )
    epsilon = self.guided_filter_epsilon
    if epsilon is not None and not 0 < epsilon <= 1:
      raise ValueError(
        f'guided_filter_epsilon is {epsilon}; expected a variance of colours above 0 and up to 1, or '
        'None to enlarge bilinearly.'
      )
    limits = self.internal_scale_limits
    if len(limits) != 2 or not 0 < limits[0] <= 1 <= limits[1]:
      raise ValueError(
        f'internal_scale_limits is {limits}; expected two factors, the first above 0 and at most 1, '
        'the second at least 1.'
      )

  @property
  def resizes_frames(self) -> bool:
    """Whether the network sees frames at another size than they are given at."""
    return self.frame_grid is not None or self.internal_size is not None

  @property
  def enlarges_with_frames(self) -> bool:
    """Whether the frame is needed to bring logits to full size."""
    return self.guided_filter_epsilon is not None


@dataclasses.dataclass(frozen=True)
class Ablation(JsonOptions):
  """What is taken away from a trained model at inference, to see how much it leans on it.

  `inference.ablation` does it; the network knows nothing of it.
  """

  # Inputs of the head, of OBJECT_INPUTS, that are constant, for every object and pixel the same.
  # The head keeps its shape, so weights trained with them load.
  neutral_inputs: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    check_types(self, Ablation)


@dataclasses.dataclass(frozen=True)
class FeelvosOptions(Ablation, InferenceOptions, NetworkOptions):
  """All options of a video model: `NetworkOptions`, `InferenceOptions` and `Ablation`, by name.

  Raises:
    ValueError: an option is refused, or the ablation is of an input that the network does not have.
  """

  def __post_init__(self) -> None:
    for kind in (NetworkOptions, InferenceOptions, Ablation):
      kind.__post_init__(self)
    for name in self.neutral_inputs:
      if name not in self.object_inputs:
        raise ValueError(
          f'neutral_inputs has {name!r}; expected names of inputs that the head '
          f'has: {", ".join(self.object_inputs)}.'
        )
    if set(self.neutral_inputs) == set(self.object_inputs):
      raise ValueError(
        'neutral_inputs has every input that tells one object from another; leave one out.'
      )

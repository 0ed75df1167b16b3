"""Options of the video model."""

import dataclasses

from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab.options import JsonOptions

PREVIOUS_FRAME_MATCHING = ('local', 'global', 'none')
REFERENCE_CHOICES = ('even', 'border')
PREVIOUS_PREDICTION = ('labels', 'probabilities', 'none')
# What `max_reference_imbalance` leaves of every object: the paper's number of training (section 4).
FEWEST_REFERENCE_PIXELS = 1024
NEUTRAL_INPUTS = ('global_distance', 'previous_prediction', 'local_distance')


@dataclasses.dataclass(frozen=True)
class FeelvosOptions(JsonOptions):
  """Options of the network and its arithmetic; defaults are the published model's.

  Paper: arXiv 1902.09513, sections 3 and 4. The original's flag is named where there is one.

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
  previous_frame_matching: str = 'local'
  # Radius of the local window at stride 4: 15 is a window of 31x31 (section 3.4).
  #
  # Flag `previous_frame_attention_window_size` of the original.
  window_radius: int = 15
  # What the head receives of the previous frame: 'labels' feeds the one-hot map of the previous
  # labels, 'probabilities' the softmax map the paper speaks of, 'none' nothing. 'labels' is the
  # default because the published models were trained (one current frame a sample) and evaluated
  # with one-hot maps: soft maps are out of distribution for them. Flag `use_softmax_feedback`.
  previous_prediction: str = 'labels'
  # Give the head the distances to the nearest pixel of all other objects. Initial weights without
  # them still load.
  #
  # Two more inputs for every object: global and local distance to the nearest pixel of any other
  # object, background included (background matching of CFBI, Yang et al., ECCV 2020, section 3.1).
  # The published models do not have them.
  other_object_distances: bool = False
  # At inference, match with at most this many reference pixels of each object (and of the
  # background), evenly spaced; None takes all, as the paper does. Global matching's time is
  # proportional to their sum. The same for training: `LossOptions.max_neighbors_per_object`.
  max_reference_pixels_per_object: int | None = None
  # At inference, match with at most this many times as many reference pixels of an object or the
  # background as the smallest object has, but 1,024 at least. Default: with all.
  #
  # They are evenly spaced; the least number is FEWEST_REFERENCE_PIXELS. The nearest of very many
  # pixels is near whatever they show: next to 25,000 pixels of background an object of 140 is lost.
  max_reference_imbalance: float | None = None
  # Which reference pixels those are where not all are taken, at inference: 'even' takes them evenly
  # spaced in raster order, 'border' oftener near an object's border, see
  # `matching.reference_choice`.
  reference_choice: str = 'even'
  # At inference, frames with a longer side of more pixels are seen at this many; masks come out at
  # full size. None: frames as they are. `SegmenterOptions.max_internal_size` overrules it.
  largest_side: int | None = None
  # At inference, both sides of a frame are resized to the nearest multiple of this number plus one
  # (with 16, 480x854 becomes 481x849). With the output stride, features of all strides lie where
  # they lay in training, whose crops have such sizes. None segments frames as they are, like the
  # original: corner-aligned resizing then stretches the features of a 360x640 frame by up to 12
  # pixels, and MobileNetV2's SAME padding shifts them by 7.
  frame_grid: int | None = None
  # At inference, frames with a shorter side below this many pixels are enlarged to it, to twice their
  # size at most. Default: frames as they are.
  #
  # It is the size at which the model works best: frames are scaled to it before they are put on the
  # grid, by a factor within `internal_scale_limits` (least, greatest); masks have the size of the
  # frames. With (1, 2) large frames are left. None: like the original.
  internal_size: int | None = None
  internal_scale_limits: tuple[float, float] = (1.0, 2.0)
  # Ablations at inference, of NEUTRAL_INPUTS: these inputs of the head are constant, for every
  # object and pixel the same. The head keeps its shape, so weights trained with them load. The
  # values are those of an object that is not there (`model.NO_DISTANCE`, `NO_PREDICTION`).
  neutral_inputs: tuple[str, ...] = ()

  def __post_init__(self):
    if isinstance(self.model, dict):
      object.__setattr__(self, 'model', ModelOptions.from_dict(self.model))
    if self.head_atrous_rates is not None:
      object.__setattr__(self, 'head_atrous_rates', tuple(self.head_atrous_rates))
      if len(self.head_atrous_rates) != self.head_layers:
        raise ValueError(
          f'head_atrous_rates has {len(self.head_atrous_rates)} rates; expected '
          f'one for each of the {self.head_layers} layers.'
        )
    for name, allowed in (
      ('previous_frame_matching', PREVIOUS_FRAME_MATCHING),
      ('previous_prediction', PREVIOUS_PREDICTION),
      ('reference_choice', REFERENCE_CHOICES),
    ):
      if getattr(self, name) not in allowed:
        raise ValueError(
          f'{name} is {getattr(self, name)!r}; expected one of {", ".join(allowed)}.'
        )
    for name in (
      'embedding_dimension',
      'head_dimension',
      'head_layers',
      'head_kernel_size',
      'k_nearest_neighbors',
      'window_radius',
    ):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} is {getattr(self, name)}; expected at least 1.')
    cap = self.max_reference_pixels_per_object
    if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
      raise ValueError(
        f'max_reference_pixels_per_object is {cap!r}; expected a number of at '
        'least 1, or None for all pixels.'
      )
    imbalance = self.max_reference_imbalance
    if imbalance is not None and not imbalance >= 1:
      raise ValueError(
        f'max_reference_imbalance is {imbalance}; expected at least 1, or None for all pixels.'
      )
    side = self.largest_side
    if side is not None and (isinstance(side, bool) or not isinstance(side, int) or side < 1):
      raise ValueError(
        f'largest_side is {side!r}; expected a number of pixels of at least 1, or None for frames '
        'as they are.'
      )
    grid = self.frame_grid
    if grid is not None and (isinstance(grid, bool) or not isinstance(grid, int) or grid < 1):
      raise ValueError(
        f'frame_grid is {grid!r}; expected a number of pixels of at least 1, or '
        'None for frames as they are.'
      )
    self._check_internal_size()
    self._check_neutral_inputs()
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

  def _check_internal_size(self):
    size = self.internal_size
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
      raise ValueError(
        f'internal_size is {size!r}; expected a number of pixels of at least 1, or None for frames '
        'as they are.'
      )
    limits = tuple(self.internal_scale_limits)
    object.__setattr__(self, 'internal_scale_limits', limits)
    if len(limits) != 2 or not 0 < limits[0] <= 1 <= limits[1]:
      raise ValueError(
        f'internal_scale_limits is {limits}; expected two factors, the first above 0 and at most 1, '
        'the second at least 1.'
      )

  @property
  def resizes_frames(self) -> bool:
    """Whether the network sees frames at another size than they are given at."""
    return self.frame_grid is not None or self.internal_size is not None

  def _check_neutral_inputs(self):
    object.__setattr__(self, 'neutral_inputs', tuple(self.neutral_inputs))
    for name in self.neutral_inputs:
      if name not in self.object_inputs:
        raise ValueError(
          f'neutral_inputs has {name!r}; expected names of inputs that the head '
          f'has: {", ".join(self.object_inputs)}.'
        )
    if self.object_inputs and set(self.neutral_inputs) == set(self.object_inputs):
      raise ValueError(
        'neutral_inputs has every input that tells one object from another; leave one out.'
      )

  @property
  def object_inputs(self):
    """Names of the head's inputs that belong to one object, in the order of their channels."""
    used = (
      self.use_first_frame_matching,
      self.previous_prediction != 'none',
      self.previous_frame_matching != 'none',
    )
    return tuple(name for name, is_used in zip(NEUTRAL_INPUTS, used) if is_used)

  @property
  def matched_inputs(self):
    """Those of `object_inputs` that are distances."""
    return tuple(name for name in self.object_inputs if name != 'previous_prediction')

  @property
  def object_channels(self):
    """Number of the head's input channels that belong to one object: 1 to 5."""
    others = len(self.matched_inputs) if self.other_object_distances else 0
    return len(self.object_inputs) + others

"""Options of a training run; free of TensorFlow, so that wrong flags are reported at once.

Flags are made from the fields (`runtime.option_flags`): a field's comment is the help of its flag.
"""

import dataclasses
from typing import Any, Literal

from feelvos_tf.datasets.samples.options import TripletOptions
from feelvos_tf.model import option_checks
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.training.data_options import TrainingSet
from feelvos_tf.training.data_options import ValidationOptions

# Scopes that the original calls last layers (`model.get_extra_layer_scopes`).
LAST_LAYERS = ('logits', 'image_pooling', 'aspp', 'concat_projection', 'decoder')
# With --last_layers_contain_logits_only.
LOGITS_ONLY = ('logits',)


@dataclasses.dataclass(frozen=True)
class ScheduleOptions:
  """How the learning rate falls; the defaults are those of the original `train.py`.

  Raises:
    ValueError: if a field is out of its range.
  """

  # How the learning rate falls.
  learning_policy: Literal['poly', 'step', 'cosine'] = 'poly'
  # Learning rate at the first step after the slow start.
  base_learning_rate: float = 0.0007
  # Step policy: factor of the rate at every decay.
  learning_rate_decay_factor: float = 0.1
  # Step policy: steps between decays.
  learning_rate_decay_step: int = 2000
  # Steps of the training, slow start included: poly and cosine policy reach the end rate there.
  training_number_of_steps: int = 200000
  # Poly policy: exponent.
  learning_power: float = 0.9
  # Poly policy: rate that is left at the end.
  end_learning_rate: float = 0.0
  # Steps at the beginning with a rate of their own, the slow start.
  slow_start_step: int = 0
  # Rate of the slow start.
  slow_start_learning_rate: float = 1e-4
  # none keeps the rate of the slow start constant; linear climbs from it to the base rate.
  slow_start_burnin_type: Literal['none', 'linear'] = 'none'

  def __post_init__(self) -> None:
    option_checks.check_choices(self)
    option_checks.check_not_negative(
      self,
      (
        'base_learning_rate',
        'learning_rate_decay_factor',
        'end_learning_rate',
        'learning_power',
        'slow_start_learning_rate',
        'slow_start_step',
      ),
    )
    if self.learning_rate_decay_step < 1:
      raise ValueError(
        f'learning_rate_decay_step is {self.learning_rate_decay_step}; it must be at least 1'
      )
    if self.training_number_of_steps <= self.slow_start_step:
      raise ValueError(
        f'training_number_of_steps is {self.training_number_of_steps} and slow_start_step is '
        f'{self.slow_start_step}; train longer or shorten the slow start'
      )


@dataclasses.dataclass(frozen=True)
class OptimizerOptions:
  """Momentum and what is done to gradients; the defaults are those of the original.

  Raises:
    ValueError: if a field is out of its range.
  """

  # Momentum.
  momentum: float = 0.9
  # Norm that no variable's gradient exceeds; 0 switches clipping off.
  clip_gradient_norm: float = 5.0
  # Multiplies gradients of last layers.
  last_layer_gradient_multiplier: float = 1.0
  # Last layers: a variable is in one if one of these occurs in its name. The original's list has
  # 'meta_architecture', which is in no name here.
  last_layers: tuple[str, ...] = (*LAST_LAYERS, 'meta_architecture')
  # Multiplies the learning rate of the backbone; 0.1 keeps what it has learned when adam trains new
  # layers.
  #
  # Not in the original. Adam's steps do not depend on the size of gradients: at a rate that suits
  # new layers, it can destroy a trained backbone.
  backbone_rate_multiplier: float = 1.0

  def __post_init__(self) -> None:
    if not 0.0 <= self.momentum < 1.0:
      raise ValueError(f'momentum is {self.momentum}; it must lie in [0, 1)')
    option_checks.check_not_negative(
      self, ('clip_gradient_norm', 'last_layer_gradient_multiplier', 'backbone_rate_multiplier')
    )


@dataclasses.dataclass(frozen=True)
class HardMining:
  """Which part of the pixels counts: all of them at first, only the hardest later.

  Raises:
    ValueError: if a field is out of its range.
  """

  # Part of the pixels, the hardest, that counts in the end, 0 to 1.
  top_k_percent_pixels: float = 0.15
  # Steps during which the part that counts falls linearly from 1; 0: it does not.
  hard_example_mining_step: int = 100000

  def __post_init__(self) -> None:
    if not 0.0 <= self.top_k_percent_pixels <= 1.0:
      raise ValueError(
        f'top_k_percent_pixels is {self.top_k_percent_pixels}; it must lie in [0, 1]'
      )
    if self.hard_example_mining_step < 0:
      raise ValueError(
        f'hard_example_mining_step is {self.hard_example_mining_step}; it must be 0 or more'
      )


@dataclasses.dataclass(frozen=True)
class LossOptions:
  """Options of the loss; flags of the original have its names and defaults.

  Raises:
    ValueError: unknown `classification_loss`.
  """

  # softmax: DeepLab alone, on --num_classes; triplet: the embedding; softmax_with_attention:
  # FEELVOS.
  classification_loss: Literal['softmax', 'triplet', 'softmax_with_attention'] = (
    'softmax_with_attention'
  )
  # Reference pixels per object that are matched, chosen at random.
  #
  # Section 4 of the paper; None keeps all.
  max_neighbors_per_object: int | None = 1024
  mining: HardMining = HardMining()
  # L2 factor.
  weight_decay: float = 4e-5
  # Compare logits and labels at full size; otherwise shrink the labels.
  upsample_logits: bool = True
  # Share of samples that receive nothing of the previous frame.
  #
  # All local distances of a video's first current frame are 1, all previous predictions 0, as of
  # objects that are nowhere. Not in the original.
  # In a short training the head learns to copy the true mask of the previous frame and ignores
  # the reference frame (then global matching alone beats the model); this makes it look there.
  drop_previous_probability: float = 0.0
  # Weight of a loss of global matching alone.
  #
  # It asks the embedding itself, without the head, for the object: cross
  # entropy of softmax(-||e_p - e_q||^2) over the nearest reference pixel q of each object. Not in
  # the original, where all the embedding learns comes through the head.
  matching_loss_weight: float = 0.0
  # Weight of a loss of one minus the soft J of every object.
  #
  # In the cross entropy an object counts by its pixels: a small one beside a large one, a bag on
  # its wearer, is worth next to nothing there, and the head leaves it to the large one. Not in the
  # original.
  overlap_loss_weight: float = 0.0
  # Weight of the same loss of global matching alone.
  #
  # To `matching_loss_weight` what `overlap_loss_weight` is to the loss of the head: every object
  # counts the same. Not in the original.
  matching_overlap_loss_weight: float = 0.0
  # Dropout in ASPP.
  dropout: bool = True
  # Seed of what is random inside the step.
  seed: int = 0

  def __post_init__(self) -> None:
    if not 0 <= self.drop_previous_probability <= 1:
      raise ValueError(
        f'drop_previous_probability is {self.drop_previous_probability}; expected 0 to 1.'
      )
    for name in (
      'matching_loss_weight',
      'overlap_loss_weight',
      'matching_overlap_loss_weight',
      'weight_decay',
    ):
      value = getattr(self, name)
      if value < 0:
        raise ValueError(f'{name} is {value}; expected 0 or more.')
    option_checks.check_choices(self)


@dataclasses.dataclass(frozen=True)
class TrainerOptions:
  """How a run goes; what is minimised is in `LossOptions`.

  Raises:
    ValueError: an option has a value training cannot run with.
  """

  # Folder of checkpoints and logs.
  train_logdir: str
  # Videos per step, over all devices and workers.
  batch_size: int = 3
  schedule: ScheduleOptions = ScheduleOptions()
  # The original has momentum; adam needs fewer steps where the budget is small.
  optimizer: Literal['momentum', 'adam'] = 'momentum'
  optimizer_options: OptimizerOptions = OptimizerOptions()
  loss: LossOptions = LossOptions()
  # Stop at this step, with the schedule of the whole training.
  stop_at_step: int | None = None
  # Scale the loss, for float16.
  loss_scaling: bool = False
  # Average losses over devices, as the original does over clones, instead of adding all videos up.
  average_over_devices: bool = False
  # Steps between log lines; 0: none.
  log_steps: int = 20
  # Steps between checkpoints; whichever of this and --save_interval_secs is due first. 0: none.
  save_interval_steps: int = 500
  # Seconds between checkpoints; 0: none.
  save_interval_secs: int = 0
  # Steps between validations; 0: none.
  validation_steps: int = 0
  # Checkpoints kept.
  max_to_keep: int = 3

  def __post_init__(self) -> None:
    option_checks.check_choices(self)
    option_checks.check_least(self, {'batch_size': 1})
    for name in ('log_steps', 'save_interval_steps', 'save_interval_secs', 'validation_steps'):
      if getattr(self, name) < 0:
        raise ValueError(f'{name} is {getattr(self, name)}; expected 0 (never) or more.')
    option_checks.check_least(self, {'max_to_keep': 1, 'stop_at_step': 1})

  @property
  def last_step(self) -> int:
    """Step at which the run ends."""
    length = self.schedule.training_number_of_steps
    return length if self.stop_at_step is None else min(self.stop_at_step, length)


@dataclasses.dataclass(frozen=True)
class InitialWeights:
  """Where weights come from when a training starts."""

  # TF1 checkpoint, our .h5, or a Keras MobileNetV2 .weights.h5.
  path: str
  # Also load ASPP, decoder and logits from it.
  initialize_last_layer: bool = False
  # Only logits count as last layers.
  last_layers_contain_logits_only: bool = False
  # The trained model also gets the options of inference that our .h5 names, such as internal_size
  # or crossing_radius, where no flag sets them.
  take_inference_options: bool = True


@dataclasses.dataclass(frozen=True)
class RunOptions:
  """Everything about a run.

  Raises:
    ValueError: if a field is out of its range.
  """

  model: FeelvosOptions
  samples: TripletOptions
  trainer: TrainerOptions
  data_sets: tuple[TrainingSet, ...]
  validation: ValidationOptions | None = None
  # Classes of semantic logits for the loss softmax, which trains DeepLab alone; 0: FEELVOS.
  num_classes: int = 0
  # Keras's dtype policy.
  policy: str = 'float32'
  initial_weights: InitialWeights | None = None
  # Batches that set the statistics of batch norm in ASPP and decoder when a training starts; 0
  # leaves them. Useful when these layers start from scratch and stay frozen.
  calibration_batches: int = 0
  # Embedding layer and the kernels with which the head reads the maps. checkpoint: as in the
  # initial weights, else as in the original; spread: scaled to the data, so that none starts dead
  # (short trainings).
  #
  # See `calibration.spread_matching`.
  matching_initialization: Literal['checkpoint', 'spread'] = 'checkpoint'
  # Samples made at the same time.
  input_threads: int = 2
  # Seconds between pictures for TensorBoard.
  picture_secs: int = 600
  # Weights file written at the end; default: final.h5 in --train_logdir.
  export: str | None = None
  # Seed of samples, initial values and dropout.
  seed: int = 0

  def __post_init__(self) -> None:
    option_checks.check_choices(self)
    option_checks.check_least(
      self,
      {
        'num_classes': 0,
        'calibration_batches': 0,
        'input_threads': 1,
        'picture_secs': 0,
        'seed': 0,
      },
    )

  def to_dict(self) -> dict[str, Any]:
    """JSON-ready; `model`, `optimizer` and `loss_scaling` are what a checkpoint depends on."""
    values = dataclasses.asdict(self)
    values['optimizer'] = self.trainer.optimizer
    values['loss_scaling'] = self.trainer.loss_scaling
    values['model']['num_classes'] = values.pop('num_classes')
    # As run.json has had them from the beginning.
    values['data_sets'] = [{**one.pop('data'), **one} for one in values['data_sets']]
    values['validation'] = self.validation and list(values['validation'].values())
    if self.initial_weights:
      values['initial_weights'] = [values['initial_weights'].pop('path'), values['initial_weights']]
    # Where the folder lies is no option of the run: it may be moved.
    del values['trainer']['train_logdir']
    return values

r"""Trains FEELVOS. The flags of the original have its names, meanings and defaults.

  feelvos train --train_logdir=runs/mine --dataset=folder --data_dir=my_videos \
      --tf_initial_checkpoint=feelvos_tf/pretrained/mobilenet_v2.h5 --initialize_last_layer \
      --other_object_distances --output_stride=16 --train_crop_size=257 --train_batch_size=3 \
      --base_learning_rate=0.0001 --training_number_of_steps=2000

Data come from TFRecords (--dataset_dir, see `feelvos convert-data`) or straight from folders
(--data_dir); several data sets are mixed by --dataset_sampling_probabilities. --train_logdir gets
checkpoints, run.json (the options), TensorBoard logs, best.h5 (with validation) and final.h5. The
same command goes on where it was interrupted, with the weights an undisturbed run would have.
docs/training.md explains the rest.

Exit code 0: done or interrupted with a checkpoint; 1: something is wrong with data, weights or
numbers; 2: wrong usage.
"""

import signal

from absl import flags
from absl import logging

from feelvos_tf.datasets.samples.options import TripletOptions
from feelvos_tf.deeplab.options import ModelOptions
from feelvos_tf.model import precision
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime.option_flags import OptionFlags
from feelvos_tf.runtime.tensorflow_start import start_tensorflow
from feelvos_tf.training import options as options_lib
from feelvos_tf.training.data_options import DataSet
from feelvos_tf.training.data_options import TrainingSet
from feelvos_tf.training.data_options import ValidationOptions

FLAGS = flags.FLAGS

# The flags that are fields of options, by their dataclass. Names and defaults are the original's.
RUN = OptionFlags(
  options_lib.RunOptions,
  leave_out=('model', 'samples', 'trainer', 'data_sets', 'validation', 'policy', 'initial_weights'),
  names={
    'calibration_batches': 'calibrate_statistics',
    'input_threads': 'batch_num_threads',
    'picture_secs': 'save_summaries_secs',
  },
  defaults={'num_classes': 2},
)
TRAINER = OptionFlags(
  options_lib.TrainerOptions,
  leave_out=('schedule', 'optimizer_options', 'loss', 'loss_scaling'),
  names={'batch_size': 'train_batch_size'},
  defaults={'batch_size': 6, 'log_steps': 10, 'save_interval_secs': 1200},
)
SCHEDULE = OptionFlags(options_lib.ScheduleOptions)
OPTIMIZER = OptionFlags(options_lib.OptimizerOptions, leave_out=('last_layers',))
LOSS = OptionFlags(
  options_lib.LossOptions,
  leave_out=('mining', 'dropout', 'seed'),
  names={'max_neighbors_per_object': 'train_max_neighbors_per_object'},
)
MINING = OptionFlags(options_lib.HardMining)
INITIAL_WEIGHTS = OptionFlags(options_lib.InitialWeights, names={'path': 'tf_initial_checkpoint'})
DEEPLAB = OptionFlags(
  ModelOptions,
  leave_out=('num_classes',),
  defaults={'model_variant': 'mobilenet_v2', 'output_stride': 8},
)
FEELVOS = OptionFlags(
  FeelvosOptions,
  leave_out=(
    'model',
    'previous_frame_matching',
    'previous_prediction',
    'max_reference_pixels_per_object',
    'reference_choice',
    'largest_side',
    'frame_grid',
    'internal_scale_limits',
    'far_parts_radius',
    'unlike_parts_margin',
    'parted_factor',
    'crossing_radius',
    'least_positions',
    'rule_distance_factor',
    'guided_filter_epsilon',
    'head_area_radius',
    'neutral_inputs',
  ),
  names={
    'head_dimension': 'embedding_seg_feature_dimension',
    'head_layers': 'embedding_seg_n_layers',
    'head_kernel_size': 'embedding_seg_kernel_size',
    'head_atrous_rates': 'embedding_seg_atrous_rates',
    'window_radius': 'previous_frame_attention_window_size',
  },
  defaults={'head_atrous_rates': ()},
  lists=('local_window_radii',),
)
SAMPLES = OptionFlags(
  TripletOptions,
  leave_out=('crop_size', 'decoder_output_stride', 'seed'),
  names={'num_frames': 'train_num_frames_per_video'},
)
VALIDATION = OptionFlags(
  ValidationOptions,
  leave_out=('data',),
  names={
    'clips': 'validation_clips',
    'frames': 'validation_frames',
    'max_size': 'validation_max_size',
  },
)


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  for options in (
    *(RUN, TRAINER, SCHEDULE, OPTIMIZER, LOSS, MINING, INITIAL_WEIGHTS),
    *(DEEPLAB, FEELVOS, SAMPLES, VALIDATION),
  ):
    options.define()
  flags.DEFINE_enum(
    'strategy',
    'one',
    ['one', 'mirrored', 'multi_worker'],
    'One device, all GPUs of this machine, or the processes in TF_CONFIG.',
  )
  flags.DEFINE_enum(
    'precision',
    'float32',
    list(precision.POLICIES),
    'Type of activations; '
    'weights, losses and matching distances are float32. float16 scales the loss.',
  )
  flags.DEFINE_bool(
    'deterministic',
    False,
    'Only ops whose result does not depend on timing; '
    'slower. Needed for bitwise equal runs on GPUs.',
  )
  _define_model_flags()
  _define_data_flags()


def _define_model_flags() -> None:
  """Flags of the original that one option has together with others, or with another default."""
  flags.DEFINE_bool('also_attend_to_previous_frame', True, 'Matching to the previous frame.')
  flags.DEFINE_bool('use_local_previous_frame_attention', True, 'It is local.')
  flags.DEFINE_bool('use_softmax_feedback', True, 'Give the head the previous prediction.')
  flags.DEFINE_enum(
    'previous_prediction',
    None,
    ['labels', 'probabilities'],
    'With --use_softmax_feedback: one-hot labels (default, as published) or soft map.',
  )
  flags.DEFINE_integer(
    'frame_grid',
    None,
    'At inference, validation included, both sides of a '
    'frame are resized to the nearest multiple of this number plus one. '
    'Default: the output stride; 0: frames as they are, as in the original.',
    lower_bound=0,
  )


def _define_data_flags() -> None:
  flags.DEFINE_multi_string('dataset', [], 'Data set; may be repeated, each with its folder.')
  flags.DEFINE_multi_string('dataset_dir', [], 'Folder of its TFRecords.')
  flags.DEFINE_multi_string('data_dir', [], 'Instead of --dataset_dir: folder as downloaded.')
  flags.DEFINE_bool('verify_data', True, 'Compare the checksums of TFRecords once at the start.')
  flags.DEFINE_string('train_split', 'train', 'Split.')
  flags.DEFINE_multi_float('dataset_sampling_probabilities', [], 'One for each; default: equal.')
  flags.DEFINE_multi_integer(
    'first_frame_finetuning',
    [0],
    'For each data set: the reference is the first frame; its split is val, as in the original.',
  )
  flags.DEFINE_bool('sample_only_first_frame_for_finetuning', False, 'Then: no other frame at all.')
  flags.DEFINE_multi_integer('three_frame_dataset', [0], 'For each data set: videos are triplets.')
  flags.DEFINE_multi_integer(
    'train_crop_size', [465, 465], 'Height and width, or both in one; 0: whole frames.'
  )
  flags.DEFINE_string('validation_dataset', None, 'Data set to validate on; default: the first.')
  flags.DEFINE_string('validation_dir', None, 'Its folder, of the same kind as for training.')
  flags.DEFINE_string('validation_split', 'val', 'Its split.')


def main() -> None:
  """Checks flags, then trains."""
  _check_usage()
  options = RUN.make(
    model=_model_options(),
    samples=_sample_options(),
    trainer=_trainer_options(),
    data_sets=_data_sets(),
    validation=_validation(),
    num_classes=FLAGS.num_classes if FLAGS.classification_loss == 'softmax' else 0,
    policy=precision.POLICIES[FLAGS.precision],
    initial_weights=INITIAL_WEIGHTS.make() if FLAGS.tf_initial_checkpoint else None,
  )
  # TensorFlow takes seconds to import; wrong flags are reported before.
  start_tensorflow()
  import tensorflow as tf

  from feelvos_tf.training import run
  from feelvos_tf.training import strategy

  logging.set_verbosity(logging.WARNING)  # TensorFlow reports every checkpoint otherwise.
  if FLAGS.deterministic:
    tf.config.experimental.enable_op_determinism()
  placement = strategy.place(FLAGS.strategy)
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  run.run(options, placement)


def _check_usage() -> None:
  for flag, what in (('train_logdir', 'a folder for checkpoints'), ('dataset', 'a data set')):
    if not getattr(FLAGS, flag):
      raise command_line.UsageError(f'--{flag} expected: {what}.')
  if FLAGS.dataset_dir and FLAGS.data_dir:
    raise command_line.UsageError(
      '--dataset_dir (TFRecords) and --data_dir (folders) given; '
      'choose one; feelvos convert-data converts.'
    )
  folders = FLAGS.dataset_dir or FLAGS.data_dir
  if len(folders) != len(FLAGS.dataset) and FLAGS.dataset != ['synthetic']:
    raise command_line.UsageError(
      f'{len(FLAGS.dataset)} --dataset and {len(folders)} folders '
      'given (--dataset_dir or --data_dir); expected one for each.'
    )
  if len(FLAGS.train_crop_size) > 2:
    raise command_line.UsageError(
      f'--train_crop_size: {len(FLAGS.train_crop_size)} numbers given; '
      'expected height and width, or one for both.'
    )
  if FLAGS.decoder_output_stride != 4:
    raise command_line.UsageError(
      f'--decoder_output_stride={FLAGS.decoder_output_stride} given; FEELVOS expects 4.'
    )
  for name in ('matching_loss_weight', 'matching_overlap_loss_weight'):
    if FLAGS[name].value and not FLAGS.use_first_frame_matching:
      raise command_line.UsageError(
        f'--{name} is a loss of first frame matching; '
        '--nouse_first_frame_matching leaves nothing to it.'
      )
  if FLAGS.classification_loss == 'softmax_with_attention' and FLAGS.train_num_frames_per_video < 3:
    raise command_line.UsageError(
      f'--train_num_frames_per_video={FLAGS.train_num_frames_per_video} given; FEELVOS expects 3 or '
      'more: reference, previous and current frame.'
    )
  if bool(FLAGS.validation_steps) != bool(FLAGS.validation_dir) and (
    FLAGS.validation_dir or FLAGS.dataset != ['synthetic']
  ):
    raise command_line.UsageError(
      '--validation_steps and --validation_dir belong together; give both or none.'
    )


def _model_options() -> FeelvosOptions:
  matching = 'local' if FLAGS.use_local_previous_frame_attention else 'global'
  prediction = FLAGS.previous_prediction or 'labels'
  return FEELVOS.make(
    model=DEEPLAB.make(),
    head_atrous_rates=tuple(FLAGS.embedding_seg_atrous_rates) or None,
    previous_frame_matching=matching if FLAGS.also_attend_to_previous_frame else 'none',
    previous_prediction=prediction if FLAGS.use_softmax_feedback else 'none',
    frame_grid=FLAGS.output_stride if FLAGS.frame_grid is None else FLAGS.frame_grid or None,
  )


def _sample_options() -> TripletOptions:
  crop = tuple(FLAGS.train_crop_size) * (2 if len(FLAGS.train_crop_size) == 1 else 1)
  return SAMPLES.make(
    crop_size=None if 0 in crop else crop,
    decoder_output_stride=FLAGS.decoder_output_stride,
    seed=FLAGS.seed,
  )


def _trainer_options() -> options_lib.TrainerOptions:
  last_layers = (
    {'last_layers': options_lib.LOGITS_ONLY} if FLAGS.last_layers_contain_logits_only else {}
  )
  return TRAINER.make(
    schedule=SCHEDULE.make(),
    optimizer_options=OPTIMIZER.make(**last_layers),
    loss=LOSS.make(
      max_neighbors_per_object=FLAGS.train_max_neighbors_per_object or None,
      mining=MINING.make(),
      seed=FLAGS.seed,
    ),
    loss_scaling=FLAGS.precision == 'float16',
  )


def _data_sets() -> tuple[TrainingSet, ...]:
  """The `TrainingSet`s of the flags."""
  count = len(FLAGS.dataset)
  per_set = {}
  for flag in ('first_frame_finetuning', 'three_frame_dataset', 'dataset_sampling_probabilities'):
    values = list(getattr(FLAGS, flag)) or [1.0]
    per_set[flag] = values * count if len(values) == 1 else values
    if len(per_set[flag]) != count:
      raise command_line.UsageError(
        f'{len(values)} --{flag} given; expected one, or one for each of the {count} data sets.'
      )
  folders = FLAGS.dataset_dir or FLAGS.data_dir or [None]
  found = []
  for name, folder, finetuning, three_frames, probability in zip(
    FLAGS.dataset,
    folders,
    per_set['first_frame_finetuning'],
    per_set['three_frame_dataset'],
    per_set['dataset_sampling_probabilities'],
  ):
    found.append(
      TrainingSet(
        _data_set(name, folder, 'val' if finetuning else FLAGS.train_split),
        probability,
        bool(finetuning),
        bool(finetuning) and FLAGS.sample_only_first_frame_for_finetuning,
        bool(three_frames),
      )
    )
  return tuple(found)


def _validation() -> ValidationOptions | None:
  if not FLAGS.validation_steps:
    return None
  name = FLAGS.validation_dataset or FLAGS.dataset[0]
  return VALIDATION.make(data=_data_set(name, FLAGS.validation_dir, FLAGS.validation_split))


def _data_set(name: str, folder: str | None, split: str) -> DataSet:
  where = {'records': folder} if FLAGS.dataset_dir else {'folder': folder}
  try:
    return DataSet(name, split=split, verify=FLAGS.verify_data, **where)
  except ValueError as error:
    raise command_line.UsageError(str(error)) from error


if __name__ == '__main__':
  command_line.run(main, define_flags)

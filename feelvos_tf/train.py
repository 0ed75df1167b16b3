r"""Trains FEELVOS. The flags of the original have its names, meanings and defaults.

  feelvos train --train_logdir=runs/mine --dataset=folder --data_dir=my_videos \
      --tf_initial_checkpoint=feelvos_tf/pretrained/mobilenet_v2.h5 --initialize_last_layer \
      --train_crop_size=257 --train_batch_size=3 --training_number_of_steps=2000

Data come from TFRecords (--dataset_dir, see tools.convert_to_tfrecord) or straight from folders
(--data_dir); several data sets are mixed by --dataset_sampling_probabilities. --train_logdir gets
checkpoints, run.json (the options), TensorBoard logs, best.h5 (with validation) and final.h5. The
same command goes on where it was interrupted, with the weights an undisturbed run would have.
docs/training.md explains the rest.

Exit code 0: done or interrupted with a checkpoint; 1: something is wrong with data, weights or
numbers; 2: wrong usage.
"""

import signal

from absl import flags

from feelvos_tf.datasets.samples.options import IMAGE_DTYPES
from feelvos_tf.datasets.samples.options import TripletOptions
from feelvos_tf.deeplab.options import MODEL_VARIANTS
from feelvos_tf.deeplab.options import ModelOptions
from feelvos_tf.model import precision
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

FLAGS = flags.FLAGS
_SAMPLES = TripletOptions()
# The run.


def define_flags():
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_string('train_logdir', None, 'Folder of checkpoints and logs.')
  flags.DEFINE_integer('log_steps', 10, 'Steps between log lines.', lower_bound=0)
  flags.DEFINE_integer('save_interval_secs', 1200, 'Seconds between checkpoints.', lower_bound=0)
  flags.DEFINE_integer(
    'save_interval_steps',
    500,
    'Steps between checkpoints; whichever of the two is due first.',
    lower_bound=0,
  )
  flags.DEFINE_integer(
    'save_summaries_secs', 600, 'Seconds between pictures for TensorBoard.', lower_bound=0
  )
  flags.DEFINE_integer('max_to_keep', 3, 'Checkpoints kept.', lower_bound=1)
  flags.DEFINE_string(
    'export', None, 'Weights file written at the end; default: final.h5 in --train_logdir.'
  )
  flags.DEFINE_enum(
    'strategy',
    'one',
    ['one', 'mirrored', 'multi_worker'],
    'One device, all GPUs of this machine, or the processes in TF_CONFIG.',
  )
  flags.DEFINE_bool(
    'average_over_devices',
    False,
    'Average losses over devices, as the original '
    'does over clones, instead of adding all videos up.',
  )
  flags.DEFINE_enum(
    'precision',
    'float32',
    list(precision.POLICIES),
    'Type of activations; '
    'weights, losses and matching distances are float32. float16 scales the loss.',
  )
  flags.DEFINE_integer('seed', 0, 'Seed of samples, initial values and dropout.', lower_bound=0)
  flags.DEFINE_bool(
    'deterministic',
    False,
    'Only ops whose result does not depend on timing; '
    'slower. Needed for bitwise equal runs on GPUs.',
  )

  # Optimisation.
  flags.DEFINE_enum('learning_policy', 'poly', ['poly', 'step', 'cosine'], 'Learning rate policy.')
  flags.DEFINE_float('base_learning_rate', 0.0007, 'Learning rate.')
  flags.DEFINE_float('learning_rate_decay_factor', 0.1, 'Factor of the step policy.')
  flags.DEFINE_integer('learning_rate_decay_step', 2000, 'Steps between its decays.')
  flags.DEFINE_float('learning_power', 0.9, 'Exponent of the poly policy.')
  flags.DEFINE_float('end_learning_rate', 0.0, 'Rate at the end of the poly policy.')
  flags.DEFINE_integer('training_number_of_steps', 200000, 'Steps of the training.')
  flags.DEFINE_integer(
    'stop_at_step', None, 'Stop there, with the schedule of the whole training.', lower_bound=1
  )
  flags.DEFINE_integer('slow_start_step', 0, 'Steps with the slow start rate.')
  flags.DEFINE_float('slow_start_learning_rate', 1e-4, 'Rate of the slow start.')
  flags.DEFINE_enum(
    'slow_start_burnin_type', 'none', ['none', 'linear'], 'Constant, or climbing to the base rate.'
  )
  flags.DEFINE_enum('optimizer', 'momentum', ['momentum', 'adam'], 'The original has momentum.')
  flags.DEFINE_float('momentum', 0.9, 'Momentum.')
  flags.DEFINE_float('clip_gradient_norm', 5.0, 'Norm that no gradient exceeds; 0: any.')
  flags.DEFINE_float('last_layer_gradient_multiplier', 1.0, 'Multiplies gradients of last layers.')
  flags.DEFINE_float(
    'backbone_rate_multiplier',
    1.0,
    'Multiplies the learning rate of the backbone. '
    '0.1 keeps what it has learned when --optimizer=adam trains new layers.',
  )
  flags.DEFINE_bool('last_layers_contain_logits_only', False, 'Only logits count as last layers.')
  flags.DEFINE_float('weight_decay', 0.00004, 'L2 factor.')
  flags.DEFINE_integer('train_batch_size', 6, 'Videos per step, over all devices and workers.')
  flags.DEFINE_float('top_k_percent_pixels', 0.15, 'Part of the pixels that counts in the end.')
  flags.DEFINE_integer('hard_example_mining_step', 100000, 'Steps until only that part counts.')
  flags.DEFINE_bool('upsample_logits', True, 'Compare at full size.')
  flags.DEFINE_enum(
    'classification_loss',
    'softmax_with_attention',
    ['softmax', 'triplet', 'softmax_with_attention'],
    'softmax: DeepLab alone, on '
    '--num_classes; triplet: the embedding; softmax_with_attention: FEELVOS.',
  )
  flags.DEFINE_integer('num_classes', 2, 'Classes of the loss softmax.', lower_bound=2)
  flags.DEFINE_integer(
    'train_max_neighbors_per_object',
    1024,
    'Reference pixels per object that are matched, chosen at random; 0 takes all.',
    lower_bound=0,
  )

  # The model.
  flags.DEFINE_enum('model_variant', 'mobilenet_v2', list(MODEL_VARIANTS), 'Backbone.')
  flags.DEFINE_integer('output_stride', 8, '8, 16 or 32.')
  flags.DEFINE_multi_integer(
    'atrous_rates', None, 'Rates of ASPP; default: the usual ones of the output stride.'
  )
  flags.DEFINE_multi_integer('multi_grid', None, 'Rates of the last block.')
  flags.DEFINE_float('depth_multiplier', 1.0, 'Width of mobilenet_v2.')
  flags.DEFINE_bool('add_image_level_feature', True, "ASPP's branch of the whole image.")
  flags.DEFINE_bool('aspp_with_separable_conv', True, 'Depthwise separable ASPP.')
  flags.DEFINE_bool('decoder_use_separable_conv', True, 'Depthwise separable decoder.')
  flags.DEFINE_integer('decoder_output_stride', 4, 'Stride of the embedding: 4.')
  flags.DEFINE_bool('fine_tune_batch_norm', False, 'Use and update batch statistics.')
  flags.DEFINE_integer('embedding_dimension', 100, 'Channels of the embedding.')
  flags.DEFINE_integer('embedding_seg_feature_dimension', 256, 'Channels of the head.')
  flags.DEFINE_integer('embedding_seg_n_layers', 4, 'Layers of the head.')
  flags.DEFINE_integer('embedding_seg_kernel_size', 7, 'Kernel size of the head.')
  flags.DEFINE_multi_integer('embedding_seg_atrous_rates', [], 'Atrous rates of the head.')
  flags.DEFINE_integer('k_nearest_neighbors', 1, 'Neighbours averaged in global matching.')
  flags.DEFINE_integer(
    'frame_grid',
    None,
    'At inference, validation included, both sides of a '
    'frame are resized to the nearest multiple of this number plus one. '
    'Default: the output stride; 0: frames as they are, as in the original.',
    lower_bound=0,
  )
  flags.DEFINE_integer(
    'internal_size',
    None,
    'At inference, frames with a shorter side below this many pixels are enlarged to it, to twice '
    'their size at most. Default: frames as they are.',
    lower_bound=1,
  )
  flags.DEFINE_float(
    'max_reference_imbalance',
    None,
    'At inference, match with at most this many '
    'times as many pixels of an object or the background as the smallest object '
    'has (but 1,024 at least). Default: with all.',
    lower_bound=1,
  )
  flags.DEFINE_bool('use_first_frame_matching', True, 'Global matching to the reference frame.')
  flags.DEFINE_bool('also_attend_to_previous_frame', True, 'Matching to the previous frame.')
  flags.DEFINE_bool('use_local_previous_frame_attention', True, 'It is local.')
  flags.DEFINE_integer('previous_frame_attention_window_size', 15, 'Radius of its window.')
  flags.DEFINE_bool('use_softmax_feedback', True, 'Tell the head the previous prediction.')
  flags.DEFINE_bool(
    'other_object_distances',
    False,
    'Give the head the distances to the nearest pixel of all other objects. Initial weights '
    'without them still load.',
  )
  flags.DEFINE_enum(
    'previous_prediction',
    None,
    ['labels', 'probabilities'],
    'With --use_softmax_feedback: one-hot labels (default, as published) or soft map.',
  )

  # Initial weights.
  flags.DEFINE_string(
    'tf_initial_checkpoint', None, 'TF1 checkpoint, our .h5, or a Keras MobileNetV2 .weights.h5.'
  )
  flags.DEFINE_bool('initialize_last_layer', False, 'Also load ASPP, decoder and logits from it.')
  flags.DEFINE_integer(
    'calibrate_statistics',
    0,
    'Batches that set the statistics of batch norm '
    'in ASPP and decoder when a training starts; 0 leaves them. Useful when '
    'these layers start from scratch and stay frozen.',
    lower_bound=0,
  )
  flags.DEFINE_enum(
    'matching_initialization',
    'checkpoint',
    ['checkpoint', 'spread'],
    'Embedding layer and the kernels with which the head reads the maps. '
    'checkpoint: as in the initial weights, else as in the original; spread: '
    'scaled to the data, so that none starts dead (short trainings).',
  )

  # Data.
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
  flags.DEFINE_integer('train_num_frames_per_video', 3, 'Reference, previous, current frame(s).')
  flags.DEFINE_float('min_scale_factor', 1.0, 'Random scale, from.')
  flags.DEFINE_float('max_scale_factor', 1.3, 'Random scale, to.')
  flags.DEFINE_float('scale_factor_step_size', 0, 'Steps between scales; 0: any.')
  flags.DEFINE_integer('min_resize_value', None, 'Shorter side before the random scale.')
  flags.DEFINE_integer('max_resize_value', None, 'Limit of the longer side.')
  flags.DEFINE_integer('resize_factor', None, 'Sides are a multiple of it plus one.')
  flags.DEFINE_bool('damage_initial_previous_frame_mask', False, 'Damage the previous mask.')
  flags.DEFINE_integer('batch_num_threads', 2, 'Samples made at the same time.', lower_bound=1)
  flags.DEFINE_enum(
    'image_dtype',
    _SAMPLES.image_dtype,
    list(IMAGE_DTYPES),
    'Type of crops; uint8 is faster and rounds.',
  )
  flags.DEFINE_float(
    'drop_previous_probability',
    0.0,
    'Samples that receive nothing of the previous frame.',
    lower_bound=0,
    upper_bound=1,
  )
  flags.DEFINE_float(
    'matching_loss_weight', 0.0, 'Weight of a loss of global matching alone.', lower_bound=0
  )
  flags.DEFINE_float('flip_probability', _SAMPLES.flip_probability, 'Mirrored samples.')
  flags.DEFINE_float('paste_probability', 0.0, 'Samples with a pasted object of another video.')
  flags.DEFINE_integer('max_pasted_objects', 1, 'How many at most.')
  flags.DEFINE_float(
    'twin_probability',
    0.0,
    'Pasted objects that are of the same video, in another view: objects that look alike.',
  )
  flags.DEFINE_float(
    'occluder_probability', 0.0, 'Pasted things that are no objects and hide what they cover.'
  )
  flags.DEFINE_float(
    'aim_probability', 0.0, 'Pasted things whose path leads across an object of the video.'
  )
  flags.DEFINE_bool('soft_paste', False, 'Blend pasted objects over their outline.')
  flags.DEFINE_float(
    'confuse_probability',
    0.0,
    'Samples whose previous mask has wrong ids: exchanged, merged, doubled or lost.',
  )
  flags.DEFINE_integer('max_frame_gap', 1, 'Frames between neighbours of a sample, at most.')
  flags.DEFINE_float('reverse_probability', 0.0, 'Samples that run backwards.')
  flags.DEFINE_float('object_crop_probability', 0.0, 'Crops that are made to show an object.')
  flags.DEFINE_float('color_strength', 0.0, 'Random colours, 0 to 1.')
  flags.DEFINE_float(
    'look_strength',
    0.0,
    'Random hue, saturation and haze that all frames of a clip have in common, 0 to 1.',
  )
  flags.DEFINE_integer('max_objects', None, 'Objects of a sample, at most.', lower_bound=1)

  # Validation.
  flags.DEFINE_integer('validation_steps', 0, 'Steps between validations; 0: none.', lower_bound=0)
  flags.DEFINE_string('validation_dataset', None, 'Data set to validate on; default: the first.')
  flags.DEFINE_string('validation_dir', None, 'Its folder, of the same kind as for training.')
  flags.DEFINE_string('validation_split', 'val', 'Its split.')
  flags.DEFINE_integer('validation_clips', 4, 'Videos.', lower_bound=1)
  flags.DEFINE_integer('validation_frames', 16, 'Frames of each.', lower_bound=2)
  flags.DEFINE_integer(
    'validation_max_size', None, 'Longer side in pixels to segment at.', lower_bound=32
  )


def main():
  """Checks flags, then trains."""
  _check_usage()
  model_options, sample_options = _model_options(), _sample_options()
  data_sets, validation_set = _data_sets(), _validation_set()
  # TensorFlow takes seconds to import; wrong flags are reported before.
  start_tensorflow()
  import tensorflow as tf

  from feelvos_tf.training import run
  from feelvos_tf.training import strategy

  if FLAGS.deterministic:
    tf.config.experimental.enable_op_determinism()
  placement = strategy.place(FLAGS.strategy)
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  options = run.RunOptions(
    model=model_options,
    num_classes=_num_classes(),
    samples=sample_options,
    trainer=_trainer_options(),
    data_sets=data_sets,
    validation=validation_set,
    policy=precision.POLICIES[FLAGS.precision],
    initial_weights=_initial_weights(),
    calibration_batches=FLAGS.calibrate_statistics,
    matching_initialization=FLAGS.matching_initialization,
    input_threads=FLAGS.batch_num_threads,
    picture_secs=FLAGS.save_summaries_secs,
    export=FLAGS.export,
    seed=FLAGS.seed,
  )
  run.run(options, placement)


def _check_usage():
  for flag, what in (('train_logdir', 'a folder for checkpoints'), ('dataset', 'a data set')):
    if not getattr(FLAGS, flag):
      raise command_line.UsageError(f'--{flag} expected: {what}.')
  if FLAGS.dataset_dir and FLAGS.data_dir:
    raise command_line.UsageError(
      '--dataset_dir (TFRecords) and --data_dir (folders) given; '
      'choose one; tools.convert_to_tfrecord converts.'
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
  if FLAGS.matching_loss_weight and not FLAGS.use_first_frame_matching:
    raise command_line.UsageError(
      '--matching_loss_weight is a loss of first frame matching; '
      '--nouse_first_frame_matching leaves nothing to it.'
    )
  if bool(FLAGS.validation_steps) != bool(FLAGS.validation_dir) and (
    FLAGS.validation_dir or FLAGS.dataset != ['synthetic']
  ):
    raise command_line.UsageError(
      '--validation_steps and --validation_dir belong together; give both or none.'
    )


def _usage(make):
  """What `make` returns; flags that do not fit their options are a matter of usage."""
  try:
    return make()
  except ValueError as error:
    raise command_line.UsageError(str(error)) from error


def _model_options():
  matching = 'local' if FLAGS.use_local_previous_frame_attention else 'global'
  return _usage(
    lambda: FeelvosOptions(
      model=ModelOptions(
        FLAGS.model_variant,
        FLAGS.output_stride,
        FLAGS.atrous_rates,
        FLAGS.multi_grid,
        FLAGS.depth_multiplier,
        FLAGS.add_image_level_feature,
        FLAGS.aspp_with_separable_conv,
        FLAGS.decoder_use_separable_conv,
        FLAGS.decoder_output_stride,
        fine_tune_batch_norm=FLAGS.fine_tune_batch_norm,
      ),
      embedding_dimension=FLAGS.embedding_dimension,
      head_dimension=FLAGS.embedding_seg_feature_dimension,
      head_layers=FLAGS.embedding_seg_n_layers,
      head_kernel_size=FLAGS.embedding_seg_kernel_size,
      head_atrous_rates=tuple(FLAGS.embedding_seg_atrous_rates) or None,
      k_nearest_neighbors=FLAGS.k_nearest_neighbors,
      use_first_frame_matching=FLAGS.use_first_frame_matching,
      previous_frame_matching=matching if FLAGS.also_attend_to_previous_frame else 'none',
      window_radius=FLAGS.previous_frame_attention_window_size,
      previous_prediction=(FLAGS.previous_prediction or 'labels')
      if FLAGS.use_softmax_feedback
      else 'none',
      other_object_distances=FLAGS.other_object_distances,
      max_reference_imbalance=FLAGS.max_reference_imbalance,
      internal_size=FLAGS.internal_size,
      frame_grid=FLAGS.output_stride if FLAGS.frame_grid is None else FLAGS.frame_grid or None,
    )
  )


def _num_classes():
  return FLAGS.num_classes if FLAGS.classification_loss == 'softmax' else 0


def _sample_options():
  crop = tuple(FLAGS.train_crop_size) * (2 if len(FLAGS.train_crop_size) == 1 else 1)
  same = (
    'min_scale_factor',
    'max_scale_factor',
    'scale_factor_step_size',
    'min_resize_value',
    'max_resize_value',
    'resize_factor',
    'flip_probability',
    'decoder_output_stride',
    'damage_initial_previous_frame_mask',
    'image_dtype',
    'seed',
    'paste_probability',
    'max_pasted_objects',
    'twin_probability',
    'occluder_probability',
    'aim_probability',
    'soft_paste',
    'confuse_probability',
    'max_frame_gap',
    'reverse_probability',
    'object_crop_probability',
    'color_strength',
    'look_strength',
    'max_objects',
  )
  return _usage(
    lambda: TripletOptions(
      crop_size=None if 0 in crop else crop,
      num_frames=FLAGS.train_num_frames_per_video,
      **{name: getattr(FLAGS, name) for name in same},
    )
  )


def _trainer_options():
  from feelvos_tf.training import losses
  from feelvos_tf.training import optimizer
  from feelvos_tf.training import schedule
  from feelvos_tf.training import step
  from feelvos_tf.training import trainer

  same = (
    'learning_policy',
    'base_learning_rate',
    'learning_rate_decay_factor',
    'learning_rate_decay_step',
    'training_number_of_steps',
    'learning_power',
    'end_learning_rate',
    'slow_start_step',
    'slow_start_learning_rate',
    'slow_start_burnin_type',
  )
  last = optimizer.LOGITS_ONLY if FLAGS.last_layers_contain_logits_only else optimizer.LAST_LAYERS
  return _usage(
    lambda: trainer.TrainerOptions(
      FLAGS.train_logdir,
      FLAGS.train_batch_size,
      schedule.ScheduleOptions(**{name: getattr(FLAGS, name) for name in same}),
      FLAGS.optimizer,
      optimizer.OptimizerOptions(
        FLAGS.momentum,
        FLAGS.clip_gradient_norm,
        FLAGS.last_layer_gradient_multiplier,
        last,
        FLAGS.backbone_rate_multiplier,
      ),
      step.LossOptions(
        FLAGS.classification_loss,
        FLAGS.train_max_neighbors_per_object or None,
        losses.HardMining(FLAGS.top_k_percent_pixels, FLAGS.hard_example_mining_step),
        FLAGS.weight_decay,
        FLAGS.upsample_logits,
        FLAGS.drop_previous_probability,
        FLAGS.matching_loss_weight,
        seed=FLAGS.seed,
      ),
      stop_at_step=FLAGS.stop_at_step,
      loss_scaling=FLAGS.precision == 'float16',
      average_over_devices=FLAGS.average_over_devices,
      log_steps=FLAGS.log_steps,
      save_interval_steps=FLAGS.save_interval_steps,
      save_interval_secs=FLAGS.save_interval_secs,
      validation_steps=FLAGS.validation_steps,
      max_to_keep=FLAGS.max_to_keep,
    )
  )


def _data_sets():
  """List of (data.DataSet, keyword arguments of data.source)."""
  count = len(FLAGS.dataset)
  per_set = {}
  for flag in ('first_frame_finetuning', 'three_frame_dataset', 'dataset_sampling_probabilities'):
    values = list(getattr(FLAGS, flag)) or [1.0]
    per_set[flag] = values * count if len(values) == 1 else values
    if len(per_set[flag]) != count:
      raise command_line.UsageError(
        f'{len(values)} --{flag} given; expected one, or one for each of the {count} data sets.'
      )
  found = []
  for index, name in enumerate(FLAGS.dataset):
    finetuning = bool(per_set['first_frame_finetuning'][index])
    data_set = _data_set(
      name,
      (FLAGS.dataset_dir or FLAGS.data_dir or [None])[index],
      'val' if finetuning else FLAGS.train_split,
    )
    found.append(
      (
        data_set,
        {
          'probability': per_set['dataset_sampling_probabilities'][index],
          'first_frame_finetuning': finetuning,
          'only_first_frame': finetuning and FLAGS.sample_only_first_frame_for_finetuning,
          'three_frames': bool(per_set['three_frame_dataset'][index]),
        },
      )
    )
  return found


def _validation_set():
  """(data.DataSet, videos, frames, longer side), or None."""
  if not FLAGS.validation_steps:
    return None
  data_set = _data_set(
    FLAGS.validation_dataset or FLAGS.dataset[0], FLAGS.validation_dir, FLAGS.validation_split
  )
  return data_set, FLAGS.validation_clips, FLAGS.validation_frames, FLAGS.validation_max_size


def _data_set(name, folder, split):
  from feelvos_tf.training import data

  where = {'records': folder} if FLAGS.dataset_dir else {'folder': folder}
  return _usage(lambda: data.DataSet(name, split=split, verify=FLAGS.verify_data, **where))


def _initial_weights():
  """(path, keyword arguments of initialization.initialize), or None."""
  if not FLAGS.tf_initial_checkpoint:
    return None
  return FLAGS.tf_initial_checkpoint, {
    'initialize_last_layer': FLAGS.initialize_last_layer,
    'last_layers_contain_logits_only': FLAGS.last_layers_contain_logits_only,
  }


if __name__ == '__main__':
  command_line.run(main, define_flags)

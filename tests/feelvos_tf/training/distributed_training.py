"""Trains a tiny model on one or two devices or as one of two workers; a script, not a test.

  python tests/feelvos_tf/training/distributed_training.py MODE OPTIMIZER LOGDIR OUTPUT.npz

MODE: one, mirrored (two logical CPUs), multi_worker (TF_CONFIG says which worker this is).
"""

import os
import pathlib
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3]))

import keras
import numpy as np
import tensorflow as tf

from feelvos_tf.datasets.clips import video_clips
from feelvos_tf.datasets.samples.triplets import Source
from feelvos_tf.datasets.samples.triplets import TripletOptions
from feelvos_tf.datasets.samples.triplets import Triplets
from feelvos_tf.datasets.sources.synthetic import synthetic_videos
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.training import schedule
from feelvos_tf.training import step
from feelvos_tf.training import strategy
from feelvos_tf.training.options import TrainerOptions
from feelvos_tf.training.trainer import Trainer

STEPS = 3


def place(mode):
  if mode != 'mirrored':
    return strategy.place(mode)
  (cpu,) = tf.config.list_physical_devices('CPU')
  tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
  return strategy.Placement(tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1']))


def main(mode, optimizer, logdir, output):
  placement = place(mode)
  keras.utils.set_random_seed(1)
  # Dropout's masks belong to devices, so equal results need it off; the workers keep it on.
  loss = step.LossOptions(dropout=mode == 'multi_worker')
  rate = 0.05 if optimizer == 'momentum' else 1e-3
  options = TrainerOptions(
    logdir,
    batch_size=2,
    optimizer=optimizer,
    loss=loss,
    stop_at_step=STEPS,
    log_steps=1,
    schedule=schedule.ScheduleOptions(base_learning_rate=rate),
  )
  samples = Triplets(
    [Source(video_clips(synthetic_videos(3, num_frames=4)))],
    TripletOptions(crop_size=(65, 65), image_dtype='uint8'),
  )
  with placement.strategy.scope():
    model = Feelvos(
      FeelvosOptions(
        ModelOptions('mobilenet_v2', depth_multiplier=0.35),
        embedding_dimension=8,
        head_dimension=8,
        head_layers=1,
        head_kernel_size=3,
        window_radius=3,
      )
    )
  named = tf1_checkpoint.variables_by_name(model)
  before = {f'before|{name}': variable.numpy() for name, variable in named.items()}
  trainer = Trainer(
    model, samples, options, placement.strategy, placement.num_workers, placement.worker
  )
  trainer.train()
  np.savez(output, **before, **{name: variable.numpy() for name, variable in named.items()})


if __name__ == '__main__':
  main(*sys.argv[1:])

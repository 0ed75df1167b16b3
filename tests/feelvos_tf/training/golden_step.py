"""Runs the training step of the golden data and writes what it computes; a script, not a test.

  python tests/feelvos_tf/training/golden_step.py output.npz [--dropmask]

It is a process of its own because the original ran without oneDNN, whose kernels round otherwise;
TF_ENABLE_ONEDNN_OPTS=0 has to be set before TensorFlow is loaded.

The fixed batch holds a defect of the original on purpose. It turns the labels of query frames into
indices, but leaves those of the reference as they are: video 1 has the reference ids {0, 2}, its
previous frame has {0, 1}, and local matching looks for object 2 where there is none. Here the
reference ids become indices as well (`golden_batch`), and object 1 is taken out of the labels that
local matching sees of video 1 (`reproduce_defect`). Video 0 is free of it.
"""

import os
import pathlib
import sys

os.environ['TF_ENABLE_ONEDNN_OPTS'] = '0'
ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests' / 'golden')]

import numpy as np
import tensorflow as tf
import weight_recipe

from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.training import optimizer
from feelvos_tf.training import schedule
from feelvos_tf.training import step as step_lib

NUM_OBJECTS = (3, 2)


def build_model():
  """Xception-65 FEELVOS with the weights of the golden data."""
  model = Feelvos(FeelvosOptions(ModelOptions('xception_65')))
  for name, variable in tf1_checkpoint.variables_by_name(model).items():
    variable.assign(weight_recipe.value(name, variable.shape))
  return model


def golden_batch(training):
  shape = (2, 3, 65, 65)
  labels = training['labels'].reshape(shape).copy()
  labels[1, 0][labels[1, 0] == 2] = 1
  return {
    'images': tf.constant(training['images'].reshape(*shape, 3)),
    'labels': tf.constant(labels),
    'num_objects': tf.constant(NUM_OBJECTS),
  }


def reproduce_defect(model):
  """Local matching does not find object 1 of the video with two indices; see above."""
  original = model.previous_frame

  def previous_frame_with_defect(embedding, labels, num_objects, probabilities=None):
    previous = original(embedding, labels, num_objects, probabilities)
    if int(num_objects) == 2:
      previous = previous._replace(labels=tf.where(labels == 1, -1, labels))
    return previous

  model.previous_frame = previous_frame_with_defect


def fix_dropout(model):
  """The mask of the golden data instead of a random one."""
  mask = (np.random.RandomState(1234).uniform(size=[6, 5, 5, 256]) < 0.9) / 0.9
  dropout = model.deeplab.get_layer('concat_projection_dropout')
  dropout.call = lambda inputs, training=False: inputs * mask


def compute(training, dropmask):
  """Dict of arrays, by `kind|name`."""
  model = build_model()
  reproduce_defect(model)
  if dropmask:
    fix_dropout(model)
  options = step_lib.LossOptions(max_neighbors_per_object=None, dropout=dropmask)
  variables = step_lib.trained_variables(model)
  batch = golden_batch(training)
  momentum = optimizer.MomentumOptimizer(variables)
  run = lambda step, data=batch: step_lib.gradients(model, variables, data, step, options)
  found = {}

  def keep(kind, values):
    found.update({f'{kind}|{name}': np.asarray(value) for name, value in zip(variables, values)})

  results, regularization, raw = run(0)
  keep('raw0', raw)
  keep('clipped0', momentum.process(raw))
  late = run(150000)[2]
  keep('raw150000', late)
  keep('clipped150000', momentum.process(late))
  found['regularization'] = regularization
  for video, result in enumerate(results):
    found[f'logits|{video}'] = result.logits
    found[f'maps|{video}'] = np.stack(
      [result.maps.global_distance, result.maps.previous_prediction, result.maps.local_distance],
      axis=-1,
    )
  for number, change in enumerate((1e-6, -1e-6)):
    data = {**batch, 'images': batch['images'] * (1 + change)}
    keep(f'perturbed{number}', run(0, data)[2])
  if not dropmask:
    found.update(two_updates(model, momentum, run, results, regularization, raw))
  return found


def two_updates(model, momentum, run, results, regularization, raw):
  """Two momentum steps; the first takes the gradients that are known already."""
  named = tf1_checkpoint.variables_by_name(model)
  found = {f'step0|{name}': variable.numpy() for name, variable in named.items()}
  for step in range(2):
    if step:
      results, regularization, raw = run(step)
    found[f'total{step + 1}'] = sum(float(r.loss) for r in results) + float(regularization)
    momentum.apply(raw, schedule.learning_rate(step))
    found.update({f'step{step + 1}|{name}': variable.numpy() for name, variable in named.items()})
    found.update(
      {f'step{step + 1}|{name}/Momentum': slot.numpy() for name, slot in momentum.slots.items()}
    )
  return found


def main(output, *flags):
  dropmask = '--dropmask' in flags
  name = 'train_xception_65_os16' + ('_dropmask' if dropmask else '')
  with np.load(ROOT / 'tests' / 'golden' / 'tf1' / f'{name}.npz') as training:
    np.savez(output, **compute(training, dropmask))


if __name__ == '__main__':
  main(*sys.argv[1:])

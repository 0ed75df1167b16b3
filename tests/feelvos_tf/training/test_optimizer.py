"""The optimizer against the training steps of the original."""

import keras
import numpy as np
import programs
import pytest
import tensorflow as tf

from feelvos_tf.training.optimizer import Adam
from feelvos_tf.training.optimizer import clip_by_own_norm
from feelvos_tf.training.optimizer import gradient_multiplier
from feelvos_tf.training.optimizer import MomentumOptimizer
from feelvos_tf.training.optimizer import rate_multiplier
from feelvos_tf.training.options import LOGITS_ONLY
from feelvos_tf.training.options import OptimizerOptions
from feelvos_tf.training.schedule import learning_rate

# Gradients of a training step are equal within so much (float noise of the network).
GRADIENT_TOLERANCE = 1e-3


@pytest.fixture(scope='module')
def training(golden):
  return golden.npz('tf1/train_xception_65_os16')


def tapped(training, prefix):
  """Variables of the golden step whose arrays are stored under `prefix`: name -> array."""
  return {
    key[len(prefix) + 1 :].replace('|', '/'): value
    for key, value in training.items()
    if key.startswith(prefix + '|')
  }


def test_multipliers_of_the_original(golden):
  meta = golden.json('tf1/train_xception_65_os16_meta')
  assert set(LOGITS_ONLY) < set(OptimizerOptions().last_layers) == set(meta['last_layers'])
  for name in meta['trainable']:
    assert gradient_multiplier(name) == meta['gradient_multipliers'].get(name, 1.0), name


def test_last_layer_multiplier():
  options = OptimizerOptions(last_layer_gradient_multiplier=10.0)
  assert gradient_multiplier('aspp1_depthwise/depthwise_weights', options) == 10
  assert gradient_multiplier('logits/semantic/biases', options) == 20
  assert gradient_multiplier('embedding/split_separable_conv2d_pointwise/biases', options) == 2
  only = OptimizerOptions(last_layer_gradient_multiplier=10.0, last_layers=LOGITS_ONLY)
  assert gradient_multiplier('aspp0/weights', only) == 1
  assert gradient_multiplier('logits/semantic/weights', only) == 10


def test_backbone_has_a_rate_of_its_own():
  options = OptimizerOptions(backbone_rate_multiplier=0.25)
  assert rate_multiplier('MobilenetV2/Conv/weights', options) == 0.25
  assert rate_multiplier('xception_65/entry_flow/conv1_1/weights', options) == 0.25
  for scope in (
    'aspp1_depthwise',
    'image_pooling',
    'decoder/decoder_conv0_depthwise',
    'embedding',
    'embedding_seg/split_separable_conv2d_0_depthwise',
    'logits',
  ):
    assert rate_multiplier(f'{scope}/weights', options) == 1.0
  assert rate_multiplier('MobilenetV2/Conv/weights') == 1.0


@pytest.mark.parametrize('kind', ['momentum', 'adam'])
def test_rates_of_backbone_and_new_layers(kind):
  names = (
    'MobilenetV2/Conv/weights',
    'decoder/weights',
    'aspp0/weights',
    'MobilenetV2/expanded_conv/project/weights',
  )
  options = OptimizerOptions(backbone_rate_multiplier=0.25)

  def moved(options):
    variables = {name: keras.Variable([1.0, -2.0]) for name in names}
    gradients = [tf.constant([0.5, 0.25])] * len(names)
    if kind == 'momentum':
      optimizer = MomentumOptimizer(variables, options)
      step = lambda: optimizer.apply(gradients, 0.1)
    else:
      optimizer = Adam(variables, options, learning_rate=0.1)
      step = lambda: optimizer.apply_gradients(zip(gradients, variables.values()))
    for _ in range(3):
      step()
    return {name: np.array(variable) - [1.0, -2.0] for name, variable in variables.items()}

  slow, plain = moved(options), moved(OptimizerOptions())
  for name in names:
    assert np.abs(plain[name]).min() > 0.1
    factor = 0.25 if name.startswith('MobilenetV2') else 1.0
    np.testing.assert_allclose(slow[name], factor * plain[name], rtol=1e-5)


def test_gradients_are_doubled_and_clipped_as_in_the_original(training):
  raw, expected = tapped(training, 'gradraw'), tapped(training, 'grad')
  optimizer = MomentumOptimizer({name: tf.Variable(value) for name, value in raw.items()})
  processed = optimizer.process([tf.constant(value) for value in raw.values()])
  norms = {name: np.linalg.norm(value) for name, value in expected.items()}
  for name, gradient in zip(optimizer.names, processed):
    # Where the original stored both, they come from one run: equal up to rounding.
    np.testing.assert_allclose(gradient, expected[name], rtol=1e-5, atol=1e-6 * norms[name] + 1e-9)


@pytest.mark.parametrize('step', (0, 150000))
def test_gradient_norms_of_the_original(golden, step):
  norms = golden.json(f'tf1/train_xception_65_os16_gradnorms_step{step}')
  assert any(clipped > 4.999 < before for before, clipped in norms.values())
  optimizer = MomentumOptimizer({name: tf.Variable([0.0]) for name in norms})
  processed = optimizer.process([tf.constant([before]) for before, _ in norms.values()])
  np.testing.assert_allclose(
    [float(gradient[0]) for gradient in processed],
    [after for _, after in norms.values()],
    rtol=1e-5,
  )


def test_one_step_of_the_original(golden, training):
  import weight_recipe

  gradients = tapped(training, 'grad')
  expected, slots = tapped(training, 'step1|var'), tapped(training, 'step1|momentum')
  named = {name: tf.Variable(weight_recipe.value(name, expected[name].shape)) for name in expected}
  initial = {name: variable.numpy() for name, variable in named.items()}
  # The stored gradients are already doubled and clipped.
  plain = OptimizerOptions(clip_gradient_norm=0.0)
  optimizer = MomentumOptimizer(named, plain)
  optimizer.apply(
    [gradients[name] / gradient_multiplier(name) for name in named],
    learning_rate(optimizer.iterations),
  )
  for name, variable in named.items():
    change, golden_change = variable - initial[name], expected[name] - initial[name]
    scale = np.abs(golden_change).max() + 1e-7
    assert np.abs(change - golden_change).max() / scale < GRADIENT_TOLERANCE, name
    np.testing.assert_allclose(
      optimizer.slots[name], slots[name], rtol=1e-4, atol=1e-4 * np.abs(slots[name]).max()
    )


def test_momentum_recurrence_with_a_falling_rate():
  weight, value, slot = tf.Variable([2.0]), 2.0, 0.0
  optimizer = MomentumOptimizer([('w/weights', weight)])
  for step, (gradient, rate) in enumerate([(1.0, 0.1), (-2.0, 0.05), (0.5, 0.01)]):
    assert int(optimizer.iterations) == step
    optimizer.apply([tf.constant([gradient])], rate)
    slot = 0.9 * slot + gradient
    value -= rate * slot
    np.testing.assert_allclose(weight.numpy(), value, rtol=1e-6)


def test_clipping_is_per_variable():
  np.testing.assert_allclose(clip_by_own_norm(tf.constant([30.0, 40.0]), 5.0), [3, 4], rtol=1e-6)
  np.testing.assert_allclose(clip_by_own_norm(tf.constant([0.3, 0.4]), 5.0), [0.3, 0.4], rtol=1e-6)
  np.testing.assert_allclose(clip_by_own_norm(tf.constant([30.0, 40.0]), 0.0), [30, 40])
  optimizer = MomentumOptimizer([('a/biases', tf.Variable([0.0])), ('b', tf.Variable([0.0]))])
  big, small = optimizer.process([tf.constant([100.0]), tf.constant([0.5])])
  assert float(big[0]) == 5.0 and float(small[0]) == 0.5


def test_a_variable_without_gradient_stays():
  kept, moved = tf.Variable([1.0]), tf.Variable([1.0])
  optimizer = MomentumOptimizer([('kept', kept), ('moved', moved)])
  optimizer.apply([None, tf.constant([1.0])], 0.1)
  assert kept.numpy() == [1.0] and moved.numpy() == [np.float32(0.9)]


def test_keras_variables_in_a_compiled_step():
  import keras

  layer = keras.layers.Dense(1)
  layer.build((None, 2))
  named = [(variable.path, variable) for variable in layer.trainable_variables]
  optimizer = MomentumOptimizer(named)

  @tf.function
  def step(inputs):
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean((layer(inputs) - 1.0) ** 2)
    optimizer.apply(tape.gradient(loss, optimizer.targets), 0.05)
    return loss

  values = [float(step(tf.ones([4, 2]))) for _ in range(60)]
  assert values[-1] < 1e-2 * values[0] and int(optimizer.iterations) == 60


def test_checkpoint_resumes_exactly(tmp_path, rng):
  gradients = rng.normal(size=(6, 3)).astype(np.float32)

  def build(order):
    named = {name: tf.Variable(np.ones(3, np.float32)) for name in order}
    return named, MomentumOptimizer(named)

  named, optimizer = build(['a', 'b'])
  for index, gradient in enumerate(gradients):
    if index == 3:
      path = tf.train.Checkpoint(model=named, optimizer=optimizer).save(tmp_path / 'ckpt')
    optimizer.apply([gradient, 2 * gradient], learning_rate(optimizer.iterations))
  # Another process may list the variables in another order.
  resumed, second = build(['b', 'a'])
  tf.train.Checkpoint(model=resumed, optimizer=second).restore(path).assert_consumed()
  for gradient in gradients[3:]:
    second.apply([2 * gradient, gradient], learning_rate(second.iterations))
  for name, variable in named.items():
    np.testing.assert_array_equal(variable.numpy(), resumed[name].numpy())


TWO_REPLICAS = """
import sys
import tensorflow as tf
from feelvos_tf.training.optimizer import MomentumOptimizer
from feelvos_tf.training.options import OptimizerOptions

cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
with strategy.scope():
  weight = tf.Variable([1.0])
  optimizer = MomentumOptimizer(
      [('w', weight)], OptimizerOptions(backbone_rate_multiplier=float(sys.argv[1])))

def replica():
  index = tf.distribute.get_replica_context().replica_id_in_sync_group
  optimizer.apply([tf.reshape(tf.cast(index, tf.float32) + 1.0, [1])], 0.1)

tf.function(lambda: strategy.run(replica))()
print('result', [round(float(v[0]), 5) for v in strategy.experimental_local_results(weight)],
      int(optimizer.iterations.numpy()))
"""


@pytest.mark.parametrize('multiplier, weight', [(1.0, 0.7), (0.5, 0.85)])
def test_replicas_add_up_their_gradients(multiplier, weight):
  # In a process of its own: logical devices can only be set up before TensorFlow starts.
  finished = programs.run_code(TWO_REPLICAS, multiplier)
  assert finished.returncode == 0, finished.stderr[-2000:]
  # 1 - 0.1 * multiplier * (1 + 2), on both replicas, in one step.
  assert finished.stdout.split('result ')[1].strip() == f'[{weight}, {weight}] 1'


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'momentum': 1.0}, 'momentum is 1.0; it must lie in'),
    ({'clip_gradient_norm': -1.0}, 'clip_gradient_norm is -1.0'),
    ({'last_layer_gradient_multiplier': float('inf')}, 'last_layer_gradient_multiplier is inf'),
    ({'backbone_rate_multiplier': -0.1}, 'backbone_rate_multiplier is -0.1'),
  ],
)
def test_bad_options_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    OptimizerOptions(**fields)


def test_bad_calls_are_refused():
  with pytest.raises(ValueError, match='given no variable'):
    MomentumOptimizer([])
  with pytest.raises(ValueError, match='names given twice: w;'):
    MomentumOptimizer([('w', tf.Variable([1.0])), ('w', tf.Variable([1.0]))])
  optimizer = MomentumOptimizer([('w', tf.Variable([1.0]))])
  with pytest.raises(ValueError, match='2 gradients for 1 variables'):
    optimizer.apply([tf.constant([1.0])] * 2, 0.1)
  with pytest.raises(ValueError, match='every gradient is None'):
    optimizer.apply([None], 0.1)

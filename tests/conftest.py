"""Shared fixtures: golden data and models of the original, seeded numpy, quiet TensorFlow."""

import functools
import gc
import gzip
import json
import os
import pathlib
import signal
import sys
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the packages do.
if 'PYTEST_XDIST_WORKER_COUNT' in os.environ:  # Processes of pytest-xdist share the cores.
  threads = max(1, (os.cpu_count() or 1) // int(os.environ['PYTEST_XDIST_WORKER_COUNT']))
  # Not the threads between operations: with one, a function that never ends would block all others.
  os.environ.setdefault('TF_NUM_INTRAOP_THREADS', str(threads))

import numpy as np
import programs
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / 'tests' / 'golden'
sys.path.insert(0, str(GOLDEN))  # weight_recipe.py

# What a shell starts in the background ignores Ctrl-C, and so would the programs that tests
# interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)


# Reasons for which CI may skip a test: what a machine or an extra lacks. With FEELVOS_STRICT_SKIPS
# set, as .ci/run does, any other reason fails the run.
ALLOWED_SKIPS = (
  'set DAVIS_ROOT to',
  'set FEELVOS_EVALUATION_GOLDEN to',
  'no Chromium',
  'no H.264 encoder',
  'no ffmpeg on this machine',
  'no Node.js on this machine',
  'this PyAV',
  'this file system',
  'needs curl',
  'needs g++',
  'needs the extra [models]',
  'apache-beam is not installed',
  "could not import 'matplotlib'",
  "could not import 'pycocotools",
  "could not import 'tensorboard'",
  "could not import 'datumaro'",
  "could not import 'schemathesis'",
  "could not import 'vos_benchmark",
  "could not import 'tritonclient",
  'ray is not installed',
)


def pytest_collection_finish():
  """Imported modules and collected tests stay until the end: the garbage collector skips them.

  And it comes less often: building and tracing models makes many objects, few of them garbage.
  """
  gc.collect()
  gc.freeze()
  gc.set_threshold(20_000, 10, 10)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
  """Tests that share a model run in one process; see `scheduling`."""
  if config.getoption('dist') != 'loadfile':
    return None
  from scheduling import Scheduling

  return Scheduling(config, log)


def unexpected_skips(reports):
  """(test, reason) of the skipped reports whose reason is not in ALLOWED_SKIPS."""
  reasons = [(report.nodeid, report.longrepr[2].removeprefix('Skipped: ')) for report in reports]
  return [(name, why) for name, why in reasons if not why.startswith(ALLOWED_SKIPS)]


def pytest_runtest_logreport(report):
  """Names what failed at once: a run that is ended from outside never comes to its summary."""
  if report.failed and 'PYTEST_XDIST_WORKER' not in os.environ:
    print(f'\nfailed ({report.when}): {report.nodeid}', file=sys.__stderr__, flush=True)


def pytest_terminal_summary(terminalreporter):
  for name, why in unexpected_skips(terminalreporter.stats.get('skipped', [])):
    terminalreporter.write_line(f'unexpected skip: {name}: {why}')


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
  reporter = session.config.pluginmanager.get_plugin('terminalreporter')
  if not os.environ.get('FEELVOS_STRICT_SKIPS') or reporter is None or session.exitstatus:
    return
  if unexpected_skips(reporter.stats.get('skipped', [])):
    session.exitstatus = pytest.ExitCode.TESTS_FAILED


class GoldenData:
  """Access to tests/golden: `npz('tf1/matching')`, `json('tf1/vars/xception_65_infer')`."""

  root = GOLDEN

  def path(self, name):
    return GOLDEN / name

  def npz(self, name):
    """All arrays of tests/golden/<name>.npz as a dict."""
    with np.load(GOLDEN / f'{name}.npz', allow_pickle=False) as archive:
      return {key: archive[key] for key in archive.files}

  def json(self, name):
    """The object stored in tests/golden/<name>.json.gz."""
    with gzip.open(GOLDEN / f'{name}.json.gz', 'rt', encoding='utf-8') as stream:
      return json.load(stream)


@pytest.fixture(scope='session', autouse=True)
def user_cache(tmp_path_factory):
  """Keeps the user's cache folder out of the tests; programs that they start inherit it."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
    yield


@pytest.fixture(autouse=True)
def ordinary_scheduling():
  """Fails a test after which this process comes before all others, as some encoders arrange it."""
  yield
  if not hasattr(os, 'sched_getscheduler'):
    return
  # Whoever runs the tests may have chosen one that comes after all others (SCHED_IDLE).
  if os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    pytest.fail('this test left the process with real-time scheduling')


@pytest.fixture(scope='session')
def golden():
  return GoldenData()


@pytest.fixture
def rng():
  return np.random.default_rng(20190225)


@pytest.fixture(scope='session')
def davis_root():
  """A local DAVIS copy (set DAVIS_ROOT); tests that need it are skipped without it."""
  root = os.environ.get('DAVIS_ROOT')
  if not root or not pathlib.Path(root).is_dir():
    pytest.skip('set DAVIS_ROOT to a DAVIS folder (JPEGImages, Annotations) to run this test')
  return pathlib.Path(root)


@pytest.fixture(scope='session')
def golden_checkpoint(golden, tmp_path_factory):
  """Function: model variant -> prefix of a TF1 checkpoint with the weight recipe's values.

  The names are those a checkpoint of the original's inference graph holds.
  """
  import weight_recipe

  from feelvos_tf.deeplab import tf1_checkpoint

  @functools.cache
  def write(variant):
    prefix = str(tmp_path_factory.mktemp(variant) / 'model.ckpt-7')
    tf1_checkpoint.write_tensors(
      prefix,
      {
        entry['name']: weight_recipe.value(entry['name'], entry['shape'])
        for entry in golden.json(f'tf1/vars/{variant}_infer')
      },
    )
    return prefix

  return write


@pytest.fixture(scope='session')
def golden_model(golden_checkpoint):
  """Function: (model variant, output stride) -> Feelvos with the golden checkpoint's weights."""
  from feelvos_tf.deeplab import ModelOptions
  from feelvos_tf.deeplab import tf1_checkpoint
  from feelvos_tf.model.feelvos import Feelvos
  from feelvos_tf.model.options import FeelvosOptions

  @functools.cache
  def build(variant='xception_65', output_stride=16):
    model = Feelvos(FeelvosOptions(ModelOptions(variant, output_stride=output_stride)))
    report = tf1_checkpoint.restore(golden_checkpoint(variant), model)
    assert report.complete, report.summary()
    return model

  return build


@pytest.fixture(scope='session')
def golden_graph(golden_model):
  """Inference graph of the golden Xception-65 at output stride 16; tracing takes seconds."""
  from feelvos_tf.inference import graph

  return graph.InferenceGraph(golden_model('xception_65', 16))


@pytest.fixture(scope='session')
def default_graph():
  """Inference graph of the default model, which sees frames as they are: it would enlarge them."""
  from feelvos_tf.inference import graph
  from feelvos_tf.model.weights import load_model

  return graph.InferenceGraph(load_model(internal_size=None))


@pytest.fixture(scope='session')
def copying_graph(copying_model):
  """Inference graph of `copying_model`."""
  from feelvos_tf.inference import graph

  return graph.InferenceGraph(copying_model)


@pytest.fixture(scope='session')
def copying_model():
  """A tiny Feelvos whose logits are 10 times the previous prediction.

  So every mask is the first one at stride 4, whatever the frames show: what goes in and what
  comes out can be compared exactly.
  """
  import keras

  from feelvos_tf.deeplab import ModelOptions
  from feelvos_tf.model.feelvos import Feelvos
  from feelvos_tf.model.options import FeelvosOptions

  keras.utils.set_random_seed(1)
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
  depthwise, pointwise, logit = model.head.depthwise[0], model.head.pointwise[0], model.head.logit
  for layer, index, value in (
    (depthwise, (1, 1, 257, 0), 1.0),
    (pointwise, (0, 0, 257, 0), 1.0),
    (logit, (0, 0, 0, 0), 10.0),
  ):
    kernel = layer.weights[0]
    array = np.zeros(kernel.shape, np.float32)
    array[index] = value
    kernel.assign(array)
    layer.bias.assign(np.zeros(layer.bias.shape, np.float32))
  return model


@pytest.fixture(scope='session')
def copying_weights(copying_model, tmp_path_factory):
  """The file of `copying_model`, as `--model` takes it."""
  from feelvos_tf.model.weights import save_model

  path = tmp_path_factory.mktemp('weights') / 'copying.h5'
  save_model(path, copying_model)
  return path


@pytest.fixture(scope='session')
def run_main():
  """Function: (module, *flags) -> finished process of `python -m module flags`.

  See `programs`: the process is forked where TensorFlow is imported already.
  """
  return programs.run


@pytest.fixture(scope='session')
def wait_for():
  """Function: condition -> its first true value; fails if there is none for a minute."""

  def wait(condition):
    for _ in range(600):
      value = condition()
      if value:
        return value
      time.sleep(0.1)
    raise AssertionError('nothing happened for a minute')

  return wait

"""Versions: found, replaced without dropping who uses them, reported when broken."""

import json
import pathlib
import shutil
import time
import types

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from feelvos_tf.saved_model import version_folder
from feelvos_tf.serving import app
from feelvos_tf.serving import errors
from feelvos_tf.serving import model_store
from feelvos_tf.serving import version_folders
from feelvos_tf.serving import warmup
from feelvos_tf.serving.options import ServingOptions

from .conftest import halves_and_two
from .conftest import running


@pytest.fixture(scope='module')
def half(tmp_path_factory):
  path = tmp_path_factory.mktemp('half') / '1'
  halves_and_two(path)
  return path


@pytest.fixture
def add(half, tmp_path):
  """Function: puts version `number` of the model `half` into tmp_path."""

  def add(number):
    return shutil.copytree(half, tmp_path / 'half' / str(number))

  return add


@pytest.fixture
def store(add, tmp_path):
  add(1)
  store = model_store.ModelStore(tmp_path)
  store.load()
  return store


def states(store):
  return {version.number: version.state for version in store.status('half')}


def test_a_new_version_takes_over_and_the_old_one_stays_for_its_users(store, add):
  one, two = store.lease('half'), store.lease('half')
  add(2)
  assert [version.number for version in store.refresh()] == [2]
  assert store.names() == {'half': 2}
  assert store.lease('half').version.number == 2
  assert states(store) == {2: 'AVAILABLE', 1: 'UNLOADING'}
  with pytest.raises(errors.RequestError, match=r'Specific\(half, 1\)'):
    store.lease('half', 1)
  one.release()
  one.release()  # Twice is once.
  assert two.version.model is not None and states(store)[1] == 'UNLOADING'
  two.release()
  assert two.version.model is None and states(store) == {2: 'AVAILABLE', 1: 'END'}


def test_a_request_without_a_model_gets_the_one_of_its_speed(half, tmp_path):
  for name, speed in (('a', 'fast'), ('b', 'balanced'), ('c', None)):
    folder = shutil.copytree(half, tmp_path / name / '1')
    if speed:
      (folder / 'model.json').write_text(json.dumps({'speed': speed}))
  store = model_store.ModelStore(tmp_path)
  store.load()
  assert store.speeds() == {'a': 'fast', 'b': 'balanced', 'c': None}
  assert [store.choose(None, 'balanced'), store.choose(None, 'fast')] == ['b', 'a']
  assert store.choose('fast', 'balanced') == 'a'
  with pytest.raises(errors.RequestError, match='exported for best; .* for balanced, fast'):
    store.choose('best', 'balanced')
  with pytest.raises(errors.RequestError, match='has the models a, b, c; say which'):
    store.choose(None, 'best')


def test_a_folder_that_cannot_be_read_is_no_model(tmp_path, monkeypatch):
  """`lost+found` of a disk that is mounted for the models: the server did not start."""
  (tmp_path / 'lost+found').mkdir()
  look = pathlib.Path.iterdir

  def iterdir(path):
    if path.name == 'lost+found':
      raise PermissionError(13, 'Permission denied')  # Also of who may read all, as root.
    return look(path)

  monkeypatch.setattr(pathlib.Path, 'iterdir', iterdir)
  with pytest.raises(ValueError, match=r'in it \(lost\+found cannot be read\); write one with'):
    version_folders.find_models(tmp_path)
  (tmp_path / 'half' / '1').mkdir(parents=True)
  (tmp_path / 'half' / '1' / 'saved_model.pb').touch()
  assert [model.name for model in version_folders.find_models(tmp_path)] == ['half']


def test_a_model_that_cannot_be_read_is_in_the_log_once(store, tmp_path, monkeypatch, caplog):
  """It may be one that somebody waits for: what is loaded goes on, and the reason is said."""
  problems, look = [PermissionError(13, 'Permission denied')], pathlib.Path.iterdir
  folder = tmp_path.resolve() / 'half'

  def iterdir(path):
    if path == folder:
      raise problems[-1]
    return look(path)

  monkeypatch.setattr(pathlib.Path, 'iterdir', iterdir)
  for _ in range(3):
    assert store.refresh() == [] and store.names() == {'half': 1}
  (record,) = caplog.records
  assert record.getMessage().endswith(f'{folder}: [Errno 13] Permission denied')
  problems.append(OSError(116, 'Stale file handle'))
  store.refresh()
  assert caplog.records[-1].getMessage().endswith('[Errno 116] Stale file handle')


def test_a_model_that_cannot_be_read_does_not_keep_the_next_one_waiting(
  add, tmp_path, monkeypatch, caplog
):
  """Of the models of a configuration file; those after it were neither loaded nor renewed."""
  add(1)
  locked, look = tmp_path / 'locked', pathlib.Path.iterdir
  locked.mkdir()

  def iterdir(path):
    if path == locked:
      raise PermissionError(13, 'Permission denied')
    return look(path)

  monkeypatch.setattr(pathlib.Path, 'iterdir', iterdir)
  models = [
    version_folders.ServedModel('locked', locked),
    version_folders.ServedModel('half', tmp_path / 'half'),
  ]
  store = model_store.ModelStore(None, models=models)
  store.load()
  assert store.names() == {'half': 1}
  assert f'nothing new is served from {locked}: [Errno 13] Permission denied' in caplog.messages
  add(2)
  assert [version.number for version in store.refresh()] == [2]
  alone = model_store.ModelStore(None, models=models[:1])
  with pytest.raises(ValueError, match=r'locked: \[Errno 13\] Permission denied'):
    alone.load()


def test_what_lasts_is_in_the_log_once(caplog):
  """A folder of models that is out of reach wrote a traceback every second."""
  stale = lambda: OSError('stale')
  bug = KeyError('x')  # The first one has no text.
  tries, problems = [], [OSError(), stale(), stale(), None, stale(), bug, KeyError('x')]

  def refresh():
    tries.append(len(tries))
    if len(tries) <= len(problems) and problems[tries[-1]]:
      raise problems[tries[-1]]

  options = ServingOptions(file_system_poll_wait_seconds=0.001)
  with running(options, types.SimpleNamespace(names=dict, refresh=refresh)):
    while len(tries) <= len(problems):
      time.sleep(0.001)
  found = [record for record in caplog.records if record.name == app.__name__]
  assert [record.getMessage().rpartition(': ')[2] for record in found] == [
    'OSError()',
    'stale',
    'stale',
    "'x'",
  ]
  assert [record.levelname for record in found] == ['WARNING'] * 3 + ['ERROR']
  assert [record.exc_info and record.exc_info[1] for record in found] == [False] * 3 + [bug]


def test_warm_up_requests_of_another_project(tmp_path):
  """Most name no signature; some are of methods that are not here. The model was not served."""
  one, two, other = (prediction_log_pb2.PredictionLog() for _ in range(3))
  for log, name, value in ((one, '', 1.0), (two, 'twice', 2.0)):
    request = log.predict_log.request
    request.model_spec.signature_name = name
    request.inputs['x'].CopyFrom(tf.make_tensor_proto([value]))
  other.regress_log.request.model_spec.name = 'half'
  path = tmp_path / version_folder.WARMUP_PATH
  path.parent.mkdir()
  with tf.io.TFRecordWriter(str(path)) as writer:
    for log in (other, one, two):
      writer.write(log.SerializeToString())
  ran = []
  signature = lambda name: lambda x: ran.append((name, float(x[0])))
  signatures = {name: signature(name) for name in ('serving_default', 'twice')}
  warmup.run(types.SimpleNamespace(signatures=signatures, keeps_state=False), tmp_path)
  assert ran == [('serving_default', 1.0), ('twice', 2.0)]


def test_an_old_version_without_users_is_unloaded_at_once(store, add):
  add(5)
  store.refresh()
  assert states(store) == {5: 'AVAILABLE', 1: 'END'}
  assert store.refresh() == []


def test_a_removed_version_gives_way_to_the_one_before(store, add):
  newest = add(2)
  store.refresh()
  shutil.rmtree(newest)
  assert [version.number for version in store.refresh()] == [1]
  assert store.names() == {'half': 1} and states(store) == {2: 'END', 1: 'AVAILABLE'}


class Clock:
  def __init__(self):
    self.seconds = 0.0

  def __call__(self):
    return self.seconds


def test_a_broken_version_is_reported_and_the_one_before_is_served(store, add, tmp_path):
  (add(2) / 'saved_model.pb').write_bytes(b'nonsense')
  assert store.refresh() == []
  assert store.names() == {'half': 1}
  assert states(store) == {2: 'END', 1: 'AVAILABLE'}
  assert 'cannot be loaded as a SavedModel' in store.status('half')[0].error
  assert store.refresh() == [] and len(store.status('half')) == 2
  add(3)
  store.refresh()
  assert store.names() == {'half': 3}


def test_a_damaged_newest_version_does_not_stop_a_start(add, tmp_path):
  add(1)
  (add(2) / 'saved_model.pb').write_bytes(b'nonsense')
  store = model_store.ModelStore(tmp_path)
  store.load()
  assert store.names() == {'half': 1} and states(store) == {2: 'END', 1: 'AVAILABLE'}


def test_a_version_that_was_seen_half_copied_is_tried_again(store, add):
  graph = add(2) / 'saved_model.pb'
  whole = graph.read_bytes()
  graph.write_bytes(whole[: len(whole) // 2])
  store.refresh()
  graph.write_bytes(whole[: len(whole) * 2 // 3])
  assert store.refresh() == []  # It may still be copied.
  graph.write_bytes(whole)
  assert store.refresh() == []
  assert [version.number for version in store.refresh()] == [2]
  assert states(store) == {2: 'AVAILABLE', 1: 'END'} and store.status('half')[0].error == ''


def test_loading_is_tried_again_some_times(add, tmp_path, monkeypatch):
  """What fails for another reason than its files: too little memory, a file system that is slow."""
  add(1)
  clock, tried = Clock(), []
  store = model_store.ModelStore(tmp_path, retries=2, retry_seconds=60.0, clock=clock)
  store.load()
  add(2)
  load = model_store.exported_model.ExportedModel
  fail = lambda folder: tried.append(folder.name) or 1 / 0
  monkeypatch.setattr(model_store.exported_model, 'ExportedModel', fail)
  for _ in range(5):
    store.refresh(), store.refresh()
    clock.seconds += 60
  assert tried == ['2'] * 3 and store.names() == {'half': 1}
  first, second = (str((tmp_path / 'half' / number).resolve()) for number in '12')
  assert store.load_attempts == {(first, True): 1, (second, False): 3}
  monkeypatch.setattr(model_store.exported_model, 'ExportedModel', load)
  assert store.refresh() == []
  store = model_store.ModelStore(tmp_path)
  store.load()
  assert store.names() == {'half': 2}


def test_a_model_that_cannot_be_loaded_is_set_aside(add, tmp_path):
  add(1)
  other = shutil.copytree(tmp_path / 'half', tmp_path / 'other')
  (other / '1' / 'saved_model.pb').write_bytes(b'nonsense')
  store = model_store.ModelStore(tmp_path)
  store.load()
  assert store.names() == {'half': 1}
  assert 'cannot be loaded as a SavedModel' in store.status('other')[0].error


def parses_a_scalar(path):
  """Writes a model of TensorFlow 1 whose ParseExample has a scalar, which today's shapes refuse."""
  v1 = tf.compat.v1
  with v1.Graph().as_default(), v1.Session() as session:
    text = v1.placeholder(tf.string, None, 'text')
    x = tf.raw_ops.ParseExample(
      serialized=text,
      names=[],
      sparse_keys=[],
      dense_keys=['x'],
      dense_defaults=[tf.constant([], tf.float32)],
      sparse_types=[],
      dense_shapes=[[1]],
    )
    v1.saved_model.simple_save(session, str(path), {'text': text}, {'y': x.dense_values[0] * 2})
  graph = path / 'saved_model.pb'
  model = saved_model_pb2.SavedModel.FromString(graph.read_bytes())
  (node,) = (n for n in model.meta_graphs[0].graph_def.node if n.name == 'text')
  node.attr['shape'].shape.Clear()
  graph.write_bytes(model.SerializeToString())


def test_a_model_that_parses_a_scalar_is_set_aside_with_one_line(add, tmp_path, caplog):
  add(1)
  parses_a_scalar(tmp_path / 'old' / '1')
  store = model_store.ModelStore(tmp_path)
  store.load()
  assert store.names() == {'half': 1}
  assert 'Shape must be rank 1 but is rank 0' in store.status('old')[0].error
  (line,) = [r.getMessage() for r in caplog.records if r.name == model_store.__name__]
  assert line.startswith('old version 1 is not served: ') and '\n' not in line


def test_which_versions_are_served(add, tmp_path):
  for number in (1, 2, 3):
    add(number)
  folder = tmp_path / 'half'
  served = version_folders.ServedModel
  for model, expected in (
    (served('a', folder), [3]),
    (served('a', folder, latest=2), [3, 2]),
    (served('a', folder, latest=0, versions=(1, 3, 7)), [3, 1]),
    (served('a', folder, latest=0), [3, 2, 1]),
  ):
    store = model_store.ModelStore('', warm_up=False, models=[model])
    store.load()
    assert store.served() == {'a': expected}
    for number in (1, 2, 3):
      if number in expected:
        with store.leased('a', number) as version:
          assert version.number == number
      else:
        with pytest.raises(errors.RequestError, match='Servable not found'):
          store.lease('a', number)
  # The last one serves all; another configuration takes over.
  lease = store.lease('a', 1)
  store.configure([served('b', folder, labels=(('stable', 3),))])
  assert store.served() == {'b': [3]} and store.labelled('b', 'stable') == 3
  assert lease.version.model is not None
  lease.release()
  assert lease.version.model is None


def test_everything_gone_changes_nothing(store, tmp_path):
  shutil.rmtree(tmp_path / 'half')
  assert store.refresh() == []
  assert store.names() == {'half': 1}


def test_a_model_folder_itself_and_folders_that_are_none(add, tmp_path):
  add(1)
  (tmp_path / 'half' / '.2.123.tmp').mkdir()
  (tmp_path / 'half' / '3').mkdir()  # Nothing in it yet.
  (tmp_path / 'notes.txt').touch()
  for number in (str(2**63), '\u0663'):  # Numbers that no request can name.
    (tmp_path / 'half' / number).mkdir()
    (tmp_path / 'half' / number / 'saved_model.pb').touch()
  for root in (tmp_path, tmp_path / 'half'):
    (found,) = version_folders.find_models(root)
    assert (found.name, found.folder) == ('half', tmp_path / 'half')
    assert version_folders.versions_in(found.folder) == {1: tmp_path / 'half' / '1'}


def test_nothing_to_serve(tmp_path):
  for path, message in ((tmp_path / 'none', 'no such folder'), (tmp_path, 'no <name>/<version>/')):
    with pytest.raises(ValueError, match=message):
      model_store.ModelStore(path).load()


def test_a_broken_first_version_is_an_error(add, tmp_path):
  (add(1) / 'saved_model.pb').write_bytes(b'nonsense')
  with pytest.raises(ValueError, match='cannot be loaded as a SavedModel'):
    model_store.ModelStore(tmp_path).load()

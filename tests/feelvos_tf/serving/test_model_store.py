"""Versions: found, replaced without dropping who uses them, reported when broken."""

import shutil

import pytest

from feelvos_tf.serving import errors
from feelvos_tf.serving import model_store
from feelvos_tf.serving import version_folders

from .conftest import halves_and_two


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


def test_a_broken_version_is_reported_and_left_aside(store, add, tmp_path):
  (add(2) / 'saved_model.pb').write_bytes(b'nonsense')
  assert store.refresh() == []
  assert store.names() == {'half': 1}
  assert states(store) == {2: 'END', 1: 'AVAILABLE'}
  assert 'cannot be loaded as a SavedModel' in store.status('half')[0].error
  assert store.refresh() == [] and len(store.status('half')) == 2
  add(3)
  store.refresh()
  assert store.names() == {'half': 3}


def test_everything_gone_changes_nothing(store, tmp_path):
  shutil.rmtree(tmp_path / 'half')
  assert store.refresh() == []
  assert store.names() == {'half': 1}


def test_a_model_folder_itself_and_folders_that_are_none(add, tmp_path):
  add(1)
  (tmp_path / 'half' / '.2.123.tmp').mkdir()
  (tmp_path / 'half' / '3').mkdir()  # Nothing in it yet.
  (tmp_path / 'notes.txt').touch()
  for root in (tmp_path, tmp_path / 'half'):
    assert version_folders.find_versions(root) == {'half': {1: tmp_path / 'half' / '1'}}


def test_nothing_to_serve(tmp_path):
  for path, message in ((tmp_path / 'none', 'no such folder'), (tmp_path, 'no <name>/<version>/')):
    with pytest.raises(ValueError, match=message):
      model_store.ModelStore(path).load()


def test_a_broken_first_version_is_an_error(add, tmp_path):
  (add(1) / 'saved_model.pb').write_bytes(b'nonsense')
  with pytest.raises(ValueError, match='cannot be loaded as a SavedModel'):
    model_store.ModelStore(tmp_path).load()

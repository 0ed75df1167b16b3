"""Files that appear whole or not at all."""

import errno
import os

import pytest

from feelvos_tf.datasets import whole_file


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
  path = tmp_path / 'scores.json'
  path.write_text('old')
  with whole_file.appearing(path) as temporary:
    temporary.write_text('new')
    assert path.read_text() == 'old'
    assert temporary.parent == tmp_path
  assert path.read_text() == 'new'
  assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
  path = tmp_path / 'scores.json'
  path.write_text('old')
  with pytest.raises(RuntimeError, match='half way'), whole_file.appearing(path) as temporary:
    temporary.write_text('ne')
    raise RuntimeError('half way')
  assert path.read_text() == 'old'
  assert list(tmp_path.iterdir()) == [path]


def test_a_failure_before_anything_was_written(tmp_path):
  with pytest.raises(OSError):
    whole_file.write_text(tmp_path / 'missing' / 'a.txt', 'text')
  assert not list(tmp_path.iterdir())


def test_text_is_utf8_and_bytes_stay_bytes(tmp_path):
  whole_file.write_text(tmp_path / 'a', 'J&F \u2265 .7\n')
  whole_file.write_bytes(tmp_path / 'b', b'\x00\r\n')
  assert (tmp_path / 'a').read_bytes() == 'J&F \u2265 .7\n'.encode()
  assert (tmp_path / 'b').read_bytes() == b'\x00\r\n'


def test_names_that_are_not_utf8_stay_as_they_are(tmp_path):
  whole_file.write_text(tmp_path / 'a', os.fsdecode(b'v\xe4d,1\n'))
  assert (tmp_path / 'a').read_bytes() == b'v\xe4d,1\n'


def test_a_full_disk_is_named(tmp_path):
  with (
    pytest.raises(OSError, match='No space left') as error,
    whole_file.appearing(tmp_path / 'a.txt') as temporary,
  ):
    temporary.touch()
    raise OSError(errno.ENOSPC, 'No space left on device')
  assert error.value.filename == str(tmp_path / 'a.txt')
  assert not list(tmp_path.iterdir())


def test_a_folder_is_held_by_one(tmp_path):
  with (
    whole_file.locked(tmp_path / 'new'),
    pytest.raises(ValueError, match='new: another run is writing there'),
    whole_file.locked(tmp_path / 'new'),
  ):
    pass
  with whole_file.locked(tmp_path / 'new'):
    assert not list((tmp_path / 'new').iterdir())

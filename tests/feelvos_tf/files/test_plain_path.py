"""Paths that TensorFlow would take for patterns."""

import os
import shutil
import tempfile

import pytest

from feelvos_tf.files import plain_path

PATTERNS = ['a[1]', 'a*', 'what?', 'back\\slash']


def test_a_plain_path_stays():
  assert plain_path.of_folder('runs/mine (2)') == 'runs/mine (2)'
  assert plain_path.of_prefix('runs/model.ckpt-7') == 'runs/model.ckpt-7'


@pytest.mark.parametrize('name', PATTERNS)
def test_a_folder(tmp_path, name):
  path = plain_path.of_folder(tmp_path / name)
  assert not set('*?[\\') & set(path)
  (tmp_path / name).mkdir()
  (tmp_path / name / 'file').write_text('x')
  assert os.listdir(path) == ['file']
  assert plain_path.of_folder(tmp_path / name) == path
  shutil.rmtree(os.path.dirname(path))  # As what tidies up old temporary files does.
  assert plain_path.of_folder(tmp_path / name) == path and os.listdir(path) == ['file']


def test_the_folder_of_temporary_files_looks_like_a_pattern(tmp_path, monkeypatch):
  (tmp_path / 'job.7[2]').mkdir()
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'job.7[2]'))
  assert '[' not in plain_path.of_folder(tmp_path / 'a[1]')


@pytest.mark.parametrize('name', PATTERNS)
def test_a_prefix(tmp_path, name):
  for file in (f'{name}.index', f'{name}.data-00000-of-00001', f'{name}0.index'):
    (tmp_path / file).write_text(file)
  path = plain_path.of_prefix(tmp_path / name)
  assert sorted(os.listdir(os.path.dirname(path))) == [
    'checkpoint.data-00000-of-00001',
    'checkpoint.index',
  ]
  with open(f'{path}.index') as file:
    assert file.read() == f'{name}.index'

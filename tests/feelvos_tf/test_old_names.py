"""Imports of version 0.1, as its README had them, still work."""

import importlib
import pathlib
import subprocess
import sys

import pytest

from feelvos_tf import old_names


@pytest.mark.parametrize('old', sorted(old_names.MOVED))
def test_an_old_name_has_a_new_place(old):
  place = pathlib.Path(old_names.__file__).parent / old_names.MOVED[old].replace('.', '/')
  assert place.with_suffix('.py').is_file() or (place / '__init__.py').is_file()


def test_an_old_import_gives_the_new_module():
  new = importlib.import_module('feelvos_tf.evaluation.submission')
  spec = new.__spec__
  sys.modules.pop('feelvos_tf.submission', None)
  with pytest.warns(DeprecationWarning, match=r'feelvos_tf\.evaluation\.submission'):
    old = importlib.import_module('feelvos_tf.submission')
  assert old is new
  assert new.__spec__ is spec


def test_imports_of_the_readme_of_0_1():
  code = (
    'from feelvos_tf.model import load_model, save_model, Feelvos\n'
    'from feelvos_tf.segmenter import VideoSegmenter\n'
    'from feelvos_tf.precision import with_precision\n'
    'import feelvos_tf\n'
    'assert load_model is feelvos_tf.load_model and VideoSegmenter is feelvos_tf.VideoSegmenter\n'
  )
  subprocess.run([sys.executable, '-c', code], check=True, timeout=120)


def test_other_names_are_still_unknown():
  with pytest.raises(ModuleNotFoundError):
    importlib.import_module('feelvos_tf.no_such_module')

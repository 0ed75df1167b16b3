"""Imports of version 0.1, as its README had them, still work."""

import importlib
import pathlib
import subprocess
import sys

import programs
import pytest

from feelvos_tf import old_names

CHECKOUT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize('old', sorted(old_names.MOVED))
def test_an_old_name_has_a_new_place(old):
  new = old_names.MOVED[old].replace('.', '/')
  places = [CHECKOUT / 'feelvos_tf' / new, CHECKOUT / new]
  assert any(p.with_suffix('.py').is_file() or (p / '__init__.py').is_file() for p in places)


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
  process = programs.run_code(code)
  assert process.returncode == 0, process.stderr


def test_other_names_are_still_unknown():
  with pytest.raises(ModuleNotFoundError):
    importlib.import_module('feelvos_tf.no_such_module')


def test_data_sets_and_tools_of_a_checkout_under_their_old_names():
  """One module under both names: its classes are the same."""
  code = (
    'from datasets import folder, masks, sequence_example\n'
    'from datasets.triplets import make_dataset, Triplets\n'
    'from tools import reference_matching\n'
    'import tools.soak_serving\n'
    'from feelvos_tf.datasets import masks as new_masks\n'
    'from feelvos_tf.datasets.sources import folder as new_folder\n'
    'from feelvos_tf.datasets.tfrecord import schema\n'
    'assert masks is new_masks and folder is new_folder and sequence_example is schema\n'
  )
  process = programs.run_code(code)
  assert process.returncode == 0, process.stderr


def test_packages_of_others_named_like_ours_are_left_alone(tmp_path):
  for name in ('datasets', 'tools'):
    (tmp_path / name).mkdir()
    (tmp_path / name / '__init__.py').touch()
  code = (
    'import feelvos_tf, datasets, tools\n'
    'try:\n'
    '  from datasets import folder\n'
    'except ImportError:\n'
    '  print("own")\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], check=True, timeout=120, cwd=tmp_path, capture_output=True
  )
  assert done.stdout == b'own\n'

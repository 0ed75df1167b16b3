"""Shared fixtures: golden data of the original code, seeded numpy, quiet TensorFlow."""

import gzip
import json
import os
import pathlib
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parent / 'golden'
sys.path.insert(0, str(GOLDEN))  # weight_recipe.py


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

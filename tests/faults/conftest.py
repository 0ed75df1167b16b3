"""The process whose runs are disturbed."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from feelvos_tf.files import whole_file
from feelvos_tf.runtime import result_folder

SERVER = pathlib.Path(__file__).resolve().parents[1] / 'support' / 'fault_jobs.py'
# What says when or how often something ran, not what came out: the journal, the list of checkpoints
# with its times, the times of the files that were scored, and the random name of a SavedModel.
NOT_COMPARED = {result_folder.JOURNAL, 'checkpoint', 'scores', 'fingerprint.pb'}


class Runs:
  """Asks the process of `fault_jobs.py`; `runs(job='segment', folder='out')` is its answer.

  Attributes:
    folder: where inputs and results lie.
    disks: whether it may mount disks.
  """

  def __init__(self, process, folder):
    self._process, self.folder = process, folder
    self.disks = json.loads(process.stdout.readline())['disks']

  def __call__(self, **request):
    self._process.stdin.write(f'{json.dumps(request)}\n')
    self._process.stdin.flush()
    return json.loads(self._process.stdout.readline())

  def path(self, folder):
    """A folder as that process sees it, on its own disks."""
    return pathlib.Path(f'/proc/{self._process.pid}/root{folder}')

  def content(self, folder):
    """{name: bytes} of all files but those that are not compared; leftovers are files too."""
    folder = self.path(folder)
    return {
      str(path.relative_to(folder)): path.read_bytes()
      for path in sorted(folder.rglob('*'))
      if path.is_file() and not NOT_COMPARED & set(path.relative_to(folder).parts)
    }

  def log(self, folder):
    """What the runs of a folder printed since the last call."""
    path = pathlib.Path(f'{folder}.log')
    text = path.read_text()
    path.write_text('')
    return text


@pytest.fixture(scope='session')
def runs(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs')
  with subprocess.Popen(
    [sys.executable, str(SERVER), str(folder)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    yield Runs(process, folder)
    process.stdin.close()


@pytest.fixture(scope='session')
def note():
  """Function: adds what was tried to FEELVOS_SOAK_NOTES, if that is set."""

  def write(**values):
    if path := os.environ.get('FEELVOS_SOAK_NOTES'):
      seed = os.environ.get('FEELVOS_SEED')
      whole_file.append_line(path, json.dumps({**values, **({'seed': int(seed)} if seed else {})}))

  return write

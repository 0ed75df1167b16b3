"""Runs that are killed or interrupted, then run again: the bytes of an undisturbed run.

`make soak` kills 50 times each (FEELVOS_KILLS) with a seed of its own (FEELVOS_SEED) and notes what
happened (FEELVOS_SOAK_NOTES).
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from feelvos_tf.runtime import result_folder

SERVER = pathlib.Path(__file__).resolve().parents[1] / 'support' / 'fault_jobs.py'
KILLS = int(os.environ.get('FEELVOS_KILLS', '3'))
SEED = int(os.environ.get('FEELVOS_SEED', '1'))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# What says when or how often something ran, not what came out: the journal, the list of checkpoints
# with its times, the times of the files that were scored, and the random name of a SavedModel.
NOT_COMPARED = {result_folder.JOURNAL, 'checkpoint', 'scores', 'fingerprint.pb'}


@pytest.fixture(scope='module')
def ask(tmp_path_factory):
  """Function: request -> answer of the process that forks runs."""
  folder = tmp_path_factory.mktemp('kills')
  with subprocess.Popen(
    [sys.executable, str(SERVER), str(folder / 'davis')],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    assert process.stdout.readline() == 'ready\n'

    def answer(**request):
      process.stdin.write(f'{json.dumps(request)}\n')
      process.stdin.flush()
      return json.loads(process.stdout.readline())

    answer.folder = folder
    yield answer
    process.stdin.close()


def content(folder):
  """{name: bytes} of all files but those that are not compared; leftovers are files like others."""
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(folder.rglob('*'))
    if path.is_file() and not NOT_COMPARED & set(path.relative_to(folder).parts)
  }


def note(**values):
  if path := os.environ.get('FEELVOS_SOAK_NOTES'):
    with open(path, 'a', encoding='utf-8') as stream:
      stream.write(f'{json.dumps(values)}\n')


@pytest.mark.parametrize(
  'job', ['convert', 'train', 'segment', 'segment_both', 'evaluate', 'export']
)
def test_killed_and_run_again(ask, job):
  rng = random.Random(f'{SEED} {job}')
  out, log = ask.folder / job, ask.folder / f'{job}.log'
  undisturbed = ask(job=job, folder=str(out))
  assert undisturbed['status'] == 0, log.read_text()
  expected = content(out)
  assert expected
  begun, hits = time.monotonic(), dict.fromkeys(SIGNALS, 0)
  for number in SIGNALS:
    for count in range(KILLS):
      shutil.rmtree(out, ignore_errors=True)
      log.write_text('')
      moment = {'at': rng.randint(1, undisturbed['points'])}
      if count % 5 == 4:  # Any moment, not one of writing.
        moment = {'after': rng.uniform(0, undisturbed['seconds'])}
      killed = ask(job=job, folder=str(out), signal=int(number), **moment)
      text = log.read_text()
      assert 'Traceback' not in text, (moment, text)
      assert killed['status'] in (0, -9, -15, -2, 130, 143), (moment, text)
      hits[number] += killed['status'] != 0
      again = ask(job=job, folder=str(out))
      assert again['status'] == 0, (number, moment, log.read_text())
      found = content(out)
      assert found.keys() == expected.keys(), (number, moment)
      assert [n for n in found if found[n] != expected[n]] == [], (number, moment)
  assert hits[signal.SIGKILL]
  note(
    part='kills',
    what=job,
    seed=SEED,
    **{n.name: KILLS for n in SIGNALS},
    ended_early=sum(hits.values()),
    bad=0,
    seconds=round(time.monotonic() - begun),
  )

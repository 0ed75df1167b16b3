"""Runs that are killed or interrupted, then run again: the bytes of an undisturbed run.

`make soak` kills 50 times each (FEELVOS_KILLS) with a seed of its own (FEELVOS_SEED) and notes what
happened (FEELVOS_SOAK_NOTES).
"""

import os
import random
import shutil
import signal
import time

import pytest

KILLS = int(os.environ.get('FEELVOS_KILLS', '1'))
SEED = int(os.environ.get('FEELVOS_SEED', '1'))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize(
  'job',
  ['convert', 'convert_masks', 'train', 'segment', 'segment_both', 'evaluate', 'export', 'weights'],
)
def test_killed_and_run_again(runs, note, job):
  rng = random.Random(f'{SEED} {job}')
  out, log = runs.folder / job, runs.folder / f'{job}.log'
  shutil.rmtree(out, ignore_errors=True)  # Of another test's runs.
  undisturbed = runs(job=job, folder=str(out))
  assert undisturbed['status'] == 0, log.read_text()
  expected = runs.content(out)
  assert expected
  begun, hits = time.monotonic(), dict.fromkeys(SIGNALS, 0)
  for number in SIGNALS:
    for count in range(KILLS):
      shutil.rmtree(out, ignore_errors=True)
      log.write_text('')
      moment = {'at': rng.randint(1, undisturbed['points'])}
      if count % 5 == 4:  # Any moment, not one of writing.
        moment = {'after': rng.uniform(0, undisturbed['seconds'])}
      killed = runs(job=job, folder=str(out), signal=int(number), **moment)
      text = log.read_text()
      assert 'Traceback' not in text, (moment, text)
      assert killed['status'] in (0, -9, -15, -2, 130, 143), (moment, text)
      hits[number] += killed['status'] != 0
      again = runs(job=job, folder=str(out))
      assert again['status'] == 0, (number, moment, log.read_text())
      found = runs.content(out)
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

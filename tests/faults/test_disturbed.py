"""Runs on disks that get full or read-only, with other clocks, two at once, whose inputs vanish.

Each ends with one line that names the user's file, leaves nothing half-written under a final name,
and the same command then goes on to the bytes of an undisturbed run. `make soak` tries more sizes
and moments (FEELVOS_FAULTS), with a seed of its own (FEELVOS_SEED).
"""

import os
import pathlib
import random
import shutil
import signal

import pytest

TIMES = int(os.environ.get('FEELVOS_FAULTS', '1'))
SEED = int(os.environ.get('FEELVOS_SEED', '1'))
JOBS = ('convert', 'convert_masks', 'train', 'segment', 'evaluate', 'export', 'weights')
ROOM = 64 << 20  # Bytes that are enough for every run.
YEARS = 10 * 365 * 86400
# Files that are replaced by newer ones while a run goes on, or written as far as frames came.
REPLACED = {'best.h5', 'checkpoints', 'frames.csv', 'overlay.mp4', 'overview.png'}


@pytest.fixture(params=JOBS)
def job(request):
  return request.param


@pytest.fixture
def rng(job):
  return random.Random(f'{SEED} {job}')


@pytest.fixture(scope='module')
def undisturbed(runs):
  """Function: job, source -> (its folder, points, bytes of all files), when nothing disturbs it.

  The folder is empty then, and the same for all runs of a job, as some results name it.
  """
  known = {}

  def run(job, source=None):
    folder = runs.folder / job
    shutil.rmtree(folder, ignore_errors=True)
    if (job, source) not in known:
      answer = runs(job=job, folder=str(folder), source=source)
      assert answer['status'] == 0, runs.log(folder)
      known[job, source] = answer['points'], runs.content(folder)
      shutil.rmtree(folder)
      runs.log(folder)
    return folder, *known[job, source]

  return run


def check_end(runs, folder, expected, answer, *words):
  """The run ended with one line that names a file, and what it left is whole."""
  text = runs.log(folder)
  assert answer['status'] == 1, text
  lines = [line for line in text.splitlines() if 'error: ' in line]
  assert len(lines) == 1 and 'Traceback' not in text, text
  assert all(word in lines[0] for word in words) and '.feelvos_' not in lines[0], lines[0]
  for name, data in runs.content(folder).items():
    parts = set(pathlib.PurePath(name).parts)
    if not REPLACED & parts and not any(part.startswith('.') for part in parts):
      assert expected.get(name) == data, name


def check_again(runs, folder, job, expected, **request):
  """The same command goes on to the bytes of an undisturbed run."""
  again = runs(job=job, folder=str(folder), **request)
  assert again['status'] == 0, runs.log(folder)
  assert runs.content(folder) == expected


@pytest.fixture
def disk(runs, job):
  """Function: mounts a disk of so many bytes over the folder of a job, or changes it."""
  if not runs.disks:
    pytest.skip('this file system cannot get small disks: the system forbids namespaces of mounts')
  folder = str(runs.folder / job)
  yield lambda size, **options: runs(mount=folder, size=size, **options)
  runs(unmount=folder)


def test_full_disk(runs, note, undisturbed, job, rng, disk):
  folder, _, expected = undisturbed(job)
  page = os.sysconf('SC_PAGE_SIZE')
  used = sum(-(-len(data) // page) * page for data in expected.values())
  for number in range(TIMES):
    disk(ROOM)
    for path in runs.path(folder).iterdir():
      shutil.rmtree(path) if path.is_dir() else path.unlink()
    size = page + int(used * (number + rng.random()) / TIMES)
    disk(min(size, used - page))
    answer = runs(job=job, folder=str(folder))
    check_end(runs, folder, expected, answer, str(folder), 'the disk is full; free some space')
    disk(ROOM)
    check_again(runs, folder, job, expected)
  note(part='faults', what='full disk', run=job, seed=SEED, tried=TIMES, bad=0)


def test_files_that_may_not_get_large(runs, note, undisturbed, job, rng):
  """As a full disk, for every user on every system: EFBIG instead of ENOSPC."""
  for _ in range(TIMES):
    folder, _, expected = undisturbed(job)
    largest = int(max(map(len, expected.values())) * rng.uniform(0.1, 0.95))
    answer = runs(job=job, folder=str(folder), largest=largest)
    check_end(runs, folder, expected, answer, str(folder), 'would be larger than allowed here')
    check_again(runs, folder, job, expected)
  note(part='faults', what='limit of file sizes', run=job, seed=SEED, tried=TIMES, bad=0)


def test_read_only_disk(runs, note, undisturbed, job, disk):
  folder, _, expected = undisturbed(job)
  disk(ROOM, read_only=True)
  answer = runs(job=job, folder=str(folder))
  check_end(runs, folder, expected, answer, str(folder), 'choose another')
  disk(ROOM)
  check_again(runs, folder, job, expected)
  note(part='faults', what='read-only disk', run=job, tried=1, bad=0)


def test_a_file_in_place_of_the_folder(runs, note, undisturbed, job):
  folder, _, _ = undisturbed(job)
  folder.touch()
  answer = runs(job=job, folder=str(folder))
  check_end(runs, folder, {}, answer, str(folder), 'a file')
  assert folder.read_bytes() == b''
  folder.unlink()
  note(part='faults', what='a file in place of the folder', run=job, tried=1, bad=0)


def test_two_at_once(runs, note, undisturbed, job, rng):
  folder, points, expected = undisturbed(job)
  at = rng.randint(1, points - 1)
  first = runs(job=job, folder=str(folder), signal=int(signal.SIGSTOP), at=at)
  second = runs(job=job, folder=str(folder))
  text = runs.log(folder)
  answer = runs(go_on=first['stopped'])
  assert second['status'] == 1 and 'another run is writing there' in text, text
  assert answer['status'] == 0, runs.log(folder)
  assert runs.content(folder) == expected
  note(part='faults', what='second run in the folder', run=job, tried=1, bad=0)


@pytest.mark.parametrize('shift', [YEARS, -YEARS])
def test_clock_that_jumps(runs, note, undisturbed, job, rng, shift):
  """In a run that is not disturbed otherwise, and in one that is killed: files are older, newer."""
  folder, points, expected = undisturbed(job)
  at = rng.randint(1, points)
  check_again(runs, folder, job, expected, at=at, clock=shift)
  shutil.rmtree(folder)
  runs(job=job, folder=str(folder), at=at, signal=int(signal.SIGKILL))
  for path in [folder, *folder.rglob('*')]:
    os.utime(path, (path.stat().st_atime + shift, path.stat().st_mtime + shift))
  check_again(runs, folder, job, expected, at=1, clock=shift / 2)
  note(part='faults', what='jump of the clock', run=job, seed=SEED, tried=2, bad=0)


# Job, what it reads, the file of it that vanishes, and how long it is then; -1: it is gone. Then
# what the line has to name if it is not that file.
INPUTS = {
  'frame removed': ('segment', 'film/own/a/frames', '00007.png', -1),
  'frame cut off': ('segment', 'film/own/a/frames', '00007.png', 2000),
  'film cut off': ('segment', 'film/film.mp4', '', 20_000),
  'frame to convert removed': (
    *('convert', 'film/own', 'b/frames/00006.png', -1),
    'b/masks/00006.png: a mask without a frame',
  ),
  'mask to convert cut off': ('convert', 'film/own', 'b/masks/00006.png', 60),
  'ground truth removed': (
    'evaluate',
    'davis',
    'Annotations/480p/b/00001.png',
    -1,
    '/b: 2 annotated',
  ),
  'ground truth cut off': ('evaluate', 'davis', 'Annotations/480p/b/00001.png', 60),
}


@pytest.mark.parametrize('kind', INPUTS)
def test_inputs_that_vanish(runs, note, undisturbed, tmp_path, kind):
  job, name, file, length, *named = INPUTS[kind]
  kept, source = runs.folder / name, tmp_path / name
  source.parent.mkdir(parents=True, exist_ok=True)
  (shutil.copytree if kept.is_dir() else shutil.copy)(kept, source)
  folder, _, expected = undisturbed(job, str(source))
  path, request = source / file, {'job': job, 'folder': str(folder), 'source': str(source)}
  answer = runs(**request, at=1, file=str(path), length=length)
  check_end(runs, folder, expected, answer, *(named or [str(path)]))
  path.unlink(missing_ok=True)
  shutil.copy(kept / file, path)
  check_again(runs, folder, job, expected, source=str(source))
  note(part='faults', what='input that vanishes', run=job, tried=1, bad=0)

"""An output folder: what is removed, what never is, one run at a time, what can be resumed."""

import io
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from feelvos_tf.files import whole_file
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime.result_folder import ResultFolder


def write_run(path, files, run='a', job='', overwrite=False, finish=True):
  """A run that writes {name: bytes}."""
  with ResultFolder(path, run, overwrite) as folder:
    one = folder.job(job, f'masks/{job}'.rstrip('/'))
    for name, data in files.items():
      one.write(name, data, frame='f')
    if finish:
      one.finish()
      folder.finish()


def names(path):
  return sorted(
    str(p.relative_to(path)) for p in path.rglob('*') if p.is_file() and p.name[0] != '.'
  )


def test_a_later_run_removes_what_an_earlier_one_wrote_and_nothing_else(tmp_path):
  out = tmp_path / 'out'
  write_run(out, {f'masks/{i}.png': b'%d' % i for i in range(4)})
  (out / 'masks' / 'painted.png').write_bytes(b'mine')
  (out / 'notes.txt').write_text('mine')
  write_run(out, {'masks/0.png': b'new'}, overwrite=True)
  assert names(out) == ['masks/0.png', 'masks/painted.png', 'notes.txt']
  assert (out / 'masks' / '0.png').read_bytes() == b'new'
  assert (out / 'masks' / 'painted.png').read_bytes() == b'mine'


def test_a_result_that_was_painted_over_is_kept(tmp_path):
  write_run(tmp_path, {'masks/0.png': b'0', 'masks/1.png': b'1'})
  (tmp_path / 'masks' / '1.png').write_bytes(b'painted')
  with pytest.raises(ValueError, match=r'1\.png: a file that no earlier run wrote as it is'):
    write_run(tmp_path, {'masks/0.png': b'new'}, overwrite=True)
  assert (tmp_path / 'masks' / '0.png').read_bytes() == b'0'
  assert (tmp_path / 'masks' / '1.png').read_bytes() == b'painted'


@pytest.mark.parametrize('folder', ['masks', 'masks/bear'])
def test_a_file_in_the_place_of_the_masks_is_refused_with_advice(tmp_path, folder):
  (tmp_path / 'masks').write_text('mine')
  message = '/masks: a file is where a folder has to be; move it away or'
  with (
    ResultFolder(tmp_path, 'a', overwrite=True) as output,
    pytest.raises(ValueError, match=message),
  ):
    output.job('', folder)
  assert (tmp_path / 'masks').read_text() == 'mine'


def test_a_journal_that_names_files_elsewhere_removes_none(tmp_path):
  out, mine = tmp_path / 'out', tmp_path / 'mine.png'
  (tmp_path / 'photos').mkdir()
  (out / 'masks').mkdir(parents=True)
  (out / 'maps').symlink_to(tmp_path / 'photos')
  for path in (mine, tmp_path / 'photos' / '0.png'):
    path.write_bytes(b'mine')
  names = ('../mine.png', str(mine), 'masks/../../mine.png', 3)
  lines = [{'name': n, 'job': '', 'file': result_folder.digest(b'mine')} for n in names]
  (out / result_folder.JOURNAL).write_text('\n'.join(map(json.dumps, lines)) + '\n')
  write_run(out, {'masks/0.png': b'new'}, overwrite=True)
  assert mine.read_bytes() == b'mine' and (out / 'masks' / '0.png').read_bytes() == b'new'
  with open(out / result_folder.JOURNAL, 'a', encoding='utf-8') as stream:
    stream.write(json.dumps({**lines[0], 'name': 'maps/0.png'}) + '\n')
  with pytest.raises(ValueError, match=r'maps: a link to .*photos given'):
    write_run(out, {'masks/0.png': b'new'}, overwrite=True)
  assert (tmp_path / 'photos' / '0.png').read_bytes() == b'mine'


def test_a_journal_that_is_a_link_is_refused(tmp_path):
  mine, out = tmp_path / 'notes.txt', tmp_path / 'out'
  mine.write_text('mine')
  out.mkdir()
  (out / result_folder.JOURNAL).symlink_to(mine)
  with pytest.raises(ValueError, match='a link or folder given, expected a file of its own'):
    ResultFolder(out, 'a', overwrite=True)
  assert mine.read_text() == 'mine'


@pytest.mark.parametrize('how', ['write', 'adopt'])
def test_a_file_whose_replacement_was_killed_is_still_the_runs(tmp_path, monkeypatch, how):
  """The line in the journal comes first; a kill behind it leaves the file before."""

  def replace(folder, content):
    if how == 'write':
      folder.write('', 'frames.csv', content)
    else:
      (tmp_path / 'new').write_bytes(content)
      folder.adopt('', 'frames.csv', tmp_path / 'new')

  def killed(*args, **kwargs):
    raise KeyboardInterrupt

  with ResultFolder(tmp_path, 'a', overwrite=True) as folder:
    replace(folder, b'first')
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
      patch.setattr(whole_file, 'write_bytes', killed)
      patch.setattr(whole_file, 'move', killed)
      replace(folder, b'second')
  for content in (b'third', b'fourth'):
    with ResultFolder(tmp_path, 'a', overwrite=True) as folder:
      replace(folder, content)
    assert (tmp_path / 'frames.csv').read_bytes() == content
  (tmp_path / 'frames.csv').write_bytes(b'mine')
  with ResultFolder(tmp_path, 'a', overwrite=True) as folder, pytest.raises(ValueError):
    replace(folder, b'fifth')


@pytest.mark.parametrize('kind', ['file', 'link', 'broken link'])
def test_a_foreign_file_where_a_result_goes_is_kept(tmp_path, kind):
  out, mine = tmp_path / 'out', tmp_path / 'mine.png'
  (out / 'masks').mkdir(parents=True)
  mine.write_bytes(b'mine')
  if kind == 'file':
    (out / 'masks' / '0.png').write_bytes(b'mine')
  else:
    (out / 'masks' / '0.png').symlink_to(mine if kind == 'link' else tmp_path / 'none')
  with pytest.raises(ValueError, match='move it away or choose another output folder'):
    write_run(out, {'masks/0.png': b'new'}, overwrite=True)
  assert mine.read_bytes() == b'mine' and os.path.lexists(out / 'masks' / '0.png')


def test_files_of_other_jobs_stay(tmp_path):
  write_run(tmp_path, {'masks/bear/0.png': b'bear'}, job='bear')
  write_run(tmp_path, {'masks/camel/0.png': b'camel'}, job='camel', overwrite=True)
  write_run(tmp_path, {'masks/bear/1.png': b'again'}, job='bear', overwrite=True)
  assert names(tmp_path) == ['masks/bear/1.png', 'masks/camel/0.png']
  with pytest.raises(ValueError, match='no earlier run wrote'):  # Not the job's own file.
    write_run(tmp_path, {'masks/camel/0.png': b'x'}, job='', overwrite=True)


def test_a_folder_of_masks_that_leads_outside_is_refused(tmp_path):
  (tmp_path / 'frames').mkdir()
  (tmp_path / 'out').mkdir()
  (tmp_path / 'out' / 'masks').symlink_to(tmp_path / 'frames')
  with pytest.raises(ValueError, match='a link to .*frames given'):
    write_run(tmp_path / 'out', {'masks/0.png': b'0'}, overwrite=True)
  assert not any((tmp_path / 'frames').iterdir())


def test_a_folder_that_is_not_empty_needs_overwrite(tmp_path):
  (tmp_path / 'mine.txt').touch()
  with pytest.raises(
    ValueError, match='is not empty; choose another output folder or add --overwrite'
  ):
    ResultFolder(tmp_path, 'a')
  assert [p.name for p in tmp_path.iterdir()] == ['mine.txt']
  out = tmp_path / 'out'
  write_run(out, {'masks/0.png': b'0'})
  with pytest.raises(ValueError, match='is not empty'):  # Finished: the same command is a new run.
    ResultFolder(out, 'a')
  write_run(out, {'masks/0.png': b'0'}, run='b', overwrite=True, finish=False)
  with pytest.raises(ValueError, match='is not empty'):
    ResultFolder(out, 'c')
  with ResultFolder(out, 'b') as folder:
    assert folder.resumed


def test_a_run_without_files_leaves_nothing(tmp_path):
  with ResultFolder(tmp_path / 'out', 'a'):
    pass
  assert not list((tmp_path / 'out').iterdir())


def test_one_run_at_a_time(tmp_path):
  code = (
    'import sys; from feelvos_tf.runtime.result_folder import ResultFolder\n'
    'ResultFolder(sys.argv[1], "b", True)'
  )
  command = [sys.executable, '-c', code, str(tmp_path)]
  with ResultFolder(tmp_path, 'a'):
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 'ValueError' in process.stderr and 'another run is writing there' in process.stderr
  assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_resuming_finds_masks_up_to_the_first_that_is_not_there(tmp_path):
  files = {f'masks/{i}.png': b'%d' % i for i in range(5)}
  write_run(tmp_path, files, finish=False)
  with open(tmp_path / result_folder.JOURNAL, 'a', encoding='utf-8') as journal:
    journal.write('{"name": "masks/9.png", "job": "", "fi')  # Cut off by a kill.
  with ResultFolder(tmp_path, 'a') as folder:
    job = folder.job('', 'masks')
    assert job.frames() == [(name, 'f') for name in files] and not job.is_done
    job.write('masks/5.png', b'5', frame='g')
  (tmp_path / 'masks' / '3.png').unlink()
  with ResultFolder(tmp_path, 'a') as folder:
    job = folder.job('', 'masks')
    assert job.frames() == [(name, 'f') for name in list(files)[:3]]
    job.write('masks/3.png', b'3', frame='f')
    job.finish()
    assert job.is_done
  with ResultFolder(tmp_path, 'a') as folder:  # The job was finished, the run was not.
    assert folder.resumed and folder.job('', 'masks').is_done
    (tmp_path / 'masks' / '1.png').write_bytes(b'x')
    assert not folder.job('', 'masks').is_done


def test_state_of_a_job(tmp_path, rng):
  arrays = [rng.random((3, 4)).astype('float32'), rng.integers(0, 9, (2,), 'int32')]
  with ResultFolder(tmp_path, 'a') as folder:
    job = folder.job('bär', 'masks')
    assert job.load_state() is None
    job.save_state(7, arrays)
    count, loaded = job.load_state()
    assert count == 7
    for one, two in zip(arrays, loaded, strict=True):
      assert one.dtype == two.dtype and (one == two).all()
    assert folder.job('bear', 'masks').load_state() is None
    (tmp_path / result_folder.STATE).write_bytes(b'PK damaged')
    assert job.load_state() is None


def test_a_state_that_cannot_be_read_is_none(tmp_path):
  with ResultFolder(tmp_path, 'a') as folder:
    job = folder.job('', 'masks')
    job.save_state(7, [np.arange(100)])
    path = tmp_path / result_folder.STATE
    whole = path.read_bytes()
    cut = [whole[:length] for length in (0, 4, len(whole) // 2, len(whole) - 1)]
    # A bit of an array; version, encryption and compression of an entry of the directory.
    places = (300, *(whole.index(b'PK\1\2') + offset for offset in (6, 8, 10)))
    flipped = [whole[:i] + bytes([whole[i] ^ 65]) + whole[i + 1 :] for i in places]
    array = io.BytesIO()
    np.save(array, np.arange(3))
    for damaged in (*cut, *flipped, array.getvalue()):
      path.write_bytes(damaged)
      assert job.load_state() is None
    path.write_bytes(whole)
    assert job.load_state()[0] == 7


def test_left_over_temporary_files_go(tmp_path):
  gone = subprocess.Popen([sys.executable, '-c', ''])
  gone.wait()
  names = [whole_file.temporary_name(f'elsewhere/{n}').name for n in ('0.png', '1.mp4', '2')]
  zero, one, folder = (name.replace(f'.{os.getpid()}.', f'.{gone.pid}.') for name in names)
  left = [f'masks/{zero}', one, folder]
  mine = ['masks/0.png.123.tmp', '.other.tmp', names[1]]
  (tmp_path / 'masks').mkdir()
  (tmp_path / folder / 'coco').mkdir(parents=True)  # A kill while results are exported.
  for name in left[:2] + mine:
    (tmp_path / name).touch()
  with ResultFolder(tmp_path, 'a', overwrite=True) as output:
    output.job('', 'masks')
  assert not any((tmp_path / name).exists() for name in left)
  assert all((tmp_path / name).exists() for name in mine)


def test_names_of_any_bytes(tmp_path):
  name = os.fsdecode(b'masks/fr\xe4me:0.png')
  write_run(tmp_path, {name: b'0'}, finish=False)
  text = (tmp_path / result_folder.JOURNAL).read_bytes().decode('ascii')
  assert json.loads(text.splitlines()[1])['name'] == name
  with ResultFolder(tmp_path, 'a') as folder:
    assert folder.job('', 'masks').frames() == [(name, 'f')]


@pytest.mark.parametrize(
  'output, given, refused',
  [
    ('out', 'out/frames/0.png', True),
    ('out', 'out', True),
    ('out/../out', 'out/first.png', True),
    ('link', 'out/first.png', True),
    ('out', 'link/first.png', True),
    ('out', 'linked.png', True),
    ('out', 'out/outside.png', True),
    ('out', 'output/first.png', False),
    ('out', 'first.png', False),
    ('frames/result', 'frames/0.png', False),
  ],
)
def test_inputs_in_the_output_are_refused(tmp_path, output, given, refused):
  (tmp_path / 'out').mkdir()
  (tmp_path / 'link').symlink_to(tmp_path / 'out')
  (tmp_path / 'out' / 'first.png').touch()
  (tmp_path / 'linked.png').symlink_to(tmp_path / 'out' / 'first.png')
  (tmp_path / 'out' / 'outside.png').symlink_to(tmp_path / 'elsewhere.png')
  paths = [pathlib.Path(tmp_path / given)]
  if refused:
    with pytest.raises(ValueError, match='an output folder that holds the input'):
      result_folder.check_inputs(tmp_path / output, paths)
  else:
    result_folder.check_inputs(tmp_path / output, paths)


def test_a_relative_output_is_checked_as_well(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match='holds the input'):
    result_folder.check_inputs('.', ['frames/0.png'])
  with pytest.raises(ValueError, match='holds the input'):
    result_folder.check_inputs('./a', [tmp_path / 'a' / 'b.png'])


def test_folders_without_a_file_are_no_results(tmp_path):
  """A run that is interrupted before its first mask leaves its folders; the next one begins."""
  (tmp_path / 'out' / 'masks' / 'bear').mkdir(parents=True)
  with result_folder.ResultFolder(tmp_path / 'out', 'run') as output:
    output.job('', 'masks').write('masks/0.png', b'a')
  (tmp_path / 'other' / 'masks').mkdir(parents=True)
  (tmp_path / 'other' / 'masks' / 'mine.png').touch()
  with pytest.raises(ValueError, match='is not empty'):
    result_folder.ResultFolder(tmp_path / 'other', 'run')

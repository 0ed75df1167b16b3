"""Files that appear whole or not at all."""

import errno
import os
import subprocess
import sys

import av
import pytest

from feelvos_tf.files import whole_file


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


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_is_of_the_machine_and_not_of_an_input(code):
  error = OSError(code, os.strerror(code), 'a.jpg')
  assert whole_file.is_no_room(error)
  caused = ValueError('a.jpg: unreadable')
  caused.__cause__ = error
  assert whole_file.is_no_room(caused)


def test_what_is_of_an_input():
  assert not whole_file.is_no_room(FileNotFoundError(errno.ENOENT, 'No such file', 'a.jpg'))
  # A damaged film claims more memory than there is.
  claimed = av.error.MemoryError(errno.ENOMEM, os.strerror(errno.ENOMEM), 'a.mp4')
  assert claimed.errno == errno.ENOMEM and not whole_file.is_no_room(claimed)


def test_errors_of_libraries_get_number_and_name(tmp_path):
  """TensorFlow and HDF5 raise errors of their own, with the system's words in them."""
  path = tmp_path / 'a.h5'
  for error in (RuntimeError, OSError):
    text = "Can't write data (file write failed: error message = 'No space left on device')"
    with pytest.raises(OSError, match='No space left') as caught, whole_file.appearing(path):
      raise error(text)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
  with pytest.raises(ValueError, match='clip.mp4: No space left'), whole_file.appearing(path):
    raise ValueError('clip.mp4: No space left on device')  # About an input.


def test_names_of_temporary_folders_are_not_told(tmp_path):
  with (
    pytest.raises(OSError, match='No space left') as error,
    whole_file.temporary_folder(tmp_path) as folder,
  ):
    raise OSError(errno.ENOSPC, 'No space left on device', str(folder / 'coco' / 'a.json'))
  assert error.value.filename == str(tmp_path / 'coco' / 'a.json')


def test_a_name_that_nobody_knows_is_not_told(tmp_path):
  path = tmp_path / 'missing' / 'a.txt'
  with pytest.raises(FileNotFoundError) as error:
    whole_file.write_text(path, 'text')
  assert error.value.filename == str(path)


def test_order_of_flushing_and_renaming(tmp_path, monkeypatch):
  """Content, name, folder; so a name never stands for content that a power failure could take."""
  calls = []
  flush, replace = os.fsync, os.replace
  monkeypatch.setattr(
    os, 'fsync', lambda fd: (calls.append(os.readlink(f'/proc/self/fd/{fd}')), flush(fd))
  )
  monkeypatch.setattr(os, 'replace', lambda *names: (calls.append('rename'), replace(*names)))
  whole_file.write_text(tmp_path / 'a.txt', 'text')
  content, *rest = calls
  assert '.feelvos_' in content and rest == ['rename', str(tmp_path)]
  calls.clear()
  whole_file.write_text(tmp_path / 'a.txt', 'text', last=False)
  assert calls == [content, 'rename']
  calls.clear()
  with whole_file.appearing_folder(tmp_path / 'folder') as temporary:
    (temporary / 'inner').mkdir()
    (temporary / 'inner' / 'file').write_text('text')
  *inner, top, rename, parent = calls
  assert inner == [str(temporary / 'inner'), str(temporary / 'inner' / 'file')]
  assert (top, rename, parent) == (str(temporary), 'rename', str(tmp_path))


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
  with pytest.raises(RuntimeError), whole_file.appearing_folder(tmp_path / 'a') as temporary:
    (temporary / 'file').touch()
    assert not (tmp_path / 'a').exists()
    raise RuntimeError
  assert not list(tmp_path.iterdir())


def leave(folder, *calls):
  """Runs lines in a process that is killed; `temporary` is its name for a.png."""
  code = (
    'import os, sys, signal, pathlib\nfrom feelvos_tf.files import whole_file\n'
    'folder = pathlib.Path(sys.argv[1])\n'
    'temporary = whole_file.temporary_name(folder / "a.png")\n'
  )
  end = 'print(temporary)\nsys.stdout.flush()\nos.kill(os.getpid(), signal.SIGKILL)\n'
  command = [sys.executable, '-c', code + ''.join(f'{call}\n' for call in calls) + end]
  out = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
  return out.stdout.strip()


def test_what_killed_processes_left_goes(tmp_path):
  """Files, folders and files of their own that libraries put next to the given name."""
  name = leave(
    tmp_path,
    'temporary.touch()',
    'pathlib.Path(f"{temporary}.index").touch()',
    'temporary.with_suffix(".b").mkdir()',
    '(temporary.with_suffix(".b") / "file").touch()',
  )
  alive = os.path.basename(name).split('.')
  alive[2] = '1'  # A process that runs.
  elsewhere = os.path.basename(name).replace('.feelvos_', '.feelvos_00')
  mine = {'.'.join(alive), f'{elsewhere[:18]}{elsewhere[20:]}', 'a.png.123.tmp', '.feelvos_a.tmp'}
  for kept in mine:
    (tmp_path / kept).touch()
  assert len(list(tmp_path.iterdir())) == 7
  whole_file.write_bytes(tmp_path / 'a.png', b'')
  assert {path.name for path in tmp_path.iterdir()} == {*mine, 'a.png'}


@pytest.mark.parametrize('make', ['temporary_folder', 'appearing_folder'])
def test_a_killed_process_of_the_same_number_left_a_folder(tmp_path, make):
  """As in a container, where the program has the number 1 whenever it is started."""
  path = tmp_path if make == 'temporary_folder' else tmp_path / 'a'
  leftover = whole_file.temporary_name(path / 'temporary' if path == tmp_path else path)
  (leftover / 'inner').mkdir(parents=True)
  (leftover / 'inner' / 'half').touch()
  with getattr(whole_file, make)(path) as temporary:
    assert temporary == leftover and not list(temporary.iterdir())
    (temporary / 'file').touch()
  assert sorted(p.name for p in tmp_path.rglob('*')) == ([] if path == tmp_path else ['a', 'file'])


def test_temporary_names_fit_whatever_the_name_is(tmp_path):
  path = tmp_path / os.fsdecode(b'\xff' * 251 + b'.png')
  assert len(os.fsencode(whole_file.temporary_name(path).name)) < 60
  whole_file.write_bytes(path, b'1')
  assert path.read_bytes() == b'1'


def test_lines_of_a_journal(tmp_path):
  path = tmp_path / 'journal'
  path.write_bytes(b'{"cut')  # By a kill.
  whole_file.append_line(path, 'one')
  whole_file.append_line(path, 'two')
  assert path.read_bytes() == b'{"cut\none\ntwo\n'

"""Names in lists, names that are paths, names of any bytes."""

import os
import unicodedata

import pytest

from feelvos_tf.datasets import names


@pytest.mark.parametrize(
  'data, expected',
  [
    (b'dog\ncat\n', ['dog', 'cat']),
    (b'dog\r\ncat\r\n\r\n', ['dog', 'cat']),
    (b'\xef\xbb\xbfdog\ncat', ['dog', 'cat']),
    ('dog\nbär\n'.encode('utf-16'), ['dog', 'bär']),
    (b'\xfe\xff' + 'dog\nbär'.encode('utf-16-be'), ['dog', 'bär']),
    (b'# my split\n\n  dog  \n\tcat/\n', ['dog', 'cat']),
    (b'dog # the brown one\ncat\t# x\n', ['dog', 'cat']),
    ('my dog ü\ncat\n'.encode(), ['my dog ü', 'cat']),
    (b'dog\ndog\ncat\n', ['dog', 'cat']),
    (b'', []),
    (b'd\xe4g\n', [os.fsdecode(b'd\xe4g')]),
  ],
)
def test_lists(tmp_path, data, expected):
  (tmp_path / 'list.txt').write_bytes(data)
  assert names.read_names(tmp_path / 'list.txt') == expected


@pytest.mark.parametrize('form, other', [('NFD', 'NFC'), ('NFC', 'NFD')])
def test_names_whose_letters_are_composed_in_another_way_are_paired(form, other):
  one, two = unicodedata.normalize(form, 'Bär'), unicodedata.normalize(other, 'Bär')
  assert names.paired([one, 'cow', 'dog'], {'dog': 0, two: 1, 'emu': 2}) == {one: 1, 'dog': 0}
  assert names.paired([one, two], {two: 1, one: 2}) == {one: 2, two: 1}  # Two files are two.
  assert names.paired([one, two], {two: 1}) == {two: 1}


@pytest.mark.parametrize('form, other', [('NFD', 'NFC'), ('NFC', 'NFD')])
def test_place_of_a_name_whose_letters_are_composed_in_another_way(tmp_path, form, other):
  one, two = (unicodedata.normalize(way, 'Bär') for way in (form, other))
  assert names.place_of(tmp_path, one) == tmp_path / one
  (tmp_path / two).mkdir()
  assert names.place_of(tmp_path, one) == tmp_path / two
  (tmp_path / one).mkdir(exist_ok=True)
  assert names.place_of(tmp_path, one) == tmp_path / one


def test_place_of_a_name_whose_other_form_is_too_long_for_a_disk(tmp_path):
  """A Korean letter has three bytes, its parts have six or nine."""
  name = '한국' * 20
  assert len(name.encode()) < 255 < len(unicodedata.normalize('NFD', name).encode())
  assert names.place_of(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
  'line, there, expected',
  [
    ('take #1', ['take #1', 'take'], ['take #1']),
    ('take #1', ['take'], ['take']),
    ('#1', ['#1'], ['#1']),
    ('#1', [], []),
    ('dog cat', ['dog cat', 'dog', 'cat'], ['dog cat']),
    ('dog cat', ['dog', 'cat'], ['dog', 'cat']),  # A list in one line.
    ('dog cat', ['dog'], ['dog cat']),
    (unicodedata.normalize('NFC', 'bär'), [unicodedata.normalize('NFD', 'bär')], None),
    (unicodedata.normalize('NFD', 'bär'), [unicodedata.normalize('NFC', 'bär')], None),
    ('unknown', ['dog'], ['unknown']),
  ],
)
def test_what_is_there_decides_between_readings(tmp_path, line, there, expected):
  (tmp_path / 'list.txt').write_text(line, encoding='utf-8')
  found = names.read_names(tmp_path / 'list.txt', lambda name: name in there)
  assert found == (there if expected is None else expected)


def test_damaged_utf_16_is_named(tmp_path):
  (tmp_path / 'list.txt').write_bytes(b'\xff\xfed')
  with pytest.raises(ValueError, match=r'list\.txt: a damaged UTF-16 text'):
    names.read_names(tmp_path / 'list.txt')


@pytest.mark.parametrize('data', ['dog\ncat\n'.encode('utf-16-le'), b'dog\0\ncat\n'])
def test_zero_bytes_are_no_text(tmp_path, data):
  (tmp_path / 'list.txt').write_bytes(data)
  with pytest.raises(ValueError, match=r'list\.txt: a file with zero bytes given, expected a text'):
    names.read_names(tmp_path / 'list.txt')


@pytest.mark.parametrize('name', ['', '.', '..', '../x', '/x', 'a/b', 'a/', 'a\0b'])
def test_paths_are_no_names(name):
  with pytest.raises(ValueError, match=r'list\.txt: .* given, expected the name of a folder'):
    names.check_name(name, 'list.txt')


@pytest.mark.parametrize('name', ['bear', '...', '-bear', 'a:b', 'my bear ü', '#1', 'a\\b'])
def test_names_are_names(name):
  assert names.check_name(name, 'x') == name


@pytest.mark.parametrize(
  'path',
  ['https://host/clip.mp4', 'http://host/a b', 'rtsp://camera', 's3://bucket/x', 'file:///x'],
)
def test_addresses_are_refused(path):
  with pytest.raises(ValueError, match=r'--input=.*: an address \(.*:\) given.*on this machine'):
    names.check_local(path, '--input')


def test_files_are_no_addresses(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'run:').mkdir()
  for path in ('take:1.mp4', 'run:/clip.mp4', 'C:/x', '/a/b', 'clip.mp4', 'a:b/c'):
    (tmp_path / 'a:b').mkdir(exist_ok=True)
    if path in ('run:/clip.mp4', 'a:b/c'):
      (tmp_path / path).touch()
    names.check_local(path, '--input')


@pytest.mark.parametrize(
  'kind, message',
  [('none', 'no such mask file'), ('folder', 'a folder given, expected a mask file')],
)
def test_missing(kind, message, tmp_path):
  path = tmp_path / 'x'
  if kind == 'folder':
    path.mkdir()
  assert names.missing(path, 'mask file', 'give one') == f'{path}: {message}; give one'


def test_a_file_where_a_folder_is_expected(tmp_path):
  (tmp_path / 'x').touch()
  message = names.missing(tmp_path / 'x', 'folder of frames', 'give one')
  assert message.endswith('x: a file given, expected a folder of frames; give one')


def test_printable():
  assert names.printable(os.fsdecode(b'fr\xe4me')) == 'fr?me'
  assert names.printable('bär') == 'bär'


def test_json_of_a_hundred_thousand_brackets():
  with pytest.raises(ValueError, match='nested too deeply'):
    names.parse_json('[' * 100_000)
  assert names.parse_json('{"a": [1]}') == {'a': [1]}

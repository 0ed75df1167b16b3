"""The journal of a result folder, read back."""

import json
import tracemalloc

from feelvos_tf.runtime import journal


def write(path, lines):
  path.write_text(''.join(f'{json.dumps(line)}\n' for line in lines))


def test_what_lines_say_together(tmp_path):
  path = tmp_path / 'run.jsonl'
  file = {'job': 'cow', 'file': '0' * 16}
  lines = [
    {'run': 'one'},
    {'plan': {'base': 1}, 'job': 'cow'},
    {'name': 'a.png', **file},
    {'name': 'b.png', **file, 'frame': 'x'},
    {'done': 'cow'},
    {'removed': 'a.png'},
    {'name': 'c.png', **file},
    {'name': 'b.png', **file, 'frame': 'y'},
  ]
  write(path, lines)
  with path.open('a') as stream:
    stream.write('{"name": "d.png", "job": "c')  # Cut off by a kill.
  read = journal.read(path)
  assert list(read.entries) == ['b.png', 'c.png']
  assert read.entries['b.png'] == {'name': 'b.png', 'frame': 'y', **file}
  assert (read.done, read.last_run, read.plans) == (set(), 'one', {'cow': {'base': 1}})
  read.entries['b.png']['frame'] = 'z'
  assert read.entries['b.png']['frame'] == 'y' and 'a.png' not in read.entries
  assert journal.read(tmp_path / 'none') == ({}, set(), None, {})


def test_a_line_takes_little_more_memory_than_its_text(tmp_path):
  path = tmp_path / 'run.jsonl'
  objects = [[n, 1234, [1, 2, 300, 400], 0.987] for n in range(3)]
  note = {'job': '', 'file': '0' * 16, 'frame': '1' * 16, 'objects': objects}
  write(path, [{'name': f'masks/{n:06d}.png', **note} for n in range(2000)])
  tracemalloc.start()
  read = journal.read(path)
  _, most = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert len(read.entries) == 2000 and most < 2 * path.stat().st_size + 400_000

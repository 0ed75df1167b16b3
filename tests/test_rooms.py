"""Rooms, the packages with modules of their own, import each other in one direction only."""

import ast
import graphlib
import itertools
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
BELOW_ALL = 'feelvos_tf.files'
FACE = 'feelvos_tf'  # The doors: they import every room, and every room may read the face's names.


def find_modules():
  """{name as imported: path} of all modules, and the names of the packages."""
  modules = {}
  for top in (FACE, 'datasets', 'deeplab', 'tools'):
    for path in (ROOT / top).rglob('*.py'):
      parts = path.relative_to(ROOT).with_suffix('').parts
      parts = parts if top == FACE else (FACE, *parts)
      modules['.'.join(parts).removesuffix('.__init__')] = path
  return modules, {name for name, path in modules.items() if path.name == '__init__.py'}


def imported_names(path, modules):
  """Modules that a file imports, anywhere in it but for type checkers."""
  tree = ast.parse(path.read_text(encoding='utf-8'))
  unused = {
    id(inner)
    for node in ast.walk(tree)
    if isinstance(node, ast.If) and getattr(node.test, 'id', '') == 'TYPE_CHECKING'
    for inner in ast.walk(node)
  }
  for node in ast.walk(tree):
    if id(node) in unused:
      continue
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      for alias in node.names:
        name = f'{node.module}.{alias.name}'
        yield name if name in modules else node.module


def find_arrows():
  """{room: rooms it imports} and for each arrow one module that draws it."""
  modules, packages = find_modules()

  def room(name):
    return name if name in packages else name.rpartition('.')[0]

  arrows, examples = {}, {}
  for name, path in modules.items():
    for other in imported_names(path, modules):
      pair = (room(name), room(other))
      if other in modules and pair[0] != pair[1] and FACE not in pair:
        arrows.setdefault(pair[0], set()).add(pair[1])
        examples[pair] = f'{name} imports {other}'
  return arrows, examples


def test_no_circle():
  arrows, examples = find_arrows()
  try:
    graphlib.TopologicalSorter(arrows).prepare()
  except graphlib.CycleError as error:
    circle = error.args[1][::-1]
    raise AssertionError(
      'a circle of rooms: ' + '; '.join(examples[pair] for pair in itertools.pairwise(circle))
    ) from None


def test_arrows_run_down():
  """`tools -> feelvos_tf -> {deeplab, datasets} -> feelvos_tf.files`: neighbours do not meet."""
  arrows, examples = find_arrows()
  assert not arrows.get(BELOW_ALL)
  for start, ends in arrows.items():
    for end in ends - {BELOW_ALL}:
      below = start.split('.')[1] in ('datasets', 'deeplab')
      if below or end.split('.')[1] == 'tools':
        assert start.split('.')[1] == end.split('.')[1], examples[(start, end)]

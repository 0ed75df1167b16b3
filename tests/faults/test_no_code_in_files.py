"""What is read from files or the network is data: nothing that runs code from it is used."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ('feelvos_tf', 'datasets', 'deeplab', 'tools')
# Modules that make objects, and so code, of bytes.
MODULES = {'pickle', 'cPickle', 'marshal', 'shelve', 'dill', 'cloudpickle', 'joblib'}
# Ray hands its router what it pickled itself, between the processes of one server.
OWN_MESSAGES = {'feelvos_tf/serving/ray_router.py'}
CALLS = {'eval', 'exec', 'os.system', 'os.popen', 'yaml.load', 'yaml.unsafe_load'}
# Keras files may hold lambdas; the flag that lets them is its `safe_mode`.
CALLS |= {f'keras.{part}load_model' for part in ('', 'models.', 'saving.')}
CALLS |= {'keras.config.enable_unsafe_deserialization'}
# Arguments with values that must not be.
ARGUMENTS = {('allow_pickle', True), ('safe_mode', False), ('shell', True)}
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob('*.py'))


def problems(text):
  """What of the above a module does, as `line: what`."""
  found = []
  for node in ast.walk(ast.parse(text)):
    names = []
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names = [node.module or '']
    found += [f'{node.lineno}: {name}' for name in names if name.split('.')[0] in MODULES]
    if isinstance(node, ast.Call):
      if ast.unparse(node.func) in CALLS:
        found.append(f'{node.lineno}: {ast.unparse(node.func)}')
      for argument in node.keywords:
        value = getattr(argument.value, 'value', None)
        if (argument.arg, value) in ARGUMENTS:
          found.append(f'{node.lineno}: {argument.arg}={value}')
  return found


def test_no_module_runs_code_of_files():
  found = {str(path.relative_to(ROOT)): problems(path.read_text()) for path in SOURCES}
  assert len(found) > 200
  bad = {name: what for name, what in found.items() if what}
  assert set(bad) == OWN_MESSAGES, bad
  assert [what.split()[1] for what in bad['feelvos_tf/serving/ray_router.py']] == ['pickle']


@pytest.mark.parametrize(
  'text',
  [
    'import pickle',
    'from joblib import load',
    'np.load(path, allow_pickle=True)',
    'keras.models.load_model(path)',
    'keras.saving.load_model(path, safe_mode=False)',
    'subprocess.run(line, shell=True)',
    'eval(text)',
  ],
)
def test_the_search_finds(text):
  assert problems(text)

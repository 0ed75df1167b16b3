"""Public names of the modules of version 0.1 are found under their old places.

names_of_0_1.json has the functions, classes and constants of every module of commit 14eaa83 but
`tools/addons_correlation.py`, which needs TensorFlow Addons.
"""

import importlib.util
import json
import pathlib

import programs

from feelvos_tf import old_members

NAMES = pathlib.Path(__file__).with_name('names_of_0_1.json')
CODE = """
import importlib, json, pathlib, sys
lost = []
for module, names in json.loads(pathlib.Path(sys.argv[1]).read_text()).items():
  try:
    found = importlib.import_module(module)
  except ModuleNotFoundError:
    lost.append(module)
    continue
  lost += [f'{module}.{name}' for name in names.split() if not hasattr(found, name)]
print(json.dumps(lost))
"""


def test_no_name_is_lost_without_a_reason():
  done = programs.run_code(CODE, NAMES)
  assert done.returncode == 0, done.stderr
  lost = {name.removeprefix('feelvos_tf.') for name in json.loads(done.stdout.splitlines()[-1])}
  if importlib.util.find_spec('ray') is None:  # An extra that not every machine has.
    lost -= {'serving.ray_app', 'serving.ray_router'}
  # There is a Clip where that of 0.1 was, so the name is found.
  assert lost == set(old_members.GONE) - {'datasets.clip_source.Clip'}


def test_a_name_that_went_to_another_module_than_its_neighbours():
  code = (
    'from datasets.clip_source import record_clips, IMAGE_KEY\n'
    'from feelvos_tf.datasets.tfrecord import clips\n'
    'from feelvos_tf.pretrained import DEFAULT_MODEL\n'
    'from feelvos_tf.inference import State\n'
    'assert record_clips is clips.record_clips and IMAGE_KEY == "image/encoded"\n'
    'try:\n'
    '  from feelvos_tf.model import network_size\n'
    'except ImportError:\n'
    '  pass\n'
  )
  process = programs.run_code(code)
  assert process.returncode == 0, process.stderr

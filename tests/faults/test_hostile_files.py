"""Files made to do harm, or damaged: refused in one line, whatever bytes they have.

`make fuzz` tries many more inputs than the suite does (FEELVOS_FUZZ_EXAMPLES), here and guided by
coverage (`fuzz_readers.py`).
"""

import json
import os
import time

import h5py
from hostile_readers import COCO
from hostile_readers import LABELME
from hostile_readers import READERS
from hostile_readers import SLOW
from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies
import numpy as np
import pytest

from feelvos_tf.datasets import names
from feelvos_tf.deeplab import hdf5_contents
from feelvos_tf.deeplab import hdf5_file
from feelvos_tf.deeplab import weights_file

EXAMPLES = int(os.environ.get('FEELVOS_FUZZ_EXAMPLES', '60'))
# The same examples in every run of the suite; others with more of them.
fuzz = settings(
  max_examples=EXAMPLES,
  derandomize='FEELVOS_FUZZ_EXAMPLES' not in os.environ,
  deadline=None,
  database=None,
  suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@strategies.composite
def damaged(draw, originals):
  """A file with bytes changed, taken out, doubled or put in, sometimes cut off."""
  data = bytearray(draw(strategies.sampled_from(originals)))
  for _ in range(draw(strategies.integers(0, 6))):
    start = draw(strategies.integers(0, max(0, len(data) - 1)))
    length = draw(strategies.integers(0, 9))
    data[start : start + length] = draw(strategies.binary(max_size=12))
  return bytes(
    data[: draw(strategies.integers(0, len(data)))] if draw(strategies.booleans()) else data
  )


@pytest.fixture
def try_all(note):
  """Function: (kind, function of bytes, strategy of bytes); tries inputs and notes how many."""

  def run(kind, read, inputs, examples=EXAMPLES):
    tried, begun = 0, time.monotonic()

    @settings(fuzz, max_examples=examples)
    @given(inputs)
    def try_one(data):
      nonlocal tried
      tried += 1
      read(data)

    try_one()
    seconds = round(time.monotonic() - begun)
    note(part='inputs', what=kind, tool='Hypothesis', inputs=tried, bad=0, seconds=seconds)

  return run


@pytest.mark.parametrize('kind', READERS)
def test_damaged_inputs(try_all, kind):
  read, originals = READERS[kind]
  examples = max(1, EXAMPLES // 10) if kind in SLOW else EXAMPLES
  try_all(kind, read, damaged(originals()), examples)


json_values = strategies.recursive(
  strategies.none()
  | strategies.booleans()
  | strategies.integers(-(2**40), 2**40)
  | strategies.floats()
  | strategies.text(max_size=8),
  lambda inner: (
    strategies.lists(inner, max_size=4)
    | strategies.dictionaries(strategies.text(max_size=8), inner, max_size=4)
  ),
  max_leaves=12,
)


@strategies.composite
def changed_json(draw, originals):
  """JSON in which values somewhere are of another kind, or gone."""
  value = json.loads(draw(strategies.sampled_from(originals)))
  for _ in range(draw(strategies.integers(1, 3))):
    place = value
    while True:
      keys = list(place) if isinstance(place, dict) else list(range(len(place)))
      if not keys:
        break
      key = draw(strategies.sampled_from(keys))
      if isinstance(place[key], (dict, list)) and draw(strategies.booleans()):
        place = place[key]
        continue
      if draw(strategies.booleans()):
        place[key] = draw(json_values)
      else:
        del place[key]
      break
  return json.dumps(value).encode()


@pytest.mark.parametrize(
  'kind', ['COCO, labelme', 'meta.json', 'manifest.json', 'model.json', 'bodies of requests']
)
def test_json_of_other_kinds(try_all, kind):
  read, originals = READERS[kind]
  try_all(kind, read, changed_json(originals()))


@pytest.mark.parametrize('suffix', ['.json', '.xml', '.txt', '.png'])
def test_masks_with_the_name_of_another_form(suffix):
  for value in (COCO, LABELME):
    READERS_BY_SUFFIX[suffix](json.dumps(value).encode())
  for kind in ('CVAT', 'YOLO', 'masks of users'):
    for data in READERS[kind][1]():
      READERS_BY_SUFFIX[suffix](data)


READERS_BY_SUFFIX = {
  '.json': READERS['COCO, labelme'][0],
  '.xml': READERS['CVAT'][0],
  '.txt': READERS['YOLO'][0],
  '.png': READERS['masks of users'][0],
}


@pytest.mark.parametrize('kind', ['COCO, labelme', 'meta.json', 'manifest.json', 'model.json'])
def test_json_that_is_nested_without_end(kind):
  READERS[kind][0](b'[' * 100_000)


@pytest.mark.parametrize('name', ['../x', '/etc/passwd', 'a/../../b', '..', '.', '', 'a\0b'])
def test_names_that_lead_out_of_the_folder(name):
  with pytest.raises(ValueError):
    names.check_name(name, '--sequence')


@pytest.fixture
def weights(tmp_path):
  path = tmp_path / 'weights.h5'
  weights_file.save_arrays(path, {'a/weights': np.ones((3, 4))}, {'options': {}})
  return path


def test_weights_follow_no_links(weights, tmp_path):
  with h5py.File(tmp_path / 'other.h5', 'w') as other:
    other['secret'] = np.ones(3)
  with h5py.File(weights, 'a') as file:
    file['soft'] = h5py.SoftLink('/a/weights')
    file['nowhere'] = h5py.SoftLink('/nowhere')
    file['external'] = h5py.ExternalLink('other.h5', '/secret')
    file['a/loop'] = file['/']
  assert list(weights_file.read_arrays(weights)) == ['a/weights']


def add(name, **options):
  return lambda file: file.create_dataset(name, **options)


def attribute(name, value):
  return lambda file: file.attrs.__setitem__(name, value)


def virtual(file):
  layout = h5py.VirtualLayout((3,), 'f4')
  layout[:] = h5py.VirtualSource('other.h5', 'secret', (3,))
  file.create_virtual_dataset('b', layout)


def deep(file):
  """Groups in groups: HDF5's own way to visit them takes minutes."""
  for _ in range(3000):
    file = file.create_group('g')
  file['x'] = np.ones(3)


def many(file):
  for number in range(41):
    file.create_group(str(number))


@pytest.mark.parametrize(
  'change, message',
  [
    # 8 TiB that are 2 kB in the file: chunks that were never written are zeros.
    (
      add('b', shape=(1 << 20, 1 << 20), dtype='f8', chunks=(1024, 1024)),
      'b has 1099511627776 values',
    ),
    (add('b', shape=(3,), dtype=h5py.string_dtype()), 'b has values of the type object'),
    (add('b', data=np.zeros(3, [('x', 'f4'), ('y', 'i4')])), 'b has values of the type'),
    # Values that lie in other files: any of this machine, as numbers.
    (add('b', shape=(3,), dtype='f4', external=[('/etc/passwd', 0, 12)]), 'b lies in another file'),
    (virtual, 'b lies in another file'),
    (attribute('metadata', 'hello'), 'its options are damaged'),
    (attribute('metadata', f'{"[" * 100000}'), 'its options are damaged'),
    (attribute('metadata', h5py.Empty('f4')), 'its options are damaged'),
    (deep, 'more than 50 levels of groups'),
    (many, 'or 40 arrays'),
    (add('b', data=h5py.Empty('f4')), 'b has no values'),
    (add('b', data=np.array([1e300])), 'b has values that are not finite'),
    (attribute('metadata', '[1, 2]'), 'its options are damaged'),
    (attribute('metadata', np.zeros(5)), 'its options are damaged'),
    (lambda file: file.attrs.__delitem__('metadata'), 'its options are damaged'),
  ],
)
def test_weights_that_lie(weights, change, message, monkeypatch):
  limits = hdf5_contents.Limits(items=40)
  monkeypatch.setattr(hdf5_file, 'limits_of_environment', lambda: limits)
  with h5py.File(weights, 'a') as file:
    change(file)
  hdf5_file.know(weights.read_bytes())  # Read in this process: these do no harm, and it is faster.
  with pytest.raises(ValueError, match=f'weights.h5: .*{message}') as error:
    weights_file.read(weights)
  assert '\n' not in str(error.value)

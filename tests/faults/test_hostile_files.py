"""Files made to do harm, or damaged: refused in one line, whatever bytes they have.

`make fuzz` tries many more examples than the suite does (FEELVOS_FUZZ_EXAMPLES).
"""

import io
import json
import os
import warnings

import h5py
from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies
import numpy as np
from PIL import Image
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names
from feelvos_tf.datasets import picture
from feelvos_tf.datasets.mask_files import reading
from feelvos_tf.deeplab import weights_file

EXAMPLES = int(os.environ.get('FEELVOS_FUZZ_EXAMPLES', '150'))
# The same examples in every run of the suite; others with more of them.
fuzz = settings(
  max_examples=EXAMPLES,
  derandomize='FEELVOS_FUZZ_EXAMPLES' not in os.environ,
  deadline=None,
  database=None,
  suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SIZE = (12, 16)


def mask_png():
  ids = np.zeros(SIZE, np.uint8)
  ids[2:8, 3:12] = 1
  return masks.encode_mask(ids)


def picture_file(kind, **options):
  stream = io.BytesIO()
  Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(stream, kind, **options)
  return stream.getvalue()


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


def harmless(call, *arguments):
  """Runs `call`; what is refused has one line that names a reason."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      return call(*arguments)
  except (ValueError, FileNotFoundError) as error:
    assert str(error) and '\n' not in str(error) and ' at 0x' not in str(error)
    return None


@fuzz
@given(damaged([mask_png(), picture_file('PNG'), picture_file('JPEG')]))
def test_masks_of_data_sets(data):
  mask = harmless(masks.decode_mask, data, 'm.png')
  assert mask is None or (mask.ids.dtype == np.uint8 and mask.ids.ndim == 2)


@fuzz
@given(
  damaged(
    [
      picture_file('JPEG'),
      picture_file('JPEG', progressive=True),
      picture_file('PNG'),
      picture_file('WEBP', lossless=True),
      picture_file('BMP'),
      picture_file('TIFF'),
      picture_file('GIF'),
    ]
  )
)
def test_frames(data):
  image = harmless(picture.decode, data, 'frame')
  assert image is None or (image.dtype == np.uint8 and image.shape[2] == 3)


COCO = {
  'images': [{'id': 1, 'file_name': '0.png', 'height': SIZE[0], 'width': SIZE[1]}],
  'annotations': [
    {'id': 1, 'image_id': 1, 'category_id': 1, 'segmentation': [[1, 1, 9, 1, 9, 9, 1, 9]]},
    {
      'id': 2,
      'image_id': 1,
      'category_id': 1,
      'segmentation': {'size': list(SIZE), 'counts': [30, 20, 142]},
    },
  ],
  'categories': [{'id': 1, 'name': 'x'}],
}
LABELME = {
  'shapes': [{'label': 'a', 'points': [[2, 2], [9, 2], [9, 9]], 'shape_type': 'polygon'}],
  'imageHeight': SIZE[0],
  'imageWidth': SIZE[1],
  'imagePath': '0.png',
}
CVAT = b"""<annotations><version>1.1</version><image id="0" name="0.png" width="16" height="12">
<polygon label="a" points="1.0,1.0;9.0,1.0;9.0,9.0"/>
<mask label="b" rle="3, 4, 5" left="2" top="2" width="4" height="3"/></image></annotations>"""
ENTITIES = b"""<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;&x;&x;">
<!ENTITY z SYSTEM "file:///etc/passwd">]><annotations><image name="0.png" width="16" height="12">
<polygon label="&y;&z;" points="1.0,1.0;9.0,1.0;9.0,9.0"/></image></annotations>"""
GIVEN = [json.dumps(COCO).encode(), json.dumps(LABELME).encode(), CVAT, b'0 .1 .1 .6 .1 .6 .6\n']

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
def changed_json(draw):
  """COCO or labelme in which values somewhere are of another kind, or gone."""
  value = json.loads(json.dumps(draw(strategies.sampled_from([COCO, LABELME]))))
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


@fuzz
@given(
  damaged(GIVEN) | changed_json() | strategies.just(ENTITIES),
  strategies.sampled_from(['.json', '.xml', '.txt', '.png']),
)
def test_given_masks(tmp_path, data, suffix):
  path = tmp_path / f'given{suffix}'
  path.write_bytes(data)
  given_mask = harmless(reading.read_given_mask, [path], SIZE, '0')
  assert given_mask is None or given_mask.mask.ids.shape == SIZE
  assert given_mask is None or not any('root:' in name for name in given_mask.names.values())


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
  assert list(weights_file.read_arrays(weights)) == ['a/weights']


def add(name, **options):
  return lambda file: file.create_dataset(name, **options)


def attribute(name, value):
  return lambda file: file.attrs.__setitem__(name, value)


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
    (attribute('metadata', 'hello'), 'its options are damaged'),
    (attribute('metadata', '[1, 2]'), 'its options are damaged'),
    (attribute('metadata', np.zeros(5)), 'its options are damaged'),
    (lambda file: file.attrs.__delitem__('metadata'), 'its options are damaged'),
  ],
)
def test_weights_that_lie(weights, change, message):
  with h5py.File(weights, 'a') as file:
    change(file)
  with pytest.raises(ValueError, match=f'weights.h5: .*{message}') as error:
    weights_file.read_metadata(weights)
    weights_file.read_arrays(weights)
  assert '\n' not in str(error.value)


@fuzz
@given(strategies.data())
def test_damaged_weights(tmp_path, data):
  path = tmp_path / 'weights.h5'
  if not path.exists():
    weights_file.save_arrays(path, {'a/weights': np.arange(12.0)}, {'options': {'x': 1}})
  broken = tmp_path / 'broken.h5'
  broken.write_bytes(data.draw(damaged([path.read_bytes()])))
  harmless(weights_file.read_metadata, broken)
  harmless(weights_file.read_arrays, broken)

"""Messages about ids: one wording for masks that a person gives, one for those of data sets."""

import json
import pathlib
import re

import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets.mask_files import drawn
from feelvos_tf.datasets.mask_files import reading
from feelvos_tf.datasets.result_files import writing
from feelvos_tf.datasets.sources import youtube_vos
from feelvos_tf.inference import given_frames
from feelvos_tf.runtime import segment_job
from feelvos_tf.serving.options import ServingOptions

_GIVEN, _DATA_SET = 'object ids 1..255', 'object ids 1..254, 255 is void'
_EMPTY = masks.encode_mask(np.zeros([4, 4], np.uint8))


def _empty_given(folder):
  (folder / 'm.png').write_bytes(_EMPTY)
  reading.read_given_mask(folder / 'm.png', (4, 4), '0')


def _many_files(folder):
  paths = [folder / f'{i}.png' for i in range(256)]
  reading._check_count(len(paths), folder)


def _meta(folder):
  content = {'videos': {'a': {'objects': {'255': {'category': 'x', 'frames': ['0']}}}}}
  (folder / 'meta.json').write_text(json.dumps(content))
  youtube_vos.read_meta(folder / 'meta.json')


@pytest.mark.parametrize(
  'call, expected',
  [
    (lambda f: masks.decode_mask(_EMPTY, 'm', require_object=True, void=False), _GIVEN),
    (lambda f: masks.decode_mask(_EMPTY, 'm', require_object=True), _DATA_SET),
    (lambda f: masks.encode_mask(np.full([2, 2], 256)), _GIVEN),
    (_empty_given, _GIVEN),
    (_many_files, _GIVEN),
    (_meta, _DATA_SET),
    (lambda f: drawn.parse('box', '1,1,2,2,id=256'), _GIVEN),
    (lambda f: drawn.parse('points', '1,1,id=0'), _GIVEN),
    (lambda f: writing.parse_labels(['256:dog']), _GIVEN),
    (lambda f: segment_job._removal('256@3', None), _GIVEN),
    (lambda f: given_frames.check_mask(np.full([2, 2], 256), np.zeros([2, 2, 3])), _GIVEN),
    (lambda f: ServingOptions(max_objects=256), _GIVEN),
  ],
)
def test_one_wording(call, expected, tmp_path):
  with pytest.raises(ValueError) as error:
    call(tmp_path)
  assert re.findall(r'object ids \d+\.\.\d+(?:, 255 is void)?', str(error.value)) == [expected]


@pytest.mark.parametrize('number, is_id', [(0, False), (1, True), (255, True), (256, False)])
def test_which_numbers_are_ids(number, is_id):
  assert object_ids.is_object_id(number) == is_id


def test_no_module_has_a_range_of_its_own():
  root = pathlib.Path(object_ids.__file__).parents[1]
  found = [
    f'{path}: {line}'
    for folder in ('datasets', 'feelvos_tf', 'tools')
    for path in (root / folder).rglob('*.py')
    for line in path.read_text(encoding='utf-8').splitlines()
    if re.search(r'\b1(\.\.| to )25[45]\b|(up to|at most) 25[45]\b', line)
  ]
  assert [line for line in found if 'level 1..255' not in line] == []


def test_a_free_id_is_the_wanted_one_or_the_lowest():
  assert object_ids.free_id({1, 2}) == 3
  assert object_ids.free_id({1, 2}, 7) == 7
  assert object_ids.free_id({2, 7}, 7) == 1
  assert object_ids.free_id(range(1, 255), 9) == 255
  assert object_ids.free_id(range(1, 256)) is None

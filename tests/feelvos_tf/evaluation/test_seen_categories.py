"""Seen and unseen categories of YouTube-VOS."""

import json
import unicodedata

import pytest

from feelvos_tf.evaluation import seen_categories


def write_meta(path, objects, name='v'):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps({'videos': {name: {'objects': objects}}}))


def test_seen_and_unseen_categories(tmp_path):
  split = tmp_path / 'valid'
  assert seen_categories.load_seen(split) is None
  write_meta(split / 'meta.json', {'1': {'category': 'cat'}, '2': {'category': 'yak'}})
  assert seen_categories.load_seen(split) is None  # nothing says what was trained on
  write_meta(tmp_path / 'train' / 'meta.json', {'1': {'category': 'cat'}})
  seen = seen_categories.load_seen(split)
  assert seen('v', 1) and not seen('v', 2)
  write_meta(split / 'meta.json', {'1': {'seen': False}, '2': {'seen': True}})
  seen = seen_categories.load_seen(split)
  assert not seen('v', 1) and seen('v', 2)
  with pytest.raises(ValueError, match="meta.json: object 3 of 'v' is not listed"):
    seen('v', 3)
  one, two = (unicodedata.normalize(way, 'Bär') for way in ('NFC', 'NFD'))
  write_meta(split / 'meta.json', {'1': {'seen': True}}, one)
  assert seen_categories.load_seen(split)(two, 1)
  (split / 'meta.json').write_text('[]')
  with pytest.raises(ValueError, match='not a YouTube-VOS meta file'):
    seen_categories.load_seen(split)

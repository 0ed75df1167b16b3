"""Shards and their manifest: listing, verifying, and what is refused."""

import shutil

import pytest

from feelvos_tf.datasets.sources import synthetic
from feelvos_tf.datasets.tfrecord import conversion
from feelvos_tf.datasets.tfrecord import planning
from feelvos_tf.datasets.tfrecord import shards

RECORDS = 'tf1/tfrecord'


@pytest.fixture
def converted(tmp_path):
  options = planning.ConversionOptions(
    str(tmp_path), 'synthetic', 'train', num_shards=2, num_workers=1
  )
  sources = synthetic.synthetic_sources(3, num_frames=2, frame_size=(24, 32))
  conversion.convert(planning.plan(sources, options))
  return tmp_path


def test_list_shards(converted):
  paths = shards.list_shards(converted)
  assert [p.rsplit('/', 1)[1] for p in paths] == [
    'train-00000-of-00002.tfrecord',
    'train-00001-of-00002.tfrecord',
  ]
  assert sum(shards.count_records(p) for p in paths) == 3


def test_list_shards_of_the_original(golden):
  assert len(shards.list_shards(golden.path(f'{RECORDS}/val_2shards'), 'val')) == 2


def damage(path, change):
  data = bytearray(path.read_bytes())
  path.write_bytes(change(data))


def flip(data):
  data[len(data) // 2] ^= 1
  return data


@pytest.mark.parametrize(
  'change, message',
  [(lambda data: data[:-10], 'truncated or changed'), (flip, 'the shard is corrupt')],
)
def test_damaged_shard(converted, change, message):
  path = converted / 'train-00001-of-00002.tfrecord'
  damage(path, change)
  with pytest.raises(ValueError, match=message) as error:
    shards.list_shards(converted)
  assert path.name in str(error.value)


@pytest.mark.parametrize('change', [lambda data: data[:-10], flip])
def test_damaged_shard_without_manifest(converted, change):
  (converted / 'manifest.json').unlink()
  assert len(shards.list_shards(converted)) == 2
  damage(converted / 'train-00000-of-00002.tfrecord', change)
  with pytest.raises(ValueError, match='train-00000-of-00002.tfrecord: truncated or corrupt after'):
    shards.list_shards(converted)
  assert len(shards.list_shards(converted, verify=False)) == 2


def test_missing_pieces(converted, tmp_path):
  with pytest.raises(FileNotFoundError, match="no shards of split 'val'; splits found: train"):
    shards.list_shards(converted, 'val')
  with pytest.raises(FileNotFoundError, match='no such folder'):
    shards.list_shards(converted / 'none')
  shutil.copytree(converted, tmp_path / 'copy')
  (tmp_path / 'copy' / 'train-00001-of-00002.tfrecord').unlink()
  with pytest.raises(ValueError, match='a shard of the manifest is missing'):
    shards.list_shards(tmp_path / 'copy')
  (tmp_path / 'copy' / 'manifest.json').unlink()
  with pytest.raises(ValueError, match='1 shards of split .train. given, expected 2'):
    shards.list_shards(tmp_path / 'copy')


def test_empty_split_without_manifest(tmp_path):
  (tmp_path / 'val-00000-of-00001.tfrecord').touch()
  with pytest.raises(ValueError, match="split 'val' is empty"):
    shards.list_shards(tmp_path, 'val')


MANIFEST = (
  '{"format": 1, "splits": {"train": {"fingerprint": "", "videos": [{}], "shards": '
  '[{"name": "%s", "bytes": 1, "sha256": ""}]}}}'
)


@pytest.mark.parametrize(
  'text, message',
  [
    ('{', 'not a manifest'),
    ('[]', 'not a manifest'),
    ('{"format": 99}', 'format 99 given'),
    ('{"format": 1, "splits": []}', 'not a manifest'),
    ('{"format": 1, "splits": {"train": {}}}', 'a damaged manifest'),
    (MANIFEST % 'val-0', 'a damaged manifest'),
    (MANIFEST % '../train-00000-of-00001.tfrecord', 'a damaged manifest'),
    (MANIFEST % 'train-00000-of-00001.tfrecord', 'a shard of the manifest is missing'),
  ],
)
def test_bad_manifest(tmp_path, text, message):
  (tmp_path / 'manifest.json').write_text(text)
  with pytest.raises(ValueError, match=message):
    shards.list_shards(tmp_path)

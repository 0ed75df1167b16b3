"""The files of a converted data set: shards, and the manifest that says what they must hold.

A data set is a folder of `<split>-00000-of-00010.tfrecord` files, which hold the records of
`feelvos_tf.datasets.tfrecord.schema`, and manifest.json with counts and checksums for every split.
`feelvos_tf.datasets.tfrecord.conversion` writes both. Folders that the original's converter wrote
have no manifest.
"""

import hashlib
import os
import pathlib
import re
from typing import Any, BinaryIO

from feelvos_tf.datasets import names as names_lib

MANIFEST = 'manifest.json'
MANIFEST_FORMAT = 1
_RESTORE = 'restore it, or convert into another folder'  # A conversion into this one reads it, too.

_SHARD = re.compile(r'(?P<split>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.tfrecord')


def list_shards(
  dataset_dir: str | os.PathLike, split: str = 'train', verify: bool = True
) -> list[str]:
  """The shards of a split in order, checked.

  Args:
    dataset_dir: folder with shards and manifest.json, or with shards of the original converter,
      which writes no manifest.
    split: name of the split.
    verify: read every shard and compare it with its checksum (about 1 s per GB); without it only
      names and sizes are compared. Shards without a manifest are read record by record.

  Returns:
    Paths of the shards.

  Raises:
    FileNotFoundError: no such folder, or no such split in it.
    ValueError: a shard is missing, truncated or corrupt, the split is empty, or its conversion
      has not finished.
  """
  folder = pathlib.Path(dataset_dir)
  if not folder.is_dir():
    raise FileNotFoundError(
      names_lib.missing(folder, 'folder', 'convert a data set with feelvos convert-data')
    )
  entry = read_manifest(folder).get('splits', {}).get(split)
  if entry is None:
    return _list_without_manifest(folder, split, verify)
  if not entry['videos']:
    raise ValueError(f'{folder}: split {split!r} is empty; convert it again')
  paths = []
  for shard in entry['shards']:
    path = folder / shard['name']
    if not path.is_file():
      raise ValueError(f'{path}: a shard of the manifest is missing; convert the split again')
    if path.stat().st_size != shard['bytes']:
      raise ValueError(
        f'{path}: a shard of {path.stat().st_size} bytes given, expected '
        f'{shard["bytes"]}; it is truncated or changed: convert the split again'
      )
    if verify and file_sha256(path) != shard['sha256']:
      raise ValueError(
        f'{path}: the checksum differs from the manifest; the shard is corrupt: '
        'convert the split again'
      )
    paths.append(str(path))
  return paths


def read_manifest(folder: str | os.PathLike) -> dict:
  """The manifest of a folder of shards; {} if there is none.

  Raises:
    ValueError: the file is not a manifest of this version.
  """
  path = pathlib.Path(folder) / MANIFEST
  if not path.is_file():
    return {}
  try:
    manifest = names_lib.parse_json(path.read_text())
    version, entries = manifest['format'], manifest.get('splits', {}).values()
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(f'{path}: not a manifest of feelvos convert-data; {_RESTORE}') from error
  if version != MANIFEST_FORMAT:
    raise ValueError(f'{path}: format {version} given, expected {MANIFEST_FORMAT}; {_RESTORE}')
  if not all(map(_is_entry, entries)):
    raise ValueError(f'{path}: a damaged manifest of feelvos convert-data; {_RESTORE}')
  return manifest


def _is_entry(entry: Any) -> bool:
  """Whether the entry of a split has what is read of it; its shards lie in the folder."""
  if not isinstance(entry, dict) or not isinstance(entry.get('fingerprint'), str):
    return False
  if not all(isinstance(entry.get(key), list) for key in ('videos', 'shards')):
    return False
  return all(
    isinstance(shard, dict)
    and all(
      isinstance(shard.get(k), t) for k, t in (('bytes', int), ('sha256', str), ('name', str))
    )
    and _SHARD.fullmatch(shard['name']) is not None
    and os.path.basename(shard['name']) == shard['name']
    for shard in entry['shards']
  )


def file_sha256(path: str | os.PathLike) -> str:
  """Hexadecimal SHA-256 of a file's content."""
  with open(path, 'rb') as stream:
    return (
      hashlib.file_digest(stream, 'sha256').hexdigest()
      if hasattr(hashlib, 'file_digest')
      else _sha256_of_stream(stream)
    )


def _sha256_of_stream(stream: BinaryIO) -> str:
  digest = hashlib.sha256()  # Python 3.10 has no file_digest.
  for block in iter(lambda: stream.read(1 << 20), b''):
    digest.update(block)
  return digest.hexdigest()


def shard_name(split: str, index: int, count: int) -> str:
  """`train-00003-of-00010.tfrecord`, as the original names its shards."""
  return f'{split}-{index:05d}-of-{count:05d}.tfrecord'


def note_name(name: str) -> str:
  """File that says that a shard is done while the conversion of its split is not."""
  return f'.{name}.done.json'


def _list_without_manifest(folder: pathlib.Path, split: str, verify: bool) -> list[str]:
  matches = [m for m in (_SHARD.fullmatch(p.name) for p in sorted(folder.iterdir())) if m]
  found = [m for m in matches if m['split'] == split]
  if not found:
    known = sorted({m['split'] for m in matches})
    raise FileNotFoundError(
      f'{folder}: no shards of split {split!r}; splits found: '
      f'{", ".join(known) or "none"}; convert it first'
    )
  if any(folder.glob(note_name(f'{split}-?????-of-?????.tfrecord'))):
    raise ValueError(
      f'{folder}: the conversion of split {split!r} has not finished; run the same '
      'conversion again to complete it'
    )
  count = int(found[0]['count'])
  expected = [folder / shard_name(split, i, count) for i in range(count)]
  missing = [p.name for p in expected if not p.is_file()]
  if missing or len(found) != count:
    raise ValueError(
      f'{folder}: {len(found)} shards of split {split!r} given, expected {count}; '
      f'{missing[0] if missing else "two conversions are mixed"}: convert again'
    )
  if verify and not sum(count_records(p) for p in expected):
    raise ValueError(f'{folder}: split {split!r} is empty; convert it again')
  return [str(p) for p in expected]


def count_records(path: str | os.PathLike) -> int:
  """Reads a TFRecord file from front to back and returns its number of records.

  Raises:
    ValueError: the file is truncated, corrupt or not a TFRecord file.
  """
  import tensorflow as tf  # Only here: commands that list shards start without it.

  count = 0
  try:
    for _ in tf.data.TFRecordDataset(str(path)):
      count += 1
  except (tf.errors.DataLossError, tf.errors.OutOfRangeError) as error:
    raise ValueError(
      f'{path}: truncated or corrupt after record {count}; convert the split again'
    ) from error
  return count

"""Which rules count for which data."""

import json

import pytest

from feelvos_tf.evaluation.truth import TruthOptions


@pytest.mark.parametrize(
  'data_set, options, protocol',
  [
    ('youtube_vos_2019', {}, 'youtube_vos'),
    ('davis2016', {}, 'davis2016'),
    ('davis_2016', {}, 'davis2016'),
    ('folder', {}, 'davis2017'),
    ('youtube_vos_2019', {'protocol': 'davis2017'}, 'davis2017'),
    ('davis2017', {'year': '2016'}, 'davis2016'),
    ('youtube_vos_2019', {'split': 'train'}, 'davis2017'),  # Not in the manifest.
    ('my_own', {}, 'davis2017'),
    (['a'], {}, 'davis2017'),
    (None, {}, 'davis2017'),  # As the original's converter wrote it.
  ],
)
def test_records_have_the_protocol_of_their_data_set(tmp_path, data_set, options, protocol):
  """Objects of YouTube-VOS that appear late were not scored."""
  entry = {'fingerprint': 'x', 'videos': ['a'], 'shards': [], 'dataset': data_set}
  if data_set:
    manifest = {'format': 1, 'splits': {'valid': entry}}
    (tmp_path / 'manifest.json').write_text(json.dumps(manifest))
  truth = TruthOptions(dataset_dir=str(tmp_path), **{'split': 'valid', **options})
  assert truth.rules.name == protocol


def test_folders_have_that_of_their_flag():
  assert TruthOptions(youtube_vos_root='x').rules.name == 'youtube_vos'
  assert TruthOptions(dataset='youtube_vos_2018', data_dir='x').rules.name == 'youtube_vos'
  assert TruthOptions(davis_root='x', year='2016').rules.name == 'davis2016'

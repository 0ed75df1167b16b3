"""Videos divided among shards, and the options of a conversion."""

import pytest

from feelvos_tf.datasets.tfrecord import planning
from feelvos_tf.datasets.video import VideoSource

SOURCES = [VideoSource(name, lambda: None) for name in 'abcde']


def options(**changes):
  return planning.ConversionOptions('out', 'made up', **changes)


def test_neighbours_stay_together_and_sizes_differ_by_one():
  shards = planning.plan(SOURCES, options(num_shards=3))
  assert [''.join(s.name for s in shard.sources) for shard in shards] == ['a', 'bc', 'de']
  assert [(shard.path.as_posix(), shard.note_path.name) for shard in shards[:1]] == [
    ('out/train-00000-of-00003.tfrecord', '.train-00000-of-00003.tfrecord.done.json')
  ]


def test_the_number_of_shards_goes_with_split_and_videos():
  many = [VideoSource(str(number), lambda: None) for number in range(12)]
  assert [len(planning.plan(given, options())) for given in (SOURCES, many)] == [5, 10]
  assert len(planning.plan(many, options(split='val'))) == 1


def test_what_changes_the_records_makes_another_conversion():
  def fingerprint(sources=SOURCES, settings=None, **changes):
    return planning.plan(sources, options(**changes), settings)[0].fingerprint

  same = [fingerprint(), fingerprint(num_workers=3), fingerprint(on_error='skip')]
  others = [
    fingerprint(SOURCES[::-1]),
    fingerprint(settings={'seed': 1}),
    fingerprint(num_shards=2),
    fingerprint(allow_void=True),
    fingerprint(jpeg_quality=90),
  ]
  assert len(set(same)) == 1 and len({*same, *others}) == 6


def test_bad_plans():
  with pytest.raises(ValueError, match="split 'train' is empty"):
    planning.plan([], options())
  with pytest.raises(ValueError, match="'a' is listed twice"):
    planning.plan(SOURCES[:1] * 2, options())
  with pytest.raises(ValueError, match='num_shards: 6 given for 5 videos'):
    planning.plan(SOURCES, options(num_shards=6))
  for changes in (dict(on_error='retry'), dict(num_shards=-1), dict(jpeg_quality=0)):
    with pytest.raises(ValueError, match=' is .*; expected'):
      options(**changes)

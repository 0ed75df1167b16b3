"""Conversion as an Apache Beam pipeline; the tests that run one need the package apache-beam."""

import importlib.util
import shutil

import pytest

from feelvos_tf.datasets.sources import synthetic
from feelvos_tf.datasets.tfrecord import conversion
from feelvos_tf.datasets.tfrecord import planning
from feelvos_tf.runtime import command_line
from feelvos_tf.tools import beam_runner


def plan(folder, **changes):
  sources = synthetic.synthetic_sources(5, num_frames=2, frame_size=(24, 32))
  options = planning.ConversionOptions(
    str(folder), 'synthetic', num_shards=3, num_workers=1, **changes
  )
  return planning.plan(sources, options)


def contents(path):
  return {p.name: p.read_bytes() for p in path.iterdir()}


def test_without_beam_the_message_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setitem(__import__('sys').modules, 'apache_beam', None)
  with pytest.raises(command_line.UsageError, match=r"pip install 'feelvos-tf\[beam\]'"):
    beam_runner.convert(plan(tmp_path), 'DirectRunner')


@pytest.fixture
def beam():
  # importorskip would import it into every run, and it takes seconds.
  if importlib.util.find_spec('apache_beam') is None:
    pytest.skip('apache-beam is not installed')


def test_same_bytes_as_without_beam(beam, tmp_path):
  conversion.convert(plan(tmp_path / 'here'))
  beam_runner.convert(plan(tmp_path / 'beam'), 'DirectRunner')
  assert contents(tmp_path / 'beam') == contents(tmp_path / 'here')


def test_resumes(beam, tmp_path):
  shards = plan(tmp_path / 'out')
  conversion.pending(shards)
  conversion.convert_shard(shards[1])
  beam_runner.convert(shards, 'DirectRunner')
  conversion.convert(plan(tmp_path / 'here'))
  assert contents(tmp_path / 'out') == contents(tmp_path / 'here')


def test_bad_video_is_named_and_the_next_run_goes_on(beam, tmp_path, golden):
  from feelvos_tf.datasets.sources import davis

  root = tmp_path / 'DAVIS'
  shutil.copytree(golden.path('tf1/tfrecord/DAVIS'), root)
  frame = root / 'JPEGImages' / '480p' / 'judo' / '00002.jpg'
  good = frame.read_bytes()
  frame.write_bytes(good[:50])
  options = planning.ConversionOptions(str(tmp_path / 'out'), 'davis2017', 'val', num_shards=2)
  shards = planning.plan(davis.davis_sources(root, '2017', 'val'), options)
  for _ in range(2):
    with pytest.raises(ValueError, match='video judo: .*00002.jpg: unreadable picture'):
      beam_runner.convert(shards, 'DirectRunner')
  frame.write_bytes(good)
  assert beam_runner.convert(shards, 'DirectRunner')['num_videos'] == 3


def test_unknown_runner(beam, tmp_path):
  with pytest.raises(command_line.UsageError, match='--runner=Nonesuch given'):
    beam_runner.convert(plan(tmp_path), 'Nonesuch')

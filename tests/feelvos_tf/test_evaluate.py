"""The command: results in, tables out; a model in, masks and tables out; what it refuses."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import zipfile

import cv2
import numpy as np
from PIL import Image
import programs
import pytest

from feelvos_tf.datasets import masks

REPOSITORY = pathlib.Path(__file__).parents[2]
SHAPE = (48, 64)


def square(x, object_id=1):
  ids = np.zeros(SHAPE, np.uint8)
  ids[10:30, x : x + 20] = object_id
  return ids


def write_split(root, annotations, frames, names, count=4):
  for name in names:
    (root / annotations / name).mkdir(parents=True)
    (root / frames / name).mkdir(parents=True)
    for index in range(count):
      masks.write_mask(root / annotations / name / f'{index:05d}.png', square(5 + index))
      image = np.full((*SHAPE, 3), 90, np.uint8)
      image[square(5 + index) > 0] = (40, 200, 220)
      cv2.imwrite(str(root / frames / name / f'{index:05d}.jpg'), image)


@pytest.fixture
def davis(tmp_path):
  """A DAVIS root with sequences 'cow' and 'dog', and the ground truth copied as results."""
  root = tmp_path / 'DAVIS'
  write_split(root, 'Annotations/480p', 'JPEGImages/480p', ['cow', 'dog'])
  (root / 'ImageSets' / '2017').mkdir(parents=True)
  (root / 'ImageSets' / '2017' / 'val.txt').write_text('cow\ndog\n')
  write_split(tmp_path, 'results', 'unused', ['cow', 'dog'])
  return root


def command(*arguments):
  return [sys.executable, '-m', 'feelvos_tf.evaluate', *map(str, arguments)]


def evaluate(*arguments):
  """Runs the command; returns (exit code, standard output, errors without TensorFlow's chat)."""
  done = programs.run('feelvos_tf.evaluate', *arguments)
  lines = [line for line in done.stderr.splitlines() if 'evaluate: error:' in line]
  return done.returncode, done.stdout, '\n'.join(lines)


def flags(davis, **extra):
  values = {
    'davis_root': davis,
    'results_dir': davis.parent / 'results',
    'output_dir': davis.parent / 'out',
    **extra,
  }
  return [f'--{name}={value}' for name, value in values.items() if value is not None]


def test_results(davis, tmp_path):
  masks.write_mask(tmp_path / 'results' / 'dog' / '00001.png', np.zeros(SHAPE, np.uint8))
  code, output, errors = evaluate(*flags(davis, submission_zip=tmp_path / 'submission.zip'))
  assert (code, errors) == (0, '')
  assert 'all       0.750  0.750  0.750' in output
  with open(tmp_path / 'out' / 'per-sequence_results-val.csv', encoding='utf-8') as stream:
    assert list(csv.reader(stream)) == [
      ['Sequence', 'J-Mean', 'F-Mean'],
      ['cow_1', '1.000', '1.000'],
      ['dog_1', '0.500', '0.500'],
    ]
  with open(tmp_path / 'out' / 'global_results-val.csv', encoding='utf-8') as stream:
    header, row = csv.reader(stream)
  assert dict(zip(header, row)) == {
    'J&F-Mean': '0.750',
    'J-Mean': '0.750',
    'J-Recall': '0.750',
    'J-Decay': '-0.500',
    'F-Mean': '0.750',
    'F-Recall': '0.750',
    'F-Decay': '-0.500',
  }
  summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
  assert summary['complete'] and summary['sequences']['dog']['objects']['1']['J']['per_frame'] == [
    0,
    1,
  ]
  assert '<h3>dog</h3>' in (tmp_path / 'out' / 'report.html').read_text()
  with zipfile.ZipFile(tmp_path / 'submission.zip') as archive:
    assert len(archive.namelist()) == 8


@pytest.mark.parametrize('name', ['summary.json', 'scores/dog.json'])
def test_a_file_of_another_origin_stays(davis, tmp_path, name):
  mine = tmp_path / 'out' / name
  mine.parent.mkdir(parents=True)
  mine.write_text('mine')
  code, output, errors = evaluate(*flags(davis))
  assert (code, output) == (1, '') and f'{mine}: a file that no earlier run wrote' in errors
  assert [p for p in (tmp_path / 'out').rglob('*') if p.is_file()] == [mine]
  assert mine.read_text() == 'mine'


def test_default_output_folder_and_no_report(davis, tmp_path):
  code, output, _ = evaluate(*flags(davis, output_dir=None), '--noreport')
  assert code == 0 and 'results_evaluation' in output
  assert sorted(p.name for p in (tmp_path / 'results_evaluation').iterdir()) == [
    '.feelvos_run.jsonl',
    'global_results-val.csv',
    'per-sequence_results-val.csv',
    'scores',
    'summary.json',
  ]


def test_bad_sequence_fails_or_is_left_out(davis, tmp_path):
  path = tmp_path / 'results' / 'dog' / '00001.png'
  Image.fromarray(np.full((*SHAPE, 3), (200, 30, 0), np.uint8)).save(path)
  code, _, errors = evaluate(*flags(davis))
  assert code == 1 and str(path) in errors and 'RGB' in errors
  code, output, errors = evaluate(*flags(davis), '--on_error=skip')
  assert code == 0 and 'LEFT OUT: 1 of 2 sequences' in output and str(path) in output
  summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
  assert list(summary['left_out']) == ['dog'] and not summary['complete']
  assert summary['global']['J-Mean'] == 1


def test_everything_bad_at_once_is_left_out_and_named(davis, tmp_path):
  """Another resolution, RGB, missing, empty ground truth, one frame: the rest is still scored."""
  bad = ['empty', 'large', 'missing', 'rgb', 'short']
  write_split(davis, 'Annotations/480p', 'JPEGImages/480p', bad)
  write_split(tmp_path, 'results', 'unused', [name for name in bad if name != 'missing'])
  truth, results = davis / 'Annotations' / '480p', tmp_path / 'results'
  masks.write_mask(truth / 'empty' / '00000.png', np.zeros(SHAPE, np.uint8))
  masks.write_mask(results / 'large' / '00002.png', np.zeros((96, 128), np.uint8))
  Image.fromarray(np.full((*SHAPE, 3), (200, 30, 0), np.uint8)).save(results / 'rgb' / '00001.png')
  for index in (1, 2, 3):
    (truth / 'short' / f'{index:05d}.png').unlink()
  arguments = [*flags(davis), '--sequences=cow,dog,' + ','.join(bad)]
  code, output, errors = evaluate(*arguments)
  assert code == 1 and len(errors.splitlines()) == 1 and 'written' not in output
  code, output, errors = evaluate(*arguments, '--on_error=skip')
  assert (code, errors) == (0, '') and 'LEFT OUT' in output
  summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
  assert list(summary['sequences']) == ['cow', 'dog'] and summary['global']['J-Mean'] == 1
  expected = {
    'empty': f'{truth / "empty"}: the ground truth of the first frame (00000) is empty',
    'large': f'{results / "large" / "00002.png"}: a mask of 128x96 pixels given, 64x48',
    'missing': f'{results / "missing"}: no results for the sequence',
    'rgb': str(results / 'rgb' / '00001.png'),
    'short': f'{truth / "short"}: 1 annotated frame(s) given, at least 3 expected',
  }
  assert list(summary['left_out']) == bad
  report = (tmp_path / 'out' / 'report.html').read_text()
  for name, message in expected.items():
    assert summary['left_out'][name].startswith(message) and message in output
    assert str(message).split(':')[0] in report


def test_nothing_could_be_scored(davis, tmp_path):
  code, _, errors = evaluate(*flags(davis, results_dir=tmp_path / 'unused'), '--on_error=skip')
  assert code == 1 and 'no sequence could be scored' in errors


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--results_dir=x', '--model=y', '--davis_root=z'], 'exactly one of --results_dir'),
    (['--results_dir=x'], 'exactly one of --davis_root, --youtube_vos_root'),
    (['--model=x', '--davis_root=y'], '--model and --baseline need --output_dir'),
    (['--results_dir=x', '--davis_root=y', '--model_option=a=b'], '--model_option needs --model'),
    (['--results_dir=x', '--davis_root=y', '--flip'], '--flip needs --model'),
    (['--results_dir=x', '--davis_root=y', '--baseline=copy_first_mask'], 'exactly one of'),
    (
      ['--model=x', '--davis_root=y', '--output_dir=z', '--image_pyramid=1,big'],
      '--image_pyramid=1,big given; expected numbers',
    ),
    (
      ['--model=x', '--davis_root=y', '--output_dir=z', '--image_pyramid=1,0'],
      '--image_pyramid has the scale 0',
    ),
    (
      [
        '--model=x',
        '--davis_root=y',
        '--output_dir=z',
        '--ablation=no_previous_frame_matching',
        '--ablation=global_previous_frame_matching',
      ],
      'exclude each other',
    ),
    (['--model=x', '--davis_root=y', '--output_dir=z', '--ablation=no_head'], '--ablation=no_head'),
    (
      ['--baseline=global_matching', '--davis_root=y', '--output_dir=z', '--flip'],
      '--baseline=global_matching has no use for --flip',
    ),
    (
      ['--baseline=copy_first_mask', '--davis_root=y', '--output_dir=z', '--max_internal_size=64'],
      '--baseline=copy_first_mask has no use for --max_internal_size',
    ),
    (
      ['--baseline=copy_first_mask', '--davis_root=y', '--output_dir=z', '--model=default'],
      'has no use for --model',
    ),
    (['--results_dir=x', '--davis_root=y', '--year=2018'], '2016|2017'),
    (['--results_dir=x', '--davis_root=y', 'z'], "'z' is not a flag"),
  ],
)
def test_wrong_usage(arguments, message):
  code, output, errors = evaluate(*arguments)
  assert code == 2 and message in errors and not output


def test_an_output_that_holds_the_data_is_refused(davis):
  for output in (davis, davis / 'Annotations'):
    arguments = flags(davis, results_dir=None, model='default', output_dir=output)
    code, _, errors = evaluate(*arguments)
    assert code == 1 and 'an output folder that holds the input' in errors


def test_help_lists_the_flags_that_mains_share():
  done = programs.run('feelvos_tf.evaluate', '--helpshort')
  assert '--image_pyramid' in done.stdout and '--ablation' in done.stdout


@pytest.mark.parametrize(
  'change, message',
  [
    ({'davis_root': '/nowhere'}, '/nowhere/Annotations/480p: no such folder'),
    ({'results_dir': '/nowhere'}, '/nowhere: no such folder of results'),
    ({'split': 'test'}, 'no such split'),
    ({'compare_with': '/nowhere'}, 'the output folder of an earlier evaluation expected'),
    ({'results_dir': None, 'model': '/nowhere.h5'}, '/nowhere.h5: no such weights file'),
  ],
)
def test_wrong_data(davis, change, message):
  code, output, errors = evaluate(*flags(davis, **change))
  assert code == 1 and message in errors and 'Traceback' not in errors and not output


def test_split_without_ground_truth_is_packed_only(davis, tmp_path):
  for name in ('cow', 'dog'):
    for index in (1, 2, 3):
      (davis / 'Annotations' / '480p' / name / f'{index:05d}.png').unlink()
  code, _, errors = evaluate(*flags(davis))
  assert code == 1 and 'pack it for the server with --submission_zip' in errors
  code, output, _ = evaluate(*flags(davis, submission_zip=tmp_path / 'submission.zip'))
  assert code == 0 and 'not scored' in output and 'with 8 masks' in output


def test_youtube_vos(tmp_path):
  write_split(tmp_path / 'valid', 'Annotations', 'JPEGImages', ['v1', 'v2'])
  write_split(tmp_path, 'results', 'unused', ['v1', 'v2'])
  masks.write_mask(tmp_path / 'results' / 'v2' / '00003.png', np.zeros(SHAPE, np.uint8))
  for split, categories in (('train', ['cat', 'cat']), ('valid', ['cat', 'yak'])):
    (tmp_path / split).mkdir(exist_ok=True)
    (tmp_path / split / 'meta.json').write_text(
      json.dumps(
        {
          'videos': {
            name: {'objects': {'1': {'category': category}}}
            for name, category in zip(('v1', 'v2'), categories)
          }
        }
      )
    )
  code, output, _ = evaluate(
    f'--youtube_vos_root={tmp_path / "valid"}',
    f'--results_dir={tmp_path / "results"}',
    f'--submission_zip={tmp_path / "submission.zip"}',
  )
  assert code == 0
  assert 'G 0.833  J-Seen 1.000  J-Unseen 0.667  F-Seen 1.000  F-Unseen 0.667' in output
  with zipfile.ZipFile(tmp_path / 'submission.zip') as archive:
    assert archive.namelist()[0] == 'Annotations/v1/00000.png'
  # An object that is not listed: the scores of all are there, after a run that may take hours.
  (tmp_path / 'valid' / 'meta.json').write_text(
    json.dumps({'videos': {'v1': {'objects': {'1': {'category': 'cat'}}}}})
  )
  done = programs.run(
    'feelvos_tf.evaluate',
    f'--youtube_vos_root={tmp_path / "valid"}',
    f'--results_dir={tmp_path / "results"}',
    f'--output_dir={tmp_path / "unlisted"}',
  )
  assert done.returncode == 0 and 'J&F' in done.stdout and 'J-Seen' not in done.stdout
  assert "object 1 of 'v2' is not listed" in done.stderr
  assert 'no scores of seen and unseen categories' in done.stderr


def test_interrupted_run_goes_on(davis, tmp_path):
  """SIGKILL after the first finished sequence; the second run reads that one back."""
  names = [f's{i:02d}' for i in range(30)]
  write_split(davis, 'Annotations/480p', 'JPEGImages/480p', names, 12)
  write_split(tmp_path, 'results', 'unused', names, 12)
  arguments = [*flags(davis), '--sequences=' + ','.join(names), '--num_workers=1']
  state = tmp_path / 'out' / 'scores'
  with subprocess.Popen(
    command(*arguments), cwd=REPOSITORY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
  ) as process:
    while process.poll() is None and not (state.is_dir() and any(state.glob('s*.json'))):
      time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
  before = {path: path.stat().st_mtime_ns for path in state.glob('s*.json')}
  code, _, _ = evaluate(*arguments)
  assert code == 0 and len(before) > 0 and len(list(state.glob('s*.json'))) == len(names)
  assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
  """A MobileNetV2 model with seeded weights."""
  import keras

  from feelvos_tf.deeplab import ModelOptions
  from feelvos_tf.model import feelvos
  from feelvos_tf.model import weights as weights_lib
  from feelvos_tf.model.options import FeelvosOptions

  keras.utils.set_random_seed(0)
  path = tmp_path_factory.mktemp('weights') / 'seeded.h5'
  weights_lib.save_model(path, feelvos.Feelvos(FeelvosOptions(ModelOptions('mobilenet_v2'))))
  return path


def test_copying_the_first_mask(davis, tmp_path):
  """The squares move by a pixel a frame: 20 wide, the overlap is 19 of 21 pixels, then 18 of 22."""
  arguments = flags(davis, results_dir=None, baseline='copy_first_mask')
  code, output, errors = evaluate(*arguments)
  assert (code, errors) == (0, '') and 'Traceback' not in output
  summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
  assert summary['sequences']['cow']['objects']['1']['J']['per_frame'] == pytest.approx(
    [19 / 21, 18 / 22]
  )
  assert summary['settings']['options'] == {'baseline': 'copy_first_mask'}
  assert summary['settings']['model'] is None and summary['settings']['seconds_per_frame'] is None
  assert 'baseline copy_first_mask' in (tmp_path / 'out' / 'report.html').read_text()


def test_no_archive_of_sequences_that_could_not_be_segmented(davis, tmp_path):
  archive = tmp_path / 's.zip'
  arguments = [f'--davis_root={davis}', '--baseline=copy_first_mask', '--on_error=skip']
  arguments += [f'--output_dir={tmp_path / "run"}', f'--submission_zip={archive}']
  assert evaluate(*arguments)[0] == 0 and archive.is_file()
  archive.unlink()
  frames = davis / 'JPEGImages' / '480p' / 'dog'
  next(iter(sorted(frames.iterdir()))).write_bytes(b'no picture')
  code, output, errors = evaluate(*arguments)
  assert code == 1 and '1 of 2 sequences could not be segmented: dog' in errors, output
  assert not archive.exists()


@pytest.mark.slow
def test_model(davis, tmp_path):
  arguments = flags(davis, results_dir=None, model='default')
  code, _output, errors = evaluate(*arguments)
  assert (code, errors) == (0, '')
  for name in ('cow', 'dog'):
    for index in range(4):
      assert masks.read_mask(tmp_path / 'out' / 'masks' / name / f'{index:05d}.png').ids.shape == (
        SHAPE
      )
  summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
  assert summary['confidence']['masks'] == 4  # Two scored frames of each sequence.
  assert summary['settings']['seconds_per_frame'] > 0
  assert summary['settings']['matmul_gflops'] > 0 and not summary['settings']['options']
  report = (tmp_path / 'out' / 'report.html').read_text()
  assert 'global distance of object 1' in report and 'head probability of object 1' in report
  # Two processes, and the second run stands beside the first.
  arguments = flags(
    davis,
    results_dir=None,
    model='default',
    output_dir=tmp_path / 'two',
    parallel_clips=2,
    compare_with=tmp_path / 'out',
  )
  code, _, errors = evaluate(*arguments)
  assert (code, errors) == (0, '')
  assert_equal_but_for_rounding(tmp_path / 'out', tmp_path / 'two')
  assert 'other run: out' in (tmp_path / 'two' / 'report.html').read_text()


def assert_equal_but_for_rounding(one, other):
  """Masks and maps of two runs with different numbers of threads.

  A process of several has fewer threads, and some kernels split their sums by that number. Measured
  with one and two threads: without oneDNN logits move by 3e-7 of their range and one pixel of four
  million changed sides; with oneDNN (AVX2) not a bit; the same number of threads gives the same
  bits in any process. So maps may move by one of 255 steps, and single pixels may change sides. A
  model with untrained weights has whole areas where two objects are equally likely to seven digits,
  and what it makes of them is fed back: there a digit becomes another video.
  """
  paths = sorted(path.relative_to(one) for path in one.glob('maps/*/*.png'))
  assert len(paths) == 6  # of every frame but the given ones
  for path in paths:
    maps = [cv2.imread(str(run / path), cv2.IMREAD_GRAYSCALE).astype(int) for run in (one, other)]
    assert np.abs(maps[0] - maps[1]).max() <= 1
  pixels = [
    np.stack([masks.read_mask(path).ids for path in sorted(run.glob('masks/*/*.png'))])
    for run in (one, other)
  ]
  assert pixels[0].shape == (8, *SHAPE) and np.count_nonzero(pixels[0] != pixels[1]) <= 3


@pytest.mark.slow
def test_ways_to_run_a_model(davis, tmp_path):
  """Flags reach the model: every way gives maps of its own, and is named in its summary."""
  found, maps, precisions = {}, {}, {}
  for name, extra in {
    'plain': [],
    'global': ['--baseline=global_matching'],
    'views': ['--flip', '--image_pyramid=1,1.5', '--merge_method=avg'],
    'ablated': ['--ablation=no_first_frame_matching', '--ablation=no_previous_prediction'],
    'capped': ['--max_reference_pixels_per_object=3'],
    'all': ['--max_reference_pixels_per_object=0'],
    'half': ['--precision=bfloat16'],
    'auto': [],
  }.items():
    arguments = flags(
      davis,
      results_dir=None,
      output_dir=tmp_path / name,
      sequences='cow',
      model=None if name == 'global' else 'default',
    )
    if name not in ('half', 'auto'):
      extra = [*extra, '--precision=float32']
    code, output, errors = evaluate(*arguments, '--noreport', *extra)
    assert (code, errors) == (0, ''), name
    (line,) = [line for line in output.splitlines() if line.startswith('Computes in ')]
    assert ('--precision changes it' in line) == (name == 'auto')
    settings = json.loads((tmp_path / name / 'summary.json').read_text())['settings']
    found[name] = settings['options']
    precisions[name] = settings['precision']
    assert settings['seconds_per_frame'] > 0
    state = json.loads((tmp_path / name / 'segmented' / 'cow.json').read_text())
    assert state['matmul_gflops'] > 0
    path = tmp_path / name / 'maps' / 'cow' / '00002.png'
    maps[name] = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).tobytes()
  # The default weights ask for no limit.
  assert maps.pop('all') == maps['plain']
  # What is chosen by itself is one of the two.
  chosen = precisions.pop('auto')
  assert maps.pop('auto') == maps['half' if chosen == 'bfloat16' else 'plain']
  assert precisions.pop('half') == 'bfloat16' and set(precisions.values()) == {'float32'}
  assert len(set(maps.values())) == len(maps)
  exact = {'precision': 'float32'}
  assert found == {
    'plain': exact,
    'global': {'baseline': 'global_matching', **exact},
    'views': {'flip': True, 'image_pyramid': ['1', '1.5'], 'merge_method': 'avg', **exact},
    'ablated': {'ablation': ['no_first_frame_matching', 'no_previous_prediction'], **exact},
    'capped': {'max_reference_pixels_per_object': 3, **exact},
    'all': {'max_reference_pixels_per_object': 0, **exact},
    'half': {'precision': 'bfloat16'},
    'auto': {},
  }


@pytest.mark.slow
def test_model_that_is_none(davis, tmp_path, weights):
  broken = tmp_path / 'broken.h5'
  broken.write_bytes(weights.read_bytes()[:1000])
  code, output, errors = evaluate(
    *flags(davis, results_dir=None, model=broken, parallel_clips=2), '--noreport'
  )
  assert code == 1 and str(broken) in errors and 'all ' not in output
  code, _, errors = evaluate(
    *flags(davis, results_dir=None, model=weights), '--model_option=window=3'
  )
  assert code == 1 and 'unknown option(s) window' in errors


@pytest.mark.slow
def test_records(golden, tmp_path):
  """TFRecords that the original wrote, with masks of another method and with the given ones."""
  results = tmp_path / 'results'
  records = golden.path('tf1/tfrecord/val_1shard')
  from feelvos_tf.datasets.tfrecord import videos

  for video in videos.record_videos(records, 'val'):
    for index in range(video.num_frames):
      (results / video.name).mkdir(parents=True, exist_ok=True)
      masks.write_mask(
        results / video.name / f'{video.frame_names[index]}.png', video.mask(index).ids
      )
  arguments = [
    f'--dataset_dir={records}',
    f'--results_dir={results}',
    f'--output_dir={tmp_path / "out"}',
  ]
  code, output, errors = evaluate(*arguments)
  assert (code, errors) == (0, '') and ' 1.000  1.000  1.000' in output.split('all')[1]
  assert evaluate(*arguments)[0] == 0  # unpacked once
  unpacked = next((tmp_path / 'out').rglob('Annotations/*/*.png'))
  before = unpacked.read_bytes()
  masks.write_mask(unpacked, 1 - np.minimum(masks.read_mask(unpacked).ids, 1))
  code, _, errors = evaluate(*arguments)  # As records that were corrected differ from it.
  assert code == 1 and f'holds another {unpacked.parent.name} than the data now' in errors
  unpacked.write_bytes(before)
  code, _, errors = evaluate(*arguments, '--sequences=nobody')
  assert code == 1 and "sequence 'nobody' given" in errors
  other = golden.path('tf1/tfrecord/val_2shards')
  code, _, errors = evaluate(*arguments[1:], f'--dataset_dir={other}')
  assert code == 1 and 'choose another --output_dir' in errors
